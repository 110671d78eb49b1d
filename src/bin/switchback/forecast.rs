//! `switchback plan forecast`: how long the plan of a configuration takes to decide, before anything runs.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use serde_json::Value;
use switchback::config::Config;
use switchback::forecast::{Forecast, KeysWithin, LatencyPoint, Moments, Traffic};
use switchback::guard::{Guard, Rule, Stated};
use switchback::options::{Inputs, Threads};
use switchback::status::{Look, look};
use switchback::{Kpi, ModelHandle, Task, closure};

use crate::Failure;
use crate::out::Out;
use crate::plan::{Written, read};
use crate::progress::Progress;

#[derive(Args)]
#[command(group(ArgGroup::new("traffic").required(true).multiple(true).args(["state", "rps"])))]
pub(crate) struct Asked {
    /// A file in TOML, or in JSON where its name ends so.
    file: PathBuf,
    /// What is predicted: yes or no, one of several classes, a number, or a ranked list.
    #[arg(long, value_enum, default_value_t = Predicted::Binary)]
    task: Predicted,
    /// Takes traffic as a handle has seen it, from its folder of state; what is said beside goes before it.
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// Requests a second.
    #[arg(long, value_name = "NUMBER", value_parser = rate)]
    rps: Option<f64>,
    /// How old a prediction is when its label is evidence, such as 1d; by default what the file says.
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    labels: Option<Duration>,
    /// The share of predictions whose truth becomes known.
    #[arg(long, value_name = "SHARE", value_parser = crate::remote::share)]
    labelled: Option<f64>,
    /// The share of requests on which live fails.
    #[arg(long, value_name = "SHARE", value_parser = crate::remote::share)]
    error: Option<f64>,
    /// The share of answers that are wrong. Unless they are said, half of it is taken for the two shares that depend on it.
    #[arg(long, value_name = "SHARE", value_parser = crate::remote::share)]
    wrong: Option<f64>,
    /// The share of inputs that one of two equally good versions gets wrong and the other right.
    #[arg(long, value_name = "SHARE", value_parser = crate::remote::share)]
    discordant: Option<f64>,
    /// The share of inputs that a candidate answers otherwise than live.
    #[arg(long, value_name = "SHARE", value_parser = crate::remote::share)]
    differing: Option<f64>,
    /// The share of predictions that turn out to be yes.
    #[arg(long, value_name = "SHARE", value_parser = crate::remote::share)]
    positives: Option<f64>,
    /// Of these, the share that is not called so.
    #[arg(long, value_name = "SHARE", value_parser = crate::remote::share)]
    missed: Option<f64>,
    /// The share of predictions that are called yes.
    #[arg(long, value_name = "SHARE", value_parser = crate::remote::share)]
    called_yes: Option<f64>,
    /// Of these, the share that is not.
    #[arg(long, value_name = "SHARE", value_parser = crate::remote::share)]
    false_alarms: Option<f64>,
    /// How long live takes at most for so many of a hundred requests, such as 99=20ms.
    #[arg(long = "latency", value_name = "PERCENT=TIME", value_parser = latency)]
    latencies: Vec<LatencyPoint>,
    /// How many different keys come within a time, where requests come with keys, such as 50000/1d; again for a longer one. They are
    /// what is compared then; after the longest they are expected to come as they did before it.
    #[arg(long = "keys", value_name = "NUMBER/TIME", value_parser = keys)]
    keys: Vec<KeysWithin>,
    /// How often a business figure is reached, of those that guards name: it is taken for a rate. With a folder of state those that are
    /// not said are as they were seen.
    #[arg(long = "kpi", value_name = "NAME=SHARE", value_parser = kpi)]
    kpis: Vec<(String, f64)>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Predicted {
    Binary,
    Classes,
    Regression,
    Ranking,
}

/// What a forecast rests on, of a configuration. What else it says is for the service: a folder of state to be opened, versions.
const RESTS_ON: [&str; 6] = ["name", "labels", "error_budget", "shadow", "segments", "rollout"];

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "write how many requests come in a second, more than 0".to_owned())
}

fn latency(text: &str) -> Result<LatencyPoint, String> {
    let told = || {
        let (percent, time) = text.split_once('=')?;
        let percent: f64 = percent.trim_start_matches('p').parse().ok()?;
        let at_most = humantime::parse_duration(time).ok()?;
        (percent > 0.0 && percent < 100.0).then_some(LatencyPoint::new(percent / 100.0, at_most))
    };
    told().ok_or_else(|| "write how many of a hundred and how long, as 99=20ms".to_owned())
}

/// The share is written as the others are.
fn kpi(text: &str) -> Result<(String, f64), String> {
    let (name, share) = text.split_once('=').unwrap_or_default();
    if name.is_empty() {
        return Err("write a name and a share, as purchase=0.03".to_owned());
    }
    Ok((name.to_owned(), crate::remote::share(share)?))
}

