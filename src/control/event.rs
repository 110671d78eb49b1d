//! Events, the bounded log of them, and subscriptions.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use serde::{Deserialize, Serialize, Serializer};

use crate::base::clock::Timestamp;
use crate::base::guarded::{Contained, guarded};
use crate::base::ordered::OrderedMap;
use crate::base::share::Share;
use crate::base::text::{list, number};
use crate::drift::told::{Baseline, DriftScope, DriftedFeature};
use crate::model::Tier;
use crate::model::activity::Activity;
use crate::model::error::ErrorKind;
use crate::rollout::guard::evidence::Evidence;
use crate::rollout::phase::Phase;
use crate::rollout::plan::Plan;
use crate::stats::sequential::EValue;
use crate::version::drill::DrillOutcome;
use crate::version::id::VersionId;
use crate::version::load_impact::LoadImpact;
use crate::version::priority::LoadPriority;
use crate::version::proof::Proof;

/// Something that happened to a handle. Announced after it is true, in the order of its sequence numbers.
///
/// Serialised it has its moment twice: `at` in nanoseconds, which is exact and is what is read, and `time` as people and
/// their tools read it (RFC 3339), since many of these keep a number of that size only to some hundred nanoseconds. It is read from
/// formats that describe themselves alone, such as JSON: a kind that a later release has added is [`EventKind::Unknown`] here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// Counts from 1 without gaps; a gap that a subscriber sees is an event it was too slow for.
    pub sequence: u64,
    /// The moment, on the handle's clock. Where exposure was lowered by hand, the one from which on requests were answered
    /// accordingly: the event is announced once the control side has its turn, and may come after one of a later moment.
    pub at: Timestamp,
    /// The routing table that was in force after it.
    pub epoch: u64,
    /// The person, where it was done through a handle that [acts for](crate::ModelHandle::acting_as) somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Arc<str>>,
    /// The kind, with what belongs to it.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// The serialised form.
#[derive(Serialize)]
struct Written<'a> {
    sequence: u64,
    at: Timestamp,
    #[serde(serialize_with = "in_words")]
    time: Timestamp,
    epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: &'a Option<Arc<str>>,
    #[serde(flatten)]
    kind: &'a EventKind,
}

fn in_words<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { sequence, at, epoch, actor, kind } = self;
        let (sequence, at, epoch) = (*sequence, *at, *epoch);
        Written { sequence, at, time: at, epoch, actor, kind }.serialize(serializer)
    }
}

