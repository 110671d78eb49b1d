//! The goals: how soon harm is seen, in cases that everybody can compare with, and whether it is soon enough.

use switchback::stats::sequential::{Claim, EValue, Events, RateDetector};

use crate::controls::{FirstOfUser, sticky_users};
use crate::evaluators::{
    InBlocks, OfLatency, OfMcNemar, OfPairs, OfRateRatio, OfSampleRatio, OfValues, SinceAny,
};
use crate::peers::PageHinkley;
use crate::several::{REFERENCE, RUN_LENGTH};
use crate::simulation::{Condition, Random, Shares, World, each, number_of};
use crate::streams::{Arms, Cases, Latencies, Pairs, Slowness, Stream, Truth};
use crate::support::median;
use crate::table::pairs_at_no_margin;
use crate::trial::{
    Evaluator, Method, Run, Setting, Test, alarms, largest_by_chance, median_exposed, median_units, runs,
};
use crate::{ALPHA, Bench, Checks};

use Claim::{Harm, NonInferiority};
use Condition::{Incident, Ramp, Steady};

/// The goals, as they are looked at one by one.
pub(crate) struct Goals<'a> {
    bench: &'a Bench,
    checks: &'a mut Checks,
    missed: Vec<String>,
}

/// Figures of the goals that were measured elsewhere.
pub(crate) struct Elsewhere {
    pub(crate) false_alarms: f64,
    pub(crate) false_alarms_exact: f64,
    pub(crate) shortest_run_length: f64,
}

/// Which runs are made.
#[derive(Clone, Copy)]
struct Trial<'a> {
    stream: &'a str,
    condition: Condition,
    truth: Truth,
    units: usize,
    share: u32,
}

const HARM: Truth = Truth::Holding(Harm);
const NO_HARM: Truth = Truth::AtTheMargin(Harm);

/// Errors of 2 %, and of the candidate so many times as many.
fn errors(times: f64) -> Arms {
    Arms { rate: 0.02, candidate: Cases { at_the_margin: 1.0, worse: times, better: 1.0 }, by_points: false }
}

fn rate_ratio() -> Test<OfRateRatio> {
    Test { evaluator: OfRateRatio::new(Harm, 1.0), alpha: ALPHA }
}

impl<'a> Goals<'a> {
    pub(crate) fn new(bench: &'a Bench, checks: &'a mut Checks) -> Self {
        println!("\n{:<92} {:>10} {:>10}", "Goals", "figure", "goal");
        Self { bench, checks, missed: Vec::new() }
    }

    pub(crate) fn measure(mut self, elsewhere: &Elsewhere) {
        // The largest of some two hundred figures, each with the error of the simulation.
        let most = largest_by_chance(ALPHA, self.bench.runs);
        let what = format!(
            "false alarms of the worst test, condition and claim; {ALPHA} and 3 sd of the simulation"
        );
        self.at_most(&what, "false_alarms_worst", elsewhere.false_alarms, most);
        let what = "the same of tests that hold at every size, and not in the limit alone";
        self.at_most(what, "false_alarms_worst_exact", elsewhere.false_alarms_exact, most);
        self.pairs();
        self.promotion();
        self.canary();
        self.ramp();
        self.latency();
        self.sticky();
        self.over_the_oracle();
        self.late_onset();
        self.drift(elsewhere.shortest_run_length);
        println!("\n{} goals missed", self.missed.len());
        self.missed.iter().for_each(|missed| println!("    {missed}"));
        self.checks.figure("goals_missed".to_owned(), self.missed.len() as f64);
    }

    fn pairs(&mut self) {
        let stream = pairs_at_no_margin();
        let trial = Trial { stream: "pairs", condition: Steady, truth: HARM, units: 40_000, share: 10 };
        let test = Test { evaluator: OfPairs::difference(Harm, 0.0), alpha: ALPHA };
        let median = median_units(&self.runs(trial, &stream, &test));
        self.at_most("wrong 2 points more, 10 % discordant: pairs", "paired_2_points_pairs", median, 1_650.0);
        let test = Test { evaluator: OfMcNemar, alpha: ALPHA };
        let median = median_units(&self.runs(trial, &stream, &test));
        self.at_most("the same by mcnemar", "mcnemar_2_points_pairs", median, 1_650.0);
    }

