//! Events that concern very many semaphores, or peers that hold very many locks.

use std::thread;

use super::{PauseStudy, PreparedServer};
use crate::{
    http::Request,
    load::{LONG, numbered},
    scale::Short,
    server::Semaphore,
};

impl PauseStudy<'_> {
    /// Measures all events of this kind, with this number of semaphores, and a hundred peers with this number
    /// of locks each.
    pub(super) fn semaphores(&mut self, semaphores: usize, locks: usize) -> anyhow::Result<()> {
        self.reload(semaphores)?;
        self.locks(locks)?;
        self.scrape(semaphores)
    }

    /// Reloads of the configuration add, resize and remove semaphores.
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

    /// A client lists peers that hold very many locks each.
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

    /// One scraper asks for the metrics once, then two ask for them repeatedly in parallel.
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

/// This number of semaphores, each with this maximum.
fn many(semaphores: usize, max: u64) -> Vec<Semaphore> {
    (0..semaphores).map(|number| (numbered(number), max)).collect()
}

const HOLDERS: usize = 100;
const SCRAPES: usize = 3;
