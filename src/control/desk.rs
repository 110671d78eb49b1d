//! The values that every move needs at hand.

use crate::base::clock::Timestamp;
use crate::feedback::join::Joins;
use crate::request::table::Router;

/// Where the table goes, where outcomes are joined, and what time it is: one moment of the writer's work.
#[derive(Clone, Copy)]
pub(crate) struct Desk<'a> {
    pub(crate) router: &'a dyn Router,
    pub(crate) joins: &'a Joins,
    pub(crate) now: Timestamp,
    /// When what is done took effect: before now where exposure was lowered before the control lock was had.
    pub(crate) since: Timestamp,
}
