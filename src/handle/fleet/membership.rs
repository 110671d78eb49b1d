//! The part of a handle that asks the store.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;
use serde_json::{Map, Value as Json};

use super::agreement::{Told, active_of, control_of, is_on_trial, with_lowered};
use super::counts::FleetCounts;
use super::judging::{Bench, JudgedHere, Lately, evidence};
use super::mail::{Courier, Mail, MailCounts};
use super::register::{Replaced, has_landed, next_head, replace};
use super::standing::Standing;
use super::status::{FleetEnds, FleetMember, FleetNotReady, FleetState, FleetStatus};
use crate::base::chance::SplitMix64;
use crate::base::clock::{Clock, Shift, Timestamp};
use crate::base::guarded::guarded;
use crate::base::ordered::OrderedMap;
use crate::control::decider::Demand;
use crate::control::event::Event;
use crate::control::saved::{SavedControl, SavedVersion};
use crate::fleet::format::ends::TrialEnds;
use crate::fleet::format::envelope::{Kind, Sealer, print};
use crate::fleet::format::head::{Head, LIBRARY, Lowering, Place, Timing};
use crate::fleet::format::hex::Hex;
use crate::fleet::format::layout::Layout;
use crate::fleet::format::row::Build;
use crate::fleet::format::value::{Value, Written};
use crate::fleet::key::Key;
use crate::fleet::probe::probe;
use crate::fleet::protocol::call::{Act, Reply};
use crate::fleet::protocol::following::{Applied, Following, Heard};
use crate::fleet::protocol::member::Member;
use crate::fleet::protocol::perform::perform;
use crate::fleet::protocol::rules::Rules;
use crate::fleet::store::{Store, StoreOutcome};
use crate::handle::build_error::BuildError;
use crate::handle::options::Fleet;
use crate::version::id::VersionId;
use crate::version::loaded::AnyVersion;

/// How often what is agreed on may be overtaken by others before a change is given up until the next step.
pub(crate) const TRIES: usize = 16;

/// Events that a member remembers, since a head may tell them that it has told already.
const TOLD_MAX: usize = 64;

/// How long the thread rests between two looks at what is due, at least.
pub(super) const REST: Duration = Duration::from_millis(50);

/// And at most: clocks are set, and it is to be seen that the thread is there.
const LONGEST_REST: Duration = Duration::from_millis(250);

/// How long a version that was brought is kept until it is agreed that it is staged: longer than the store takes to say so.
pub(super) const BROUGHT: Duration = Duration::from_secs(60);

/// Why a process that has begun after the store was put back exposes nothing.
pub(super) const CONTESTED: &str = "the store has another history than one that a process has put aside, as after it was put back from a backup: no \
                                    candidate answers here and nothing is raised before it is repaired (`switchback fleet repair`)";

/// How often a start asks before it gives up: answers may come out of order, and another process may found the fleet meanwhile.
const JOINING: usize = 10;

/// The place of a handle in its fleet.
pub(crate) struct Membership {
    pub(super) agent: Mutex<Agent>,
    /// What is to be agreed on, whatever else is. Added to under the control lock, by what has lowered exposure: whoever makes a head
    /// true has either seen it there or takes the demand into account.
    pub(super) demands: Mutex<Vec<Demand>>,
    /// What stands here, for whoever lowers exposure.
    pub(super) standing: Mutex<Standing>,
    /// What was last known, for whoever asks while the store does not answer.
    pub(super) status: Mutex<FleetStatus>,
    /// Outcomes of other processes' predictions.
    pub(super) mail: Mail,
    /// Stepped by whoever ticks the handle.
    pub(super) by_hand: AtomicBool,
    /// Versions that were opened aside.
    pub(super) opened: (Sender<Opened>, Receiver<Opened>),
    /// Has one where something came in that does not wait for the next step. Of several one is enough.
    pub(super) bell: (Sender<()>, Receiver<()>),
}

pub(super) type Opened = (SavedVersion, Result<Arc<dyn AnyVersion>, String>);

