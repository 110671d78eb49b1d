//! Stand-ins for `pace` without the feature `tokio`: nobody asks.

use std::time::Duration;

use super::table::Routing;
use crate::version::id::VersionId;

pub(crate) struct Pace;

impl Pace {
    pub(crate) const fn new() -> Self {
        Self
    }

    pub(crate) fn is_wanted(&self) -> bool {
        false
    }

    pub(crate) fn measured(&self, _: Option<Duration>, _: impl FnOnce() -> bool) {}

    pub(crate) fn changes<V>(&self, _: &Routing<V>, _: &Routing<V>) {}

    pub(crate) fn has_changed<V>(&self, _: &Routing<V>, _: &Routing<V>) {}
}

pub(crate) fn answering<V>(_: &Routing<V>) -> impl Iterator<Item = VersionId> {
    std::iter::empty()
}