/// A kind of event, with what belongs to it.
///
/// Match with `..`: a kind may get more fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// A version was loaded. It takes no traffic yet.
    Staged {
        /// The version.
        version: VersionId,
        /// Its proof: what it was asked before.
        #[serde(default, skip_serializing_if = "Proof::is_answered")]
        proof: Proof,
    },
    /// A version was loaded, and failed on an input that was made up from its signature. That is no verdict, since such an
    /// input may be one that nobody would send: it is used all the same. The host's
    /// [sample](crate::options::Inputs::sample) or golden samples would have proven it, and requests will.
    NotProven {
        /// The version.
        version: VersionId,
        /// The error that it gave on the input that was made up. There is nothing of a user's in it.
        reason: Arc<str>,
    },
    /// A version that came into a repository which the handle follows (`ModelHandle::follow`) is not tried: it is not signed,
    /// its bytes or its manifest are not what was published, it does not fit, does not load, or its plan cannot be run. Told once
    /// for a manifest and a reason, however often it is looked at.
    VersionRefused {
        /// The version.
        version: VersionId,
        /// The SHA-256 of its manifest, in hexadecimal digits; nothing where it has none that can be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
        /// Why, and what to do.
        reason: String,
    },
    /// A rollout went from one phase to another, or changed its share within one.
    PhaseChanged {
        /// The candidate.
        version: VersionId,
        /// The phase before.
        from: Phase,
        /// The phase now.
        to: Phase,
        /// The share of requests that the candidate answers now.
        weight: Share,
        /// The share of live's requests that are copied to it now.
        sample: Share,
        /// The guards' evidence when a plan took this step; empty for a step taken by hand.
        evidence: Vec<Evidence>,
    },
    /// A guard failed. What follows from it is an event of its own.
    GuardFailed {
        /// The candidate, or the new live while it is watched.
        version: VersionId,
        /// The evidence that the guard saw.
        evidence: Evidence,
    },
    /// Guards have been inconclusive for longer than the plan's step allows. What follows is an event of its own.
    Inconclusive {
        /// The candidate.
        version: VersionId,
        /// The guards' last evidence.
        evidence: Vec<Evidence>,
    },
    /// A candidate became live.
    Promoted {
        /// The new live.
        version: VersionId,
        /// Live until then; retained.
        previous: VersionId,
        /// The guards' evidence; empty for a promotion by hand.
        evidence: Vec<Evidence>,
    },
    /// A figure of a watched live has risen beyond what it was as a candidate. Nothing is taken back for that: the version
    /// before is woken as its shadow to tell the version from the world, or else a person is asked.
    Suspected {
        /// Live.
        version: VersionId,
        /// The guard whose figure has risen.
        guard: String,
        /// The share of requests that the version before is given as a shadow now; nothing where pairs could not tell.
        shadow: Share,
    },
    /// Pairs have shown that a suspected live is no worse than the version before would be: it is the world that has
    /// changed. Of a limit that holds whatever live does, which the world may break for both, it is enough that ten minutes of
    /// pairs have shown no harm.
    Cleared {
        /// Live.
        version: VersionId,
        /// The guards' evidence.
        evidence: Vec<Evidence>,
    },
    /// The evidence for a candidate counts no more, and its evidence begins again: a guard was added, or what was counted
    /// could not be trusted. The identity has spent another try.
    EvidenceReset {
        /// The candidate.
        version: VersionId,
        /// Why.
        reason: String,
    },
    /// A plan cannot be decided, or not in the time that it allows, as far as can be told from live's traffic.
    Undecidable {
        /// The candidate.
        version: VersionId,
        /// The planner's forecast, in words. In a fleet it is by the traffic of the process that began the plan, and says so.
        forecast: String,
    },
    /// A plan waits for its [cycle](crate::Plan::cycle) and for nothing else: every guard passes, and its last step has all
    /// that it asks for itself. Told once for each wait.
    WaitsForCycle {
        /// The candidate.
        version: VersionId,
        /// When the cycle is over.
        until: Timestamp,
    },
    /// A plan's next step has to wait: other candidates have what live would have to give, or live would be left with nothing that they are
    /// compared with. It goes on once there is room.
    WaitsForRoom {
        /// The candidate.
        version: VersionId,
        /// The share that the step gives it.
        weight: Share,
        /// The share that it could have.
        left: Share,
    },
    /// The steps of an automatic plan were chosen.
    Planned {
        /// The candidate.
        version: VersionId,
        /// The plan that will be carried out.
        plan: Plan,
        /// The guards that were added because there were none, by name.
        guards: Vec<String>,
    },
    /// A version that had answered requests for real was taken back, and the ids of what it answered are known: see
    /// [`ModelHandle::recall`](crate::ModelHandle::recall).
    Recalled {
        /// The version.
        version: VersionId,
        /// How many predictions are known by id.
        answered: u64,
        /// How many more there were.
        missed: u64,
    },
    /// The watch over a new live ended without a failure.
    WatchPassed {
        /// Live.
        version: VersionId,
    },
    /// A candidate was taken off before it was live. Live stayed what it was.
    Aborted {
        /// The candidate.
        version: VersionId,
        /// Why.
        cause: Cause,
    },
    /// Live went back to a retained version.
    RolledBack {
        /// Live until then.
        from: VersionId,
        /// Live now.
        to: VersionId,
        /// Why.
        cause: Cause,
    },
    /// A new live did harm while it was watched, and stays live: no version that was live before is retained that can be used. Its watch
    /// is over, and what it is, is quarantined. A person has to promote a version that is well.
    NoWayBack {
        /// Live.
        version: VersionId,
        /// The harm.
        cause: Cause,
    },
    /// A rollout's plan stands still: it may lower exposure and does not raise it.
    Paused {
        /// The candidate.
        version: VersionId,
        /// Why.
        reason: String,
    },
    /// A rollout's plan goes on.
    Resumed {
        /// The candidate.
        version: VersionId,
    },
    /// Automation may lower exposure and not raise it, for the whole handle.
    Frozen {
        /// Why.
        reason: String,
    },
    /// The freeze was lifted.
    Unfrozen,
    /// The process is about to end: nobody new is to be sent to it, and those who come are answered. See
    /// [`ModelHandle::drain`](crate::ModelHandle::drain).
    Draining {
        /// Why.
        reason: String,
    },
    /// Nobody has ticked for so long that candidates answer nobody: live answers in their place until somebody ticks.
    LeaseExpired {
        /// How long a lease lasts.
        after: Duration,
    },
    /// A version failed on so many requests in a row that it is passed over before anybody has judged it.
    Tripped {
        /// The version.
        version: VersionId,
        /// How many requests in a row it failed on, at the least: more are needed where live fails on some too.
        failures: u32,
        /// What it failed on most in this rollout.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mostly: Option<ErrorKind>,
    },
    /// A live that is watched failed on many requests in a row, and the version before fails as well: it stays live, since in its place too there is
    /// only one that fails. Told again after ten minutes where it is so still.
    Spared {
        /// Live.
        version: VersionId,
        /// How many requests in a row it failed on, at the least: more are needed where the version before fails on some too.
        failures: u32,
        /// What it failed on most in this rollout.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mostly: Option<ErrorKind>,
    },
    /// Calls of a version on trial have not ended for so long that they count as never ending: it is taken off. The threads that
    /// they are on are lost for as long as the model keeps them.
    Overdue {
        /// The version.
        version: VersionId,
        /// How many of its calls are under way.
        calls: usize,
        /// How long the oldest of them has been.
        oldest: Duration,
    },
    /// A candidate goes no further for the time being, since what it counts cannot be trusted or what it is exposed to is not
    /// what was decided.
    Held {
        /// The candidate.
        version: VersionId,
        /// Why, and until when where that is known.
        reason: String,
    },
    /// A candidate failed on many requests in a row while live failed too: live answers in its place for a while, and then
    /// it is tried again.
    CircuitOpened {
        /// The candidate.
        version: VersionId,
        /// When it is tried again.
        until: Timestamp,
    },
    /// A candidate whose circuit was open is tried again.
    CircuitClosed {
        /// The candidate.
        version: VersionId,
    },
    /// An identity is not tried again by any plan until it is released.
    Quarantined {
        /// The version that had it.
        version: VersionId,
        /// Why.
        reason: String,
    },
    /// An identity was released from quarantine: plans may try it again.
    Released {
        /// The version that had it.
        version: VersionId,
    },
    /// A version is retained no longer: it is freed when the last request that uses it is done.
    Retired {
        /// The version.
        version: VersionId,
    },
    /// A version's memory was freed.
    Dropped {
        /// The version.
        version: VersionId,
    },
    /// A version was loaded beside the requests, or was not in the end: what that did to them. Told once it is known how live
    /// does afterwards.
    Loaded {
        /// The version.
        version: VersionId,
        /// It was not loaded in the end.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        failed: bool,
        /// How long it took, from the call to the end.
        took: Duration,
        /// For how long of that it was held back because live had trouble.
        held: Duration,
        /// Which time of the processor's it got: more than it was to get where the machine had no idle time.
        #[serde(default)]
        priority: LoadPriority,
        /// Live's p99 before, during and after.
        live_p99: LoadImpact,
    },
    /// What is kept for a rollback was changed while the handle runs.
    RetentionChanged {
        /// How many versions.
        versions: u32,
        /// For how long each; without a limit where it is not told.
        keep_for: Option<Duration>,
        /// How long what does harm is quarantined; until it is released where it is not told.
        quarantine_for: Option<Duration>,
    },
    /// A version is as ready as it is wanted now.
    TierChanged {
        /// The version.
        version: VersionId,
        /// How ready.
        tier: Tier,
        /// How long it took to be.
        took: Duration,
    },
    /// A retained version failed on what live was asked lately, or answers again after it did.
    Drilled {
        /// The version.
        version: VersionId,
        /// The outcome of the drill.
        drilled: DrillOutcome,
    },
    /// A version has lost what it answers with, sessions after a panic, and could not replace it.
    Degraded {
        /// The version.
        version: VersionId,
        /// The obstacle.
        reason: String,
    },
    /// The pipeline of a version writes what its own model does not take: the fault is the version's, whatever requests were
    /// like. It counts as failures. A version on trial or under watch is taken off for it, and so is a live one that has answered
    /// nobody, where there is a version to go back to; in a fleet a live one that nobody watches stays.
    PipelineMisfit {
        /// The version.
        version: VersionId,
        /// How many requests it has failed on so, when that was seen first.
        failures: u64,
    },
    /// Answers that a version gave from a moment on, until this event, may be wrong: a file that it answers from was
    /// written to while it was in use. Where that was a prepared form it answers from a whole one again; where it was
    /// the weights themselves, nothing is left to answer from, and the version is [degraded](Self::Degraded) besides.
    AnswersInDoubt {
        /// The version.
        version: VersionId,
        /// When it was last found to be as it was.
        since: Timestamp,
        /// The change that was seen.
        reason: String,
    },
    /// The handle goes on from what an earlier life of it has written down.
    Started {
        /// Live.
        live: VersionId,
        /// The candidates of the rollouts that ran. What becomes of each is an event of its own.
        rollouts: Vec<VersionId>,
        /// The life before did not end by [`close`](crate::ModelHandle::close).
        crashed: bool,
        /// Bytes at the end of the journal that were an unfinished record, and were cut off.
        torn_bytes: u64,
    },
    /// An earlier life of the handle divided traffic among these candidates ([`allocate`](crate::ModelHandle::allocate)), and this one does
    /// not: what an allocation knows is not written down. They keep the shares that they had, or what a crash leaves of them, their guards go
    /// on judging, and nobody is eliminated until `allocate` is asked again.
    AllocationEnded {
        /// The candidates.
        candidates: Vec<VersionId>,
    },
    /// The clock stood later when the state was saved than it stands now, or was not set then: it was set between two lives
    /// of the handle. Ages are kept, and moments of the earlier life are told as if it had ended now.
    ClockMoved {
        /// Where it stood when the state was saved last.
        stood: Timestamp,
        /// Where it stands now.
        stands: Timestamp,
    },
    /// A start found less than there was, which no crash explains. What a start must not go on without is an error of `build`
    /// instead.
    StartedWithLess {
        /// The part that is missing, and the remedy.
        reason: String,
    },
    /// The group of the state folder, or of a file in it, could write to it, and so decide what is live. It cannot any more: its
    /// owner's process has changed that. Those who manage volumes set such bits whenever they mount one.
    StateFolderMended {
        /// The folder.
        folder: String,
    },
    /// Another process has the state: this one answers with what is live there, and tries nothing until it takes over.
    Standby {
        /// Live.
        live: VersionId,
        /// What answered here before, where it was another one until that process changed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<VersionId>,
    },
    /// The journal of the process that has the state cannot be read: what is live there is not known here, nor whether it is frozen.
    StandbyBehind {
        /// The version that goes on answering here.
        live: VersionId,
        /// The obstacle.
        reason: String,
    },
    /// The process that had the state has let go of it, and this one goes on. What it goes on with follows.
    TookOver,
    /// The version that was live cannot be used any more, and another one is live.
    LiveReplaced {
        /// Live before.
        from: VersionId,
        /// Live now.
        to: VersionId,
        /// The obstacle.
        reason: String,
    },
    /// A retained version cannot be gone back to.
    Unavailable {
        /// The version.
        version: VersionId,
        /// The obstacle.
        reason: String,
    },
    /// Inputs, or the answers of a version, have drifted, in several windows in a row: see `Builder::drift`.
    Drifted {
        /// Whose doing it is.
        whose: DriftScope,
        /// The baseline that it drifted from.
        against: Baseline,
        /// The version whose answers have drifted; nothing of what came in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<VersionId>,
        /// The features that have drifted: the sixteen that have most.
        features: Vec<DriftedFeature>,
        /// How many more have.
        more: usize,
        /// The action that is advised.
        advice: String,
    },
    /// A drift is over: it was not seen in several windows in a row.
    DriftEnded {
        /// Whose doing it was.
        whose: DriftScope,
        /// The baseline that it had drifted from.
        against: Baseline,
        /// The version whose answers had drifted; nothing of what came in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<VersionId>,
        /// The features that had drifted.
        features: Vec<String>,
        /// How many more had.
        more: usize,
    },
    /// State cannot be saved: the handle goes on and raises no exposure until it can.
    StateNotSaved {
        /// The obstacle.
        reason: String,
    },
    /// State is being saved again, and nothing is missing.
    StateSaved,
    /// A panic ended the work of a thread of the handle's, which was begun again. It is a fault of this crate's: the panic's
    /// message is not here, since it may quote a request, and is what the process's panic hook has printed.
    ThreadDied {
        /// The thread's name.
        thread: String,
        /// How often so far. Told of the first, second, fourth, eighth time, and so on.
        times: u64,
    },
    /// A thread of the handle's did not come back from a version's code for longer than that may take, and was given up: it can be
    /// neither stopped nor used. It is in [`Status::threads`](crate::status::Status::threads) until that code returns, and what it
    /// comes to is dropped.
    ThreadAbandoned {
        /// The thread's name.
        thread: String,
        /// The version.
        version: VersionId,
        /// The version's activity at that time.
        activity: Activity,
        /// How long.
        lasted: Duration,
        /// Another thread takes its place. None does for a load, which needs none, and where eight of the same name are in such
        /// code already: one takes the place once one of them has returned.
        replaced: bool,
    },
    /// The store of the fleet could not be asked for so long that candidates answer nothing here, or takes nothing, so that nobody judges them. Live is
    /// the one that was agreed on last.
    FleetCutOff {
        /// Why, the last time.
        reason: String,
    },
    /// The process has become a member of a fleet that was there already, and begins with what that has agreed on.
    FleetJoined {
        /// The term of what it has found.
        term: u32,
        /// How many times something was agreed on in it.
        sequence: u64,
        /// Live.
        live: VersionId,
        /// The versions on trial.
        candidates: Vec<VersionId>,
        /// For how long it exposes none of them.
        settle: Duration,
    },
    /// The store of the fleet is asked again, or takes what is written, after it could not be or did not.
    FleetRejoined,
    /// The store has another history than the one that this process followed, such as after it was put back from a backup. Nothing is
    /// raised here and no candidate answers until somebody has looked at it.
    FleetDiverged,
    /// A version that the fleet has agreed on cannot be used in this process: no candidate answers here until it can be.
    NotReady {
        /// The version.
        version: VersionId,
        /// Why not.
        reason: String,
    },
    /// Many processes ended without a word within a minute while this version was live in them, and watched. That may have another reason, such as a
    /// node, so the watch goes on: look at it. The process that judges tells it.
    EndedAtOnce {
        /// The version.
        version: VersionId,
        /// How many ended.
        ended: u64,
        /// How many it was live in.
        of: u64,
    },
    /// What was lowered here while others could not know has come too late, and is so no more: they had gone on, and nothing of it could be done
    /// when they were told. Look at it, and say it again where it still holds.
    Lapsed {
        /// The version that was to be taken off or back.
        version: VersionId,
        /// Live by now.
        live: VersionId,
        /// Why it was to go.
        cause: Cause,
    },
    /// The handle was closed: nothing is tried any more, live goes on answering until the handle is dropped.
    Closed,
    /// A kind that this release does not know: a later one wrote it. No handle announces it.
    #[serde(other)]
    Unknown,
}

