//! What a store costs: our server with one and without one, beside etcd, PostgreSQL, and the disk itself.
//!
//! All of them keep their files on the same disk. What the disk could do is measured in the same rounds, with
//! batches of the size that our server has just written.

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