/// What is agreed on, as far as it is known before the handle is there.
pub(crate) struct Joined {
    agent: Agent,
    pub(crate) saved: Option<SavedControl>,
}

/// Asks the store, and makes what it says true.
pub(crate) struct Agent {
    pub(super) store: Arc<dyn Store>,
    pub(super) sealer: Sealer,
    pub(super) layout: Layout,
    pub(super) member: Member<FleetCounts>,
    pub(super) chance: SplitMix64,
    pub(super) timing: Timing,
    pub(super) contract: Hex,
    /// The same in words, for whoever has another one.
    pub(super) terms: Map<String, Json>,
    /// What the head says of the handle that was read last, by its print.
    read: Option<(Hex, Arc<SavedControl>)>,
    /// What of it is to be true here, as it was worked out last.
    pub(super) meant: Option<Meant>,
    /// What was made true here.
    pub(super) aligned: Option<Aligned>,
    /// Versions that are loaded here and may not be in use yet.
    pub(super) versions: OrderedMap<VersionId, Arc<dyn AnyVersion>>,
    /// Versions that are about to be staged here, and since when.
    pub(super) brought: Vec<(VersionId, Timestamp)>,
    /// What happened and is not true here yet, since the version that is live is not loaded.
    pub(super) untold: Vec<Told>,
    pub(super) opening: Vec<SavedVersion>,
    /// Versions that could not be opened, why, and when they are tried again.
    pub(super) failed: Vec<(SavedVersion, String, Timestamp)>,
    /// What was told here already, and a head that is made true later may tell as well.
    pub(super) told_here: Vec<Told>,
    pub(super) bench: RefCell<Option<Bench>>,
    /// What the one that judges has to tell, and to keep, in this process.
    pub(super) found: RefCell<JudgedHere>,
    /// What was asked here lately.
    pub(super) lately: Lately,
    /// The ledger whose evidence is shown.
    pub(super) shown: Hex,
    pub(super) requests: u64,
    pub(super) failures: u64,
    pub(super) error: Option<Said>,
    /// By which errors are dated.
    clock: Clock,
    /// The heads that members have put aside because they were lost to them, as this one found them before it exposed anything.
    pub(super) kept: Option<Vec<(Place, Hex)>>,
    pub(super) confirmed: Option<Timestamp>,
    pub(super) state: FleetState,
    pub(super) copies: (u64, u64),
    /// Outcomes of each attempt's that were told.
    pub(super) labelled: OrderedMap<u32, u64>,
    pub(super) courier: Courier,
    /// What of it was agreed on in a history that is not this member's, and with which head.
    pub(super) elsewhere: Option<(Arc<Written>, Vec<Demand>)>,
    /// What the store has not taken of what is demanded here, and when it is asked again.
    pub(super) pressed: (Vec<Demand>, Timestamp),
    /// Until when there is nothing to do, unless something comes in: see [`Agent::due_again`].
    pub(super) rests_until: Timestamp,
}

/// What the store said when it could not be asked.
#[derive(Clone)]
pub(super) struct Said {
    /// Of what.
    key: Key,
    pub(super) why: String,
    at: Timestamp,
}

/// For how long an error stands that nothing has shown to be over, while the head is read.
const STANDS: Duration = Duration::from_secs(60);

fn key_of(act: &Act<FleetCounts>) -> &Key {
    match act {
        Act::Get { key, .. } | Act::Put { key, .. } => key,
        Act::List { under, .. } => under,
    }
}

/// What is to be true here of a head: it is worked out once for each, and once more where something is demanded here.
#[derive(Clone)]
pub(super) struct Meant {
    pub(super) print: Hex,
    /// What whoever judges here has taken off, and is on trial in the head.
    pub(super) taken_off: Vec<Lowering>,
    /// What is demanded here and was not agreed on.
    pub(super) demands: Vec<Demand>,
    /// What is agreed on, with what was lowered in it.
    pub(super) agreed: Arc<SavedControl>,
    /// The same, with what is taken off and demanded here.
    pub(super) here: Arc<SavedControl>,
    /// What happened by what was lowered.
    pub(super) told: Vec<Told>,
}