/// Why exposure was lowered.
///
/// Match with `..`: a cause may get more fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// A person, or the host's own code, said so.
    Operator {
        /// The reason given.
        reason: String,
    },
    /// A guard failed.
    Guard {
        /// The evidence that it saw.
        evidence: Box<Evidence>,
    },
    /// The version failed on many requests in a row.
    Tripped {
        /// How many in a row it took.
        failures: u32,
        /// What it failed on most in this rollout.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mostly: Option<ErrorKind>,
    },
    /// A call of the version had not ended for longer than any may take.
    Overdue {
        /// How many of its calls were under way.
        calls: usize,
        /// How long the oldest of them had been.
        oldest: Duration,
    },
    /// Nothing was shown, neither harm nor equality, in the time that the plan allowed.
    Futility,
    /// It was shown to be worse than another version that traffic was divided with.
    Eliminated,
    /// Another candidate became live.
    Superseded {
        /// The new live.
        by: VersionId,
    },
    /// The handle was closed.
    Closed,
    /// The process crashed while the version was on trial, as a shadow too.
    Crashed {
        /// How often.
        ends: u32,
    },
    /// Processes of a fleet ended without a word more often while the version was on trial in them.
    ProcessesEnded {
        /// How many ended while it was, those that ended within ten seconds of each other counted once.
        ends: u64,
        /// How long processes lived meanwhile, all of them together.
        exposed: Duration,
        /// How many ended in the seven days before it began, and since then while it was not on trial in them.
        spared_ends: u64,
        /// How long processes lived in that time.
        spared: Duration,
        /// The evidence that its rate is more than twice the other.
        evidence: EValue,
    },
    /// The version was not to be had at a start.
    Missing {
        /// The obstacle.
        reason: String,
    },
    /// A cause that this release does not know: a later one wrote it.
    #[serde(other)]
    Unknown,
}

