//! Flags, environment variables, and configurations that are valid, wrong or missing.

use std::{
    fs,
    net::{TcpListener, ToSocketAddrs as _},
    path::{Path, PathBuf},
};

use expect_test::{Expect, expect};
use tempfile::TempDir;
use throttle_server::config::{Config, Memory};

use crate::support::{Server, directory, request, run, text, throttle};

/// The binary fails with these arguments and this message, and prints nothing else.
fn check_refused(config: &str, arguments: &[&str], expect: Expect) {
    let directory = directory(config);
    let output = run(directory.path(), arguments);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    expect.assert_eq(&text(&output.stderr));
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn without_arguments_it_serves_no_semaphores_and_warns_of_it() {
    let directory = TempDir::new().unwrap();
    let command = throttle(directory.path());
    let mut server = Server::spawn(directory, command);
    assert!(server.address.ip().is_loopback());
    assert!(server.wait_for("no semaphores").contains("WARN"));
    assert_eq!(server.request("GET", "/", ""), (200, "Hello from Throttle!".to_owned()));
    let unknown = (400, "Unknown semaphore".to_owned());
    assert_eq!(server.request("GET", "/remainder?semaphore=A", ""), unknown);
}

#[test]
fn a_throttle_toml_in_the_working_directory_is_read() {
    let server = Server::start("[semaphores]\nA = 5");
    assert_eq!(server.request("GET", "/remainder?semaphore=A", ""), (200, "5".to_owned()));
}

#[test]
fn the_binary_can_check_the_health_of_a_server() {
    let directory = TempDir::new().unwrap();
    let mut command = throttle(directory.path());
    command.env("THROTTLE_ADDRESS", "0.0.0.0");
    let server = Server::spawn(directory, command);
    let port = server.address.port().to_string();
    let here = TempDir::new().unwrap();
    for address in ["0.0.0.0", "127.0.0.1", "[127.0.0.1]", "localhost"] {
        let output = run(here.path(), &["--check-health", "--address", address, "--port", &port]);
        assert_eq!(output.status.code(), Some(0), "{address}: {}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "");
    }
    drop(server);
    let output = run(here.path(), &["--check-health", "--port", &port]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with(&format!("error: no health at 127.0.0.1:{port}: ")));
}

#[test]
fn flags_can_be_environment_variables() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("other.toml"), "[semaphores]\nB = 1").unwrap();
    let mut command = throttle(directory.path());
    command.env("THROTTLE_CONFIGURATION", "other.toml").env("THROTTLE_ADDRESS", "localhost");
    let server = Server::spawn(directory, command);
    assert!(server.address.ip().is_loopback());
    assert_eq!(server.request("GET", "/remainder?semaphore=B", ""), (200, "1".to_owned()));
}

#[test]
fn variables_that_are_empty_count_as_unset() {
    let directory = directory("[semaphores]\nA = 5");
    let mut command = throttle(directory.path());
    for name in ["ADDRESS", "CONFIGURATION", "LOG"] {
        command.env(format!("THROTTLE_{name}"), "");
    }
    let server = Server::spawn(directory, command);
    assert!(server.address.ip().is_loopback());
    assert_eq!(server.request("GET", "/remainder?semaphore=A", ""), (200, "5".to_owned()));

    let directory = TempDir::new().unwrap();
    let check = |port: &str, log: &str| {
        let mut command = throttle(directory.path());
        command.env("THROTTLE_PORT", port).env("THROTTLE_LOG", log).arg("--check-config");
        command.output().unwrap().status.code()
    };
    assert_eq!(check("", ""), Some(0));
    assert_eq!(check("tcp://10.3.2.1:8000", ""), Some(2));
    assert_eq!(check("", "LOUD"), Some(2));
}

#[test]
fn addresses_may_be_ipv6() {
    if TcpListener::bind("[::1]:0").is_err() {
        return; // This machine has no IPv6.
    }
    for address in ["::1", "[::1]", "::", "[::]"] {
        let directory = TempDir::new().unwrap();
        let mut command = throttle(directory.path());
        command.args(["--address", address]);
        let server = Server::spawn(directory, command);
        assert!(server.address.is_ipv6());
        let port = server.address.port().to_string();
        let here = TempDir::new().unwrap();
        let check = run(here.path(), &["--check-health", "--address", address, "--port", &port]);
        assert_eq!(check.status.code(), Some(0), "{address}: {}", text(&check.stderr));
    }
}

