//! Many peers expire at one instant: how long others have to wait for that.

use std::time::{Duration, Instant};

use super::Short;
use crate::{
    clock,
    engine::Engine,
    figures::{Figures, Measure, Subject},
    load::{AMPLE, Lease, Steady, Work, populate},
    plan::Plan,
    server::{Kind, Yard},
};

/// Peers that hold a lock each expire together while others show signs of life. Only at our server:
/// the old one cannot take in so many before the first of them expires.
///
/// "Together" is within the millisecond or so by which requests take longer or shorter to arrive.
pub(crate) fn expiry(yard: &Yard, plan: &Plan, figures: &mut Figures) -> anyhow::Result<()> {
    if yard.program(Kind::Ours).is_none() {
        return Ok(());
    }
    let rounds = plan.slow_rounds();
    for round in 1..=rounds {
        eprintln!("{} peers expire: round {round} of {rounds}", plan.expiring);
        let server = yard.start(Kind::Ours, 0)?;
        let mut engine = Engine::connect(server.address, CONNECTIONS)?;
        let crew = populate(&mut engine, CONNECTIONS, Lease::Long, None)?;
        // Enough for everybody to come before anybody goes, at a quarter of the usual rate.
        let time_to_come = Duration::from_micros(120) * u32::try_from(plan.expiring)?;
        let end = clock::now() + time_to_come + 3 * WINDOW;
        populate(&mut engine, plan.expiring, Lease::Until(end), Some(AMPLE))?;
        if clock::now() + 2 * WINDOW > end {
            eprintln!("this machine is too slow: some expired before all had come");
            continue;
        }
        let mut longest = |what, from| {
            run_until(&mut engine, &crew, from)?;
            let mut load = Steady::new(Work::Heartbeat, &crew, WINDOW);
            engine.run(&mut load)?;
            let among = format!("{} peers", Short(plan.expiring));
            let longest = load.latencies.longest();
            figures.note((what, &among), Subject::Ours, Measure::LongestMicros, longest);
            anyhow::Ok(())
        };
        longest("calm", end - 2 * WINDOW)?;
        longest("expiry", end - WINDOW / 2)?;
    }
    Ok(())
}

/// Signs of life that nobody measures, until an instant.
fn run_until(engine: &mut Engine, crew: &[u64], end: Instant) -> anyhow::Result<()> {
    let time = end.saturating_duration_since(clock::now());
    engine.run(&mut Steady::new(Work::Heartbeat, crew, time))
}

const CONNECTIONS: usize = 16;
/// How long is measured, with the instant in the middle.
const WINDOW: Duration = Duration::from_secs(1);
