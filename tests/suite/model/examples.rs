//! The versions of the example answer what the Python package onnxruntime answers for the same flights.

use std::path::{Path, PathBuf};

use switchback::model::onnx::{Label, OnnxModel, Tensors};
use switchback::options::{Labels, Shadowing, Threads};
use switchback::{Model, ModelHandle};

use crate::flights::{self, Flight};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flights")
}

fn rows(file: &str) -> Vec<Vec<f64>> {
    let mut reader = csv::Reader::from_path(folder().join(file)).unwrap();
    let number = |field: &str| field.parse().unwrap();
    reader.records().map(|row| row.unwrap().iter().map(number).collect()).collect()
}

/// `examples/flights/make_models.py` wrote the expected probabilities with onnxruntime 1.32.0, a row at a time.
#[test]
fn every_version_answers_what_the_python_package_does() {
    let flights = flights::load(&folder().join("flights.csv.gz")).unwrap();
    let golden = rows("golden.csv");
    assert!(golden.len() > 150);
    for (column, name) in ["v1", "v2", "v3", "v4"].into_iter().enumerate() {
        let handle = ModelHandle::builder("late")
            .live(name, flights::version(name, &folder().join("models")).unwrap())
            .build()
            .unwrap();
        for row in &golden {
            let answer = handle.predict(&flights[row[0] as usize]).unwrap();
            let (ours, theirs) = (answer.output().probability, row[column + 1]);
            assert!((ours - theirs).abs() < 1e-6, "{name}, flight {}: {ours} and {theirs}", row[0]);
        }
    }
}

/// Versions 3 and 4 are the same bytes behind another pipeline: another identity, and other answers.
#[test]
fn a_mended_pipeline_around_the_same_bytes_is_another_version() {
    let models = folder().join("models");
    let [v3, v4, again] = ["v3", "v4", "v4"].map(|name| flights::version(name, &models).unwrap());
    assert_ne!(v3.identity(), v4.identity());
    assert_eq!(v4.identity(), again.identity());
}

/// scikit-learn's ZipMap answers with a sequence of maps.
#[test]
fn a_sequence_of_maps_comes_out_as_maps() {
    let flights: Vec<Flight> = flights::load(&folder().join("flights.csv.gz")).unwrap();
    let golden = rows("golden_zipmap.csv");
    let model = OnnxModel::from_file(folder().join("models/zipmap.onnx")).unwrap().pipeline(
        "schedule@1.0",
        flights::schedule,
        |outputs| {
            Ok((outputs.tensor::<i64>("output_label")?.1.to_vec(), outputs.maps("output_probability")?))
        },
    );
    model.load().unwrap();
    for row in golden {
        let (labels, maps) = model.predict(&flights[row[0] as usize]).unwrap();
        assert_eq!(labels, [row[1] as i64]);
        let [probabilities] = &maps[..] else { panic!("one map, not {}", maps.len()) };
        for (label, expected) in [(0, row[2]), (1, row[3])] {
            let ours = f64::from(probabilities[&Label::Int(label)]);
            assert!((ours - expected).abs() < 1e-6, "{ours} and {expected}");
        }
    }
}

/// Without a pipeline a model takes and gives tensors by name.
#[test]
fn a_model_without_a_pipeline_takes_and_gives_named_tensors() {
    let model = OnnxModel::from_file(folder().join("models/v2.onnx")).unwrap();
    let handle: ModelHandle<Tensors, Tensors> =
        ModelHandle::builder("tensors").live("v2", model).build().unwrap();
    let features = ndarray::Array2::<f32>::from_elem((3, 13), f32::NAN);
    let input = Tensors::new().with("features", features.into_dyn()).unwrap();
    let answer = handle.predict(&input).unwrap();
    assert_eq!(answer.output().get::<f32>("probabilities").unwrap().shape(), [3, 2]);
}

