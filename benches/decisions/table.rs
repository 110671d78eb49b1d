//! The table: how often each method raises a false alarm, under every condition that its documentation allows, and how
//! soon it sees what is there.

use std::fmt::Write;

use switchback::stats::sequential::{Claim, Part, RatioMargin, SampleRatio};

use crate::evaluators::{
    OfArmParts, OfLatency, OfMcNemar, OfMeans, OfPairs, OfPartPairs, OfRate, OfRateRatio, OfSampleRatio,
    OfScores, OfValues, SinceAny,
};
use crate::peers::{CanaryJudge, FixedThreshold, KolmogorovSmirnov, Looks, McNemarZ, TwoProportions};
use crate::simulation::{ByCondition, Condition, Shares};
use crate::streams::{
    ArmParts, Arms, Arrivals, Cases, Costs, Failures, Latencies, LossPairs, Losses, Pairs, PartPairs,
    Slowness, Stream, Truth,
};
use crate::trial::{
    Evaluator, Method, Setting, Test, alarms, early_excess, largest_by_chance, median_units, runs,
};
use crate::{ALPHA, Bench, Checks};

use Claim::{Harm, NonInferiority};
use Condition::{Adaptive, Daily, Delay, Incident, Ramp, Shards, Steady};

/// One version against a limit: an incident would cross the limit, and there is no share.
const ALONE: &[Condition] = &[Steady, Daily, Shards, Delay];
/// The same inputs: there is no share.
const PAIRED: &[Condition] = &[Steady, Daily, Incident, Shards, Delay];
const SPLIT: &[Condition] = &Condition::ALL;
/// Units alone: rates do not matter.
const UNITS: &[Condition] = &[Steady, Ramp, Adaptive, Shards, Delay];
/// Ratios: live's is taken to hold still while there is more and less traffic, so there is no incident.
const RATIO_PAIRED: &[Condition] = &[Steady, Daily, Shards, Delay];
const RATIO_SPLIT: &[Condition] = &[Steady, Daily, Ramp, Adaptive, Shards, Delay];
/// Blocks are closed in the order of time, on one thread; and what looks at everything is dear.
const BLOCKS_PAIRED: &[Condition] = &[Steady, Daily, Incident, Delay];
const BLOCKS_SPLIT: &[Condition] = &[Steady, Incident, Adaptive, Delay];
const LATENCY: &[Condition] = &[Steady, Daily, Incident, Adaptive];
/// Peers look at what they have in order.
const PEER_PAIRED: &[Condition] = &[Steady, Daily, Incident];
const PEER_SPLIT: &[Condition] = &[Steady, Daily, Incident, Ramp];

/// Methods that see the same traffic and the same harm, side by side in the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Pairs,
    Arms,
    Latency,
    Other,
}

/// Of methods that take long, one in so many runs is made.
const DEAR: usize = 4;

/// What is measured, and how it is called.
struct Entry<'a> {
    name: &'a str,
    key: &'a str,
    /// `None` of a peer.
    claim: Option<Claim>,
    group: Group,
    stream: &'a str,
    conditions: &'a [Condition],
    units: usize,
    /// Hundredths of traffic where the share is steady.
    share: u32,
    /// When the e-value is looked at for its mean; never where it is one in the limit alone.
    short: Option<usize>,
    alpha: f64,
    /// Whether its e-values take so long that a quarter of the runs at the margin must do.
    dear: bool,
    /// What the claim holds of where power is measured.
    effect: &'a str,
}

/// What was measured of a method.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) group: Group,
    pub(crate) claim: Option<Claim>,
    pub(crate) alpha: f64,
    /// Whether it holds at every size, and not in the limit alone.
    pub(crate) exact: bool,
    pub(crate) effect: String,
    pub(crate) cells: ByCondition<Cell>,
}

/// What was measured of a method under one condition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) false_alarms: f64,
    pub(crate) detected: f64,
    pub(crate) median: f64,
    /// By how many standard errors the mean of the early e-values exceeds 1.
    pub(crate) excess: Option<f64>,
}

impl Row {
    pub(crate) fn worst(&self) -> f64 {
        self.cells.values().map(|cell| cell.false_alarms).fold(0.0, f64::max)
    }

    /// Where nothing moves.
    pub(crate) fn steady(&self) -> Option<&Cell> {
        self.cells.get(&Steady)
    }

