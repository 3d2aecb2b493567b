//! The floor: a server that reads the same requests as Throttle and does nothing with them.
//!
//! It is plain axum as in its documentation: axum's extractors, `axum::serve`, tokio's usual runtime. Answers
//! are constants. The difference to Throttle is what semaphores cost.
//!
//! For hand-overs it has a rota: participants take turns on the path of a lock in a fixed order, which costs
//! as little as a hand-over from one open request to the next can.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderName, StatusCode, header},
    routing::{get, post, put},
    serve::ListenerExt as _,
};
use clap::Parser;
use throttle_wire::{Heartbeat, LockRequest, NewPeer};
use tokio::{net::TcpListener, sync::Notify};

/// A server that reads the requests of Throttle's clients and gives constant answers.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    #[arg(long)]
    port: u16,
    /// Ignored. Accepted so that all servers are started in the same way.
    #[arg(short, long)]
    configuration: Option<PathBuf>,
    /// How many participants, numbered from 1 on, take turns. 0: each request is answered at once.
    #[arg(long, default_value_t = 0)]
    rota: usize,
}

/// Wakes each participant when its turn comes, by its number minus one.
type Rota = Arc<Vec<Notify>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let rota: Rota = Arc::new((0..arguments.rota).map(|_| Notify::new()).collect());
    if let Some(first) = rota.first() {
        first.notify_one();
    }
    let endpoint = (arguments.address, arguments.port);
    let listener = TcpListener::bind(endpoint).await?.tap_io(|stream| {
        // Otherwise Nagle's algorithm delays answers. If this fails, the connection is broken.
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, routes(rota)).await?)
}

fn routes(rota: Rota) -> Router {
    Router::new()
        .route("/health", get(async || "Ok"))
        .route("/new_peer", post(new_peer))
        .route("/peers/{id}", put(heartbeat).delete(remove))
        .route("/peers/{id}/{semaphore}", put(acquire).delete(release))
        .with_state(rota)
}

async fn new_peer(Json(_): Json<NewPeer>) -> Json<u64> {
    Json(PEER)
}

async fn heartbeat(Path(_): Path<u64>, Json(_): Json<Heartbeat>) -> &'static str {
    "Ok"
}

async fn remove(Path(_): Path<u64>) -> Json<&'static str> {
    Json("Peer released")
}

async fn acquire(
    State(rota): State<Rota>,
    Path((participant, _)): Path<(usize, String)>,
    Query(_): Query<LockRequest>,
    Json(_): Json<i64>,
) -> (StatusCode, [(HeaderName, &'static str); 1], &'static str) {
    if let Some(turn) = rota.get(participant.wrapping_sub(1)) {
        turn.notified().await;
    }
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], HELD)
}

async fn release(
    State(rota): State<Rota>,
    Path((participant, _)): Path<(usize, String)>,
) -> &'static str {
    if let Some(next) = rota.get(participant).or_else(|| rota.first()) {
        next.notify_one();
    }
    "Ok"
}

/// As many digits as the ids of a real server.
const PEER: u64 = 5_740_354_900_026_072;
/// As long as the answer of a real server.
const HELD: &str = r#"{"peer_id":5740354900026072,"semaphore":"ample","count":1,"acquired":true,"fencing_token":119513312297986}"#;
