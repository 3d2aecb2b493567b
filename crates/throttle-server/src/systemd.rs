//! The messages to systemd: readiness, reloads and the end of the server, for units of the types `notify` and
//! `notify-reload`. Without the variable `NOTIFY_SOCKET` nothing is sent.

#[cfg(not(target_os = "linux"))]
pub(crate) use self::elsewhere::{ready, refused, reloaded, reloading, stopping};
#[cfg(target_os = "linux")]
pub(crate) use self::linux::{ready, refused, reloaded, reloading, stopping};

#[cfg(target_os = "linux")]
mod linux {
    use sd_notify::NotifyState::{self, Errno, Ready, Reloading, Status, Stopping};
    use tracing::warn;

    /// The server listens. `systemctl status` shows `status`.
    pub(crate) fn ready(status: &str) {
        send(&[Ready, Status(&line(status))]);
    }

    /// A reload begins. The unit is in the state `reloading` until the outcome is sent.
    pub(crate) fn reloading() {
        // Since version 253 systemd needs the instant, to distinguish this reload from an earlier one.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => send(&[Reloading, now]),
            Err(error) => warn!(%error, "cannot tell the service manager the time"),
        }
    }

    /// The reload was applied.
    pub(crate) fn reloaded(status: &str) {
        send(&[Ready, Errno(0), Status(&line(status))]);
    }

    /// The reload was refused and changed nothing. systemd has no message for that; it shows the error number in
    /// `systemctl status`.
    pub(crate) fn refused(status: &str) {
        send(&[Ready, Errno(EINVAL), Status(&line(status))]);
    }

    /// The server shuts down.
    pub(crate) fn stopping() {
        send(&[Stopping, Status("shutting down")]);
    }

    fn send(states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            warn!(%error, "cannot tell the service manager how the server is");
        }
    }

    /// The text as one line, because systemd takes each line for a message.
    fn line(text: &str) -> String {
        let text = text.replace('\n', "; ");
        text.chars().filter(|c| !c.is_control()).take(LONGEST_STATUS).collect()
    }

    const EINVAL: u32 = 22;

    /// In characters: a datagram is limited, and so is a readable status.
    const LONGEST_STATUS: usize = 1_000;
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    pub(crate) fn ready(_: &str) {}
    pub(crate) fn reloading() {}
    pub(crate) fn reloaded(_: &str) {}
    pub(crate) fn refused(_: &str) {}
    pub(crate) fn stopping() {}
}
