//! What the service manager is told, if there is one that wants to know: systemd, for a unit of the
//! type `notify` or `notify-reload`. Without the variable `NOTIFY_SOCKET` nothing is told to anybody.

#[cfg(not(target_os = "linux"))]
pub(crate) use self::elsewhere::{ready, refused, reloaded, reloading, stopping};
#[cfg(target_os = "linux")]
pub(crate) use self::linux::{ready, refused, reloaded, reloading, stopping};

#[cfg(target_os = "linux")]
mod linux {
    use sd_notify::NotifyState::{self, Errno, Ready, Reloading, Status, Stopping};
    use tracing::warn;

    /// The server listens. `status` is what `systemctl status` shows.
    pub(crate) fn ready(status: &str) {
        tell(&[Ready, Status(&line(status))]);
    }

    /// A reload begins. The manager takes the service for unavailable until it hears the outcome.
    pub(crate) fn reloading() {
        // From version 253 on systemd wants to know the instant, so that it cannot take an earlier
        // reload for the one that it asked for.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[Reloading, now]),
            Err(error) => warn!(%error, "cannot tell the service manager the time"),
        }
    }

    /// The reload is done.
    pub(crate) fn reloaded(status: &str) {
        tell(&[Ready, Errno(0), Status(&line(status))]);
    }

    /// The reload is over and changed nothing. systemd knows no way to say that it failed; the error
    /// number is for `systemctl status`, too.
    pub(crate) fn refused(status: &str) {
        tell(&[Ready, Errno(EINVAL), Status(&line(status))]);
    }

    /// The server shuts down.
    pub(crate) fn stopping() {
        tell(&[Stopping, Status("shutting down")]);
    }

    fn tell(states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            warn!(%error, "cannot tell the service manager how the server is");
        }
    }

    /// The text in one line: the manager would take the next one for another message.
    fn line(text: &str) -> String {
        let text = text.replace('\n', "; ");
        text.chars().filter(|c| !c.is_control()).take(LONGEST_STATUS).collect()
    }

    const EINVAL: u32 = 22;

    /// In characters: a datagram is bounded, and so is what anybody reads in a status.
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
