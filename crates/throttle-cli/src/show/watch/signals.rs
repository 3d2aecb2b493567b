//! What signals mean to a program that shows a screen.

use std::io;

use crate::exit_status::ExitStatus;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Signal {
    /// To end, with this status.
    End(ExitStatus),
    /// To show everything again: the terminal has another size, or somebody else used it.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there are no such signals"))]
    Redraw,
    /// To stop until somebody continues it.
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

    /// Receives signals from the moment it is made; none of them ends the program any more. Those that
    /// were ignored when it started, as by `nohup`, stay ignored.
    pub(in crate::show::watch) struct Signals(Vec<(Signal, unix::Signal)>);

    impl Signals {
        pub(in crate::show::watch) fn listen() -> io::Result<Self> {
            let kinds = [
                // Who presses Ctrl+C has seen enough, and nothing failed.
                (Number::INT, Signal::End(ExitStatus::SUCCESS)),
                (Number::HUP, Signal::End(ExitStatus::signal(Number::HUP.as_raw()))),
                (Number::QUIT, Signal::End(ExitStatus::signal(Number::QUIT.as_raw()))),
                (Number::TERM, Signal::End(ExitStatus::signal(Number::TERM.as_raw()))),
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
        pub(in crate::show::watch) async fn next(&mut self) -> Signal {
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
    pub(in crate::show::watch) fn stop() {
        // The signal that asked for it would only ask again. A process may always stop itself.
        let _ = kill_process(getpid(), Number::STOP);
    }
}

#[cfg(not(unix))]
mod system {
    use super::{ExitStatus, Signal, io};

    /// Receives Ctrl+C, which does not end the program any more.
    pub(in crate::show::watch) struct Signals;

    impl Signals {
        #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
        pub(in crate::show::watch) fn listen() -> io::Result<Self> {
            Ok(Self)
        }

        #[expect(clippy::needless_pass_by_ref_mut, reason = "elsewhere it changes")]
        pub(in crate::show::watch) async fn next(&mut self) -> Signal {
            if tokio::signal::ctrl_c().await.is_err() {
                // There is nothing to receive.
                std::future::pending::<()>().await;
            }
            Signal::End(ExitStatus::SUCCESS)
        }
    }

    /// Nothing asks for it here.
    pub(in crate::show::watch) fn stop() {}
}

pub(super) use self::system::{Signals, stop};