    fn promotion(&mut self) {
        let wrong = Cases {
            at_the_margin: [0.005, 0.015, 0.05],
            worse: [0.005, 0.015, 0.05],
            better: [0.01, 0.01, 0.05],
        };
        let stream = Pairs { wrong, by_points: true };
        let test = Test { evaluator: OfPairs::difference(NonInferiority, 0.01), alpha: ALPHA };
        let truth = Truth::Holding(NonInferiority);
        let trial = Trial { stream: "promotion", condition: Steady, truth, units: 40_000, share: 10 };
        let median = median_units(&self.runs(trial, &stream, &test));
        let what = "equal models, margin 1 point, 2 % discordant: pairs to a promotion";
        self.at_most(what, "promotion_pairs", median, 2_000.0);
        let truth = Truth::AtTheMargin(NonInferiority);
        let wrongly = alarms(&self.quiet(Trial { truth, units: 20_000, ..trial }, &stream, &test));
        self.at_most("promotions of a candidate on that margin", "promotion_false_alarms", wrongly, ALPHA);
    }

    fn canary(&mut self) {
        let (test, peer) = (rate_ratio(), Test { evaluator: OfValues::new(Harm, 0.0), alpha: ALPHA });
        for (times, share, goal) in [(2.0, 10, 5_200.0), (5.0, 10, 600.0), (5.0, 1, 4_400.0)] {
            let stream = errors(times);
            let trial = Trial { stream: "canary", condition: Steady, truth: HARM, units: 80_000, share };
            let median = median_units(&self.runs(trial, &stream, &test));
            let what = format!("errors of 2 % times {times}, share {share} %: requests");
            self.at_most(&what, &format!("rate_ratio_{times}_share_{share}_requests"), median, goal);
            let median = median_units(&self.runs(trial, &stream, &peer));
            let key = format!("peer_asymptotic_{times}_share_{share}_requests");
            self.beside("the same by an asymptotic confidence sequence", &key, median);
        }
    }

    fn ramp(&mut self) {
        let (stream, test) = (errors(1.0), rate_ratio());
        let trial = Trial { stream: "ramp", condition: Ramp, truth: HARM, units: 40_000, share: 10 };
        for (times, goal) in [(5.0, 35.0), (20.0, 8.0)] {
            let exposed = median_exposed(&self.runs(trial, &errors(times), &test));
            let what = format!("ramp 1/5/25/50 %, errors times {times}: requests of the canary");
            self.at_most(&what, &format!("ramp_{times}_exposed_requests"), exposed, goal);
        }
        let quiet = Trial { truth: NO_HARM, ..trial };
        let wrongly = alarms(&self.quiet(quiet, &stream, &test));
        self.at_most("false alarms on the ramp", "ramp_false_alarms", wrongly, 0.02);
        let wrongly = alarms(&self.quiet(Trial { condition: Incident, ..quiet }, &stream, &test));
        self.at_most("the same with an incident that hits both", "ramp_incident_false_alarms", wrongly, 0.03);
    }

    fn latency(&mut self) {
        let slower =
            |worse| Latencies(Cases { at_the_margin: Slowness::Alike, worse, better: Slowness::Alike });
        let test = Test { evaluator: OfLatency::new(), alpha: ALPHA };
        let trial = Trial { stream: "latency", condition: Steady, truth: HARM, units: 40_000, share: 20 };
        for (name, key, worse, goal) in [
            ("20 % longer", "latency_20_percent_requests", Slowness::All(1.2), 1_000.0),
            ("5 % of them 3 times as long", "latency_tail_requests", Slowness::Some(0.05, 3.0), 1_800.0),
        ] {
            let median = median_units(&self.runs(trial, &slower(worse), &test));
            self.at_most(&format!("latencies {name}, share 20 %: requests"), key, median, goal);
        }
        let quiet = Trial { truth: NO_HARM, units: 20_000, ..trial };
        let wrongly = alarms(&self.quiet(quiet, &slower(Slowness::Alike), &test));
        self.at_most("false alarms of latencies", "latency_false_alarms", wrongly, ALPHA);
    }

    fn sticky(&mut self) {
        let stream = sticky_users();
        let trial = Trial { stream: "sticky", condition: Steady, truth: NO_HARM, units: 40_000, share: 10 };
        let test = Test { evaluator: FirstOfUser(OfRateRatio::new(Harm, 1.0)), alpha: ALPHA };
        let wrongly = alarms(&self.quiet(trial, &stream, &test));
        let what = "2,000 users who stay with a version, one outcome a user: false alarms";
        self.at_most(what, "sticky_false_alarms", wrongly, ALPHA);
        let test = Test { evaluator: FirstOfUser(OfSampleRatio::new()), alpha: 0.001 };
        let wrongly = alarms(&self.quiet(trial, &stream, &test));
        self.at_most("the same, alarms of the split of users", "sticky_split_false_alarms", wrongly, 0.001);
    }