/// The end of a sentence that tells of failures.
pub(crate) fn most_often(mostly: Option<ErrorKind>) -> String {
    mostly.map_or_else(String::new, |kind| format!("; most often {}", kind.told()))
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator { reason } => write!(f, "by hand: {reason}"),
            Self::Guard { evidence } => write!(f, "it failed the guard {evidence}"),
            Self::Tripped { failures, mostly } => {
                write!(f, "it failed on at least {failures} requests in a row{}", most_often(*mostly))
            }
            Self::Overdue { calls, oldest } => {
                write!(
                    f,
                    "it did not come back: {calls} of its calls were under way, the oldest for {} s",
                    oldest.as_secs_f64()
                )
            }
            Self::Futility => f.write_str("neither harm nor equality was shown in the time allowed"),
            Self::Eliminated => f.write_str("another version is better"),
            Self::Superseded { by } => write!(f, "{by} became live"),
            Self::Closed => f.write_str("the handle was closed"),
            Self::Crashed { ends } => {
                let times = if *ends == 1 { "once" } else { &format!("{ends} times") };
                write!(f, "the process crashed {times} while this version was on trial")
            }
            Self::ProcessesEnded { ends, exposed, spared_ends, spared, evidence } => {
                let hours = |time: &Duration| number(time.as_secs_f64() / 3_600.0);
                write!(
                    f,
                    "processes ended without a word {ends} times in {} hours in which this version was on trial in them, and \
                     {spared_ends} times in {} hours in which none was (evidence of harm {evidence})",
                    hours(exposed),
                    hours(spared)
                )
            }
            Self::Missing { reason } => write!(f, "the version cannot be loaded any more: {reason}"),
            Self::Unknown => f.write_str("for a cause that a later release tells of"),
        }
    }
}

