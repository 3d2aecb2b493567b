//! The recorder that metrics are kept in: one for each server, so that two share nothing; and what is
//! told of the server itself.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{SystemTime, UNIX_EPOCH},
};

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusBuilder;
use throttle_http::Metrics;

use crate::config;

/// Metrics of a server that starts now.
pub(crate) fn metrics(config: &config::Metrics) -> Metrics {
    // No upkeep: it has no histograms, which would have to be emptied now and then.
    let recorder = PrometheusBuilder::new().build_recorder();
    describe_build(&recorder);
    let handle = recorder.handle();
    let metrics = Metrics::new(Arc::new(recorder), Arc::new(move || handle.render()));
    let start = unix_time();
    let help = "When the server started, in seconds since 1970.";
    metrics.gauge_at_scrape("throttle_start_time_seconds", help, move || start);
    process::describe(&metrics);
    metrics.histograms(config.histograms.into())
}

fn describe_build(recorder: &impl Recorder) {
    const METADATA: Metadata<'_> = Metadata::new(module_path!(), Level::INFO, None);
    let key = Key::from_parts(
        "throttle_build_info",
        vec![Label::new("version", env!("CARGO_PKG_VERSION"))],
    );
    recorder.describe_gauge("throttle_build_info".into(), None, "Version of this server.".into());
    recorder.register_gauge(&key, &METADATA).set(1.0);
}

/// How reloads ended, whoever asked for them.
#[derive(Debug)]
pub(crate) struct Reloads(Mutex<Outcomes>);

#[derive(Clone, Copy, Debug)]
struct Outcomes {
    applied: u64,
    refused: u64,
    last_applied: bool,
    last_time: f64,
}

impl Reloads {
    /// None so far. The configuration of the start counts as the last one that was applied.
    pub(crate) fn new() -> Arc<Self> {
        let outcomes =
            Outcomes { applied: 0, refused: 0, last_applied: true, last_time: unix_time() };
        Arc::new(Self(Mutex::new(outcomes)))
    }

    /// Adds what is counted here to the metrics.
    pub(crate) fn describe(self: &Arc<Self>, metrics: &Metrics) {
        let counter = |outcome, read: fn(Outcomes) -> u64| {
            let reloads = Arc::clone(self);
            let help = "Reloads of the configuration, by outcome.";
            let read = move || read(*reloads.outcomes());
            metrics.counter_at_scrape(
                "throttle_reloads_total",
                &[("outcome", outcome)],
                help,
                read,
            );
        };
        counter("applied", |outcomes| outcomes.applied);
        counter("refused", |outcomes| outcomes.refused);
        let gauge = |name, help, read: fn(Outcomes) -> f64| {
            let reloads = Arc::clone(self);
            metrics.gauge_at_scrape(name, help, move || read(*reloads.outcomes()));
        };
        let help = "Whether the last reload, or the start if there was none, was applied.";
        gauge("throttle_last_reload_success", help, |outcomes| f64::from(outcomes.last_applied));
        let help = "When the last reload ended, or the server started, in seconds since 1970.";
        gauge("throttle_last_reload_timestamp_seconds", help, |outcomes| outcomes.last_time);
    }

    /// A reload has ended.
    pub(crate) fn record(&self, applied: bool) {
        let mut outcomes = self.outcomes();
        *if applied { &mut outcomes.applied } else { &mut outcomes.refused } += 1;
        (outcomes.last_applied, outcomes.last_time) = (applied, unix_time());
    }

    fn outcomes(&self) -> MutexGuard<'_, Outcomes> {
        self.0.lock().expect("nothing in here panics")
    }
}

#[expect(clippy::disallowed_methods, reason = "for people to read; nothing depends on it")]
fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// What the operating system knows of this process, under the names that all exporters use.
#[cfg(target_os = "linux")]
mod process {
    use std::sync::{Arc, Mutex};

    use procfs::{
        ProcResult,
        process::{LimitValue, Process},
    };
    use throttle_http::Metrics;

    /// All of it at one instant; zero for what cannot be read.
    #[derive(Clone, Copy, Debug, Default)]
    struct Figures {
        cpu_seconds: u64,
        open_fds: u64,
        max_fds: u64,
        resident_bytes: u64,
        virtual_bytes: u64,
        threads: u64,
        start_time: u64,
    }

    pub(super) fn describe(metrics: &Metrics) {
        let latest = Arc::new(Mutex::new(Figures::default()));
        // They are read in the order in which they are added, so this one reads all of them.
        let refreshed = Arc::clone(&latest);
        let help = "Total user and system CPU time spent in seconds.";
        metrics.counter_at_scrape("process_cpu_seconds_total", &[], help, move || {
            let figures = figures().unwrap_or_default();
            *refreshed.lock().expect(NO_PANIC) = figures;
            figures.cpu_seconds
        });
        let gauge = |name, help, read: fn(Figures) -> u64| {
            let latest = Arc::clone(&latest);
            metrics
                .gauge_at_scrape(name, help, move || read(*latest.lock().expect(NO_PANIC)) as f64);
        };
        gauge("process_open_fds", "Number of open file descriptors.", |it| it.open_fds);
        gauge("process_max_fds", "Maximum number of open file descriptors.", |it| it.max_fds);
        let help = "Resident memory size in bytes.";
        gauge("process_resident_memory_bytes", help, |it| it.resident_bytes);
        let help = "Virtual memory size in bytes.";
        gauge("process_virtual_memory_bytes", help, |it| it.virtual_bytes);
        gauge("process_threads", "Number of OS threads in the process.", |it| it.threads);
        let help = "Start time of the process since unix epoch in seconds.";
        gauge("process_start_time_seconds", help, |it| it.start_time);
    }

    fn figures() -> ProcResult<Figures> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let ticks = procfs::ticks_per_second();
        Ok(Figures {
            cpu_seconds: (stat.utime + stat.stime) / ticks,
            open_fds: process.fd_count()? as u64,
            max_fds: match process.limits()?.max_open_files.soft_limit {
                LimitValue::Unlimited => 0,
                LimitValue::Value(limit) => limit,
            },
            resident_bytes: stat.rss * procfs::page_size(),
            virtual_bytes: stat.vsize,
            threads: stat.num_threads.unsigned_abs(),
            start_time: procfs::boot_time_secs()? + stat.starttime / ticks,
        })
    }

    const NO_PANIC: &str = "nothing in here panics";
}

/// Elsewhere it is not told: to ask other systems takes a compiler for C, or a large library.
#[cfg(not(target_os = "linux"))]
mod process {
    pub(super) fn describe(_: &throttle_http::Metrics) {}
}