    /// How much later than anybody could the onset mixture sees harm, over relative risks and shares.
    fn over_the_oracle(&mut self) {
        let (mut worst, mut where_) = (0.0, String::new());
        let test = SinceAny { evaluator: OfRateRatio::new(Harm, 1.0), alpha: ALPHA };
        let mut plain_worst = 0.0_f64;
        for times in [2.0, 3.0, 5.0, 10.0, 20.0] {
            for share in [1, 5, 10, 25, 50] {
                let oracle = oracle_requests(times, f64::from(share) / 100.0, 0.02, ALPHA);
                let units = (10.0 * oracle) as usize + 1_000;
                let trial = Trial { stream: "oracle", condition: Steady, truth: HARM, units, share };
                let ratio = median_units(&self.runs(trial, &errors(times), &test)) / oracle;
                let plain = median_units(&self.runs(trial, &errors(times), &rate_ratio())) / oracle;
                plain_worst = plain_worst.max(plain);
                self.checks.figure(format!("delay_over_oracle_{times}_share_{share}_ratio"), ratio);
                if ratio > worst {
                    (worst, where_) = (ratio, format!("{times} times at {share} %"));
                }
            }
        }
        let what = format!("delay over the oracle, errors times 2 to 20, shares 1 to 50 %: worst, {where_}");
        self.at_most(&what, "delay_over_oracle_worst", worst, 1.8);
        self.beside("the same without the mixture over onsets", "delay_over_oracle_plain_worst", plain_worst);
    }

    /// Errors until an alarm where the harm begins after 5,000 errors, over those where it is there from the start.
    fn late_onset(&mut self) {
        const CLEAN: usize = 5_000;
        let count = if self.bench.quick { 200 } else { 1_000 };
        let delay = |clean: usize, since_any: bool| {
            let seed = self.bench.seed;
            median(each(count, |run| {
                let random = Random::of(&[seed, number_of("late"), clean as u64, run as u64]);
                errors_until_alarm(random, clean, since_any)
            }))
        };
        let (fresh, late) = (delay(0, true), delay(CLEAN, true));
        let (fresh_plain, late_plain) = (delay(0, false), delay(CLEAN, false));
        self.checks.figure("late_onset_fresh_events".to_owned(), fresh);
        self.checks.figure("late_onset_events".to_owned(), late);
        let what = format!("errors times 5 after {CLEAN} errors: {late} errors, over {fresh} of fresh ones");
        self.at_most(&what, "late_onset_ratio", late / fresh, 6.0);
        let what = format!("the same without the mixture over onsets: {late_plain} over {fresh_plain}");
        self.beside(&what, "late_onset_plain_ratio", late_plain / fresh_plain);
    }

    fn drift(&mut self, run_length: f64) {
        let what = format!("average run length of RateDetector, asked for {RUN_LENGTH}: the shortest");
        self.at_least(&what, "rate_detector_run_length_units", run_length, RUN_LENGTH);
        let count = if self.bench.quick { 400 } else { 2_000 };
        let delays =
            each(count, |run| drift_delays(Random::of(&[self.bench.seed, number_of("drift"), run as u64])));
        let own = median(delays.iter().map(|delays| delays[0]));
        self.at_most("errors from 10 % to 20 % after 1,000: units", "drift_delay_units", own, 120.0);
        let peer = median(delays.iter().map(|delays| delays[1]));
        self.beside("the same by Page-Hinkley as river ships it", "peer_page_hinkley_delay_units", peer);
    }

    fn runs<S: Stream, M: Method<S::Seen>>(&self, trial: Trial<'_>, stream: &S, method: &M) -> Vec<Run> {
        self.so_many(if self.bench.quick { 400 } else { 2_000 }, trial, stream, method)
    }

    fn quiet<S: Stream, M: Method<S::Seen>>(&self, trial: Trial<'_>, stream: &S, method: &M) -> Vec<Run> {
        self.so_many(self.bench.runs, trial, stream, method)
    }

    fn so_many<S: Stream, M: Method<S::Seen>>(
        &self,
        count: usize,
        trial: Trial<'_>,
        stream: &S,
        method: &M,
    ) -> Vec<Run> {
        let Trial { stream: name, condition, truth, units, share } = trial;
        let share = Shares::place_of(share);
        let setting = Setting { stream: name, condition, truth, units, share, short: None };
        runs(self.bench.seed, count, setting, stream, method)
    }

