//! The versions of the model: what they were made of, what they need, and the repository that they are published into.

use std::error::Error;
use std::fs;
use std::path::Path;

use serde_json::json;
use switchback::Timestamp;
use switchback::repository::contract::{
    Contract, Feature, GoldenSample, Host, PinnedTensor, Pipelines, Preflight, RegisterError,
};
use switchback::repository::{DataSet, Draft, Manifest, Moment, Repository, Served};

use crate::flights::{Flight, Late, at_departure, at_departure_in_seconds, decode, schedule};
use crate::options::Options;

/// What people call the model.
pub(crate) const MODEL: &str = "late-arrival";

/// The models have learnt from January to March: the replay begins where their knowledge ends, at midnight in New York.
pub(crate) const APRIL: Timestamp = Timestamp::from_unix_seconds(1_364_788_800);
const MARCH: Timestamp = Timestamp::from_unix_seconds(1_362_114_000);

/// A version as training hands it over.
struct Recipe {
    file: &'static str,
    /// Which of the registered pipelines it needs.
    pipeline: (&'static str, &'static str),
    algorithm: &'static str,
    parent: Option<&'static str>,
    /// It learnt from all flights that had landed by then.
    learnt_until: Timestamp,
}

fn recipe(version: &str) -> Result<Recipe, Box<dyn Error>> {
    let of = |file, pipeline, algorithm, parent, learnt_until| Recipe {
        file,
        pipeline,
        algorithm,
        parent,
        learnt_until,
    };
    Ok(match version {
        "v1" => of("v1.onnx", ("schedule", "1"), "logistic regression", None, MARCH),
        "v2" => of("v2.onnx", ("at-departure", "1"), "80 boosted trees", Some("v1"), MARCH),
        // The new pipeline asks for the delay with another call, which returns seconds.
        "v3" => of("v3.onnx", ("at-departure", "=2.0"), "80 boosted trees", Some("v2"), APRIL),
        // The same bytes, the pipeline mended.
        "v4" => of("v3.onnx", ("at-departure", "^2.1"), "80 boosted trees", Some("v3"), APRIL),
        _ => return Err(format!("there is no version {version}").into()),
    })
}

/// Publishes a version, unless an earlier start did: its model, the data that it learnt from, what it needs of its host,
/// and answers that are pinned.
pub(crate) fn publish(
    repository: &Repository,
    version: &str,
    options: &Options,
    flights: &[Flight],
) -> Result<(), Box<dyn Error>> {
    if repository.get(MODEL, version).is_ok() {
        return Ok(());
    }
    let recipe = recipe(version)?;
    let learnt: Vec<&Flight> = flights
        .iter()
        .filter(|flight| flight.truth().is_some_and(|(landed, _)| landed < recipe.learnt_until))
        .collect();
    let mut data = DataSet::default();
    data.name = "departures from New York in 2013, as far as they had landed".into();
    data.rows = Some(learnt.len() as u64);
    data.from = learnt.first().map(|flight| Moment(flight.departed()));
    data.to = learnt.last().map(|flight| Moment(flight.departed()));

    let mut manifest = Manifest::new(MODEL, version, recipe.learnt_until);
    manifest.lineage.framework = Some(format!("scikit-learn, {}", recipe.algorithm));
    manifest.lineage.parent = recipe.parent.map(String::from);
    manifest.contract = needs(recipe.pipeline)?;
    manifest.samples = samples(version, options, flights)?;
    let draft =
        Draft::new(manifest).file("model.onnx", options.models.join(recipe.file)).attach(data, &options.data);
    repository.publish(draft)?;
    Ok(())
}

/// Every version as this service runs it: what its requests carry, the code that it has, and what is checked before a
/// version gets any traffic.
pub(crate) fn served(repository: &Repository) -> Result<Served<Flight, Late>, Box<dyn Error>> {
    let host = features().into_iter().fold(Host::new(), Host::feature);
    let served = repository.serve(MODEL, host, pipelines()?);
    Ok(served.preflight(|samples| Preflight::new().samples(samples)))
}

/// The pipelines of all versions, by the names that their contracts ask for.
fn pipelines() -> Result<Pipelines<Flight, Late>, RegisterError> {
    let mut pipelines = Pipelines::new();
    pipelines.register("schedule", "1.0", schedule, decode)?;
    pipelines.register("at-departure", "1.0", at_departure, decode)?;
    pipelines.register("at-departure", "2.0", at_departure_in_seconds, decode)?;
    pipelines.register("at-departure", "2.1", at_departure, decode)?;
    Ok(pipelines)
}

/// What a request carries.
fn features() -> Vec<Feature> {
    let mut features: Vec<Feature> = ["carrier", "origin", "dest"].map(Feature::text).into();
    features.extend(["hour", "weekday"].map(Feature::integer));
    features.push(Feature::number("distance").unit("mi"));
    features.extend(["block", "dep_delay"].map(|name| Feature::number(name).unit("min")));
    features.extend(WEATHER.map(|name| Feature::number(name).optional()));
    features
}

const WEATHER: [&str; 6] = ["temp", "wind_speed", "visib", "precip", "pressure", "humid"];

/// What a version reads of a request, and the pipeline that reads it.
fn needs((pipeline, version): (&str, &str)) -> Result<Contract, Box<dyn Error>> {
    let only_schedule = pipeline == "schedule";
    let read = features().into_iter().filter(|feature| {
        let late = feature.name == "dep_delay" || WEATHER.contains(&feature.name.as_str());
        !(only_schedule && late)
    });
    let contract = read.fold(Contract::new(), Contract::feature);
    Ok(contract.pipeline(pipeline, version.parse()?))
}

/// Ten flights with the probabilities that the version answered when it was made.
///
/// They tell when code changes under a version afterwards. A mistake that was there when they were taken, as v3's is, they
/// hold fast like everything else: that is what the tests on labels are for.
fn samples(
    version: &str,
    options: &Options,
    flights: &[Flight],
) -> Result<Vec<GoldenSample>, Box<dyn Error>> {
    let golden = Path::new(&options.models).with_file_name("golden.csv");
    let text = fs::read_to_string(&golden).map_err(|error| format!("{}: {error}", golden.display()))?;
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let place = lines.next().and_then(|titles| titles.iter().position(|title| *title == version));
    let place = place.ok_or_else(|| format!("{} has no column {version}", golden.display()))?;
    let sample = |line: Vec<&str>| -> Result<GoldenSample, Box<dyn Error>> {
        let row: usize = line.first().ok_or("an empty line")?.parse()?;
        let late: f64 = line.get(place).ok_or("a short line")?.parse()?;
        let flight = flights.get(row).ok_or("no such flight")?;
        let pinned = PinnedTensor::new("f32", [1, 2], [json!(1.0 - late), json!(late)]);
        Ok(GoldenSample::new(format!("flight {row}"), serde_json::to_value(flight)?)
            .output("probabilities", pinned))
    };
    lines.take(10).map(sample).collect()
}
