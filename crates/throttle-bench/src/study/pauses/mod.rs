//! How long others have to wait while something large happens: the longest and the 99.9th percentile of the
//! waits of a steady probe.
//!
//! Each event is prepared first. The probe runs during the event, and a little before and after. Each
//! measurement checks that the event did happen. Only our server is measured, because the old one cannot have
//! such numbers within minutes.

mod peers;
mod semaphores;

use std::time::{Duration, Instant};

use crate::{
    clock,
    engine::Engine,
    figures::{Figures, Measure, Subject},
    load::{Lease, PauseProbe, populate},
    plan::Plan,
    scale::Short,
    server::{Launcher, Semaphore, Server, ServerKind},
};

/// Measures each event at our server, once in each round.
pub(crate) fn pauses(
    launcher: &Launcher,
    plan: &Plan,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    if launcher.program(ServerKind::Ours).is_none() {
        return Ok(());
    }
    for size in &plan.sizes {
        // Larger sizes take minutes to prepare.
        let rounds = if size.peers <= PROMISED { plan.slow_rounds() } else { 1 };
        for round in 1..=rounds {
            let (peers, semaphores) = (Short(size.peers), Short(size.semaphores));
            eprintln!(
                "pauses by {peers} peers, {semaphores} semaphores: round {round} of {rounds}"
            );
            let mut study = PauseStudy { launcher, figures };
            let measured = study
                .peers(size.peers, size.chain)
                .and_then(|()| study.semaphores(size.semaphores, size.locks));
            match measured {
                // Sizes above the promised one may take too long. Keep the figures so far.
                Err(error) if size.peers > PROMISED => eprintln!("gave up: {error:#}"),
                measured => measured?,
            }
        }
    }
    Ok(())
}

/// Runs events and notes the pauses of others.
struct PauseStudy<'a> {
    launcher: &'a Launcher,
    figures: &'a mut Figures,
}

/// A server that is prepared for an event.
struct PreparedServer {
    server: Server,
    engine: Engine,
    /// The peers whose heartbeats the probe sends.
    probed: Vec<u64>,
}

impl PreparedServer {
    fn open(launcher: &Launcher, further: &[Semaphore]) -> anyhow::Result<Self> {
        let server = launcher.start_with(ServerKind::Ours, 0, further)?;
        let mut engine = Engine::connect(server.address, CONNECTIONS)?;
        let probed = populate(&mut engine, PROBES, Lease::Long, None)?;
        Ok(Self { server, engine, probed })
    }

    /// Creates peers whose leases end at one instant, [`RUN_UP`] or more after the last peer is created. Each
    /// acquires one of `lock`, or is queued for it. Returns the instant and the ids; `None` if this machine
    /// is too slow for this.
    ///
    /// The ends differ by a millisecond or so, because requests take different times to arrive.
    fn populate_until_one_instant(
        &mut self,
        peers: usize,
        lock: Option<&str>,
    ) -> anyhow::Result<Option<(Instant, Vec<u64>)>> {
        let (start, of_sample) = (clock::now(), peers.min(SAMPLE));
        populate(&mut self.engine, of_sample, Lease::Long, lock)?;
        let sample = clock::now().duration_since(start);
        // Twice as long as in proportion to the sample.
        let creation_time = sample.mul_f64(2.0 * peers as f64 / of_sample as f64);
        let end = clock::now() + creation_time + 2 * RUN_UP;
        let ids = populate(&mut self.engine, peers, Lease::Until(end), lock);
        if clock::now() + RUN_UP > end {
            eprintln!("this machine is too slow: some would expire before all have come");
            return Ok(None);
        }
        Ok(Some((end, ids?)))
    }
}

impl PauseStudy<'_> {
    /// Notes the pauses of others during an event. Returns how long the event took.
    fn measure_pause(
        &mut self,
        prepared: &mut PreparedServer,
        (what, among): (&str, &str),
        event: impl FnOnce(&mut PreparedServer) -> anyhow::Result<()>,
    ) -> anyhow::Result<Duration> {
        let probe = PauseProbe::start(prepared.server.address, &prepared.probed)?;
        clock::sleep(MARGIN);
        let start = clock::now();
        let outcome = event(prepared);
        let time = clock::now().duration_since(start);
        clock::sleep(MARGIN);
        let latencies = probe.stop()?;
        outcome?;
        eprintln!("{what}, {among}: longest pause {:.1} ms", latencies.longest() / 1e3);
        let mut note = |measure, micros| {
            self.figures.note((what, among), Subject::Ours, measure, micros / 1e3);
        };
        note(Measure::LongestPauseMillis, latencies.longest());
        note(Measure::P999PauseMillis, latencies.percentile(99.9));
        Ok(time)
    }

    /// The same, and also notes how long the event took.
    fn measure_pause_and_time(
        &mut self,
        prepared: &mut PreparedServer,
        case: (&str, &str),
        event: impl FnOnce(&mut PreparedServer) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let time = self.measure_pause(prepared, case, event)?;
        self.figures.note(case, Subject::Ours, Measure::Millis, time.as_secs_f64() * 1e3);
        Ok(())
    }
}

/// The number of peers up to which pauses are promised to be short.
const PROMISED: usize = 100_000;
/// How many connections prepare an event.
const CONNECTIONS: usize = 32;
/// The number of connections of the probe. Each sends a request every millisecond, so one is sent every
/// quarter of a millisecond.
const PROBES: usize = 4;
/// How long the probe runs before and after the event.
const MARGIN: Duration = Duration::from_millis(100);
/// How many peers are created to measure how long that takes.
const SAMPLE: usize = 2_000;
/// The minimum time between the creation of the last peer and the end of its lease.
const RUN_UP: Duration = Duration::from_millis(500);
