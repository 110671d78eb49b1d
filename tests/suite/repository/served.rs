//! Real models in a repository, as one service runs them: contracts, pipelines, and a start that finds them again.

use std::fs;
use std::path::Path;
use std::time::Duration;

use switchback::events::EventKind;
use switchback::model::onnx::{Feed, Outputs};
use switchback::options::Threads;
use switchback::repository::contract::{
    Checked, Feature, Host, Mismatch, OpenError, Pipelines, Preflight, PreflightError, PreflightFailure,
};
use switchback::repository::{
    Change, Draft, Repository, RepositoryError, ServeError, Served, VersionFileError,
};
use switchback::versions::{FollowError, OnPublish};
use switchback::{
    ModelHandle, Phase, Plan, StageError, Task, guard,
    model::{LoadError, ModelError},
};

use crate::common::Folder;

struct Flight {
    delay: f32,
    distance: f32,
}

const DELAYED: Flight = Flight { delay: 90.0, distance: 500.0 };

fn at_departure(flight: &Flight, feed: &mut Feed<'_, '_>) -> Result<(), ModelError> {
    feed.buffer("features", &[1, 2])?.copy_from_slice(&[flight.delay, flight.distance]);
    Ok(())
}

fn delay_alone(flight: &Flight, feed: &mut Feed<'_, '_>) -> Result<(), ModelError> {
    feed.buffer("x", &[1, 3])?.copy_from_slice(&[flight.delay, 0.0, 0.0]);
    Ok(())
}

fn probability(outputs: &Outputs<'_>) -> Result<f32, ModelError> {
    Ok(outputs.tensor::<f32>("probabilities")?.1.get(1).copied().unwrap_or(f32::NAN))
}

fn scaled(outputs: &Outputs<'_>) -> Result<f32, ModelError> {
    Ok((outputs.scalar::<f32>("y")? / 1_000.0).clamp(0.0, 1.0))
}

fn host() -> Host {
    Host::new()
        .feature(Feature::number("dep_delay").unit("min").range(-60.0..=1440.0))
        .feature(Feature::number("distance").unit("mi").range(50.0..=5000.0))
}

fn pipelines() -> Pipelines<Flight, f32> {
    let mut pipelines = Pipelines::new();
    pipelines.register("at-departure", "1.0.0", at_departure, probability).unwrap();
    pipelines.register("delay-alone", "2.1.0", delay_alone, scaled).unwrap();
    pipelines.default_is("delay-alone").unwrap();
    pipelines
}

/// A copy of what Python published, and a version without a manifest beside it.
fn models(folder: &Folder) -> Repository {
    let copy = |from: &str, to: &Path| {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    };
    let root = folder.0.join("models");
    if root.exists() {
        return Repository::open(root).unwrap();
    }
    copy("tests/repository/late/1", &root.join("late/1"));
    fs::create_dir_all(root.join("late/2")).unwrap();
    fs::copy("tests/models/affine.onnx", root.join("late/2/model.onnx")).unwrap();
    Repository::open(root).unwrap()
}

fn served(folder: &Folder) -> Served<Flight, f32> {
    models(folder).serve("late", host(), pipelines())
}

#[test]
fn versions_of_different_features_and_algorithms_live_side_by_side() {
    let folder = Folder::new();
    let late = served(&folder);
    let (first, one) = late.open("1").unwrap();
    let (second, two) = late.open("latest").unwrap();
    let pipeline = |model: &Checked<Flight, f32>| {
        let (name, version) = model.pipeline().spec().unwrap();
        format!("{name}@{version}")
    };
    assert_eq!([pipeline(&one), pipeline(&two)], ["at-departure@1.0.0", "delay-alone@2.1.0"]);
    let handle = ModelHandle::builder("late").live(first.as_str(), one).build().unwrap();
    handle.stage(second.as_str(), two).unwrap().promote().unwrap();
    let answer = handle.predict(&DELAYED).unwrap();
    assert_eq!(answer.version(), "2");
    let _ = handle.rollback("both ways");
    let back = handle.predict(&DELAYED).unwrap();
    assert_eq!(back.version(), "1");
    assert!(*back.output() > 0.9 && back.output() != answer.output());
}