/// A head that is true here.
#[derive(Clone, PartialEq)]
pub(super) struct Aligned {
    pub(super) print: Hex,
    pub(super) place: Place,
    /// From the time of plans to that of this process.
    pub(super) shift: Shift,
    /// Candidates that are exposed nowhere here yet, since the process has just begun or they are not loaded.
    pub(super) withheld: Vec<u32>,
    /// What is taken off and demanded here, and was not agreed on.
    pub(super) waiting: (usize, usize),
    /// The version that is live everywhere is loaded here.
    pub(super) live_is_known: bool,
}

/// Why nothing was agreed on.
pub(super) enum NotAgreed {
    /// Somebody else was first.
    Overtaken(String),
    /// It is not known whether it was: whoever looks will see.
    Unknown(String),
    /// Nothing has changed.
    No(String),
}

impl Agent {
    pub(super) fn perform(&mut self, act: &Act<FleetCounts>) -> Reply<FleetCounts> {
        self.requests += 1;
        let mut said = None;
        let asked = guarded(|| perform(&*self.store, &self.sealer, act, &mut said));
        let reply = asked.unwrap_or_else(|panicked| {
            said = Some(format!("the store panicked: {}", panicked.message));
            Reply::Failed(StoreOutcome::Unknown)
        });
        let (key, now) = (key_of(act), self.clock.now());
        if let Some(why) = said {
            self.failures += 1;
            self.say(key.clone(), why);
        } else {
            let over =
                |said: &Said| said.key == *key || (key == self.layout.head() && now.since(said.at) > STANDS);
            self.error = self.error.take().filter(|said| !over(said));
        }
        reply
    }

    /// Takes note of what came to nothing, and of what that was asked.
    pub(super) fn say(&mut self, key: Key, why: String) {
        let why = if why.contains(key.as_str()) { why } else { format!("{key}: {why}") };
        self.error = Some(Said { key, why, at: self.clock.now() });
    }

    /// Looks once, before anything is exposed here, whether members have lost a head that what is followed does not come from: those who know
    /// better than a store that was put back, and put it aside, may be the only ones.
    pub(super) fn look_for_lost(&mut self) {
        if self.kept.is_none() && self.member.following.has_settled(self.clock.now()) {
            let under = self.layout.all_kept();
            if let Some(listed) = self.listed(&under) {
                let kept = listed.iter().filter_map(|entry| self.layout.read_kept(&entry.key));
                self.kept = Some(kept.collect());
            }
        }
        let following = &mut self.member.following;
        let mut kept = self.kept.iter().flatten();
        following.contested = kept.any(|(place, print)| !following.may_come_from(*place, *print));
    }

    /// What is wrong with the store, as far as it is known.
    fn wrong(&self) -> Option<String> {
        let Following { contested, missing, .. } = self.member.following;
        if contested {
            return Some(String::from(CONTESTED));
        }
        let gone = || {
            format!(
                "{}: what was agreed on is gone: repair it (`switchback fleet repair`)",
                self.layout.head()
            )
        };
        let unjudged = || {
            let following = &self.member.following;
            // Who follows another history does not look at its ledger.
            let silence = following.is_unjudged(self.clock.now()).filter(|_| !following.diverged)?;
            Some(format!(
                "{}: nobody has brought evidence together for {} s, so no candidate answers: look whether processes may write to the store",
                self.layout.ledger(),
                silence.as_secs()
            ))
        };
        let said = self.error.as_ref().map(|said| said.why.clone());
        said.or_else(|| missing.then(gone)).or_else(unjudged)
    }