/// One line, for people.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            EventKind::Staged { version, proof } => write!(f, "{version} is staged: {}", proof.told()),
            EventKind::NotProven { version, reason } => write!(
                f,
                "{version} is not proven: it failed on an input that was made up from its signature ({reason}); \
                 `Inputs::sample`, golden samples or requests prove it"
            ),
            EventKind::VersionRefused { version, reason, .. } => {
                write!(f, "{version} came into the repository and is not tried: {reason}")
            }
            EventKind::PhaseChanged { version, to, weight, sample, .. } => match to {
                Phase::Shadow => write!(f, "{version} shadows {sample} of the requests"),
                _ => write!(f, "{version} answers {weight} of the requests"),
            },
            EventKind::GuardFailed { version, evidence } => match &evidence.sentence {
                Some(sentence) => write!(f, "{sentence}: taken back"),
                None => write!(f, "{version} fails: {evidence}"),
            },
            EventKind::Inconclusive { version, .. } => {
                write!(f, "the guards of {version} showed neither harm nor equality in the time allowed")
            }
            EventKind::Promoted { version, previous, .. } => {
                write!(f, "{version} is live, {previous} is retained")
            }
            EventKind::WaitsForRoom { version, weight, left } => write!(
                f,
                "{version} waits to answer {weight}: other candidates leave it {left}"
            ),
            EventKind::Suspected { version, guard, shadow } if *shadow == Share::NONE => {
                write!(f, "{version} is suspected by \"{guard}\": look whether it or the world is worse")
            }
            EventKind::Suspected { version, guard, shadow } => {
                write!(
                    f,
                    "{version} is suspected by \"{guard}\": the version before shadows {shadow} of the requests"
                )
            }
            EventKind::Cleared { version, .. } => {
                write!(f, "{version} is cleared: the world has changed, for both versions alike")
            }
            EventKind::EvidenceReset { version, reason } => {
                write!(f, "the evidence for {version} begins again: {reason}")
            }
            EventKind::Planned { version, plan, guards } => {
                let steps: Vec<String> =
                    plan.steps().iter().map(|step| step.exposure().to_string()).collect();
                write!(f, "{version} will be tried as {}", steps.join(", then as "))?;
                if guards.is_empty() { Ok(()) } else { write!(f, "; guarded by {}", guards.join(", ")) }
            }
            EventKind::WaitsForCycle { version, until } => {
                write!(f, "{version} waits for its cycle until {until}: every guard passes")
            }
            EventKind::Undecidable { version, forecast } => write!(f, "{version}: {forecast}"),
            EventKind::Recalled { version, answered, missed } => {
                write!(
                    f,
                    "{version} served {answered} predictions listed by `recall()`, and {missed} whose ids were not kept"
                )
            }
            EventKind::WatchPassed { version } => write!(f, "{version} has proven itself as live"),
            EventKind::Aborted { version, cause } => write!(f, "{version} was taken off {}", Because(cause)),
            EventKind::RolledBack { from, to, cause } => {
                write!(f, "live went back from {from} to {to} {}", Because(cause))
            }
            EventKind::NoWayBack { version, cause } => write!(
                f,
                "{version} stays live though it is to be taken back {}: no version from before it can be gone back to; stage one \
                 that is well, and promote it",
                Because(cause)
            ),
            EventKind::Paused { version, reason } => write!(f, "{version} is paused: {reason}"),
            EventKind::Resumed { version } => write!(f, "{version} goes on with its plan"),
            EventKind::Frozen { reason } => {
                write!(f, "no rollout is raised by itself: the handle was frozen ({reason})")
            }
            EventKind::Draining { reason } => {
                write!(f, "the process is about to end and takes no new callers: {reason}")
            }
            EventKind::Unfrozen => {
                f.write_str("rollouts are raised by themselves again: the freeze was lifted")
            }
            EventKind::LeaseExpired { after } => write!(
                f,
                "nobody ticked for {} s: live answers the requests of candidates until somebody ticks",
                after.as_secs_f64()
            ),
            EventKind::Tripped { version, failures, mostly } => write!(
                f,
                "circuit breaker open: {version} failed on at least {failures} requests in a row, live answers instead{}",
                most_often(*mostly)
            ),
            EventKind::Spared { version, failures, mostly } => write!(
                f,
                "{version} failed on at least {failures} requests in a row and stays live: the version before fails as well{}",
                most_often(*mostly)
            ),
            EventKind::Overdue { version, calls, oldest } => write!(
                f,
                "{version} does not come back: {calls} of its calls are under way, the oldest for {} s",
                oldest.as_secs_f64()
            ),
            EventKind::Held { version, reason } => write!(f, "{version} goes no further for now: {reason}"),
            EventKind::CircuitOpened { version, until } => write!(
                f,
                "circuit breaker open: {version} and live both fail, live answers alone until {until}"
            ),
            EventKind::CircuitClosed { version } => {
                write!(f, "circuit breaker closed: {version} is tried again")
            }
            EventKind::Quarantined { version, .. } => {
                write!(f, "{version} is quarantined: no plan tries it again until it is released")
            }
            EventKind::Released { version } => write!(f, "{version} is released from quarantine"),
            EventKind::Retired { version } => write!(f, "{version} is no longer retained"),
            EventKind::Dropped { version } => write!(f, "{version} was freed"),
            EventKind::Loaded { version, failed, took, held, live_p99, .. } => {
                let LoadImpact { before, during, after } = live_p99;
                let told = |p99: &Option<Duration>| p99.map_or("unknown".into(), |p99| format!("{p99:.1?}"));
                let (before, during, after) = (told(before), told(during), told(after));
                if *failed {
                    write!(f, "{version} was not loaded in the end, after {took:.1?}")?;
                } else {
                    write!(f, "{version} took {took:.1?} to load")?;
                }
                if !held.is_zero() {
                    write!(f, ", {held:.1?} of them waiting for live")?;
                }
                write!(f, "; live's p99 was {before} before, {during} meanwhile and {after} after it")
            }
            EventKind::RetentionChanged { versions, keep_for, quarantine_for } => {
                let noun = if *versions == 1 { "version is" } else { "versions are" };
                write!(f, "the retention is changed: up to {versions} {noun} kept for a rollback")?;
                if let Some(age) = keep_for {
                    write!(f, ", for {}", humantime::format_duration(*age))?;
                }
                match quarantine_for {
                    Some(age) => write!(f, ", and what does harm is quarantined for {}", humantime::format_duration(*age)),
                    None => f.write_str(", and what does harm is quarantined until it is released"),
                }
            }
            EventKind::TierChanged { version, tier, .. } => write!(f, "{version} is {tier}"),
            EventKind::Drilled { version, drilled } => write!(f, "{version} {drilled}"),
            EventKind::Degraded { version, reason } => write!(f, "{version} is degraded: {reason}"),
            EventKind::PipelineMisfit { version, failures } => write!(
                f,
                "the pipeline of {version} does not fit its own model: {failures} requests failed for it; roll back, and \
                 correct its `encode`"
            ),
            EventKind::AnswersInDoubt { version, since, reason } => {
                write!(f, "answers of {version} since {since} may be wrong: {reason}")
            }
            EventKind::Started { live, rollouts, crashed, torn_bytes } => {
                let running = match rollouts.len() {
                    1 => "1 rollout".to_owned(),
                    number => format!("{number} rollouts"),
                };
                write!(f, "the handle started with {live} live and {running}")?;
                if *crashed {
                    f.write_str(": the process before it crashed, or ended without `close`")?;
                }
                if *torn_bytes > 0 {
                    write!(f, "; {torn_bytes} bytes of an unfinished record were cut off the journal")?;
                }
                Ok(())
            }
            EventKind::AllocationEnded { candidates } => {
                let candidates: Vec<&str> = candidates.iter().map(VersionId::as_str).collect();
                let candidates = candidates.join(", ");
                write!(
                    f,
                    "traffic is not divided any more among live and {candidates}, whose shares stay as they are: allocate it again"
                )
            }
            EventKind::ClockMoved { stood, stands } => write!(
                f,
                "the clock was set: it stood at {stood} when the state was saved and stands at {stands} now; ages are kept"
            ),
            EventKind::StartedWithLess { reason } => {
                write!(f, "the handle started with less than there was: {reason}")
            }
            EventKind::StateFolderMended { folder } => {
                write!(f, "the group of {folder} could write to it, and cannot any more")
            }
            EventKind::Standby { live, from: None } => {
                write!(f, "another process has the state: {live} answers here, and no candidate is tried")
            }
            EventKind::Standby { live, from: Some(from) } => {
                write!(f, "the process that has the state has changed live: {live} answers here too, where {from} did")
            }
            EventKind::StandbyBehind { live, reason } => write!(
                f,
                "the journal of the process that has the state cannot be read ({reason}): {live} goes on answering here, whatever is live there"
            ),
            EventKind::TookOver => f.write_str("this process took over from the one that had the state"),
            EventKind::LiveReplaced { from, to, reason } => {
                write!(f, "{to} is live, because {from} cannot be used: {reason}")
            }
            EventKind::Unavailable { version, reason } => {
                write!(f, "{version} cannot be gone back to: {reason}")
            }
            EventKind::Drifted { whose, against, version, features, more, advice } => {
                match (whose, version) {
                    (DriftScope::World, None) => f.write_str("the world has drifted ")?,
                    (DriftScope::World, Some(version)) => write!(f, "what {version} says has drifted ")?,
                    (DriftScope::Candidate, version) => {
                        let version = version.as_ref().map_or("the candidate", |version| version.as_str());
                        write!(f, "{version} alone has drifted ")?;
                    }
                }
                write!(f, "{against}: {}; {advice}", list(features, *more))
            }
            EventKind::DriftEnded { against, features, more, .. } => {
                write!(f, "the drift {against} is over: {}", list(features, *more))
            }
            EventKind::StateNotSaved { reason } => {
                write!(f, "state is not being saved ({reason}); exposure stays as it is until it is")
            }
            EventKind::StateSaved => f.write_str("state is being saved again"),
            EventKind::ThreadDied { thread, times } => {
                let times = if *times == 1 { "once" } else { &format!("{times} times") };
                write!(
                    f,
                    "the thread {thread} panicked {times} and was begun again: please report it with the panic's message"
                )
            }
            EventKind::ThreadAbandoned { thread, version, activity, lasted, replaced } => {
                let then = if *replaced { "another one takes its place" } else { "none takes its place" };
                let lasted = lasted.as_secs_f64();
                write!(
                    f,
                    "the thread {thread} was given up and {then}: {version} is {activity} and has not returned for {lasted} s"
                )
            }
            EventKind::FleetCutOff { reason } => write!(
                f,
                "this process is cut off from its fleet: live answers alone until the store can be asked again and takes what is written ({reason})"
            ),
            EventKind::FleetJoined { term, sequence, live, candidates, settle } => {
                write!(f, "this process is a member of its fleet from {term}.{sequence} on, with {live} live")?;
                if candidates.is_empty() {
                    return f.write_str(" and nothing on trial");
                }
                let candidates: Vec<&str> = candidates.iter().map(VersionId::as_str).collect();
                write!(
                    f,
                    ", and exposes {}, which is on trial, in {} s at the earliest",
                    candidates.join(", "),
                    settle.as_secs_f64()
                )
            }
            EventKind::FleetRejoined => f.write_str("this process follows its fleet again"),
            EventKind::FleetDiverged => f.write_str(
                "the store of the fleet has another history than a process of it has followed, as after it was put back from a backup: live answers \
                 alone here, and nothing is raised, until `switchback fleet repair` has begun a new term",
            ),
            EventKind::NotReady { version, reason } => {
                write!(f, "{version} cannot be used in this process, which the fleet has agreed on: {reason}")
            }
            EventKind::EndedAtOnce { version, ended, of } => write!(
                f,
                "{ended} of {of} processes ended without a word within a minute with {version} live in them: its watch goes on, look whether it is the reason"
            ),
            EventKind::Lapsed { version, live, cause } => {
                write!(
                    f,
                    "that {version} was taken back here came too late for the fleet, where {live} is live: say it again if it still holds {}",
                    Because(cause)
                )
            }
            EventKind::Closed => f.write_str("the handle was closed"),
            EventKind::Unknown => f.write_str("something happened that a later release tells of"),
        }
    }
}

