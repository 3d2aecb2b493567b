//! Figures of this process from the operating system, under the names that all exporters use.
//!
//! On Linux only: other systems take a C compiler or a large library.

use std::sync::{Arc, Mutex};

use procfs::{
    ProcResult,
    process::{LimitValue, Process},
};
use throttle_http::Metrics;

/// The figures at one instant; zero if they cannot be read.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    cpu_seconds: f64,
    open_fds: u64,
    max_fds: u64,
    resident_bytes: u64,
    virtual_bytes: u64,
    threads: u64,
    start_time: u64,
}

pub(super) fn describe(metrics: &Metrics) {
    let latest = Arc::new(Mutex::new(Figures::default()));
    // Metrics are read in the order in which they are added, so the first one reads the figures for all.
    let refreshed = Arc::clone(&latest);
    let help = "Total user and system CPU time spent in seconds.";
    metrics.counter_at_scrape("process_cpu_seconds_total", &[], help, move || {
        let figures = figures().unwrap_or_default();
        *refreshed.lock().expect(NO_PANIC) = figures;
        figures.cpu_seconds
    });
    let gauge = |name, help, read: fn(Figures) -> u64| {
        let latest = Arc::clone(&latest);
        let read = move || read(*latest.lock().expect(NO_PANIC)) as f64;
        metrics.gauge_at_scrape(name, &[], help, read);
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
        cpu_seconds: (stat.utime + stat.stime) as f64 / ticks as f64,
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

const NO_PANIC: &str = "no panic while the figures are locked";
