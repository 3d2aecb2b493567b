//! The machine of the measurements, as far as it describes itself.

use std::{fmt, fs, thread};

use serde::Serialize;

/// Processor and system, which figures depend on.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    processor: String,
    processors: usize,
    system: String,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let processor = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(": ")?.1.to_owned())
        });
        let system = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        let system = system.as_deref().map_or("", str::trim);
        let online = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let online = online.lines().filter(|line| line.starts_with("processor")).count();
        Self {
            processor: processor.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            // `available_parallelism` alone counts too few if this process is pinned.
            processors: online.max(thread::available_parallelism().map_or(1, Into::into)),
            system: format!("{} {system}", std::env::consts::OS).trim().to_owned(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, processors, system } = self;
        write!(f, "{processor}, {processors} processors, {system}")
    }
}
