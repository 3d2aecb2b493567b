//! The routes of Throttle below a path of your own axum application, which here sends a request to itself.
//!
//! Run with `cargo run -p throttle-examples --example own_router`.

#![expect(clippy::print_stdout, reason = "the example shows what happens")]

use std::{collections::BTreeMap, time::Duration};

use axum::{Router, routing::get};
use throttle_client::Client;
use throttle_http::{Api, RequestLimits};
use throttle_runtime::{Count, Handle, Level, SemaphoreConfig, Settings};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let crawl = SemaphoreConfig { max: Count::new(3).expect("not zero"), level: Level(0) };
    let semaphores = BTreeMap::from([("crawl".to_owned(), crawl)]);
    let throttle = Handle::start(Settings::default(), &semaphores);

    let limits = RequestLimits { expires_in: Duration::from_secs(60), ..RequestLimits::default() };
    let application = Router::new()
        .route("/", get(async || "my own page"))
        .nest("/throttle", Api::new(throttle.clone()).limits(limits).routes());

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, application).await });

    let client = Client::new(format!("http://{address}/throttle"))?;
    println!("free to crawl over HTTP: {}", client.remainder("crawl").await?);

    // The application can use the semaphores without HTTP, too.
    println!("and at hand: {}", throttle.remainder("crawl").await?);
    Ok(())
}