/// A cause behind what it caused. What a guard saw has stood in the event of its failure.
struct Because<'a>(&'a Cause);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Cause::Guard { evidence } => write!(f, "by the guard \"{}\"", evidence.guard),
            cause => write!(f, "({cause})"),
        }
    }
}

/// The log and the subscribers. Owned by the control side; announcing blocks on nobody.
pub(crate) struct Announcer {
    next: u64,
    /// Who acts, while somebody does.
    pub(crate) actor: Option<Arc<str>>,
    log: VecDeque<Arc<Event>>,
    log_max: usize,
    /// From which number on events are numbered without a gap.
    #[cfg(feature = "state")]
    from: u64,
    subscribers: Vec<Subscriber>,
    /// The handle was closed: nobody is told any more who has subscribed.
    has_ended: bool,
    /// By kind: the log is bounded, so they cannot be counted there.
    counts: OrderedMap<&'static str, u64>,
}

struct Subscriber {
    /// Not bounded by itself: a channel that is takes its memory when it is made.
    sender: Sender<Arc<Event>>,
    room: usize,
    /// It is told what comes after the handle was closed, too.
    outlives_close: bool,
    /// Shared with the subscription, and with nothing else: whether it is still there.
    missed: Arc<AtomicU64>,
}

impl Subscriber {
    /// Offers an event; whether the subscription is still there.
    fn offer(&self, event: &Arc<Event>) -> bool {
        if Arc::strong_count(&self.missed) == 1 {
            return false;
        }
        // Nobody else sends, so there cannot be more than looked at.
        if self.sender.len() >= self.room {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        self.sender.send(Arc::clone(event)).is_ok()
    }
}

impl Announcer {
    pub(crate) fn new(log_max: usize) -> Self {
        Self {
            next: 1,
            actor: None,
            log: VecDeque::new(),
            log_max,
            #[cfg(feature = "state")]
            from: 1,
            subscribers: Vec::new(),
            has_ended: false,
            counts: OrderedMap::new(),
        }
    }

