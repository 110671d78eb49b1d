//! How live and the candidates behave in a life, and what is true of what they are asked.

use std::f64::consts::TAU;
use std::time::Duration;

use super::cells::{Circumstance, Figure, Life};
use super::requests::{Ask, Reply};

/// What chance is drawn for. Each version has its own.
#[derive(Clone, Copy)]
pub(super) enum For {
    Truth = 1,
    Failure = 2,
    Quality = 3,
    Time = 4,
    ChanceFailure = 5,
    Place = 6,
    Worth = 7,
    User = 8,
    Loss = 9,
    Delay = 10,
    Outage = 11,
    Correction = 12,
    Stall = 13,
    LiveFailure = 14,
    Segment = 15,
}

/// The share of calls on which each version fails by chance.
const CHANCE_FAILURES: f64 = 0.03;

/// How one version behaves in one life.
#[derive(Clone, Copy)]
pub(super) struct Side {
    pub(super) life: Life,
    /// 0 for live, and from 1 on for candidates.
    pub(super) place: u64,
}

impl Side {
    fn draw(&self, ask: &Ask, what: For) -> f64 {
        ask.chance(what as u64 * 16 + self.place)
    }

    fn worse(&self) -> f64 {
        let worse = if self.place == 0 { 0.0 } else { self.life.candidate.worse() };
        // What is not answered is no worse than live's.
        let lost = self.life.meets(Circumstance::ChanceFailures) && self.life.figure.needs_truth();
        let answered = if lost { 1.0 - CHANCE_FAILURES } else { 1.0 };
        worse / answered
    }

    /// Whether something happens to this version that happens to a share of all requests: to some users half of the time,
    /// where there are users, and by chance where there are none.
    fn happens(&self, ask: &Ask, what: For, rate: f64) -> bool {
        let own = if self.life.routing.has_users() {
            let unlucky = ask.chance_of_user(what as u64 * 16 + self.place) < 2.0 * rate;
            if unlucky { 0.5 } else { 0.0 }
        } else {
            rate
        };
        self.draw(ask, what) < own
    }

    /// What rates are multiplied by.
    fn tide(&self, ask: &Ask) -> f64 {
        tide(&self.life, ask.second)
    }

    pub(super) fn answer(&self, ask: &Ask) -> (Reply, Duration) {
        let (reply, takes) = (self.reply(ask), self.takes(ask));
        (reply, takes)
    }

    fn takes(&self, ask: &Ask) -> Duration {
        let longer = if self.life.figure == Figure::Latency { 1.0 + 0.5 * self.worse() } else { 1.0 };
        let own = if self.life.routing.has_users() {
            0.5 * (self.draw(ask, For::Time) + ask.chance_of_user(For::Time as u64))
        } else {
            self.draw(ask, For::Time)
        };
        let stalls = self.life.meets(Circumstance::CandidateStalls)
            && self.place > 0
            && ask.second % 40 == 20
            && self.draw(ask, For::Stall) < if self.life.routing.is_batch() { 0.01 } else { 0.1 };
        let millis = (0.5 - (1.0 - own).ln()) * longer * self.tide(ask) + if stalls { 300.0 } else { 0.0 };
        Duration::from_nanos((millis * 1e6) as u64)
    }

