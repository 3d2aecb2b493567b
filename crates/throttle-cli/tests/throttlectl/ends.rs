//! Signals, locks that are lost, and servers and programs that die.

use std::{fs, time::Instant};

#[cfg(target_os = "linux")]
use crate::support::is_alive;
use crate::support::{World, end, line, process, signal, start, until};

/// A shell that tells its number and that of a child in the background, and waits.
const FAMILY: &str = "sleep 60 & echo $! > child; echo $$ > shell; wait";

/// The same, but nothing short of KILL ends it.
const STUBBORN: &str = "trap '' TERM INT HUP; sleep 60 & echo $! > child; echo $$ > shell; \
                        while true; do sleep 60; done";

#[test]
#[cfg(target_os = "linux")]
fn signals_reach_the_command_and_all_that_it_started() {
    for (name, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let world = World::new();
        // Whoever runs the tests in the background has them ignore INT, which a shell cannot undo.
        let shell = ["lock", "A", "--", "env", "--default-signal=INT", "sh", "-c", FAMILY];
        let mut program = start(&mut world.throttlectl(&shell));
        let family = [process(&world.file("child")), process(&world.file("shell"))];
        signal(name, program.id());
        assert_eq!(end(&mut program), code, "{name}");
        // A shell lets what it starts in the background ignore INT.
        if name != "INT" {
            until(|| !family.iter().any(|&process| is_alive(process)));
        }
        let remainder = world.ask(|it| async move { it.remainder("A").await.unwrap() });
        assert_eq!(remainder, 1);
    }
}

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
#[cfg(target_os = "linux")]
#[expect(clippy::disallowed_methods, reason = "leases are real time")]
fn when_the_server_dies_the_command_is_dead_before_the_lease_ends_whatever_it_ignores() {
    use std::time::Duration;

    let world = World::new();
    let mut program = start(&mut world.lock(&["--lease", "3s", "--grace", "500ms"], STUBBORN));
    let family = [process(&world.file("child")), process(&world.file("shell"))];
    let files = world.die();
    let death = Instant::now();
    assert_eq!(end(&mut program), 76);
    assert!(death.elapsed() < Duration::from_secs(3), "others can have it now");
    until(|| !family.iter().any(|&process| is_alive(process)));
    drop(files);
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

#[test]
#[cfg(target_os = "linux")]
fn when_an_operator_takes_the_lock_away_the_command_ends() {
    let world = World::new();
    let mut program = start(&mut world.lock(&["--lease", "2s", "--grace", "100ms"], STUBBORN));
    let family = [process(&world.file("child")), process(&world.file("shell"))];
    let peer = world.ask(|it| async move { it.peers().await.unwrap()[0].id });
    // The server has to have run for longer than since it last heard of the peer.
    until(|| {
        let left = world.ask(|it| async move { it.peers().await.unwrap()[0].time_left });
        left.as_millis() < 1_900
    });
    assert!(world.ask(|it| async move { it.remove_peer(peer).await.unwrap() }));
    assert_eq!(end(&mut program), 76);
    until(|| !family.iter().any(|&process| is_alive(process)));
    assert_eq!(world.ask(|it| async move { it.peers().await.unwrap().len() }), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn the_command_does_not_outlive_a_program_that_is_killed() {
    let world = World::new();
    let mut program = start(&mut world.lock(&[], STUBBORN));
    let shell = process(&world.file("shell"));
    let child = process(&world.file("child"));
    program.kill().unwrap();
    program.wait().unwrap();
    until(|| !is_alive(shell));
    // What the command itself had started is out of reach.
    signal("KILL", child);
}
