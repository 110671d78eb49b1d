//! Drift: what it costs, how often it is wrong, and how soon it is right.
//!
//! `cargo bench --bench drift`, and `-- --quick` for a short figure. Everything but the times follows from a seed.
//!
//! Ends with an error where a test raises more false alarms than it says, where one never sees anything, or where the
//! detector with a guaranteed run length does not keep it. Power stands in the row of every figure of false alarms: a
//! test that never fires has none.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on is to stop")]

mod detectors;
#[expect(clippy::disallowed_methods, reason = "times are real")]
#[path = "../support/mod.rs"]
mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use detectors::{Adwin, ByRate, Ddm, Detector, HddmA, PageHinkley};
use support::{Contestant, Outcome, Report, allocations_per_call, median, quick, time_per_call};
use switchback::Timestamp;
use switchback::drift::estimate::{Calibration, QualityEstimator};
use switchback::drift::{
    Cell, Control, Distances, Options, Profile, ReferenceProfile, Test, What, WindowSize, WindowedProfile,
    compare,
};

const NOMINAL: f64 = 0.05;

fn main() -> Outcome {
    let mut report = Report::with_tables_of_its_own("drift");
    let mut failures = Vec::new();
    costs(&mut report);
    false_alarms(&mut report, &mut failures);
    detectors(&mut report, &mut failures);
    estimated(&mut report, &mut failures);
    report.finish()?;
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ").into()) }
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// A category: the n-th as likely as 1/n to a power. Forty of them, and more beyond, seldom.
    fn category(&mut self, names: &[String], power: f64) -> usize {
        let u = self.uniform();
        (((names.len() as f64).powf(u.powf(power)) - 1.0) as usize).min(names.len() - 1)
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Costs

fn costs(report: &mut Report) {
    const NUMBERS: usize = 10;
    let mut chance = Chance(1);
    let names: Vec<String> = (0..40).map(|n| format!("carrier {n}")).collect();
    let mut row = |categories: usize| -> Vec<Cell<'_>> {
        let numbers = (0..NUMBERS).map(|_| Cell::Number(chance.normal())).collect::<Vec<_>>();
        let texts =
            (0..categories).map(|_| Cell::Text(&names[chance.category(&names, 1.0)])).collect::<Vec<_>>();
        [numbers, texts].concat()
    };
    let numeric: Vec<Vec<Cell<'_>>> = (0..10_000).map(|_| row(0)).collect();
    let mixed: Vec<Vec<Cell<'_>>> = (0..10_000).map(|_| row(NUMBERS)).collect();
    let builder =
        (0..NUMBERS).fold(ReferenceProfile::builder(), |builder, n| builder.numeric(format!("n{n}")));
    let of_numbers = builder.build_from(&numeric).unwrap();
    let builder = (0..NUMBERS).fold(builder, |builder, n| builder.categorical(format!("c{n}")));
    let of_both = builder.build_from(&mixed).unwrap();

    let recording = |reference: &ReferenceProfile, rows: Vec<Vec<Cell<'static>>>| {
        let mut profile = reference.profile();
        let mut next = 0;
        move || {
            next = (next + 1) % rows.len();
            profile.record(black_box(&rows[next])).unwrap();
        }
    };
    // The names live as long as the bench.
    let leak = |rows: &[Vec<Cell<'_>>]| -> Vec<Vec<Cell<'static>>> {
        let owned = |cell: &Cell<'_>| match cell {
            Cell::Text(text) => Cell::Text(Box::leak((*text).to_owned().into_boxed_str())),
            Cell::Number(number) => Cell::Number(*number),
            Cell::Missing => Cell::Missing,
        };
        rows.iter().take(1_000).map(|row| row.iter().map(owned).collect()).collect()
    };
    let (numeric, mixed) = (leak(&numeric), leak(&mixed));
    let allocations = allocations_per_call(&mut recording(&of_both, mixed.clone()));

    let mut window = of_both.profile();
    mixed.iter().for_each(|row| window.record(row).unwrap());
    let options = Options::default();
    let contestants = [
        Contestant::new("numbers", |_| Box::new(recording(&of_numbers, numeric.clone()))),
        Contestant::new("numbers_aa", |_| Box::new(recording(&of_numbers, numeric.clone()))),
        Contestant::new("both", |_| Box::new(recording(&of_both, mixed.clone()))),
        Contestant::new("by hand", |_| Box::new(by_hand(&numeric))),
        Contestant::new("snapshot", |_| {
            let mut all = of_both.profile();
            let window = window.clone();
            Box::new(move || all.merge(black_box(&window)).unwrap())
        }),
        Contestant::new("compare", |_| {
            Box::new(|| {
                black_box(compare(&of_both, black_box(&window), &options).unwrap());
            })
        }),
    ];
    let rounds = time_per_call(&contestants, Duration::from_secs(if quick() { 2 } else { 10 }));
    let per_number = rounds.median("numbers") / NUMBERS as f64;
    let per_category = (rounds.median("both") - rounds.median("numbers")) / NUMBERS as f64;
    let by_hand = rounds.median("by hand") / NUMBERS as f64;
    println!(
        "\nrecord, a feature that is a number            {per_number:8.1} ns  (binary search by hand {by_hand:.1} ns)"
    );
    println!("record, a feature that is a category          {per_category:8.1} ns  (40 categories)");
    println!("allocations per record                        {allocations:8.3}");
    println!("snapshot: merge a profile of 20 features      {:8.2} us", rounds.median("snapshot") / 1e3);
    println!("compare 20 features                           {:8.2} us", rounds.median("compare") / 1e3);
    report.figure("ns_per_feature", per_number.max(per_category));
    report.figure("ns_per_numeric_feature", per_number);
    report.figure("ns_per_numeric_feature_aa", rounds.difference("numbers_aa", "numbers") / NUMBERS as f64);
    report.figure("ns_per_categorical_feature", per_category);
    report.figure("peer_ns_per_numeric_feature", by_hand);
    report.figure("allocations_per_record", allocations);
    report.figure("snapshot_us", rounds.median("snapshot") / 1e3);
    report.figure("compare_us", rounds.median("compare") / 1e3);
}

