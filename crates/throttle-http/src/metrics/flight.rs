//! One text at a time, shared by all who ask for it meanwhile.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Bytes;
use throttle_wire::Code;
use tokio::{sync::oneshot, task};

use crate::refusal::Refusal;

/// Makes texts that take some time, on a thread that serves no requests.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// Who waits for the text that is being made; `None` if none is.
    waiting: Mutex<Option<Vec<oneshot::Sender<Bytes>>>>,
    /// Shared with each text that somebody is still reading.
    in_use: Arc<()>,
}

impl Flight {
    /// The text that `make` makes, or that of somebody who asked shortly before.
    ///
    /// # Errors
    ///
    /// `too_many_listings` while clients that read slowly keep several texts, `internal` if `make`
    /// panics.
    pub(super) async fn text(
        self: &Arc<Self>,
        make: impl FnOnce() -> String + Send + 'static,
    ) -> Result<Bytes, Refusal> {
        let (sender, text) = oneshot::channel();
        self.join(sender, make)?;
        text.await.map_err(|_| Refusal::internal())
    }

    fn join(
        self: &Arc<Self>,
        sender: oneshot::Sender<Bytes>,
        make: impl FnOnce() -> String + Send + 'static,
    ) -> Result<(), Refusal> {
        let mut waiting = self.waiting();
        if let Some(waiting) = &mut *waiting {
            waiting.push(sender);
            return Ok(());
        }
        if Arc::strong_count(&self.in_use) > MOST_TEXTS {
            return Err(Refusal::new(
                Code::TooManyListings,
                "Clients that read slowly keep too many texts of metrics. Try again later.",
            ));
        }
        *waiting = Some(vec![sender]);
        let mut turn = Turn(Some(Arc::clone(self)));
        let in_use = Arc::clone(&self.in_use);
        task::spawn_blocking(move || {
            let text = Text { text: make(), _in_use: in_use };
            let text = Bytes::from_owner(text);
            // Who went away needs no text. Nothing of it stays here when the last one has it.
            let mut senders = turn.end();
            let last = senders.pop();
            for sender in senders {
                let _ = sender.send(text.clone());
            }
            let _ = last.map(|last| last.send(text));
        });
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Vec<oneshot::Sender<Bytes>>>> {
        self.waiting.lock().expect("nothing in here panics")
    }
}

/// A text is being made. However that ends, it ends once, and then the next one can be made.
struct Turn(Option<Arc<Flight>>);

impl Turn {
    fn end(&mut self) -> Vec<oneshot::Sender<Bytes>> {
        self.0.take().and_then(|flight| flight.waiting().take()).unwrap_or_default()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.end();
    }
}

/// A text, which is in use until its last reader is done.
struct Text {
    text: String,
    _in_use: Arc<()>,
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

/// How many texts there may be, so that clients that read slowly do not fill the memory with them.
const MOST_TEXTS: usize = 4;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::future::join;

    use super::*;

    #[tokio::test]
    async fn who_asks_while_a_text_is_made_gets_that_one() {
        let flight = Arc::new(Flight::default());
        let (go, may_go) = mpsc::channel::<()>();
        let first = flight.text(move || {
            may_go.recv().unwrap();
            "first".to_owned()
        });
        let second = async {
            let second = flight.text(|| unreachable!("one at a time"));
            let (second, ()) = join(second, async { go.send(()).unwrap() }).await;
            second
        };
        let (first, second) = join(first, second).await;
        assert_eq!((first.unwrap(), second.unwrap()), ("first".into(), "first".into()));
        assert_eq!(flight.text(|| "third".to_owned()).await.unwrap(), "third");
    }

    #[tokio::test]
    async fn texts_that_are_still_read_are_bounded_and_a_panic_ends_only_its_own() {
        let flight = Arc::new(Flight::default());
        let mut texts = Vec::new();
        for _ in 0..MOST_TEXTS {
            texts.push(flight.text(|| "text".to_owned()).await.unwrap());
        }
        let refused = flight.text(|| "text".to_owned()).await.unwrap_err();
        assert_eq!(refused.code(), Code::TooManyListings);
        texts.pop();
        let broken = flight.text(|| panic!("this is a test")).await.unwrap_err();
        assert_eq!(broken.code(), Code::Internal);
        assert_eq!(flight.text(|| "text".to_owned()).await.unwrap(), "text");
    }
}
