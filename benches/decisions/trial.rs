//! One method on one stream: runs that look after every unit, and what they come to.

use switchback::stats::sequential::{Additive, EValue};

use crate::simulation::{Condition, Moment, Random, Shares, World, each, number_of};
use crate::streams::{Stream, Truth};

/// A rule that raises an alarm, looked at after every unit.
pub(crate) trait Method<Seen>: Sync {
    type Counts: Additive + Send;

    fn count(&self, counts: &mut Self::Counts, moment: &Moment, seen: Seen);

    /// What is compared with the bar: for a test the logarithm of its e-value.
    fn evidence(&self, counts: &Self::Counts) -> f64;

    fn bar(&self) -> f64;

    /// The most that one unit can add to the evidence. Until these could have brought the evidence up to the bar, it
    /// need not be computed to know that it is not there.
    fn most(&self, _moment: &Moment, _seen: Seen) -> f64 {
        f64::INFINITY
    }

    /// Evidence from which what units add at most is reckoned.
    fn reckoned_from(&self, evidence: f64) -> f64 {
        evidence
    }
}

/// A test as it is used: units are counted, and the counts give an e-value.
pub(crate) trait Evaluator<Seen>: Sync {
    type Counts: Additive + Send;

    fn count(&self, counts: &mut Self::Counts, moment: &Moment, seen: Seen);
    fn e_value(&self, counts: &Self::Counts) -> EValue;
    fn most(&self, moment: &Moment, seen: Seen) -> f64;
}

/// A test that raises an alarm when its e-value reaches the threshold.
pub(crate) struct Test<E> {
    pub(crate) evaluator: E,
    pub(crate) alpha: f64,
}

impl<Seen, E: Evaluator<Seen>> Method<Seen> for Test<E> {
    type Counts = E::Counts;

    fn count(&self, counts: &mut E::Counts, moment: &Moment, seen: Seen) {
        self.evaluator.count(counts, moment, seen);
    }

    fn evidence(&self, counts: &E::Counts) -> f64 {
        self.evaluator.e_value(counts).ln()
    }

    fn bar(&self) -> f64 {
        EValue::threshold(self.alpha).unwrap().ln()
    }

    fn most(&self, moment: &Moment, seen: Seen) -> f64 {
        self.evaluator.most(moment, seen)
    }
}

/// How runs are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting<'a> {
    /// Streams of the same name see the same numbers, so that methods are compared on the same traffic.
    pub(crate) stream: &'a str,
    pub(crate) condition: Condition,
    pub(crate) truth: Truth,
    /// How many units a run has at most.
    pub(crate) units: usize,
    /// The place of the share where it is steady.
    pub(crate) share: usize,
    /// After how few units the e-value is looked at for its mean.
    pub(crate) short: Option<usize>,
}

/// What came of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// After how many units there was an alarm, and how many of them the candidate had answered.
    pub(crate) alarm: Option<(usize, usize)>,
    /// The e-value after a short while.
    pub(crate) early: f64,
}

/// Makes runs of a method on a stream.
pub(crate) fn runs<S: Stream, M: Method<S::Seen>>(
    seed: u64,
    count: usize,
    setting: Setting<'_>,
    stream: &S,
    method: &M,
) -> Vec<Run> {
    let shares = Shares::new();
    let truth =
        2 * u64::from(matches!(setting.truth, Truth::Holding(_))) + u64::from(setting.truth.sign() < 0.0);
    each(count, |run| {
        let name = [seed, number_of(setting.stream), setting.condition as u64, truth, run as u64];
        run_once(setting, &shares, Random::of(&name), stream, method)
    })
}

fn run_once<S: Stream, M: Method<S::Seen>>(
    setting: Setting<'_>,
    shares: &Shares,
    mut random: Random,
    stream: &S,
    method: &M,
) -> Run {
    let mut world = World::new(setting.condition, setting.units, setting.share, shares, &mut random);
    let mut arrivals = Arrivals::new(setting.condition, &mut random);
    let mut watch = Watch::new(method);
    let (mut exposed, mut alarmed, mut early) = (0, None, f64::NAN);
    let short = setting
        .short
        .map(|short| if setting.condition == Condition::Delay { short + WAITING } else { short });
    for unit in 0..setting.units {
        let moment = world.moment(unit);
        let seen = stream.draw(&mut random, &moment, setting.truth);
        world.react(unit, setting.truth.sign() * S::lean(seen, moment.share));
        exposed += usize::from(S::of_candidate(seen));
        let alarm = arrivals.arrive(&mut watch, moment, seen);
        if alarm && alarmed.is_none() {
            alarmed = Some((unit + 1, exposed));
        }
        if short == Some(unit + 1) {
            early = method.evidence(&watch.counts).exp();
        }
        // Where the early e-value is wanted, a run with an alarm goes on until then.
        if alarmed.is_some() && short.is_none_or(|short| short <= unit + 1) {
            break;
        }
    }
    Run { alarm: alarmed, early }
}

/// After how many of these units there is an alarm.
pub(crate) fn first_alarm<Seen: Copy, M: Method<Seen>>(
    method: &M,
    units: impl IntoIterator<Item = (Moment, Seen)>,
) -> Option<usize> {
    let mut watch = Watch::new(method);
    units.into_iter().position(|(moment, seen)| watch.count(&moment, seen)).map(|place| place + 1)
}

