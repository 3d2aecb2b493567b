//! Waiting and working as OpenTelemetry spans: how long a job waits for its lock, how long it holds it, with
//! which token, and what the client reports during that time.
//!
//! Run with `cargo run -p throttle-examples --example opentelemetry`, which starts its own server. To use a
//! running server with a semaphore `B`, such as one with `configs/throttle.toml`:
//! `cargo run -p throttle-examples --example opentelemetry -- http://localhost:8000`.

#![expect(clippy::print_stdout, reason = "the example shows what happens")]

use std::{env, time::Duration};

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use throttle_client::Client;
use tracing::{Instrument as _, Level, info_span};
use tracing_subscriber::{
    Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

mod serve;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // With the exporter of `opentelemetry-otlp` instead of `Print`, the spans go to a collector.
    let spans = SdkTracerProvider::builder().with_simple_exporter(Print).build();
    // The spans of this program, and inside them those of the client: each HTTP request, and each lock.
    let targets = [(env!("CARGO_CRATE_NAME"), Level::INFO), ("throttle::client", Level::DEBUG)];
    let traces = tracing_opentelemetry::layer().with_tracer(spans.tracer("example"));
    let traces = traces.with_location(false).with_threads(false).with_tracked_inactivity(false);
    // The span of the heartbeats ends with the peer, so their warnings are also logged at once.
    let log =
        tracing_subscriber::fmt::layer().with_filter(Targets::new().with_default(Level::WARN));
    let traces = traces.with_filter(Targets::new().with_targets(targets));
    tracing_subscriber::registry().with(traces).with(log).init();

    let url = match env::args().nth(1) {
        Some(url) => url,
        None => serve::semaphores(&[("B", 1, 0)]).await?,
    };
    let throttle = Client::new(&url)?;
    let ann = job(&throttle).instrument(info_span!("job", name = "ann"));
    let bob = job(&throttle).instrument(info_span!("job", name = "bob"));
    tokio::try_join!(ann, bob)?;
    spans.shutdown()?;
    Ok(())
}

/// Waits for the lock and works while it is held. One job waits while the other works.
async fn job(throttle: &Client) -> anyhow::Result<()> {
    let request = throttle.lock("B").wait_at_most(Duration::from_secs(10)).into_future();
    let lock = request.instrument(info_span!("wait", semaphore = "B")).await?;
    let work = tokio::time::sleep(Duration::from_millis(50));
    let work = lock.run(work).instrument(info_span!("work", token = lock.fencing_token()));
    work.await?;
    lock.release().await?;
    Ok(())
}

/// An exporter that prints spans.
#[derive(Debug)]
struct Print;

impl SpanExporter for Print {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        for span in spans {
            let lasted = span.end_time.duration_since(span.start_time).unwrap_or_default();
            println!("{} {}, {lasted:.1?}", span.name, text(&span.attributes));
            for event in span.events.iter() {
                println!("    {} {}", event.name, text(&event.attributes));
            }
        }
        Ok(())
    }
}

fn text(attributes: &[KeyValue]) -> String {
    let words = attributes.iter().map(|pair| format!("{}={}", pair.key, pair.value));
    words.collect::<Vec<_>>().join(" ")
}
