//! Files that are generated from code: the sample configuration, by the server itself.

use anyhow::bail;
use xshell::{Shell, cmd};

const SAMPLE: &str = "configs/throttle.toml";

/// Writes the generated files; with `check`, fails if one is not what would be written.
pub(crate) fn run(sh: &Shell, check: bool) -> anyhow::Result<()> {
    let mut fresh =
        cmd!(sh, "cargo run --quiet --package throttle-server --bin throttle -- --print-config")
            .read()?;
    fresh.push('\n'); // `read` took it away.
    if !check {
        sh.write_file(SAMPLE, fresh)?;
    } else if sh.read_file(SAMPLE)? != fresh {
        bail!("{SAMPLE} is not what the code says; run `cargo xtask codegen`");
    }
    Ok(())
}
