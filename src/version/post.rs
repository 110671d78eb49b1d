//! The post of a thread of ours: what it is at, and whether anybody still waits for it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::id::VersionId;
use super::loaded::AnyVersion;
use crate::base::clock::{TimePoint, Timestamp};
use crate::model::activity::Activity;
use crate::model::throttle::LoadThrottle;

/// The call of a version's code that a thread is at, which may never return.
#[derive(Clone)]
pub(crate) struct At {
    pub(crate) version: VersionId,
    /// The version, where nobody is to call it again before this call has returned.
    pub(crate) blocks: Option<Arc<dyn AnyVersion>>,
    pub(crate) activity: Activity,
    /// The load that it is, which goes from one activity to the next.
    pub(crate) load: Option<LoadThrottle>,
    pub(crate) began: TimePoint,
    /// How long it is waited for.
    pub(crate) limit: Duration,
}

impl At {
    /// Returns the version's activity.
    pub(crate) fn activity(&self) -> Activity {
        self.load.as_ref().map_or(self.activity, LoadThrottle::activity)
    }
}

/// Whether a thread is at a call, and whether it is still waited for. A call either ends in time or is abandoned, never both,
/// so what it comes to is counted by one of two.
///
/// A lock, and no lock-free protocol: no request takes it but those of a candidate that runs beside them.
#[derive(Default)]
pub(crate) struct Post(Mutex<State>);

#[derive(Default)]
struct State {
    at: Option<At>,
    abandoned: Option<Timestamp>,
}

impl Post {
    /// A call begins.
    pub(crate) fn begin(&self, at: At) {
        self.0.lock().at = Some(at);
    }

    /// The call has ended; whether it was waited for. A thread that was abandoned stays so.
    pub(crate) fn end(&self) -> bool {
        let state = &mut *self.0.lock();
        if let Some(version) = state.at.take().and_then(|at| at.blocks) {
            version.set_blocked(false);
        }
        state.abandoned.is_none()
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.0.lock().abandoned.is_some()
    }

    /// Whether the call that was waited for no longer has returned.
    pub(crate) fn has_returned_late(&self) -> bool {
        let state = &*self.0.lock();
        state.abandoned.is_some() && state.at.is_none()
    }

    /// Returns what the thread that was abandoned is at, and since when it has been.
    pub(crate) fn abandoned(&self) -> Option<(At, Timestamp)> {
        let state = &*self.0.lock();
        state.at.clone().zip(state.abandoned)
    }

    /// Waits for the call no longer. `None` where it has just ended, or was abandoned before.
    pub(crate) fn abandon(&self, now: TimePoint) -> Option<At> {
        self.abandon_if(now, |_| true)
    }

    /// The same, where it has taken longer than it may.
    pub(crate) fn abandon_overdue(
        &self,
        now: TimePoint,
        lasted: impl FnOnce(TimePoint) -> Duration,
    ) -> Option<At> {
        self.abandon_if(now, |at| lasted(at.began) > at.limit)
    }

    fn abandon_if(&self, now: TimePoint, wanted: impl FnOnce(&At) -> bool) -> Option<At> {
        let state = &mut *self.0.lock();
        let at = state.at.clone().filter(|at| state.abandoned.is_none() && wanted(at))?;
        state.abandoned = Some(now.at);
        if let Some(version) = &at.blocks {
            version.set_blocked(true);
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Reading;

    #[test]
    fn a_call_ends_or_is_abandoned_and_never_both() {
        let moment = |seconds: u64| {
            let read = Reading::from_nanos(seconds * 1_000_000_000);
            TimePoint { at: Timestamp::from_unix_seconds(seconds), read }
        };
        let at = || At {
            version: VersionId::new("v2").unwrap(),
            blocks: None,
            activity: Activity::Copy,
            load: None,
            began: moment(10),
            limit: Duration::from_secs(5),
        };
        let post = Post::default();
        let overdue = |second: u64| {
            let now = moment(second);
            post.abandon_overdue(now, |began| now.since(began))
        };
        assert!(post.abandon(moment(11)).is_none(), "it is at nothing");
        post.begin(at());
        assert!(overdue(15).is_none(), "in time");
        assert!(post.end());
        assert!(overdue(99).is_none(), "it has ended");
        post.begin(at());
        assert!(overdue(16).is_some());
        assert!(post.abandon(moment(17)).is_none(), "once");
        assert_eq!(post.abandoned().map(|(_, since)| since), Some(Timestamp::from_unix_seconds(16)));
        assert!(!post.has_returned_late());
        assert!(!post.end() && post.is_abandoned() && post.has_returned_late());
    }
}
