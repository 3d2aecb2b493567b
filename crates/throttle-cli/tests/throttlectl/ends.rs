//! Signals, and servers that die.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    World, end, is_alive, line, process, run, signal, start, started_by, until, with_signals,
};

#[test]
fn a_command_may_answer_to_a_signal_as_it_likes() {
    let world = World::new();
    let script =
        "trap 'echo told > told; exit 3' USR1; echo in > in; while true; do sleep 0.01; done";
    let mut program = start(&mut world.lock(&[], script));
    line(&world.file("in"));
    signal("USR1", program.id());
    assert_eq!(end(&mut program), 3);
    assert_eq!(line(&world.file("told")), "told");
}

#[test]
fn a_signal_ends_the_wait_and_leaves_the_queue() {
    let world = World::new();
    let mut holder = start(&mut world.lock(&[], "echo in > in; exec sleep 60"));
    line(&world.file("in"));
    let mut waiter = start(&mut world.lock(&[], "echo never > never"));
    world.until_waiters(1);
    signal("TERM", waiter.id());
    assert_eq!(end(&mut waiter), 143);
    world.until_waiters(0);
    signal("TERM", holder.id());
    assert_eq!(end(&mut holder), 143);
    assert!(!world.file("never").exists());
}

#[test]
fn a_command_whose_lock_is_in_danger_is_told_to_end_in_good_order() {
    let world = World::new();
    let script =
        "trap 'echo told > told; exit 0' TERM; echo in > in; while true; do sleep 0.01; done";
    let mut program = start(&mut world.lock(&["--lease", "3s", "--grace", "1s"], script));
    line(&world.file("in"));
    let told = world.file("told");
    let files = world.die();
    assert_eq!(end(&mut program), 76, "it has not done all it would have");
    assert_eq!(fs::read_to_string(told).unwrap(), "told\n");
    drop(files);
}

/// As `nohup` starts it, and as a script starts what it runs in the background.
#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    for name in ["HUP", "INT", "QUIT"] {
        let ignoring = format!("--ignore-signal={name}");
        let world = World::new();
        let script = "echo in > in; while [ ! -e go ]; do sleep 0.01; done; exit 5";
        let mut program = start(&mut with_signals(&ignoring, &world.lock(&[], script)));
        line(&world.file("in"));
        signal(name, program.id());
        // Signals are heard in the order in which they come.
        signal("USR1", program.id());
        assert_eq!(end(&mut program), 138, "{name}: USR1 alone ended the command");

        let mut holder = start(&mut world.lock(&[], "echo in > in2; exec sleep 60"));
        line(&world.file("in2"));
        let mut waiter = start(&mut with_signals(&ignoring, &world.lock(&[], "exit 5")));
        world.until_waiters(1);
        signal(name, waiter.id());
        signal("TERM", holder.id());
        assert_eq!(end(&mut holder), 143);
        assert_eq!(end(&mut waiter), 5, "{name}");
    }
}

#[test]
fn the_status_of_the_command_is_known_although_the_parent_ignores_the_ends_of_children() {
    let world = World::new();
    for (script, code) in [("exit 7", 7), ("exit 0", 0)] {
        assert_eq!(
            run(&mut with_signals("--ignore-signal=CHLD", &world.lock(&[], script))).0,
            code
        );
    }
}

/// A package manager replaces the file while the program waits for the lock.
#[test]
fn a_program_whose_file_is_replaced_while_it_waits_runs_the_command_all_the_same() {
    let world = World::new();
    let mut holder = start(&mut world.lock(&[], "echo in > in; exec sleep 60"));
    line(&world.file("in"));
    let copy = world.file("throttlectl");
    fs::copy(env!("CARGO_BIN_EXE_throttlectl"), &copy).unwrap();
    let mut waiter = start(&mut started_by(Command::new(&copy), &world.lock(&[], "exit 5")));
    world.until_waiters(1);
    fs::remove_file(&copy).unwrap();
    signal("TERM", holder.id());
    assert_eq!(end(&mut holder), 143);
    assert_eq!(end(&mut waiter), 5);
}

/// A pipe that is full and not read lets nobody write, for ever.
#[test]
#[expect(clippy::disallowed_methods, reason = "leases are real time")]
fn a_command_ends_with_its_lock_although_nobody_reads_the_messages() {
    let world = World::new();
    let (_reader, writer) = std::io::pipe().unwrap();
    let mut stuffing = writer.try_clone().unwrap();
    let script = "echo $$ > in; trap '' TERM; while :; do sleep 1; done";
    let mut command = world.lock(&["--lease", "2s", "--grace", "100ms"], script);
    let mut program = command.stderr(writer).stdout(Stdio::null()).spawn().unwrap();
    drop(command);
    line(&world.file("in"));
    thread::spawn(move || while stuffing.write(&[0; 1024]).is_ok() {});
    let files = world.die();
    let death = Instant::now();
    assert_eq!(end(&mut program), 76);
    assert!(death.elapsed() < Duration::from_secs(3));
    drop(files);
}

/// What holds up a command that was told to end holds up nobody who says so again.
#[test]
fn signals_are_passed_on_during_the_grace_and_a_second_one_cuts_it_short() {
    let world = World::new();
    let script = "trap 'echo x >> told' TERM; trap 'echo usr1 > usr1' USR1; echo $$ > in; \
                  while :; do sleep 0.01; done";
    let mut program = start(&mut world.lock(&["--lease", "5s", "--grace", "2500ms"], script));
    let shell = process(&world.file("in"));
    let peer = world.ask(|it| async move { it.peers().await.unwrap()[0].id });
    // The server has to have run for longer than since it last heard of the peer.
    until(|| {
        let left = world.ask(|it| async move { it.peers().await.unwrap()[0].time_left });
        left.as_millis() < 4_900
    });
    world.ask(|it| async move { it.remove_peer(peer).await.unwrap() });
    let told = |times: usize| {
        until(|| fs::read(world.file("told")).unwrap_or_default().len() == 2 * times)
    };
    told(1);
    signal("USR1", program.id());
    line(&world.file("usr1"));
    signal("TERM", program.id());
    told(2);
    signal("TERM", program.id());
    assert_eq!(end(&mut program), 76);
    assert!(!is_alive(shell));
}
