//! Before the truth: a year of flights held against its winter.
//!
//! January and February of 2013 are what a model has learnt from. Each week of the year is then compared with them: which
//! features have drifted, and by how much; how right the live model probably was, estimated from its scores alone, beside
//! how right it turned out to be; and on which days departures broke down, found by a detector as planes left.
//!
//! What comes of it is a lesson too: nearly everything drifts with the seasons while the model stays about as right, and
//! where it is less right in December the estimate does not see why, since the flights look the same and end otherwise.
//!
//! ```sh
//! cargo run --release --example drift                     # writes target/drift.svg
//! cargo run --release --example drift -- --svg year.svg
//! ```

#[path = "../flights/mod.rs"]
mod flights;
mod picture;
mod storms;
mod year;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use switchback::Timestamp;
use switchback::drift::{DriftVerdict, What};
use year::{Day, Week, Year};

const HELP: &str = "\
Holds a year of flights against its winter: what drifts, what it does to accuracy, and when departures break down.

Options:
  --data FILE        flights, as examples/flights/make_data.py writes them
  --models DIR       the folder with v2.onnx
  --svg FILE         where the figure goes                        [target/drift.svg]
  --help
";

/// What the command line says.
struct Options {
    data: PathBuf,
    models: PathBuf,
    svg: PathBuf,
}

fn main() -> ExitCode {
    match Options::parse() {
        Ok(Some(options)) => match run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("drift: {error}");
                ExitCode::FAILURE
            }
        },
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("drift: {error}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let year = year::look(&options.data, &options.models)?;
    println!(
        "{} flights left New York in 2013. The {} of January and February are the reference; v2 is live all year.",
        year.flights, year.winter
    );
    print_drift(&year);
    print_weeks(&year);
    let summary = Summary::of(&year);
    summary.print(&year);
    print_storms(&year);
    if let Some(folder) = options.svg.parent() {
        std::fs::create_dir_all(folder)?;
    }
    picture::draw(&year, &options.svg)?;
    println!("\nThe figure: {}", options.svg.display());
    check(&year, &summary)
}

/// What has drifted, in how many weeks, and when most.
fn print_drift(year: &Year) {
    let after: Vec<&Week> = year.weeks.iter().filter(|week| !week.is_winter()).collect();
    println!(
        "\nWhat has drifted in the {} weeks from March on. A week has one weather, which {} flights share: so beside the\n\
         verdict of a test for independent rows stands whether it was more than the winter's own weeks are from the winter.\n",
        after.len(),
        after.iter().map(|week| week.flights()).max().unwrap_or_default(),
    );
    println!(
        "{:<12} {:<13} {:>8} {:>12} {:>15} {:>8}",
        "feature", "what", "drifted", "beyond them", "largest effect", "week"
    );
    for thing in &year.things {
        let rows = || after.iter().filter_map(|week| Some((week, week.row(&thing.feature, thing.what)?)));
        let drifted = rows().filter(|(_, row)| row.verdict == DriftVerdict::Drifted).count();
        let beyond = rows().filter(|(_, row)| thing.drifted(row)).count();
        let largest = rows().max_by(|(_, a), (_, b)| a.effect.total_cmp(&b.effect));
        let (effect, when) =
            largest.map_or((0.0, String::new()), |(week, row)| (row.effect, date(week.began)));
        println!(
            "{:<12} {:<13} {drifted:>8} {beyond:>12} {effect:>15.3} {when:>8}",
            thing.feature, thing.what
        );
    }
}

/// The estimate beside the truth.
fn print_weeks(year: &Year) {
    println!(
        "\nHow right v2 is, week by week: estimated from its scores alone (valid where flights change and what a score\n\
         means does not), and realised. `sure` are flights that it gives less than one in ten to be late: the share that\n\
         would be late if scores meant what they did in the winter, and the share that was.\n"
    );
    println!("week    flights  estimated  95 %           realised    off           sure           storm on");
    for week in &year.weeks {
        let year::Accuracy { estimated, realised } = week.accuracy;
        let storms: Vec<String> =
            week.days.iter().filter(|day| day.alarm).map(|day| date(day.began)).collect();
        println!(
            "{:<7} {:>7} {:>10.3}  {:.3} - {:.3} {:>10.3} {:>6.3} {:<8} {:.3} {:.3}    {}",
            date(week.began),
            week.flights(),
            estimated.value,
            estimated.low,
            estimated.high,
            realised,
            week.accuracy.off(),
            if week.accuracy.inside() { "" } else { "outside" },
            week.sure.0,
            week.sure.1,
            storms.join(", "),
        );
    }
}

/// How good the estimate is.
struct Summary {
    /// Mean absolute errors of whole weeks: in the winter, and later.
    winter: f64,
    later: f64,
    /// The later one with a calibration on March, and of the guess that nothing changes.
    by_march: f64,
    unchanged: f64,
    /// What chance in the labels alone would make of it.
    chance: f64,
    /// Whole weeks from March on, and those in whose interval the truth lies.
    weeks: usize,
    inside: usize,
    /// Between estimated and realised accuracy.
    correlation: f64,
}

