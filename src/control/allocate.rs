//! Carries an allocation out: shares are set, and candidates taken off.
//!
//! A tick takes candidates off at once, and those that stay keep what they have. Whatever gives anybody more comes at its end, once it is on
//! disk that it will, as for plans: [`allocate`](Control::allocate) says whether it is time, and [`divide_anew`](Control::divide_anew) does it.

use super::control::Control;
use super::desk::Desk;
use super::event::{Cause, EventKind};
use crate::base::share::Share;
use crate::rollout::allocation::{Allocating, Candidate, Room};
use crate::rollout::phase::Phase;

impl Control {
    /// Begins to divide traffic among attempts, as the allocation of the next round. It moves them from here on, and no plan: whoever was
    /// paused goes on.
    pub(crate) fn begin_allocating(&mut self, allocating: Allocating, desk: Desk<'_>) {
        let mut resumed = Vec::new();
        for number in allocating.candidates() {
            let Some(attempt) = self.attempt_mut(*number) else { continue };
            (attempt.plan, attempt.state.step) = (None, None);
            if std::mem::take(&mut attempt.state.paused) {
                resumed.push(EventKind::Resumed { version: attempt.version });
            }
        }
        let epoch = self.epoch;
        resumed.into_iter().for_each(|event| self.announcer.announce(desk.now, epoch, event));
        self.next_round += 1;
        let room = self.room_of(allocating.candidates());
        self.allocating.insert(allocating).begin(&room);
        self.divide(desk);
    }

    /// What live and these candidates have together: what other candidates leave.
    pub(crate) fn room_of(&self, candidates: &[u32]) -> Room {
        let attempts = || candidates.iter().filter_map(|number| self.attempt(*number));
        let own: u16 = attempts().map(|attempt| self.buckets.share(attempt.slot).buckets()).sum();
        let whole = Share::from_buckets(self.buckets.live().buckets() + own);
        let candidates = attempts()
            .map(|attempt| Candidate { has: attempt.state.weight, is_paused: attempt.state.paused });
        Room { whole, candidates: candidates.collect() }
    }

    /// Gives every candidate the share that it has in the present division.
    fn divide(&mut self, desk: Desk<'_>) {
        let Some(allocating) = &self.allocating else { return };
        let mut parts = allocating.parts();
        let mut events = Vec::new();
        // What shrinks makes room for what grows.
        parts.sort_by_key(|(number, share)| {
            // One that is held has its buckets yet.
            let has = self.attempt(*number).map_or(Share::NONE, |attempt| self.buckets.share(attempt.slot));
            *share > has
        });
        for (number, share) in parts {
            let Some(attempt) = self.attempt(number) else { continue };
            if attempt.state.weight == share && attempt.state.phase == Phase::Canary {
                continue;
            }
            let (sample, step) = (attempt.state.sample, attempt.state.step);
            let event =
                self.change_exposure(number, Phase::Canary, share, sample, step, Vec::new(), desk.now);
            events.extend(event);
        }
        self.publish(desk, events);
    }

    /// Drops candidates that are shown to be worse than another version. The candidates among which traffic is to be divided anew, where it
    /// is time for that.
    pub(crate) fn allocate(&mut self, desk: Desk<'_>) -> Vec<u32> {
        let Some(allocating) = &self.allocating else { return Vec::new() };
        let stays = |candidate: &u32| {
            self.attempt(*candidate).is_some_and(|attempt| attempt.state.phase == Phase::Canary)
        };
        let mut left: Vec<u32> = allocating.candidates().iter().copied().filter(stays).collect();
        let gone = left.len() < allocating.candidates().len();
        let beaten = if allocating.is_due(desk.now) && !gone { allocating.beaten() } else { Vec::new() };
        if gone || !beaten.is_empty() {
            left.retain(|candidate| !beaten.contains(candidate));
            for number in beaten {
                let _ = self.lower(number, Cause::Eliminated, desk);
            }
            self.go_on_among(left, desk);
        }
        let due = |allocating: &&Allocating| self.frozen.is_none() && allocating.is_due(desk.now);
        self.allocating.as_ref().filter(due).map_or_else(Vec::new, |it| it.candidates().to_vec())
    }

    /// Leaves a candidate that a plan moves from here on to that: the others go on among themselves.
    pub(crate) fn leave_allocation(&mut self, number: u32, desk: Desk<'_>) {
        let candidates = self.allocating.as_ref().map_or_else(Vec::new, |it| it.candidates().to_vec());
        if candidates.contains(&number) {
            self.go_on_among(candidates.into_iter().filter(|of| *of != number).collect(), desk);
        }
    }

    /// Begins the next round among these, at the shares that they have.
    fn go_on_among(&mut self, left: Vec<u32>, desk: Desk<'_>) {
        let room = self.room_of(&left);
        let round = self.next_round;
        self.next_round += 1;
        self.allocating = self.allocating.as_ref().and_then(|it| it.among(left, round, desk.now));
        self.allocating.iter_mut().for_each(|allocating| allocating.keep(&room));
        // What is counted from here on belongs to this round.
        self.publish(desk, Vec::new());
    }

    /// Sets shares anew. Where a candidate has gone meanwhile, or nobody may be given more any more, a later tick does.
    pub(crate) fn divide_anew(&mut self, desk: Desk<'_>) {
        let Some(candidates) = self.allocating.as_ref().map(|allocating| allocating.candidates().to_vec())
        else {
            return;
        };
        let stays =
            |number: &u32| self.attempt(*number).is_some_and(|attempt| attempt.state.phase == Phase::Canary);
        if self.frozen.is_some() || !candidates.iter().all(stays) {
            return;
        }
        let (room, seed) = (self.room_of(&candidates), self.settings.seed);
        if self.allocating.as_mut().is_some_and(|allocating| allocating.renew(&room, seed, desk.now)) {
            self.divide(desk);
        }
    }
}
