//! Holds a lock without a command, for whoever is at the other end of standard input.

use std::{
    io::{self, Read as _},
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    held::Held,
    signals::Signals,
    work::{End, endangered},
};
use crate::exit::{Code, Failure};

/// Returns when standard input ends, when a signal says so, or a grace before the lock is lost.
pub(super) async fn run(
    held: &Held,
    grace: Duration,
    signals: &mut Signals,
) -> Result<End, Failure> {
    let end_of_input = end_of_input()?;
    Ok(tokio::select! {
        biased;
        known = endangered(held, grace) => {
            End::Lost(known.unwrap_or_else(|| held.out_of_reach()))
        }
        signal = signals.that_ends() => End::Done(Code::signal(signal)),
        _ = end_of_input => End::Done(Code::SUCCESS),
    })
}

/// Becomes ready when standard input ends. What comes before is not looked at.
fn end_of_input() -> io::Result<oneshot::Receiver<()>> {
    let (end, ended) = oneshot::channel();
    let read = move || {
        let mut buffer = [0; 4096];
        let mut stdin = io::stdin().lock();
        loop {
            match stdin.read(&mut buffer) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What cannot be read has no end but this one.
                Ok(0) | Err(_) => break,
            }
        }
        // The program may be ending for another reason.
        let _ = end.send(());
    };
    thread::Builder::new().name("input".to_owned()).spawn(read)?;
    Ok(ended)
}
