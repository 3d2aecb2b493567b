//! What is generated from the command line: completions and the manual page.

use std::io::{self, Write as _};

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::{
    args::Arguments,
    exit::{Code, Failure},
};

pub(crate) fn completions(shell: Shell) -> Result<Code, Failure> {
    // The generator panics if it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "throttlectl", &mut script);
    io::stdout().write_all(&script)?;
    Ok(Code::SUCCESS)
}

/// The page of the program, followed by those of its commands.
pub(crate) fn man() -> Result<Code, Failure> {
    let mut command = Arguments::command();
    command.build();
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    let commands = command.get_subcommands();
    for command in commands.filter(|command| !command.is_hide_set() && command.get_name() != "help")
    {
        let man = Man::new(command.clone());
        writeln!(page, ".SH {}", command.get_name().to_uppercase())?;
        man.render_description_section(&mut page)?;
        man.render_synopsis_section(&mut page)?;
        man.render_options_section(&mut page)?;
    }
    io::stdout().write_all(&page)?;
    Ok(Code::SUCCESS)
}
