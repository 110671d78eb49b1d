//! Carries an allocation out: shares are set, and candidates taken off.

use super::control::Control;
use super::desk::Desk;
use super::event::Cause;
use crate::base::share::Share;
use crate::rollout::allocation::Allocating;
use crate::rollout::phase::Phase;

impl Control {
    /// Begins to divide traffic among attempts, as the allocation of the next round.
    pub(crate) fn begin_allocating(&mut self, allocating: Allocating, desk: Desk<'_>) {
        self.next_round += 1;
        let room = self.room_of(allocating.candidates());
        self.allocating.insert(allocating).begin(room);
        self.divide(desk);
    }

    /// What live and these candidates have together: what other candidates leave.
    pub(crate) fn room_of(&self, candidates: &[u32]) -> Share {
        let own = candidates.iter().filter_map(|number| self.attempt(*number));
        let own: u16 = own.map(|attempt| self.buckets.share(attempt.slot).buckets()).sum();
        Share::from_buckets(self.buckets.live().buckets() + own)
    }

    /// Gives every candidate the share that it has in the present division.
    fn divide(&mut self, desk: Desk<'_>) {
        let Some(allocating) = &self.allocating else { return };
        let mut parts = allocating.parts();
        let mut events = Vec::new();
        // What shrinks makes room for what grows.
        parts.sort_by_key(|(number, share)| {
            let has = self.attempt(*number).map_or(Share::NONE, |attempt| attempt.state.weight);
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

    /// Drops candidates that are shown to be worse than another version, and sets shares anew when it is time.
    pub(crate) fn allocate(&mut self, desk: Desk<'_>) {
        let canaries = self.attempts.iter().filter(|attempt| attempt.state.phase == Phase::Canary);
        let on_trial: Vec<u32> = canaries.map(|attempt| attempt.number).collect();
        let (frozen, seed) = (self.frozen.is_some(), self.settings.seed);
        let Some(allocating) = &self.allocating else { return };
        let candidates = allocating.candidates().to_vec();
        let due = allocating.is_due(desk.now);
        let gone = allocating.candidates().iter().any(|candidate| !on_trial.contains(candidate));
        let beaten = if due && !gone { allocating.beaten() } else { Vec::new() };
        if gone || !beaten.is_empty() {
            let stays = |candidate: &u32| on_trial.contains(candidate) && !beaten.contains(candidate);
            let left: Vec<u32> = allocating.candidates().iter().copied().filter(stays).collect();
            self.allocating = allocating.among(left.clone(), self.next_round, desk.now);
            self.next_round += 1;
            for number in beaten {
                let _ = self.lower(number, Cause::Eliminated, desk);
            }
            let room = self.room_of(&left);
            self.allocating.iter_mut().for_each(|allocating| allocating.begin(room));
            self.divide(desk);
        } else if due && !frozen {
            let room = self.room_of(&candidates);
            let renewed = self.allocating.as_mut().is_some_and(|it| it.renew(room, seed, desk.now));
            if renewed {
                self.divide(desk);
            }
        }
    }
}
