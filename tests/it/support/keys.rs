//! API keys that never change, so that a test's config can hold their digests.

use sha2::{Digest, Sha256};

/// A client's key.
pub(crate) struct Key {
    /// What the client sends.
    pub(crate) text: String,
    /// What the config holds: 64 hexadecimal digits.
    pub(crate) sha256: String,
}

/// The key of `client`.
pub(crate) fn fixed(client: &str) -> Key {
    let text = format!("test-key-of-{client}");
    let sha256 = hex::encode(Sha256::digest(text.as_bytes()));
    Key { text, sha256 }
}
