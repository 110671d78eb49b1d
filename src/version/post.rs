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
    /// What nobody is to call until the call that was abandoned has returned.
    blocked: Option<Arc<dyn AnyVersion>>,
}

impl Post {
    /// A call begins.
    pub(crate) fn begin(&self, at: At) {
        self.0.lock().at = Some(at);
    }

    /// The call has ended; whether it was waited for. A thread that was abandoned stays so.
    pub(crate) fn end(&self) -> bool {
        let state = &mut *self.0.lock();
        state.at = None;
        if let Some(version) = state.blocked.take() {
            version.unblock();
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
            version.block();
            state.blocked = Some(Arc::clone(version));
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Reading;
    use crate::base::guarded::Contained;
    use crate::model::closure::closure;
    use crate::model::description::Description;
    use crate::model::model::Model;
    use crate::version::loaded::Version;

    /// Bug: a version whose call had not returned was called again, and took another thread. Cause: a call of it that began and ended elsewhere
    /// said that it returns. Fix: what was abandoned says so alone, and each by itself.
    #[test]
    fn a_version_stays_blocked_until_each_call_of_it_that_was_abandoned_has_returned() {
        let model: Box<dyn Model<f64, f64>> = Box::new(closure("two@1", |_: &f64| Ok(2.0)));
        let (id, identity) = (VersionId::new("v2").unwrap(), model.identity());
        let version: Arc<dyn AnyVersion> =
            Arc::new(Version::new(id, identity, Description::default(), Contained::new(model)));
        let now = TimePoint { at: Timestamp::from_unix_seconds(1), read: Reading::from_nanos(1) };
        let begun = || {
            let (post, blocks) = (Post::default(), Some(Arc::clone(&version)));
            let (activity, limit) = (Activity::Waking, Duration::ZERO);
            post.begin(At { version: id, blocks, activity, load: None, began: now, limit });
            post
        };
        let [first, second, in_time] = [begun(), begun(), begun()];
        assert!(first.abandon(now).is_some() && second.abandon(now).is_some());
        assert!(in_time.end() && version.is_blocked());
        assert!(!first.end() && version.is_blocked());
        assert!(!second.end() && !version.is_blocked());
    }

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
