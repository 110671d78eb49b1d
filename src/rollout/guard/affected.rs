//! How many units got worse and how many got better: what a mean hides.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::design::{Design, Uses};
use super::history::{History, Series, Stretch};
use super::tested::Tested;
use crate::base::text::significant;
use crate::stats::sequential::{Additive, Events, Interval, PairedEvents, Scores, holding};

/// How many units the candidate served worse than live did, and how many better: the *fraction negatively affected* beside
/// the mean (Kallus 2022, "What's the harm? Sharp bounds on the fraction negatively affected by treatment").
///
/// A mean that has not moved can hide a tenth of the users who got worse behind a tenth who got better. Who they are can be
/// counted where both versions were asked about the same unit, which a shadow does. Where each unit was asked of one
/// version, any share that the mean allows is possible, and nothing in the data tells which: then it is
/// [`NotIdentified`](Self::NotIdentified), and adding a shadow is what makes it known.
///
/// ```
/// # use switchback::{closure, guard, Clock, ModelHandle, Outcome, Task, Timestamp};
/// # use switchback::options::{Labels, Shadowing, Threads};
/// use switchback::guard::Affected;
///
/// # let clock = Clock::manual(Timestamp::from_unix_seconds(1_700_000_000));
/// # let handle = ModelHandle::builder("even")
/// #     .live("v1", closure("a@1", |x: &u64| Ok(if x % 10 == 0 { 0.1 } else { 0.9 })))
/// #     .task(Task::binary(|p: &f64| *p)).labels(Labels::at_random()).shadowing(Shadowing::new())
/// #     .clock(clock.clone()).seed(7).threads(Threads::manual()).build()?;
/// // v1 is wrong about one user in ten, and v2 about another one in ten: the same on average.
/// let rollout = handle.stage("v2", closure("b@1", |x: &u64| Ok(if x % 10 == 1 { 0.1 } else { 0.9 })))?
///     .guard(guard::accuracy().at_most_below_live(0.02));
/// rollout.shadow(1.0)?;
/// for user in 0..2_000_u64 {
///     let answer = handle.request().key(&user.to_le_bytes()).predict(&user)?;
///     handle.feedback(answer.id(), Outcome::class(1));
/// #   if user % 100 == 99 { handle.run_shadow(usize::MAX); handle.tick(); }
/// }
/// let seen = rollout.status().unwrap().evidence[0].affected.unwrap();
/// let Affected::Counted(affected) = seen else { panic!("{seen}") };
/// let worse = affected.worse_share();
/// assert!(0.03 < worse.low && worse.low < 0.1 && 0.1 < worse.high, "{affected:?}: {worse:?}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Affected {
    /// Both versions were asked about the same units.
    Counted(AffectedUnits),
    /// Each unit was asked of one version, so how many got worse cannot be known, only the mean.
    NotIdentified,
}

/// Units that both versions were asked about.
///
/// A unit is a request; where there are keys it is the key, and one of its requests stands for it, drawn. What befell a
/// request by chance is among it: of two versions that each fail on 1 % of requests at random, 1 % got worse and 1 % better.
/// A loss between 0 and 1 that differs by less than a 64th counts in proportion, drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Counts", into = "Written")]
#[non_exhaustive]
pub struct AffectedUnits {
    /// All of them that the guard's figure is about: recall is about those that are yes.
    pub units: u64,
    /// Those of them that the candidate served worse.
    pub worse: u64,
    /// Those of them that it served better.
    pub better: u64,
}

/// A share of units, with what else it may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AffectedShare {
    /// What was seen.
    pub estimate: f64,
    /// The lower end of the interval that holds the share at all times at once, with an error of 5 % for both ends
    /// together, where it holds still ([`rate_interval`](crate::stats::sequential::rate_interval)).
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl AffectedShare {
    const ERROR: f64 = 0.05;

    /// Units at which the interval is tightest. It has to be fixed before they are seen.
    const TUNED_TO: u64 = 1_000;

    fn of(count: u64, units: u64) -> Self {
        let Interval { low, high } = holding(Events { events: count, units }, Self::ERROR, Self::TUNED_TO);
        Self { estimate: if units == 0 { 0.0 } else { count as f64 / units as f64 }, low, high }
    }
}

impl AffectedUnits {
    /// The share of units that the candidate served worse.
    pub fn worse_share(&self) -> AffectedShare {
        AffectedShare::of(self.worse, self.units)
    }

    /// The share of units that it served better.
    pub fn better_share(&self) -> AffectedShare {
        AffectedShare::of(self.better, self.units)
    }
}

/// What is read: the rest follows from it.
#[derive(Deserialize)]
struct Counts {
    units: u64,
    worse: u64,
    better: u64,
}

/// What is written, for readers who compute nothing.
#[derive(Serialize)]
struct Written {
    units: u64,
    worse: u64,
    better: u64,
    worse_share: AffectedShare,
    better_share: AffectedShare,
}

