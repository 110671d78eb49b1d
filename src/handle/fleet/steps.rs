//! What a member does, step by step: it tells, asks, judges where it is its turn, and makes true what was agreed on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Receiver;
use serde_json::json;

use super::agreement::{
    Told, beside, cause_of, control_json, core_of, course_of, entered, events_since, fleet_time, obey,
    set_quarantine, told_identity,
};
use super::counts::FleetCounts;
use super::judging::{ASKED, FleetJudge, RATE, rate_of};
use super::membership::{
    Agent, Aligned, BROUGHT, CONTESTED, Meant, Membership, NotAgreed, REST, TERMS, TRIES,
};
use super::register::has_landed;
use super::status::{FleetState, FleetStatus};
use crate::base::causes::told;
use crate::base::clock::{Shift, Timestamp};
use crate::base::ordered::OrderedMap;
use crate::base::share::Share;
use crate::control::adopt::{AfterCrash, Start};
use crate::control::align::Agreed;
use crate::control::attempt::Attempt;
use crate::control::control::Control;
use crate::control::decider::{Decider, Demand, Demanded, figures_of_live, is_agreed, withheld};
use crate::control::desk::Desk;
use crate::control::event::{Event, EventKind};
use crate::control::saved::{SavedAttempt, SavedControl, SavedRetained, SavedSetting, SavedVersion};
use crate::control::seat::Seat;
use crate::fleet::format::counts::written;
use crate::fleet::format::envelope::Kind;
use crate::fleet::format::head::{Ancestors, Core as HeadCore, Evidence, Head, LIBRARY, Place};
use crate::fleet::format::hex::Hex;
use crate::fleet::format::value::{Value, Written};
use crate::fleet::protocol::call::{Act, Lane, Reply};
use crate::fleet::protocol::following::Applied;
use crate::handle::build_error::BuildError;
use crate::handle::core::Core;
use crate::model::identity::Identity;
use crate::model::model::Model;
use crate::rollout::phase::Phase;
use crate::version::id::VersionId;
use crate::version::loaded::{AnyVersion, Version};
use crate::version::prepare::StageError;

/// When a version that could not be opened is tried again: it may not have been copied yet.
const TRIED_AGAIN: Duration = Duration::from_secs(30);

/// The thread that opens a version, or wakes it.
const OPENER: &str = "switchback-open";

/// How often the store is asked in one step: one that always has more to say keeps nothing else waiting for ever.
const REQUESTS_MAX: usize = 1_024;

/// How often a last row that was refused is put again at once.
const GOODBYES: usize = 3;

/// The longest rest between two tries after that: a bucket may take one put of a key in a second.
const REST_MAX: Duration = Duration::from_secs(1);

/// Bytes of a row that say which versions could not be opened, and why.
const FAILED_MAX: usize = 16 << 10;

/// How far a step has come with asking the store.
struct Asking {
    /// Until when rows are read one after the other; nothing where that is not to end.
    until: Option<Timestamp>,
    /// How often it may be asked yet.
    most: usize,
    /// The head was looked at.
    has_followed: bool,
}

impl Asking {
    fn new(until: Option<Timestamp>) -> Self {
        Self { until, most: REQUESTS_MAX, has_followed: false }
    }

    fn is_late(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now >= until)
    }
}

/// The versions that a state names. Under one name it is the first of them that is meant.
fn named(saved: &SavedControl) -> Vec<SavedVersion> {
    let retained = saved.retained.iter().map(|kept| kept.version);
    let on_trial = saved.attempts.iter().map(|attempt| attempt.version);
    std::iter::once(saved.live).chain(on_trial).chain(retained).collect()
}

/// A version that was opened, where it is the one that was agreed on.
fn as_agreed<I: ?Sized + 'static, O: 'static>(
    wanted: SavedVersion,
    version: Version<I, O>,
) -> Result<Arc<dyn AnyVersion>, String> {
    if version.identity == wanted.identity {
        return Ok(Arc::new(version));
    }
    Err(format!(
        "its identity here is {:?}, and {:?} was agreed on: all processes must open the same bytes under one name",
        version.identity, wanted.identity
    ))
}

/// Opens a version that others have agreed on, and waits for it: like what is staged on a thread of low priority, held back while live has
/// trouble, and given up after a while.
pub(crate) fn open_agreed<I: ?Sized + 'static, O: Send + 'static>(
    core: &Arc<Core<I, O>>,
    wanted: SavedVersion,
) -> Result<Arc<dyn AnyVersion>, String> {
    let (id, own) = (wanted.version, Arc::clone(core));
    as_agreed(wanted, core.prepare_aside(id, move || own.opened(id)).map_err(told)?)
}

/// What came of what was demanded.
struct Put {
    /// Nothing where somebody else has done it.
    written: Option<Arc<Written>>,
    /// What is to be told of that of which nothing can come any more.
    lapsed: Vec<EventKind>,
}