    fn claim_name(&self) -> &'static str {
        match self.claim {
            Some(Harm) => "harm",
            Some(NonInferiority) => "non-inferiority",
            None => "peer",
        }
    }
}

/// The table as it is being made.
pub(crate) struct Table<'a> {
    bench: &'a Bench,
    checks: &'a mut Checks,
    pub(crate) rows: Vec<Row>,
}

impl<'a> Table<'a> {
    pub(crate) fn new(bench: &'a Bench, checks: &'a mut Checks) -> Self {
        println!(
            "\nFalse alarms at the margin, and the median of units until the claim is shown where it holds (with the \
             share of\nruns that show it, where it is not all of them). {} and {} runs each ({} of methods marked *); \
             every unit is\nlooked after.",
            bench.runs,
            bench.power_runs,
            bench.runs / DEAR
        );
        println!(
            "\"-\": there is no share to move (one version, pairs), or the documentation does not allow it: an \
             incident crosses a\nlimit, and moves a ratio that is taken to hold still; shards would need blocks that \
             begin together. Peers see units\nin order.\n"
        );
        let mut heading = format!("{:<64}", "");
        Condition::ALL.iter().for_each(|condition| _ = write!(heading, " {:>11}", condition.name()));
        println!("{heading}");
        Self { bench, checks, rows: Vec::new() }
    }

    /// Everything, in the order in which it is printed.
    pub(crate) fn measure(mut self) -> Vec<Row> {
        self.alone();
        self.pairs();
        self.losses_of_pairs();
        self.ratios_of_pairs();
        self.arms();
        self.points_between_arms();
        self.costs();
        self.ratios_of_arms();
        self.arrivals();
        self.latencies();
        self.rows
    }

    fn alone(&mut self) {
        let (rate, mean) = (
            Failures(Cases { at_the_margin: 0.02, worse: 0.04, better: 0.01 }),
            Losses(Cases { at_the_margin: 0.05, worse: 0.075, better: 0.03 }),
        );
        let entry = Entry { conditions: ALONE, short: Some(200), ..ENTRY };
        for claim in [Harm, NonInferiority] {
            let effect = of_claim(claim, "errors 4 % instead of 2 %", "errors 1 % instead of 2 %");
            let named = Entry { name: "Rate, limit 2 %", key: "rate", stream: "rate", effect, ..entry };
            self.test(claim, named, &rate, OfRate::new(claim, 0.02));
            let effect = of_claim(claim, "mean .075 instead of .05", "mean .03 instead of .05");
            let named = Entry { name: "Mean, limit .05", key: "mean", stream: "mean", effect, ..entry };
            self.test(claim, named, &mean, OfScores::mean(claim, 0.05));
        }
    }

    fn pairs(&mut self) {
        let stream = pairs_at_no_margin();
        let entry =
            Entry { group: Group::Pairs, stream: "pairs", conditions: PAIRED, short: Some(100), ..ENTRY };
        let effect = |claim| of_claim(claim, "wrong 2 points more, 10 % discordant", "wrong 2 points less");
        for claim in [Harm, NonInferiority] {
            let named = Entry {
                name: "PairedDifference, margin 0",
                key: "paired_difference",
                effect: effect(claim),
                ..entry
            };
            self.test(claim, named, &stream, OfPairs::difference(claim, 0.0));
            let named =
                Entry { name: "PairedRatio, 1 times", key: "paired_ratio", effect: effect(claim), ..entry };
            self.test(claim, named, &stream, OfPairs::ratio(claim, 1.0));
        }
        let named = Entry { name: "mcnemar, prior 10", key: "mcnemar", effect: effect(Harm), ..entry };
        self.test(Harm, named, &stream, OfMcNemar);
        let named = Entry {
            name: "Blocks::since_any of PairedDifference",
            key: "since_any_paired_difference",
            conditions: BLOCKS_PAIRED,
            effect: effect(Harm),
            ..entry
        };
        self.since_any(named, &stream, OfPairs::difference(Harm, 0.0));
        for (name, key, every) in [
            ("z of McNemar, a look every 50 pairs", "mcnemar_z_every_50", 50),
            ("z of McNemar, a look every pair", "mcnemar_z", 1),
        ] {
            let named = Entry { name, key, conditions: PEER_PAIRED, effect: effect(Harm), ..entry };
            self.peer(named, &stream, &McNemarZ(Looks { from: 50, every }));
        }
        self.pairs_at_a_margin(entry);
    }

