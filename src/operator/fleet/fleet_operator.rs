//! Whoever operates a fleet without being one of its processes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::audit::FleetAudit;
use super::decisions::FleetDecision;
use super::error::FleetError;
use super::overview::FleetOverview;
use super::reach::Reach;
use super::repair::FleetRepair;
use super::sweep::{FleetLeftover, FleetSweep};
use crate::base::clock::Clock;
use crate::base::text::{bounded, bounded_text};
use crate::control::decider::{Demand, Demanded, is_agreed};
use crate::control::event::Cause;
use crate::control::moves::RollbackOutcome;
use crate::fleet::format::head::LIBRARY;
use crate::fleet::format::value::Written;
use crate::handle::fleet::membership::TRIES;
use crate::handle::fleet::register::{Replaced, has_landed, next_head, replace};
use crate::handle::options::Fleet;

/// A fleet, looked at and operated from outside: by a shell at night, or by a daily job. It is no member, has no model and no types,
/// holds no thread and asks the store when it is asked.
///
/// What it changes is decided by the code by which a member decides, and is put in the place of what was agreed on by one
/// compare-and-swap: [`rollback`](Self::rollback) and [`freeze`](Self::freeze) over whatever others decide meanwhile. Members see it
/// at their next look, within [`poll`](crate::options::FleetTiming::poll); one that is cut off stops exposing candidates within
/// [`valid_for`](crate::options::FleetTiming::valid_for).
///
/// ```
/// use std::sync::Arc;
/// use switchback::fleet::InMemory;
/// use switchback::operator::FleetOperator;
/// use switchback::options::Fleet;
/// use switchback::{Clock, ModelHandle, closure};
///
/// let store = Arc::new(InMemory::new(Clock::system()));
/// let fleet = Fleet::on(Arc::clone(&store)).secret(b"of 32 bytes, from where secrets are");
/// let handle = ModelHandle::builder("late")
///     .live("v1", closure("double@1", |x: &f64| Ok(x * 2.0)))
///     .fleet(fleet.clone())
///     .build()?;
///
/// let operator = FleetOperator::new(&fleet, "late")?;
/// assert_eq!(operator.overview()?.live, "v1");
/// operator.acting_as("ada").freeze("until the incident is understood")?;
/// assert_eq!(operator.decisions(10)?.last().ok_or("nothing")?.by, "ada");
/// # drop(handle);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FleetOperator {
    reach: Arc<Reach>,
    actor: Option<Arc<str>>,
}

impl fmt::Debug for FleetOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetOperator")
            .field("model", &self.reach.model)
            .field("actor", &self.actor)
            .finish_non_exhaustive()
    }
}

impl FleetOperator {
    /// Of the fleet of the handles of this name: the place and the secrets are those that members are given. The store is not asked yet.
    ///
    /// # Errors
    ///
    /// The key, the name or a secret makes no sense.
    pub fn new(fleet: &Fleet, model: &str) -> Result<Self, FleetError> {
        Self::with_clock(fleet, model, Clock::system())
    }

    /// The same by another clock. It is shown in the history, and nothing is decided by it.
    ///
    /// # Errors
    ///
    /// As of [`new`](Self::new).
    pub fn with_clock(fleet: &Fleet, model: &str, clock: Clock) -> Result<Self, FleetError> {
        Ok(Self { reach: Arc::new(Reach::new(fleet, model, clock)?), actor: None })
    }

    /// The same, where somebody does it: the name stands in the history and in the events of every process.
    #[must_use]
    pub fn acting_as(&self, actor: &str) -> Self {
        Self { reach: Arc::clone(&self.reach), actor: Some(bounded(actor).into()) }
    }

    /// How the fleet stands. Reads the head, the ledger and all rows.
    ///
    /// # Errors
    ///
    /// The store cannot be asked, or there is no such fleet.
    pub fn overview(&self) -> Result<FleetOverview, FleetError> {
        self.reach.overview()
    }

    /// The last things that were agreed on, as many as `last`, oldest first. Each is read by itself. What was swept is not there.
    ///
    /// # Errors
    ///
    /// The store cannot be asked, or there is no such fleet.
    pub fn decisions(&self, last: usize) -> Result<Vec<FleetDecision>, FleetError> {
        self.reach.decisions(last)
    }

    /// Takes off every exposed candidate or, where there is none, takes live back to the version before it, as
    /// [`ModelHandle::rollback`](crate::ModelHandle::rollback) does: over whatever others agree on in the same moment.
    ///
    /// What it did is decided on what is agreed on now; where others have done the same meanwhile, nothing is left to do. It
    /// is never done twice by one call, however often the store does not answer.
    ///
    /// # Errors
    ///
    /// [`Unknown`](FleetError::Unknown): the store did not say whether it took it. Look before it is said again: a second rollback goes
    /// further back. Any other error says that nothing has changed.
    pub fn rollback(&self, reason: impl Into<String>) -> Result<RollbackOutcome, FleetError> {
        let cause = Cause::Operator { reason: bounded_text(reason) };
        let mut agreed = self.reach.agreed()?;
        let now = agreed.now;
        let (outcome, demands) = agreed.decider.demanded(now, |control, desk| control.lower_all(cause, desk));
        let demands = demands.into_iter().map(|demand| Demand { by: self.actor.clone(), ..demand });
        self.agree(&demands.collect::<Vec<_>>())?;
        Ok(outcome)
    }

