//! Commands under a lock at a terminal, with a shell that has job control.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::ffi::OsStringExt as _,
    path::Path,
    process::{Child, Command},
    sync::{Arc, Mutex},
    thread,
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::{
    TestServer, end, is_alive, line, process, signal, start, started_by, state, until,
};

/// A shell at a terminal of its own, in which `$T` is `throttlectl`.
struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    shell: Child,
}

impl Terminal {
    fn new(server: &TestServer) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap().into_bytes();
        let name = std::ffi::OsString::from_vec(name);
        let end = || File::options().read(true).write(true).open(&name).unwrap();
        let mut shell = Command::new("setsid");
        shell.args(["--ctty", "env", "--default-signal", "bash", "--noprofile", "--norc", "-i"]);
        let mut shell = started_by(shell, &server.throttlectl(&[]));
        shell.env("T", env!("CARGO_BIN_EXE_throttlectl"));
        let shell = shell.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let keyboard = File::from(keyboard);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let (mut output, shown) = (keyboard.try_clone().unwrap(), Arc::clone(&screen));
        thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                shown.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        Self { keyboard, screen, shell }
    }

    fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    fn until_shows(&self, text: &str) {
        until(|| String::from_utf8_lossy(&self.screen.lock().unwrap()).contains(text));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.shell.kill().unwrap();
        self.shell.wait().unwrap();
        if thread::panicking() {
            let screen = String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned();
            #[expect(clippy::print_stderr, reason = "it tells why the test failed")]
            {
                eprintln!("{screen}");
            }
        }
    }
}

/// A script that tells its number and then counts. It starts nothing, for a shell that is just starting
/// something may not stop before that is done.
const COUNTER: &str = "echo $$ > counter; while :; do echo x >> counts; done";

fn is_stopped(process: u32) -> bool {
    state(process) == Some('T')
}

fn counts(server: &TestServer) -> usize {
    fs::read(server.file("counts")).map_or(0, |it| it.len())
}

fn parent(process: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let after = stat.rsplit(") ").next().unwrap();
    after.split(' ').nth(1).unwrap().parse().unwrap()
}

fn status(terminal: &mut Terminal, file: &Path) -> String {
    terminal.types("echo $? > status\n");
    line(file)
}

#[test]
fn a_command_may_ask_at_the_terminal_whatever_its_streams_are() {
    for streams in ["", "< /dev/null", "< /dev/null > /dev/null 2>&1", "| cat"] {
        let server = TestServer::new();
        let mut terminal = Terminal::new(&server);
        let script = "echo in > in; read -r word < /dev/tty; echo $word > word";
        terminal.types(&format!("$T lock A -- sh -c '{script}' {streams}\n"));
        line(&server.file("in"));
        terminal.types("swordfish\n");
        assert_eq!(line(&server.file("word")), "swordfish", "{streams}");
        assert_eq!(status(&mut terminal, &server.file("status")), "0", "{streams}");
    }
}

#[test]
fn a_job_that_was_stopped_goes_on_if_the_lock_is_still_there() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    terminal.types(&format!("$T lock A -- sh -c '{COUNTER}' < /dev/null\n"));
    let counter = process(&server.file("counter"));
    terminal.types("\x1a");
    terminal.until_shows("Stopped");
    assert!(is_stopped(counter) && is_stopped(parent(counter)));
    let before = counts(&server);
    terminal.types("fg\n");
    until(|| counts(&server) > before);
    terminal.types("\x03");
    assert_eq!(status(&mut terminal, &server.file("status")), "130");
}

#[test]
fn a_job_that_was_stopped_under_two_locks_goes_on_in_the_foreground() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    terminal.types(&format!("$T lock B -- $T lock A -- sh -c '{COUNTER}'\n"));
    let counter = process(&server.file("counter"));
    let inner = parent(counter);
    terminal.types("\x1a");
    terminal.until_shows("Stopped");
    assert!([counter, inner, parent(inner)].into_iter().all(is_stopped));
    let before = counts(&server);
    terminal.types("fg\n");
    until(|| counts(&server) > before);
    terminal.types("\x03");
    assert_eq!(status(&mut terminal, &server.file("status")), "130");
}

#[test]
fn whoever_stops_the_program_alone_does_not_stop_what_started_it() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    let script = "\"$T\" lock A -- sh -c \"$0\" & trap \"echo heard > heard\" USR1; \
                  echo $$ > script; while :; do wait; done";
    terminal.types(&format!("sh -c '{script}' '{COUNTER}'\n"));
    let (script, counter) = (process(&server.file("script")), process(&server.file("counter")));
    let program = parent(counter);
    signal("TSTP", program);
    until(|| is_stopped(program) && is_stopped(counter));
    signal("USR1", script);
    assert_eq!(line(&server.file("heard")), "heard");
    let before = counts(&server);
    signal("CONT", program);
    until(|| counts(&server) > before);
    signal("TERM", program);
    until(|| !is_alive(program));
}

#[test]
fn a_job_that_was_stopped_for_longer_than_the_lease_does_not_go_on() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    let flags = "--lease 1s --grace 200ms";
    terminal.types(&format!("$T lock A {flags} -- sh -c '{COUNTER}'\n"));
    let counter = process(&server.file("counter"));
    terminal.types("\x1a");
    terminal.until_shows("Stopped");
    let before = counts(&server);
    until(|| server.call(|it| async move { it.remainder("A").await.unwrap() }) == 1);
    terminal.types("fg\n");
    assert_eq!(status(&mut terminal, &server.file("status")), "76");
    assert_eq!(counts(&server), before, "it did nothing without the lock");
    assert!(!is_alive(counter));
}