fn flight(request: &serde_json::Value) -> Result<Flight, String> {
    let feature = |name: &str| request[name].as_f64().map(|value| value as f32).ok_or(format!("no {name}"));
    Ok(Flight { delay: feature("dep_delay")?, distance: feature("distance")? })
}

fn preflight(samples: &[switchback::repository::contract::GoldenSample]) -> Preflight<Flight> {
    Preflight::new().samples_with(samples, flight)
}

/// What Python pinned: the tensors that are written, and what the model makes of them.
#[test]
fn a_published_version_is_held_to_its_golden_samples_from_the_hosts_request_on() {
    let folder = Folder::new();
    let late = served(&folder).preflight(preflight);
    assert_eq!(
        late.verify("stable-or-so").unwrap_err().to_string(),
        "late has no version or tag `stable-or-so`; it has 1, 2"
    );
    assert_eq!(late.verify("1").unwrap().pins, 10);

    // Somebody changes the encoder and forgets its version.
    let in_hours = |flight: &Flight, feed: &mut Feed<'_, '_>| {
        feed.buffer("features", &[1, 2])?.copy_from_slice(&[flight.delay / 60.0, flight.distance]);
        Ok(())
    };
    let mut pipelines = Pipelines::new();
    pipelines.register("at-departure", "1.0.0", in_hours, probability).unwrap();
    let changed: Served<Flight, f32> = models(&folder).serve("late", host(), pipelines).preflight(preflight);
    let (version, model) = changed.open("1").unwrap();
    // Bug: on a busy machine this failed, since `memory` came to be known between the two looks. Cause: a thread of the handle's
    // measured it meanwhile. Fix: nobody does anything beside what is looked at.
    let handle = ModelHandle::builder("late")
        .live("other", late.open("2").unwrap().1)
        .threads(Threads::manual())
        .build()
        .unwrap();
    let before = handle.status();
    let refused = handle.stage(version.as_str(), model).unwrap_err();
    let StageError::Load(LoadError::Preflight(cause)) = &refused else { panic!("{refused}") };
    let failed = cause.downcast_ref::<PreflightError>().unwrap();
    let of_input = failed.failures.iter().filter(|failure| matches!(failure, PreflightFailure::Input { .. }));
    assert_eq!(of_input.count(), 5, "{refused}");
    assert_eq!(handle.status().versions, before.versions, "nothing has changed");
}