/// What a user would write: a sorted list of edges and a count for each, per feature, under no lock.
fn by_hand(rows: &[Vec<Cell<'static>>]) -> impl FnMut() + use<> {
    let edges: Vec<f64> = (1..10).map(|n| f64::from(n - 5) / 2.0).collect();
    let mut counts = vec![[0_u64; 10]; 10];
    let numbers: Vec<Vec<f64>> = rows
        .iter()
        .map(|row| {
            row.iter().filter_map(|cell| if let Cell::Number(x) = cell { Some(*x) } else { None }).collect()
        })
        .collect();
    let mut next = 0;
    move || {
        next = (next + 1) % numbers.len();
        for (counts, x) in counts.iter_mut().zip(&numbers[next]) {
            counts[edges.partition_point(|edge| edge <= x)] += 1;
        }
        black_box(&counts);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// False alarms and power

const REFERENCE: usize = 10_000;
const WINDOWS: [usize; 4] = [100, 300, 1_000, 5_000];

/// What raises an alarm, given what was counted of a window.
struct Rule {
    name: &'static str,
    /// Whether its error is as stated: ours.
    held: bool,
    feature: &'static str,
    alarms: Alarms,
}

type Alarms = Box<dyn Fn(&ReferenceProfile, &Profile) -> bool>;

fn rules() -> Vec<Rule> {
    let ours = |name, test, feature: &'static str, what| {
        let options = Options::default()
            .test(test)
            .control(Control::PerFeature)
            .alpha(NOMINAL)
            .unwrap()
            .minimum_effect(0.0)
            .unwrap();
        let options = options.minimum_share(0.0).unwrap();
        let alarms = move |reference: &ReferenceProfile, window: &Profile| {
            let table = compare(reference, window, &options).unwrap();
            table.drifted().any(|row| row.feature == feature && row.what == what)
        };
        Rule { name, held: true, feature, alarms: Box::new(alarms) }
    };
    // What others do, on the same counts: Evidently, NannyML and whylogs, and the rule of thumb of banks.
    let fixed = |name, limit: f64, distance: fn(&Distances) -> f64| {
        let alarms = move |reference: &ReferenceProfile, window: &Profile| {
            let bins = |profile: &Profile| profile.bins("number").unwrap().to_vec();
            let found = Distances::between(&bins(reference.counted()), &bins(window), None).unwrap();
            distance(&found) >= limit
        };
        Rule { name, held: false, feature: "number", alarms: Box::new(alarms) }
    };
    vec![
        ours("Jensen-Shannon", Test::JensenShannon, "number", What::Distribution),
        ours("PSI", Test::Psi, "number", What::Distribution),
        ours("Hellinger", Test::Hellinger, "number", What::Distribution),
        ours("chi-squared", Test::ChiSquared, "number", What::Distribution),
        ours("Kolmogorov-Smirnov", Test::KolmogorovSmirnov, "number", What::Distribution),
        ours("Jensen-Shannon, categories", Test::JensenShannon, "category", What::Distribution),
        ours("PSI, categories", Test::Psi, "category", What::Distribution),
        ours("missing", Test::JensenShannon, "number", What::Missing),
        ours("unseen", Test::JensenShannon, "category", What::Unseen),
        fixed("PSI >= 0.1", 0.1, |distances| distances.psi),
        fixed("JS distance (ln) >= 0.1", 0.1, Distances::jensen_shannon_distance),
        fixed("JS distance (base 2) >= 0.1", 0.1, |distances| {
            distances.jensen_shannon_distance() / std::f64::consts::LN_2.sqrt()
        }),
        fixed("Hellinger >= 0.15", 0.15, |distances| distances.hellinger),
    ]
}

/// How a window differs: by the mean of the number, the evenness of the categories, how often the number is missing.
#[derive(Clone, Copy)]
struct World {
    shift: f64,
    power: f64,
    missing: f64,
    new: f64,
}

const AS_TRAINED: World = World { shift: 0.0, power: 1.0, missing: 0.05, new: 0.0 };
const DRIFTED: World = World { shift: 0.3, power: 0.8, missing: 0.1, new: 0.05 };

impl World {
    fn row<'a>(self, chance: &mut Chance, names: &'a [String]) -> [Cell<'a>; 2] {
        let number = chance.normal() + self.shift;
        let number = if chance.uniform() < self.missing { Cell::Missing } else { Cell::Number(number) };
        let category = &names[chance.category(names, self.power)];
        [number, Cell::Text(if chance.uniform() < self.new { "never seen" } else { category })]
    }
}

fn false_alarms(report: &mut Report, failures: &mut Vec<String>) {
    let runs = if quick() { 300 } else { 3_000 };
    let names: Vec<String> = (0..400).map(|n| format!("airport {n}")).collect();
    let rules = rules();
    // By rule, window and world.
    let mut alarms = vec![[[0_u32; 2]; WINDOWS.len()]; rules.len()];
    let mut chance = Chance(7);
    let builder = ReferenceProfile::builder().numeric("number").categorical("category");
    let training = |chance: &mut Chance| -> Vec<[Cell<'_>; 2]> {
        (0..REFERENCE).map(|_| AS_TRAINED.row(chance, &names)).collect()
    };
    let mut reference = builder.build_from(training(&mut chance)).unwrap();
    for run in 0..runs {
        // Another training set now and then: the error is over both samples.
        if run % 3 == 2 {
            reference = builder.build_from(training(&mut chance)).unwrap();
        }
        for (size, alarms_at) in WINDOWS.iter().zip(0..) {
            for (world, place) in [AS_TRAINED, DRIFTED].into_iter().zip(0..) {
                let mut window = reference.profile();
                (0..*size).for_each(|_| window.record(&world.row(&mut chance, &names)).unwrap());
                for (rule, alarms) in rules.iter().zip(&mut alarms) {
                    alarms[alarms_at][place] += u32::from((rule.alarms)(&reference, &window));
                }
            }
        }
    }

    println!(
        "\nfalse alarms and, after the slash, power; reference of {REFERENCE} rows, {runs} runs; ours at {NOMINAL}\n{:<30} {}",
        "",
        WINDOWS.map(|size| format!("{size:>13}")).concat()
    );
    let (mut worst, mut peer) = (0.0_f64, 0.0_f64);
    for (rule, alarms) in rules.iter().zip(&alarms) {
        let rates = alarms.map(|alarms| alarms.map(|count| f64::from(count) / f64::from(runs)));
        let cells = rates.map(|[wrong, right]| format!("{:>13}", format!("{wrong:.3}/{right:.2}"))).concat();
        println!("{:<30} {cells}", rule.name);
        let most = rates.iter().map(|[wrong, _]| *wrong).fold(0.0, f64::max);
        if rule.held {
            worst = worst.max(most);
            if rates.iter().all(|[_, right]| *right < 0.5) {
                failures.push(format!("{} on {} sees nothing", rule.name, rule.feature));
            }
        } else {
            peer = peer.max(most);
        }
    }
    let chance = 3.0 * (0.075 * 0.925 / f64::from(runs)).sqrt();
    if worst > 0.075 + chance {
        failures.push(format!("false alarms of {worst:.3} at a nominal {NOMINAL}"));
    }
    report.figure("false_alarms_worst", worst);
    report.figure("false_alarms_nominal", NOMINAL);
    report.figure("peer_false_alarms_worst", peer);
    report.figure("false_alarm_runs", f64::from(runs));
}

// ---------------------------------------------------------------------------------------------------------------------
// Detectors

struct Watcher {
    name: &'static str,
    make: fn() -> Box<dyn Detector>,
    /// Median delays of river 0.26.1 (of the paper's formula for e-SR) from 10 % to 12, 15 and 20 %.
    river: [&'static str; 3],
    /// How far apart its false alarms are, or how many there are in 60,000 values.
    apart: &'static str,
}

fn detectors(report: &mut Report, failures: &mut Vec<String>) {
    let watchers = [
        Watcher {
            name: "e-SR, run length 10,000",
            make: || Box::new(ByRate::new(0.1, 1e4)),
            river: ["923", "282", "110"],
            apart: "11,417",
        },
        Watcher {
            name: "ADWIN",
            make: || Box::new(Adwin::default()),
            river: ["miss", "1912", "440"],
            apart: "0 in 60k",
        },
        Watcher {
            name: "Page-Hinkley",
            make: || Box::new(PageHinkley::default()),
            river: ["3042", "1853", "632"],
            apart: "1 in 60k",
        },
        Watcher {
            name: "DDM",
            make: || Box::new(Ddm::default()),
            river: ["930", "386", "244"],
            apart: "untold",
        },
        Watcher {
            name: "HDDM-A",
            make: || Box::new(HddmA::default()),
            river: ["miss", "1503", "483"],
            apart: "~0",
        },
    ];
    detectors::check(failures);
    let (runs, lengths) = if quick() { (60, 60) } else { (400, 400) };
    println!(
        "\nmedian delay after a rate of 0.10 for 1,000 values (and what river or the paper's code takes), misses within 4,000\n\
         {:<26} {:>20} {:>20} {:>20} {:>14} {:>20}",
        "", "to 0.12", "to 0.15", "to 0.20", "before change", "run length"
    );
    for watcher in watchers {
        let mut cells = Vec::new();
        let mut early = 0;
        for (rate, river) in [0.12, 0.15, 0.2].into_iter().zip(watcher.river) {
            let mut delays: Vec<f64> = Vec::new();
            for run in 0..runs {
                let mut chance = Chance(1_000 + run);
                let mut detector = (watcher.make)();
                for _ in 0..1_000 {
                    early += u32::from(detector.push(f64::from(chance.uniform() < 0.1)));
                }
                let delay = (1..=4_000).find(|_| detector.push(f64::from(chance.uniform() < rate)));
                delays.push(delay.map_or(f64::INFINITY, f64::from));
            }
            let missed = delays.iter().filter(|delay| delay.is_infinite()).count();
            let middle = median(delays);
            if watcher.name.starts_with("e-SR") {
                report.figure(&format!("e_sr_delay_median_{:.0}", rate * 100.0), middle);
                if rate == 0.2 {
                    report.figure("e_sr_delay_median", middle);
                }
            }
            if watcher.name == "ADWIN" && rate == 0.2 {
                report.figure("peer_adwin_delay_median", middle);
            }
            if watcher.name == "Page-Hinkley" && rate == 0.2 {
                report.figure("peer_page_hinkley_delay_median", middle);
            }
            let share = 100 * missed / runs as usize;
            let middle = if middle.is_finite() { format!("{middle:.0}") } else { "miss".to_owned() };
            cells.push(format!("{:>20}", format!("{middle} ({river}), {share}%")));
        }
        let length = run_length(watcher.make, lengths);
        let shown = match length {
            (values, 0) => format!("none in {values}"),
            (values, alarms) => format!("{:.0} ({alarms} alarms)", values as f64 / alarms as f64),
        };
        let early = f64::from(early) / (3.0 * runs as f64);
        println!("{:<26} {} {early:>14.2} {shown:>20} ({})", watcher.name, cells.join(" "), watcher.apart);
        if watcher.name.starts_with("e-SR") {
            let average = length.0 as f64 / length.1.max(1) as f64;
            report.figure("e_sr_run_length", average);
            // Alarms are nearly exponential, so that is their mean's standard error.
            if average < 1e4 * (1.0 - 3.0 / (length.1.max(1) as f64).sqrt()) {
                failures.push(format!("an e-SR run length of {average:.0}"));
            }
        }
    }
}

/// Values and alarms at a rate that does not change, until so many alarms or 60,000 values for each.
fn run_length(make: fn() -> Box<dyn Detector>, most: u64) -> (u64, u64) {
    let (mut detector, mut chance) = (make(), Chance(99));
    let (mut values, mut alarms) = (0, 0);
    while alarms < most && values < 13_000 * most {
        values += 1;
        alarms += u64::from(detector.push(f64::from(chance.uniform() < 0.1)));
    }
    (values, alarms)
}

// ---------------------------------------------------------------------------------------------------------------------
// Estimated quality

/// A stream in which inputs shift, and what they mean does not: chunks of 5,000 rows, the second half shifted.
fn estimated(report: &mut Report, failures: &mut Vec<String>) {
    const CHUNK: u64 = 5_000;
    let (chunks, streams) = if quick() { (10, 8) } else { (20, 10) };
    let (mut off, mut oracle, mut naive) = (Vec::new(), Vec::new(), Vec::new());
    let (mut inside, mut alarms, mut right) = (0, [0; 2], 0.0);
    for stream in 0..streams {
        let mut chance = Chance(500 + stream);
        // What the model says is not calibrated: the truth has another slope. It is right in some 93 % of all cases.
        let mut row = |shift: f64| {
            let x = chance.normal() * 4.0 + shift;
            let (score, truth) = (1.0 / (1.0 + (-x).exp()), 1.0 / (1.0 + (0.3 - 1.7 * x).exp()));
            let surely = if score >= 0.5 { truth } else { 1.0 - truth };
            (score, chance.uniform() < truth, surely)
        };
        let mut rows_of = |count: u64, shift: f64| -> (Vec<(f64, bool)>, f64) {
            let rows: Vec<(f64, bool, f64)> = (0..count).map(|_| row(shift)).collect();
            let known = rows.iter().map(|(_, _, surely)| surely).sum::<f64>() / count as f64;
            (rows.into_iter().map(|(score, label, _)| (score, label)).collect(), known)
        };
        let (reference, _) = rows_of(50_000, 0.0);
        let accuracy = |rows: &[(f64, bool)]| {
            rows.iter().filter(|(score, label)| (*score >= 0.5) == *label).count() as f64 / rows.len() as f64
        };
        let at_reference = accuracy(&reference);
        let calibration = Arc::new(Calibration::fit(reference.iter().copied()).unwrap());
        let scores =
            |rows: &[(f64, bool)]| rows.iter().map(|(score, _)| [Cell::Number(*score)]).collect::<Vec<_>>();
        let profile = ReferenceProfile::builder().numeric("score").build_from(scores(&reference)).unwrap();
        let mut windows = WindowedProfile::new(profile, WindowSize::Rows(CHUNK)).unwrap();
        for chunk in 0..chunks {
            let shifted = usize::from(chunk >= chunks / 2);
            let (rows, known) = rows_of(CHUNK, 4.0 * shifted as f64);
            let mut traffic = QualityEstimator::new(Arc::clone(&calibration), 0.5).unwrap();
            rows.iter().for_each(|(score, _)| traffic.record(*score));
            scores(&rows).iter().for_each(|row| windows.record(Timestamp::default(), row).unwrap());
            let (found, realised) = (traffic.estimate(0.05).unwrap().accuracy.unwrap(), accuracy(&rows));
            off.push((found.value - realised).abs());
            oracle.push((known - realised).abs());
            naive.push((at_reference - realised).abs());
            inside += u32::from((found.low..=found.high).contains(&realised));
            alarms[shifted] +=
                u32::from(windows.against_training(&Options::default()).unwrap().has_drifted());
            right += realised;
        }
    }
    let count = off.len() as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / count;
    let (mae, oracle, naive) = (mean(&off), mean(&oracle), mean(&naive));
    let shares = alarms.map(|alarms| f64::from(alarms) / (count / 2.0));
    println!(
        "\nCBPE, chunks of {CHUNK} rows, half of them shifted; realised accuracy {:.3} on average",
        right / count
    );
    println!(
        "mean absolute error                           {mae:8.4}  (the reference's accuracy instead {naive:.4})"
    );
    println!("of who knows the true probabilities           {oracle:8.4}");
    println!("realised within the 95 % interval             {:8.3}", f64::from(inside) / count);
    println!("drift found in chunks as trained and shifted  {:8.3} {:8.3}", shares[0], shares[1]);
    report.figure("cbpe_mae", mae);
    report.figure("cbpe_mae_of_truth", oracle);
    report.figure("peer_cbpe_mae_of_reference", naive);
    report.figure("cbpe_interval_coverage", f64::from(inside) / count);
    report.figure("drift_alarms_as_trained", shares[0]);
    report.figure("drift_alarms_shifted", shares[1]);
    if f64::from(inside) / count < 0.95 - 3.0 * (0.05 * 0.95 / count).sqrt() {
        failures.push("CBPE's interval is too narrow".to_owned());
    }
}