/// A version that is to be had here, and the one that is loaded where it is that and sleeps.
struct Wanted {
    version: SavedVersion,
    asleep: Option<Arc<dyn AnyVersion>>,
}

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    pub(crate) fn is_in_fleet(&self) -> bool {
        self.fleet.is_some()
    }

    /// Whether the others can agree on something, as far as is known here.
    #[cfg(all(feature = "onnx", feature = "repository"))]
    pub(crate) fn reaches_fleet(&self) -> bool {
        self.fleet.as_ref().is_none_or(|fleet| fleet.status.lock().state == FleetState::Following)
    }

    /// A version that is about to be staged: the others will open their own.
    pub(crate) fn bring_to_fleet(&self, version: &Arc<dyn AnyVersion>) {
        if let Some(fleet) = &self.fleet {
            let agent = &mut *fleet.agent.lock();
            self.bring(agent, Arc::clone(version));
            agent.brought.push((version.id, self.serving.clock.now()));
            agent.rests_until = Timestamp::default();
        }
    }

    /// Has a version at hand that was loaded. Where the same is in use under its name already that stays, and this one is over.
    fn bring(&self, agent: &mut Agent, version: Arc<dyn AnyVersion>) {
        let control = &mut *self.control.lock();
        let known = agent.versions.get(&version.id).filter(|known| known.identity == version.identity);
        let over = match known {
            Some(known) if Arc::ptr_eq(known, &version) => None,
            Some(known) if control.uses(known) => Some(version),
            _ => agent.versions.insert(version.id, version),
        };
        // To drop it is an engine's code, which is run under no lock.
        control.retire_unused(over);
    }

    /// What is known of the fleet.
    pub(crate) fn fleet_status(&self) -> Option<FleetStatus> {
        self.fleet.as_ref().map(|fleet| {
            let (pending, mail) = (fleet.demands.lock().len(), fleet.mail.counts());
            let status = fleet.status.lock().clone();
            FleetStatus {
                pending,
                outcomes_waiting: mail.waiting,
                outcomes_received: mail.received,
                outcomes_unclaimed: mail.unclaimed,
                ..status
            }
        })
    }

    /// What whoever decides goes by.
    fn decider(&self, saved: &SavedControl, brought: &[Arc<dyn AnyVersion>]) -> Option<Decider> {
        let (settings, figures, decided) = {
            let control = &*self.control.lock();
            (control.settings.clone(), figures_of_live(control), control.decided)
        };
        let setting = SavedSetting::of(&self.setting());
        let mut decider = Decider::new(settings, setting, saved, brought).ok()?;
        figures.into_iter().for_each(|figures| decider.know_live(figures));
        decider.number_on(decided);
        Some(decider)
    }

    /// Agrees with the others on something that raises exposure, and makes it true here.
    ///
    /// # Errors
    ///
    /// They have agreed on something else, or cannot be asked: with the reason. Then it is true nowhere, unless it says so.
    pub(crate) fn agree<T>(
        &self,
        fleet: &Membership,
        decide: impl FnOnce(&mut Control, Desk<'_>) -> T,
    ) -> Result<T, String> {
        let agent = &mut *fleet.agent.lock();
        agent.rests_until = Timestamp::default();
        // What was counted until now belongs to the head that was true until now.
        self.tell_counts(agent);
        let clock = &self.serving.clock;
        let over = agent.read_head(clock)?;
        let head = over.head();
        if agent.member.following.contested {
            return Err(String::from(CONTESTED));
        }
        // Whoever has looked here has seen what is true here: what others have agreed on since is so too before it is held against that.
        if agent.aligned.as_ref().is_none_or(|aligned| aligned.print != over.written.print) {
            self.make_true(fleet, agent);
        }
        if head.min_writer > LIBRARY {
            return Err(String::from(
                "a later release of this library decides in this fleet: upgrade this process",
            ));
        }
        let saved = agent.control_of(&over).ok_or("what was agreed on cannot be read by this release")?;
        let active_ms = agent.active_ms(head);
        let now = fleet_time(head, saved.at, active_ms);
        let brought: Vec<Arc<dyn AnyVersion>> = agent.versions.values().cloned().collect();
        let mut decider = self.decider(&saved, &brought).ok_or("the decision cannot be made here")?;
        obey(&mut decider, head, agent.member.following.lowered_here(), &saved, now);
        let mut events = decider.events();
        fleet.demands.lock().iter().for_each(|demand| decider.obey(demand, now));
        let demanded = decider.events();
        let before = decider.saved(now);
        let result = decider.change(now, decide);
        let saved = decider.saved(now);
        if is_agreed(&before, &saved) {
            return Ok(result);
        }
        events.extend(demanded.iter().cloned().chain(decider.events()));
        let next = agent.next(&over, &saved, &events, active_ms, clock.now());
        let put = agent.put(&over, next, true, clock);
        // As in `put_demands`: what is demanded is true here already, and was told.
        if matches!(put, Ok(_) | Err(NotAgreed::Unknown(_))) {
            agent.told_here(self.told_already(&demanded));
        }
        match put {
            Ok(_) => {
                self.make_true(fleet, agent);
                Ok(result)
            }
            Err(NotAgreed::Overtaken(reason)) => {
                // What they have agreed on is true here before it is said again.
                if agent.read_head(clock).is_ok() {
                    self.make_true(fleet, agent);
                }
                Err(reason)
            }
            Err(NotAgreed::No(reason)) => Err(reason),
            Err(NotAgreed::Unknown(reason)) => {
                Err(format!("{reason}; it may be true in a moment: look before it is said again"))
            }
        }
    }

    /// Puts what is demanded to the others, where nobody is asking the store: whoever does will ask this next.
    pub(crate) fn press_demands(&self) {
        let Some(fleet) = &self.fleet else { return };
        if let Some(mut agent) = fleet.agent.try_lock() {
            agent.rests_until = Timestamp::default();
            self.tell_counts(&mut agent);
            self.press(fleet, &mut agent);
        }
    }

    /// An identity may be tried again, by all, where it is quarantined for this reason still.
    pub(crate) fn release_in_fleet(&self, identity: Identity, reason: String, by: Option<Arc<str>>) {
        if let Some(fleet) = &self.fleet {
            fleet.add(vec![Demand { by, what: Demanded::Release { identity, reason } }]);
            self.press_demands();
        }
    }

    /// Puts what is demanded to the others, where it is due: what the store did not take is put once in the time between two looks at the head.
    fn press_what_is_due(&self, fleet: &Membership, agent: &mut Agent) {
        if agent.presses(&fleet.demands.lock(), self.serving.clock.now()) {
            self.press(fleet, agent);
        }
    }

    /// Puts what is demanded to the others, over whatever they have agreed on: in a history that this process does not follow, too. There it goes
    /// on waiting afterwards, since it is true here only as long as it does.
    fn press(&self, fleet: &Membership, agent: &mut Agent) {
        let clock = &self.serving.clock;
        for _ in 0..TRIES {
            let demands = fleet.demands.lock().clone();
            if demands.is_empty() {
                return;
            }
            let Some((over, follows)) = agent.read_any(clock) else { break };
            let elsewhere = agent.elsewhere.take();
            let landed = elsewhere.filter(|(written, _)| has_landed(written, &over.written));
            let done = landed.map(|(_, done)| done).unwrap_or_default();
            // The mark goes along: in a while nobody could say whether an older one is among the ancestors.
            let mut there = Arc::clone(&over.written);
            agent.elsewhere = Some((Arc::clone(&there), done.clone()));
            // What was agreed on there is no more to be said, whatever they decide after it.
            let left: Vec<&Demand> = demands.iter().filter(|demand| !done.contains(demand)).collect();
            let mut lapsed = Vec::new();
            if !left.is_empty() {
                match self.put_demands(agent, &over, &left) {
                    Ok(put) => {
                        there = put.written.unwrap_or(there);
                        lapsed = put.lapsed;
                    }
                    Err(NotAgreed::Overtaken(_)) => continue,
                    // Asked again at once it would keep whoever waits for it, and all that this process asks besides.
                    Err(_) => break,
                }
            }
            if follows {
                agent.elsewhere = None;
                fleet.demands.lock().retain(|demand| !demands.contains(demand));
                self.make_true(fleet, agent);
                lapsed.into_iter().for_each(|lapsed| self.tell(lapsed));
                return;
            }
            agent.elsewhere = Some((there, demands));
            break;
        }
        let poll = Duration::from_millis(agent.member.following.timing().poll);
        agent.pressed = (fleet.demands.lock().clone(), clock.now().plus(poll));
    }

    /// What of these has been told here: not what others have made of a demand because they had gone on.
    fn told_already(&self, events: &[Arc<Event>]) -> Vec<Told> {
        let log = self.control.lock().announcer.log();
        let is_told = |event: &&Arc<Event>| log.iter().any(|told| told.kind == event.kind);
        events.iter().filter(is_told).map(|event| Told::of(event)).collect()
    }

    /// Puts a head with what is demanded over another one, where that has not got it already.
    fn put_demands(&self, agent: &mut Agent, over: &Applied, demands: &[&Demand]) -> Result<Put, NotAgreed> {
        let (clock, head) = (&self.serving.clock, over.head());
        let another = || NotAgreed::No(String::from("what is agreed on cannot be read by this release"));
        let saved = agent.control_of(over).ok_or_else(another)?;
        let active_ms = agent.active_ms(head);
        let now = fleet_time(head, saved.at, active_ms);
        let mut decider = self.decider(&saved, &[]).ok_or_else(another)?;
        obey(&mut decider, head, agent.member.following.lowered_here(), &saved, now);
        let mut events = decider.events();
        let before = decider.saved(now);
        // Of each when it was obeyed: what a later one does is no sign that it came too late, and what was on trial has been taken off.
        let was_on_trial = |number: u32| before.attempts.iter().any(|attempt| attempt.number == number);
        let lapsed = demands.iter().filter_map(|demand| {
            decider.obey(demand, now);
            match demand.what {
                Demanded::Lower { attempt, .. } if was_on_trial(attempt) => None,
                _ => decider.lapsed(demand),
            }
        });
        let lapsed: Vec<EventKind> = lapsed.collect();
        let after = decider.saved(now);
        if is_agreed(&before, &after) {
            return Ok(Put { written: None, lapsed });
        }
        let demanded = decider.events();
        events.extend(demanded.iter().cloned());
        let next = agent.next(over, &after, &events, active_ms, clock.now());
        let put = agent.put(over, next, false, clock);
        // Where it may have been done whoever follows will see, and has told it already.
        if matches!(put, Ok(_) | Err(NotAgreed::Unknown(_))) {
            agent.told_here(self.told_already(&demanded));
        }
        put.map(|written| Put { written: Some(written), lapsed })
    }

    /// What is due now, by whoever ticks.
    pub(crate) fn step_in_fleet(self: &Arc<Self>) {
        if let Some(fleet) = self.fleet.as_ref().filter(|fleet| fleet.by_hand.load(Ordering::Relaxed)) {
            self.step(fleet, |wanted| self.have(fleet, &wanted));
        }
    }

    /// Opens a version that is missing here, or wakes it, and hands it over.
    fn have(self: &Arc<Self>, fleet: &Membership, Wanted { version, asleep }: &Wanted) {
        let had = match asleep {
            Some(asleep) => self.awake(asleep).map_or_else(|| Ok(Arc::clone(asleep)), Err),
            None => (self.open_agreed)(self, *version),
        };
        let _ = fleet.opened.0.send((*version, had));
        fleet.ring();
    }

    /// What is due now.
    fn step(&self, fleet: &Membership, open: impl FnMut(Wanted)) {
        let agent = &mut *fleet.agent.lock();
        self.tell_counts(agent);
        self.press_what_is_due(fleet, agent);
        let poll = Duration::from_millis(agent.member.following.timing().poll);
        // Whoever steps it by hand may do so once in a second, and a turn of each lane is all that it gets.
        let is_driven = !fleet.by_hand.load(Ordering::Relaxed);
        let mut asking = Asking::new(is_driven.then(|| self.serving.clock.now().plus(poll / 2)));
        loop {
            let goes_on = self.ask(fleet, agent, &mut asking);
            self.take_opened(fleet, agent);
            self.make_true(fleet, agent);
            if !goes_on {
                break;
            }
            self.press_what_is_due(fleet, agent);
        }
        self.open_what_is_missing(fleet, agent, open);
        // What was opened at once.
        if self.take_opened(fleet, agent) {
            self.make_true(fleet, agent);
        }
        self.tell_state(agent);
        self.carry_mail(fleet, agent);
        let pending = fleet.demands.lock().len();
        let now = self.serving.clock.now();
        agent.rests_until = agent.due_again(now);
        *fleet.status.lock() = agent.status(now, pending, fleet.mail.counts());
    }

    /// Whether a step would find nothing to do. Looked at before each, since a step takes the control lock, and memory.
    fn rests(&self, fleet: &Membership) -> bool {
        let now = self.serving.clock.now();
        // In this order: whoever has the agent takes the lock of demands.
        let agent = fleet.agent.lock();
        let comes_in = !fleet.opened.1.is_empty() || agent.presses(&fleet.demands.lock(), now);
        !comes_in && now < agent.rests_until
    }

    /// Hands what was counted to the row.
    fn tell_counts(&self, agent: &mut Agent) {
        let now = self.serving.clock.now();
        let copies = self.serving.shadow_counts();
        let (outbox, asked, exposed, tripped, labelled, rate) = {
            let control = &mut *self.control.lock();
            // Live shadows a canary whether or not a shadow came before it.
            let canary_pairs = control.settings.shadowing && control.settings.canary_pairs;
            let is_copied = |attempt: &&Attempt| {
                let is_paired = canary_pairs && attempt.state.phase == Phase::Canary;
                attempt.state.sample != Share::NONE || (is_paired && attempt.state.weight != Share::NONE)
            };
            let exposed: Vec<u32> =
                control.attempts.iter().filter(is_copied).map(|attempt| attempt.number).collect();
            let is_passed_over =
                |attempt: &&Attempt| attempt.circuit.tripped || attempt.circuit.open_until.is_some();
            // Nobody answers in the place of a live that is watched.
            let candidates = control.attempts.iter().filter(|attempt| attempt.state.phase != Phase::Baking);
            let tripped: Vec<u32> = candidates.filter(is_passed_over).map(|attempt| attempt.number).collect();
            let told = |seat: &mut Seat| (std::mem::take(&mut seat.outbox), std::mem::take(&mut seat.asked));
            let labelled = |attempt: &Attempt| (attempt.number, control.progress(attempt.number).1);
            let labelled: OrderedMap<u32, u64> = control.attempts.iter().map(labelled).collect();
            let (outbox, asked) = control.seat.as_mut().map(told).unwrap_or_default();
            (outbox, asked, exposed, tripped, labelled, control.rate(now))
        };
        let fresh = (copies.ran - agent.copies.0, copies.dropped - agent.copies.1);
        agent.copies = (copies.ran, copies.dropped);
        for ((attempt, era), evidence) in outbox {
            agent.member.count_in(attempt, era, &FleetCounts { evidence, ..FleetCounts::default() }, now);
        }
        let mut beside: Vec<(u32, FleetCounts)> = Vec::new();
        if fresh != (0, 0) {
            let copies = FleetCounts { copies: fresh, ..FleetCounts::default() };
            beside.extend(exposed.into_iter().map(|attempt| (attempt, copies.clone())));
        }
        // What nobody would count now is told once somebody does: labels come when they come, and not when the store answers.
        let counts = agent.head().is_some() && agent.member.following.lease_holds(now);
        for (attempt, known) in labelled.iter().filter(|_| counts) {
            // Fewer than before where the evidence has begun anew.
            let before = agent.labelled.get(attempt).copied().filter(|before| before <= known);
            let outcomes = known - before.unwrap_or_default();
            if outcomes > 0 {
                beside.push((*attempt, FleetCounts { outcomes, ..FleetCounts::default() }));
            }
        }
        if counts {
            agent.labelled = labelled;
        }
        // Where its other counts are too: under each newer head they would be another entry of the row.
        let eras: Vec<u64> = agent.head().map_or_else(Vec::new, |applied| {
            let entered = entered(applied.head());
            beside.iter().map(|(attempt, _)| entered(*attempt)).collect()
        });
        for ((attempt, counts), era) in beside.iter().zip(eras) {
            agent.member.count_in(*attempt, era, counts, now);
        }
        let publish = &mut agent.member.publish;
        publish.tripped = tripped;
        agent.lately.add(asked, now);
        let asked = agent.lately.sum();
        publish.more.insert(ASKED.to_owned(), json!([asked.all, asked.keyed]));
        publish.more.remove(RATE);
        if let Some(rate) = rate {
            publish.more.insert(RATE.to_owned(), json!(rate));
        }
        let known = agent.versions.values();
        publish.ready = known.map(|version| told_identity(version.identity)).take(256).collect();
        let mut bytes = 0;
        publish.failed = agent
            .failed
            .iter()
            .map(|(version, why, _)| {
                (told_identity(version.identity), why.chars().take(256).collect::<String>())
            })
            // Most of the row is for counts.
            .take_while(|(version, why)| {
                bytes += written(version) + written(why) + 2;
                bytes <= FAILED_MAX
            })
            .collect();
    }

    /// Asks the store for what is due; whether there may be more, since what has come in is to be agreed on, or made true, first. Rows are read
    /// for so long only: whoever judges may have hundreds to read, from a store that is slow, and goes on with the next one in the next step.
    fn ask(&self, fleet: &Membership, agent: &mut Agent, asking: &mut Asking) -> bool {
        let clock = &self.serving.clock;
        let print = |agent: &Agent| agent.head().map(|applied| applied.written.print);
        let taken_off = |agent: &Agent| agent.member.following.lowered_here().len();
        let (head, taken_off_before, demands) =
            (print(agent), taken_off(agent), fleet.demands.lock().clone());
        while asking.most > 0 {
            let now = clock.now();
            // A store may take longer for one answer than there is between two looks at the head.
            let due = if asking.has_followed && asking.is_late(now) {
                agent.member.due_beside_the_head(now)
            } else {
                agent.member.due(now)
            };
            let Some((lane, act)) = due else { break };
            asking.most -= 1;
            asking.has_followed |= lane == Lane::Follow;
            let reads_head = matches!(&act, Act::Get { kind: Kind::Head, .. });
            let reply = agent.perform(&act);
            if reads_head && matches!(reply, Reply::Same | Reply::Value { .. }) {
                agent.confirmed = Some(clock.now());
            }
            let decide = |saved: &SavedControl| self.decider(saved, &[]);
            let ask = |snapshot: &crate::control::tick::Snapshot| snapshot.ask(&self.serving.shadow_judge());
            let live = || figures_of_live(&self.control.lock());
            let off_here = agent.member.following.lowered_here().to_vec();
            let judge = FleetJudge {
                bench: &agent.bench,
                decide: &decide,
                ask: &ask,
                live: &live,
                taken_off: &off_here,
                found: &agent.found,
            };
            agent.member.reply(lane, &judge, &reply, clock.now());
            if let Some(why) = agent.member.judge.refused.take() {
                let key = agent.layout.handle().clone();
                agent.say(key, format!("what was judged cannot be agreed on: {why}"));
            }
            if print(agent) != head
                || taken_off(agent) != taken_off_before
                || *fleet.demands.lock() != demands
            {
                return true;
            }
            let judge = &agent.member.judge;
            if lane == Lane::Judge && (judge.reads_rows() || judge.rests()) && asking.is_late(clock.now()) {
                break;
            }
        }
        false
    }

    /// Asks the store for all that is due.
    fn ask_all(&self, fleet: &Membership, agent: &mut Agent) {
        let mut asking = Asking::new(None);
        while self.ask(fleet, agent, &mut asking) {}
    }

    /// The versions that are to be there, as far as that can be said: what was taken off is wanted no more, whatever the rest of the head says.
    fn wanted(&self, fleet: &Membership, agent: &mut Agent) -> Option<Vec<SavedVersion>> {
        let applied = agent.head().cloned()?;
        let demands = fleet.demands.lock().clone();
        Some(named(&self.meant(agent, &applied, demands)?.agreed))
    }

    /// Takes over versions that were opened aside; whether there were any.
    fn take_opened(&self, fleet: &Membership, agent: &mut Agent) -> bool {
        let mut any = false;
        for (wanted, opened) in fleet.opened.1.try_iter() {
            any = true;
            agent.opening.retain(|opening| *opening != wanted);
            match opened {
                // Other bytes may be meant by this name since.
                Ok(version) if self.wanted(fleet, agent).is_some_and(|named| !named.contains(&wanted)) => {
                    self.control.lock().retire_unused([version]);
                }
                Ok(version) => {
                    agent.failed.retain(|(failed, ..)| *failed != wanted);
                    self.bring(agent, version);
                }
                // It is being staged here, or was: it is looked at again in the next step. One that is cold was to be woken.
                Err(_) if self.is_loading(wanted.version) || self.is_awake(agent, wanted) => {}
                Err(reason) => {
                    let again = self.serving.clock.now().plus(TRIED_AGAIN);
                    let told =
                        agent.failed.iter().any(|(failed, why, _)| (*failed, why) == (wanted, &reason));
                    agent.failed.retain(|(failed, ..)| *failed != wanted);
                    if !told {
                        let reason = reason.clone();
                        self.tell(EventKind::NotReady { version: wanted.version, reason });
                    }
                    agent.failed.push((wanted, reason, again));
                }
            }
        }
        any
    }

    /// Whether a version is loaded here and need not be woken.
    fn is_awake(&self, agent: &Agent, wanted: SavedVersion) -> bool {
        agent.loaded(wanted).is_some_and(|version| !self.sleeps(version))
    }

    /// Opens what is agreed on and not loaded here.
    fn open_what_is_missing(&self, fleet: &Membership, agent: &mut Agent, mut open: impl FnMut(Wanted)) {
        let Some(wanted) = self.wanted(fleet, agent) else { return };
        let live = agent.meant.as_ref().map(|meant| meant.here.live);
        agent.failed.retain(|(version, ..)| wanted.contains(version));
        // What nobody has agreed on any more, and nothing here uses, is let go of.
        let in_use = self.control.lock().loaded();
        let now = self.serving.clock.now();
        agent.brought.retain(|(_, since)| now.since(*since) < BROUGHT);
        let gone: Vec<VersionId> = agent
            .versions
            .values()
            .filter(|version| {
                !wanted.iter().any(|one| (one.version, one.identity) == (version.id, version.identity))
                    && !in_use.iter().any(|used| Arc::ptr_eq(used, version))
                    && !agent.brought.iter().any(|(brought, _)| *brought == version.id)
            })
            .map(|version| version.id)
            .collect();
        // One that is being staged is brought before it is agreed on: it is let go of only once something was.
        if agent
            .aligned
            .as_ref()
            .zip(agent.head())
            .is_some_and(|(aligned, head)| aligned.print == head.written.print)
        {
            // To drop it is an engine's code, which is run under no lock.
            let gone = gone.iter().filter_map(|version| agent.versions.remove(version));
            self.control.lock().retire_unused(gone);
        }
        for version in wanted {
            let known = agent.loaded(version);
            let asleep = known.filter(|known| live == Some(version) && self.sleeps(known)).cloned();
            let is_had = known.is_some() && asleep.is_none();
            if is_had {
                // However it came here.
                agent.failed.retain(|(failed, ..)| *failed != version);
            }
            let failed = agent.failed.iter().any(|(failed, _, again)| *failed == version && now < *again);
            let is_opened = agent.opening.contains(&version) || self.is_loading(version.version);
            if !is_had && !failed && !is_opened {
                agent.opening.push(version);
                open(Wanted { version, asleep });
            }
        }
    }

    /// Whether a version that is to be live has to be woken first: the one that answers needs no waking.
    fn sleeps(&self, version: &Arc<dyn AnyVersion>) -> bool {
        version.is_cold() && !Arc::ptr_eq(version, &self.control.lock().live)
    }

    /// A version of the source's, not loaded yet. The host's code.
    fn opened(&self, id: VersionId) -> Result<Box<dyn Model<I, O>>, StageError> {
        let error = |error: Box<dyn std::error::Error + Send + Sync>| StageError::from(error);
        let source = self.keeper.source.as_ref();
        let source =
            source.ok_or_else(|| error("nobody knows where it is: say `.source(..)` at build".into()))?;
        source.open(id.as_str()).map_err(error)
    }

    /// Makes what is agreed on true here, and takes the lease that it gives.
    fn make_true(&self, fleet: &Membership, agent: &mut Agent) {
        agent.look_for_lost();
        let Some(applied) = agent.head().cloned() else { return };
        self.take_found(agent);
        // Whoever lowers something meanwhile goes first.
        let stands = loop {
            match self.align(fleet, agent, &applied) {
                Some(false) => {}
                stands => break stands.is_some(),
            }
        };
        if stands {
            self.take_lease(agent);
        }
        self.tell_lapsed(agent);
    }

    /// Says that a guard wanted something taken off which a person has promoted in the same moment. The person was first, and wanted no watch over it: a
    /// watch is what would take it back.
    fn tell_lapsed(&self, agent: &mut Agent) {
        for lowering in agent.member.take_lapsed() {
            let Some(head) = agent.head().cloned() else { continue };
            // Another attempt may have made the same version live.
            let by = |saved: &Arc<SavedControl>| saved.live_by == Some(lowering.attempt);
            if let Some(saved) = agent.control_of(&head).filter(by) {
                let version = saved.live.version;
                self.tell(EventKind::Lapsed { version, live: version, cause: cause_of(&lowering) });
            }
        }
    }

    /// What of a head is to be true here. Nothing where it cannot be said.
    fn meant(&self, agent: &mut Agent, applied: &Applied, demands: Vec<Demand>) -> Option<Meant> {
        let (print, head) = (applied.written.print, applied.head());
        let taken_off = agent.member.following.lowered_here().to_vec();
        let is_it =
            |meant: &&Meant| (meant.print, &meant.taken_off, &meant.demands) == (print, &taken_off, &demands);
        if let Some(meant) = agent.meant.as_ref().filter(is_it) {
            return Some(meant.clone());
        }
        let saved = agent.control_of(applied)?;
        let (agreed, here) = (Arc::clone(&saved), Arc::clone(&saved));
        let mut meant = Meant { print, taken_off, demands, agreed, here, told: Vec::new() };
        if !(head.lowered.is_empty() && meant.taken_off.is_empty() && meant.demands.is_empty()) {
            let mut decider = self.decider(&saved, &[])?;
            obey(&mut decider, head, &[], &saved, saved.at);
            meant.agreed = Arc::new(decider.saved(saved.at));
            obey(&mut decider, head, &meant.taken_off, &saved, saved.at);
            meant.told = decider.events().iter().map(|event| Told::of(event)).collect();
            meant.demands.iter().for_each(|demand| decider.obey(demand, saved.at));
            meant.here = Arc::new(decider.saved(saved.at));
        }
        agent.meant = Some(meant.clone());
        Some(meant)
    }

    /// For how long somebody has judged until now, as far as it is known. The head that is found at a start may have been agreed on long ago.
    fn judged_for(&self, agent: &mut Agent, head: &Head) -> u64 {
        if agent.aligned.is_none() {
            return agent.active_ms(head);
        }
        agent.member.judge.ledger().map_or(0, |ledger| ledger.active_ms)
    }

    /// Has the control side become what a head says; whether nothing was lowered here meanwhile. Nothing where it cannot.
    fn align(&self, fleet: &Membership, agent: &mut Agent, applied: &Applied) -> Option<bool> {
        let (now, head) = (self.serving.clock.now(), applied.head());
        let demands = fleet.demands.lock().clone();
        let meant = self.meant(agent, applied, demands)?;
        let following = &agent.member.following;
        let has_settled = agent.kept.is_some() && !following.contested && following.has_settled(now);
        let unready = |attempt: &SavedAttempt| !has_settled || agent.loaded(attempt.version).is_none();
        let live = agent.loaded(meant.here.live);
        let live_sleeps = live.is_some_and(|live| self.sleeps(live));
        // One that has gone cold is woken before anybody waits for its answer.
        let live_is_known = live.is_some() && !live_sleeps;
        let unexposed: Vec<u32> = meant
            .here
            .attempts
            .iter()
            .filter(|attempt| !live_is_known || unready(attempt))
            .map(|attempt| attempt.number)
            .collect();
        let before = agent.aligned.clone().filter(|aligned| aligned.print == applied.written.print);
        let shift = match &before {
            Some(aligned) => aligned.shift,
            None => Shift::onto(fleet_time(head, meant.here.at, self.judged_for(agent, head)), now),
        };
        let aligned = Aligned {
            print: applied.written.print,
            place: head.place,
            shift,
            withheld: unexposed.clone(),
            waiting: (meant.taken_off.len(), meant.demands.len()),
            live_is_known,
        };
        if before.as_ref() == Some(&aligned) {
            return Some(true);
        }
        let mut told = agent.untold.clone();
        let (is_new, is_first) = (before.is_none(), agent.aligned.is_none());
        let mut told_here = agent.told_here.clone();
        // What happened before this process was there it has not seen.
        let seen = agent.aligned.as_ref().filter(|_| is_new).map(|aligned| aligned.place);
        for happened in seen.map_or_else(Vec::new, |seen| events_since(head, seen)) {
            match told_here.iter().position(|told| *told == happened) {
                Some(place) => drop(told_here.remove(place)),
                None => told.push(happened),
            }
        }
        // A later head tells it once more, as what has happened.
        let lowered = meant.told.iter().filter(|lowered| !told_here.contains(lowered));
        let lowered: Vec<Told> = lowered.cloned().collect();
        told.extend(lowered.iter().filter(|_| !is_first).cloned());
        let mut effective = SavedControl::clone(&meant.here);
        unexposed.iter().for_each(|number| withheld(&mut effective, *number));
        if !live_is_known {
            // It watches a live that is not here.
            effective.attempts.retain(|attempt| attempt.state.phase != Phase::Baking);
        }
        if live_sleeps {
            // It is retained until it answers, and nobody lets it go cold again.
            let (version, since) = (effective.live, effective.live_since);
            let kept = SavedRetained { version, since, taken_back: false, unavailable: None };
            effective.retained.insert(0, kept);
        }
        let names = named(&effective);
        let is_meant = |version: &Arc<dyn AnyVersion>| {
            let named = names.iter().find(|named| named.version == version.id);
            named.is_some_and(|named| named.identity == version.identity)
        };
        // Other bytes may go by the same name here still: they are none of what was agreed on.
        let mut loaded = agent.versions.clone();
        loaded.retain(|_, version| is_meant(version));
        let start = Start {
            setting: self.setting(),
            after_crash: AfterCrash::default(),
            loaded,
            missing: agent.failed.iter().map(|(version, why, _)| (version.version, why.clone())).collect(),
            torn_bytes: 0,
            // A fleet agrees on rules alone.
            can_judge: &|_, _| false,
        };
        let entered = head.entered.iter().map(|(attempt, entered)| (*attempt, entered.seq)).collect();
        let agreed = Agreed {
            saved: effective.on_time_line(shift),
            start,
            entered,
            events: told.iter().map(|told| (told.by.clone(), told.kind.clone())).collect(),
            is_first,
            is_trying: meant.here.is_trying(),
            live_is_ready: live_is_known,
        };
        let stands = self.change(|control| {
            let stands = *fleet.demands.lock() == meant.demands;
            if stands {
                fleet.standing.lock().here = Some(Arc::clone(&meant.here));
                control.align(agreed, self.desk(now));
            }
            stands
        });
        if stands {
            // What happened is told once it is true here.
            agent.untold = if live_is_known { Vec::new() } else { told };
            agent.told_here = told_here;
            agent.told_here(lowered);
            agent.aligned = Some(aligned);
        }
        Some(stands)
    }

    /// Tells what was found by judging here, before what follows from it, and keeps its records.
    fn take_found(&self, agent: &mut Agent) {
        let agreed = agent.head().map(|applied| applied.head().evidence.nonce);
        let (told, mut decisions, raised) = {
            let found = &mut *agent.found.borrow_mut();
            let is_agreed = |raising: &mut (Hex, _)| Some(raising.0) == agreed;
            let raised = found.raising.take_if(is_agreed);
            (std::mem::take(&mut found.told), std::mem::take(&mut found.decisions), raised)
        };
        decisions.extend(raised.into_iter().flat_map(|(_, decisions)| decisions));
        if told.is_empty() && decisions.is_empty() {
            return;
        }
        let now = self.serving.clock.now();
        let control = &mut *self.control.lock();
        for decision in decisions {
            control.decided = control.decided.max(decision.number);
            control.keep_decision(decision);
        }
        told.into_iter().for_each(|event| control.announcer.announce(now, control.epoch, event));
    }

    /// Lets candidates be exposed for as long as the head that was made true says, and shows what guards have come to.
    fn take_lease(&self, agent: &mut Agent) {
        let now = self.serving.clock.now();
        let Some(shift) = agent.aligned.as_ref().map(|aligned| aligned.shift) else { return };
        let lease_until = agent.member.following.lease_until();
        let control = &mut *self.control.lock();
        if let Some(ledger) = agent.member.judge.ledger().filter(|ledger| ledger.nonce != agent.shown) {
            agent.shown = ledger.nonce;
            if let Some(course) = course_of(&ledger.more) {
                control.show(course, shift);
            }
        }
        if let Some(seat) = &mut control.seat {
            seat.lease_until = lease_until;
            seat.rate = agent.member.judge.ledger().and_then(rate_of);
        }
        control.renew_lease(now);
    }

    /// Says where this process stands, where that has changed.
    fn tell_state(&self, agent: &mut Agent) {
        let state = FleetState::from(agent.member.following.state(self.serving.clock.now()));
        let before = std::mem::replace(&mut agent.state, state);
        if before == state {
            return;
        }
        match state {
            FleetState::CutOff => self.tell(EventKind::FleetCutOff { reason: agent.unreachable() }),
            FleetState::Diverged => self.tell(EventKind::FleetDiverged),
            FleetState::Following if before != FleetState::Joining => self.tell(EventKind::FleetRejoined),
            _ => {}
        }
    }

    /// Says with what this process begins.
    fn tell_joined(&self, agent: &Agent) {
        let Some(Applied { written, .. }) = agent.head() else { return };
        let Place { term, seq } = written.head.place;
        let control = &mut *self.control.lock();
        let trial = control.attempts.iter().filter(|attempt| attempt.state.phase != Phase::Baking);
        let event = EventKind::FleetJoined {
            term,
            sequence: seq,
            live: control.live.id,
            candidates: trial.map(|attempt| attempt.version).collect(),
            settle: Duration::from_millis(written.head.timing.settle),
        };
        control.announcer.announce(self.serving.clock.now(), control.epoch, event);
    }

    /// Takes the place in the fleet: founds it where nothing is agreed on yet.
    pub(crate) fn begin_in_fleet(&self) -> Result<(), BuildError> {
        let Some(fleet) = &self.fleet else { return Ok(()) };
        let agent = &mut *fleet.agent.lock();
        let clock = &self.serving.clock;
        {
            let control = &mut *self.control.lock();
            control.seat = Some(Seat::default());
            for version in control.loaded() {
                agent.versions.insert(version.id, version);
            }
        }
        let is_founder = agent.head().is_none();
        if is_founder {
            let now = clock.now();
            let mut saved = self.control.lock().saved((0, 0), false, Vec::new(), now);
            saved.setting = Some(SavedSetting::of(&self.setting()));
            let mut more = beside(0, &[], Vec::new());
            more.insert(TERMS.to_owned(), agent.terms.clone().into());
            set_quarantine(&mut more, self.control.lock().settings.quarantine_for);
            let head = Head {
                place: Place { term: 1, seq: 1 },
                nonce: Hex(agent.chance.bits()),
                ancestors: Ancestors::default(),
                by: agent.member.name().to_string(),
                why: String::from("the fleet is founded"),
                asked_at: now,
                min_reader: LIBRARY,
                min_writer: LIBRARY,
                core: HeadCore { candidates: Vec::new(), ..core_of(&saved) },
                lowered: Vec::new(),
                control: control_json(&saved).0,
                entered: BTreeMap::new(),
                timing: agent.timing,
                evidence: Evidence::default(),
                contract: agent.contract,
                key_print: Hex(0),
                more,
            };
            let refused = |reason: String| BuildError::Fleet { reason };
            let written = Arc::new(Written::new(head).map_err(|error| refused(error.to_string()))?);
            let (key, value) = (agent.layout.head().clone(), Value::Head(Arc::clone(&written)));
            let sent = clock.now();
            match agent.perform(&Act::Put { key, value, over: None }) {
                Reply::Done(tag) => {
                    agent.member.following.hear_own(sent, &Applied { written, tag }, clock.now());
                }
                // Somebody else has founded it just now, or this was it: what is there is what counts.
                _ => {
                    let why = agent.unreachable();
                    let saved = agent.found(clock)?.ok_or_else(|| refused(why))?;
                    let live = self.control.lock().live.identity;
                    if saved.live.identity != live {
                        return Err(refused(format!(
                            "another process has just founded it with {} live: start this one again",
                            saved.live.version
                        )));
                    }
                }
            }
        }
        self.make_true(fleet, agent);
        if !is_founder {
            self.tell_joined(agent);
        }
        self.tell_counts(agent);
        self.ask_all(fleet, agent);
        self.tell_state(agent);
        // Its mailbox is there before anybody has one of its predictions.
        self.carry_mail(fleet, agent);
        *fleet.status.lock() = agent.status(clock.now(), 0, fleet.mail.counts());
        Ok(())
    }

    /// Says goodbye, as far as the store can be asked. What did not get there is tried again within so long.
    pub(crate) fn leave_fleet(&self, patience: Duration) {
        let Some(fleet) = &self.fleet else { return };
        let began = self.serving.clock.reading();
        let agent = &mut *fleet.agent.lock();
        self.close_mailbox(fleet, agent, patience / 2);
        let handed = self.hand_over(fleet);
        self.tell_counts(agent);
        self.press(fleet, agent);
        agent.member.leave();
        let spent = Duration::from_nanos(self.serving.clock.reading().nanos_since(began));
        self.say_goodbye(fleet, agent, patience.saturating_sub(spent));
        // After the last row: what it counts is in the bits, and is not counted by an heir.
        if agent.state == FleetState::Following && agent.member.has_left() {
            self.leave_handover(fleet, agent, handed);
        }
    }

    /// Whether what is demanded here waits to be agreed on, by those who follow the store.
    fn waits_for_others(&self, fleet: &Membership, agent: &Agent) -> bool {
        let done = agent.elsewhere.as_ref().map_or(&[][..], |(_, done)| done.as_slice());
        fleet.demands.lock().iter().any(|demand| !done.contains(demand))
    }

    /// Writes the last row, and tries again what the store refused, and what waits to be agreed on: at once where it answers at once, and then now
    /// and then for as long as there is time. A process that ends without it looks like one that was killed.
    fn say_goodbye(&self, fleet: &Membership, agent: &mut Agent, patience: Duration) {
        let clock = &self.serving.clock;
        let (began, mut rested, mut rest) = (clock.reading(), Duration::ZERO, REST);
        for tried in 1.. {
            if tried > 1 && self.waits_for_others(fleet, agent) {
                self.press(fleet, agent);
            }
            self.ask_all(fleet, agent);
            let is_lowered = !agent.member.is_lowering() && !self.waits_for_others(fleet, agent);
            if (agent.member.has_left() && is_lowered) || agent.head().is_none() {
                return;
            }
            // A clock that is turned by hand may stand still meanwhile.
            let spent = Duration::from_nanos(clock.reading().nanos_since(began)).max(rested);
            if tried >= GOODBYES || spent >= REST {
                if spent + rest > patience {
                    return;
                }
                std::thread::park_timeout(rest);
                rested += rest;
                rest = (rest * 2).min(REST_MAX);
            }
            agent.member.try_again(clock.now());
        }
    }
}

