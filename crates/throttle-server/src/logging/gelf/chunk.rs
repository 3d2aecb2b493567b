//! Splits a message into datagrams that are small enough for every network.

use std::hash::{BuildHasher, RandomState};

/// The size in bytes that fits into one Ethernet frame, with room for headers.
const MAX_DATAGRAM: usize = 1_420;
/// Magic number, id of the message, number of the chunk, number of chunks.
const HEADER: usize = 2 + 8 + 1 + 1;
const MAGIC: [u8; 2] = [0x1e, 0x0f];
const MAX_CHUNKS: usize = 128;

/// The longest message that can be sent, in bytes.
pub(super) const MAX_MESSAGE: usize = MAX_CHUNKS * (MAX_DATAGRAM - HEADER);

/// Splits messages into chunks. The ids of messages begin at random, so that senders do not share them.
#[derive(Debug)]
pub(super) struct Chunker {
    next_id: u64,
}

impl Default for Chunker {
    fn default() -> Self {
        // The standard library seeds its hashers with randomness of the system.
        let next_id = RandomState::new().hash_one(());
        Self { next_id }
    }
}

impl Chunker {
    /// The datagrams that make up a message of at most [`MAX_MESSAGE`] bytes.
    pub(super) fn datagrams(&mut self, message: &str) -> Vec<Vec<u8>> {
        let message = message.as_bytes();
        if message.len() <= MAX_DATAGRAM {
            return vec![message.to_vec()];
        }
        let id = self.next_id.to_be_bytes();
        self.next_id = self.next_id.wrapping_add(1);
        let chunks = message.chunks(MAX_DATAGRAM - HEADER);
        let count = u8::try_from(chunks.len()).expect("messages have at most MAX_CHUNKS chunks");
        let numbered = (0..count).zip(chunks);
        let datagram = |(number, chunk)| [&MAGIC[..], &id, &[number, count], chunk].concat();
        numbered.map(datagram).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_split_only_if_it_does_not_fit() {
        let mut chunker = Chunker { next_id: 7 };
        let mut sizes = |length| {
            let datagrams = chunker.datagrams(&"x".repeat(length));
            datagrams.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(1_420), [1_420]);
        assert_eq!(sizes(1_421), [1_420, 12 + 13]);
        assert_eq!(sizes(MAX_MESSAGE), [1_420; 128]);
    }

    #[test]
    fn a_chunk_has_the_id_of_its_message_its_number_and_the_number_of_chunks() {
        let mut chunker = Chunker { next_id: u64::MAX };
        let [first, second] = [(); 2].map(|()| chunker.datagrams(&"x".repeat(3_000)));
        assert_eq!(first[2][..12], [0x1e, 0x0f, 255, 255, 255, 255, 255, 255, 255, 255, 2, 3]);
        assert_eq!(second[0][..12], [0x1e, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
    }
}
