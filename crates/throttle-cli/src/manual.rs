//! The manual page.

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use roff::{Inline, Roff, bold, roman};

use crate::{
    args::Arguments,
    exit_status::{ExitStatus, Failure},
    help_text::{ENVIRONMENT, EXAMPLES, EXIT_STATUSES},
    output,
};

/// Prints the manual page: one for the program and all of its commands.
pub(crate) fn print() -> Result<ExitStatus, Failure> {
    output::print_result(&String::from_utf8_lossy(&page()?))?;
    Ok(ExitStatus::SUCCESS)
}

fn page() -> std::io::Result<Vec<u8>> {
    let mut command = Arguments::command();
    command.build();
    let mut page = Vec::new();
    let man = Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    Roff::new().control("SH", ["SYNOPSIS"]).text([usage(&command)]).to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for command in command.get_subcommands() {
        if !command.is_hide_set() && command.get_name() != "help" {
            render(command, &mut page)?;
        }
    }
    for (title, entries) in
        [("EXIT STATUS", EXIT_STATUSES), ("ENVIRONMENT", ENVIRONMENT), ("EXAMPLES", EXAMPLES)]
    {
        let mut section = Roff::new();
        section.control("SH", [title]);
        for (term, text) in entries {
            section.control("TP", []).text([bold(*term)]).text([roman(*text)]);
        }
        section.to_writer(&mut page)?;
    }
    man.render_version_section(&mut page)?;
    Ok(page)
}

/// Writes the section of a command: usage, description, and its options without those of the program.
fn render(command: &Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let name = command.get_name().to_uppercase();
    Roff::new().control("SH", [&*name]).text([usage(command)]).to_writer(page)?;
    let man = Man::new(command.clone().mut_args(|argument| {
        let is_elsewhere = argument.is_global_set() || argument.get_id() == "help";
        let is_hidden = argument.is_hide_set();
        argument.hide(is_elsewhere || is_hidden)
    }));
    let mut sections = Vec::new();
    man.render_description_section(&mut sections)?;
    man.render_options_section(&mut sections)?;
    // The headings become paragraphs of the command's section.
    for line in String::from_utf8_lossy(&sections).lines() {
        let line = if line.starts_with(".SH ") { ".PP" } else { line };
        page.extend([line, "\n"].concat().into_bytes());
    }
    Ok(())
}

fn usage(command: &Command) -> Inline {
    let usage = command.clone().render_usage().to_string();
    bold(usage.trim_start_matches("Usage: ").to_owned())
}
