//! Drift in the eyes of the control side: what the places of the table count for, and what follows from what was seen.

use super::control::Control;
use super::event::EventKind;
use crate::base::clock::Timestamp;
use crate::base::ordered::OrderedMap;
use crate::drift::watch::{Context, Feed, Part, Running, Told, advice};
use crate::rollout::phase::Phase;
use crate::stats::evidence::ledger::Side;

impl Control {
    /// Returns what the drift watch has to know of the table.
    pub(crate) fn drift_context(&self) -> Context {
        let on_trial = self
            .attempts
            .iter()
            .filter(|attempt| matches!(attempt.state.phase, Phase::Shadow | Phase::Canary))
            .map(|attempt| Running {
                number: attempt.number,
                version: attempt.version,
                era: attempt.ledger.era(),
                looks: attempt.looks,
            });
        let feeds: OrderedMap<u32, Vec<Feed>> = self
            .counters
            .iter()
            .map(|counter| {
                let of = |feed: &super::counter::EvidenceFeed| {
                    let part = match feed.side {
                        Side::Candidate(_) => Part::Candidate,
                        Side::Live(_) => Part::Live,
                        Side::Alone => Part::Pairs,
                    };
                    let (attempt, era) = (feed.attempt, feed.era);
                    Feed { attempt, era, part }
                };
                (counter.number, counter.feeds.evidence.iter().map(of).collect())
            })
            .collect();
        let versions = self.loaded().iter().map(|version| version.id).collect();
        Context { live: self.live.id, versions, running: on_trial.collect(), feeds }
    }

    /// Says what has drifted, and has plans stand still for that of which `pauses` says so.
    pub(crate) fn tell_of_drift(&mut self, told: Vec<Told>, pauses: impl Fn(&Told) -> bool, now: Timestamp) {
        for told in told {
            let pauses = pauses(&told);
            let Told { whose, against, version, features, more, ended } = told;
            let names: Vec<String> = features.iter().map(ToString::to_string).collect();
            let epoch = self.epoch;
            if ended {
                let event = EventKind::DriftEnded { whose, against, version, features: names, more };
                self.announcer.announce(now, epoch, event);
                continue;
            }
            let advice = advice(whose, against).to_owned();
            let event = EventKind::Drifted { whose, against, version, features, more, advice };
            self.announcer.announce(now, epoch, event);
            if pauses {
                self.pause_plans(&format!("the world has drifted {against}: {}", names.join(", ")), now);
            }
        }
    }

    /// Has every plan stand still that is not over.
    fn pause_plans(&mut self, reason: &str, now: Timestamp) {
        let follows: Vec<u32> = self
            .attempts
            .iter()
            .filter(|attempt| attempt.plan.is_some() && !attempt.state.paused)
            .filter(|attempt| attempt.state.phase != Phase::Baking)
            .map(|attempt| attempt.number)
            .collect();
        for number in follows {
            self.begin_step_anew(number);
            let Some(attempt) = self.attempt_mut(number) else { continue };
            attempt.state.paused = true;
            attempt.state.wait_anew();
            let (version, epoch) = (attempt.version, self.epoch);
            let event = EventKind::Paused { version, reason: reason.to_owned() };
            self.announcer.announce(now, epoch, event);
        }
    }
}