    /// What a head says of the handle; nothing where it is another release's. Of one head it is read once: it is asked for at every
    /// step.
    pub(super) fn control_of(&mut self, applied: &Applied) -> Option<Arc<SavedControl>> {
        let print = applied.written.print;
        if let Some((_, saved)) = self.read.as_ref().filter(|(of, _)| *of == print) {
            return Some(Arc::clone(saved));
        }
        let saved = Arc::new(control_of(applied.head())?);
        self.read = Some((print, Arc::clone(&saved)));
        Some(saved)
    }

    /// This has been told here, whichever head tells it as well.
    pub(super) fn told_here(&mut self, told: impl IntoIterator<Item = Told>) {
        for told in told {
            if !self.told_here.contains(&told) {
                self.told_here.push(told);
            }
        }
        let beyond = self.told_here.len().saturating_sub(TOLD_MAX);
        self.told_here.drain(..beyond);
    }

    /// A version that is agreed on, where it is loaded here.
    pub(super) fn loaded(&self, wanted: SavedVersion) -> Option<&Arc<dyn AnyVersion>> {
        self.versions.get(&wanted.version).filter(|known| known.identity == wanted.identity)
    }

    pub(super) fn head(&self) -> Option<&Applied> {
        self.member.following.applied.as_ref()
    }

    /// Reads the head; what is followed afterwards.
    pub(super) fn read_head(&mut self, clock: &Clock) -> Result<Applied, String> {
        for _ in 0..TRIES {
            let (asked, act) = self.member.following.read_head(&self.layout, clock.now());
            let reply = self.perform(&act);
            match self.member.following.hear(&asked, &reply, clock.now()) {
                Heard::Follows => {
                    return self.head().cloned().ok_or_else(|| String::from("nothing is agreed on yet"));
                }
                Heard::Late => {}
                Heard::Prove(_) => {
                    return Err(String::from("this process was away for long: wait until it follows again"));
                }
                Heard::Diverged => {
                    return Err(String::from("the store has another history than this process"));
                }
                Heard::Missing => {
                    return Err(String::from("what was agreed on is gone from the store"));
                }
                Heard::Nothing => return Err(self.unreachable()),
            }
        }
        Err(String::from("the store answers out of order"))
    }

    /// Reads the head that is there, in a history that is not this member's too, and whether it is its own: what lowers exposure is put over any.
    pub(super) fn read_any(&mut self, clock: &Clock) -> Option<(Applied, bool)> {
        for _ in 0..TRIES {
            let (asked, act) = self.member.following.read_head(&self.layout, clock.now());
            let reply = self.perform(&act);
            let heard = self.member.following.hear(&asked, &reply, clock.now());
            let read = match reply {
                Reply::Same => asked.knew,
                Reply::Value { value: Value::Head(written), tag, .. } => Some(Applied { written, tag }),
                _ => None,
            };
            match heard {
                Heard::Late => {}
                Heard::Follows => return self.head().cloned().map(|own| (own, true)),
                _ => return read.map(|read| (read, false)),
            }
        }
        None
    }

    pub(super) fn unreachable(&self) -> String {
        let why = self.wrong();
        let why = why.as_deref().unwrap_or("it gave no answer that can be used");
        format!("nothing can be agreed on in the store of the fleet: {why}")
    }

    /// For how long somebody has judged, in all, at the time of this head or later. Where the ledger cannot be read it is as the head
    /// has it: the next one would have plans believe otherwise that all of it has passed since.
    pub(super) fn active_ms(&mut self, head: &Head) -> u64 {
        let key = self.layout.ledger().clone();
        active_of(head, &self.perform(&Act::Get { key, kind: Kind::Ledger, known: None }))
    }