fn keys(text: &str) -> Result<KeysWithin, String> {
    let told = || {
        let (keys, within) = text.split_once('/')?;
        Some(KeysWithin::new(humantime::parse_duration(within).ok()?, keys.parse().ok()?))
    };
    told().ok_or_else(|| "write how many and within which time, as 50000/1d".to_owned())
}

impl Asked {
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let Written { name, config, .. } = read(&self.file)?;
        let plan = config.plan().map_err(|cause| Failure::Refused(format!("{name}: {cause}")))?;
        let refused = |cause: &dyn std::fmt::Display| Failure::Refused(format!("{name}: {cause}"));
        let rule = |stated: &Stated| stated.as_rule().cloned();
        let rules: Vec<Rule> = config.guards().iter().filter_map(rule).collect();
        let left_out: Vec<String> =
            config.guards().iter().filter(|stated| rule(stated).is_none()).map(ToString::to_string).collect();
        // As the library writes it: whatever else a section may be called in a file, it has one name here.
        let mut value = serde_json::to_value(&config).map_err(|cause| refused(&cause))?;
        if let Value::Object(fields) = &mut value {
            fields.retain(|field, _| RESTS_ON.contains(&field.as_str()));
        }
        let config: Config = serde_json::from_value(value).map_err(|cause| refused(&cause))?;
        let seen = self.seen()?;
        let kpis = self.figures(&names(&rules), seen.as_ref())?;
        let mut task: Task<f64> = match self.task {
            Predicted::Binary => Task::binary(|p: &f64| *p),
            Predicted::Classes => Task::classes(2, |p: &f64| (0, *p)).map_err(|cause| refused(&cause))?,
            Predicted::Regression => Task::regression(|value: &f64| *value),
            Predicted::Ranking => Task::ranking(1, |_: &f64, _| {}).map_err(|cause| refused(&cause))?,
        };
        for (kpi, _) in &kpis {
            task = task.kpi(kpi.clone());
        }
        // Nothing runs on it: it knows which test stands behind a guard, and rehearses.
        let handle: ModelHandle<f64, f64> = ModelHandle::builder(config.name())
            .live("live", closure("none@1", |input: &f64| Ok(*input)))
            .inputs(Inputs::new().copied().segment(|_| ""))
            .threads(Threads::manual())
            .task(task)
            .configure(&config)
            .map_err(|cause| refused(&cause))?
            .build()
            .map_err(|cause| refused(&cause))?;
        let age = handle.status().labels_complete_after;
        let seen = seen.and_then(|look| look.traffic);
        let mut traffic = self.traffic(age, seen);
        // All of them are known, or none is.
        traffic.kpis = kpis.into_iter().filter_map(|(_, moments)| moments).collect();
        let forecast = Progress::of("running the plan ahead", || handle.forecast(&rules, &plan, &traffic));
        let forecast = forecast.map_err(|cause| refused(&cause))?;
        tell(out, &forecast, &left_out)?;
        if forecast.undecidable.is_empty() { Ok(()) } else { Err(Failure::Said) }
    }

    /// What a handle has written down of itself, its traffic among it.
    fn seen(&self) -> Result<Option<Look>, Failure> {
        let Some(folder) = &self.state else { return Ok(None) };
        let look = look(folder)?.filter(|look| look.traffic.is_some());
        let nothing = || {
            let folder = folder.display();
            Failure::Refused(format!(
                "no traffic is in {folder}: its handle has been asked nothing since it began"
            ))
        };
        look.ok_or_else(nothing).map(Some)
    }

    /// The business figures that guards name, with how often each is reached, as it is said or was seen; nothing where nobody knows of any.
    fn figures(&self, named: &[String], seen: Option<&Look>) -> Result<Vec<(Kpi, Option<Moments>)>, Failure> {
        if let Some((name, _)) = self.kpis.iter().find(|(name, _)| !named.contains(name)) {
            return Err(Failure::Refused(format!("no guard names the business figure {name}")));
        }
        let moments = seen.and_then(|look| look.traffic.as_ref()).map_or(&[][..], |traffic| &traffic.kpis);
        let declared = seen.map_or(&[][..], |look| &look.kpis);
        let rate = |name: &str| Kpi::rate(name).map_err(|cause| Failure::Refused(cause.to_string()));
        let figure = |name: &String| {
            let saved = declared.iter().zip(moments).find(|(kpi, _)| kpi.name() == name);
            if let Some((_, mean)) = self.kpis.iter().find(|(known, _)| known == name) {
                let is_rate = |kpi: &&Kpi| kpi.bounds() == Some(0.0..=1.0);
                let known = saved.map(|(kpi, _)| kpi).filter(is_rate).cloned();
                let standard_deviation = (mean * (1.0 - mean)).max(0.0).sqrt();
                let said = Moments::constant(*mean).standard_deviation(standard_deviation);
                return Ok((known.map_or_else(|| rate(name), Ok)?, Some(said)));
            }
            if let Some((kpi, moments)) = saved {
                return Ok((kpi.clone(), Some(*moments)));
            }
            match (&self.state, moments) {
                // A release that did not write names down wrote one figure, and one is asked for.
                (Some(_), [only]) if declared.is_empty() && named.len() == 1 => {
                    Ok((rate(name)?, Some(*only)))
                }
                (Some(folder), _) => {
                    let folder = folder.display();
                    Err(Failure::Refused(format!(
                        "how often {name} is reached is not known by that name in {folder}: say --kpi {name}=SHARE"
                    )))
                }
                (None, _) if !self.kpis.is_empty() => {
                    Err(Failure::Refused(format!("how often is {name} reached? Say --kpi {name}=SHARE too")))
                }
                (None, _) => Ok((rate(name)?, None)),
            }
        };
        named.iter().map(figure).collect()
    }

    /// What the command line says goes before the file, and the file before what was seen, which was seen under an earlier one.
    fn traffic(&self, told: Option<Duration>, seen: Option<Traffic>) -> Traffic {
        let mut traffic = seen.unwrap_or_else(|| Traffic::new(self.rps.unwrap_or_default()));
        traffic.labels_after = told.unwrap_or(traffic.labels_after);
        let shares = [
            (&mut traffic.requests_per_second, self.rps),
            (&mut traffic.labelled, self.labelled),
            (&mut traffic.error_rate, self.error),
            (&mut traffic.discordant_failures, self.error),
            (&mut traffic.wrong, self.wrong),
            (&mut traffic.discordant, self.discordant.or(self.wrong.map(|wrong| wrong / 2.0))),
            (&mut traffic.differing, self.differing.or(self.wrong.map(|wrong| wrong / 2.0))),
            (&mut traffic.positives, self.positives),
            (&mut traffic.missed, self.missed),
            (&mut traffic.called_yes, self.called_yes),
            (&mut traffic.false_alarms, self.false_alarms),
        ];
        for (known, said) in shares {
            *known = said.unwrap_or(*known);
        }
        traffic.labels_after = self.labels.unwrap_or(traffic.labels_after);
        traffic.discordant_is_known |= self.discordant.is_some();
        if !self.latencies.is_empty() {
            traffic.latency = self.latencies.clone();
            traffic.latency.sort_by(|one, two| one.share.total_cmp(&two.share));
        }
        if !self.keys.is_empty() {
            traffic.keys.clone_from(&self.keys);
            traffic.keys.sort_by_key(|point| point.within);
        }
        traffic
    }
}

