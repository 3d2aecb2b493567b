//! The time from the start after a crash until the server is ready, and the size of the file.

use anyhow::ensure;

use crate::{
    engine::Engine,
    figures::{Figures, Measure, Subject},
    http::Request,
    load::{AMPLE, AMPLE_MAX, Lease, TAKEN, populate},
    plan::Plan,
    scale::Short,
    server::Launcher,
};

/// Fills a server with peers, nine of ten with a lock and the others waiting for one. Then kills and restarts it.
pub(super) fn recovery(
    launcher: &Launcher,
    plan: &Plan,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let waiting = plan.recovered / 10;
    let holding = plan.recovered - waiting;
    let among = format!("{} peers", Short(plan.recovered));
    eprintln!("recovery of {among}: preparing");
    let mut server = launcher.start_with_store()?;
    server.hold_all(TAKEN)?;
    let mut engine = Engine::connect(server.address, CONNECTIONS)?;
    populate(&mut engine, holding, Lease::Long, Some(AMPLE))?;
    populate(&mut engine, waiting, Lease::Long, Some(TAKEN))?;
    drop(engine);
    let bytes = server.store_bytes()? as f64 / plan.recovered as f64;
    figures.note(("file, each peer", &among), Subject::OursStored, Measure::Bytes, bytes);
    for round in 1..=plan.slow_rounds() {
        eprintln!("recovery of {among}: round {round} of {}", plan.slow_rounds());
        let millis = server.kill_and_restart(launcher)?.as_secs_f64() * 1e3;
        figures.note(("recovery", &among), Subject::OursStored, Measure::Millis, millis);
        let mut request = Request::default();
        request.remainder(AMPLE);
        let left: u64 = std::str::from_utf8(&server.request(&request)?)?.parse()?;
        ensure!(left == AMPLE_MAX - holding as u64, "{} locks were recovered", AMPLE_MAX - left);
        let peers = server.metric("throttle_store_recovered_peers")?;
        let all = plan.recovered as f64 + 1.0;
        ensure!((peers - all).abs() < 0.5, "{peers} peers of {all} were recovered");
    }
    Ok(())
}

/// Many, so that batches are large while the peers are created.
const CONNECTIONS: usize = 500;