    fn pairs_at_a_margin(&mut self, entry: Entry<'_>) {
        let entry = Entry { group: Group::Other, ..entry };
        let points = Pairs {
            wrong: Cases {
                at_the_margin: [0.04, 0.06, 0.05],
                worse: [0.03, 0.07, 0.05],
                better: [0.05, 0.05, 0.05],
            },
            by_points: true,
        };
        let times = Pairs {
            wrong: Cases {
                at_the_margin: [0.03, 0.05, 0.05],
                worse: [0.03, 0.09, 0.05],
                better: [0.04, 0.03, 0.05],
            },
            by_points: false,
        };
        for claim in [Harm, NonInferiority] {
            let effect = of_claim(claim, "wrong 4 points more", "wrong as often");
            let named = Entry {
                name: "PairedDifference, margin 2 points",
                key: "paired_difference_2_points",
                stream: "pairs 2",
                effect,
                ..entry
            };
            self.test(claim, named, &points, OfPairs::difference(claim, 0.02));
            let effect = of_claim(claim, "wrong 1.75 times as often", "wrong .9 times as often");
            let named = Entry {
                name: "PairedRatio, 1.25 times",
                key: "paired_ratio_1.25",
                stream: "pairs 1.25",
                effect,
                ..entry
            };
            self.test(claim, named, &times, OfPairs::ratio(claim, 1.25));
        }
    }

    fn losses_of_pairs(&mut self) {
        let entry = Entry { conditions: PAIRED, short: Some(50), ..ENTRY };
        for (name, key, margin) in [
            ("PairedScores, margin 0", "paired_scores", 0.0),
            ("PairedScores, margin .02", "paired_scores_0.02", 0.02),
        ] {
            let stream =
                LossPairs(Cases { at_the_margin: margin, worse: margin + 0.02, better: margin - 0.02 });
            for claim in [Harm, NonInferiority] {
                let effect = of_claim(claim, "loss .02 above the margin", "loss .02 below the margin");
                let named = Entry { name, key, stream: key, effect, ..entry };
                self.test(claim, named, &stream, OfScores::paired(claim, margin));
            }
        }
    }

    fn ratios_of_pairs(&mut self) {
        let entry = Entry { conditions: RATIO_PAIRED, units: 5_000, short: Some(400), dear: true, ..ENTRY };
        for claim in [Harm, NonInferiority] {
            let effect = of_claim(claim, "false among alarms 35 % beside 20 %", "13 % beside 20 %");
            let named = Entry {
                name: "PairedRatioTest, precision, 5 points",
                key: "paired_precision",
                stream: "precision",
                effect,
                ..entry
            };
            let stream = PartPairs(Cases {
                at_the_margin: alarms_of_pairs(0.45),
                worse: alarms_of_pairs(0.75),
                better: alarms_of_pairs(0.1),
            });
            let test = OfPartPairs::new(claim, RatioMargin::Above(0.05), 1);
            self.test(claim, named, &stream, test);

            let effect = of_claim(claim, "1 - F1 .44 beside .25", "1 - F1 .20 beside .25");
            let named = Entry {
                name: "PairedRatioTest, 1 - F1, 1.25 times",
                key: "paired_f1",
                stream: "f1",
                effect,
                ..entry
            };
            let stream = PartPairs(Cases {
                at_the_margin: f1_of_pairs(1.25),
                worse: f1_of_pairs(1.75),
                better: f1_of_pairs(0.8),
            });
            self.test(claim, named, &stream, OfPartPairs::new(claim, RatioMargin::Times(1.25), 2));
        }
    }

