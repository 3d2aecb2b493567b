//! What a store costs: our server with one and without one, beside etcd, PostgreSQL, and the disk itself.
//!
//! All of them keep their files on the same disk. What the disk could do is measured in the same rounds, with
//! batches of the size that our server has just written.

mod commit;
mod disk;
mod growth;
mod recovery;
mod throughput;

use crate::{
    figures::Figures,
    plan::Plan,
    server::{Launcher, ServerKind},
};

/// Measures requests, recovery, and the size of the file.
pub(crate) fn store(launcher: &Launcher, plan: &Plan, figures: &mut Figures) -> anyhow::Result<()> {
    if launcher.program(ServerKind::Ours).is_none() {
        return Ok(());
    }
    throughput::throughput(launcher, plan, figures)?;
    recovery::recovery(launcher, plan, figures)?;
    growth::growth(launcher, plan, figures)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{commit::Commits, disk::Disk};
    use crate::{pin::Pins, server::Launcher};

    #[test]
    fn the_disk_and_the_engine_are_measured_without_a_server() {
        let directory = tempfile::tempdir().unwrap();
        let launcher = Launcher {
            programs: Vec::new(),
            etcd: None,
            postgres: None,
            pins: Pins::none(),
            data: directory.path().to_path_buf(),
        };
        let once = Duration::ZERO;
        assert_eq!(Disk::new(&launcher).unwrap().measure(16, once).unwrap().count(), 1);
        let mut commits = Commits::new(&launcher).unwrap();
        let (grant, release) = (commits.measure(once).unwrap(), commits.measure(once).unwrap());
        assert_eq!((grant.count(), release.count()), (1, 1));
    }
}
