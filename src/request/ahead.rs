//! Exposure that is lowered before the control lock is had.
//!
//! Whoever lowers may have to wait for that lock: on a busy machine the thread that holds it, to tell a status, may have been
//! put aside with it for some ten milliseconds. So what callers meet is lowered first, by what no lock guards: the lease on
//! candidates is suspended, and live is replaced in the table by the version before it, which lies there ready. What is done
//! under the lock afterwards makes the same of it for good, and says so.

use std::sync::Arc;

use super::lease::Lease;
use crate::base::clock::Timestamp;
use crate::base::sync::Ahead;

/// Where a rollback goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Back<'a> {
    /// Nowhere while candidates are exposed, since those are taken off; otherwise to the version before live.
    Whatever,
    BeforeLive,
    /// To the version before live, where live is watched after its promotion in this attempt.
    Watched(u32),
    To(&'a str),
}

/// Those who have taken live back and wait for the control lock.
pub(crate) struct TakenBack {
    /// Where nothing is on trial.
    whatever: Ahead,
    /// Those who take live back, whatever is on trial.
    live: Ahead,
}

impl TakenBack {
    pub(crate) fn new() -> Self {
        Self { whatever: Ahead::new(), live: Ahead::new() }
    }

    /// By whoever has just stored a table, under the control lock: a rollback that waits for that lock holds for this one too.
    pub(crate) fn follow(&self, act: impl Fn(Back<'_>)) {
        self.whatever.follow(|| act(Back::Whatever));
        self.live.follow(|| act(Back::BeforeLive));
    }

    fn of(&self, back: Back<'_>) -> Option<&Ahead> {
        match back {
            Back::Whatever => Some(&self.whatever),
            Back::BeforeLive => Some(&self.live),
            // Another table may lead to another version than the one that was named.
            Back::Watched(_) | Back::To(_) => None,
        }
    }
}

/// Exposure that was lowered before the control lock was had. Until this goes no candidate answers.
pub(crate) struct Lowered<'a> {
    lease: Arc<Lease>,
    ahead: Option<&'a Ahead>,
    /// When that was, where all of it was lowered.
    since: Option<Timestamp>,
    /// Live may have been taken back.
    live: bool,
}

impl<'a> Lowered<'a> {
    /// Takes candidates off from now on.
    pub(crate) fn candidates(lease: Arc<Lease>, now: Timestamp) -> Self {
        lease.suspend();
        Self { lease, ahead: None, since: Some(now), live: false }
    }

    /// Takes live back as well: `act` does it, where it can, and whoever stores a table before this one has arrived does it
    /// again. `is_done`: it is what is exposed that is taken off, and live stays.
    pub(crate) fn live(
        mut self,
        among: &'a TakenBack,
        back: Back<'_>,
        is_done: bool,
        act: impl FnOnce() -> bool,
    ) -> Self {
        self.ahead = among.of(back);
        let acted = match self.ahead {
            Some(ahead) => ahead.go(act),
            None => act(),
        };
        self.live = acted || self.ahead.is_some();
        self.since = self.since.filter(|_| acted || is_done);
        self
    }

    /// When exposure was lowered; nothing where that is still to be done.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// Whether live may have been taken back, so that the table of the present state has to be stored again where nothing came
    /// of it.
    pub(crate) fn may_have_replaced_live(&self) -> bool {
        self.live
    }

    /// Under the control lock, before anything is done there: tables that are stored from now on are not changed for this
    /// one's sake.
    pub(crate) fn arrive(&mut self) {
        if let Some(ahead) = self.ahead.take() {
            ahead.arrive();
        }
    }
}

impl Drop for Lowered<'_> {
    fn drop(&mut self) {
        self.arrive();
        self.lease.resume();
    }
}
