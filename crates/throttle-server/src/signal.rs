//! The signals of the operating system, and what each asks of the server.

#[cfg(unix)]
pub(crate) use self::unix::Signals;
#[cfg(windows)]
pub(crate) use self::windows::Signals;

use std::time::Duration;

use tokio::time::timeout;

/// What a signal asks of the server, with the name of the signal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Signal {
    /// Read the configuration again.
    #[cfg_attr(windows, expect(dead_code, reason = "Windows has no signal for it"))]
    Reload(&'static str),
    /// Stop serving.
    Stop(&'static str),
}

impl Signals {
    /// The next signal that asks to stop.
    pub(crate) async fn next_stop(&mut self) -> &'static str {
        loop {
            if let Signal::Stop(signal) = self.next().await {
                return signal;
            }
        }
    }

    /// The next signal that asks to stop although `first` has done so.
    ///
    /// One request to stop may send its signal twice: coreutils' `timeout` and some supervisors send it to the process
    /// and to its group. It must not cut short the writing of a state file.
    pub(crate) async fn second_stop(&mut self, first: Option<&'static str>) -> &'static str {
        let other = async {
            loop {
                let signal = self.next_stop().await;
                if Some(signal) != first {
                    return signal;
                }
            }
        };
        match timeout(REPETITION, other).await {
            Ok(signal) => signal,
            Err(_) => self.next_stop().await,
        }
    }
}

/// For how long the same signal is a repetition. Nobody asks twice so quickly by hand.
const REPETITION: Duration = Duration::from_millis(500);

#[cfg(unix)]
mod unix {
    use std::io;

    use tokio::signal::unix::{self, SignalKind};

    use super::Signal;

    /// A stream of the signals since it was created.
    #[derive(Debug)]
    pub(crate) struct Signals {
        hangup: unix::Signal,
        interrupt: unix::Signal,
        terminate: unix::Signal,
    }

    impl Signals {
        /// Listens for signals, which would otherwise end the process.
        pub(crate) fn listen() -> io::Result<Self> {
            Ok(Self {
                hangup: unix::signal(SignalKind::hangup())?,
                interrupt: unix::signal(SignalKind::interrupt())?,
                terminate: unix::signal(SignalKind::terminate())?,
            })
        }

        /// The next signal.
        pub(crate) async fn next(&mut self) -> Signal {
            tokio::select! {
                _ = self.hangup.recv() => Signal::Reload("SIGHUP"),
                _ = self.interrupt.recv() => Signal::Stop("SIGINT"),
                _ = self.terminate.recv() => Signal::Stop("SIGTERM"),
            }
        }
    }
}

#[cfg(windows)]
mod windows {
    use std::io;

    use tokio::signal::windows::{CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break};
    use tokio::signal::windows::{ctrl_c, ctrl_close, ctrl_shutdown};

    use super::Signal;

    /// A stream of the signals since it was created.
    #[derive(Debug)]
    pub(crate) struct Signals {
        c: CtrlC,
        r#break: CtrlBreak,
        close: CtrlClose,
        shutdown: CtrlShutdown,
    }

    impl Signals {
        /// Listens for signals, which would otherwise end the process.
        pub(crate) fn listen() -> io::Result<Self> {
            Ok(Self {
                c: ctrl_c()?,
                r#break: ctrl_break()?,
                close: ctrl_close()?,
                shutdown: ctrl_shutdown()?,
            })
        }

        /// The next signal.
        pub(crate) async fn next(&mut self) -> Signal {
            tokio::select! {
                _ = self.c.recv() => Signal::Stop("Ctrl+C"),
                _ = self.r#break.recv() => Signal::Stop("Ctrl+Break"),
                _ = self.close.recv() => Signal::Stop("close"),
                _ = self.shutdown.recv() => Signal::Stop("shutdown"),
            }
        }
    }
}
