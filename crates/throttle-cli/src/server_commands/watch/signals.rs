//! The signals that `watch` receives, and what they ask for.

use std::io;

use crate::exit_status::ExitStatus;

/// The request of a signal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Signal {
    /// End with this exit status.
    End(ExitStatus),
    /// Draw the screen again: the size of the terminal has changed, or another program used it.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there are no such signals"))]
    Redraw,
    /// Stop until somebody continues the program.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there are no such signals"))]
    Stop,
}

#[cfg(unix)]
mod system {
    use std::task::Poll;

    use rustix::process::{Signal as Number, getpid, kill_process};
    use tokio::signal::unix::{self, SignalKind};

    use super::{ExitStatus, Signal, io};
    use crate::ignored_signals::is_ignored;

    /// Receives signals from the moment when it is created. None of them ends the program any more. Signals
    /// that were ignored at the start, as with `nohup`, stay ignored.
    pub(in crate::server_commands::watch) struct Signals(Vec<(Signal, unix::Signal)>);

    impl Signals {
        pub(in crate::server_commands::watch) fn listen() -> io::Result<Self> {
            let kinds = [
                // Ctrl+C is the usual end of `watch`, so it is no failure.
                (Number::INT, Signal::End(ExitStatus::SUCCESS)),
                (Number::HUP, Signal::End(ExitStatus::of_signal(Number::HUP.as_raw()))),
                (Number::QUIT, Signal::End(ExitStatus::of_signal(Number::QUIT.as_raw()))),
                (Number::TERM, Signal::End(ExitStatus::of_signal(Number::TERM.as_raw()))),
                (Number::TSTP, Signal::Stop),
                (Number::CONT, Signal::Redraw),
                (Number::WINCH, Signal::Redraw),
            ];
            let received = kinds.into_iter().filter(|&(number, _)| !is_ignored(number));
            let signals = received.map(|(number, meaning)| {
                Ok((meaning, unix::signal(SignalKind::from_raw(number.as_raw()))?))
            });
            Ok(Self(signals.collect::<io::Result<_>>()?))
        }

        /// The next signal.
        pub(in crate::server_commands::watch) async fn next(&mut self) -> Signal {
            std::future::poll_fn(|context| {
                for (meaning, signal) in &mut self.0 {
                    if signal.poll_recv(context).is_ready() {
                        return Poll::Ready(*meaning);
                    }
                }
                Poll::Pending
            })
            .await
        }
    }

    /// Stops this process, and returns when it is continued.
    pub(in crate::server_commands::watch) fn stop() {
        // TSTP has a handler, so use STOP. A process may always stop itself.
        let _ = kill_process(getpid(), Number::STOP);
    }
}

#[cfg(not(unix))]
mod system {
    use super::{ExitStatus, Signal, io};

    /// Receives Ctrl+C, which no longer ends the program.
    pub(in crate::server_commands::watch) struct Signals;

    impl Signals {
        #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
        pub(in crate::server_commands::watch) fn listen() -> io::Result<Self> {
            Ok(Self)
        }

        #[expect(clippy::needless_pass_by_ref_mut, reason = "elsewhere it changes")]
        pub(in crate::server_commands::watch) async fn next(&mut self) -> Signal {
            if tokio::signal::ctrl_c().await.is_err() {
                // Ctrl+C cannot be received.
                std::future::pending::<()>().await;
            }
            Signal::End(ExitStatus::SUCCESS)
        }
    }

    /// Does nothing: there are no stops on this system.
    pub(in crate::server_commands::watch) fn stop() {}
}

pub(super) use self::system::{Signals, stop};
