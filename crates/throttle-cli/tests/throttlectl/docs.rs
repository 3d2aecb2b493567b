//! The command lines of the documents.

use std::{fs, path::Path, process::Command, sync::Arc};

use metrics::NoopRecorder;
use throttle_client::Reloaded;
use throttle_http::{Api, Metrics};

use crate::support::{World, run};

/// The lines that begin with `$` in blocks of a console.
fn lines(document: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(document);
    let text = fs::read_to_string(path).unwrap();
    let blocks = text.split("```console\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap_or_default());
    let lines = blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("$ "));
    lines.map(str::to_owned).collect()
}

#[test]
fn every_documented_command_line_runs_with_the_sample_configuration() {
    let world = World::of([("A", 42, 0), ("B", 1, 1)], |handle| {
        let render = Arc::new(String::new);
        Api::new(handle)
            .metrics(Metrics::new(Arc::new(NoopRecorder), render))
            .reload(|| std::future::ready(Ok(Reloaded::default())))
    });
    let lines = lines("throttlectl.md");
    assert!(lines.len() > 10, "{lines:?}");
    let programs = Path::new(env!("CARGO_BIN_EXE_throttlectl")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    for line in lines {
        let mut shell = Command::new("bash");
        shell.args(["-c", &line]).env("PATH", &path);
        shell
            .env("THROTTLE_URL", &world.url)
            .env("NO_PROXY", "*")
            .stdin(std::process::Stdio::null());
        let (code, _, stderr) = run(&mut shell);
        assert_eq!(code, 0, "{line}: {stderr}");
    }
}

#[test]
fn the_documented_semaphores_are_those_of_the_sample() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/throttle.toml");
    let sample = fs::read_to_string(sample).unwrap();
    assert!(sample.contains("[semaphores]\nA = 42\nB = { max = 1, level = 1 }\n"), "{sample}");
}