    /// Puts what comes after a head to the others.
    pub(super) fn put(
        &mut self,
        over: &Applied,
        next: Head,
        raises: bool,
        clock: &Clock,
    ) -> Result<Arc<Written>, NotAgreed> {
        let written = if raises { Written::after(next, &over.head().core) } else { Written::new(next) };
        let written = Arc::new(written.map_err(|error| NotAgreed::No(error.to_string()))?);
        let (sent, layout) = (clock.now(), self.layout.clone());
        match replace(&mut |act| self.perform(act), &layout, over, Arc::clone(&written), raises) {
            Replaced::Done(own) => {
                self.member.following.hear_own(sent, &own, clock.now());
                Ok(written)
            }
            Replaced::Lost => Err(NotAgreed::Overtaken(String::from(
                "another process has decided something in the same moment: look at it, and say it again",
            ))),
            Replaced::Unknown => {
                let there = self.read_head(clock).map_err(NotAgreed::Unknown)?;
                if has_landed(&written, &there.written) {
                    Ok(written)
                } else {
                    Err(NotAgreed::Unknown(String::from("the store did not say whether it took it")))
                }
            }
            Replaced::NotDone => Err(NotAgreed::No(self.unreachable())),
        }
    }
}

/// Where a head says in words what its members have in common.
pub(super) const TERMS: &str = "contract_terms";

/// The longest value of a term, as it is told.
const TERM_MAX: usize = 512;

fn short(value: &str) -> String {
    value.chars().take(TERM_MAX).collect()
}

/// Known to all members: a term is said in the same words for ever.
fn print_of(contract: &[(&str, String)]) -> Hex {
    let values: Vec<&str> = contract.iter().map(|(_, value)| value.as_str()).collect();
    print(&format!("contract 1 {}", values.join(" ")))
}

/// In which terms a handle differs from its fleet, where that says them.
fn apart(own: &Map<String, Json>, head: &Head) -> String {
    let Some(Json::Object(theirs)) = head.more.get(TERMS) else { return String::new() };
    let said = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let terms = own.iter().filter_map(|(term, own)| {
        let theirs = theirs.get(term).filter(|theirs| *theirs != own)?;
        Some(format!("{term} is {} there, and {} here", said(theirs), said(own)))
    });
    let terms: Vec<String> = terms.collect();
    if terms.is_empty() { String::new() } else { format!(" ({})", terms.join("; ")) }
}

impl Joined {
    /// Looks what is agreed on.
    ///
    /// # Errors
    ///
    /// The store cannot be asked, or what is there is another's.
    pub(crate) fn join(
        fleet: &Fleet,
        name: &str,
        contract: &[(&str, String)],
        (seed, clock): (u64, &Clock),
    ) -> Result<Self, BuildError> {
        fleet.check()?;
        let (layout, sealer) = fleet.place(name)?;
        let (now, mut chance) = (clock.now(), SplitMix64(seed));
        let build = Build { library: LIBRARY, host: fleet.build.clone() };
        let member = Member::new(layout.clone(), build, &fleet.class, chance.bits(), now, Rules::default());
        let mut agent = Agent {
            store: Arc::clone(&fleet.store),
            sealer,
            layout,
            member,
            chance,
            timing: fleet.timing.agreed(),
            contract: print_of(contract),
            terms: contract.iter().map(|(term, value)| ((*term).to_owned(), short(value).into())).collect(),
            read: None,
            meant: None,
            aligned: None,
            versions: OrderedMap::new(),
            brought: Vec::new(),
            untold: Vec::new(),
            opening: Vec::new(),
            failed: Vec::new(),
            told_here: Vec::new(),
            bench: RefCell::default(),
            found: RefCell::default(),
            lately: Lately::default(),
            shown: Hex(0),
            requests: 0,
            failures: 0,
            error: None,
            clock: clock.clone(),
            kept: None,
            confirmed: None,
            state: FleetState::Joining,
            copies: (0, 0),
            labelled: OrderedMap::new(),
            courier: Courier::default(),
            elsewhere: None,
            pressed: Default::default(),
            rests_until: Timestamp::default(),
        };
        let saved = agent.found(clock)?;
        Ok(Self { agent, saved })
    }

    /// The versions that were loaded for a start.
    pub(crate) fn loaded(&mut self, loaded: OrderedMap<VersionId, Arc<dyn AnyVersion>>) {
        self.agent.versions = loaded;
    }
}

