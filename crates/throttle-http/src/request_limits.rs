//! The limits of requests: of their size, of what they ask for, and of long answers at a time.
//!
//! The limits of peers and waiters are among the [`Settings`](throttle_runtime::Settings), because they concern
//! the service and not a single request.

use std::time::Duration;

use throttle_wire::{Code, Labels};

use crate::refusal::Refusal;

/// Limits of requests. Each has its own error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestLimits {
    /// Largest body, in bytes; 413 `body_too_large`. Default: 64 KiB.
    pub body: usize,
    /// Longest name of a semaphore, in bytes of UTF-8; 422 `name_too_long`. Default: 1024.
    pub name_length: usize,
    /// Longest lease; 422 `expires_in_too_long`. Default: 30 days.
    pub expires_in: Duration,
    /// Longest wait of one request; 422 `block_for_too_long`. Default: 1 day.
    pub block_for: Duration,
    /// Most labels of a peer; 422 `labels_too_large`. Default: 16.
    pub labels: usize,
    /// Longest name and longest value of a label, in bytes of UTF-8; 422 `labels_too_large`.
    /// Default: 256.
    pub label_length: usize,
    /// Most answers longer than 32 KiB that are written at a time; 429 `too_many_listings`. Default: 64.
    pub listings: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            body: 64 * 1024,
            name_length: 1024,
            expires_in: 30 * DAY,
            block_for: DAY,
            labels: 16,
            label_length: 256,
            listings: 64,
        }
    }
}

impl RequestLimits {
    /// `length` may be that of a part of the body.
    pub(crate) fn check_body(&self, length: u64) -> Result<(), Refusal> {
        let limit = self.body;
        check(length <= limit as u64, Code::BodyTooLarge, || {
            format!("The body has at most {limit} bytes.")
        })
    }

    pub(crate) fn check_name(&self, semaphore: &str) -> Result<(), Refusal> {
        let limit = self.name_length;
        check(semaphore.len() <= limit, Code::NameTooLong, || {
            format!("The name of a semaphore has at most {limit} bytes.")
        })
    }

    pub(crate) fn check_expires_in(&self, expires_in: Duration) -> Result<(), Refusal> {
        let limit = self.expires_in;
        check(expires_in <= limit, Code::ExpiresInTooLong, || {
            format!("`expires_in` is at most {}.", humantime::format_duration(limit))
        })
    }

    pub(crate) fn check_block_for(&self, block_for: Duration) -> Result<(), Refusal> {
        let limit = self.block_for;
        check(block_for <= limit, Code::BlockForTooLong, || {
            format!("`block_for` is at most {}.", humantime::format_duration(limit))
        })
    }

    pub(crate) fn check_labels(&self, labels: &Labels) -> Result<(), Refusal> {
        let (most, longest) = (self.labels, self.label_length);
        check(labels.len() <= most, Code::LabelsTooLarge, || {
            format!("A peer has at most {most} labels.")
        })?;
        let fit = labels.iter().all(|(name, value)| name.len().max(value.len()) <= longest);
        check(fit, Code::LabelsTooLarge, || {
            format!("The name and the value of a label have at most {longest} bytes each.")
        })
    }
}

fn check(fits: bool, code: Code, detail: impl FnOnce() -> String) -> Result<(), Refusal> {
    if fits { Ok(()) } else { Err(Refusal::new(code, detail())) }
}