    fn arms(&mut self) {
        let stream = arms_at_no_margin();
        let entry = Entry {
            group: Group::Arms,
            stream: "arms",
            conditions: SPLIT,
            units: 40_000,
            short: Some(1_000),
            ..ENTRY
        };
        let effect = "5 times the errors, of 2 %";
        for claim in [Harm, NonInferiority] {
            let effect = of_claim(claim, effect, "30 % of the errors");
            let named = Entry { name: "RateRatio, 1 times", key: "rate_ratio", effect, ..entry };
            self.test(claim, named, &stream, OfRateRatio::new(claim, 1.0));
        }
        let named = Entry {
            name: "Blocks::since_any of RateRatio",
            key: "since_any_rate_ratio",
            conditions: BLOCKS_SPLIT,
            units: 20_000,
            effect,
            ..entry
        };
        self.since_any(named, &stream, OfRateRatio::new(Harm, 1.0));
        let named = Entry {
            name: "MeanDifference of errors, margin 0",
            key: "mean_difference_of_errors",
            units: 10_000,
            effect,
            ..entry
        };
        self.test(Harm, named, &stream, OfMeans::new(Harm, 0.0, 0.02));
        let entry = Entry { conditions: PEER_SPLIT, effect, ..entry };
        for (name, key, every) in [
            ("z of two proportions, a look every 200 requests", "z_every_200", 200),
            ("z of two proportions, a look every request", "z", 1),
        ] {
            self.peer(Entry { name, key, ..entry }, &stream, &TwoProportions(Looks { from: 200, every }));
        }
        let named =
            Entry { name: "last 500 of the canary fail over twice as often", key: "threshold", ..entry };
        self.peer(named, &stream, &FixedThreshold { normal: stream.rate });
        self.arms_at_a_margin(Entry { group: Group::Other, conditions: SPLIT, ..entry });
    }

    fn arms_at_a_margin(&mut self, entry: Entry<'_>) {
        let stream = Arms {
            rate: 0.02,
            candidate: Cases { at_the_margin: 1.25, worse: 4.0, better: 0.5 },
            by_points: false,
        };
        for claim in [Harm, NonInferiority] {
            let effect = of_claim(claim, "4 times the errors", "half the errors");
            let named = Entry {
                name: "RateRatio, 1.25 times",
                key: "rate_ratio_1.25",
                stream: "arms 1.25",
                effect,
                ..entry
            };
            self.test(claim, named, &stream, OfRateRatio::new(claim, 1.25));
        }
    }

    fn points_between_arms(&mut self) {
        let stream = Arms {
            rate: 0.2,
            candidate: Cases { at_the_margin: 0.02, worse: 0.12, better: -0.08 },
            by_points: true,
        };
        let entry = Entry { conditions: SPLIT, units: 5_000, short: Some(200), dear: true, ..ENTRY };
        for claim in [Harm, NonInferiority] {
            let effect = of_claim(claim, "wrong 32 % beside 20 %", "wrong 12 % beside 20 %");
            let named = Entry {
                name: "MeanDifference, margin 2 points",
                key: "mean_difference_2_points",
                stream: "arms 2 points",
                effect,
                ..entry
            };
            self.test(claim, named, &stream, OfMeans::new(claim, 0.02, 0.2));
        }
    }

    fn costs(&mut self) {
        let entry = Entry { conditions: SPLIT, units: 10_000, ..ENTRY };
        for (name, key, margin) in [
            ("Asymptotic of log-normal costs, margin 0", "asymptotic", 0.0),
            ("Asymptotic of log-normal costs, margin .1", "asymptotic_0.1", 0.1),
        ] {
            let stream = Costs(Cases { at_the_margin: margin, worse: margin + 0.4, better: margin - 0.4 });
            for claim in [Harm, NonInferiority] {
                let effect = of_claim(claim, "cost .4 above the margin", "cost .4 below the margin");
                let named = Entry { name, key, stream: key, effect, ..entry };
                self.test(claim, named, &stream, OfValues::new(claim, margin));
            }
        }
    }

    fn ratios_of_arms(&mut self) {
        let called = |false_alarms: f64| {
            vec![(0.3 * (1.0 - false_alarms), part(0, 1)), (0.3 * false_alarms, part(1, 1))]
        };
        let stream = ArmParts {
            live: called(0.2),
            candidate: Cases { at_the_margin: called(0.25), worse: called(0.45), better: called(0.1) },
        };
        let entry =
            Entry { conditions: RATIO_SPLIT, units: 5_000, share: 50, short: Some(100), dear: true, ..ENTRY };
        for claim in [Harm, NonInferiority] {
            let effect = of_claim(claim, "false among alarms 45 % beside 20 %", "10 % beside 20 %");
            let named = Entry {
                name: "SplitRatioTest, precision, 5 points",
                key: "split_precision",
                stream: "split precision",
                effect,
                ..entry
            };
            self.test(claim, named, &stream, OfArmParts::new(claim, RatioMargin::Above(0.05), 1));
        }
    }

    fn arrivals(&mut self) {
        let entry = Entry {
            name: "SampleRatio, alpha .001",
            key: "sample_ratio",
            stream: "arrivals",
            conditions: UNITS,
            short: Some(500),
            alpha: SampleRatio::ALPHA,
            effect: "20 % of the canary's units lost",
            ..ENTRY
        };
        self.test(Harm, entry, &Arrivals { lost: 0.2 }, OfSampleRatio::new());
    }

