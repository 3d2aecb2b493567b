//! The tables of the file, and the version of its format.
//!
//! Version 1: `meta` has the numbers of [`Meta`](throttle_runtime::Meta) and the version itself under the names below,
//! and each other table has one kind of record under its key, in the form of [`format`](crate::format). A change that
//! an older version would misread gets a new version of the file; a new field of a record only gets a new version of
//! the record.

use redb::TableDefinition;

/// The newest format that this version reads, and the one that it writes.
pub(crate) const FORMAT: u64 = 1;

/// Numbers about the store as a whole, by the names below.
pub(crate) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Semaphores by name.
pub(crate) const SEMAPHORES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("semaphores");
/// Peers by id.
pub(crate) const PEERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("peers");
/// The numbers of peers that are gone, by the id of the peer.
pub(crate) const ABSENT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("absent");

/// The names in [`META`].
pub(crate) mod meta {
    pub(crate) const FORMAT: &str = "format";
    pub(crate) const ID: &str = "id";
    pub(crate) const MADE_AT: &str = "made_at";
    pub(crate) const TOKEN_FLOOR: &str = "token_floor";
}