/// Counts of a method, and whether they can have reached the bar.
struct Watch<'a, Seen, M: Method<Seen>> {
    method: &'a M,
    counts: M::Counts,
    /// What the evidence can be at most.
    most: f64,
    bar: f64,
    seen: std::marker::PhantomData<fn(Seen)>,
}

impl<'a, Seen: Copy, M: Method<Seen>> Watch<'a, Seen, M> {
    /// What sums of floating point may be off by.
    const ROUNDING: f64 = 1e-6;

    fn new(method: &'a M) -> Self {
        let (counts, most) = (M::Counts::default(), method.reckoned_from(0.0));
        Self { method, counts, most, bar: method.bar(), seen: std::marker::PhantomData }
    }

    fn count(&mut self, moment: &Moment, seen: Seen) -> bool {
        self.method.count(&mut self.counts, moment, seen);
        self.look(self.method.most(moment, seen))
    }

    fn merge(&mut self, shard: &M::Counts, most: f64) -> bool {
        self.counts.merge(shard);
        self.look(most)
    }

    /// Whether the bar is reached, after what can have added `most`.
    fn look(&mut self, most: f64) -> bool {
        // Evidence that can be anything after a unit can be so after one that made it as little as can be.
        self.most = if most == f64::INFINITY { most } else { self.most + most };
        if self.most < self.bar - Self::ROUNDING {
            return false;
        }
        let evidence = self.method.evidence(&self.counts);
        assert!(
            evidence <= self.most + Self::ROUNDING,
            "{evidence} is more than units can add: {}",
            self.most
        );
        self.most = self.method.reckoned_from(evidence);
        evidence >= self.bar
    }
}

/// Shards that units are counted on.
const SHARDS: usize = 4;
/// One in so many units has a shard merged after it.
const MERGED: usize = 16;
/// Units that wait for their outcome.
const WAITING: usize = 500;

/// How what is seen of units reaches the counts.
enum Arrivals<Seen, C> {
    AtOnce,
    Sharded { random: Random, shards: Vec<(C, f64)> },
    Delayed { random: Random, waiting: Vec<(Moment, Seen)> },
}

impl<Seen: Copy, C: Additive> Arrivals<Seen, C> {
    fn new(condition: Condition, random: &mut Random) -> Self {
        let random = Random::of(&[random.next()]);
        match condition {
            Condition::Shards => Self::Sharded { random, shards: vec![(C::default(), 0.0); SHARDS] },
            Condition::Delay => Self::Delayed { random, waiting: Vec::with_capacity(WAITING) },
            _ => Self::AtOnce,
        }
    }

    /// A unit arrives; whether that raises an alarm.
    fn arrive<M: Method<Seen, Counts = C>>(
        &mut self,
        watch: &mut Watch<'_, Seen, M>,
        moment: Moment,
        seen: Seen,
    ) -> bool {
        match self {
            Self::AtOnce => watch.count(&moment, seen),
            Self::Sharded { random, shards } => {
                let (counts, most) = &mut shards[random.below(SHARDS)];
                watch.method.count(counts, &moment, seen);
                *most += watch.method.most(&moment, seen);
                if random.below(MERGED) > 0 {
                    return false;
                }
                let (counts, most) = std::mem::take(&mut shards[random.below(SHARDS)]);
                watch.merge(&counts, most)
            }
            Self::Delayed { waiting, .. } if waiting.len() < WAITING => {
                waiting.push((moment, seen));
                false
            }
            Self::Delayed { random, waiting } => {
                let place = random.below(WAITING);
                let (then, known) = std::mem::replace(&mut waiting[place], (moment, seen));
                watch.count(&then, known)
            }
        }
    }
}

/// The share of runs with an alarm.
pub(crate) fn alarms(runs: &[Run]) -> f64 {
    runs.iter().filter(|run| run.alarm.is_some()).count() as f64 / runs.len() as f64
}

/// After how many units half of the runs have raised an alarm; infinite where fewer ever do.
pub(crate) fn median_units(runs: &[Run]) -> f64 {
    median_of(runs, |(units, _)| units)
}

/// The same in units that the candidate answered.
pub(crate) fn median_exposed(runs: &[Run]) -> f64 {
    median_of(runs, |(_, exposed)| exposed)
}

fn median_of(runs: &[Run], read: impl Fn((usize, usize)) -> usize) -> f64 {
    crate::support::median(runs.iter().map(|run| run.alarm.map_or(f64::INFINITY, |alarm| read(alarm) as f64)))
}

/// By how many standard errors the mean of the early e-values exceeds 1.
pub(crate) fn early_excess(runs: &[Run]) -> f64 {
    let (count, early) = (runs.len() as f64, || runs.iter().map(|run| run.early));
    let mean = early().sum::<f64>() / count;
    let variance = early().map(|e| (e - mean) * (e - mean)).sum::<f64>() / (count - 1.0);
    // Where nothing has arrived yet, all of them are 1.
    if variance > 0.0 { (mean - 1.0) / (variance / count).sqrt() } else { 0.0 }
}

/// How far a share may exceed `alpha` by chance in so many runs: three standard deviations.
pub(crate) fn largest_by_chance(alpha: f64, runs: usize) -> f64 {
    alpha + 3.0 * (alpha * (1.0 - alpha) / runs as f64).sqrt()
}
