//! Signals, and servers that die.

use std::fs;

use crate::support::{World, end, line, signal, start};

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
