//! Signals that come to this program.

#[cfg(unix)]
mod system {
    use std::{io, task::Poll};

    use rustix::process::Signal;
    use tokio::signal::unix::{self, SignalKind, signal};

    use crate::ignored_signals::is_ignored;

    /// Hears signals from the moment it is made; none of them ends the program any more.
    ///
    /// One that was ignored when the program started, as by `nohup`, stays ignored: by this program,
    /// which never has a handler for it, and so by the command.
    pub(in crate::lock) struct Signals(Vec<(Signal, unix::Signal)>);

    impl Signals {
        pub(in crate::lock) fn listen() -> io::Result<Self> {
            let heard = ENDING.into_iter().chain(OTHERS).filter(|&it| !is_ignored(it));
            let signals = heard.map(|it| Ok((it, signal(SignalKind::from_raw(it.as_raw()))?)));
            Ok(Self(signals.collect::<io::Result<_>>()?))
        }

        /// The next signal, by its number.
        pub(in crate::lock) async fn next(&mut self) -> i32 {
            std::future::poll_fn(|context| {
                for (number, signal) in &mut self.0 {
                    if signal.poll_recv(context).is_ready() {
                        return Poll::Ready(number.as_raw());
                    }
                }
                Poll::Pending
            })
            .await
        }
    }

    /// Whether a signal means to end whoever gets it.
    pub(in crate::lock) fn is_ending(signal: i32) -> bool {
        ENDING.iter().any(|it| it.as_raw() == signal)
    }

    const ENDING: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];
    const OTHERS: [Signal; 3] = [Signal::USR1, Signal::USR2, Signal::WINCH];
}

#[cfg(not(unix))]
mod system {
    use std::io;

    use tokio::signal::windows::{CtrlC, ctrl_c};

    /// Ctrl+C, which does not end the program any more.
    pub(in crate::lock) struct Signals(CtrlC);

    impl Signals {
        pub(in crate::lock) fn listen() -> io::Result<Self> {
            ctrl_c().map(Self)
        }

        pub(in crate::lock) async fn next(&mut self) -> i32 {
            if self.0.recv().await.is_none() {
                // There is nothing to hear.
                std::future::pending::<()>().await;
            }
            INTERRUPT
        }
    }

    pub(in crate::lock) fn is_ending(signal: i32) -> bool {
        signal == INTERRUPT
    }

    /// As on Unix, for the exit status.
    const INTERRUPT: i32 = 2;
}

pub(super) use self::system::{Signals, is_ending};

impl Signals {
    /// The next signal that means to end.
    pub(super) async fn next_ending(&mut self) -> i32 {
        loop {
            let signal = self.next().await;
            if is_ending(signal) {
                return signal;
            }
        }
    }
}
