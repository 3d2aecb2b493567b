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
    TestServer, exit_status, is_alive, process_id, process_state, send_signal, spawn, started_by,
    wait_for_line, wait_until,
};

/// A shell at its own terminal. `$T` is `throttlectl`.
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
        wait_until(|| String::from_utf8_lossy(&self.screen.lock().unwrap()).contains(text));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.shell.kill().unwrap();
        self.shell.wait().unwrap();
        if thread::panicking() {
            let screen = String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned();
            #[expect(clippy::print_stderr, reason = "it shows why the test failed")]
            {
                eprintln!("{screen}");
            }
        }
    }
}

/// A script that writes its process id and then counts. It starts no process, because a shell may not stop
/// while it starts one.
const COUNTER: &str = "echo $$ > counter; while :; do echo x >> counts; done";

fn is_stopped(process: u32) -> bool {
    process_state(process) == Some('T')
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
    wait_for_line(file)
}

#[test]
fn a_command_may_read_from_the_terminal_whatever_its_streams_are() {
    for streams in ["", "< /dev/null", "< /dev/null > /dev/null 2>&1", "| cat"] {
        let server = TestServer::new();
        let mut terminal = Terminal::new(&server);
        let script = "echo in > in; read -r word < /dev/tty; echo $word > word";
        terminal.types(&format!("$T lock A -- sh -c '{script}' {streams}\n"));
        wait_for_line(&server.file("in"));
        terminal.types("swordfish\n");
        assert_eq!(wait_for_line(&server.file("word")), "swordfish", "{streams}");
        assert_eq!(status(&mut terminal, &server.file("status")), "0", "{streams}");
    }
}

#[test]
fn a_stopped_job_continues_if_the_lock_is_still_held() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    terminal.types(&format!("$T lock A -- sh -c '{COUNTER}' < /dev/null\n"));
    let counter = process_id(&server.file("counter"));
    terminal.types("\x1a");
    terminal.until_shows("Stopped");
    assert!(is_stopped(counter) && is_stopped(parent(counter)));
    let before = counts(&server);
    terminal.types("fg\n");
    wait_until(|| counts(&server) > before);
    terminal.types("\x03");
    assert_eq!(status(&mut terminal, &server.file("status")), "130");
}

#[test]
fn a_job_stopped_under_two_locks_continues_in_the_foreground() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    terminal.types(&format!("$T lock B -- $T lock A -- sh -c '{COUNTER}'\n"));
    let counter = process_id(&server.file("counter"));
    let inner = parent(counter);
    terminal.types("\x1a");
    terminal.until_shows("Stopped");
    assert!([counter, inner, parent(inner)].into_iter().all(is_stopped));
    let before = counts(&server);
    terminal.types("fg\n");
    wait_until(|| counts(&server) > before);
    terminal.types("\x03");
    assert_eq!(status(&mut terminal, &server.file("status")), "130");
}

#[test]
fn a_stop_of_the_program_alone_does_not_stop_the_script_that_started_it() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    let script = "\"$T\" lock A -- sh -c \"$0\" & trap \"echo trapped > trapped\" USR1; \
                  echo $$ > script; while :; do wait; done";
    terminal.types(&format!("sh -c '{script}' '{COUNTER}'\n"));
    let (script, counter) =
        (process_id(&server.file("script")), process_id(&server.file("counter")));
    let program = parent(counter);
    send_signal("TSTP", program);
    wait_until(|| is_stopped(program) && is_stopped(counter));
    send_signal("USR1", script);
    assert_eq!(wait_for_line(&server.file("trapped")), "trapped");
    let before = counts(&server);
    send_signal("CONT", program);
    wait_until(|| counts(&server) > before);
    send_signal("TERM", program);
    wait_until(|| !is_alive(program));
}

#[test]
fn a_job_stopped_for_longer_than_the_lease_does_not_continue() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    let flags = "--lease 1s --grace 200ms";
    terminal.types(&format!("$T lock A {flags} -- sh -c '{COUNTER}'\n"));
    let counter = process_id(&server.file("counter"));
    terminal.types("\x1a");
    terminal.until_shows("Stopped");
    let before = counts(&server);
    wait_until(|| server.call(|it| async move { it.remainder("A").await.unwrap() }) == 1);
    terminal.types("fg\n");
    assert_eq!(status(&mut terminal, &server.file("status")), "76");
    assert_eq!(counts(&server), before, "it did nothing without the lock");
    assert!(!is_alive(counter));
}

