//! A server in the process of an example, for readers without a running one.

use std::collections::BTreeMap;

use anyhow::Context as _;
use throttle_runtime::{Count, Handle, Level, SemaphoreConfig, Settings};
use tokio::net::TcpListener;

/// Starts a server with these semaphores, each with its name, maximum and level. Returns its URL.
pub(crate) async fn semaphores(semaphores: &[(&str, u64, i32)]) -> anyhow::Result<String> {
    let semaphores = semaphores.iter().map(|&(name, max, level)| {
        let max = Count::new(max).context("a maximum is positive")?;
        Ok((name.to_owned(), SemaphoreConfig { max, level: Level(level) }))
    });
    let semaphores = semaphores.collect::<anyhow::Result<BTreeMap<_, _>>>()?;
    let routes = throttle_http::routes(Handle::start(Settings::default(), &semaphores));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, routes).await });
    Ok(url)
}
