//! Frees versions that take no traffic any more, once nobody borrows them.

use std::sync::Arc;

use super::loaded::AnyVersion;
use crate::base::sync::is_only_owner;

/// Versions that take no traffic any more and wait for their last borrower.
///
/// Each is owned here by one `Arc` beside those of the tables, pins and shadow requests that still hold it, so theirs is
/// never the last one, and dropping it on a request thread frees no model. A version is freed when ours is the only one
/// left: nobody can make a second from it, since no `Weak<Version>` exists and the list is only reached under the
/// control lock.
#[derive(Default)]
pub(crate) struct Retired(Vec<Arc<dyn AnyVersion>>);

impl Retired {
    /// Hands a version over to be freed when its last borrower is gone. One that waits already waits once: of two that are owned
    /// here neither would ever be the only one left.
    pub(crate) fn push(&mut self, version: Arc<dyn AnyVersion>) {
        if !self.0.iter().any(|other| Arc::ptr_eq(other, &version)) {
            self.0.push(version);
        }
    }

    /// Takes out the versions that nobody borrows any more. The caller drops them after it has let go of the lock:
    /// dropping a model is an engine's code and can take milliseconds.
    #[must_use]
    pub(crate) fn take_unborrowed(&mut self) -> Vec<Arc<dyn AnyVersion>> {
        self.0.extract_if(.., |version| is_only_owner(version)).collect()
    }

    /// The versions that still wait.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<dyn AnyVersion>> {
        self.0.iter()
    }
}