    /// How many events of each kind there were since the handle was built, by the kind's name. Of those that did not happen
    /// too: a counter that is first seen at 1 has not grown as far as anybody can tell.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let count = |name: &'static str| self.counts.get(name).copied().unwrap_or_default();
        EventKind::NAMES.iter().map(move |name| (*name, count(name)))
    }

    /// Appends an event to the log and offers it to every subscriber that has room for it.
    pub(crate) fn announce(&mut self, at: Timestamp, epoch: u64, kind: EventKind) {
        let actor = self.actor.clone();
        *self.counts.entry(kind.name()).or_default() += 1;
        let event = Arc::new(Event { sequence: self.next, at, epoch, actor, kind });
        self.next += 1;
        while self.log.len() >= self.log_max.max(1) {
            self.log.pop_front();
        }
        self.log.push_back(Arc::clone(&event));
        self.subscribers.retain(|subscriber| subscriber.offer(&event));
    }

    /// The number of the next event.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Goes on counting where an earlier life of the handle was.
    #[cfg(feature = "state")]
    pub(crate) fn go_on(&mut self, next: u64) {
        if next > self.next {
            (self.next, self.from) = (next, next);
        }
    }

    /// Goes on behind what another process has counted since this one began to count where that was: the events of this one, which are
    /// written nowhere yet, come after those. No two events of one journal have one number.
    #[cfg(feature = "state")]
    pub(crate) fn go_on_behind(&mut self, next: u64) {
        let by = next.saturating_sub(self.from);
        for event in self.log.iter_mut().filter(|event| event.sequence >= self.from) {
            Arc::make_mut(event).sequence += by;
        }
        self.from += by;
        self.next += by;
    }

    /// How many of the events from a number on are remembered no more.
    #[cfg(feature = "state")]
    pub(crate) fn forgotten_since(&self, sequence: u64) -> u64 {
        let from = sequence.max(self.from);
        let known = self.log.iter().filter(|event| event.sequence >= from).count() as u64;
        self.next.saturating_sub(from).saturating_sub(known)
    }

    /// The events from a number on, as far as they are remembered.
    pub(crate) fn since(&self, sequence: u64) -> Vec<Arc<Event>> {
        self.log.iter().filter(|event| event.sequence >= sequence).cloned().collect()
    }

    /// Why a version's rollout was paused last, as far as that is remembered.
    pub(crate) fn pause_reason(&self, paused: VersionId) -> Option<String> {
        self.log.iter().rev().find_map(|event| match &event.kind {
            EventKind::Paused { version, reason } if *version == paused => Some(reason.clone()),
            _ => None,
        })
    }

    /// Subscribes until the handle was closed.
    pub(crate) fn subscribe(&mut self, room: usize) -> Subscription {
        self.subscribe_until(room, false)
    }

    /// Subscribes until the handle is gone.
    #[cfg(feature = "tracing")]
    pub(crate) fn subscribe_to_all(&mut self, room: usize) -> Subscription {
        self.subscribe_until(room, true)
    }

    fn subscribe_until(&mut self, room: usize, outlives_close: bool) -> Subscription {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let missed = Arc::new(AtomicU64::new(0));
        // Where nothing happens for long, those that are gone are not found by an event.
        self.subscribers.retain(|subscriber| Arc::strong_count(&subscriber.missed) > 1);
        if !self.has_ended || outlives_close {
            self.subscribers.push(Subscriber { sender, room, outlives_close, missed: Arc::clone(&missed) });
        }
        Subscription { receiver, missed }
    }

