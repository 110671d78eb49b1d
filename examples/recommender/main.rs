//! Simulated readers, real decisions: a shop window of books that changes its ranking while people look at it.
//!
//! The seed of this library. Two ways to rank share nothing but their question and their answer: one counts the genres
//! that somebody reads, the other has learnt which books go together. What is right is known by clicks, and a click
//! exists only for what was shown: so a shadow has no truth, and versions are compared on the readers of a canary, each
//! of whom stays with the ranking they got and counts once, by their first visit since. Who does not click says nothing;
//! after two hours that means no.
//!
//! v2 is better and is promoted by its plan. v3 has learnt more and is fed by a pipeline that counts the catalogue from
//! another book on: nothing fails, nothing is slower, and its guard takes it back. While v4, which is v3 mended, is on
//! trial, spring comes and everybody wants other books. Clicks fall for both versions, a comparison of what came in shows
//! that it is the world, and nothing is rolled back.
//!
//! Everything follows from a seed; no ONNX is needed.
//!
//! ```sh
//! cargo run --release --example recommender --no-default-features
//! cargo run --release --example recommender --no-default-features -- --report v3.html   # and a page about what became of v3
//! ```

mod counts;
mod rankers;
mod shop;
mod world;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use switchback::decisions::replay;
use switchback::drift::{DriftTable, DriftVerdict, Options as Comparison, What, compare_windows};
use switchback::events::{Cause, Event, EventKind};
use switchback::plan::PlanError;
use switchback::stats::{ArmFigures, Metric};
use switchback::{Phase, Plan, Rollout, Step, Timestamp, guard, report};

use counts::Arm;
use rankers::{Factors, Shown, Visit};
use shop::{DAY, Shop};

const HELP: &str = "\
Simulates readers who look at a ranked list of books, and a service that changes its ranking meanwhile.

Options:
  --readers N        how many readers there are                             [30000]
  --seed N           what chance begins with                                [1]
  --report FILE      writes a page about the ranking that was taken back, and beside it one about the
                     one that was on trial when taste changed; Markdown where FILE ends in .md
  --help
";

/// By how much the share of visits with a click may lie below live's.
const MARGIN: f64 = 0.05;
/// So many books came to the front of the catalogue, unknown to the pipeline of v3.
const NEW_BOOKS: usize = 2;

