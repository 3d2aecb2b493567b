//! Peers contend for a mutex: how often it changes hands, and how long a hand-over takes.

use anyhow::Context as _;

use crate::{
    engine::Engine,
    figures::{Figures, Measure, Subject},
    load::{Contend, Lease, populate},
    plan::Plan,
    scale::Short,
    server::{Launcher, Server, ServerKind},
};

/// Measures few and many contending peers at each server. The floor has a fixed rota in place of a semaphore.
pub(crate) fn contention(
    launcher: &Launcher,
    plan: &Plan,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    for &contenders in &plan.contenders {
        let mut contestants = Vec::new();
        for kind in launcher.kinds() {
            let server = launcher.start(kind, contenders)?;
            let mut engine = Engine::connect(server.address, contenders)?;
            let peers = match kind {
                ServerKind::Floor => (1..=contenders as u64).collect(),
                ServerKind::Ours | ServerKind::Old => {
                    populate(&mut engine, contenders, Lease::Long, None)?
                }
            };
            contestants.push((server, engine, peers));
        }
        for round in 1..=plan.rounds {
            eprintln!("{contenders} peers contend: round {round} of {}", plan.rounds);
            for (server, engine, peers) in &mut contestants {
                contend(launcher, (server, engine, peers), plan, figures)?;
            }
        }
    }
    Ok(())
}

fn contend(
    launcher: &Launcher,
    (server, engine, peers): (&Server, &mut Engine, &[u64]),
    plan: &Plan,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let mut load =
        Contend::new(peers, plan.time, server.kind == ServerKind::Ours, launcher.pins.pinned);
    engine.run(&mut load).with_context(|| format!("contention at {}", server.kind.name()))?;
    let among = format!("{} contenders", Short(peers.len()));
    let mut note = |measure, value| {
        figures.note(("contend", &among), Subject::from(server.kind), measure, value);
    };
    note(Measure::GrantsPerSecond, load.rate());
    note(Measure::P50Micros, load.hand_overs.percentile(50.0));
    note(Measure::P99Micros, load.hand_overs.percentile(99.0));
    note(Measure::P999Micros, load.hand_overs.percentile(99.9));
    Ok(())
}