/// A thread of a handle that steps its place in the fleet.
pub(crate) fn run_fleet<I, O>(inner: &Arc<Core<I, O>>, stopped: &Receiver<()>, worked: impl Fn(Timestamp))
where
    I: ?Sized + 'static,
    O: Send + 'static,
    Core<I, O>: Send + Sync,
{
    let Some(fleet) = &inner.fleet else { return };
    fleet.is_driven();
    loop {
        let open = |wanted: Wanted| {
            let (core, version) = (Arc::clone(inner), wanted.version);
            let open = move || {
                if let Some(fleet) = &core.fleet {
                    core.have(fleet, &wanted);
                }
            };
            if let Err(error) = inner.threads.begin(OPENER, open) {
                let _ = fleet.opened.0.send((version, Err(error.to_string())));
            }
        };
        if !inner.rests(fleet) {
            inner.step(fleet, open);
        }
        inner.traces.emit();
        worked(inner.serving.clock.now());
        crossbeam_channel::select! {
            recv(stopped) -> _ => return,
            recv(fleet.bell.1) -> _ => {}
            default(fleet.rest(&inner.serving.clock)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::fleet::key::Key;
    use crate::fleet::memory::InMemory;
    use crate::fleet::store::{Over, Page, Read, Store, StoreError, Tag};
    use crate::handle::handle::ModelHandle;
    use crate::handle::options::{Fleet, Threads};
    use crate::model::closure::closure;
    use crate::model::throttle::LoadThrottle;
    use crate::{Clock, Rollout};

    fn member(clock: &Clock) -> ModelHandle<f64, f64> {
        let handle = ModelHandle::builder("x")
            .live("v1", closure("v1@1", |_: &f64| Ok(1.0)))
            .threads(Threads::manual())
            .clock(clock.clone())
            .fleet(Fleet::on(InMemory::new(clock.clone())))
            .build()
            .unwrap();
        clock.advance(Duration::from_secs(31));
        handle.tick();
        handle
    }

    /// A store in memory that takes its time for an answer, and what it was asked.
    struct Slow {
        store: Arc<InMemory>,
        clock: Clock,
        takes: Arc<Mutex<Duration>>,
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl Slow {
        fn asked(&self, what: &str, key: &Key) {
            self.clock.advance(*self.takes.lock());
            self.asked.lock().push(format!("{what} {key}"));
        }
    }

    impl Store for Slow {
        fn get(&self, key: &Key, known: Option<&Tag>) -> Result<Read, StoreError> {
            self.asked("get", key);
            self.store.get(key, known)
        }
        fn put(&self, key: &Key, value: &[u8], over: Over<'_>) -> Result<Tag, StoreError> {
            self.asked("put", key);
            self.store.put(key, value, over)
        }
        fn list(&self, under: &Key, after: Option<&Key>) -> Result<Page, StoreError> {
            self.asked("list", under);
            self.store.list(under, after)
        }
        fn remove(&self, key: &Key, that: &Tag) -> Result<(), StoreError> {
            self.store.remove(key, that)
        }
    }

    /// What a process that judges seven others has asked in each step of two minutes, of which a thread takes one ten times in a second, and who
    /// does it by hand one in a second; and how often it has brought rows together, and put its own.
    fn judged(takes: Duration, by_hand: bool) -> (Vec<Vec<String>>, u64, usize) {
        let clock = clock();
        let store = Arc::new(InMemory::new(clock.clone()));
        let (slow, asked): (Arc<Mutex<Duration>>, Arc<Mutex<Vec<String>>>) = Default::default();
        let build = |fleet: Fleet, seed| {
            ModelHandle::builder("x")
                .live("v1", closure("v1@1", |_: &f64| Ok(1.0)))
                .threads(Threads::manual())
                .clock(clock.clone())
                .fleet(fleet.seed(seed))
                .build()
                .unwrap()
        };
        let own = Slow {
            store: Arc::clone(&store),
            clock: clock.clone(),
            takes: Arc::clone(&slow),
            asked: Arc::clone(&asked),
        };
        let judge: ModelHandle<f64, f64> = build(Fleet::on(own), 1);
        let settle = |members: &[ModelHandle<f64, f64>]| {
            for _ in 0..40 {
                clock.advance(Duration::from_secs(1));
                judge.tick();
                members.iter().for_each(ModelHandle::tick);
            }
        };
        settle(&[]);
        let others: Vec<_> = (2..9).map(|seed| build(Fleet::on(Arc::clone(&store)), seed)).collect();
        settle(&others);
        let (status, fleet) = (|| judge.fleet().unwrap(), judge.inner.fleet.as_ref().unwrap());
        assert!(status().judges);
        let (row, merged) = (format!("put switchback/h/x/rows/{}", status().name), status().merged);
        *slow.lock() = takes;
        asked.lock().clear();
        fleet.by_hand.store(by_hand, Ordering::Relaxed);
        let (mut steps, until) = (Vec::new(), clock.now().plus(Duration::from_secs(120)));
        while clock.now() < until {
            clock.advance(if by_hand { Duration::from_secs(1) } else { REST });
            others.iter().for_each(ModelHandle::tick);
            judge.inner.step(fleet, |_| {});
            steps.push(std::mem::take(&mut *asked.lock()));
        }
        let puts = steps.iter().flatten().filter(|asked| **asked == row).count();
        (steps, status().merged - merged, puts)
    }

    fn rows(asked: &[String]) -> usize {
        asked.iter().filter(|asked| asked.starts_with("get ") && asked.contains("/rows/")).count()
    }

    /// Bug: with a store whose answers take longer than half of the time between two looks at the head, a process told the others nothing any more
    /// and judged nothing. Cause: after that time a step asked nothing more, and the next one began with the head, which was due again. Fix: it is
    /// looked at once in a step then, and the others ask on; only the reading of rows, of which there may be hundreds, goes on in the next step.
    #[test]
    fn a_store_that_is_slow_is_asked_for_all() {
        for (takes, merged_at_least, puts_at_least) in [(100, 30, 20), (600, 4, 15), (1_200, 4, 10)] {
            let (steps, merged, puts) = judged(Duration::from_millis(takes), false);
            assert!(merged >= merged_at_least, "{takes}: {merged}");
            assert!(puts >= puts_at_least, "{takes}: {puts}");
            let most = steps.iter().map(|asked| rows(asked)).max().unwrap();
            assert!((1..=5).contains(&most), "{takes}: {most}");
            assert!(steps.iter().all(|asked| asked.len() < 20), "{takes}: {steps:?}");
        }
    }

    /// Bug: whoever stepped a process by hand once in a second had no cut of a fleet in time, and nothing was raised. Cause: a step was over after
    /// half of the time between two looks, as on a thread that goes on at once. Fix: by hand it has no such end.
    #[test]
    fn a_step_by_hand_reads_all_rows() {
        let (steps, merged, puts) = judged(Duration::from_millis(100), true);
        assert!(merged >= 30 && puts >= 20, "{merged} {puts}");
        assert!(steps.iter().any(|asked| rows(asked) >= 7));
    }

    fn clock() -> Clock {
        Clock::manual(Timestamp::from_unix_seconds(1_800_000_000))
    }

    fn tried(handle: &ModelHandle<f64, f64>) -> Rollout<f64, f64> {
        let rollout = handle.stage("v2", closure("v2@1", |_: &f64| Ok(2.0))).unwrap();
        rollout.canary(1.0).unwrap();
        rollout
    }

    /// Bug: a version that was being staged could be lost. Cause: between the moment at which it was brought and that at which the others
    /// had agreed, whoever follows let go of it as of one that nobody wanted. Fix: it is kept for longer than agreeing takes.
    #[test]
    fn a_version_that_is_being_staged_is_not_let_go_of_before_it_is_agreed_on() {
        let clock = clock();
        let handle = member(&clock);
        let version: Arc<dyn AnyVersion> = Arc::new(
            handle
                .inner
                .load(
                    "v2".parse().unwrap(),
                    || Ok(Box::new(closure("v2@1", |_: &f64| Ok(2.0)))),
                    &LoadThrottle::new(),
                )
                .unwrap(),
        );
        handle.inner.bring_to_fleet(&version);
        let fleet = handle.inner.fleet.as_ref().unwrap();
        let is_kept = || fleet.agent.lock().versions.contains_key(&version.id);
        handle.tick();
        assert!(is_kept());
        clock.advance(BROUGHT);
        handle.tick();
        assert!(!is_kept(), "nobody has staged it");
    }

    /// Tells on which thread a model is freed, and whether somebody has the control lock meanwhile.
    struct Freed {
        core: Arc<Mutex<Option<ModelHandle<f64, f64>>>>,
        told: crossbeam_channel::Sender<(Option<String>, bool)>,
    }

    impl Drop for Freed {
        fn drop(&mut self) {
            let handle = self.core.lock().clone();
            let (had, is_had) = crossbeam_channel::bounded(1);
            std::thread::spawn(move || {
                handle.inspect(|handle| drop(handle.inner.control.lock_urgently()));
                had.send(())
            });
            // Longer than any of it takes: it is waited for only where it is wrong.
            let is_free = is_had.recv_timeout(Duration::from_secs(30)).is_ok();
            let _ = self.told.send((std::thread::current().name().map(str::to_owned), is_free));
        }
    }

    /// Bug: a version that was being staged and was agreed on meanwhile was loaded twice under one name, and a destructor ran under the control
    /// lock, or on a request's thread. Cause: the second took the place of the first among those that are at hand, nobody retired the first, and
    /// whatever left the control side was known by its name. Fix: where both are the same the first stays, the other is retired, and what is
    /// retired is known by what it is.
    #[test]
    fn of_a_version_that_is_loaded_twice_each_is_freed_where_versions_are() {
        let clock = clock();
        let handle = member(&clock);
        let (told, freed) = crossbeam_channel::unbounded();
        let core = Arc::new(Mutex::new(Some(handle.clone())));
        let model = || {
            let own = Freed { core: Arc::clone(&core), told: told.clone() };
            closure("v2@1", move |_: &f64| {
                let _its_own = &own;
                Ok(2.0)
            })
        };
        let rollout = handle.stage("v2", model()).unwrap();
        // As whoever was held up on its way to the others, while they have agreed on it.
        let again = model();
        let id = "v2".parse().unwrap();
        let again = handle.inner.load(id, || Ok(Box::new(again)), &LoadThrottle::new()).unwrap();
        let again: Arc<dyn AnyVersion> = Arc::new(again);
        handle.inner.bring_to_fleet(&again);
        drop(again);
        let settle = || {
            (0..20).for_each(|_| {
                clock.advance(Duration::from_secs(1));
                handle.tick();
            })
        };
        settle();
        rollout.promote().unwrap();
        settle();
        for version in ["v3", "v4", "v5", "v6"] {
            handle.stage(version, closure(version, |_: &f64| Ok(3.0))).unwrap().promote().unwrap();
            settle();
        }
        assert_eq!(freed.try_iter().collect::<Vec<_>>(), vec![(Some("switchback-free".to_owned()), true); 2]);
        core.lock().take();
    }

    /// A destructor that takes its time.
    struct TakesItsTime(Arc<std::sync::atomic::AtomicBool>);

    impl Drop for TakesItsTime {
        fn drop(&mut self) {
            std::thread::park_timeout(Duration::from_millis(300));
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// Bug: models could be freed after the last handle was gone, while the process ends and an engine's library with it. Cause: the thread that opens a
    /// version for the fleet was none of those that are waited for. Fix: it is one of them.
    #[test]
    fn the_end_of_a_handle_waits_for_a_version_that_is_being_opened() {
        let clock = clock();
        let store = Arc::new(InMemory::new(clock.clone()));
        let (begun, opens) = crossbeam_channel::bounded(1);
        let (release, released) = crossbeam_channel::bounded::<()>(0);
        let build = |seed, threads| {
            let freed = Arc::<std::sync::atomic::AtomicBool>::default();
            let own = TakesItsTime(Arc::clone(&freed));
            let live = closure("v1@1", move |_: &f64| {
                let _its_own = &own;
                Ok(1.0)
            });
            let (begun, released) = (begun.clone(), released.clone());
            let open = move |_: &str| {
                let _ = begun.try_send(());
                let _ = released.recv();
                let model: Box<dyn Model<f64, f64>> = Box::new(closure("v2@1", |_: &f64| Ok(2.0)));
                Ok(model)
            };
            let builder = ModelHandle::builder("x").live("v1", live).source(open).threads(threads);
            let fleet = Fleet::on(Arc::clone(&store)).seed(seed);
            (builder.clock(clock.clone()).fleet(fleet).build().unwrap(), freed)
        };
        let threads = Threads::background().tick_every(Duration::from_millis(2)).stripes(1);
        let (handle, freed) = build(1, threads);
        let (other, _) = build(2, Threads::manual());
        let mut staged = None;
        for _ in 0..60_000 {
            clock.advance(Duration::from_millis(200));
            other.tick();
            staged = staged.or_else(|| other.stage("v2", closure("v2@1", |_: &f64| Ok(2.0))).ok());
            if opens.try_recv().is_ok() {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        assert!(staged.is_some() && handle.status().threads.iter().any(|thread| thread.name == OPENER));
        let end = std::thread::spawn(move || drop(handle));
        // So that it is at its end before the version is there. Where it is not by then, this shows less.
        std::thread::park_timeout(Duration::from_millis(100));
        drop(release);
        end.join().unwrap();
        assert!(freed.load(Ordering::SeqCst), "live is freed before the handle is gone");
    }

    /// Bug: an idle member took .31 % of a core. Cause: it did all of a step twenty times a second, of which most found nothing to do.
    /// Fix: it rests until something is due or comes in.
    #[test]
    fn a_member_rests_whenever_a_step_would_ask_nothing_and_not_otherwise() {
        let clock = clock();
        let handle = member(&clock);
        let inner = &handle.inner;
        let fleet = inner.fleet.as_ref().unwrap();
        handle.tick();
        let (mut rested, mut asked) = (0, 0);
        for _ in 0..2_000 {
            clock.advance(Duration::from_millis(10));
            let (rests, before) = (inner.rests(fleet), fleet.agent.lock().requests);
            inner.step_in_fleet();
            let asks = fleet.agent.lock().requests > before;
            assert!(!(rests && asks), "it rests, and something is due");
            rested += u32::from(rests);
            asked += u32::from(asks);
        }
        assert!(rested > 1_700, "it rested {rested} times of 2,000, and asked {asked} times");
        // What comes in is not left waiting.
        let rollout = tried(&handle);
        assert!(!inner.rests(fleet), "a version was brought");
        inner.step_in_fleet();
        let _ = rollout.rollback("bad");
        assert!(!inner.rests(fleet), "a candidate was taken off");
    }

    /// Bug: a candidate that was taken off came back for a moment. Cause: a head was made true that knew nothing of it yet. Fix: what is
    /// lowered is noted under the lock under which it is lowered, and no head is made true without it.
    #[test]
    fn no_head_brings_back_what_was_lowered_here_and_is_not_agreed_on() {
        let clock = clock();
        let handle = member(&clock);
        let rollout = tried(&handle);
        assert_eq!(*handle.predict(&0.0).unwrap().output(), 2.0);
        let fleet = handle.inner.fleet.as_ref().unwrap();
        // As whoever follows has it: nobody can agree on the rollback meanwhile.
        let agent = &mut *fleet.agent.lock();
        let _ = rollout.rollback("bad");
        agent.aligned = None;
        handle.inner.make_true(fleet, agent);
        assert_eq!(*handle.predict(&0.0).unwrap().output(), 1.0);
        assert!(handle.rollout("v2").is_none());
        handle.inner.press(fleet, agent);
        assert!(fleet.demands.lock().is_empty(), "it is agreed on");
    }
}
