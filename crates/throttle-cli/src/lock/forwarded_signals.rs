//! The signals that this program receives. It forwards them to the command, or ends a wait.

#[cfg(unix)]
mod system {
    use std::{io, task::Poll};

    use rustix::process::Signal;
    use tokio::signal::unix::{self, SignalKind, signal};

    use crate::ignored_signals::is_ignored;

    /// Receives signals from the moment when it is created. None of them ends the program any more.
    ///
    /// A signal that was ignored at the start, as with `nohup`, stays ignored: this program sets no handler
    /// for it, and the command inherits that.
    pub(in crate::lock) struct Signals(Vec<(Signal, unix::Signal)>);

    impl Signals {
        pub(in crate::lock) fn listen() -> io::Result<Self> {
            let received = ENDING.into_iter().chain(OTHERS).filter(|&it| !is_ignored(it));
            let signals = received.map(|it| Ok((it, signal(SignalKind::from_raw(it.as_raw()))?)));
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

    /// Whether a signal asks a process to end.
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
                // Ctrl+C cannot be received.
                std::future::pending::<()>().await;
            }
            INTERRUPT
        }
    }

    pub(in crate::lock) fn is_ending(signal: i32) -> bool {
        signal == INTERRUPT
    }

    /// The number of SIGINT on Unix, so that the exit status is the same.
    const INTERRUPT: i32 = 2;
}

pub(super) use self::system::{Signals, is_ending};

impl Signals {
    /// The next signal that asks the program to end.
    pub(super) async fn next_ending(&mut self) -> i32 {
        loop {
            let signal = self.next().await;
            if is_ending(signal) {
                return signal;
            }
        }
    }
}