/// Version 4 is right a little more often than version 2 and warns a little less: on the late flights alone it is worse. A
/// flight that is cancelled or stuck is known to be late at once, one that is on time a month later. Labels that come
/// first do not move the verdict; a handle that is told that they come at random takes the better version back.
#[test]
#[ignore = "long: months of flights"]
fn flights_that_are_known_to_be_late_first_do_not_move_a_verdict() {
    use std::time::Duration;

    use switchback::guard;
    use switchback::guard::Verdict;
    use switchback::{Clock, Outcome, Phase, Task, Timestamp};

    const DAY: Duration = Duration::from_secs(86_400);
    const MONTH: u64 = 30 * 86_400;
    let april = Timestamp::from_unix_seconds(1_364_788_800);
    let flights = flights::load(&folder().join("flights.csv.gz")).unwrap();
    let replay = &flights[flights.partition_point(|flight| flight.departed() < april)..];
    let judged = |at_random: bool| {
        let clock = Clock::replay(april);
        let version = |name| flights::version(name, &folder().join("models")).unwrap();
        let builder = ModelHandle::builder("late")
            .live("v2", version("v2"))
            .task(Task::binary(|answer: &flights::Late| answer.probability))
            .shadowing(Shadowing::new())
            .inputs(switchback::options::Inputs::new().bytes(flights::Flight::bytes))
            .threads(Threads::manual().tick_every(DAY))
            .clock(clock.clone())
            .seed(1)
            .labels(Labels::new().horizon(DAY * 90));
        let builder = match at_random {
            true => builder.labels(Labels::at_random()),
            false => builder.labels(Labels::complete_after(DAY * 31)),
        };
        let service = builder.build().unwrap();
        let rollout =
            service.stage("v4", version("v4")).unwrap().guard(guard::accuracy().at_most_below_live(0.01));
        rollout.shadow(1.0).unwrap();
        let mut waiting: Vec<(u64, switchback::PredictionId, bool)> = Vec::new();
        let mut rest = replay;
        for day in 1..=120 {
            let now = april.plus(DAY * day);
            clock.set(now);
            let (today, later) = rest.split_at(rest.partition_point(|flight| flight.departed() <= now));
            rest = later;
            for flight in today {
                let id = service.predict(flight).unwrap().id();
                if let Some((_, late)) = flight.truth() {
                    let known = flight.departed().unix_seconds() + if late { 0 } else { MONTH };
                    waiting.push((known, id, late));
                }
                service.run_shadow(8);
            }
            service.run_shadow(usize::MAX);
            waiting.retain(|(known, id, late)| {
                let wait = *known > now.unix_seconds();
                if !wait {
                    service.feedback(*id, Outcome::class((*late).into()));
                }
                wait
            });
            service.tick();
        }
        rollout.status().unwrap()
    };
    let early = judged(true);
    assert_eq!(early.phase, Phase::Aborted, "{:?}", early.evidence);
    let patient = judged(false);
    let evidence = &patient.evidence[0];
    assert_eq!((patient.phase, evidence.verdict), (Phase::Shadow, Verdict::Pass), "{evidence}");
    assert!(evidence.samples > 20_000, "{evidence}");
}

/// What scores meant in January and February tells how right version 2 is in weeks of that time to half a point, and
/// later better than whoever says that nothing changes; not much better, since flights that look the same end otherwise
/// in other months (`examples/drift`).
#[test]
#[ignore = "long: months of flights"]
fn accuracy_estimated_without_labels_is_near_the_realised_one_while_scores_mean_the_same() {
    use std::sync::Arc;

    use switchback::drift::estimate::{Calibration, QualityEstimator};

    const WEEK: u64 = 7 * 86_400;
    const WINTER: usize = 8;
    let models = folder().join("models");
    let handle =
        ModelHandle::builder("late").live("v2", flights::version("v2", &models).unwrap()).build().unwrap();
    let answered: Vec<(u64, f64, Option<bool>)> = flights::load(&folder().join("flights.csv.gz"))
        .unwrap()
        .iter()
        .map(|flight| {
            let late = flight.truth().map(|(_, late)| late);
            (flight.departed().unix_seconds(), handle.predict(flight).unwrap().output().probability, late)
        })
        .collect();
    let began = answered[0].0;
    let weeks: Vec<_> =
        answered.chunk_by(|a, b| (a.0 - began) / WEEK == (b.0 - began) / WEEK).take(52).collect();
    let labelled = |weeks: &[&[(u64, f64, Option<bool>)]]| -> Vec<(f64, bool)> {
        weeks.iter().copied().flatten().filter_map(|(_, score, late)| Some((*score, (*late)?))).collect()
    };
    let accuracy = |rows: &[(f64, bool)]| {
        rows.iter().filter(|(score, late)| (*score >= 0.5) == *late).count() as f64 / rows.len() as f64
    };
    let winter = labelled(&weeks[..WINTER]);
    let calibration = Arc::new(Calibration::fit(winter.iter().copied()).unwrap());
    let off = |weeks: &[&[(u64, f64, Option<bool>)]]| {
        let (mut estimated, mut unchanged) = (0.0, 0.0);
        for week in weeks {
            let mut estimator = QualityEstimator::new(Arc::clone(&calibration), 0.5).unwrap();
            week.iter().for_each(|(_, score, _)| estimator.record(*score));
            let realised = accuracy(&labelled(&[*week]));
            estimated += (estimator.estimate(0.05).unwrap().accuracy.unwrap().value - realised).abs();
            unchanged += (accuracy(&winter) - realised).abs();
        }
        (estimated / weeks.len() as f64, unchanged / weeks.len() as f64)
    };
    let (same, later) = (off(&weeks[..WINTER]), off(&weeks[WINTER..]));
    assert!(same.0 < 0.006, "{same:?}");
    assert!(later.0 < 0.025 && later.0 < 0.95 * later.1, "{later:?}");
}
