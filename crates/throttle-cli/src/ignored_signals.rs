//! Signals that this program ignores because its parent process did so.

use rustix::process::Signal;

/// Whether this process ignores a signal. Without a handler of its own, it inherited that from its parent.
///
/// Always false on systems other than Linux, where it cannot be read.
pub(crate) fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal.as_raw() - 1) & 1 == 1)
}