/// The business figures that rules are about, each once.
fn names(rules: &[Rule]) -> Vec<String> {
    let mut names = Vec::new();
    for name in rules.iter().filter_map(Rule::kpi) {
        if names.iter().all(|known: &String| known != name) {
            names.push(name.to_owned());
        }
    }
    names
}

fn tell(out: &mut Out, forecast: &Forecast, left_out: &[String]) -> Result<(), Failure> {
    if out.json {
        return Ok(out.value(forecast)?);
    }
    if forecast.undecidable.is_empty() {
        out.line(&forecast.to_string())?;
    }
    for why in &forecast.undecidable {
        out.line(&format!("the plan cannot be decided: {why}"))?;
    }
    if forecast.chosen {
        let steps: Vec<String> = forecast.steps.iter().map(|step| step.exposure.to_string()).collect();
        out.line(&format!(
            "its steps are chosen when it is run, with this traffic: {}",
            steps.join(", then ")
        ))?;
    }
    for guard in &forecast.added {
        out.line(&format!("added, since the file has no guard that judges: {guard}"))?;
    }
    for guard in left_out {
        out.line(&format!("left out, since it rests on what comes in and not on how much: {guard}"))?;
    }
    let mut rows = Vec::new();
    for (place, step) in forecast.steps.iter().enumerate() {
        for guard in &step.guards {
            rows.push(vec![
                (place + 1).to_string(),
                step.exposure.to_string(),
                span(step.lasts),
                guard.guard.clone(),
                span(guard.harm_after),
                span(guard.shown_after),
            ]);
        }
    }
    Ok(out.table(&["STEP", "EXPOSURE", "LASTS", "GUARD", "HARM SEEN AFTER", "NO HARM SHOWN AFTER"], rows)?)
}

/// For people, to two digits.
fn span(time: Option<Duration>) -> String {
    let Some(seconds) = time.map(|time| time.as_secs_f64()) else { return "-".to_owned() };
    let (number, unit) = match seconds {
        0.0..120.0 => (seconds, "seconds"),
        120.0..7_200.0 => (seconds / 60.0, "minutes"),
        7_200.0..172_800.0 => (seconds / 3_600.0, "hours"),
        _ => (seconds / 86_400.0, "days"),
    };
    if number < 10.0 { format!("{number:.1} {unit}") } else { format!("{number:.0} {unit}") }
}