impl TryFrom<Counts> for AffectedUnits {
    type Error = String;

    fn try_from(Counts { units, worse, better }: Counts) -> Result<Self, String> {
        // A unit got worse, or better, or neither: the shares are shares.
        match worse.checked_add(better) {
            Some(moved) if moved <= units => Ok(Self { units, worse, better }),
            _ => Err(format!(
                "of {units} units {worse} got worse and {better} better, which are more than all"
            )),
        }
    }
}

impl From<AffectedUnits> for Written {
    fn from(affected: AffectedUnits) -> Self {
        let AffectedUnits { units, worse, better } = affected;
        Self {
            units,
            worse,
            better,
            worse_share: affected.worse_share(),
            better_share: affected.better_share(),
        }
    }
}

/// `10.1 % of 2000 units got worse (95 % interval 8.3 to 12.1 %), 9.9 % better (8.2 to 11.9 %)`
impl fmt::Display for Affected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Counted(affected) = self else {
            return f.write_str(
                "how many units got worse is not known, since each was asked of one version: a shadow would tell",
            );
        };
        let short = |share: f64| significant(share * 100.0, 3);
        let (worse, better) = (affected.worse_share(), affected.better_share());
        write!(
            f,
            "{} % of {} units got worse (95 % interval {} to {} %), {} % better ({} to {} %)",
            short(worse.estimate),
            affected.units,
            short(worse.low),
            short(worse.high),
            short(better.estimate),
            short(better.low),
            short(better.high),
        )
    }
}

impl Design {
    /// How many units got worse and better, by what this rule is about. Nothing as long as no pair is known, and where a
    /// pair says not which of both is the better one: how far answers differ, and absolute errors, of which sums are kept.
    pub(crate) fn affected(&self, history: &History) -> Option<Affected> {
        let uses = if self.uses == Uses::Alone { self.beside? } else { self.uses };
        let matched = matches!(self.tested, Tested::FalseAlarms | Tested::FalseAlarmsInArms);
        // What each version said yes to is matched over time: two inputs, not one. Of what is hidden nobody knows.
        if uses == Uses::Arms || matched || matches!(history, History::Hidden(_)) {
            return Some(Affected::NotIdentified);
        }
        let counted = match history {
            History::Events(stretch) | History::BySegment { all: stretch, .. } => of_events(pairs(stretch)),
            History::Scores(stretch) => of_scores(&pairs(stretch)),
            History::Ratios(stretch) => {
                let pairs = pairs(stretch);
                let (worse, better) = pairs.affected();
                AffectedUnits { units: pairs.pairs(), worse, better }
            }
            History::Values(_) | History::Hidden(_) => return None,
        };
        (counted.units > 0).then_some(Affected::Counted(counted))
    }
}

fn pairs<P: Additive, S: Additive>(stretch: &Stretch<Series<P, S>>) -> P {
    stretch.blocks.blocks().iter().fold(P::default(), |mut all, block| {
        all.merge(&block.counts.pairs);
        all
    })
}

fn of_events(pairs: PairedEvents) -> AffectedUnits {
    AffectedUnits { units: pairs.pairs(), worse: pairs.only_candidate, better: pairs.only_live }
}

/// Of the candidate's loss less live's.
fn of_scores(differences: &Scores) -> AffectedUnits {
    let count = |wanted: fn(i16) -> bool| {
        let places = differences.places().filter(|(place, _)| wanted(*place));
        places.fold(0_u64, |sum, (_, count)| sum.saturating_add(count))
    };
    AffectedUnits {
        units: differences.count_all(),
        worse: count(|place| place > 0),
        better: count(|place| place < 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_written_for_readers_and_read_by_their_counts() {
        let affected = Affected::Counted(AffectedUnits { units: 2_000, worse: 200, better: 198 });
        let json = serde_json::to_string(&affected).unwrap();
        assert!(json.starts_with(
            r#"{"counted":{"units":2000,"worse":200,"better":198,"worse_share":{"estimate":0.1,"#
        ));
        assert_eq!(serde_json::from_str::<Affected>(&json).unwrap(), affected);
        assert_eq!(serde_json::to_string(&Affected::NotIdentified).unwrap(), r#""not_identified""#);
        for (worse, better) in [(u64::MAX, 4), (2, 2), (0, 4)] {
            let wild = format!(r#"{{"counted":{{"units":3,"worse":{worse},"better":{better}}}}}"#);
            let error = serde_json::from_str::<Affected>(&wild).unwrap_err().to_string();
            assert!(error.contains(&format!("of 3 units {worse} got worse and {better} better")), "{error}");
        }
    }

    #[test]
    fn a_loss_that_grew_is_worse_and_one_that_did_not_move_is_neither() {
        let mut differences = Scores::default();
        for (place, times) in [(-64, 3), (-1, 2), (0, 10), (5, 4)] {
            differences.count_place(place, times);
        }
        assert_eq!(of_scores(&differences), AffectedUnits { units: 19, worse: 4, better: 5 });
    }
}
