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
use crate::{
    exit::{Code, Failure},
    say,
};

/// Tells what is held, and returns when standard input ends, when a signal says so, or a grace before the
/// lock is lost.
///
/// # Errors
///
/// [`Code::OUTPUT`]: who cannot read it does not know that it holds anything.
pub(super) async fn run(
    held: &Held,
    listing: String,
    grace: Duration,
    signals: &mut Signals,
) -> Result<End, Failure> {
    let conversation = conversation(listing)?;
    Ok(tokio::select! {
        biased;
        known = endangered(held, grace) => {
            End::Lost(known.unwrap_or_else(|| held.out_of_reach()))
        }
        signal = signals.that_ends() => End::Done(Code::signal(signal)),
        ended = conversation => {
            ended.unwrap_or(Ok(())).map_err(say::unwritten)?;
            End::Done(Code::SUCCESS)
        }
    })
}

/// Writes the listing, then becomes ready when standard input ends. What comes before is not looked at.
///
/// Both may take as long as whoever is at the other end likes.
fn conversation(listing: String) -> io::Result<oneshot::Receiver<io::Result<()>>> {
    let (end, ended) = oneshot::channel();
    let talk = move || {
        if let Err(error) = say::write(&listing) {
            let _ = end.send(Err(error));
            return;
        }
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
        let _ = end.send(Ok(()));
    };
    thread::Builder::new().name("conversation".to_owned()).spawn(talk)?;
    Ok(ended)
}
