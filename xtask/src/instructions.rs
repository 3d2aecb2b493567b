//! Counts the instructions of the core's operations: figures that can be compared between two commits.
//!
//! The bench `instructions` of `throttle-core` runs under callgrind with a number of steps and with twice as many.
//! The difference is the cost of the steps alone, without that of the preparation. The same program gives the same
//! count, whatever else the machine does.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::Value;
use xshell::{Shell, cmd};

use crate::workspace::Workspace;

/// Prints the instructions of each operation, here and in `against`.
///
/// It only reports: no figure is an error. Without valgrind it does nothing.
pub(crate) fn run(
    sh: &Shell,
    workspace: &Workspace,
    quick: bool,
    against: Option<&str>,
) -> anyhow::Result<()> {
    if cmd!(sh, "valgrind --version").quiet().ignore_stderr().read().is_err() {
        println!("valgrind is not installed, so no instructions are counted");
        return Ok(());
    }
    let dir = workspace.target_dir.join("instructions");
    sh.create_dir(&dir)?;
    let populations = if quick { [1_000, 10_000] } else { [1_000, 1_000_000] };
    let there = match against {
        Some(revision) => Some((revision, count_there(sh, revision, &dir, populations)?)),
        None => None,
    };
    let here = Program::build(sh, &workspace.target_dir)?.count_all(sh, &dir, populations)?;
    print!("{}", table(&here, there.as_ref().map(|(revision, there)| (*revision, there))));
    Ok(())
}

/// Instructions of one operation, by question and population.
type Figures = BTreeMap<(String, u64), u64>;

/// Counts in another revision, which is checked out below `dir` meanwhile.
fn count_there(
    sh: &Shell,
    revision: &str,
    dir: &Path,
    populations: [u64; 2],
) -> anyhow::Result<Figures> {
    let tree = dir.join("tree");
    let remove = || cmd!(sh, "git worktree remove --force {tree}").quiet().ignore_stderr();
    if sh.path_exists(&tree) {
        remove().run().context("cannot remove the checkout of an earlier run")?;
    }
    // git still lists a checkout whose directory was removed by hand.
    cmd!(sh, "git worktree prune").quiet().run()?;
    cmd!(sh, "git worktree add --quiet --detach {tree} {revision}").quiet().run()?;
    let counted = {
        let _tree = sh.push_dir(&tree);
        // A target directory of its own, which is kept so that the next comparison builds little.
        Program::build(sh, &dir.join("target"))
            .with_context(|| format!("{revision} has no bench to compare with"))
            .and_then(|program| program.count_all(sh, dir, populations))
    };
    remove().run()?;
    counted
}

/// The bench `instructions` of one revision.
struct Program(PathBuf);

impl Program {
    fn build(sh: &Shell, target_dir: &Path) -> anyhow::Result<Self> {
        let bench = ["--package", "throttle-core", "--bench", "instructions"];
        let messages =
            cmd!(sh, "cargo bench --no-run {bench...} --message-format json-render-diagnostics")
                .env("CARGO_TARGET_DIR", target_dir)
                .read()?;
        executable(&messages).map(Self).context("cargo did not say where the bench is")
    }

    /// Counts for all questions.
    fn count_all(&self, sh: &Shell, dir: &Path, populations: [u64; 2]) -> anyhow::Result<Figures> {
        let Self(program) = self;
        let mut figures = Figures::new();
        for line in cmd!(sh, "{program} --list").quiet().read()?.lines() {
            let (question, operations) = line.split_once(' ').context("a line without a number")?;
            for population in populations {
                let once = self.count(sh, dir, question, population, STEPS)?;
                let twice = self.count(sh, dir, question, population, 2 * STEPS)?;
                let cost = twice.saturating_sub(once) / (STEPS * operations.parse::<u64>()?);
                figures.insert((question.to_owned(), population), cost);
            }
        }
        Ok(figures)
    }

