//! The lines that the documents show, as somebody types them.
#![cfg(unix)]

use std::{collections::BTreeMap, env, fs, os::unix::fs::PermissionsExt as _, path::Path};

use throttle_runtime::{Count, Handle, Level, SemaphoreConfig, Settings};
use tokio::{net::TcpListener, runtime::Runtime};

use crate::support::run;

const DOCUMENTS: [&str; 2] =
    [include_str!("../../../../README.md"), include_str!("../../../../docs/migrating.md")];

#[test]
fn the_lines_of_the_documents_run_as_they_stand() {
    let runtime = Runtime::new().unwrap();
    let names = ["A", "B", "import", "nightly", "report"];
    let url = runtime.block_on(serve(&names));
    let directory = tempfile::tempdir().unwrap();
    for script in ["import.sh", "nightly.sh"] {
        let path = directory.path().join(script);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let program = Path::new(env!("CARGO_BIN_EXE_throttlectl"));
    let path = format!("{}:{}", program.parent().unwrap().display(), env::var("PATH").unwrap());
    let lines = DOCUMENTS.iter().flat_map(|text| text.lines());
    let lines: Vec<&str> = lines.filter(|line| line.starts_with("throttlectl ")).collect();
    assert!(lines.len() > 4, "some lines were not found");
    for line in lines {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", line]).current_dir(directory.path()).env("PATH", &path);
        shell.env("THROTTLE_URL", &url).env("NO_PROXY", "*").env_remove("THROTTLE_TOKEN");
        let (code, _, stderr) = run(&mut shell);
        assert_eq!((code, &*stderr), (0, ""), "{line}");
    }
}

/// A server with mutexes of these names.
async fn serve(names: &[&str]) -> String {
    let mutex = SemaphoreConfig { max: Count::ONE, level: Level(0) };
    let semaphores: BTreeMap<_, _> = names.iter().map(|&name| (name.to_owned(), mutex)).collect();
    let routes = throttle_http::routes(Handle::start(Settings::default(), &semaphores));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, routes).await });
    url
}
