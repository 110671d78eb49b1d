//! The phases of a rollout, as a pure function of its state and what comes in.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::guard::verdict::Verdict;
use super::phase::Phase;
use super::plan::{Exposure, OnInconclusive, Plan, Step};
use crate::base::causes::debug_as_told;
use crate::base::clock::Timestamp;
use crate::base::share::Share;

/// The state of a rollout that transitions depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    /// The share of requests that the candidate answers.
    pub(crate) weight: Share,
    /// The share of live's requests that are copied to it.
    pub(crate) sample: Share,
    pub(crate) paused: bool,
    /// The plan's step, for a rollout that follows one and has begun to.
    pub(crate) step: Option<usize>,
    /// When this step, or the watch after promotion, began.
    pub(crate) entered: Timestamp,
    /// When its first request came, if one has.
    pub(crate) first_request: Option<Timestamp>,
    /// How long it is watched once it is live.
    pub(crate) watch: Duration,
    /// The time since this step, or the watch, began in which nobody could see how it does: no process ran, or nobody ticked.
    #[serde(default)]
    pub(crate) idle: Duration,
    /// How often what a step may take was begun to be counted anew: since it was let go on.
    #[serde(default)]
    pub(crate) anew: u32,
    /// How long this step had lasted when its evidence was last begun anew: a promotion does not rest on what came before.
    #[serde(default)]
    pub(crate) forgotten: Duration,
}

impl State {
    /// How long this step, or the watch, has lasted.
    fn lasted(&self, now: Timestamp) -> Duration {
        now.since(self.entered).saturating_sub(self.idle)
    }

    /// What a step may take does not include the time and the traffic in which it could not be left.
    pub(crate) fn wait_anew(&mut self) {
        self.first_request = None;
        self.anew = self.anew.wrapping_add(1);
    }

    /// Restarts the time of the watch: until now it lacked a guard.
    pub(crate) fn last_anew(&mut self, now: Timestamp) {
        self.leave_out(self.lasted(now));
    }

    /// The evidence of this step begins anew.
    pub(crate) fn forget(&mut self, now: Timestamp) {
        self.forgotten = self.lasted(now);
    }

    /// Leaves out a time in which nobody could see how it does.
    pub(crate) fn leave_out(&mut self, time: Duration) {
        self.idle = self.idle.saturating_add(time);
        self.first_request = self.first_request.map(|at| at.plus(time));
    }
}

/// An input of the state machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Input {
    /// By hand: copies of this share.
    Shadow(Share),
    /// By hand: this share of the requests.
    Canary(Share),
    /// By hand, or the plan's last step.
    Promote,
    /// The judgement of the guards on the step, and what has happened in it.
    Judged(Judgement),
}

/// The guards' verdicts together, and the progress of the step they judge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    /// Requests of the candidate since the step began.
    pub(crate) predictions: u64,
    /// Outcomes of the candidate's requests since the step began.
    pub(crate) labels: u64,
}

impl Judgement {
    /// Whether as much has happened in a step as it asks for, apart from time.
    fn is_enough_for(&self, step: &Step) -> bool {
        self.predictions >= step.min_predictions && self.labels >= step.min_labels
    }
}

/// The move that is to be done. The caller stores the new state and the table, then tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Move {
    /// Nothing.
    Stay,
    /// The candidate's exposure changes.
    Expose { phase: Phase, weight: Share, sample: Share, step: Option<usize> },
    /// The candidate becomes live.
    Promote,
    /// The candidate is taken off, or live goes back to the version before.
    Lower,
    /// The same, because nothing was shown in the time allowed.
    GiveUp,
    /// The plan waits for a person.
    Pause,
    /// The watch over the new live is over.
    Finish,
}

impl Move {
    /// Whether a plan that is judged raises exposure by it.
    pub(crate) fn raises(&self) -> bool {
        matches!(self, Self::Expose { .. } | Self::Promote)
    }
}

/// Why a rollout cannot do what was asked of it. Nothing has changed.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TransitionError {
    /// The attempt is over, or its candidate is live already.
    #[error("the rollout is {phase}: stage the version again to try it again")]
    Over {
        /// Where it stands.
        phase: Phase,
    },
    /// A rollout that follows a plan is not moved by hand.
    #[error("the rollout follows a plan: pause it first to move it by hand")]
    FollowsPlan,
}

