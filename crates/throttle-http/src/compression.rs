//! Compression of long answers of the operators' routes.

use axum::{http::header, response::Response};
use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer, Predicate,
        predicate::{NotForContentType, SizeAbove},
    },
};

use crate::listing;

/// Compresses long answers to clients that ask for it, as Prometheus does.
pub(crate) fn layer() -> CompressionLayer<impl Predicate> {
    let is_worthwhile = SizeAbove::new(1024).and(NotForContentType::IMAGES);
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(is_worthwhile)
}

/// The compression takes pieces until it has a few KiB to return, which may be a whole list, or until it must wait
/// for a piece. So pieces must yield below it as well as above it.
pub(crate) async fn yield_between_pieces(answer: Response) -> Response {
    if answer.headers().contains_key(header::CONTENT_ENCODING) {
        return listing::yield_between_pieces(answer);
    }
    answer
}