impl Summary {
    fn of(year: &Year) -> Self {
        let whole = || year.weeks.iter().filter(|week| week.is_whole());
        let later: Vec<&Week> = whole().filter(|week| !week.is_winter()).collect();
        let off = |guess: &dyn Fn(&Week) -> f64| {
            mean(later.iter().map(|week| (guess(week) - week.accuracy.realised).abs()))
        };
        // The mean distance of a normal variable from its mean is sqrt(2 / pi) deviations.
        let chance = later.iter().map(|week| {
            let right = week.accuracy.realised;
            (2.0 / std::f64::consts::PI * right * (1.0 - right) / week.flights() as f64).sqrt()
        });
        Self {
            winter: mean(whole().filter(|week| week.is_winter()).map(|week| week.accuracy.off())),
            later: off(&|week| week.accuracy.estimated.value),
            by_march: off(&|week| week.estimated_by_march),
            unchanged: off(&|_| year.winter_accuracy),
            chance: mean(chance),
            weeks: later.len(),
            inside: later.iter().filter(|week| week.accuracy.inside()).count(),
            correlation: correlation(&later),
        }
    }

    fn print(&self, year: &Year) {
        println!(
            "\nThe estimate is off by {:.4} on average in the weeks it was calibrated on, and by {:.4} in the {} whole weeks\n\
             from March on (calibrated on March, which v2 has not learnt from: {:.4}). Whoever says that accuracy stays\n\
             {:.3} is off by {:.4}; chance in the labels alone makes {:.4}. Estimated and realised accuracy go together with\n\
             a correlation of {:.2}, and the interval holds the truth in {} of the {} weeks.",
            self.winter,
            self.later,
            self.weeks,
            self.by_march,
            year.winter_accuracy,
            self.unchanged,
            self.chance,
            self.correlation,
            self.inside,
            self.weeks,
        );
        if let Some(week) = worst(year) {
            println!(
                "Worst in the week of {}: of the flights that v2 was sure of {:.1} % were late, where {:.1} % of such flights\n\
                 had been in the winter. They looked the same when they left. No estimate from scores can see that: labels do.",
                date(week.began),
                week.sure.1 * 100.0,
                week.sure.0 * 100.0,
            );
        }
    }
}

/// The whole week in which the estimate was furthest off.
fn worst(year: &Year) -> Option<&Week> {
    let whole = year.weeks.iter().filter(|week| week.is_whole());
    whole.max_by(|a, b| a.accuracy.off().total_cmp(&b.accuracy.off()))
}

fn print_storms(year: &Year) {
    let stormy: Vec<&Week> = year.weeks.iter().filter(|week| week.is_storm()).collect();
    let days = || stormy.iter().flat_map(|week| &week.days).filter(|day| day.alarm);
    println!(
        "\nDepartures broke down on {} days, in {} weeks: {}.",
        days().count(),
        stormy.len(),
        stormy.iter().map(|week| date(week.began)).collect::<Vec<_>>().join(", "),
    );
    let missing = |storm: bool| {
        let weeks = year.weeks.iter().filter(|week| week.is_storm() == storm && week.is_whole());
        mean(weeks.filter_map(|week| Some(week.row("pressure", What::Missing)?.statistic)))
    };
    println!(
        "In these weeks stations leave out the pressure in {:+.1} points of flights more than in the winter, in others in {:+.1}.",
        missing(true) * 100.0,
        missing(false) * 100.0,
    );
    let few: Vec<String> = emptied(year)
        .iter()
        .map(|(day, usual)| format!("{} ({} flights, {usual} are usual)", date(day.began), day.flights))
        .collect();
    println!(
        "Cancelled flights leave no row. They show in days on which few planes left: {}.",
        few.join(", ")
    );
}

/// Days on which less than three quarters of the flights left that leave on this day of other weeks, with how many do.
fn emptied(year: &Year) -> Vec<(&Day, usize)> {
    let same = |weekday: usize| year.weeks.iter().filter_map(move |week| week.days.get(weekday));
    let usual = |weekday: usize| {
        let mut flights: Vec<usize> = same(weekday).map(|day| day.flights).collect();
        flights.sort_unstable();
        flights.get(flights.len() / 2).copied().unwrap_or_default()
    };
    let days = (0..7).flat_map(|weekday| same(weekday).map(move |day| (day, weekday)));
    let with_usual = days.map(|(day, weekday)| (day, usual(weekday)));
    let mut few: Vec<(&Day, usize)> = with_usual.filter(|(day, usual)| day.flights * 4 < usual * 3).collect();
    few.sort_by_key(|(day, _)| day.began);
    few
}

