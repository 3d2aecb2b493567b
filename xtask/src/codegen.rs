//! Files that are generated from code: the sample configuration, which the server prints.
//!
//! A test of the server, `the_documented_configuration_is_that_in_the_repository`, fails if it is stale.

use xshell::{Shell, cmd};

const SAMPLE: &str = "configs/throttle.toml";

/// Writes the generated files.
pub(crate) fn run(sh: &Shell) -> anyhow::Result<()> {
    let sample =
        cmd!(sh, "cargo run --quiet --package throttle-server --bin throttle -- --print-config")
            .read()?;
    // `read` strips the last line break.
    Ok(sh.write_file(SAMPLE, sample + "\n")?)
}