/// Otherwise a second server could grant the same locks on another address of the name.
#[test]
fn a_name_is_listened_on_at_all_its_addresses_or_not_at_all() {
    let directory = TempDir::new().unwrap();
    let mut command = throttle(directory.path());
    command.args(["--address", "localhost"]);
    let server = Server::spawn(directory, command);
    let port = server.address.port();
    for address in ("localhost", port).to_socket_addrs().unwrap() {
        if TcpListener::bind((address.ip(), 0)).is_ok() {
            assert_eq!(request(address, "GET", "/health", ""), (200, "Ok".to_owned()));
        }
    }
    let here = TempDir::new().unwrap();
    let second = run(here.path(), &["--address", "localhost", "--port", &port.to_string()]);
    assert_eq!(second.status.code(), Some(1));
    let error = text(&second.stderr);
    assert!(error.contains(&format!("error: cannot listen on localhost:{port}: ")), "{error}");
}

#[test]
fn a_configuration_file_that_is_given_must_exist() {
    let directory = TempDir::new().unwrap();
    let output = run(directory.path(), &["-c", "missing.toml", "--port", "0"]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.starts_with("error: cannot read the configuration missing.toml: "), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn a_wrong_configuration_is_refused_with_the_place_of_the_mistake() {
    check_refused(
        "[semaphores]\nA = 1\nB = -3\n",
        &["--port", "0"],
        expect![[r#"
        error: throttle.toml:3:5: semaphores.B: invalid value: integer `-3`, expected a whole number from 1 to 9007199254740991
    "#]],
    );
    check_refused(
        "[semaphore]\nA = 1\n",
        &["-c", "throttle.toml"],
        expect![[r#"
            error: throttle.toml:1:2: semaphore: unknown field `semaphore`, expected one of `litter_collection_interval`, `abandoned_after`, `no_semaphores`, `semaphores`, `store`, `restart`, `limits`, `logging`, `metrics`
        "#]],
    );
    check_refused(
        "[semaphores]\nA = 0\n[limits]\npeer = 1\n",
        &["--check-config"],
        expect![[r#"
            error: throttle.toml:2:5: semaphores.A: invalid value: integer `0`, expected a whole number from 1 to 9007199254740991
            error: throttle.toml:4:1: limits.peer: unknown field `peer`, expected one of `peers`, `waiters`, `connections`, `open_waits`, `request_timeout`, `head`, `body`, `name_length`, `expires_in`, `block_for`, `labels`, `label_length`, `listings`, `label_bytes`
        "#]],
    );
    check_refused(
        "[logging.stderr]\nlevel = 3\n",
        &["--check-config"],
        expect![[r#"
        error: throttle.toml:2:9: logging.stderr.level: invalid type: integer `3`, expected a string
    "#]],
    );
}

#[test]
fn a_configuration_that_is_not_utf_8_is_refused_with_the_place() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("throttle.toml");
    fs::write(file, b"[semaphores]\nA = 1\n\"\xc3\xa4\xe4\" = 1\n").unwrap();
    let output = run(directory.path(), &["--check-config"]);
    assert_eq!(output.status.code(), Some(1));
    expect![[r#"
        error: throttle.toml:3:3: semaphores."ä�": the file is not UTF-8 from here on
    "#]]
    .assert_eq(&text(&output.stderr));
}

#[test]
fn a_check_summarises_the_configuration_and_does_not_listen() {
    let directory = directory(
        "[semaphores]\nA = 42\n\"/&\" = { max = 1, level = -1 }\n[logging.gelf]\nhost = \"graylog\"",
    );
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(directory.path(), &["--check-config", "--port", &port, "--log", "debug"]);
    assert!(output.status.success());
    expect![[r#"
        throttle.toml is valid.
        semaphores: 2
          "/&": max 1, level -1
          "A": max 42, level 0
        at most about 4220 MB of memory: program 20, semaphores 1, peers 421, waiters 90, labels 504, connections 3161, listings 26
        state: in memory
        log to stderr: DEBUG
        log to Graylog at graylog:12201: INFO
    "#]]
    .assert_eq(&text(&output.stdout));

    let empty = TempDir::new().unwrap();
    let output = run(empty.path(), &["--check-config"]);
    assert!(output.status.success());
    expect![[r#"
        There is no throttle.toml; the defaults apply.
        semaphores: 0
        at most about 4130 MB of memory: program 20, semaphores 0, peers 420, waiters 0, labels 504, connections 3161, listings 26
        state: in memory
        log to stderr: WARN
    "#]]
    .assert_eq(&text(&output.stdout));
}

#[test]
fn a_check_says_what_keeps_the_state() {
    let summary = |config: &str| {
        let directory = directory(config);
        let output = run(directory.path(), &["--check-config"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "it makes no file");
        text(&output.stdout)
    };
    let store = summary("[store]\n[restart]\ngrace_period = '90s'\n");
    assert!(store.contains("\nstate: durable in throttle.redb\n"), "{store}");
    assert!(store.contains("\ngrace period while the state is new: 1m 30s\n"));
    assert!(store.contains(", store 51\n"), "{store}");
    let file = summary("[restart]\nstate_file = 'it'\n");
    assert!(file.contains("\nstate: in memory, and in it from a stop to the next start\n"));
    check_refused(
        "[store]\n[restart]\nstate_file = 'it'\n",
        &["--check-config"],
        expect![[r#"
        error: throttle.toml:3:14: restart.state_file: a state file, although there is a section `store`, which keeps the state over every restart
    "#]],
    );
}

#[test]
fn the_documented_configuration_is_that_in_the_repository() {
    let directory = TempDir::new().unwrap();
    let printed = text(&run(directory.path(), &["--print-config"]).stdout);
    let kept = fs::read_to_string(repository().join("configs/throttle.toml")).unwrap();
    assert!(printed == kept.replace('\r', ""), "run `cargo xtask codegen`");
}

#[test]
fn configurations_in_the_repository_are_valid() {
    for name in ["throttle.toml", "durable.toml", "production.toml"] {
        let file = repository().join("configs").join(name);
        let output = run(&repository(), &["--check-config", "-c", file.to_str().unwrap()]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}

/// If a limit of the system were lower than those of the configuration, the system would end the server or its
/// connections.
#[test]
fn the_limits_of_shipped_configurations_fit_into_those_of_the_system() {
    let read = |name: &str| fs::read_to_string(repository().join("configs").join(name)).unwrap();
    let value = |text: &str, key: &str, unit: &str| {
        let (_, rest) = text.rsplit_once(key).expect(key);
        let value = rest.split_whitespace().next().unwrap().trim_end_matches(unit);
        value.parse::<u64>().unwrap()
    };
    let parse = |text: &str| Config::parse(text, Path::new("it")).unwrap();

    let manifest = read("kubernetes/throttle.yaml").replace('\r', "");
    let (_, rest) = manifest.split_once("throttle.toml: |\n").unwrap();
    let (config, _) = rest.split_once("---").unwrap();
    let memory = value(&manifest, "memory: ", "Mi") << 20;
    let needed = Memory::of(&parse(config)).sum();
    assert!(needed < memory, "{needed} of {memory}");

    let production = parse(&read("production.toml"));
    let open_files = value(&read("systemd/throttle.service"), "LimitNOFILE=", "");
    for limits in [production.limits, Config::default().limits] {
        assert!(limits.connections.get().is_none_or(|wanted| u64::from(wanted) < open_files));
    }
}

#[test]
fn version_and_usage() {
    let directory = TempDir::new().unwrap();
    let run = |arguments: &[&str]| run(directory.path(), arguments);
    let version = format!("throttle {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&run(&["--version"]).stdout), version);
    let help = text(&run(&["--help"]).stdout);
    for flag in ["--address", "--port", "--configuration", "--log", "THROTTLE_PORT"] {
        assert!(help.contains(flag), "{help}");
    }
    assert_eq!(run(&["--prot", "1"]).status.code(), Some(2));
    assert_eq!(run(&["--port", "65536"]).status.code(), Some(2));
}

#[test]
fn a_port_in_use_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let directory = TempDir::new().unwrap();
    let output = run(directory.path(), &["--port", &address.port().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    let expected = format!("error: cannot listen on {address}: ");
    assert!(error.lines().any(|line| line.starts_with(&expected)), "{error}");
}
