//! The command line.

use std::error::Error;
use std::path::PathBuf;

use switchback::repository::Moment;
use switchback::{Timestamp, guard};

pub(crate) const HELP: &str = "\
Replays a year of flights through a service that changes its model while it runs.

Options:
  --state DIR        keeps versions and state in DIR: killed at any moment and started again, it goes
                     on from there. Without it they are in a temporary folder
  --data FILE        flights, as examples/flights/make_data.py writes them
  --models DIR       the folder with v1.onnx, v2.onnx and v3.onnx, beside golden.csv
  --threads N        request threads                                        [2]
  --days-per-second X  how fast the year passes; 0 for as fast as it can    [0]
  --stop-at TIME     stands still from TIME on, such as 2013-04-14T04:51:00Z, where a crash costs
                     most: to be killed there
  --margin X         how far a version's accuracy may lie below live's      [0.02]
  --guard RULE       another guard, such as \"latency p99 at most 2 times live\"; may be repeated
  --min-labels N     labels that a step lasts for at least                  [400]
  --seed N           what chance begins with                                [2013]
  --report FILE      writes a page about the rollout that was taken back, and beside it one
                     about the one that was promoted last; Markdown where FILE ends in .md
  --help
";

/// What the command line says.
pub(crate) struct Options {
    pub(crate) state: Option<PathBuf>,
    pub(crate) data: PathBuf,
    pub(crate) models: PathBuf,
    pub(crate) threads: usize,
    pub(crate) days_per_second: f64,
    pub(crate) stop_at: Option<Timestamp>,
    pub(crate) margin: f64,
    pub(crate) guards: Vec<guard::Rule>,
    pub(crate) min_labels: u64,
    pub(crate) seed: u64,
    pub(crate) report: Option<PathBuf>,
}

impl Options {
    /// The options; nothing where help was asked for.
    pub(crate) fn parse() -> Result<Option<Self>, Box<dyn Error>> {
        use lexopt::prelude::*;
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/flights");
        let mut options = Self {
            state: None,
            data: here.join("flights.csv.gz"),
            models: here.join("models"),
            threads: 2,
            days_per_second: 0.0,
            stop_at: None,
            margin: 0.02,
            guards: Vec::new(),
            min_labels: 400,
            seed: 2013,
            report: None,
        };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("state") => options.state = Some(arguments.value()?.into()),
                Long("data") => options.data = arguments.value()?.into(),
                Long("models") => options.models = arguments.value()?.into(),
                Long("threads") => options.threads = arguments.value()?.parse()?,
                Long("days-per-second") => options.days_per_second = arguments.value()?.parse()?,
                Long("stop-at") => options.stop_at = Some(arguments.value()?.parse::<Moment>()?.0),
                Long("margin") => options.margin = arguments.value()?.parse()?,
                Long("guard") => options.guards.push(arguments.value()?.parse()?),
                Long("min-labels") => options.min_labels = arguments.value()?.parse()?,
                Long("seed") => options.seed = arguments.value()?.parse()?,
                Long("report") => options.report = Some(arguments.value()?.into()),
                Long("help") | Short('h') => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(Some(options))
    }
}