/// Whether what this example says is so.
fn check(year: &Year, summary: &Summary) -> Result<(), Box<dyn Error>> {
    let later = || year.weeks.iter().filter(|week| !week.is_winter());
    let drifted = |week: &Week, feature: &str, what: What| {
        let thing = year.things.iter().find(|thing| thing.feature == feature && thing.what == what);
        thing.zip(week.row(feature, what)).is_some_and(|(thing, row)| thing.drifted(row))
    };
    let summer = |week: &&Week| (17..39).contains(&week_number(year, week));
    let temperature = later().filter(summer).all(|week| drifted(week, "temp", What::Distribution));
    let planned = ["distance", "block", "hour", "weekday", "carrier", "origin"];
    let timetable = later()
        .filter(|week| week.is_whole())
        .all(|week| !planned.iter().any(|feature| drifted(week, feature, What::Distribution)));
    let weather = ["temp", "wind_speed", "visib", "precip", "humid"];
    let told = later()
        .filter(|week| weather.iter().any(|feature| drifted(week, feature, What::Missing)))
        .map(|week| week.began);
    let counted = later()
        .filter(|week| {
            let without: usize = week.days.iter().map(|day| day.without_weather).sum();
            without * 100 > week.flights()
        })
        .map(|week| week.began);
    let far_off: Vec<&Week> = later().filter(|week| week.is_whole() && week.accuracy.off() > 0.03).collect();
    let meaning = far_off.iter().all(|week| {
        let more_right = week.accuracy.realised > week.accuracy.estimated.value;
        (week.sure.1 < week.sure.0) == more_right
    });
    let days = || year.weeks.iter().flat_map(|week| &week.days);
    let severe = || days().filter(|day| day.worst_of_fifty >= storms::STORM);
    let found = days().filter(|day| day.alarm);
    let steps = [
        ("every flight was answered".to_owned(), year.answered == year.flights),
        ("the temperature has drifted in every week from May to September".into(), temperature),
        ("distances, times, airlines and airports of departure have not drifted in any".into(), timetable),
        ("weeks in which stations were silent are those that a count finds".into(), told.eq(counted)),
        (
            "the estimate is off by less than .006 in the weeks it was calibrated on".into(),
            summary.winter < 0.006,
        ),
        (
            "later it is off by less than who says that nothing changes".into(),
            summary.later < summary.unchanged,
        ),
        (
            "and by less than .025, and goes with the truth".into(),
            summary.later < 0.025 && summary.correlation > 0.4,
        ),
        (
            format!(
                "in each of the {} weeks where it is far off, what a score means had changed",
                far_off.len()
            ),
            !far_off.is_empty() && meaning,
        ),
        (
            format!(
                "each of the {} days on which 35 of 50 departures left an hour late was found",
                severe().count()
            ),
            severe().count() > 10 && severe().all(|day| day.alarm),
        ),
        (
            "and no day on which fewer than 25 of any 50 did".into(),
            found.into_iter().all(|day| day.worst_of_fifty >= storms::CALM),
        ),
    ];
    println!();
    for (step, holds) in &steps {
        println!("{} {step}", if *holds { "ok  " } else { "FAIL" });
    }
    let missed = steps.iter().filter(|(_, holds)| !holds).count();
    if missed == 0 { Ok(()) } else { Err(format!("{missed} of {} claims do not hold", steps.len()).into()) }
}

fn week_number(year: &Year, week: &Week) -> usize {
    year.weeks.iter().position(|other| other.began == week.began).unwrap_or_default()
}

/// Between the estimated and the realised accuracy of weeks.
fn correlation(weeks: &[&Week]) -> f64 {
    let estimated = || weeks.iter().map(|week| week.accuracy.estimated.value);
    let realised = || weeks.iter().map(|week| week.accuracy.realised);
    let (a, b) = (mean(estimated()), mean(realised()));
    let together = mean(estimated().zip(realised()).map(|(x, y)| (x - a) * (y - b)));
    let of = |values: &mut dyn Iterator<Item = f64>, middle: f64| mean(values.map(|x| (x - middle).powi(2)));
    together / (of(&mut estimated(), a) * of(&mut realised(), b)).sqrt()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}

/// `3 Dec`, in New York's winter time.
fn date(at: Timestamp) -> String {
    const NAMES: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = at.to_string();
    let part = |range: std::ops::Range<usize>| text.get(range).and_then(|part| part.parse::<usize>().ok());
    match (part(8..10), part(5..7).and_then(|month| NAMES.get(month.checked_sub(1)?))) {
        (Some(day), Some(month)) => format!("{day} {month}"),
        _ => text,
    }
}

impl Options {
    /// The options; nothing where help was asked for.
    fn parse() -> Result<Option<Self>, Box<dyn Error>> {
        use lexopt::prelude::*;
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let flights = here.join("examples/flights");
        let mut options = Self {
            data: flights.join("flights.csv.gz"),
            models: flights.join("models"),
            svg: here.join("target/drift.svg"),
        };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("data") => options.data = arguments.value()?.into(),
                Long("models") => options.models = arguments.value()?.into(),
                Long("svg") => options.svg = arguments.value()?.into(),
                Long("help") | Short('h') => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(Some(options))
    }
}