    /// From now on no plan raises exposure, in any process; lowering goes on, and what is done by hand is done. Whether it was not
    /// frozen before: the reason of a freeze that holds stays.
    ///
    /// # Errors
    ///
    /// As of [`rollback`](Self::rollback); said again it does no harm.
    pub fn freeze(&self, reason: impl Into<String>) -> Result<bool, FleetError> {
        self.demand(Demanded::Freeze { reason: Some(bounded_text(reason)), ends: Vec::new() })
    }

    /// Ends the [`freeze`](Self::freeze) that holds, and none for another reason that others begin in the same moment. Whether there was one.
    ///
    /// # Errors
    ///
    /// As of [`freeze`](Self::freeze), and [`Newer`](FleetError::Newer) where a later release decides.
    pub fn unfreeze(&self) -> Result<bool, FleetError> {
        let (over, _) = self.reach.head()?;
        if over.head().min_writer > LIBRARY {
            return Err(FleetError::Newer);
        }
        match self.reach.agreed()?.saved.frozen {
            Some(stands) => self.demand(Demanded::Freeze { reason: None, ends: vec![stands] }),
            None => Ok(false),
        }
    }

    /// Holds all that lies in the store against the rest of it: what cannot be read, what is missing, and what does not fit together.
    /// Changes nothing.
    ///
    /// # Errors
    ///
    /// The store cannot be asked, or there is no such fleet.
    pub fn audit(&self) -> Result<FleetAudit, FleetError> {
        self.reach.audit()
    }

    /// What [`sweep`](Self::sweep) would remove.
    ///
    /// # Errors
    ///
    /// As of [`sweep`](Self::sweep).
    pub fn leftovers(&self, older_than: Duration) -> Result<Vec<FleetLeftover>, FleetError> {
        self.reach.leftovers(older_than)
    }

    /// Removes what nobody can miss, and is older than that by the store's clock: rows of processes that are over and of which nothing
    /// is counted that is on trial; filed heads that no process needs to see where the newest comes from, beyond the last 64; and what
    /// probes and repairs have left. Take a week or more for `older_than`: a process that was stopped for longer than
    /// that may find that nobody can show it how things went on, and has to be started again.
    ///
    /// # Errors
    ///
    /// The store cannot be asked, or there is no such fleet, or it has [more than one history](FleetError::Histories): repair it first.
    /// What cannot be removed is told in what comes back.
    pub fn sweep(&self, older_than: Duration) -> Result<FleetSweep, FleetError> {
        self.reach.sweep(older_than)
    }

    /// Begins a new term where what was agreed on is gone, cannot be read, or was put back to what it was before: all processes follow it,
    /// those that knew better too. Nothing where there is nothing to repair.
    ///
    /// It goes on from the newest head that is there, is filed, or was kept by a process that found the store without what it had. Where these
    /// are of several histories, or a process has seen what nobody has kept, it does so only `from` the head that is named: whatever
    /// was agreed on in the others is given up. Candidates are taken off then, and where the store was put back, since
    /// what was counted around that may be counted twice; a version that is live stays, and is watched on.
    ///
    /// # Errors
    ///
    /// [`Histories`](FleetError::Histories) names the heads that there are. [`NotAgreed`](FleetError::NotAgreed): somebody else was
    /// faster, or no such head is there. [`Unknown`](FleetError::Unknown) as of [`rollback`](Self::rollback).
    pub fn repair(
        &self,
        reason: impl Into<String>,
        from: Option<&str>,
    ) -> Result<Option<FleetRepair>, FleetError> {
        self.reach.repair(self.actor.as_deref().unwrap_or("operator"), &bounded_text(reason), from)
    }

    fn demand(&self, what: Demanded) -> Result<bool, FleetError> {
        self.agree(&[Demand { by: self.actor.clone(), what }])
    }

    /// Has what is demanded agreed on, over whatever else is. Whether something was left to do.
    fn agree(&self, demands: &[Demand]) -> Result<bool, FleetError> {
        let reach = &self.reach;
        // What was put, and nobody has said what came of it.
        let mut sent: Vec<Arc<Written>> = Vec::new();
        let mut said = None;
        for _ in 0..TRIES {
            let mut agreed = match reach.agreed() {
                Err(error) if !sent.is_empty() => {
                    return Err(FleetError::Unknown { reason: error.to_string() });
                }
                agreed => agreed?,
            };
            if sent.iter().any(|written| has_landed(written, &agreed.over.written)) {
                return Ok(true);
            }
            demands.iter().for_each(|demand| agreed.decider.obey(demand, agreed.now));
            let after = agreed.decider.saved(agreed.now);
            if is_agreed(&agreed.saved, &after) {
                return Ok(false);
            }
            let (events, at) = (agreed.decider.events(), reach.clock.now());
            let by = self.actor.as_deref().unwrap_or("operator");
            let next = next_head(&agreed.over, reach.nonce(), by, &after, &events, agreed.active_ms, at);
            let written =
                Written::new(next).map_err(|error| FleetError::NotAgreed { reason: error.to_string() })?;
            let written = Arc::new(written);
            let ask = &mut |act: &_| reach.ask(act, &mut said);
            match replace(ask, &reach.layout, &agreed.over, Arc::clone(&written), false) {
                Replaced::Done(_) => return Ok(true),
                Replaced::Lost => {}
                Replaced::Unknown => sent.push(written),
                Replaced::NotDone => break,
            }
        }
        let reason = said.unwrap_or_else(|| String::from("others decide all the time: say it again"));
        Err(if sent.is_empty() { FleetError::NotAgreed { reason } } else { FleetError::Unknown { reason } })
    }
}
