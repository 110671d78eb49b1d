//! What a member asks of the store, and what it is told.

use crate::base::clock::Timestamp;
use crate::fleet::format::counts::Counts;
use crate::fleet::format::envelope::Kind;
use crate::fleet::format::value::Value;
use crate::fleet::key::Key;
use crate::fleet::store::{Page, StoreOutcome, Tag};

/// Who of a member asks. Each waits for its answer before it asks again, and none for another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    Lower,
    Follow,
    Publish,
    Judge,
}

/// One request of the store.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Act<C: Counts> {
    Get {
        key: Key,
        kind: Kind,
        known: Option<Tag>,
    },
    /// Over a tag, or over nothing.
    Put {
        key: Key,
        value: Value<C>,
        over: Option<Tag>,
    },
    List {
        under: Key,
        after: Option<Key>,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply<C: Counts> {
    Absent,
    Same,
    Value {
        value: Value<C>,
        tag: Tag,
        at: Timestamp,
    },
    /// Something is there that cannot be read. It has a tag where the store could give one, and it may be written over.
    Damaged {
        tag: Option<Tag>,
    },
    Done(Tag),
    Page(Page),
    Failed(StoreOutcome),
}
