//! Error codes.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:literal, $title:literal;)*) => {
        /// Identifies an error. Programs may branch on it.
        ///
        /// A code never changes its meaning. Newer servers may have more codes; a client reads a code
        /// that it does not know as [`Code::Unknown`].
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $variant,)*
            /// A code of a server newer than this library. Never sent.
            Unknown,
        }

        impl Code {
            /// Every code that a server sends.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name on the wire, in `snake_case`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Unknown => "unknown",
                }
            }

            /// The HTTP status of the answer.
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$variant => $status,)*
                    Self::Unknown => 500,
                }
            }

            /// A short phrase for people, the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$variant => $title,)*
                    Self::Unknown => "Unknown error",
                }
            }

            /// The code of this name, or [`Code::Unknown`].
            pub fn from_name(name: &str) -> Self {
                match name {
                    $($name => Self::$variant,)*
                    _ => Self::Unknown,
                }
            }
        }
    };
}

codes! {
    /// The peer already waits for a lock; it may wait for one at a time.
    AlreadyPending = "already_pending", 409, "Already pending";
    /// `block_for` is longer than the server allows.
    BlockForTooLong = "block_for_too_long", 422, "Block for too long";
    /// The body is larger than the server allows.
    BodyTooLarge = "body_too_large", 413, "Body too large";
    /// The pending lock was cancelled while the request waited.
    Cancelled = "cancelled", 409, "Cancelled";
    /// `expires_in` is longer than the server allows.
    ExpiresInTooLong = "expires_in_too_long", 422, "Lease too long";
    /// A browser sent the request for a page of another origin.
    ForeignOrigin = "foreign_origin", 403, "Foreign origin";
    /// The head of the request is larger than the server allows.
    HeadTooLarge = "head_too_large", 431, "Head too large";
    /// Something broke inside the server.
    Internal = "internal", 500, "Internal error";
    /// A field is missing, has the wrong type or an unusable value.
    InvalidField = "invalid_field", 422, "Invalid field";
    /// The count is zero or negative.
    InvalidLockCount = "invalid_lock_count", 400, "Invalid lock count";
    /// More labels, or longer ones, than the server allows.
    LabelsTooLarge = "labels_too_large", 422, "Labels too large";
    /// A count, or the sum of restored counts, exceeds 2^53 - 1.
    LockCountTooLarge = "lock_count_too_large", 422, "Lock count too large";
    /// Locks are taken from high levels to low ones; this order could deadlock.
    LockHierarchyViolation = "lock_hierarchy_violation", 409, "Lock hierarchy violation";
    /// The body is not JSON.
    MalformedBody = "malformed_body", 400, "Malformed body";
    /// The path is not percent-encoded UTF-8, or has no number where it needs one.
    MalformedPath = "malformed_path", 400, "Malformed path";
    /// The query string cannot be read.
    MalformedQuery = "malformed_query", 400, "Malformed query";
    /// The request breaks the rules of HTTP.
    MalformedRequest = "malformed_request", 400, "Malformed request";
    /// The route does not take this method.
    MethodNotAllowed = "method_not_allowed", 405, "Method not allowed";
    /// The name of the semaphore is longer than the server allows.
    NameTooLong = "name_too_long", 422, "Name too long";
    /// The count exceeds the maximum of the semaphore.
    NeverAcquirable = "never_acquirable", 409, "Never acquirable";
    /// The lock with this fencing token is not held: it was given up or lost, or there was never such a grant.
    NotHeld = "not_held", 404, "Not held";
    /// The server is draining.
    NotReady = "not_ready", 503, "Not ready";
    /// The new configuration is refused; the old one stays in force.
    ReloadRefused = "reload_refused", 422, "Reload refused";
    /// The peer exists and holds other locks.
    RestoreConflict = "restore_conflict", 409, "Restore conflict";
    /// The peer has sent a request with a greater sequence number, which arrived before.
    StaleRequest = "stale_request", 409, "Stale request";
    /// The server could not write to its store, so it answers nothing that depends on it, and ends.
    StoreFailed = "store_failed", 503, "Store failed";
    /// The labels of all peers take as much memory as the server allows.
    TooManyLabelBytes = "too_many_label_bytes", 429, "Too many labels";
    /// Clients are reading as many long lists as the server allows.
    TooManyListings = "too_many_listings", 429, "Too many listings";
    /// There are as many peers as the server allows.
    TooManyPeers = "too_many_peers", 429, "Too many peers";
    /// As many peers wait for this semaphore as the server allows.
    TooManyWaiters = "too_many_waiters", 429, "Too many waiters";
    /// No such peer; it never existed, was removed, or expired.
    UnknownPeer = "unknown_peer", 400, "Unknown peer";
    /// No such route.
    UnknownRoute = "unknown_route", 404, "Not found";
    /// No such semaphore.
    UnknownSemaphore = "unknown_semaphore", 400, "Unknown semaphore";
    /// The body is not declared as JSON.
    UnsupportedMediaType = "unsupported_media_type", 415, "Unsupported media type";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Ok(Self::from_name(&name))
    }
}