#[test]
fn what_a_command_started_at_a_terminal_ends_with_the_lock() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    let script = "trap \"\" TERM; sleep 60 & echo $! > child; echo $$ > shell; wait";
    terminal.types(&format!("$T lock A --lease 2s --grace 100ms -- sh -c '{script}'\n"));
    let family = [process(&server.file("child")), process(&server.file("shell"))];
    let files = server.shut_down();
    assert_eq!(status(&mut terminal, &files.path().join("status")), "76");
    until(|| !family.iter().any(|&process| is_alive(process)));
}

#[test]
fn a_job_in_the_background_stops_when_it_wants_the_terminal_and_gets_it_by_fg() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    let script = "echo $$ > shell; read -r word; echo $word > word";
    // `set -b` lets the shell say at once what became of its job: before, it would not continue it.
    terminal.types(&format!("set -b; $T lock A -- sh -c '{script}' &\n"));
    let shell = process(&server.file("shell"));
    terminal.until_shows("Stopped");
    assert!(is_stopped(shell) && is_stopped(parent(shell)));
    terminal.types("fg\n");
    until(|| !is_stopped(shell));
    terminal.types("swordfish\n");
    assert_eq!(line(&server.file("word")), "swordfish");
    assert_eq!(status(&mut terminal, &server.file("status")), "0");
}

#[test]
fn a_script_keeps_the_terminal_from_what_it_runs_in_the_background() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    let script = "\"$T\" lock A -- sh -c \"echo in > in; exec sleep 60\" & \
                  while [ ! -e in ]; do sleep 0.01; done; \
                  read -r word; echo $word > word; kill $!; wait $!";
    terminal.types(&format!("sh -c '{script}'\n"));
    line(&server.file("in"));
    terminal.types("swordfish\n");
    assert_eq!(line(&server.file("word")), "swordfish");
    assert_eq!(status(&mut terminal, &server.file("status")), "143");
}

#[test]
fn ctrl_c_interrupts_the_script_that_runs_it_as_well() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    let script = "\"$T\" lock A -- sh -c \"echo in > in; exec sleep 60\"; echo never > never";
    terminal.types(&format!("sh -c '{script}'\n"));
    line(&server.file("in"));
    terminal.types("\x03");
    assert_eq!(status(&mut terminal, &server.file("status")), "130");
    assert!(!server.file("never").exists());
}

#[test]
fn without_a_shell_to_continue_it_ctrl_z_stops_nothing_for_ever() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    terminal.types(&format!("exec $T lock A -- sh -c '{COUNTER}'\n"));
    let counter = process(&server.file("counter"));
    terminal.types("\x1a");
    terminal.until_shows("^Z");
    let before = counts(&server);
    until(|| counts(&server) > before + 10);
    terminal.types("\x03");
    until(|| !is_alive(counter));
}

#[test]
fn whoever_waits_at_a_terminal_sees_the_own_place_and_can_stop_waiting() {
    let server = TestServer::new();
    let mut holder = start(&mut server.lock(&[], "echo in > in; exec sleep 60"));
    line(&server.file("in"));
    let mut before = start(&mut server.lock(&[], "exit 5"));
    server.until_waiters(1);
    let mut terminal = Terminal::new(&server);
    terminal.types("$T lock A -- true\n");
    terminal.until_shows("waiting for \"A\" after 1s: place 2 in the queue");
    terminal.types("\x1a");
    terminal.until_shows("Stopped");
    let shell = terminal.shell.id();
    let jobs = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
    let waiter = jobs.trim().parse().unwrap();
    terminal.types("fg\n");
    until(|| !is_stopped(waiter));
    terminal.types("\x03");
    assert_eq!(status(&mut terminal, &server.file("status")), "130");
    server.until_waiters(1);
    signal("TERM", holder.id());
    assert_eq!((end(&mut holder), end(&mut before)), (143, 5));
}

/// `stty tostop` stops whoever writes from the background, where this program is while the command runs.
#[test]
fn a_message_does_not_hold_up_the_end_of_a_command() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    let script = "trap \"\" TERM; echo $$ > shell; while :; do :; done";
    terminal.types("stty tostop\n");
    terminal.types(&format!("$T lock A --lease 2s --grace 100ms -- sh -c '{script}'\n"));
    let shell = process(&server.file("shell"));
    let files = server.shut_down();
    until(|| !is_alive(shell));
    terminal.until_shows("the command is told to end");
    assert_eq!(status(&mut terminal, &files.path().join("status")), "76");
}

/// As an editor leaves it that is killed.
#[test]
fn the_terminal_is_as_it_was_after_a_command_that_was_killed() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    let script = "trap \"\" TERM; stty -echo raw; echo $$ > shell; while :; do :; done";
    let flags = "--lease 1s --grace 100ms";
    let line = format!("sh -c '$T lock A {flags} -- sh -c \"$0\"; stty -a > modes' '{script}'");
    terminal.types(&format!("{line}\n"));
    process(&server.file("shell"));
    let files = server.shut_down();
    let modes = files.path().join("modes");
    until(|| fs::read_to_string(&modes).is_ok_and(|it| it.contains(" echo ")));
}