    fn at_most(&mut self, what: &str, key: &str, figure: f64, goal: f64) {
        self.line(what, key, figure, Some((goal, figure <= goal)));
    }

    fn at_least(&mut self, what: &str, key: &str, figure: f64, goal: f64) {
        self.line(what, key, figure, Some((goal, figure >= goal)));
    }

    /// What is there to be compared with, and has no goal.
    fn beside(&mut self, what: &str, key: &str, figure: f64) {
        self.line(what, key, figure, None);
    }

    fn line(&mut self, what: &str, key: &str, figure: f64, goal: Option<(f64, bool)>) {
        let number = |value: f64| if value < 20.0 { format!("{value:.4}") } else { format!("{value:.0}") };
        let (wanted, verdict) = match goal {
            Some((goal, true)) => (number(goal), "met"),
            Some((goal, false)) => (number(goal), "NOT MET"),
            None => (String::new(), ""),
        };
        println!("    {what:<88} {:>10} {wanted:>10}  {verdict}", number(figure));
        if figure.is_finite() {
            self.checks.figure(key.to_owned(), figure);
        }
        if let Some((goal, false)) = goal {
            self.missed.push(format!("{what}: {}, wanted {}", number(figure), number(goal)));
        }
    }
}

/// `ln(1/alpha)` over the evidence that a request holds for whoever knows the relative risk: no test that keeps to
/// `alpha` needs fewer requests on average.
pub(crate) fn oracle_requests(times: f64, share: f64, rate: f64, alpha: f64) -> f64 {
    let errors = share * times + 1.0 - share;
    let of_candidate = share * times / errors;
    let per_error = of_candidate * (of_candidate / share).ln()
        + (1.0 - of_candidate) * ((1.0 - of_candidate) / (1.0 - share)).ln();
    (1.0 / alpha).ln() / (per_error * errors * rate)
}

/// Errors until an alarm at a share of 10 % and five times the errors, after so many errors with none too many.
fn errors_until_alarm(mut random: Random, clean: usize, since_any: bool) -> f64 {
    let (stream, ratio) = (errors(5.0), OfRateRatio::new(Harm, 1.0));
    let world = World::new(Steady, 1, Shares::place_of(10), &Shares::new(), &mut random);
    let (moment, threshold) = (world.moment(0), EValue::threshold(ALPHA).unwrap());
    let test = SinceAny { evaluator: ratio, alpha: ALPHA };
    let mut counts = InBlocks::default();
    let mut seen = 0;
    loop {
        let truth = if seen < clean { NO_HARM } else { HARM };
        let unit = stream.draw(&mut random, &moment, truth);
        test.count(&mut counts, &moment, unit);
        seen += usize::from(unit.seen.bad);
        // Only errors of the candidate's speak for harm.
        if seen > clean && unit.candidate && unit.seen.bad {
            let evidence = if since_any {
                test.evidence(&counts)
            } else {
                test.evaluator.e_value(&counts.0.total()).ln()
            };
            if evidence >= threshold.ln() {
                return (seen - clean) as f64;
            }
        }
    }
}

/// Units until a rise from the reference to twice as much is seen, after 1,000 units: by the detector and by Page and
/// Hinkley's. Alarms before it are overlooked.
fn drift_delays(mut random: Random) -> [f64; 2] {
    const BEFORE: usize = 1_000;
    const MOST: usize = 20_000;
    let (mut detector, mut peer) =
        (RateDetector::new(REFERENCE, RUN_LENGTH).unwrap(), PageHinkley::default());
    let mut delays = [f64::INFINITY; 2];
    for unit in 0..BEFORE + MOST {
        let bad = random.chance(if unit < BEFORE { REFERENCE } else { 2.0 * REFERENCE });
        detector.observe(Events { events: bad.into(), units: 1 });
        let found = [detector.has_risen(), peer.observe(bad)];
        if unit < BEFORE {
            if detector.has_risen() {
                detector.reset();
            }
            continue;
        }
        for (delay, _) in delays.iter_mut().zip(found).filter(|(delay, found)| *found && delay.is_infinite())
        {
            *delay = (unit + 1 - BEFORE) as f64;
        }
        if delays.iter().all(|delay| delay.is_finite()) {
            break;
        }
    }
    delays
}
