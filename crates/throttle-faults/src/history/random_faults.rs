//! Injects random faults, one after the other. None lasts as long as a lease.

use std::time::Duration;

use axum::http::StatusCode;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::time::sleep;

use crate::proxy::{Fault, Proxy, RequestKind, Rule};

/// Injects faults until the future is dropped.
///
/// # Errors
///
/// The port of the proxy cannot be opened again.
pub(super) async fn inject_random_faults(proxy: &mut Proxy, seed: u64) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    loop {
        sleep(random_duration(&mut random, 20, 150)).await;
        let lasts = random_duration(&mut random, 20, 250);
        match random.random_range(0..12_u32) {
            0 => {
                proxy.refuse_connections().await;
                sleep(lasts).await;
                proxy.accept_connections()?;
            }
            1 => proxy.cut_connections().await?,
            _ => {
                proxy.inject(random_rule(&mut random));
                sleep(lasts).await;
                proxy.clear();
            }
        }
    }
}

fn random_rule(random: &mut StdRng) -> Rule {
    let late = random_duration(random, 1, 400);
    let status = [307, 404, 429, 502, 503, 504];
    let faults = [
        Fault::CutAnswer,
        Fault::CutRequest,
        Fault::DelayAnswer(late),
        Fault::DelayRequest(late),
        Fault::Duplicate(late),
        Fault::Silence,
    ];
    let pages = status.map(|status| {
        Fault::Answer(StatusCode::from_u16(status).expect("all of these are valid statuses"))
    });
    let all = [&faults[..], &pages[..]].concat();
    let fault = *all.choose(random).expect("the list is not empty");
    let kinds: &[RequestKind] = match random.random_range(0..4_u32) {
        0 => &[],
        1 => &[RequestKind::Acquire],
        2 => &[RequestKind::Release, RequestKind::RemovePeer],
        _ => &[RequestKind::NewPeer, RequestKind::Acquire, RequestKind::Heartbeat],
    };
    let skip = random.random_range(0..3_usize);
    Rule::always(fault).on(kinds).skip(skip)
}

fn random_duration(random: &mut StdRng, from_ms: u64, to_ms: u64) -> Duration {
    Duration::from_millis(random.random_range(from_ms..to_ms))
}
