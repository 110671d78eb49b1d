//! The life of a request: from the routing table to an answer with its id.

use crate::version::loaded::{Place, Version};
use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;

use super::answer::{Answer, PredictError, Route};
use super::beside::{Answered, AskBeside, Errand, Returned};
use super::serving::Serving;
use super::shadow::{Answered as Shadowed, Lent};
use super::table::{Arm, Exposed, Routed, Routing};
use crate::base::chance::within;
use crate::base::clock::{Reading, Timestamp};
use crate::base::guarded::{Contained, guarded, let_all_go, let_go};
use crate::base::share::{Share, scale};
use crate::base::sync::{Begun, InFlight};
use crate::drift::watch::watch::Answered as Said;
use crate::feedback::id::{Body, Flags, PredictionId, Seal};
use crate::model::error::{ErrorKind, ModelError};
use crate::stats::counting::exposure::{Counted, Exposure, Instead, Request, Unit, lane};
use crate::task::kept::Kept;
use crate::task::outcome::{Censoring, Truth};
use crate::version::ask::{Judge, attempt_into};
use crate::version::input::{KeptInput, NotCopied, copied};

/// How a request falls to an arm.
#[derive(Clone, Copy)]
pub(crate) enum Draw<'a> {
    /// At random.
    Random,
    /// By its key.
    Key(&'a [u8]),
}

/// A request on its way: what was asked, how it was routed.
pub(crate) struct Call<'a, I: ?Sized, O> {
    pub(crate) routing: &'a Guard<Arc<Routing<Version<I, O>>>>,
    pub(crate) arm: &'a Arm<Version<I, O>>,
    pub(crate) input: &'a I,
    /// The hash of its key, where it was routed by one.
    pub(crate) key: Option<u64>,
    pub(crate) unit: Unit,
    /// Random bits: who answers, and which copies are made.
    pub(crate) random: u64,
    /// Makes a share in the input, where the caller gave it away.
    pub(crate) share: Option<&'a dyn Fn() -> Box<dyn KeptInput<I>>>,
    pub(crate) started: Reading,
}

/// Where one row of a batch goes.
struct Row<'a, I: ?Sized, O> {
    routed: Routed<'a, Version<I, O>>,
    /// The hash of its key, where it was routed by one.
    key: Option<u64>,
    random: u64,
}

/// The marks that an id has of a request beside the answer.
#[derive(Clone, Copy)]
struct Marks {
    flags: Flags,
    /// The hash of its segment.
    segment: Option<u32>,
}

/// Rows that go to one version together.
struct Group<'a, I: ?Sized> {
    rows: &'a [&'a I],
    /// Makes a share in the input, where the caller gave it away: of a single row.
    share: Option<&'a dyn Fn() -> Box<dyn KeptInput<I>>>,
    batch: bool,
}

/// Who was asked in the end, when, and what it made of each row.
struct AnsweredRows<'a, I: ?Sized, O> {
    arm: &'a Arm<Version<I, O>>,
    rows: Vec<(Attempted<O>, Kept)>,
    started: Reading,
}

/// The outcome of one request at one arm.
pub(crate) struct Attempted<O> {
    result: Result<O, ModelError>,
    ended: Reading,
}

/// How many calls of all candidates together may be under way, where so many threads ask at one time: a quarter of them is left to
/// live, unless there is only one.
#[inline]
fn room(threads: usize) -> usize {
    threads.saturating_sub((threads / 4).max(1)).max(1)
}

/// The same of one candidate with this share: twice what falls to it on average while all threads wait for a model, and a few more
/// where that is few, so that one that is well is hardly ever kept from answering.
#[inline]
fn bulkhead(share: Share, threads: usize) -> usize {
    const FEW: usize = 4;
    let average = share.fraction() * threads as f64;
    let few = ((3.0 * average).ceil() as usize + 1).min(FEW);
    let usual = ((2.0 * average).ceil() as usize).max(few);
    usual.min(room(threads))
}

/// How many calls of candidates may be under way at one time.
#[derive(Clone, Copy)]
enum CallsMost {
    /// What the host said, which is each candidate's own.
    Said(usize),
    /// What follows from how many threads ask.
    OfThreads(usize),
}

impl CallsMost {
    /// Of one candidate.
    #[inline]
    fn of<V: ?Sized>(self, arm: &Arm<V>) -> usize {
        match self {
            Self::Said(most) => most,
            Self::OfThreads(threads) => bulkhead(arm.exposure.share, threads),
        }
    }

    /// Of all of them together.
    #[inline]
    fn of_all(self) -> Option<usize> {
        match self {
            Self::Said(_) => None,
            Self::OfThreads(threads) => Some(room(threads)),
        }
    }
}

#[cold]
fn wrong_number() -> ModelError {
    ModelError::engine("the model answered another number of requests than it was given")
}

