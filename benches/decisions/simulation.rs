//! Simulated traffic: random numbers, the conditions under which units arrive, and runs on several threads.

use std::collections::BTreeMap;

use switchback::Share;
use switchback::stats::sequential::Odds;

/// Runs are dealt out to so many threads. What comes of a run does not depend on the number.
const THREADS: usize = 2;

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The numbers that belong to these parts of a name: a seed, a stream, a run.
    pub(crate) fn of(parts: &[u64]) -> Self {
        let mut random = Self(0x5377_6974_6368_6261);
        for part in parts {
            random.0 ^= part.wrapping_mul(0xd6e8_feb8_6659_fd93);
            random.0 = random.next();
        }
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `0..1`.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn chance(&mut self, of: f64) -> bool {
        self.uniform() < of
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A standard normal (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        let (radius, angle) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

/// A number for a name, so that every stream has random numbers of its own.
pub(crate) fn number_of(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What each of `runs` runs comes to, in order.
pub(crate) fn each<R: Send>(runs: usize, run: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let part = |first: usize| (first..runs).step_by(THREADS).map(&run).collect::<Vec<R>>();
    let parts: Vec<Vec<R>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|first| {
                let part = &part;
                scope.spawn(move || part(first))
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let mut parts: Vec<_> = parts.into_iter().map(Vec::into_iter).collect();
    (0..runs).filter_map(|run| parts[run % THREADS].next()).collect()
}

/// Under what circumstances units arrive. Looking after every unit is part of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Condition {
    /// Nothing moves.
    Steady,
    /// Rates go up and down by half, two and a half times.
    Daily,
    /// That, and an incident that multiplies the rates of both versions by 2.5 for a twentieth of the time. Where traffic
    /// is split, on a ramp.
    Incident,
    /// Shares of 1, 5, 25 and 50 %, while rates go up and down.
    Ramp,
    /// A share that goes up while the data speak for the claim, and down while they do not: for harm while the candidate
    /// looks bad. Rates go up and down.
    Adaptive,
    /// Units are counted on four shards, which are merged now and then, in random order.
    Shards,
    /// What came of a unit is known later, by a random delay of 500 units on average. Where traffic is split, on a ramp,
    /// while rates go up and down.
    Delay,
}

impl Condition {
    pub(crate) const ALL: [Condition; 7] = [
        Condition::Steady,
        Condition::Daily,
        Condition::Incident,
        Condition::Ramp,
        Condition::Adaptive,
        Condition::Shards,
        Condition::Delay,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Daily => "daily",
            Self::Incident => "incident",
            Self::Ramp => "ramp",
            Self::Adaptive => "adaptive",
            Self::Shards => "shards",
            Self::Delay => "delay",
        }
    }

    fn on_a_ramp(self) -> bool {
        matches!(self, Self::Ramp | Self::Incident | Self::Delay)
    }

    fn moves(self) -> bool {
        !matches!(self, Self::Steady | Self::Shards)
    }
}

/// Every share that is ever in force, as hundredths of all traffic for the candidate and for its control.
const SHARES: [(u32, u32); 12] = [
    (1, 99),
    (5, 95),
    (10, 90),
    (20, 80),
    (25, 75),
    (50, 50),
    // In sixty-fourths: what a share that reacts to the data is rounded to.
    (1, 63),
    (2, 62),
    (4, 60),
    (8, 56),
    (16, 48),
    (32, 32),
];

/// The places of shares in [`SHARES`].
const RAMP: [usize; 4] = [0, 1, 4, 5];
const REACTING: [usize; 6] = [6, 7, 8, 9, 10, 11];
/// Units between two changes of a share that reacts.
const REACTION: usize = 100;

/// Shares of traffic, by their places.
#[derive(Debug, Clone)]
pub(crate) struct Shares(Vec<Odds>);

impl Shares {
    pub(crate) fn new() -> Self {
        let share = |hundredths: u32| Share::new(f64::from(hundredths) / 100.0).unwrap();
        Self(SHARES.iter().map(|(own, live)| Odds::new(share(*own), share(*live)).unwrap()).collect())
    }

    pub(crate) fn odds(&self, place: usize) -> Odds {
        self.0[place]
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = usize> {
        0..self.0.len()
    }

    /// The place of a share of so many hundredths.
    pub(crate) fn place_of(hundredths: u32) -> usize {
        SHARES.iter().position(|share| *share == (hundredths, 100 - hundredths)).unwrap()
    }
}

/// What is in force when a unit arrives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Which of the shares.
    pub(crate) place: usize,
    /// The chance of going to the candidate.
    pub(crate) share: f64,
    /// What the rates of both versions are multiplied by.
    pub(crate) times: f64,
    /// Of the run: what belongs to a user, and not to a unit, follows from it.
    pub(crate) salt: u64,
    /// What rates are multiplied by that never exceed their size, or never fall below it.
    pub(crate) below_one: f64,
    pub(crate) above_one: f64,
}

/// One run's circumstances.
#[derive(Debug)]
pub(crate) struct World {
    condition: Condition,
    units: usize,
    steady: usize,
    shares: Vec<f64>,
    salt: u64,
    /// Where a share that reacts has got to, and how far the units since its last change speak for the claim.
    level: usize,
    lean: f64,
}

impl World {
    /// Traffic of `units` units. Where the condition does not change the share, it is that at the place `steady`.
    pub(crate) fn new(
        condition: Condition,
        units: usize,
        steady: usize,
        shares: &Shares,
        random: &mut Random,
    ) -> Self {
        let shares = shares.0.iter().map(|odds| odds.share()).collect();
        Self { condition, units, steady, shares, salt: random.next(), level: 2, lean: 0.0 }
    }

    pub(crate) fn moment(&self, unit: usize) -> Moment {
        let through = unit as f64 / self.units as f64;
        let wave =
            if self.condition.moves() { 0.5 * (through * 2.5 * std::f64::consts::TAU).sin() } else { 0.0 };
        let incident = self.condition == Condition::Incident && (0.7..0.75).contains(&through);
        let times = (1.0 + wave) * if incident { 2.5 } else { 1.0 };
        let (most, least) = if self.condition.moves() { (1.5, 0.5) } else { (1.0, 1.0) };
        let place = match self.condition {
            Condition::Adaptive => REACTING[self.level],
            _ if self.condition.on_a_ramp() => RAMP[(through * 4.0) as usize],
            _ => self.steady,
        };
        Moment {
            place,
            share: self.shares[place],
            times,
            salt: self.salt,
            below_one: (1.0 + wave) / most,
            above_one: (1.0 + wave) / least,
        }
    }

    /// Takes note of how far a unit speaks for the claim.
    pub(crate) fn react(&mut self, unit: usize, lean: f64) {
        self.lean += lean;
        if (unit + 1).is_multiple_of(REACTION) {
            let up = self.lean > 0.0;
            self.level =
                if up { (self.level + 1).min(REACTING.len() - 1) } else { self.level.saturating_sub(1) };
            self.lean = 0.0;
        }
    }
}

/// Figures of runs by the condition they were under.
pub(crate) type ByCondition<R> = BTreeMap<Condition, R>;