    fn reply(&self, ask: &Ask) -> Reply {
        let Life { figure, .. } = self.life;
        let times = if figure == Figure::Error { 1.0 + 0.5 * self.worse() } else { 1.0 };
        if self.life.meets(Circumstance::ChanceFailures)
            && self.draw(ask, For::ChanceFailure) < CHANCE_FAILURES * times
        {
            return Reply::Fails;
        }
        if self.life.meets(Circumstance::LiveFailsMore)
            && self.place == 0
            && self.draw(ask, For::LiveFailure) < 0.1
        {
            return Reply::Fails;
        }
        if self.life.meets(Circumstance::SharedOutage) {
            // Each by a chance of its own: what is out is behind both.
            let out = match ask.second.checked_sub(self.life.seconds / 3) {
                Some(0..4) => 0.98,
                Some(4..14) => 0.5,
                _ => 0.0,
            };
            if self.draw(ask, For::Outage) < out {
                return Reply::Fails;
            }
        }
        // What fails by chance is all that fails then, or the two versions would not be at the margin together.
        let fails = figure == Figure::Error && !self.life.meets(Circumstance::ChanceFailures);
        if fails && self.happens(ask, For::Failure, 0.04 * times * self.tide(ask)) {
            return Reply::Fails;
        }
        match figure {
            Figure::Precision => Reply::yes(if self.flags(ask) { 0.9 } else { 0.1 }),
            Figure::Divergence => {
                // It differs on half of what it may at first, and on as much as it may at the margin.
                let differs = self.place > 0 && self.happens(ask, For::Quality, 0.05 + 0.05 * self.worse());
                Reply::yes(if differs != is_true(&self.life, ask) { 0.9 } else { 0.1 })
            }
            Figure::Ranking => {
                // A list with a hit has an NDCG of 0.59 on average. Nothing happens to more than half of all users.
                let live = if self.life.routing.has_users() { 0.45 } else { 0.6 };
                let hit = self.happens(ask, For::Quality, live - 0.05 * self.worse() / 0.589_7);
                let place = (self.draw(ask, For::Place) * 5.0) as u64;
                Reply::list(
                    (0..5).map(|rank| if hit && rank == place { relevant(ask) } else { 1_000 + rank }),
                )
            }
            _ => {
                let wrong = if figure == Figure::Accuracy {
                    0.15 * self.tide(ask) + 0.05 * self.worse()
                } else {
                    0.15
                };
                let wrong = self.happens(ask, For::Quality, wrong);
                Reply::yes(if wrong != is_true(&self.life, ask) { 0.9 } else { 0.1 })
            }
        }
    }

    /// Of what is true it flags three quarters, and of the rest as many as its precision says.
    fn flags(&self, ask: &Ask) -> bool {
        let (precision, yes) = (0.75 - 0.1 * self.worse(), 0.4 * self.tide(ask));
        let rate =
            if is_true(&self.life, ask) { 0.75 } else { 0.75 * yes * (1.0 / precision - 1.0) / (1.0 - yes) };
        self.draw(ask, For::Quality) < rate
    }

    /// What a user does whom this version has answered.
    pub(super) fn worth(&self, ask: &Ask) -> Option<(&'static str, f64)> {
        let (draw, tide) = (self.draw(ask, For::Worth), self.tide(ask));
        // Users differ, by half of what they are on average.
        let user =
            if self.life.routing.has_users() { 0.5 + ask.chance_of_user(For::User as u64) } else { 1.0 };
        match self.life.figure {
            Figure::Bounded => {
                // Never so much that it would lie beyond its bounds.
                let high = if self.life.meets(Circumstance::Diurnal) { 1.5 } else { 1.0 };
                let live = 4.0 * (0.75 + 0.25 * user) * tide / high;
                Some(("rating", 2.0 * (live - 0.5 * self.worse()).max(0.0) * draw))
            }
            Figure::Rate => {
                let rate = 0.3 * user * (1.0 - 0.2 * self.worse()) * tide;
                Some(("purchase", f64::from(u8::from(draw < rate))))
            }
            Figure::Unbounded => {
                let rate = 0.2 * user * (1.0 - 0.2 * self.worse());
                let spent = -10.0 * (1.0 - draw / rate).max(1e-12).ln();
                Some(("revenue", if draw < rate { spent } else { 0.0 }))
            }
            _ => None,
        }
    }
}

pub(super) fn tide(life: &Life, second: u64) -> f64 {
    if !life.meets(Circumstance::Diurnal) {
        return 1.0;
    }
    1.0 + 0.5 * (TAU * second as f64 / (life.seconds as f64 / 2.5)).sin()
}

/// What turns out to be true of a request, whoever answers it.
pub(super) fn is_true(life: &Life, ask: &Ask) -> bool {
    ask.chance(For::Truth as u64) < 0.4 * tide(life, ask.second)
}

pub(super) fn relevant(ask: &Ask) -> u64 {
    ask.number % 1_000
}
