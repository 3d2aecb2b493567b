//! Runs the lines with `throttlectl` that the documents show.
#![cfg(unix)]

use std::{env, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command, sync::Arc};

use metrics::NoopRecorder;
use throttle_client::Reloaded;
use throttle_http::{Api, Metrics};

use crate::support::{TestServer, run};

const DOCUMENTS: [&str; 3] = [
    include_str!("../../../../README.md"),
    include_str!("../../../../docs/migrating.md"),
    include_str!("../../../../docs/throttlectl.md"),
];

/// The semaphores of the sample configuration, and others that the examples use.
const SEMAPHORES: [(&str, u64, i32); 5] =
    [("A", 42, 0), ("B", 1, 1), ("import", 1, 0), ("nightly", 1, 0), ("report", 1, 0)];

#[test]
fn the_lines_of_the_documents_run_unchanged() {
    let server = TestServer::with_semaphores(SEMAPHORES, |handle| {
        let metrics = Metrics::new(Arc::new(NoopRecorder), Arc::new(String::new));
        let reload = || std::future::ready(Ok(Reloaded::default()));
        Api::new(handle).metrics(metrics).reload(reload)
    });
    for script in ["import.sh", "nightly.sh"] {
        let path = server.file(script);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let program = Path::new(env!("CARGO_BIN_EXE_throttlectl"));
    let path = format!("{}:{}", program.parent().unwrap().display(), env::var("PATH").unwrap());
    for document in DOCUMENTS {
        let lines = document.lines().map(|line| line.strip_prefix("$ ").unwrap_or(line));
        let lines: Vec<&str> = lines.filter(|line| line.starts_with("throttlectl ")).collect();
        assert!(lines.len() > 1, "some lines were not found");
        for line in lines.into_iter().filter(|line| !line.starts_with("throttlectl completions")) {
            let mut shell = Command::new("sh");
            shell.args(["-c", line]).current_dir(server.file("")).env("PATH", &path);
            shell.env("THROTTLE_URL", &server.url).env("NO_PROXY", "*");
            shell.env_remove("THROTTLE_TOKEN").stdin(std::process::Stdio::null());
            let (code, _, stderr) = run(&mut shell);
            assert_eq!(code, 0, "{line}: {stderr}");
            assert!(line.contains("||") || stderr.is_empty(), "{line}: {stderr}");
        }
    }
}

#[test]
fn the_sample_configuration_has_the_semaphores_of_the_documents() {
    let sample = include_str!("../../../../configs/throttle.toml");
    assert!(sample.contains("[semaphores]\nA = 42\nB = { max = 1, level = 1 }\n"), "{sample}");
}
