//! What a peer, a lock and a place in a queue weigh.

use super::Short;
use crate::{
    engine::Engine,
    figures::{Figures, Measure, Subject},
    load::{AMPLE, Lease, TAKEN, populate},
    plan::Plan,
    server::{Kind, Yard},
};

/// Fills each server with peers of one kind, once, and tells by how much it grew for each.
pub(crate) fn memory(yard: &Yard, plan: &Plan, figures: &mut Figures) -> anyhow::Result<()> {
    let kinds = [("idle peer", None), ("held lock", Some(AMPLE)), ("queued waiter", Some(TAKEN))];
    for (what, lock) in kinds {
        for kind in yard.kinds().filter(|kind| *kind != Kind::Floor) {
            let peers = match (kind, lock) {
                (Kind::Floor | Kind::Ours, _) => plan.weighed,
                // It takes minutes for each further ten thousand.
                (Kind::Old, Some(TAKEN)) => plan.weighed.min(5_000),
                (Kind::Old, _) => plan.weighed.min(50_000),
            };
            eprintln!("memory of {}: {what}", kind.name());
            let server = yard.start(kind, 0)?;
            let mut engine = Engine::connect(server.address, CONNECTIONS)?;
            // Threads, connections and tables of a first few are there already.
            populate(&mut engine, FIRST, Lease::Long, lock)?;
            let before = server.memory();
            populate(&mut engine, peers - FIRST, Lease::Long, lock)?;
            if let Some((after, before)) = server.memory().zip(before) {
                let each = after.saturating_sub(before) as f64 / (peers - FIRST) as f64;
                let among = Short(peers).to_string();
                figures.note((what, &among), Subject::from(kind), Measure::Bytes, each);
            }
        }
    }
    Ok(())
}

const CONNECTIONS: usize = 32;
const FIRST: usize = 1_000;
