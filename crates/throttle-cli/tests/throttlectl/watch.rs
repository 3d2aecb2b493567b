//! `throttlectl watch`.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use axum::{Router, routing::get};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::{
    show::crowded,
    support::{TestServer, exit_status, run, send_signal, wait_until},
};

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Starts a command at a terminal of 40 columns. Returns the output that the terminal receives.
fn at_a_terminal(command: &mut Command) -> (Child, Arc<Mutex<String>>) {
    let (child, sent, _) = with_terminal(command);
    (child, sent)
}

/// The same, and returns the terminal as well.
fn with_terminal(command: &mut Command) -> (Child, Arc<Mutex<String>>, File) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let path = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
    let terminal = File::options().read(true).write(true).open(path).unwrap();
    let size = rustix::termios::Winsize { ws_row: 24, ws_col: 40, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&terminal, size).unwrap();
    let stdout = terminal.try_clone().unwrap();
    let child = command.stdout(stdout).stderr(Stdio::null()).spawn().unwrap();
    let sent = Arc::new(Mutex::new(String::new()));
    let screen = Arc::clone(&sent);
    let mut master = File::from(master);
    thread::spawn(move || {
        let mut bytes = [0; 4_096];
        // Reading fails when no process has the terminal open any more.
        while let Ok(length @ 1..) = master.read(&mut bytes) {
            screen.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    });
    (child, sent, terminal)
}

fn watch(server: &TestServer) -> Command {
    server.throttlectl(&["watch", "--interval", "100ms"])
}

#[test]
fn the_table_is_updated_until_a_signal_ends_the_program() {
    let (server, _) = crowded();
    let file = File::create(server.file("watched")).unwrap();
    let mut program = watch(&server).stdout(file).spawn().unwrap();
    let tables = || {
        let text = fs::read_to_string(server.file("watched")).unwrap();
        text.matches("SEMAPHORE").count()
    };
    wait_until(|| tables() >= 3);
    send_signal("INT", program.id());
    assert_eq!(exit_status(&mut program), 0);
}

#[test]
fn each_signal_that_ends_the_program_restores_the_terminal() {
    let (server, _) = crowded();
    for (name, code) in [("INT", 0), ("TERM", 143), ("HUP", 129), ("QUIT", 131)] {
        let (mut program, sent) = at_a_terminal(&mut watch(&server));
        let sent = || sent.lock().unwrap().clone();
        wait_until(|| sent().contains("SEMAPHORE"));
        assert!(sent().starts_with(ENTER), "{:?}", sent());
        send_signal(name, program.id());
        assert_eq!(exit_status(&mut program), code, "{name}");
        wait_until(|| sent().ends_with(LEAVE));
    }
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    let (server, _) = crowded();
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" watch --interval 100ms"]);
    shell
        .arg(env!("CARGO_BIN_EXE_throttlectl"))
        .env("THROTTLE_URL", &server.url)
        .env("NO_PROXY", "*");
    let (mut program, sent) = at_a_terminal(&mut shell);
    let frames = || sent.lock().unwrap().matches("SEMAPHORE").count();
    wait_until(|| frames() > 0);
    send_signal("HUP", program.id());
    let before = frames();
    wait_until(|| frames() > before + 2);
    send_signal("TERM", program.id());
    assert_eq!(exit_status(&mut program), 143);
}

/// The program handles signals and asks the server although its pipe is full.
#[test]
fn a_pipe_that_nobody_reads_holds_nothing_up() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let semaphores = move || {
        count.fetch_add(1, Ordering::Relaxed);
        std::future::ready("[]")
    };
    let server = TestServer::with_routes(|| {
        let routes = Router::new().route("/version", get(async || "0.6.0"));
        routes.route("/semaphores", get(semaphores))
    });
    let (_reader, mut writer) = std::io::pipe().unwrap();
    let capacity = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
    writer.write_all(&vec![b' '; capacity]).unwrap();
    let mut program = watch(&server).stdout(writer).spawn().unwrap();
    wait_until(|| asked.load(Ordering::Relaxed) >= 3);
    send_signal("TERM", program.id());
    assert_eq!(exit_status(&mut program), 143);
}

/// For example after Ctrl+S.
#[test]
fn a_terminal_that_accepts_no_output_holds_no_signal_up() {
    let (server, _) = crowded();
    let (mut program, sent, terminal) = with_terminal(&mut watch(&server));
    wait_until(|| sent.lock().unwrap().contains("SEMAPHORE"));
    rustix::termios::tcflow(&terminal, rustix::termios::Action::OOff).unwrap();
    send_signal("TERM", program.id());
    assert_eq!(exit_status(&mut program), 143);
}

#[test]
fn a_stopped_program_restores_the_terminal_and_draws_again_when_it_continues() {
    let (server, _) = crowded();
    let (mut program, sent) = at_a_terminal(&mut watch(&server));
    let sent = || sent.lock().unwrap().clone();
    wait_until(|| sent().contains("SEMAPHORE"));
    send_signal("TSTP", program.id());
    let stat = format!("/proc/{}/stat", program.id());
    wait_until(|| fs::read_to_string(&stat).unwrap().rsplit(") ").next().unwrap().starts_with('T'));
    wait_until(|| sent().ends_with(LEAVE));
    send_signal("CONT", program.id());
    wait_until(|| sent().rsplit(LEAVE).next().unwrap().contains("SEMAPHORE"));
    assert!(sent().rsplit(LEAVE).next().unwrap().starts_with(ENTER));
    send_signal("TERM", program.id());
    assert_eq!(exit_status(&mut program), 143);
}

#[test]
fn no_line_is_longer_than_the_terminal_is_wide() {
    let (server, _) = crowded();
    let (mut program, sent) = at_a_terminal(&mut watch(&server));
    let sent = || sent.lock().unwrap().clone();
    let table = || {
        let sent = sent();
        let mut frames = sent.split("\x1b[H").filter_map(|it| it.strip_suffix("\x1b[J"));
        frames.find(|frame| frame.contains("SEMAPHORE")).map(str::to_owned)
    };
    wait_until(|| table().is_some());
    let table = table().unwrap();
    let lines: Vec<_> = table.split("\x1b[K").collect();
    let width = |line: &&str| line.trim_start().chars().count();
    assert_eq!(lines.iter().map(width).max(), Some(40), "{lines:?}");
    send_signal("TERM", program.id());
    assert_eq!(exit_status(&mut program), 143);
}

#[test]
fn a_table_that_is_out_of_date_shows_its_age() {
    let (server, _) = crowded();
    let (mut program, sent) = at_a_terminal(&mut watch(&server));
    wait_until(|| sent.lock().unwrap().contains("SEMAPHORE"));
    let files = server.shut_down();
    wait_until(|| sent.lock().unwrap().contains(" ago: "));
    send_signal("INT", program.id());
    assert_eq!(exit_status(&mut program), 0);
    drop(files);
}

#[test]
fn an_interval_that_is_too_short_is_refused() {
    let server = TestServer::new();
    for interval in ["0s", "99ms", "nonsense"] {
        let (code, _, stderr) = run(&mut server.throttlectl(&["watch", "--interval", interval]));
        assert_eq!(code, 64);
        assert!(stderr.contains(interval), "{stderr}");
    }
}
