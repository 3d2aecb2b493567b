//! What happens to very many semaphores, and to peers that hold very many locks.

use std::thread;

use super::{PauseStudy, PreparedServer};
use crate::{
    http::Request,
    load::{LONG, numbered},
    scale::Short,
    server::Semaphore,
};

impl PauseStudy<'_> {
    /// All scenes of this kind with so many semaphores, and so many locks of each of a hundred peers.
    pub(super) fn semaphores(&mut self, semaphores: usize, locks: usize) -> anyhow::Result<()> {
        self.reload(semaphores)?;
        self.locks(locks)?;
        self.scrape(semaphores)
    }

    /// Semaphores are added, resized and removed by reloads of the configuration.
    fn reload(&mut self, semaphores: usize) -> anyhow::Result<()> {
        let mut prepared = PreparedServer::open(self.launcher, &[])?;
        let among = format!("{} semaphores", Short(semaphores));
        let steps =
            [("added", many(semaphores, 1)), ("resized", many(semaphores, 2)), ("removed", vec![])];
        for (what, further) in steps {
            self.measure_pause_and_time(
                &mut prepared,
                (&format!("semaphores {what}"), &among),
                |prepared| prepared.server.reload(&further),
            )?;
        }
        Ok(())
    }

    /// Somebody lists peers that hold very many locks each.
    fn locks(&mut self, locks: usize) -> anyhow::Result<()> {
        let mut prepared = PreparedServer::open(self.launcher, &many(locks, 1_000))?;
        for peer in 1..=HOLDERS {
            let mut request = Request::default();
            request.restore(peer as u64, LONG, (0..locks).map(numbered));
            prepared.server.request(&request)?;
        }
        let among = format!("{HOLDERS} peers with {} locks", Short(locks));
        self.measure_pause_and_time(&mut prepared, ("list of peers", &among), |prepared| {
            prepared.ensure_lists("/peers/", HOLDERS * locks)
        })
    }

    /// Two scrapers ask for the metrics at the same time, one time after the other.
    fn scrape(&mut self, semaphores: usize) -> anyhow::Result<()> {
        let mut prepared = PreparedServer::open(self.launcher, &many(semaphores, 1))?;
        let among = format!("{} semaphores", Short(semaphores));
        self.measure_pause_and_time(&mut prepared, ("a scrape", &among), |prepared| {
            prepared.ensure_lists("/metrics", semaphores)
        })?;
        let what = format!("{SCRAPES} scrapes by each of two");
        self.measure_pause_and_time(&mut prepared, (&what, &among), |prepared| {
            let prepared = &*prepared;
            let scrape =
                || (0..SCRAPES).try_for_each(|_| prepared.ensure_lists("/metrics", semaphores));
            thread::scope(|scope| {
                let other = scope.spawn(scrape);
                scrape()?;
                other.join().map_err(|_| anyhow::anyhow!("a scraper panicked"))?
            })
        })
    }
}

/// So many semaphores, each with this much.
fn many(semaphores: usize, max: u64) -> Vec<Semaphore> {
    (0..semaphores).map(|number| (numbered(number), max)).collect()
}

const HOLDERS: usize = 100;
const SCRAPES: usize = 3;