    /// The instructions of one run.
    fn count(
        &self,
        sh: &Shell,
        dir: &Path,
        question: &str,
        population: u64,
        steps: u64,
    ) -> anyhow::Result<u64> {
        let Self(program) = self;
        let profile = dir.join("callgrind.out");
        let (population, steps) = (population.to_string(), steps.to_string());
        cmd!(sh, "valgrind --tool=callgrind --callgrind-out-file={profile}")
            .args([program.as_os_str(), question.as_ref(), population.as_ref(), steps.as_ref()])
            .quiet()
            .ignore_stderr()
            .run()?;
        total(&sh.read_file(&profile)?).context("callgrind's output has another form")
    }
}

/// The path of the bench, from the messages of cargo.
fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages
        .filter(|message| message["target"]["name"] == "instructions")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// The sum of all instructions in a profile of callgrind.
fn total(profile: &str) -> Option<u64> {
    let totals = profile.lines().rev().find_map(|line| line.strip_prefix("totals:"))?;
    totals.split_whitespace().next()?.parse().ok()
}

/// One line for each question and population. A question that the other revision does not have has no ratio.
fn table(here: &Figures, there: Option<(&str, &Figures)>) -> String {
    let mut table = format!("{:28}{:>12}{:>16}", "question", "population", "instructions");
    if let Some((revision, _)) = there {
        let _ = write!(table, "{revision:>16}{:>8}", "ratio");
    }
    table.push('\n');
    for (key @ (question, population), &cost) in here {
        let _ = write!(table, "{question:28}{population:>12}{cost:>16}");
        match there.map(|(_, there)| there.get(key)) {
            Some(Some(&before)) => {
                let thousandths = (cost * 1_000 + before / 2).checked_div(before);
                let ratio = thousandths.map_or_else(String::new, |ratio| {
                    format!("{}.{:03}", ratio / 1_000, ratio % 1_000)
                });
                let _ = write!(table, "{before:>16}{ratio:>8}");
            }
            Some(None) => {
                let _ = write!(table, "{:>16}{:>8}", "-", "-");
            }
            None => {}
        }
        table.push('\n');
    }
    table
}

/// The steps of the first run. Enough that rare work, such as splitting a node of a tree, counts with its share.
const STEPS: u64 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_profile_is_at_its_end() {
        let profile = "creator: callgrind-3.19.0\nevents: Ir\nsummary: 11\n\n1 4\n\ntotals: 42\n";
        assert_eq!(total(profile), Some(42));
        assert_eq!(total("totals: 42 7 9\n"), Some(42), "the first event is instructions");
        assert_eq!(total("events: Ir\nsummary: 42\n"), None, "it has no totals");
        assert_eq!(total("totals: many\n"), None);
    }

    #[test]
    fn the_path_of_the_bench_is_found_among_the_messages_of_cargo() {
        let messages = r#"
            {"reason":"compiler-artifact","target":{"name":"throttle_core"},"executable":null}
            no message
            {"reason":"compiler-artifact","target":{"name":"core"},"executable":"/it/core-1"}
            {"reason":"compiler-artifact","target":{"name":"instructions"},"executable":"/it/i-1"}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/it/i-1")));
        assert_eq!(executable(""), None);
    }

    #[test]
    fn a_table_without_comparison_has_three_columns() {
        let here = figures(&[("heartbeat", 1_000, 308), ("heartbeat", 1_000_000, 580)]);
        let lines = [
            "question                      population    instructions\n",
            "heartbeat                           1000             308\n",
            "heartbeat                        1000000             580\n",
        ];
        assert_eq!(table(&here, None), lines.concat());
    }

    #[test]
    fn a_question_of_one_side_only_has_no_ratio() {
        let here = figures(&[("acquire", 1_000, 150), ("new", 1_000, 7), ("nothing", 1_000, 0)]);
        let there = figures(&[("acquire", 1_000, 200), ("old", 1_000, 9), ("nothing", 1_000, 0)]);
        let lines = [
            "question                      population    instructions            main   ratio\n",
            "acquire                             1000             150             200   0.750\n",
            "new                                 1000               7               -       -\n",
            "nothing                             1000               0               0        \n",
        ];
        assert_eq!(table(&here, Some(("main", &there))), lines.concat());
    }

    fn figures(list: &[(&str, u64, u64)]) -> Figures {
        let figures = list.iter();
        figures.map(|&(name, population, cost)| ((name.to_owned(), population), cost)).collect()
    }
}
