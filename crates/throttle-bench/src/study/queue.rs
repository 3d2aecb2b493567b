//! Serves a long queue of open requests in strict order: how fast, and how much memory each of them takes.

use anyhow::Context as _;

use crate::{
    engine::{Engine, Load, Times},
    figures::{Figures, Measure, Subject},
    http::{Answer, Request},
    load::{BLOCKING, MUTEX, Serve, queue_up},
    plan::Plan,
    scale::Short,
    server::{Launcher, ServerKind},
};

/// Measures a queue of open requests at each server.
pub(crate) fn queue(launcher: &Launcher, plan: &Plan, figures: &mut Figures) -> anyhow::Result<()> {
    let length = plan.queue;
    let rounds = plan.slow_rounds();
    for round in 1..=rounds {
        for kind in launcher.kinds() {
            eprintln!("{length} open requests at {}: round {round} of {rounds}", kind.name());
            serve(launcher, kind, length, figures)
                .with_context(|| format!("{length} open requests at {}", kind.name()))?;
        }
        if launcher.program(ServerKind::Floor).is_some() {
            let bytes = connection(launcher, length)?;
            note_bytes("idle connection", length, ServerKind::Floor, bytes, figures);
        }
    }
    Ok(())
}

fn serve(
    launcher: &Launcher,
    kind: ServerKind,
    length: usize,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    // One more: the first peer holds the lock while the others wait.
    let server = launcher.start(kind, length + 1)?;
    let peers = if kind == ServerKind::Floor {
        let mut request = Request::default();
        request.acquire(1, MUTEX, "");
        server.request(&request)?;
        (1..=length as u64 + 1).collect()
    } else {
        queue_up(server.address, length + 1)?
    };
    let before = server.memory();
    let mut while_waiting = None;
    let mut all_wait = || while_waiting = server.memory();
    let mut engine = Engine::connect(server.address, length + 1)?;
    let mut load = Serve::new(&peers, &mut all_wait);
    engine.run(&mut load)?;
    let among = format!("{} open requests", Short(length));
    let rate = load.rate();
    figures.note(("serve", &among), Subject::from(kind), Measure::GrantsPerSecond, rate);
    let grown = while_waiting.zip(before).map(|(waiting, before)| waiting.saturating_sub(before));
    note_bytes("blocked request", length, kind, grown, figures);
    Ok(())
}

/// The growth of the floor's memory by this number of connections with one request each.
fn connection(launcher: &Launcher, number: usize) -> anyhow::Result<Option<u64>> {
    let server = launcher.start(ServerKind::Floor, 0)?;
    let before = server.memory();
    let mut engine = Engine::connect(server.address, number)?;
    engine.run(&mut Once { asked: vec![false; number] })?;
    Ok(server.memory().zip(before).map(|(after, before)| after.saturating_sub(before)))
}

fn note_bytes(
    what: &str,
    number: usize,
    kind: ServerKind,
    bytes: Option<u64>,
    figures: &mut Figures,
) {
    if let Some(bytes) = bytes {
        let each = bytes as f64 / number as f64;
        let among = Short(number).to_string();
        figures.note((what, &among), Subject::from(kind), Measure::Bytes, each);
    }
}

/// One request on each connection.
struct Once {
    asked: Vec<bool>,
}

impl Load for Once {
    fn request(&mut self, connection: usize, request: &mut Request) -> bool {
        request.acquire(1, MUTEX, BLOCKING);
        !std::mem::replace(&mut self.asked[connection], true)
    }

    fn answer(&mut self, _: usize, answer: Answer<'_>, _: Times) -> anyhow::Result<()> {
        answer.expect(&[200]).map(drop)
    }
}
