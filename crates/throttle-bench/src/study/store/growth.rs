//! The growth of the file while peers come and go.

use crate::{
    engine::Engine,
    figures::{Figures, Measure, Subject},
    load::{AMPLE, Lease, Scenario, ScenarioLoad, populate},
    plan::Plan,
    scale::Short,
    server::Launcher,
};

/// Lets peers come, take a lock, release it, and go, among others that stay. Notes the size of the file on the way.
pub(super) fn growth(
    launcher: &Launcher,
    plan: &Plan,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let staying = plan.recovered / 10;
    let among = format!("{} peers", Short(staying));
    eprintln!("growth of the file among {among}");
    let server = launcher.start_with_store()?;
    let mut engine = Engine::connect(server.address, CONNECTIONS)?;
    populate(&mut engine, staying, Lease::Long, Some(AMPLE))?;
    let mut requests = 0.0;
    let mut note = |what, requests| {
        let bytes = server.store_bytes()? as f64;
        figures.note((what, &among), Subject::OursStored, Measure::Bytes, bytes);
        figures.note((what, &among), Subject::OursStored, Measure::Requests, requests);
        anyhow::Ok(())
    };
    note("file before churn", requests)?;
    for what in ["file, a third of the churn", "file, two thirds", "file after the churn"] {
        // The load replaces these ids by those of the peers that it creates.
        let nobody = vec![0; engine.len()];
        let mut load = ScenarioLoad::new(Scenario::Cycle, &nobody, plan.churn / 3);
        engine.run(&mut load)?;
        requests += load.latencies.count() as f64;
        note(what, requests)?;
    }
    Ok(())
}

const CONNECTIONS: usize = 64;
