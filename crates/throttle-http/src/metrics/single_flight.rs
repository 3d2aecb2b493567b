//! Texts that are made one at a time, each shared by all requests that arrive meanwhile.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, Weak},
};

use axum::body::{Body, Bytes};
use futures_util::{StreamExt as _, stream};
use tokio::{sync::oneshot, task};

use crate::{answer::PIECE, refusal::Refusal};

/// Makes texts on a thread that serves no requests, one at a time.
#[derive(Debug, Default)]
pub(super) struct SingleFlight {
    /// The requests that wait for the text that is being made; `None` if none is being made.
    waiting: Mutex<Option<Vec<oneshot::Sender<Arc<SharedText>>>>>,
    /// Texts that a client may still be reading, the oldest first.
    texts: Mutex<VecDeque<Weak<SharedText>>>,
}

/// A text that any number of clients read at the same time.
#[derive(Debug)]
pub(crate) struct SharedText {
    /// `None` after it was withdrawn from clients that read too slowly.
    text: Mutex<Option<String>>,
    length: usize,
}

impl SingleFlight {
    /// The text that `make` makes, or the one that is being made for an earlier request.
    ///
    /// # Errors
    ///
    /// `internal` if `make` panics.
    pub(super) async fn text(
        self: &Arc<Self>,
        make: impl FnOnce() -> String + Send + 'static,
    ) -> Result<Arc<SharedText>, Refusal> {
        let (sender, text) = oneshot::channel();
        self.join(sender, make);
        text.await.map_err(|_| Refusal::internal())
    }

    fn join(
        self: &Arc<Self>,
        sender: oneshot::Sender<Arc<SharedText>>,
        make: impl FnOnce() -> String + Send + 'static,
    ) {
        let mut waiting = self.waiting();
        if let Some(waiting) = &mut *waiting {
            waiting.push(sender);
            return;
        }
        *waiting = Some(vec![sender]);
        let flight = Arc::clone(self);
        let mut in_progress = InProgress(Some(Arc::clone(self)));
        task::spawn_blocking(move || {
            flight.withdraw_oldest();
            let text = Arc::new(SharedText::new(make()));
            flight.texts.lock().expect(NO_PANIC).push_back(Arc::downgrade(&text));
            for sender in in_progress.end() {
                // A request that was dropped needs no text.
                let _ = sender.send(Arc::clone(&text));
            }
        });
    }

    /// Makes room for another text. The oldest text is taken from clients that still read it, so that
    /// slow clients neither block others nor hold much memory.
    fn withdraw_oldest(&self) {
        let mut texts = self.texts.lock().expect(NO_PANIC);
        texts.retain(|text| text.strong_count() > 0);
        while texts.len() >= MOST_TEXTS {
            if let Some(text) = texts.pop_front().and_then(|oldest| oldest.upgrade()) {
                text.text().take();
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Vec<oneshot::Sender<Arc<SharedText>>>>> {
        self.waiting.lock().expect(NO_PANIC)
    }
}

impl SharedText {
    fn new(text: String) -> Self {
        Self { length: text.len(), text: Mutex::new(Some(text)) }
    }

    /// The length in bytes.
    pub(crate) const fn length(&self) -> usize {
        self.length
    }

    /// The text as a body of pieces. Each is copied only when the client has read the one before,
    /// because the server keeps a piece until the client has read it.
    pub(crate) fn into_body(self: Arc<Self>) -> Body {
        let pieces = stream::unfold((self, 0), async |(text, start)| {
            let piece = text.piece(start).transpose()?;
            let end = start + piece.as_ref().map_or(0, Bytes::len);
            Some((piece, (text, end)))
        });
        // Compression polls a body once more after its end.
        Body::from_stream(pieces.fuse())
    }

    /// The piece that begins at `start`; `None` at the end of the text.
    fn piece(&self, start: usize) -> io::Result<Option<Bytes>> {
        let text = self.text();
        let text = text.as_ref().ok_or_else(|| io::Error::other("the text was read too slowly"))?;
        let rest = &text.as_bytes()[start..];
        let piece = &rest[..rest.len().min(PIECE)];
        Ok((!piece.is_empty()).then(|| Bytes::copy_from_slice(piece)))
    }

    fn text(&self) -> MutexGuard<'_, Option<String>> {
        self.text.lock().expect(NO_PANIC)
    }
}

/// A text that is being made. When it is dropped, also by a panic, the next text can be made.
struct InProgress(Option<Arc<SingleFlight>>);

impl InProgress {
    fn end(&mut self) -> Vec<oneshot::Sender<Arc<SharedText>>> {
        self.0.take().and_then(|flight| flight.waiting().take()).unwrap_or_default()
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.end();
    }
}

/// The number of texts in memory at a time, the one that is being made included. Slow clients would
/// otherwise fill the memory with texts.
const MOST_TEXTS: usize = 4;

const NO_PANIC: &str = "nothing in here panics";

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use axum::body::to_bytes;
    use futures_util::future::join;
    use throttle_wire::Code;

    use super::*;

    #[tokio::test]
    async fn a_request_that_arrives_while_a_text_is_made_gets_that_text() {
        let flight = Arc::new(SingleFlight::default());
        let (go, may_go) = mpsc::channel::<()>();
        let first = flight.text(move || {
            may_go.recv().unwrap();
            "first".to_owned()
        });
        let second = async {
            let second = flight.text(|| unreachable!("one text is made at a time"));
            let (second, ()) = join(second, async { go.send(()).unwrap() }).await;
            second
        };
        let (first, second) = join(first, second).await;
        assert_eq!(read(first.unwrap()).await.unwrap(), "first");
        assert_eq!(read(second.unwrap()).await.unwrap(), "first");
        let third = flight.text(|| "third".to_owned()).await.unwrap();
        assert_eq!(read(third).await.unwrap(), "third");
    }

    #[tokio::test]
    async fn the_oldest_of_many_texts_that_are_read_slowly_is_withdrawn() {
        let flight = Arc::new(SingleFlight::default());
        let mut texts = Vec::new();
        for number in 0..=MOST_TEXTS {
            let text = format!("{number}").repeat(PIECE + 1);
            texts.push(flight.text(|| text).await.unwrap());
        }
        assert!(texts[0].text().is_none(), "its memory is freed although a client still reads it");
        read(texts.remove(0)).await.unwrap_err();
        for (number, text) in (1..).zip(texts) {
            assert_eq!(read(text).await.unwrap(), format!("{number}").repeat(PIECE + 1));
        }
    }

    #[tokio::test]
    async fn a_panic_fails_only_its_own_text() {
        let flight = Arc::new(SingleFlight::default());
        let broken = flight.text(|| panic!("this is a test")).await.unwrap_err();
        assert_eq!(broken.code(), Code::Internal);
        let text = flight.text(|| "text".to_owned()).await.unwrap();
        assert_eq!(read(text).await.unwrap(), "text");
    }

    async fn read(text: Arc<SharedText>) -> Result<String, axum::Error> {
        let bytes = to_bytes(text.into_body(), usize::MAX).await?;
        Ok(String::from_utf8(bytes.into()).unwrap())
    }
}
