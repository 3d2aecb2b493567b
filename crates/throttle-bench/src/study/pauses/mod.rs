//! How long others have to wait while something large happens: the longest pause of a steady probe,
//! and the one that all but a thousandth of its requests stay below.
//!
//! What happens is prepared first; the probe runs while it happens, and a little before and after.
//! Each scene looks afterwards whether it did happen. Only at our server: the old one cannot be
//! brought to such numbers within minutes.

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

/// Plays each scene at our server, anew in each round.
pub(crate) fn pauses(
    launcher: &Launcher,
    plan: &Plan,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    if launcher.program(ServerKind::Ours).is_none() {
        return Ok(());
    }
    for size in &plan.sizes {
        // It takes minutes to prepare more.
        let rounds = if size.peers <= PROMISED { plan.slow_rounds() } else { 1 };
        for round in 1..=rounds {
            let (peers, semaphores) = (Short(size.peers), Short(size.semaphores));
            eprintln!(
                "pauses by {peers} peers, {semaphores} semaphores: round {round} of {rounds}"
            );
            let mut study = PauseStudy { launcher, figures };
            let played = study
                .peers(size.peers, size.chain)
                .and_then(|()| study.semaphores(size.semaphores, size.locks));
            match played {
                // More than is promised may be more than can be waited for. What was measured stays.
                Err(error) if size.peers > PROMISED => eprintln!("gave up: {error:#}"),
                played => played?,
            }
        }
    }
    Ok(())
}

/// Plays scenes and notes what they cost others.
struct PauseStudy<'a> {
    launcher: &'a Launcher,
    figures: &'a mut Figures,
}

/// A server at which something is about to happen.
struct PreparedServer {
    server: Server,
    engine: Engine,
    /// Whose signs of life the probe sends.
    probed: Vec<u64>,
}

impl PreparedServer {
    fn open(launcher: &Launcher, further: &[Semaphore]) -> anyhow::Result<Self> {
        let server = launcher.start_with(ServerKind::Ours, 0, further)?;
        let mut engine = Engine::connect(server.address, CONNECTIONS)?;
        let probed = populate(&mut engine, PROBES, Lease::Long, None)?;
        Ok(Self { server, engine, probed })
    }

    /// Has peers come whose leases end together, at an instant that leaves some time before it. Each
    /// of them asks for one of `lock`. Returns the instant, and their ids; nothing, if this machine is
    /// too slow for that many to come before the first of them goes.
    ///
    /// "Together" is within the millisecond or so by which requests take longer or shorter to arrive.
    fn populate_until_one_instant(
        &mut self,
        peers: usize,
        lock: Option<&str>,
    ) -> anyhow::Result<Option<(Instant, Vec<u64>)>> {
        let (start, of_sample) = (clock::now(), peers.min(SAMPLE));
        populate(&mut self.engine, of_sample, Lease::Long, lock)?;
        let sample = clock::now().duration_since(start);
        // Twice as long as the sample says.
        let time_to_come = sample.mul_f64(2.0 * peers as f64 / of_sample as f64);
        let end = clock::now() + time_to_come + 2 * RUN_UP;
        let ids = populate(&mut self.engine, peers, Lease::Until(end), lock);
        if clock::now() + RUN_UP > end {
            eprintln!("this machine is too slow: some would expire before all have come");
            return Ok(None);
        }
        Ok(Some((end, ids?)))
    }
}

impl PauseStudy<'_> {
    /// Notes how long others wait while something happens, and returns how long that took.
    fn measure_pause(
        &mut self,
        prepared: &mut PreparedServer,
        (what, among): (&str, &str),
        happens: impl FnOnce(&mut PreparedServer) -> anyhow::Result<()>,
    ) -> anyhow::Result<Duration> {
        let probe = PauseProbe::start(prepared.server.address, &prepared.probed)?;
        clock::sleep(MARGIN);
        let start = clock::now();
        let happened = happens(prepared);
        let time = clock::now().duration_since(start);
        clock::sleep(MARGIN);
        let latencies = probe.stop()?;
        happened?;
        eprintln!("{what}, {among}: longest pause {:.1} ms", latencies.longest() / 1e3);
        let mut note = |measure, micros| {
            self.figures.note((what, among), Subject::Ours, measure, micros / 1e3);
        };
        note(Measure::LongestPauseMillis, latencies.longest());
        note(Measure::P999PauseMillis, latencies.percentile(99.9));
        Ok(time)
    }

    /// The same, of something that its client waits for: notes how long that took as well.
    fn measure_pause_and_time(
        &mut self,
        prepared: &mut PreparedServer,
        case: (&str, &str),
        happens: impl FnOnce(&mut PreparedServer) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let time = self.measure_pause(prepared, case, happens)?;
        self.figures.note(case, Subject::Ours, Measure::Millis, time.as_secs_f64() * 1e3);
        Ok(())
    }
}

/// Up to how many peers a pause is promised to be short.
const PROMISED: usize = 100_000;
/// How many connections prepare what is to happen.
const CONNECTIONS: usize = 32;
/// How many connections the probe has: with a request every millisecond on each, some request of it
/// begins in every quarter of a millisecond.
const PROBES: usize = 4;
/// For how long the probe runs before and after.
const MARGIN: Duration = Duration::from_millis(100);
/// How many come to see how long it takes.
const SAMPLE: usize = 2_000;
/// The least time between the arrival of the last peer and the end of its lease.
const RUN_UP: Duration = Duration::from_millis(500);
