//! Builds and installs the Python package as its users do, and tests it against the server.

use std::{
    env::consts::EXE_SUFFIX,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;
use xshell::{Shell, cmd};

use crate::{
    venv::{QUIET, with_package},
    workspace::Workspace,
};

/// Installs the package into an environment below the target directory. Runs its tests, those of the package before
/// it, and the examples.
pub(crate) fn run(sh: &Shell, workspace: &Workspace) -> anyhow::Result<()> {
    let target = &workspace.target_dir;
    cmd!(sh, "cargo build --package throttle-server --package throttle-cli").run()?;
    let program = |name| target.join("debug").join(format!("{name}{EXE_SUFFIX}"));
    let (server, command) = (program("throttle"), program("throttlectl"));
    let python = with_package(sh, workspace)?;
    let requirements = "crates/throttle-python/tests/requirements.txt";
    cmd!(sh, "{python} -m pip install {QUIET...} --requirement {requirements}").run()?;
    check_types(sh, &python, &target.join("python/mypy"))?;
    {
        let _server = sh.push_env("THROTTLE_BIN", &server);
        let _command = sh.push_env("THROTTLECTL_BIN", &command);
        // `-B` keeps compiled files out of the sources. Most tests wait for a lease or a server, so running
        // several at a time costs little more than running one.
        let parallel = ["--numprocesses", "4"];
        cmd!(sh, "{python} -B -m pytest --quiet {parallel...} crates/throttle-python/tests")
            .run()?;
        cmd!(sh, "{python} -B -m pytest --quiet compat/python").run()?;
    }
    let (plain, plugin) = (["-p", "no:cacheprovider"], ["-p", "throttle_client.testing"]);
    let tests = "examples/python/test_job.py";
    cmd!(sh, "{python} -B -m pytest --quiet {plain...} {plugin...} {tests}").run()?;
    let (mut server, url) = serve(&server)?;
    let examples = ["worker", "async_worker", "fenced_writes"];
    let examples = examples.map(|name| format!("examples/python/{name}.py"));
    let ran = examples
        .iter()
        .try_for_each(|example| cmd!(sh, "{python} -B {example} {url}").run())
        .and_then(|()| cmd!(sh, "{python} -B -c {NO_PEER_IS_LEFT} {url}").run());
    server.kill().context("the server has already ended")?;
    server.wait()?;
    Ok(ran?)
}

/// Examples remove their peers: a peer that expires looks like an error to an operator.
const NO_PEER_IS_LEFT: &str = "
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1] + '/peers/') as answer:
    peers = answer.read()
assert peers.strip() == b'[]', peers
";

/// Checks the types of the package and of a program that uses it, with the two checkers that are in wide use.
/// `pyproject.toml` sets how strict they are.
fn check_types(sh: &Shell, python: &Path, cache: &Path) -> anyhow::Result<()> {
    let _directory = sh.push_dir("crates/throttle-python");
    // The version is pinned, so later ones are not worth a warning.
    let _quiet = sh.push_env("PYRIGHT_PYTHON_IGNORE_WARNINGS", "1");
    let files = ["python/throttle_client", "tests/typing_user.py"];
    cmd!(sh, "{python} -m mypy --cache-dir {cache} {files...}").run()?;
    cmd!(sh, "{python} -m pyright --pythonpath {python}").run()?;
    Ok(())
}

/// Starts a server with the sample configuration on a free port. Returns it and its URL.
fn serve(program: &Path) -> anyhow::Result<(Child, String)> {
    let mut server = Command::new(program)
        .args(["--port", "0", "-c", "configs/throttle.toml"])
        .env("THROTTLE_LOG", "INFO")
        .stderr(Stdio::piped())
        .spawn()
        .context("the server does not start")?;
    let log = BufReader::new(server.stderr.take().expect("stderr is piped"));
    let mut lines = log.lines();
    let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let (_, address) = line.split_once("listening address=")?;
        Some(address.trim().to_owned())
    });
    // If the pipe were not read, the server would lose log messages.
    std::thread::spawn(move || lines.for_each(drop));
    let address = address.context("the server does not log its address")?;
    Ok((server, format!("http://{address}")))
}