#[test]
fn processes_that_a_command_started_at_a_terminal_end_with_the_lock() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    let script = "trap \"\" TERM; sleep 60 & echo $! > child; echo $$ > shell; wait";
    terminal.types(&format!("$T lock A --lease 2s --grace 100ms -- sh -c '{script}'\n"));
    let family = [process_id(&server.file("child")), process_id(&server.file("shell"))];
    let files = server.shut_down();
    assert_eq!(status(&mut terminal, &files.path().join("status")), "76");
    wait_until(|| !family.iter().any(|&process| is_alive(process)));
}

#[test]
fn a_background_job_stops_when_it_reads_from_the_terminal_and_gets_it_by_fg() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    let script = "echo $$ > shell; read -r word; echo $word > word";
    // `set -b` makes the shell report the state of its job at once. Before that it would not continue the job.
    terminal.types(&format!("set -b; $T lock A -- sh -c '{script}' &\n"));
    let shell = process_id(&server.file("shell"));
    terminal.until_shows("Stopped");
    assert!(is_stopped(shell) && is_stopped(parent(shell)));
    terminal.types("fg\n");
    wait_until(|| !is_stopped(shell));
    terminal.types("swordfish\n");
    assert_eq!(wait_for_line(&server.file("word")), "swordfish");
    assert_eq!(status(&mut terminal, &server.file("status")), "0");
}

#[test]
fn a_script_keeps_the_terminal_while_its_command_runs_in_the_background() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    let script = "\"$T\" lock A -- sh -c \"echo in > in; exec sleep 60\" & \
                  while [ ! -e in ]; do sleep 0.01; done; \
                  read -r word; echo $word > word; kill $!; wait $!";
    terminal.types(&format!("sh -c '{script}'\n"));
    wait_for_line(&server.file("in"));
    terminal.types("swordfish\n");
    assert_eq!(wait_for_line(&server.file("word")), "swordfish");
    assert_eq!(status(&mut terminal, &server.file("status")), "143");
}

#[test]
fn ctrl_c_also_interrupts_the_script_that_runs_the_program() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    let script = "\"$T\" lock A -- sh -c \"echo in > in; exec sleep 60\"; echo never > never";
    terminal.types(&format!("sh -c '{script}'\n"));
    wait_for_line(&server.file("in"));
    terminal.types("\x03");
    assert_eq!(status(&mut terminal, &server.file("status")), "130");
    assert!(!server.file("never").exists());
}

#[test]
fn ctrl_z_stops_nothing_for_ever_if_there_is_no_shell_to_continue_it() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    terminal.types(&format!("exec $T lock A -- sh -c '{COUNTER}'\n"));
    let counter = process_id(&server.file("counter"));
    terminal.types("\x1a");
    terminal.until_shows("^Z");
    let before = counts(&server);
    wait_until(|| counts(&server) > before + 10);
    terminal.types("\x03");
    wait_until(|| !is_alive(counter));
}

#[test]
fn a_waiter_at_a_terminal_shows_its_place_and_can_be_stopped_and_interrupted() {
    let server = TestServer::new();
    let mut holder = spawn(&mut server.lock(&[], "echo in > in; exec sleep 60"));
    wait_for_line(&server.file("in"));
    let mut before = spawn(&mut server.lock(&[], "exit 5"));
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
    wait_until(|| !is_stopped(waiter));
    terminal.types("\x03");
    assert_eq!(status(&mut terminal, &server.file("status")), "130");
    server.until_waiters(1);
    send_signal("TERM", holder.id());
    assert_eq!((exit_status(&mut holder), exit_status(&mut before)), (143, 5));
}

/// `stty tostop` stops programs that write from the background, where this program is while the command runs.
#[test]
fn a_message_does_not_delay_the_end_of_a_command() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    let script = "trap \"\" TERM; echo $$ > shell; while :; do :; done";
    terminal.types("stty tostop\n");
    terminal.types(&format!("$T lock A --lease 2s --grace 100ms -- sh -c '{script}'\n"));
    let shell = process_id(&server.file("shell"));
    let files = server.shut_down();
    wait_until(|| !is_alive(shell));
    terminal.until_shows("the command gets TERM");
    assert_eq!(status(&mut terminal, &files.path().join("status")), "76");
}

/// An editor that is killed leaves the terminal in raw mode.
#[test]
fn the_terminal_is_restored_after_a_command_is_killed() {
    let server = TestServer::new();
    let mut terminal = Terminal::new(&server);
    let script = "trap \"\" TERM; stty -echo raw; echo $$ > shell; while :; do :; done";
    let flags = "--lease 1s --grace 100ms";
    let line = format!("sh -c '$T lock A {flags} -- sh -c \"$0\"; stty -a > modes' '{script}'");
    terminal.types(&format!("{line}\n"));
    process_id(&server.file("shell"));
    let files = server.shut_down();
    let modes = files.path().join("modes");
    wait_until(|| fs::read_to_string(&modes).is_ok_and(|it| it.contains(" echo ")));
}
