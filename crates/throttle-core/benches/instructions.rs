//! The cost of an operation in instructions, which other load on the machine does not change.
//!
//! `cargo xtask instructions` counts them with `valgrind`. It runs this program with a question, a number
//! of peers and a number of steps, then with twice as many steps; the difference is the cost of the steps.
//! `--list` prints the questions, each with the operations of one step. Without arguments, as a test, every
//! question runs a few steps in a small crowd.

mod crowd;

use std::env;

use crate::crowd::{Crowd, Question};

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--list"] => list(),
        [name, peers, steps] => {
            let question = QUESTIONS.iter().find(|(known, _)| *known == name);
            let (_, question) = question.expect("a name from the list");
            run(question, number(peers), number(steps));
        }
        _ => QUESTIONS.iter().for_each(|(_, question)| run(question, 1_000, 10)),
    }
}

#[expect(clippy::print_stdout, reason = "xtask reads it")]
fn list() {
    for (name, question) in QUESTIONS {
        println!("{name} {}", question.operations);
    }
}

fn run(question: &Question, peers: u64, steps: u64) {
    let mut crowd: Crowd = (question.prepare)(peers);
    for _ in 0..steps {
        (question.step)(&mut crowd);
    }
    assert!(crowd.throttle.peer_count() as u64 >= peers, "the peers that stay do not expire");
}

fn number(argument: &str) -> u64 {
    argument.parse().expect("a number")
}

const QUESTIONS: &[(&str, Question)] = &[
    ("acquire_and_release", crowd::ACQUIRE_AND_RELEASE),
    ("come_and_expire", crowd::COME_AND_EXPIRE),
    ("come_and_expire_in_a_chain", crowd::COME_AND_EXPIRE_IN_A_CHAIN),
    ("hand_over", crowd::HAND_OVER),
    ("heartbeat", crowd::HEARTBEAT),
    ("new_peer_and_remove_peer", crowd::NEW_PEER_AND_REMOVE_PEER),
];