debug_as_told!(TransitionError);

/// Returns what follows from `input` in `state`. Pure: the same arguments give the same answer, anywhere.
pub(crate) fn transition(
    state: &State,
    plan: Option<&Plan>,
    frozen: bool,
    now: Timestamp,
    input: Input,
) -> Result<Move, TransitionError> {
    let phase = state.phase;
    let by_hand = |change: Move| {
        if phase.is_over() || phase == Phase::Baking {
            Err(TransitionError::Over { phase })
        } else if plan.is_some() && !state.paused {
            Err(TransitionError::FollowsPlan)
        } else {
            Ok(change)
        }
    };
    match input {
        Input::Shadow(sample) => {
            by_hand(Move::Expose { phase: Phase::Shadow, weight: Share::NONE, sample, step: state.step })
        }
        Input::Canary(weight) => {
            by_hand(Move::Expose { phase: Phase::Canary, weight, sample: state.sample, step: state.step })
        }
        Input::Promote => by_hand(Move::Promote),
        Input::Judged(judgement) => Ok(judged(state, plan, frozen, now, judgement)),
    }
}

fn judged(state: &State, plan: Option<&Plan>, frozen: bool, now: Timestamp, judgement: Judgement) -> Move {
    match (state.phase, judgement.verdict) {
        (Phase::Shadow | Phase::Canary | Phase::Baking, Verdict::Fail) => Move::Lower,
        (Phase::Baking, _) => {
            if state.lasted(now) >= state.watch {
                Move::Finish
            } else {
                Move::Stay
            }
        }
        (Phase::Staged | Phase::Shadow | Phase::Canary, verdict) => match (plan, state.step) {
            _ if state.paused || frozen => Move::Stay,
            (Some(plan), Some(step)) => advance(state, plan, step, now, verdict, judgement),
            // The plan was given while nothing might be raised.
            (Some(plan), None) => {
                plan.steps().first().map_or(Move::Stay, |first| expose(first.exposure(), 0, state.sample))
            }
            (None, _) => Move::Stay,
        },
        _ => Move::Stay,
    }
}

fn advance(
    state: &State,
    plan: &Plan,
    step: usize,
    now: Timestamp,
    verdict: Verdict,
    judgement: Judgement,
) -> Move {
    let Some(current) = plan.steps().get(step) else { return Move::Stay };
    if verdict == Verdict::Pass && judgement.is_enough_for(current) {
        return match plan.steps().get(step + 1) {
            // All is shown: it waits for time alone, which is no doubt, however little of it a doubt may take.
            _ if state.lasted(now) < plan.lasts(step, state.forgotten) => Move::Stay,
            Some(next) => expose(next.exposure(), step + 1, state.sample),
            None => Move::Promote,
        };
    }
    // No traffic is no evidence: the time a step may take counts from its first request on.
    let waited = state.first_request.map(|first| now.since(first));
    let too_long = current.max_duration.zip(waited).is_some_and(|(allowed, waited)| waited > allowed);
    // What is spent since the rollout was resumed counts, as its time does.
    let too_much =
        current.max_predictions.is_some_and(|allowed| waited.is_some() && judgement.predictions >= allowed);
    match plan.policy() {
        _ if !(too_long || too_much) => Move::Stay,
        OnInconclusive::Pause => Move::Pause,
        OnInconclusive::RollBack => Move::GiveUp,
        OnInconclusive::Continue => Move::Stay,
    }
}

/// Until when a plan waits for nothing but its [cycle](Plan::cycle): every guard passes and its last step has all that it
/// asks for itself. Pure, as [`transition`] is.
pub(crate) fn waits_for_cycle(
    state: &State,
    plan: &Plan,
    frozen: bool,
    now: Timestamp,
    judgement: Judgement,
) -> Option<Timestamp> {
    let step = state.step.filter(|_| matches!(state.phase, Phase::Shadow | Phase::Canary))?;
    let current = plan.steps().get(step)?;
    let until = state.entered.plus(plan.lasts(step, state.forgotten).saturating_add(state.idle));
    let waits = judgement.verdict == Verdict::Pass
        && judgement.is_enough_for(current)
        && state.lasted(now) >= current.min_duration
        && now < until;
    (waits && !state.paused && !frozen).then_some(until)
}

