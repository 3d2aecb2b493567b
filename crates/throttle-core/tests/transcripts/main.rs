//! The transcripts, played on the core alone: as they are written, and with a recovery after any line.

mod core;
mod stop;

use futures_util::FutureExt as _;
use throttle_transcripts::play;

use crate::core::Core;

#[path = "../../../throttle-transcripts/corpus/mod.rs"]
mod corpus;

fn check(transcript: expect_test::Expect) {
    let played = play(transcript.data(), Core::start).now_or_never();
    transcript.assert_eq(&played.expect("the core never waits"));
}