/// Holds what a version answered to several rows against what an answer is.
fn judged<O: 'static>(
    judge: &Judge<'_, O>,
    outputs: Result<Vec<Result<O, ModelError>>, ModelError>,
    rows: usize,
    ended: Reading,
) -> Vec<(Attempted<O>, Kept)> {
    match outputs {
        Ok(outputs) if outputs.len() == rows => outputs
            .into_iter()
            .map(|output| {
                let mut kept = Kept::Unreadable;
                let keep = |output: O| match judge.guarded(|| judge.keep(&output, &mut kept)).flatten() {
                    Ok(()) => Ok(output),
                    Err(error) => {
                        let_go(output);
                        Err(error)
                    }
                };
                (Attempted { result: output.and_then(keep), ended }, kept)
            })
            .collect(),
        outputs => {
            let error = match outputs {
                Ok(outputs) => {
                    let_all_go(outputs);
                    wrong_number()
                }
                Err(error) => error,
            };
            let failed = || Attempted { result: Err(error.clone()), ended };
            (0..rows).map(|_| (failed(), Kept::Unreadable)).collect()
        }
    }
}

impl<I: ?Sized + 'static, O: 'static> Serving<I, O> {
    /// Answers one request.
    #[inline]
    pub(crate) fn predict(
        &self,
        input: &I,
        draw: Draw<'_>,
        share: Option<&dyn Fn() -> Box<dyn KeptInput<I>>>,
    ) -> Result<Answer<O>, PredictError> {
        let started = self.clock.reading();
        let routing = self.routing.load();
        let (routed, key, random) = self.route(&routing, draw, self.clock.at(started), 1);
        let (unit, arm) = (Unit::default(), self.counted_in(&routing, routed.arm, key));
        let beside = self.beside_for(share.is_some());
        if arm.on_trial()
            && let Some(beside) = beside
        {
            let call = Call { routing: &routing, arm, input, key, unit, random, share, started };
            return self.predict_beside(beside, call);
        }
        let (arm, begun) = self.begin(&routing, arm, started, 1, beside);
        let call = Call { routing: &routing, arm, input, key, unit, random, share, started };
        let mut kept = Kept::Unreadable;
        let attempted = self.ask(call.arm, input, &mut kept);
        drop(begun);
        self.settle(&call, attempted, &kept)
    }