    /// The handle was closed: whoever has subscribed takes what waits, and no more comes.
    pub(crate) fn end_subscriptions(&mut self) {
        self.has_ended = true;
        self.subscribers.retain(|subscriber| subscriber.outlives_close);
    }

    /// The last events, oldest first.
    pub(crate) fn log(&self) -> Vec<Arc<Event>> {
        self.log.iter().cloned().collect()
    }
}

/// A subscriber's end: events wait in a bounded queue until they are taken. One that is too slow misses events, which
/// is counted, and holds nobody up.
#[must_use = "it ends where this is dropped"]
pub struct Subscription {
    receiver: Receiver<Arc<Event>>,
    missed: Arc<AtomicU64>,
}

impl Subscription {
    /// The next event, if there is one.
    pub fn try_recv(&self) -> Option<Arc<Event>> {
        self.receiver.try_recv().ok()
    }

    /// Whether it has ended: the handle was closed, or is gone, and no event waits.
    pub fn has_ended(&self) -> bool {
        // In this order: what was sent before it ended is seen. The other end alone has the count too.
        Arc::strong_count(&self.missed) == 1 && self.receiver.is_empty()
    }

    /// The next event; waits for one up to `patience`, and not at all where it [has ended](Self::has_ended).
    pub fn recv_timeout(&self, patience: Duration) -> Option<Arc<Event>> {
        self.receiver.recv_timeout(patience).ok()
    }

    /// Whether no event waits.
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// Events that were missed because the queue was full.
    pub fn missed(&self) -> u64 {
        // Relaxed, here and where it is counted: a count for showing, which guards nothing.
        self.missed.load(Ordering::Relaxed)
    }

    /// Starts a thread that calls `react` with each event until the handle was closed, or is gone: once
    /// [`close`](crate::ModelHandle::close) has returned, the thread ends when it has told what waits, and can be joined. A panic in it is caught, and the
    /// next event is delivered all the same; one that blocks makes only itself miss events.
    ///
    /// # Errors
    ///
    /// The system's, where it cannot start a thread.
    pub fn spawn(self, react: impl FnMut(&Event) + Send + 'static) -> std::io::Result<JoinHandle<()>> {
        let mut react = Contained::new(react);
        std::thread::Builder::new().name("switchback-events".into()).spawn(move || {
            // All of it: a closure takes over only what it names, and a subscription whose count is gone has no subscriber.
            let subscription = self;
            for event in subscription.receiver.iter() {
                // The closure may be left in a broken state by its own panic; that is its owner's to handle.
                let _ = guarded(|| react(&event));
            }
        })
    }
}

impl Iterator for Subscription {
    type Item = Arc<Event>;

    /// Waits for the next event; `None` once the handle was closed, or is gone, and nothing waits.
    fn next(&mut self) -> Option<Arc<Event>> {
        self.receiver.recv().ok()
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("waiting", &self.receiver.len())
            .field("missed", &self.missed())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_and_a_slow_subscriber_counts_what_it_missed() {
        let mut announcer = Announcer::new(3);
        let slow = announcer.subscribe(2);
        for _ in 0..5 {
            announcer.announce(Timestamp::default(), 1, EventKind::Unfrozen);
        }
        assert_eq!(announcer.log().iter().map(|event| event.sequence).collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(slow.try_recv().map(|event| event.sequence), Some(1));
        assert_eq!((slow.try_recv().is_some(), slow.try_recv().is_none(), slow.missed()), (true, true, 3));
    }

    #[test]
    fn a_subscriber_that_panics_gets_the_next_event_and_hurts_nobody() {
        let mut announcer = Announcer::new(8);
        let (seen, events) = crossbeam_channel::unbounded();
        let thread = announcer.subscribe(8).spawn(move |event| {
            seen.send(event.sequence).unwrap();
            panic!("on purpose");
        });
        for _ in 0..3 {
            announcer.announce(Timestamp::default(), 1, EventKind::Unfrozen);
        }
        drop(announcer);
        thread.unwrap().join().unwrap();
        assert_eq!(events.iter().collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn an_event_survives_serde() {
        let cause = Cause::Operator { reason: "complaints".into() };
        let kind = EventKind::Aborted { version: VersionId::new("v2").unwrap(), cause };
        let event = Event {
            sequence: 7,
            at: Timestamp::from_unix_seconds(5),
            epoch: 3,
            actor: Some("ada".into()),
            kind,
        };
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
        // Bug: in the audit log 1795716357381528995 was another moment once jq or JavaScript had read it. Cause: they keep 53
        // bits of a number. Fix: the moment is told in words too, and what was written without them is read.
        assert!(
            json.starts_with(r#"{"sequence":7,"at":5000000000,"time":"1970-01-01T00:00:05.000Z","epoch":3,"#),
            "{json}"
        );
        let before = json.replace(r#""time":"1970-01-01T00:00:05.000Z","#, "");
        assert_eq!(serde_json::from_str::<Event>(&before).unwrap(), event);
        assert_eq!(event.to_string(), "v2 was taken off (by hand: complaints)");
    }

    /// Bug: an event of a kind that a later release had added was an error to one that reads what is followed over HTTP.
    /// Cause: nothing stood for it. Fix: a kind that does.
    #[test]
    fn what_a_later_release_tells_of_is_read_as_unknown() {
        let kind = |json: &str| {
            let json = format!(r#"{{"sequence":7,"at":5,"epoch":3,{json}}}"#);
            serde_json::from_str::<Event>(&json).unwrap().kind
        };
        let version = VersionId::new("v2").unwrap();
        assert_eq!(kind(r#""event":"teleported","to":{"where":[1]}"#), EventKind::Unknown);
        let aborted = kind(r#""event":"aborted","version":"v2","cause":{"cause":"full_moon","phase":1.0}"#);
        assert_eq!(aborted, EventKind::Aborted { version, cause: Cause::Unknown });
    }
}