/// What the command line says.
struct Options {
    readers: usize,
    seed: u64,
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    match Options::parse() {
        Ok(Some(options)) => match run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("recommender: {error}");
                ExitCode::FAILURE
            }
        },
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("recommender: {error}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

/// What came of it all.
struct Story {
    refused: String,
    /// The shares of visits with a click, of live and candidate, before spring and after.
    before: Vec<Arm>,
    after: Vec<Arm>,
    /// What came in after spring: live's readers and the candidate's against before, and against one another.
    drift: [DriftTable; 3],
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    println!(
        "The readers and their books are simulated ({} readers, seed {}); what is decided about them is not.\n",
        options.readers, options.seed
    );
    let mut shop = Shop::open(options.readers, options.seed)?;
    shop.days(3)?;

    tell(
        &shop,
        "v2 has learnt which books go together. A plan that begins with a shadow, as for a classifier:",
    );
    let v2 = Factors::learn(shop.histories());
    let rollout = shop.stage("v2", "factors@1.0", move |visit| v2.rank(visit))?.guard(clicks());
    let refused = match rollout.run(Plan::ramp([0.1, 0.5])?) {
        Ok(()) => return Err("a shadow was taken for evidence of clicks".into()),
        Err(error) => chain(&error),
    };
    println!(
        "            refused: {refused}\n            So it goes to readers at once, to one in ten of them first."
    );
    rollout.run(plan()?)?;
    shop.until_over(&rollout)?;

    shop.days(3)?;
    tell(
        &shop,
        "v3 has learnt from what was read since, too; its pipeline counts from where the catalogue used to begin.",
    );
    let v3 = Factors::learn(shop.histories()).off_by(NEW_BOOKS);
    let rollout = shop.stage("v3", "factors@1.1", move |visit| v3.rank(visit))?.guard(clicks());
    rollout.run(plan()?)?;
    shop.until_over(&rollout)?;

    shop.days(2)?;
    tell(&shop, "v4 is v3 with its pipeline mended.");
    let v4 = Factors::learn(shop.histories());
    let rollout = shop.stage("v4", "factors@1.2", move |visit| v4.rank(visit))?.guard(clicks());
    rollout.run(plan()?)?;
    shop.counts.take();
    shop.days(2)?;
    let story = Story { refused, ..spring(&mut shop, &rollout)? };
    shop.until_over(&rollout)?;
    shop.close_time()?;

    print_figures(&shop);
    if let Some(file) = &options.report {
        write_pages(&shop, &story, file)?;
    }
    check(&shop, &story)
}

/// One more reader in twenty without a click, at most.
fn clicks() -> Result<guard::Rule, guard::RuleError> {
    guard::kpi("click").at_most_below_live(MARGIN)
}

/// A tenth of the readers, then half of them, each for three days at least.
fn plan() -> Result<Plan, PlanError> {
    let days = |step: Step| step.min_duration(DAY * 3).max_duration(DAY * 15);
    Plan::new([days(Step::canary(0.1)?), days(Step::canary(0.5)?)])
}

/// Taste changes for everybody while a candidate is on trial.
fn spring(shop: &mut Shop, rollout: &Rollout<Visit, Shown>) -> Result<Story, Box<dyn Error>> {
    let before = shop.counts.take();
    tell(shop, "Spring comes: everybody wants to travel and to dig, and nobody wants to be frightened.");
    shop.world.spring_comes();
    shop.days(3)?;
    let after = shop.counts.take();
    let (live, candidate) = (shop.handle.live(), rollout.version());
    let missing = "a version that answered nobody";
    let was = Arm::of(&before, live).ok_or(missing)?;
    let is = Arm::of(&after, live).ok_or(missing)?;
    let tried = Arm::of(&after, candidate).ok_or(missing)?;
    let options = Comparison::default();
    // Live's readers of before are what is compared with.
    let of = |seen| compare_windows(&was.seen, seen, &options);
    let drift = [of(&is.seen)?, of(&tried.seen)?, compare_windows(&is.seen, &tried.seen, &options)?];
    println!("            Visits with a click, and what came in:");
    for (arms, when) in [(&before, "before"), (&after, "after")] {
        for arm in arms {
            println!(
                "            {when:<7} {:<3} {:>6} visits, {:.1} % with a click",
                arm.version,
                arm.visits,
                arm.rate() * 100.0
            );
        }
    }
    for (table, what) in drift.iter().zip([
        "live's readers, against before",
        "the candidate's, against before",
        "one against the other",
    ]) {
        let found: Vec<String> =
            table.drifted().map(|row| format!("{}, {} ({:.2})", row.feature, row.what, row.effect)).collect();
        let found = if found.is_empty() { "nothing has drifted".to_owned() } else { found.join(", ") };
        println!("            {what}: {found}");
    }
    println!("            Both have it: it is the world, and nothing against {}.", rollout.version());
    Ok(Story { refused: String::new(), before, after, drift })
}

/// What is known of each version in the end.
fn print_figures(shop: &Shop) {
    println!(
        "\n{:7} {:>9} {:>12} {:>22} {:>10}",
        "", "visits", "with a click", "NDCG where there is one", "errors"
    );
    let mut versions = shop.handle.status().versions;
    versions.sort_by(|a, b| a.version.as_str().cmp(b.version.as_str()));
    for version in &versions {
        let ArmFigures { requests, error_rate, .. } = version.total;
        println!(
            "{:7} {requests:>9} {:>11.1}% {:>23.3} {:>9.1}%",
            version.version.as_str(),
            click_rate(&version.total).unwrap_or(f64::NAN) * 100.0,
            ndcg(&version.total).unwrap_or(f64::NAN),
            error_rate.unwrap_or(0.0) * 100.0,
        );
    }
    println!(
        "\n{} visits of {} readers; {} clicked, {} said nothing.",
        shop.visits,
        shop.readers_seen(),
        shop.clicked,
        shop.visits - shop.clicked
    );
}

fn click_rate(figures: &ArmFigures) -> Option<f64> {
    figures.kpis.iter().find(|kpi| *kpi.name == *"click")?.mean
}

fn ndcg(figures: &ArmFigures) -> Option<f64> {
    Some(figures.quality.as_ref()?.measure(Metric::Ndcg)?.value)
}

/// Writes a page about v3, which was taken back, and beside it one about v4, during whose trial taste changed.
fn write_pages(shop: &Shop, story: &Story, file: &Path) -> Result<(), Box<dyn Error>> {
    let markdown = file.extension().is_some_and(|extension| extension == "md");
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let extension = file.extension().unwrap_or_default().to_string_lossy();
    let beside = file.with_file_name(format!("{stem}-spring.{extension}"));
    let simulated = "The readers are simulated.";
    let v3 = shop.handle.report("v3").ok_or("the rollout is forgotten")?.note(simulated);
    let [_, candidate, _] = &story.drift;
    let about = "the candidate's readers in the three days after spring came, against live's before";
    let table = candidate.rows().iter().fold(report::DriftSummary::new(about), |table, row| {
        let shown = report::DriftSummaryRow::new(row.feature.clone(), row.what.to_string(), row.effect);
        let shown = row.p.map_or(shown.clone(), |p| shown.p(p));
        let verdict = if row.verdict == DriftVerdict::Drifted {
            "drifted, for live's readers too".into()
        } else {
            row.verdict.to_string()
        };
        table.row(shown.verdict(verdict))
    });
    let v4 = shop.handle.report("v4").ok_or("the rollout is forgotten")?.drift(table).note(simulated).note(
        "Spring came on the third day, for the readers of both versions: live's clicks fell with the candidate's.",
    );
    println!();
    for (report, file) in [(v3, file), (v4, beside.as_path())] {
        println!("{}: {}", file.display(), report.headline());
        std::fs::write(file, if markdown { report.markdown() } else { report.html() })?;
    }
    Ok(())
}

/// Whether everything happened that this example is to show.
fn check(shop: &Shop, story: &Story) -> Result<(), Box<dyn Error>> {
    let happened = |what: &dyn Fn(&EventKind) -> bool| shop.seen.iter().any(|event| what(&event.kind));
    let promoted = |name: &str| {
        happened(&|kind| matches!(kind, EventKind::Promoted { version, .. } if *version == *name))
    };
    let aborted = |name: &str| {
        happened(&|kind| match kind {
            EventKind::Aborted { version, cause: Cause::Guard { evidence } } => {
                *version == *name && evidence.guard.starts_with("kpi \"click\"")
            }
            _ => false,
        })
    };
    let shadowed =
        happened(&|kind| matches!(kind, EventKind::PhaseChanged { to, .. } if *to == Phase::Shadow));
    let rates = |arms: &[Arm]| {
        arms.iter()
            .map(Arm::rate)
            .fold((1.0_f64, 0.0_f64), |(low, high), rate| (low.min(rate), high.max(rate)))
    };
    let drifted = |table: &DriftTable| -> Vec<(String, What)> {
        let mut rows: Vec<_> = table.drifted().map(|row| (row.feature.clone(), row.what)).collect();
        rows.sort();
        rows
    };
    let [live, candidate, between] = story.drift.each_ref().map(drifted);
    let status = shop.handle.status();
    let rate_of = |name: &str| {
        let version = status.versions.iter().find(|version| version.version == *name);
        version.and_then(|version| click_rate(&version.total)).unwrap_or(f64::NAN)
    };
    let counted: u64 =
        status.versions.iter().flat_map(|version| version.total.kpis.iter()).map(|kpi| kpi.outcomes).sum();
    let steps = [
        (
            "a shadow was refused as evidence of clicks",
            story.refused.contains("only for what was shown") && !shadowed,
        ),
        (
            "v2 is better than v1 and was promoted by its plan",
            promoted("v2") && rate_of("v2") > rate_of("v1"),
        ),
        (
            "v3 is worse than v2 and was taken back by its guard on clicks",
            aborted("v3") && !promoted("v3") && rate_of("v3") < rate_of("v2") - MARGIN,
        ),
        (
            "spring took clicks from both versions",
            story.after.len() == 2 && rates(&story.after).1 < rates(&story.before).0 - 0.02,
        ),
        (
            "what came in had drifted for both alike, and between them not",
            !candidate.is_empty() && candidate.iter().all(|row| live.contains(row)) && between.is_empty(),
        ),
        ("v4 was not taken back for it", promoted("v4") && !aborted("v4")),
        ("v4 is live at the end", shop.handle.live() == "v4"),
        ("no reader was moved back while a ranking was on trial", shop.moved == 0 && shop.on_canary > 0),
        ("no visit failed, and no pipeline did", shop.failed == 0),
        ("every visit counts once, clicked or silent", counted == shop.visits),
        (
            "every decision follows from its record",
            shop.handle
                .decisions()
                .iter()
                .all(|decision| replay(decision).as_ref() == Ok(decision.evidence())),
        ),
    ];
    println!();
    for (step, done) in steps {
        println!("{} {step}", if done { "ok  " } else { "FAIL" });
    }
    let missed = steps.iter().filter(|(_, done)| !done).count();
    if missed == 0 { Ok(()) } else { Err(format!("{missed} of {} steps did not happen", steps.len()).into()) }
}

/// What the people of the shop do.
fn tell(shop: &Shop, what: &str) {
    println!("{}  {what}", day(shop.now));
}

/// `2024-03-09`
fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// What happens to a rollout, as it happens.
fn print(event: &Event) {
    println!("{}  {event}", day(event.at));
    if let EventKind::PhaseChanged { evidence, .. } | EventKind::Promoted { evidence, .. } = &event.kind {
        for sentence in evidence.iter().filter_map(|evidence| evidence.sentence.as_deref()) {
            println!("            because {sentence}");
        }
    }
}

/// An error with what is behind it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

impl Options {
    /// The options; nothing where help was asked for.
    fn parse() -> Result<Option<Self>, Box<dyn Error>> {
        use lexopt::prelude::*;
        let mut options = Self { readers: 30_000, seed: 1, report: None };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("readers") => options.readers = arguments.value()?.parse()?,
                Long("seed") => options.seed = arguments.value()?.parse()?,
                Long("report") => options.report = Some(arguments.value()?.into()),
                Long("help") | Short('h') => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(Some(options))
    }
}