    /// Answers a request of a candidate, which a thread of ours asks. Never inlined: live's requests are not to carry it.
    #[inline(never)]
    fn predict_beside<'a>(
        &self,
        beside: &dyn AskBeside<I, O>,
        mut call: Call<'a, I, O>,
    ) -> Result<Answer<O>, PredictError> {
        let (routing, group) = (call.routing, Group { rows: &[call.input], share: call.share, batch: false });
        let mut answered = self.ask_beside(beside, routing, call.arm, &group, call.started);
        (call.arm, call.started) = (answered.arm, answered.started);
        let unanswered = || (self.failed(wrong_number()), Kept::Unreadable);
        let (attempted, kept) = answered.rows.pop().unwrap_or_else(unanswered);
        self.settle(&call, attempted, &kept)
    }

    /// The threads that ask candidates beside their callers, where the input can be kept.
    #[inline]
    fn beside_for(&self, is_shared: bool) -> Option<&dyn AskBeside<I, O>> {
        self.beside.as_deref().filter(|_| is_shared || self.copy.is_some())
    }

    /// Has a thread of ours ask a candidate, and waits for no longer than that may take.
    fn ask_beside<'a>(
        &self,
        beside: &dyn AskBeside<I, O>,
        routing: &'a Routing<Version<I, O>>,
        arm: &'a Arm<Version<I, O>>,
        group: &Group<'_, I>,
        started: Reading,
    ) -> AnsweredRows<'a, I, O> {
        let limit = self.limit.unwrap_or(Duration::MAX);
        let keep = |row: &&I| match (group.share, self.copy) {
            (Some(share), _) => copied(*row, |_| share()),
            (None, Some(copy)) => copied(*row, copy),
            (None, None) => Err(NotCopied),
        };
        // First, so that nothing is copied in vain.
        let most = self.calls_most();
        let place = Place::begin(&arm.version, most.of(arm), lane(), started);
        // It is asked on a thread of ours: threads of callers that are left in other versions are not wanted for it.
        let within = |room| self.has_room(arm, |now| now.on_trial_within(room, &[]));
        let place = place.filter(|_| most.of_all().is_none_or(within));
        let returned: Result<_, NotCopied> = place.map_or(Ok(Returned::Full), |place| {
            let inputs = group.rows.iter().map(keep).collect::<Result<_, _>>()?;
            Ok(beside.ask(Errand { place, inputs, batch: group.batch, limit, started }))
        });
        let Ok(returned) = returned else {
            // There is no copy after all: the host's `Clone` has panicked.
            return self.ask_here(routing, arm, group, started);
        };
        match returned {
            Returned::Answered(Answered { outputs, started, ended }) => {
                let judge = self.judge(true);
                let taken = |output: Result<Contained<O>, ModelError>| match output {
                    Ok(output) => output.into_inner().ok_or_else(wrong_number),
                    Err(error) => Err(error),
                };
                let outputs = outputs.map(|outputs| outputs.into_iter().map(taken).collect());
                let rows = judged(&judge, outputs, group.rows.len(), ended);
                AnsweredRows { arm, rows, started }
            }
            Returned::Late => {
                let late = |_: &&I| (self.failed(ModelError::Deadline { limit }), Kept::Unreadable);
                AnsweredRows { arm, rows: group.rows.iter().map(late).collect(), started }
            }
            Returned::Full => {
                let live = self.crowded_out(routing, group.rows.len());
                self.ask_here(routing, live, group, started)
            }
        }
    }

    /// Asks an arm on this thread.
    fn ask_here<'a>(
        &self,
        routing: &'a Routing<Version<I, O>>,
        arm: &'a Arm<Version<I, O>>,
        group: &Group<'_, I>,
        started: Reading,
    ) -> AnsweredRows<'a, I, O> {
        let beside = self.beside_for(group.share.is_some());
        let (arm, begun) = self.begin(routing, arm, started, group.rows.len(), beside);
        let rows = match group.rows {
            [row] if !group.batch => {
                let mut kept = Kept::Unreadable;
                vec![(self.ask(arm, row, &mut kept), kept)]
            }
            rows => self.ask_batch(arm, rows),
        };
        drop(begun);
        AnsweredRows { arm, rows, started }
    }

    /// An attempt that has failed, now.
    fn failed(&self, error: ModelError) -> Attempted<O> {
        Attempted { result: Err(error), ended: self.clock.reading() }
    }

    /// How many calls of candidates may be under way.
    #[inline]
    fn calls_most(&self) -> CallsMost {
        match self.calls_max {
            Some(most) => CallsMost::Said(most),
            None => CallsMost::OfThreads(self.threads.note(lane()).min(self.places.most())),
        }
    }

    /// Whether a call that has just begun leaves live its part, by the table that is in force by now: who was held up on the way with an
    /// older one knows nothing of candidates that came since, nor that this one was taken off.
    #[inline]
    fn has_room(
        &self,
        arm: &Arm<Version<I, O>>,
        within: impl FnOnce(&Routing<Version<I, O>>) -> bool,
    ) -> bool {
        InFlight::settle();
        let now = self.routing.load();
        now.tries(&arm.version) && (!now.several || within(&now))
    }

    /// Begins a call of an arm. Where a candidate has as many under way as it may, live answers in its place, and the requests are
    /// evidence of nothing, like all that is withheld. Live pays nothing but, while a candidate answers callers, a look at whether there
    /// would have been room for it.
    #[inline]
    fn begin<'a>(
        &self,
        routing: &'a Routing<Version<I, O>>,
        arm: &'a Arm<Version<I, O>>,
        started: Reading,
        requests: usize,
        beside: Option<&dyn AskBeside<I, O>>,
    ) -> (&'a Arm<Version<I, O>>, Option<Begun<'a>>) {
        if !arm.on_trial() {
            return (self.counted_by_one_rule(routing, arm, beside), None);
        }
        let most = self.calls_most();
        let begun = arm.version.begin_call(most.of(arm), lane(), started);
        let within = |room| self.has_room(arm, |now| now.on_trial_within(room, &now.left));
        match begun.filter(|_| most.of_all().is_none_or(within)) {
            Some(begun) => (arm, Some(begun)),
            None => (self.crowded_out(routing, requests), None),
        }
    }

    /// The arm in which a request of live's counts: as one of a candidate's would at this moment. Where that would be crowded out and be
    /// evidence of nothing, live is no control of that candidate; otherwise it would have more units than its share, and those of busier
    /// moments. What all of them would be crowded out of counts for none, and while two of several are busy nothing counts: see
    /// [`Serving::unless_others_are_busy`].
    #[inline]
    fn counted_by_one_rule<'a>(
        &self,
        routing: &'a Routing<Version<I, O>>,
        live: &'a Arm<Version<I, O>>,
        beside: Option<&dyn AskBeside<I, O>>,
    ) -> &'a Arm<Version<I, O>> {
        // What is withheld already is no candidate's control, whoever is busy.
        let Some(withheld) = routing.withheld.as_ref().filter(|withheld| !std::ptr::eq(*withheld, live))
        else {
            return live;
        };
        // The threads that ask candidates are everybody's: with none left no candidate is asked on one.
        if beside.is_some_and(|beside| !beside.has_room()) {
            return withheld;
        }
        let most = self.calls_most();
        if let Some(room) = most.of_all().filter(|_| routing.several) {
            // As one that has begun asks, and would be one more.
            let left: &[_] = if beside.is_some() { &[] } else { &routing.left };
            if !routing.on_trial_within(room.saturating_sub(1), left) {
                return withheld;
            }
        }
        let is_control =
            |place: u8| routing.arms.get(usize::from(place)).is_some_and(|arm| std::ptr::eq(arm, live));
        // Of keys a part of live is the control of one candidate, and of no other.
        let whose = routing.exposed.iter().position(|one| one.control.is_some_and(is_control));
        let asked = match whose {
            Some(place) => routing.exposed.get(place..=place),
            None => routing.exposed.get(..),
        };
        let mut full = None;
        for one in asked.unwrap_or_default() {
            let Some(candidate) = routing.arms.get(usize::from(one.arm)) else { continue };
            if Self::is_asked(candidate, most) {
                continue;
            }
            match &one.without {
                Some(without) if full.is_none() && whose.is_none() => full = Some(without),
                _ => return withheld,
            }
        }
        full.unwrap_or(live)
    }

    /// The arm in which a request that belongs to an arm counts. Asked of what is answered once: a stream that stays with a version for as
    /// long as it lasts is crowded out by nobody, and live's streams are control whoever is busy.
    #[inline]
    fn counted_in<'a>(
        &self,
        routing: &'a Routing<Version<I, O>>,
        arm: &'a Arm<Version<I, O>>,
        key: Option<u64>,
    ) -> &'a Arm<Version<I, O>> {
        if arm.on_trial() && key.is_none() && routing.exposed.len() > 2 {
            self.unless_others_are_busy(routing, arm)
        } else {
            arm
        }
    }

    /// The arm in which a candidate's request without a key counts: in none that is compared while two others have as many calls under
    /// way as they may. Live has a place to count without each one of them, and none without each set of them, which would be thirty with
    /// five: it counts for none then, and so the candidate must not.
    #[cold]
    fn unless_others_are_busy<'a>(
        &self,
        routing: &'a Routing<Version<I, O>>,
        arm: &'a Arm<Version<I, O>>,
    ) -> &'a Arm<Version<I, O>> {
        let most = self.calls_most();
        let is_busy = |one: &&Exposed<Version<I, O>>| {
            let candidate = routing.arms.get(usize::from(one.arm));
            candidate.is_some_and(|arm| !Self::is_asked(arm, most))
        };
        let others = routing.exposed.iter().filter(|one| one.arm != arm.stands_for);
        let alone = || routing.exposed.iter().find(|one| one.arm == arm.stands_for)?.alone.as_ref();
        if others.filter(is_busy).take(2).count() == 2 { alone().unwrap_or(arm) } else { arm }
    }

    /// Whether a request of a candidate's would be answered by it at this moment: it has a call to spare, and has not failed outright.
    #[inline]
    fn is_asked(candidate: &Arm<Version<I, O>>, most: CallsMost) -> bool {
        candidate.version.has_free_call(most.of(candidate)) && !candidate.exposure.is_tripped()
    }

    #[cold]
    fn crowded_out<'a>(
        &self,
        routing: &'a Routing<Version<I, O>>,
        requests: usize,
    ) -> &'a Arm<Version<I, O>> {
        // Counted where all that is withheld is: with the arm that answers.
        let live = routing.withheld.as_ref().unwrap_or(routing.live());
        live.exposure.note(lane(), |tally| tally.record_withheld(requests as u64));
        live
    }

    /// Answers several requests, each routed by a key of its own; those that count together go to their version's model together, so that a
    /// candidate's control is as large a call as its own.
    ///
    /// Rows that go together are slow together and fail together, so they are one unit, and which version has how many of
    /// them follows from the keys. So one row of the call, drawn before anything is known of it, counts for all.
    pub(crate) fn predict_batch<B: Borrow<I>, K: AsRef<[u8]>>(
        &self,
        inputs: &[B],
        key: &impl Fn(&I) -> K,
    ) -> Vec<Result<Answer<O>, PredictError>> {
        let routing = self.routing.load();
        let at = self.clock.now();
        let route = |input: &B| {
            let key = key(input.borrow());
            let (routed, key, random) = self.route(&routing, Draw::Key(key.as_ref()), at, 1);
            Row { routed, key, random }
        };
        let routes: Vec<Row<'_, I, O>> = inputs.iter().map(route).collect();
        self.answer_batch(&routing, inputs, &routes, false)
    }

    /// Answers several requests as one unit: one draw, one version.
    pub(crate) fn predict_joint<B: Borrow<I>>(
        &self,
        inputs: &[B],
        draw: Draw<'_>,
    ) -> Vec<Result<Answer<O>, PredictError>> {
        let routing = self.routing.load();
        let (mut routed, key, random) = self.route(&routing, draw, self.clock.now(), inputs.len());
        routed.arm = self.counted_in(&routing, routed.arm, key);
        let routes: Vec<Row<'_, I, O>> = inputs.iter().map(|_| Row { routed, key, random }).collect();
        self.answer_batch(&routing, inputs, &routes, true)
    }

    fn answer_batch<B: Borrow<I>>(
        &self,
        routing: &Guard<Arc<Routing<Version<I, O>>>>,
        inputs: &[B],
        routes: &[Row<'_, I, O>],
        joint: bool,
    ) -> Vec<Result<Answer<O>, PredictError>> {
        let mut answers: Vec<Option<Result<Answer<O>, PredictError>>> = Vec::new();
        answers.resize_with(inputs.len(), || None);
        // The row by which the call counts: any with the same chance, so that on average it is like all of them. The first
        // would not do: a version may fail on all but the first.
        let representative = within(self.dice.roll(lane()) as usize, inputs.len());
        let mut done: Vec<*const Exposure> = Vec::new();
        for Row { routed, .. } in routes {
            // Where requests are counted tells arms apart: what is withheld from a candidate is counted apart from live, and so is its
            // control. Asked with all that live answers, it would have the time of more rows than the candidate has.
            let counted = Arc::as_ptr(&routed.arm.exposure);
            if done.contains(&counted) {
                continue;
            }
            done.push(counted);
            let places: Vec<usize> = (0..inputs.len())
                .filter(|place| {
                    let of = |row: &Row<'_, I, O>| Arc::as_ptr(&row.routed.arm.exposure) == counted;
                    routes.get(*place).is_some_and(of)
                })
                .collect();
            let rows: Vec<&I> =
                places.iter().filter_map(|place| inputs.get(*place)).map(Borrow::borrow).collect();
            // Each version has its own time: that of one asked before is none of its doing.
            let started = self.clock.reading();
            let group = Group { rows: &rows, share: None, batch: true };
            let answered = match self.beside_for(false) {
                Some(beside) if routed.arm.on_trial() => {
                    self.ask_beside(beside, routing, routed.arm, &group, started)
                }
                _ => self.ask_here(routing, routed.arm, &group, started),
            };
            let AnsweredRows { arm, rows: results, started } = answered;
            let mut substituted = self.substituted(routing, arm, &rows, &results);
            let (mut number, mut counted, batched) = (None, false, rows.len() > 1);
            for ((place, row), (attempted, kept)) in places.into_iter().zip(rows).zip(results) {
                let (key, random) = routes.get(place).map_or((None, 0), |row| (row.key, row.random));
                let stands = place == representative;
                let unit = Unit { joint, joined: counted, stands, batched, number };
                counted = true;
                let call = Call { routing, arm, input: row, key, unit, random, share: None, started };
                let instead = |_: &_| substituted.next().unwrap_or_else(|| self.failed(wrong_number()));
                let answer = self.settle_or(&call, attempted, &kept, instead);
                if joint {
                    // A row that got no answer has been counted all the same.
                    number = number.or_else(|| answer.as_ref().ok()?.id.body.row);
                }
                if let Some(slot) = answers.get_mut(place) {
                    *slot = Some(answer);
                }
            }
        }
        let unanswered = || {
            let cause = ModelError::engine("the model answered fewer requests than it was given");
            Err(PredictError::Failed { version: routing.live().version.id, cause })
        };
        answers.into_iter().map(|answer| answer.unwrap_or_else(unanswered)).collect()
    }

    fn ask_batch(&self, arm: &Arm<Version<I, O>>, rows: &[&I]) -> Vec<(Attempted<O>, Kept)> {
        let judge = self.judge(arm.on_trial());
        let outputs = judge.guarded(|| arm.version.model.predict_batch(rows));
        judged(&judge, outputs, rows.len(), self.clock.reading())
    }

    /// What the one that answers in an arm's place makes of the rows that it has failed on: asked once, for all of them.
    fn substituted(
        &self,
        routing: &Routing<Version<I, O>>,
        arm: &Arm<Version<I, O>>,
        rows: &[&I],
        results: &[(Attempted<O>, Kept)],
    ) -> impl Iterator<Item = Attempted<O>> + use<I, O> {
        // Allocates nothing where none has failed.
        let failed = rows.iter().zip(results).filter(|(_, (attempted, _))| attempted.result.is_err());
        let failed: Vec<&I> = failed.map(|(row, _)| *row).collect();
        let mut asked = Vec::new();
        if let Some(substitute) = Self::substitute(routing, arm).filter(|_| !failed.is_empty()) {
            asked = self.ask_batch(substitute, &failed);
            let failures = || asked.iter().map(|(attempted, _)| attempted.result.as_ref().err());
            let all = failures().all(|error| error.is_some());
            if all && asked.len() > 1 && failures().flatten().any(|error| error.kind() != ErrorKind::Input) {
                // One row may be what no version takes: it is not to cost the others their answer. What is refused is refused row by row.
                let one = |row: &&I| (self.ask(substitute, row, &mut Kept::Unreadable), Kept::Unreadable);
                asked = failed.iter().map(one).collect();
            }
        }
        asked.into_iter().map(|(attempted, _)| attempted)
    }

    /// Asks an arm. What is kept of its answer is written to `kept`; what is there after a failure says nothing.
    #[inline]
    pub(crate) fn ask(&self, arm: &Arm<Version<I, O>>, input: &I, kept: &mut Kept) -> Attempted<O> {
        let result = attempt_into(&arm.version, input, &self.judge(arm.on_trial()), kept);
        Attempted { result, ended: self.clock.reading() }
    }

    /// Counts what the assigned arm made of a request, has another answer where it failed, and offers a copy to those
    /// that shadow it.
    #[inline]
    pub(crate) fn settle(
        &self,
        call: &Call<'_, I, O>,
        attempted: Attempted<O>,
        kept: &Kept,
    ) -> Result<Answer<O>, PredictError> {
        let instead = |substitute: &_| self.ask(substitute, call.input, &mut Kept::Unreadable);
        self.settle_or(call, attempted, kept, instead)
    }

    /// The same, where it is said how another is asked.
    #[inline]
    fn settle_or(
        &self,
        call: &Call<'_, I, O>,
        attempted: Attempted<O>,
        kept: &Kept,
        instead: impl FnOnce(&Arm<Version<I, O>>) -> Attempted<O>,
    ) -> Result<Answer<O>, PredictError> {
        if let Some(recent) = &self.recent {
            recent.offer(call.input);
        }
        let Attempted { result, ended } = attempted;
        let output = match result {
            Ok(output) => output,
            Err(error) => return self.fall_back(call, error, ended, instead),
        };
        let latency_nanos = ended.nanos_since(call.started);
        let (counted, at, mut marks) =
            self.count(call, self.unless_late(call, kept, latency_nanos), Some(kept), ended, Instead::Fine);
        self.note_answer(call, counted, at, kept, marks);
        if !call.routing.shadowing.is_empty() {
            let body = self.body(call, counted, at, kept, marks);
            marks.flags = self.shadow(call, Some(&output), false, counted, ended, body);
        }
        // Made where it stays: an answer of some 200 bytes that was written piece by piece and then moved whole costs a
        // tenth of a request each time.
        let route = if call.arm.on_trial() { Route::Canary } else { Route::Live };
        Ok(Answer {
            output,
            id: self.id(self.body(call, counted, at, kept, marks)),
            version: call.arm.version.id,
            route,
            latency_nanos,
        })
    }

    /// Counts what a pinned version made of a call. Nobody else answers in its place.
    pub(crate) fn settle_alone(
        &self,
        call: &Call<'_, I, O>,
        attempted: Attempted<O>,
        kept: &Kept,
    ) -> Result<Answer<O>, PredictError> {
        let Attempted { result, ended } = attempted;
        let (version, latency_nanos) = (call.arm.version.id, ended.nanos_since(call.started));
        match result {
            Ok(output) => {
                let result = self.unless_late(call, kept, latency_nanos);
                let (counted, at, marks) = self.count_aside(call, result, Some(kept), ended, Instead::Fine);
                self.note_answer(call, counted, at, kept, marks);
                let id = self.id(self.body(call, counted, at, kept, marks));
                let route = if call.arm.on_trial() { Route::Canary } else { Route::Live };
                Ok(Answer { output, id, version, route, latency_nanos })
            }
            Err(error) => {
                self.count_aside(call, Err(error.kind()), None, ended, Instead::Fine);
                Err(PredictError::of(version, error))
            }
        }
    }

    /// An answer that a candidate gave after its deadline has missed it, although it is an answer.
    #[inline]
    fn unless_late<'k>(
        &self,
        call: &Call<'_, I, O>,
        kept: &'k Kept,
        latency_nanos: u64,
    ) -> Result<&'k Kept, ErrorKind> {
        let late = |limit: Duration| u128::from(latency_nanos) > limit.as_nanos();
        if call.arm.on_trial() && self.limit.is_some_and(late) { Err(ErrorKind::Deadline) } else { Ok(kept) }
    }

    /// Who answers what an arm has failed on, where anybody does.
    fn substitute<'a>(
        routing: &'a Routing<Version<I, O>>,
        arm: &Arm<Version<I, O>>,
    ) -> Option<&'a Arm<Version<I, O>>> {
        if arm.on_trial() { Some(routing.live()) } else { routing.previous.as_ref() }
    }

    /// The assigned arm has failed: live answers in a candidate's place, and the version before in that of a live that
    /// is still watched. The failure stays the assigned arm's, whatever the caller was answered.
    #[cold]
    fn fall_back(
        &self,
        call: &Call<'_, I, O>,
        error: ModelError,
        ended: Reading,
        instead: impl FnOnce(&Arm<Version<I, O>>) -> Attempted<O>,
    ) -> Result<Answer<O>, PredictError> {
        let routing = call.routing;
        let Some(substitute) = Self::substitute(routing, call.arm) else {
            self.count_unanswered(call, error.kind(), Instead::Fine, ended);
            return Err(PredictError::of(call.arm.version.id, error));
        };
        let Attempted { result, ended: substituted } = instead(substitute);
        match result {
            Ok(output) => {
                // Somebody else could answer, so the input was good after all.
                let failure = error.kind().not_the_callers();
                let (counted, at, marks) =
                    self.count_aside(call, Err(failure), Some(&Kept::Unreadable), ended, Instead::Fine);
                let marks = Marks { flags: Flags::FELL_BACK, ..marks };
                call.arm.exposure.note(lane(), |tally| tally.record_fallback());
                substitute.exposure.note(lane(), |tally| tally.record_substitute(true));
                let mut body = self.body(call, counted, at, &Kept::Unreadable, marks);
                if !routing.shadowing.is_empty() {
                    // Pairs without those on which the arm failed would flatter it.
                    body.flags = self.shadow(call, None, false, counted, ended, body);
                }
                let id = self.id(body);
                let (version, latency_nanos) = (substitute.version.id, substituted.nanos_since(call.started));
                Ok(Answer { output, id, version, route: Route::Fallback, latency_nanos })
            }
            Err(second) => {
                let instead = match (error.kind(), second.kind()) {
                    // Whatever live says of the input: a pipeline that does not fit its own model is the version's own fault.
                    (ErrorKind::Pipeline, _) => Instead::Fine,
                    (_, ErrorKind::Input) => Instead::Refused,
                    _ => Instead::Failed,
                };
                self.count_unanswered(call, error.kind(), instead, ended);
                // What it refuses is no failure of its own, as of all that it refuses.
                if second.kind() != ErrorKind::Input {
                    substitute.exposure.note(lane(), |tally| tally.record_substitute(false));
                }
                // The caller is told what live makes of the request. The version before one that is watched is not live.
                let (of_live, told) =
                    if call.arm.on_trial() { (substitute, second) } else { (call.arm, error) };
                Err(PredictError::of(of_live.version.id, told))
            }
        }
    }

    /// Counts a request that got no answer, and offers a copy of it: a pair exists whether or not it was answered, or the
    /// version that answers callers would never be seen to fail beside one that runs on copies.
    fn count_unanswered(&self, call: &Call<'_, I, O>, kind: ErrorKind, instead: Instead, ended: Reading) {
        let (counted, at, marks) = self.count_aside(call, Err(kind), None, ended, instead);
        if !call.routing.shadowing.is_empty() {
            let body = self.body(call, counted, at, &Kept::Unreadable, marks);
            self.shadow(call, None, kind == ErrorKind::Input, counted, ended, body);
        }
    }

    /// Counts a request that is not an ordinary one: one copy of all that is enough for all of these.
    #[inline(never)]
    fn count_aside(
        &self,
        call: &Call<'_, I, O>,
        result: Result<&Kept, ErrorKind>,
        kept: Option<&Kept>,
        ended: Reading,
        instead: Instead,
    ) -> (Counted, Timestamp, Marks) {
        self.count(call, result, kept, ended, instead)
    }

    /// Counts a request. Always inlined: a call would hand over a dozen values through memory, there and back.
    #[inline(always)]
    fn count(
        &self,
        call: &Call<'_, I, O>,
        result: Result<&Kept, ErrorKind>,
        kept: Option<&Kept>,
        ended: Reading,
        instead: Instead,
    ) -> (Counted, Timestamp, Marks) {
        let at = self.clock.at(ended);
        let hides = match (self.joins.truth(), kept) {
            // A function of the host's that panics hides nothing, and so does what was no answer.
            (Truth::Censored(hides), Some(kept)) if !matches!(kept, Kept::Unreadable) => {
                guarded(|| hides(Censoring::of(kept))).unwrap_or(false)
            }
            _ => false,
        };
        let hidden = hides && result.is_ok();
        // Rolled for what would be hidden alone.
        let explored =
            hidden && self.explore.is_some_and(|share| scale(self.dice.roll(lane())) < share.buckets());
        let censored = hidden && !explored;
        let segment = self.segments.as_ref().map(|segments| segments.of(call.input));
        let request = Request {
            result,
            latency_nanos: ended.nanos_since(call.started),
            at,
            shadow: false,
            unit: call.unit,
            instead,
            key: call.key,
            asked_by: call.key,
            kept,
            censored,
            hidden: hides,
            thinning: self.joins.row_thinning(),
            segment,
        };
        let flags = Flags::default().with(Flags::EXPLORED, explored).with(Flags::HIDDEN, hides);
        let counted = call.arm.exposure.record(lane(), &request);
        if let Some(drift) = &self.drift
            && !matches!(result, Err(ErrorKind::Input))
        {
            let (exposure, version) = (call.arm.exposure.number, call.arm.version.id);
            // Beside a canary versions are compared by what each user was answered, and what one user asks is alike, as are the rows of a batch
            // and the calls of a stream.
            let unit =
                call.unit.stands && (call.key.is_none() || counted.counts || call.routing.owner.is_none());
            drift.see(call.input, &Said { exposure, version, kept: result.ok(), unit }, counted.hash);
        }
        (counted, at, Marks { flags, segment: segment.map(|segment| segment.hash) })
    }

    /// Remembers that a candidate has answered, where that is wanted.
    #[inline]
    fn note_answer(&self, call: &Call<'_, I, O>, counted: Counted, at: Timestamp, kept: &Kept, marks: Marks) {
        if call.arm.exposure.remembers_answers()
            && let Some(answers) = &self.answers
        {
            answers.note(self.id(self.body(call, counted, at, kept, marks)));
        }
    }

    #[inline]
    fn id(&self, body: Body) -> PredictionId {
        PredictionId { body, seal: Seal::Made(self.joins.key()) }
    }

    /// Returns what the id of a request says.
    #[inline]
    fn body(
        &self,
        call: &Call<'_, I, O>,
        counted: Counted,
        at: Timestamp,
        kept: &Kept,
        Marks { flags, segment }: Marks,
    ) -> Body {
        let Counted { sequence, row, counts, .. } = counted;
        let exposure = &call.arm.exposure;
        Body {
            process: self.joins.process(),
            exposure: exposure.number,
            sequence,
            unit: call.unit.number.or(row).unwrap_or_default(),
            row,
            at,
            share: exposure.share,
            flags: flags
                .with(Flags::KEYED, call.key.is_some())
                .with(Flags::COUNTS, counts)
                .with(Flags::JOINT, call.unit.joint),
            kept: *kept,
            segment,
        }
    }

    /// Offers a copy of the request to those that shadow the arm it was assigned to, whose own output there is none of
    /// where it failed, or refused the input. Returns the flags of its id, given the rest of it.
    #[inline(never)]
    fn shadow(
        &self,
        call: &Call<'_, I, O>,
        output: Option<&O>,
        refused: bool,
        counted: Counted,
        ended: Reading,
        mut body: Body,
    ) -> Flags {
        let offered = body.flags;
        let Some(queue) = &self.shadow else { return offered };
        let targets = queue.targets(&call.routing.shadowing, call.arm.stands_for, call.random as u32);
        if targets == 0 {
            return offered;
        }
        let keeps = counted.row.is_some() && self.joins.keeps_pair(counted.hash);
        body.flags = body.flags.with(Flags::SHADOWED, keeps);
        let latency_nanos = ended.nanos_since(call.started);
        let (Unit { joined, stands, batched, .. }, key) = (call.unit, call.key);
        let answered = Shadowed { body, latency_nanos, refused, joins_unit: joined, stands, batched, key };
        let lent = Lent { input: call.input, share: call.share, output };
        let taken = queue.offer(&lent, &self.shadow_judge(), call.routing, targets, answered, ended);
        if taken { body.flags } else { offered }
    }

    /// Who answers so many requests, the hash of the key where there is one, and the random bits that decided it where any were needed.
    #[inline]
    pub(crate) fn route<'a>(
        &self,
        routing: &'a Routing<Version<I, O>>,
        draw: Draw<'_>,
        at: Timestamp,
        requests: usize,
    ) -> (Routed<'a, Version<I, O>>, Option<u64>, u64) {
        let split = routing.owner.is_some();
        // An empty key is no key: all who have none would be one user.
        let draw = if matches!(draw, Draw::Key([])) { Draw::Random } else { draw };
        let at_random = matches!(draw, Draw::Random);
        let random =
            if (split && at_random) || !routing.shadowing.is_empty() { self.dice.roll(lane()) } else { 0 };
        let (bucket, key) = match draw {
            Draw::Random => (if split { scale(random) } else { 0 }, None),
            // A key that decides nothing and counts nowhere is not hashed. Beside a version that live may be taken back to it tells users
            // apart: failures of one are one.
            Draw::Key(_) if !split && routing.shadowing.is_empty() && routing.previous.is_none() => {
                (0, Some(0))
            }
            Draw::Key(key) => {
                let hash = routing.hash_of(key);
                (if split { scale(hash) } else { 0 }, Some(hash))
            }
        };
        let routed = routing.route(bucket, !at_random, at);
        if routed.withheld {
            routed.arm.exposure.note(lane(), |tally| tally.record_withheld(requests as u64));
        }
        (routed, key, random)
    }
}