/// The move to a plan's step. A canary keeps the shadow's sample: pairs go on in both directions.
pub(crate) fn expose(exposed: Exposure, step: usize, sample_before: Share) -> Move {
    match exposed {
        Exposure::Shadow { sample } => {
            Move::Expose { phase: Phase::Shadow, weight: Share::NONE, sample, step: Some(step) }
        }
        Exposure::Canary { weight } => {
            Move::Expose { phase: Phase::Canary, weight, sample: sample_before, step: Some(step) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan() -> Plan {
        let steps = [
            Step::shadow(0.1).unwrap().min_labels(50),
            Step::canary(0.05)
                .unwrap()
                .min_duration(Duration::from_secs(60))
                .max_duration(Duration::from_secs(600)),
        ];
        Plan::new(steps).unwrap().cycle(Duration::ZERO)
    }

    fn at(phase: Phase, step: usize) -> State {
        let (entered, sample) = (Timestamp::from_unix_seconds(1_000), Share::new(0.1).unwrap());
        let weight = if phase == Phase::Canary { Share::new(0.05).unwrap() } else { Share::NONE };
        State {
            phase,
            weight,
            sample,
            paused: false,
            step: Some(step),
            entered,
            first_request: None,
            watch: Duration::ZERO,
            idle: Duration::ZERO,
            anew: 0,
            forgotten: Duration::ZERO,
        }
    }

    fn judged_at(state: &State, seconds: u64, verdict: Verdict, predictions: u64, labels: u64) -> Move {
        let input = Input::Judged(Judgement { verdict, predictions, labels });
        transition(state, Some(&plan()), false, Timestamp::from_unix_seconds(1_000 + seconds), input).unwrap()
    }

    #[test]
    fn a_step_is_left_when_every_guard_passes_and_enough_has_happened() {
        let shadow = at(Phase::Shadow, 0);
        assert_eq!(judged_at(&shadow, 0, Verdict::Pass, 100, 49), Move::Stay);
        assert_eq!(judged_at(&shadow, 0, Verdict::Inconclusive, 100, 50), Move::Stay);
        let canary = Share::new(0.05).unwrap();
        assert_eq!(
            judged_at(&shadow, 0, Verdict::Pass, 100, 50),
            Move::Expose { phase: Phase::Canary, weight: canary, sample: shadow.sample, step: Some(1) }
        );
        assert_eq!(judged_at(&at(Phase::Canary, 1), 59, Verdict::Pass, 100, 0), Move::Stay);
        assert_eq!(judged_at(&at(Phase::Canary, 1), 60, Verdict::Pass, 100, 0), Move::Promote);
    }

    #[test]
    fn no_traffic_neither_fails_nor_advances() {
        let canary = at(Phase::Canary, 1);
        assert_eq!(judged_at(&canary, 1_000_000, Verdict::Inconclusive, 0, 0), Move::Stay);
        assert_eq!(judged_at(&canary, 1_000_000, Verdict::Pass, 0, 0), Move::Stay);
    }

    #[test]
    fn inconclusive_for_too_long_does_what_the_plan_says() {
        let mut canary = at(Phase::Canary, 1);
        canary.first_request = Some(canary.entered);
        assert_eq!(judged_at(&canary, 600, Verdict::Inconclusive, 5, 0), Move::Stay);
        assert_eq!(judged_at(&canary, 601, Verdict::Inconclusive, 5, 0), Move::Pause);
        let input = Input::Judged(Judgement { verdict: Verdict::Inconclusive, predictions: 5, labels: 0 });
        for (policy, expected) in
            [(OnInconclusive::RollBack, Move::GiveUp), (OnInconclusive::Continue, Move::Stay)]
        {
            let plan = plan().on_inconclusive(policy);
            let now = Timestamp::from_unix_seconds(1_601);
            assert_eq!(transition(&canary, Some(&plan), false, now, input), Ok(expected));
        }
    }

    /// Bug: a candidate whose guards all passed was given up as inconclusive after an hour, where an hour of doubt was allowed.
    /// Cause: its last step waits for a cycle of a day by default, and the time that a step may take was compared before. Fix: what
    /// waits for time alone waits.
    #[test]
    fn what_has_passed_and_waits_for_its_cycle_is_not_inconclusive() {
        let step = Step::canary(0.5).unwrap().max_duration(Duration::from_secs(3_600)).max_predictions(1_000);
        let plan = Plan::new([step]).unwrap().on_inconclusive(OnInconclusive::RollBack);
        let mut canary = at(Phase::Canary, 0);
        canary.first_request = Some(canary.entered);
        let ask = |verdict, seconds: u64| {
            let judgement = Judgement { verdict, predictions: 5_000, labels: 0 };
            let now = Timestamp::from_unix_seconds(1_000 + seconds);
            transition(&canary, Some(&plan), false, now, Input::Judged(judgement)).unwrap()
        };
        assert_eq!(ask(Verdict::Pass, 7_200), Move::Stay);
        assert_eq!(ask(Verdict::Inconclusive, 7_200), Move::GiveUp);
        assert_eq!(ask(Verdict::Pass, 86_400), Move::Promote);
    }

    #[test]
    fn a_step_that_has_spent_its_traffic_is_left_to_the_policy() {
        let step = Step::canary(0.05).unwrap().max_predictions(1_000);
        let plan = Plan::new([step]).unwrap().on_inconclusive(OnInconclusive::RollBack);
        let mut canary = at(Phase::Canary, 0);
        canary.first_request = Some(canary.entered);
        let ask = |predictions| {
            let input = Input::Judged(Judgement { verdict: Verdict::Inconclusive, predictions, labels: 0 });
            transition(&canary, Some(&plan), false, canary.entered, input)
        };
        assert_eq!((ask(999), ask(1_000)), (Ok(Move::Stay), Ok(Move::GiveUp)));
    }

    #[test]
    fn the_last_step_lasts_a_cycle_of_the_traffic() {
        let plan = Plan::ramp([0.1, 0.5]).unwrap();
        assert_eq!([0, 1, 2].map(|step| plan.lasts(step, Duration::ZERO).as_secs()), [0, 0, 86_400]);
        assert_eq!([0, 1, 2].map(|step| plan.weight_after(step).fraction()), [0.1, 0.5, 1.0]);
    }

    #[test]
    fn by_hand_needs_a_pause_and_an_attempt_that_is_not_over() {
        let now = Timestamp::default();
        let ask = |state: &State, input| transition(state, Some(&plan()), false, now, input);
        let running = at(Phase::Canary, 1);
        assert_eq!(ask(&running, Input::Promote), Err(TransitionError::FollowsPlan));
        let paused = State { paused: true, ..running.clone() };
        assert_eq!(ask(&paused, Input::Promote), Ok(Move::Promote));
        for phase in [Phase::Baking, Phase::Promoted, Phase::Aborted, Phase::RolledBack] {
            let over = State { phase, ..paused.clone() };
            assert_eq!(ask(&over, Input::Canary(Share::ALL)), Err(TransitionError::Over { phase }));
        }
    }

    fn phases() -> impl Strategy<Value = Phase> {
        prop::sample::select(vec![
            Phase::Staged,
            Phase::Shadow,
            Phase::Canary,
            Phase::Baking,
            Phase::Promoted,
            Phase::Aborted,
            Phase::RolledBack,
        ])
    }

    fn verdicts() -> impl Strategy<Value = Verdict> {
        prop::sample::select(vec![Verdict::Pass, Verdict::Fail, Verdict::Inconclusive])
    }

    proptest! {
        /// Invariant 3: a freeze or a pause never keeps exposure from being lowered, and always from being raised.
        #[test]
        fn a_freeze_stops_what_raises_and_nothing_that_lowers(
            phase in phases(), verdict in verdicts(), paused: bool, step in 0usize..3, seconds in 0u64..2_000,
            predictions in 0u64..500, labels in 0u64..500
        ) {
            let state = State { paused, first_request: Some(Timestamp::from_unix_seconds(1_000)), ..at(phase, step) };
            let now = Timestamp::from_unix_seconds(1_000 + seconds);
            let judged = Input::Judged(Judgement { verdict, predictions, labels });
            let moved = transition(&state, Some(&plan()), true, now, judged).unwrap();
            prop_assert!(!matches!(moved, Move::Expose { .. } | Move::Promote), "{moved:?}");
            let exposed = matches!(phase, Phase::Shadow | Phase::Canary | Phase::Baking);
            prop_assert_eq!(moved == Move::Lower, exposed && verdict == Verdict::Fail);
        }
    }
}
