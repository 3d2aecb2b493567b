//! The command and all that it started, when they are to end. Whether they are alive is known on Linux.

use std::time::{Duration, Instant};

use crate::support::{World, end, is_alive, process, signal, start, until, with_signals};

/// A shell that tells its number and that of a child in the background, and waits.
const FAMILY: &str = "sleep 60 & echo $! > child; echo $$ > shell; wait";

/// The same, but nothing short of KILL ends it.
const STUBBORN: &str = "trap '' TERM INT HUP; sleep 60 & echo $! > child; echo $$ > shell; \
                        while true; do sleep 60; done";

#[test]
fn signals_reach_the_command_and_all_that_it_started() {
    for (name, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let world = World::new();
        // Whoever runs the tests in the background has them ignore INT.
        let mut program = start(&mut with_signals("--default-signal", &world.lock(&[], FAMILY)));
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
#[expect(clippy::disallowed_methods, reason = "leases are real time")]
fn when_the_server_dies_the_command_is_dead_before_the_lease_ends_whatever_it_ignores() {
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