impl Agent {
    /// What is agreed on; nothing where nothing was yet.
    pub(super) fn found(&mut self, clock: &Clock) -> Result<Option<SavedControl>, BuildError> {
        let refused = |reason: String| BuildError::Fleet { reason };
        let mut last = String::new();
        for _ in 0..JOINING {
            let (asked, act) = self.member.following.read_head(&self.layout, clock.now());
            let reply = self.perform(&act);
            match self.member.following.hear(&asked, &reply, clock.now()) {
                Heard::Follows => break,
                Heard::Missing => {
                    self.member.following.missing = false;
                    let (under, probes) = (self.layout.handle().clone(), self.layout.head().join("probe")?);
                    let left = match self.perform(&Act::List { under, after: None }) {
                        Reply::Page(page) => {
                            page.entries.into_iter().find(|entry| entry.key.below(&probes).is_none())
                        }
                        _ => return Err(refused(self.unreachable())),
                    };
                    if let Some(left) = left {
                        // Or another process has founded the fleet in this moment: then it is there when it is asked for again.
                        last = format!(
                            "what was agreed on is gone from the store, and {} is there: repair it (`switchback fleet repair`), or remove all of it to \
                             begin again",
                            left.key
                        );
                        continue;
                    }
                    // Nobody has agreed here on anything: whether anybody can is asked first.
                    let under = probes.escaped(&self.member.name().to_string())?;
                    guarded(|| probe(&*self.store, &under))
                        .map_err(|panicked| refused(format!("the store panicked: {}", panicked.message)))?
                        .map_err(|error| refused(error.to_string()))?;
                    return Ok(None);
                }
                _ => last = self.unreachable(),
            }
        }
        let Some(applied) = self.head().cloned() else { return Err(refused(last)) };
        let head = applied.head();
        if head.contract != self.contract {
            return Err(refused(format!(
                "it is one whose handles have another task, other business figures, labels, shadows or segments{}: give this one a \
                 name or a place of its own",
                apart(&self.terms, head)
            )));
        }
        let saved = control_of(head).ok_or_else(|| {
            refused(String::from("what was agreed on there cannot be read by this release"))
        })?;
        Ok(Some(with_lowered(head, saved)))
    }
}

impl Membership {
    /// A place for a handle that is there, whose ids name it by this number.
    pub(crate) fn new(joined: Joined, process: u64) -> Self {
        let Joined { agent, .. } = joined;
        let status = Mutex::new(agent.status(Timestamp::default(), 0, MailCounts::default()));
        Self {
            agent: Mutex::new(agent),
            demands: Mutex::default(),
            standing: Mutex::default(),
            status,
            mail: Mail::new(process),
            by_hand: AtomicBool::new(true),
            opened: crossbeam_channel::unbounded(),
            bell: crossbeam_channel::bounded(1),
        }
    }

    /// Adds what is demanded. What it makes needless goes, so that there is no more of it than can be lowered.
    pub(super) fn add(&self, demands: Vec<Demand>) {
        let waiting = &mut *self.demands.lock();
        for mut demand in demands {
            waiting.iter().for_each(|earlier| demand.go_on_from(earlier));
            waiting.retain(|earlier| !demand.replaces(earlier));
            waiting.push(demand);
            self.ring();
        }
    }

    /// Whoever rests looks at what came in.
    pub(super) fn ring(&self) {
        // It rings already.
        let _ = self.bell.0.try_send(());
    }

    /// How long the thread rests, unless something comes in before. A clock that is turned by hand says nothing of how long that is.
    pub(super) fn rest(&self, clock: &Clock) -> Duration {
        if !clock.runs_by_itself() {
            return REST;
        }
        self.agent.lock().rests_until.since(clock.now()).clamp(REST, LONGEST_REST)
    }

    /// A thread of the handle's steps it from here on.
    pub(crate) fn is_driven(&self) {
        self.by_hand.store(false, Ordering::Relaxed);
    }
}