    fn latencies(&mut self) {
        let stream = Latencies(Cases {
            at_the_margin: Slowness::Alike,
            worse: Slowness::All(1.2),
            better: Slowness::Alike,
        });
        let entry = Entry {
            group: Group::Latency,
            stream: "latencies",
            conditions: LATENCY,
            share: 20,
            short: Some(200),
            effect: "all latencies 20 % longer",
            ..ENTRY
        };
        let named = Entry { name: "mean of RateRatio at p50, p90, p99", key: "latency", ..entry };
        self.test(Harm, named, &stream, OfLatency::new());
        let entry = Entry { conditions: PEER_SPLIT, ..entry };
        let named = Entry {
            name: "Kolmogorov-Smirnov, a look every 200 requests",
            key: "kolmogorov_smirnov",
            ..entry
        };
        self.peer(named, &stream, &KolmogorovSmirnov(Looks { from: 200, every: 200 }));
        let named = Entry {
            name: "Mann-Whitney as in Kayenta, after every interval",
            key: "mann_whitney_kayenta",
            ..entry
        };
        self.peer(named, &stream, &CanaryJudge);
    }

    fn test<S: Stream, E: Evaluator<S::Seen>>(
        &mut self,
        claim: Claim,
        entry: Entry<'_>,
        stream: &S,
        evaluator: E,
    ) {
        let method = Test { evaluator, alpha: entry.alpha };
        self.row(Entry { claim: Some(claim), ..entry }, stream, &method);
    }

    fn since_any<S: Stream, E: Evaluator<S::Seen>>(&mut self, entry: Entry<'_>, stream: &S, evaluator: E) {
        let method = SinceAny { evaluator, alpha: entry.alpha };
        self.row(Entry { claim: Some(Harm), ..entry }, stream, &method);
    }

    fn peer<S: Stream, M: Method<S::Seen>>(&mut self, entry: Entry<'_>, stream: &S, method: &M) {
        self.row(Entry { claim: None, short: None, ..entry }, stream, method);
    }

    fn row<S: Stream, M: Method<S::Seen>>(&mut self, entry: Entry<'_>, stream: &S, method: &M) {
        let claim = entry.claim.unwrap_or(Harm);
        let mut row = Row {
            name: format!("{}{}", entry.name, if entry.dear { "*" } else { "" }),
            group: entry.group,
            claim: entry.claim,
            alpha: entry.alpha,
            exact: entry.short.is_some(),
            effect: entry.effect.to_owned(),
            cells: ByCondition::new(),
        };
        for condition in entry.conditions {
            let setting = |truth, units, short| Setting {
                stream: entry.stream,
                condition: *condition,
                truth,
                units,
                share: Shares::place_of(entry.share),
                short,
            };
            let bench = self.bench;
            let count = if entry.dear { bench.runs / DEAR } else { bench.runs };
            let quiet = runs(
                bench.seed,
                count,
                setting(Truth::AtTheMargin(claim), bench.units(entry.units), entry.short),
                stream,
                method,
            );
            let heard = runs(
                bench.seed,
                bench.power_runs,
                setting(Truth::Holding(claim), entry.units, None),
                stream,
                method,
            );
            let cell = Cell {
                false_alarms: alarms(&quiet),
                detected: alarms(&heard),
                median: median_units(&heard),
                excess: entry.short.map(|_| early_excess(&quiet)),
            };
            row.cells.insert(*condition, cell);
            self.check(&row, *condition, cell, count);
            self.keep(&row, &entry, *condition, cell);
        }
        print_row(&row);
        self.rows.push(row);
    }

    /// What must hold of every method of ours.
    fn check(&mut self, row: &Row, condition: Condition, cell: Cell, count: usize) {
        let where_ = format!("{}, {}, {}", row.name, row.claim_name(), condition.name());
        if row.claim.is_none() {
            return;
        }
        let most = largest_by_chance(row.alpha, count);
        self.checks.hold(cell.false_alarms <= most, || {
            format!("{where_}: {:.4} false alarms, more than {most:.4}", cell.false_alarms)
        });
        self.checks.hold(cell.detected > 0.0, || format!("{where_}: never sees \"{}\"", row.effect));
        self.checks.hold(cell.excess.is_none_or(|excess| excess <= 3.0), || {
            format!("{where_}: e-values are above 1 on average, by {:?} standard errors", cell.excess)
        });
    }