#[test]
fn what_does_not_fit_is_told_at_once_and_what_could_be_gone_to_is_listed() {
    let folder = Folder::new();
    let host = Host::new().feature(Feature::number("dep_delay").unit("s").range(-60.0..=1440.0));
    let mut pipelines = Pipelines::new();
    pipelines.register("at-departure", "2.0.0", at_departure, probability).unwrap();
    pipelines.register("delay-alone", "2.1.0", delay_alone, scaled).unwrap();
    pipelines.default_is("delay-alone").unwrap();
    let late: Served<Flight, f32> = models(&folder).serve("late", host, pipelines);
    let Err(ServeError::Open(OpenError::Incompatible { mismatches, .. })) = late.open("1") else {
        panic!("it fits")
    };
    let told = mismatches.to_string();
    for part in ["dep_delay", "distance", "at-departure"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(
        mismatches.mismatches().iter().any(|mismatch| matches!(mismatch, Mismatch::PipelineVersion { .. }))
    );
    let compatible = late.compatible().unwrap();
    let fits: Vec<(&str, bool)> =
        compatible.iter().map(|fit| (fit.version.as_str(), fit.result.is_ok())).collect();
    assert_eq!(fits, [("1", false), ("2", true)]);
}

/// Bug: `compatible()` said "fits" of a version whose golden samples fail, and whoever went back to it was refused.
/// Cause: it opened versions, and neither loaded them nor ran their preflight. Fix: it does both, and says what was asked.
#[test]
fn a_version_whose_golden_samples_fail_does_not_fit() {
    let folder = Folder::new();
    let fits = |late: &Served<Flight, f32>| -> Vec<Option<usize>> {
        late.compatible().unwrap().iter().map(|fit| fit.report.as_ref().map(|report| report.pins)).collect()
    };
    assert_eq!(fits(&served(&folder).preflight(preflight)), [Some(10), Some(0)]);
    // Without a preflight of the host's nothing can be asked, and it is told that nothing was.
    assert_eq!(fits(&served(&folder)), [Some(0), Some(0)]);
    let in_hours = |flight: &Flight, feed: &mut Feed<'_, '_>| {
        feed.buffer("features", &[1, 2])?.copy_from_slice(&[flight.delay / 60.0, flight.distance]);
        Ok(())
    };
    let mut pipelines = Pipelines::new();
    pipelines.register("at-departure", "1.0.0", in_hours, probability).unwrap();
    pipelines.register("delay-alone", "2.1.0", delay_alone, scaled).unwrap();
    pipelines.default_is("delay-alone").unwrap();
    let changed: Served<Flight, f32> = models(&folder).serve("late", host(), pipelines).preflight(preflight);
    assert_eq!(fits(&changed), [None, Some(0)]);
    let told = changed.compatible().unwrap()[0].result.clone().unwrap_err();
    assert!(matches!(&told, ServeError::Open(OpenError::Load(LoadError::Preflight(_)))), "{told}");
}

#[test]
fn other_bytes_than_were_published_are_never_opened() {
    let folder = Folder::new();
    let late = served(&folder);
    let model = folder.0.join("models/late/1/model.onnx");
    let mut bytes = fs::read(&model).unwrap();
    // Still a model, of the same size: one weight is another.
    let last = bytes.len() - 60;
    bytes[last] ^= 1;
    fs::write(&model, &bytes).unwrap();
    let error = late.open("1").unwrap_err();
    let changed = matches!(&error, ServeError::Repository(RepositoryError::Faulty { faults, .. })
        if matches!(faults[..], [VersionFileError::Digest { .. }]));
    assert!(changed || matches!(error, ServeError::Open(OpenError::Load(_))), "{error}");

    // And one that is swapped after it was opened is not loaded.
    let two = folder.0.join("models/late/2/model.onnx");
    let (_, opened) = late.open("2").unwrap();
    fs::remove_file(&two).unwrap();
    fs::copy("tests/models/gather.onnx", &two).unwrap();
    let error = opened.load().unwrap_err().to_string();
    assert!(error.contains("has changed since it was opened"), "{error}");
}

#[test]
fn external_data_is_held_against_the_manifest_too() {
    let folder = Folder::new();
    let models = Repository::create(folder.0.join("models")).unwrap();
    let manifest =
        switchback::repository::Manifest::new("late", "1", switchback::Timestamp::from_unix_seconds(1));
    let draft = Draft::new(manifest)
        .file("model.onnx", "tests/models/external.onnx")
        .file("external.data", "tests/models/external.data");
    models.publish(draft).unwrap();
    let late: Served<Flight, f32> = models.serve("late", host(), pipelines());
    late.open("1").unwrap();
    let data = folder.0.join("models/late/1/external.data");
    let mut bytes = fs::read(&data).unwrap();
    bytes[0] ^= 1;
    fs::write(&data, bytes).unwrap();
    let error = late.open("1").unwrap_err().to_string();
    assert!(error.contains("external.data has other bytes"), "{error}");
}

#[test]
fn a_start_finds_its_versions_in_the_repository() {
    let folder = Folder::new();
    let start = || {
        let late = served(&folder);
        let (version, model) = late.open("1").unwrap();
        ModelHandle::builder("late")
            .live(version.as_str(), model)
            .task(Task::binary(|probability: &f32| f64::from(*probability)))
            .state(folder.0.join("state"))
            .source(late)
            .build()
            .unwrap()
    };
    let handle = start();
    let (version, model) = served(&folder).open("2").unwrap();
    handle.stage(version.as_str(), model).unwrap().promote().unwrap();
    handle.close(Duration::from_secs(60)).unwrap();
    drop(handle);

    let handle = start();
    assert_eq!(handle.predict(&DELAYED).unwrap().version(), "2");
    drop(handle);
    // Its file is another one now: the start says so, and falls back to what is retained.
    fs::copy("tests/models/gather.onnx", folder.0.join("models/late/2/model.onnx")).unwrap();
    let handle = start();
    assert_eq!(handle.predict(&DELAYED).unwrap().version(), "1");
    let events = handle.events();
    let reason = events.iter().find_map(|event| match &event.kind {
        EventKind::LiveReplaced { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert!(reason.is_some(), "{events:?}");
}

#[test]
fn what_is_published_is_told_staged_or_tried_as_the_policy_says() {
    let folder = Folder::new();
    let late = std::sync::Arc::new(served(&folder));
    let (version, model) = late.open("1").unwrap();
    let handle = ModelHandle::builder("late")
        .live(version.as_str(), model)
        .task(Task::binary(|probability: &f32| f64::from(*probability)))
        .threads(Threads::manual())
        .build()
        .unwrap();
    let plan = Plan::ramp([0.1, 0.5]).unwrap().without_shadow().unwrap();
    let policies = [OnPublish::Tell, OnPublish::Stage, OnPublish::Run(plan)];
    for (number, policy) in (10..).zip(policies) {
        let mut follow = handle
            .follow(std::sync::Arc::clone(&late), policy.clone(), |rollout| {
                rollout.guard(guard::error_rate().at_most(0.5))
            })
            .unwrap();
        assert!(follow.poll().unwrap().is_empty());
        let name = number.to_string();
        let manifest =
            switchback::repository::Manifest::new("late", &name, switchback::Timestamp::from_unix_seconds(1));
        late.repository()
            .publish(Draft::new(manifest).file("model.onnx", "tests/models/affine.onnx"))
            .unwrap();
        let followed = follow.poll().unwrap();
        assert_eq!(followed[0].change, Change::Added { version: name.parse().unwrap() });
        followed[0].done.as_ref().unwrap();
        let phase = handle.rollout(&name).map(|rollout| rollout.phase());
        let expected = match policy {
            OnPublish::Tell => None,
            OnPublish::Stage => Some(Phase::Staged),
            _ => Some(Phase::Canary),
        };
        assert_eq!(phase, expected);
    }
    // What does not fit is told, and nothing is tried.
    let mut follow =
        handle.follow(std::sync::Arc::clone(&late), OnPublish::Stage, |rollout| rollout).unwrap();
    let manifest =
        switchback::repository::Manifest::new("late", "99", switchback::Timestamp::from_unix_seconds(1));
    late.repository().publish(Draft::new(manifest).bytes("model.onnx", *b"no model")).unwrap();
    let followed = follow.poll().unwrap();
    assert!(matches!(followed[0].done, Err(FollowError::Serve(_))), "{followed:?}");
    assert!(handle.rollout("99").is_none());
}

/// Bug: a service refused a version that has a file with several names, as copies that share their bytes have, although only
/// `verify` was said to. Cause: both looked at files alike, and so did a watch, which told of it as broken. Fix: what is loaded
/// is held against its digest whatever names it has, and `verify` alone asks for one.
#[cfg(unix)]
#[test]
fn files_with_several_names_are_served_and_not_verified() {
    let folder = Folder::new();
    let late = served(&folder);
    let models = late.repository();
    let mut watch = models.watch("late").unwrap();
    let (from, to) = (folder.0.join("models/late/1"), folder.0.join("models/late/3"));
    fs::create_dir(&to).unwrap();
    fs::hard_link(from.join("model.onnx"), to.join("model.onnx")).unwrap();
    let manifest = fs::read_to_string(from.join("manifest.json")).unwrap();
    fs::write(to.join("manifest.json"), manifest.replace("\"version\": \"1\"", "\"version\": \"3\""))
        .unwrap();
    assert_eq!(watch.poll().unwrap(), [Change::Added { version: "3".parse().unwrap() }]);
    assert_eq!(late.open("3").unwrap().0, "3");
    let entry = models.get("late", "3").unwrap();
    let refused = models.verify(&entry).unwrap_err();
    let named = |fault: &VersionFileError| matches!(fault, VersionFileError::HardLink { names: 2, .. });
    assert!(
        matches!(&refused, RepositoryError::Faulty { faults, .. } if faults.len() == 1 && named(&faults[0])),
        "{refused}"
    );
    models.clone().following_links().verify(&entry).unwrap();
    // Somebody writes to it by its other name.
    fs::write(from.join("model.onnx"), fs::read("tests/models/affine.onnx").unwrap()).unwrap();
    late.open("3").unwrap_err();
}
