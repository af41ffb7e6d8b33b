//! The answer to "who sends".

use std::sync::Arc;

use crate::event::ClientId;

/// An authenticated sender. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Whose quotas, grants and share hold.
    pub client: ClientId,
    /// Which of its credentials was used, by the config's label; never the credential itself.
    pub label: Arc<str>,
}
