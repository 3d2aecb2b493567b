//! `throttle store`: looks at the file of a store, and copies it.

mod backup;
mod inspect;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write as _},
    path::Path,
};

use anyhow::Context as _;
use throttle_server::wall_clock;
use throttle_store::{Counts, Verified};

use crate::cli::StoreCommand;

/// Runs a command. If it fails, nothing has changed.
pub(crate) fn run(command: StoreCommand) -> anyhow::Result<()> {
    match command {
        StoreCommand::Inspect { path } => inspect::print(&path, wall_clock::now()),
        StoreCommand::Export { path } => export(&path),
        StoreCommand::Verify { path } => verify(&path),
        StoreCommand::Import { file, path } => import(&file, &path),
        StoreCommand::Backup { url, file } => backup::run(&url, &file),
    }
}

fn export(path: &Path) -> anyhow::Result<()> {
    let store = throttle_store::open_read_only(path)?;
    let mut stdout = BufWriter::new(io::stdout().lock());
    throttle_store::export(&store, wall_clock::now(), &mut stdout)?;
    stdout.flush().context("cannot write")
}

fn verify(path: &Path) -> anyhow::Result<()> {
    let Verified { counts, held, awaited, .. } = throttle_store::verify(path)?;
    let (path, counts) = (path.display(), Shown(counts));
    say(&format!("{path} is in order: {counts}, locks held {held} and awaited {awaited}\n"))
}

fn import(file: &Path, path: &Path) -> anyhow::Result<()> {
    let mut lines: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        Box::new(BufReader::new(file))
    };
    let counts = throttle_store::import(&mut *lines, path, wall_clock::now())?;
    say(&format!("{} is made: {}\n", path.display(), Shown(counts)))
}

/// Writes to the standard output.
fn say(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("cannot write")
}

/// How many records there are, for people.
struct Shown(Counts);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { semaphores, peers, absent } = self.0;
        write!(f, "semaphores {semaphores}, peers {peers}, numbers of removed peers {absent}")
    }
}