impl Agent {
    /// Whether any of what is demanded is to be put to the others now.
    pub(super) fn presses(&self, demands: &[Demand], now: Timestamp) -> bool {
        let (refused, again) = &self.pressed;
        !demands.is_empty() && (demands != refused.as_slice() || now >= *again)
    }

    /// When the next step has something to do, unless a demand or a version comes in before. What was counted is told shortly before
    /// the lease ends: beyond it, it would be evidence of a time without one.
    pub(super) fn due_again(&self, now: Timestamp) -> Timestamp {
        let following = &self.member.following;
        let lease = following.lease_until();
        let before = lease.since(Timestamp::default().plus(REST));
        let settles = self.member.born().plus(Duration::from_millis(following.timing().settle));
        let moments = [Timestamp::default().plus(before), lease, settles];
        let tried_again = self.failed.iter().map(|(_, _, again)| *again);
        let kept = self.brought.iter().map(|(_, since)| since.plus(BROUGHT));
        let coming = moments.into_iter().chain(tried_again).chain(kept).filter(|moment| *moment > now);
        coming.fold(self.member.next().min(self.courier.next), Timestamp::min)
    }

    pub(super) fn status(&self, now: Timestamp, pending: usize, mail: MailCounts) -> FleetStatus {
        let following = &self.member.following;
        let Place { term, seq } = following.place();
        let timing = following.timing();
        let (merged, voids) = self.member.judge.cuts();
        // Who cannot ask the store judges nothing, and knows of no other for how long.
        let judges = self.member.judge.judges(following, now) && now < following.lease_until();
        let rows = self.member.judge.rows(following, now).filter(|_| judges);
        let on_trial = |identity: &str| self.head().is_some_and(|of| is_on_trial(of.head(), identity));
        FleetStatus {
            name: self.member.name().to_string(),
            state: following.state(now).into(),
            term,
            sequence: seq,
            confirmed: self.confirmed,
            judges,
            merged,
            voids,
            pending,
            not_ready: self
                .failed
                .iter()
                .map(|(version, why, _)| FleetNotReady {
                    version: version.version,
                    identity: version.identity,
                    reason: why.clone(),
                })
                .collect(),
            members: rows.map(|(row, at)| FleetMember::of(row, at, on_trial)).collect(),
            ends: self.ends(),
            outcomes_waiting: mail.waiting,
            outcomes_received: mail.received,
            outcomes_unclaimed: mail.unclaimed,
            taken_over: u64::from(self.courier.held),
            store_requests: self.requests,
            store_failures: self.failures,
            store_error: self.wrong(),
            store_error_at: self.error.as_ref().filter(|_| !following.contested).map(|said| said.at),
            poll: Duration::from_millis(timing.poll),
        }
    }
}

impl Agent {
    /// How often processes ended while what is on trial now was.
    fn ends(&self) -> Vec<FleetEnds> {
        let (Some(ledger), Some(applied)) = (self.member.judge.ledger(), self.head()) else {
            return Vec::new();
        };
        let on_trial = |(attempt, trial): (&u32, &TrialEnds)| {
            let candidate = applied.head().candidate(*attempt).filter(|_| trial.until.is_none())?;
            Some(FleetEnds {
                version: candidate.version.version.clone(),
                exposed_ends: trial.exposed.ends,
                exposed: Duration::from_millis(trial.exposed.ms),
                spared_ends: trial.spared.ends,
                spared: Duration::from_millis(trial.spared.ms),
                evidence: evidence(trial),
            })
        };
        ledger.ends.trials.iter().filter_map(on_trial).collect()
    }

    /// What comes after a head.
    pub(super) fn next(
        &mut self,
        over: &Applied,
        saved: &SavedControl,
        events: &[Arc<Event>],
        active_ms: u64,
        now: Timestamp,
    ) -> Head {
        let (nonce, own) = (Hex(self.chance.bits()), self.member.name().to_string());
        next_head(over, nonce, &own, saved, events, active_ms, now)
    }
}
