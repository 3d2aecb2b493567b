//! Signals that come to this program.

#[cfg(unix)]
mod system {
    use std::{io, task::Poll};

    use tokio::signal::unix::{Signal, SignalKind, signal};

    /// Hears signals from the moment it is made; none of them ends the program any more.
    pub(in crate::lock) struct Signals(Vec<(SignalKind, Signal)>);

    impl Signals {
        pub(in crate::lock) fn listen() -> io::Result<Self> {
            let kinds = ENDING.into_iter().chain(OTHERS);
            let signals = kinds.map(|kind| Ok((kind(), signal(kind())?)));
            Ok(Self(signals.collect::<io::Result<_>>()?))
        }

        /// The next signal, by its number.
        pub(in crate::lock) async fn next(&mut self) -> i32 {
            std::future::poll_fn(|context| {
                for (kind, signal) in &mut self.0 {
                    if signal.poll_recv(context).is_ready() {
                        return Poll::Ready(kind.as_raw_value());
                    }
                }
                Poll::Pending
            })
            .await
        }

        /// The next signal that means to end.
        pub(in crate::lock) async fn that_ends(&mut self) -> i32 {
            loop {
                let signal = self.next().await;
                if ENDING.iter().any(|kind| kind().as_raw_value() == signal) {
                    return signal;
                }
            }
        }
    }

    const ENDING: [fn() -> SignalKind; 4] =
        [SignalKind::hangup, SignalKind::interrupt, SignalKind::quit, SignalKind::terminate];
    const OTHERS: [fn() -> SignalKind; 2] = [SignalKind::user_defined1, SignalKind::user_defined2];
}

#[cfg(not(unix))]
mod system {
    use std::io;

    /// Ctrl+C, which does not end the program any more.
    pub(in crate::lock) struct Signals;

    impl Signals {
        #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
        pub(in crate::lock) fn listen() -> io::Result<Self> {
            Ok(Self)
        }

        #[expect(clippy::needless_pass_by_ref_mut, reason = "elsewhere it changes")]
        pub(in crate::lock) async fn next(&mut self) -> i32 {
            if tokio::signal::ctrl_c().await.is_err() {
                // There is nothing to hear.
                std::future::pending::<()>().await;
            }
            INTERRUPT
        }

        pub(in crate::lock) async fn that_ends(&mut self) -> i32 {
            self.next().await
        }
    }

    /// As on Unix, for the exit status.
    const INTERRUPT: i32 = 2;
}

pub(super) use self::system::Signals;
