//! Lints the files that run the server elsewhere: Dockerfile, Kubernetes manifest, systemd unit, nginx site.
//!
//! The linters read them; no container, cluster or service is started.

use xshell::{Shell, cmd};

use crate::{tool, workspace::Workspace};

pub(crate) fn run(sh: &Shell, workspace: &Workspace) -> anyhow::Result<()> {
    let hadolint = tool::find(sh, workspace, "hadolint")?;
    let validate =
        tool::find_in(sh, workspace, "xtask/manifest-linters.txt", "kubernetes-validate")?;
    cmd!(sh, "{hadolint} Dockerfile").run()?;
    cmd!(sh, "{validate} --strict configs/kubernetes/throttle.yaml").run()?;
    systemd(sh)?;
    nginx(sh)
}

/// Skipped without systemd. The program is replaced, because `systemd-analyze` wants one that is installed.
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

/// Skipped without nginx. The port and the certificates are replaced, because this machine lacks them.
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