    fn keep(&mut self, row: &Row, entry: &Entry<'_>, condition: Condition, cell: Cell) {
        let claim = match row.claim {
            Some(Harm) => "_harm",
            Some(NonInferiority) => "_non_inferiority",
            None => "",
        };
        let peer = if row.claim.is_none() { "peer_" } else { "" };
        let key = format!("{peer}{}{claim}_{}", entry.key, condition.name());
        self.checks.figure(format!("{key}_false_alarms"), cell.false_alarms);
        self.checks.figure(format!("{key}_detected"), cell.detected);
        if cell.median.is_finite() {
            self.checks.figure(format!("{key}_median_units"), cell.median);
        }
    }
}

const ENTRY: Entry<'static> = Entry {
    name: "",
    key: "",
    claim: None,
    group: Group::Other,
    stream: "",
    conditions: &[],
    units: 20_000,
    share: 10,
    short: None,
    alpha: ALPHA,
    dear: false,
    effect: "",
};

fn of_claim<T>(claim: Claim, harm: T, non_inferiority: T) -> T {
    match claim {
        Harm => harm,
        NonInferiority => non_inferiority,
    }
}

fn print_row(row: &Row) {
    let mut alarms = format!("{:<64}", format!("{}, {}", row.name, row.claim_name()));
    let mut seen = format!("{:<64}", format!("    {}", row.effect));
    for condition in Condition::ALL {
        let Some(cell) = row.cells.get(&condition) else {
            alarms.push_str(&format!(" {:>11}", "-"));
            seen.push_str(&format!(" {:>11}", "-"));
            continue;
        };
        alarms.push_str(&format!(" {:>11.4}", cell.false_alarms));
        let median = if cell.median.is_finite() { format!("{:.0}", cell.median) } else { "never".to_owned() };
        let share =
            if cell.detected < 0.995 { format!(" {:.0}%", 100.0 * cell.detected) } else { String::new() };
        seen.push_str(&format!(" {:>11}", median + &share));
    }
    println!("{alarms}\n{seen}");
}

/// Wrong answers of 10 % of pairs, by one version alone: as often by either, or 2 points more by one.
pub(crate) fn pairs_at_no_margin() -> Pairs {
    let wrong =
        Cases { at_the_margin: [0.05, 0.05, 0.05], worse: [0.04, 0.06, 0.05], better: [0.06, 0.04, 0.05] };
    Pairs { wrong, by_points: true }
}

/// Errors of 2 % in both arms, or five times as many in the candidate's.
pub(crate) fn arms_at_no_margin() -> Arms {
    Arms { rate: 0.02, candidate: Cases { at_the_margin: 1.0, worse: 5.0, better: 0.3 }, by_points: false }
}

/// Both versions call 12 % yes, 8 % together. Of live's calls 20 % are false; so many of those that the candidate makes
/// alone.
fn alarms_of_pairs(false_alone: f64) -> Vec<(f64, (Part, Part))> {
    let (quiet, right, wrong) = (part(0, 0), part(0, 1), part(1, 1));
    vec![
        (0.08 * 0.85, (right, right)),
        (0.08 * 0.15, (wrong, wrong)),
        (0.04 * 0.7, (right, quiet)),
        (0.04 * 0.3, (wrong, quiet)),
        (0.04 * (1.0 - false_alone), (quiet, right)),
        (0.04 * false_alone, (quiet, wrong)),
    ]
}

/// Of 10.5 % that are yes, live finds 7.5 %, and it calls 2 % more: its 1 - F1 is .25. The candidate misses more, until
/// its own is so many times as large.
fn f1_of_pairs(times: f64) -> Vec<(f64, (Part, Part))> {
    let (nothing, found, wrong) = (part(0, 0), part(0, 2), part(1, 1));
    // What it misses besides moves from the denominator to the numerator.
    let missed = (times * 0.25 * 0.2 - 0.05) / (1.0 + times * 0.25);
    vec![
        (0.045, (found, found)),
        (0.03, (found, wrong)),
        (0.03 - missed, (wrong, found)),
        (missed, (wrong, wrong)),
        (0.01, (wrong, wrong)),
        (0.01, (wrong, nothing)),
        (0.01, (nothing, wrong)),
    ]
}

/// What one unit adds.
fn part(part: u8, whole: u8) -> Part {
    Part::of(part, whole).unwrap_or_default()
}
