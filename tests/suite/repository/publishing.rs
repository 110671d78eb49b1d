//! Versions in a folder: published whole, found again, and held against their manifests.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use switchback::Timestamp;
use switchback::repository::contract::Contract;
use switchback::repository::{DataSet, Draft, Manifest, Repository, RepositoryError, VersionFileError};
use switchback::testing::Faults;

use crate::common::Folder;

fn repository(folder: &Folder) -> Repository {
    Repository::create(folder.0.join("models")).unwrap()
}
const MODEL: &str = "tests/models/affine.onnx";

fn manifest(version: &str) -> Manifest {
    Manifest::new("late", version, Timestamp::from_unix_seconds(1_790_000_000))
}

fn draft(version: &str) -> Draft {
    Draft::new(manifest(version)).file("model.onnx", MODEL)
}

/// Everything below a folder, with the bytes of files.
fn listing(folder: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path.clone());
                all.push((path, None));
            } else {
                all.push((path.clone(), Some(fs::read(path).unwrap())));
            }
        }
    }
    all.sort();
    all
}

#[test]
fn what_others_keep_is_found_without_a_manifest() {
    let folder = Folder::new();
    for version in ["9", "10", "2"] {
        let path = folder.0.join("models/late").join(version);
        fs::create_dir_all(&path).unwrap();
        fs::copy(MODEL, path.join("model.onnx")).unwrap();
    }
    let models = repository(&folder);
    assert_eq!(models.models().unwrap(), ["late"]);
    let versions: Vec<String> =
        models.versions("late").unwrap().iter().map(|entry| entry.version.to_string()).collect();
    assert_eq!(versions, ["2", "9", "10"], "numbers are numbers");
    let latest = models.resolve("late", "latest").unwrap();
    assert_eq!((latest.version.as_str(), &latest.manifest), ("10", &None));
    models.verify(&latest).unwrap();
    assert!(models.diff("late", "2", "10").unwrap().is_empty());
}

#[cfg(feature = "drift")]
#[test]
fn a_profile_of_training_is_published_with_its_version_and_told_from_anothers() {
    use switchback::drift::{Cell, ProfileError, ReferenceProfile};

    let folder = Folder::new();
    let models = repository(&folder);
    let profile = |rows: u32| {
        let rows = (0..rows).map(|n| [Cell::from(f64::from(n)), Cell::from("UA")]);
        ReferenceProfile::builder().numeric("delay").categorical("carrier").build_from(rows).unwrap()
    };
    for (version, rows) in [("1", 500), ("2", 500), ("3", 900)] {
        let published = models.publish(draft(version).profile(&profile(rows))).unwrap();
        assert_eq!(published.manifest.unwrap().reference_profile().unwrap().unwrap(), profile(rows));
    }
    let read = models.get("late", "1").unwrap().manifest.unwrap().reference_profile().unwrap().unwrap();
    assert_eq!(read, profile(500));
    assert!(models.diff("late", "1", "2").unwrap().is_empty());
    let difference = models.diff("late", "1", "3").unwrap().to_string();
    assert!(difference.starts_with("profile: 500 rows of 2 features, "), "{difference}");

    assert_eq!(manifest("4").reference_profile(), Ok(None));
    let mut others = manifest("4");
    others.profile = Some(serde_json::json!({"schema": 7, "rows": 1, "features": []}));
    assert_eq!(others.reference_profile(), Err(ProfileError::Schema { found: 7 }));
    others.profile = Some(serde_json::json!(["another tool's"]));
    assert!(matches!(others.reference_profile(), Err(ProfileError::Form { .. })));
}

#[test]
fn a_version_is_published_once_with_its_files_and_tags() {
    let folder = Folder::new();
    let models = repository(&folder);
    let mut tagged = manifest("1");
    tagged.tags.insert("stable".into());
    tagged.metrics.insert("accuracy".into(), 0.9);
    let draft = Draft::new(tagged).file("model.onnx", MODEL).bytes("weights/part-1.bin", *b"abc");
    let entry = models.publish(draft.clone()).unwrap();
    models.verify(&entry).unwrap();
    let files: Vec<_> =
        entry.manifest.as_ref().unwrap().files.iter().map(|file| (file.path.as_str(), file.size)).collect();
    assert_eq!(files, [("model.onnx", fs::metadata(MODEL).unwrap().len()), ("weights/part-1.bin", 3)]);
    assert_eq!(models.resolve("late", "stable").unwrap().version, "1");
    let before = listing(&folder.0);
    assert!(matches!(models.publish(draft), Err(RepositoryError::Exists { .. })));
    assert_eq!(listing(&folder.0), before, "nothing has changed");

    models.publish(self::draft("2")).unwrap();
    assert_eq!(models.tag("late", "stable", "2").unwrap().as_deref(), Some("1"));
    assert_eq!(models.resolve("late", "stable").unwrap().version, "2");
    let refused = models.remove("late", "2").unwrap_err();
    assert!(refused.to_string().contains("tagged stable"), "{refused}");
    assert_eq!(models.untag("late", "stable").unwrap().as_deref(), Some("2"));
    models.remove("late", "2").unwrap();
    let unknown = models.resolve("late", "2").unwrap_err().to_string();
    assert_eq!(unknown, "late has no version or tag `2`; it has 1");
    for tag in ["latest", "1", "a/b"] {
        assert!(matches!(models.tag("late", tag, "1"), Err(RepositoryError::Name { .. })), "{tag}");
    }
}

/// Bug: "no difference" of two versions whose manifests say other things. Cause: samples, notes, the file that is loaded, the order of
/// features and most of what is said of data were not compared. Fix: each of them is a line.
#[test]
fn whatever_a_manifest_says_of_what_was_made_is_a_difference() {
    use switchback::repository::contract::GoldenSample;

    let folder = Folder::new();
    let models = repository(&folder);
    let made = |version: &str| {
        let mut manifest = manifest(version);
        let features =
            r#"{"features": [{"name": "delay", "type": "number"}, {"name": "carrier", "type": "text"}]}"#;
        manifest.contract = serde_json::from_str(features).unwrap();
        manifest.samples = vec![GoldenSample::new("usual", serde_json::json!({"delay": 3}))];
        let mut data = DataSet::default();
        (data.name, data.location, data.rows) = ("flights".into(), Some("flights.csv".into()), Some(500));
        manifest.lineage.data = vec![data];
        manifest.notes.insert("why".into(), "winter".into());
        manifest
    };
    let publish = |manifest| {
        let draft = Draft::new(manifest).file("model.onnx", MODEL).file("other.onnx", MODEL);
        models.publish(draft).unwrap();
    };
    publish(made("1"));
    publish(made("2"));
    assert!(models.diff("late", "1", "2").unwrap().is_empty());
    type Change = fn(&mut Manifest);
    let changes: [(Change, &str); 9] = [
        (|made| made.contract.features.reverse(), "order of features: delay, carrier -> carrier, delay"),
        (|made| made.samples.clear(), "samples: 1 sample, "),
        (|made| made.samples[0].request = serde_json::json!({"delay": 4}), "samples: 1 sample, "),
        (|made| made.samples[0].tolerance = 0.5, "tolerance of samples: 0.0001 -> 0.5"),
        (
            |made| made.lineage.data[0].rows = Some(900),
            "data flights: flights.csv, 500 rows -> flights.csv, 900 rows",
        ),
        (|made| made.lineage.data[0].location = None, "data flights: flights.csv, 500 rows -> 500 rows"),
        (|made| made.notes.clear(), "note why: winter -> "),
        (|made| drop(made.notes.insert("who".into(), "ada".into())), "note who:  -> ada"),
        (|made| made.model = "other.onnx".into(), "model file: model.onnx -> other.onnx"),
    ];
    for (place, (change, line)) in changes.into_iter().enumerate() {
        let version = (place + 3).to_string();
        let mut changed = made(&version);
        change(&mut changed);
        publish(changed);
        let difference = models.diff("late", "1", &version).unwrap().to_string();
        assert!(difference.lines().any(|told| told.starts_with(line)), "{line}: {difference}");
    }
}

/// Bug: beside a version without a manifest each other one was told to have another model file: "model file:  -> model.onnx". Cause: what the
/// manifest says of it was compared with nothing. Fix: it is compared where both have one.
#[test]
fn a_version_without_a_manifest_has_no_other_model_file() {
    let folder = Folder::new();
    let models = repository(&folder);
    models.publish(draft("1")).unwrap();
    let path = folder.0.join("models/late/2");
    fs::create_dir(&path).unwrap();
    fs::copy(MODEL, path.join("model.onnx")).unwrap();
    for (one, other) in [("1", "2"), ("2", "1")] {
        let told = models.diff("late", one, other).unwrap().to_string();
        assert!(!told.contains("model file"), "{told}");
    }
}

#[test]
fn a_difference_says_what_changed() {
    let folder = Folder::new();
    let models = repository(&folder);
    let contract = |json: &str| serde_json::from_str::<Contract>(json).unwrap();
    let mut first = manifest("1");
    first.contract = contract(
        r#"{"features": [{"name": "delay", "type": "number", "unit": "min"}, {"name": "old", "type": "text"}],
            "labels": ["on time", "late"], "pipeline": {"name": "plain", "version": "1.0"}}"#,
    );
    first.metrics.insert("accuracy".into(), 0.5);
    let mut second = manifest("2");
    second.contract = contract(
        r#"{"features": [{"name": "delay", "type": "number", "unit": "s"}, {"name": "new", "type": "text"}],
            "labels": ["on time", "late", "cancelled"], "pipeline": {"name": "history", "version": "2.1"}}"#,
    );
    second.lineage.code = Some("abc".into());
    second.metrics.insert("accuracy".into(), 0.75);
    models.publish(Draft::new(first).file("model.onnx", MODEL).file("old.txt", MODEL)).unwrap();
    let gather = "tests/models/gather.onnx";
    models.publish(Draft::new(second).file("model.onnx", gather).file("new.txt", gather)).unwrap();
    let difference = models.diff("late", "1", "latest").unwrap();
    // For programs: what was and what is, each by its own name and not in a sentence.
    let written = serde_json::to_value(&difference).unwrap();
    assert_eq!(written["metrics"], serde_json::json!([{"name": "accuracy", "before": 0.5, "after": 0.75}]));
    assert_eq!(written["features"][0]["before"]["unit"], "min");
    assert_eq!(written["files"].as_array().unwrap().len(), 3);
    let difference = difference.to_string();
    // What a model takes and gives is read from its file where models can be.
    let tensors = if cfg!(feature = "onnx") {
        "inputs: x: f32[?, 3] -> x: i64[?]\noutputs: y: f32[?, 1] -> y: f32[?]\n"
    } else {
        ""
    };
    let expected = format!(
        "feature delay: changed\nfeature new: new\nfeature old: gone\nlabels: on time, late -> on time, late, cancelled\n\
         {tensors}pipeline: plain@^1.0 -> history@^2.1\ncode:  -> abc\naccuracy: 0.5 -> 0.75\nmodel.onnx: other bytes\n\
         new.txt: new\nold.txt: gone\n"
    );
    assert_eq!(difference, expected);
}

#[test]
fn training_data_is_kept_once_under_its_digest() {
    let folder = Folder::new();
    let models = repository(&folder);
    let data = folder.0.join("flights.csv");
    fs::write(&data, "a,b\n1,2\n").unwrap();
    let named = |name: &str| serde_json::from_str::<DataSet>(&format!("{{\"name\": \"{name}\"}}")).unwrap();
    for version in ["1", "2"] {
        let mut manifest = manifest(version);
        let mut away = named("elsewhere");
        away.location = Some("s3://bucket/data".into());
        manifest.lineage.data.push(away);
        models
            .publish(Draft::new(manifest).file("model.onnx", MODEL).attach(named("flights"), &data))
            .unwrap();
    }
    let kept = listing(&folder.0.join("models/.data"));
    assert_eq!(kept.iter().filter(|(_, bytes)| bytes.is_some()).count(), 1);
    let entry = models.get("late", "2").unwrap();
    let (path, bytes) = kept.iter().find(|(_, bytes)| bytes.is_some()).unwrap();
    assert_eq!(bytes.as_deref(), Some(b"a,b\n1,2\n".as_slice()));
    let listed = &entry.manifest.unwrap().lineage.data[1];
    assert!(listed.attached && listed.sha256.as_deref() == path.file_name().and_then(|name| name.to_str()));

    models.remove("late", "1").unwrap();
    assert_eq!(models.sweep().unwrap().data, 0, "the other one needs it");
    models.remove("late", "2").unwrap();
    assert_eq!(models.sweep().unwrap().data, 1);
}

/// Bug: a sweep removed the training data of versions that it could not see. Cause: a model whose folder is a link was left out, and what the
/// system answered with an error, or a folder on which nothing was mounted, was taken for no version at all. Fix: links are looked at too,
/// only what the system says is not there is not there, and while anything cannot be seen data stays.
#[cfg(unix)]
#[test]
fn data_stays_while_a_version_that_may_need_it_cannot_be_seen() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new();
    let models = repository(&folder);
    let data = folder.0.join("flights.csv");
    fs::write(&data, "a,b\n1,2\n").unwrap();
    let flights = serde_json::from_str::<DataSet>(r#"{"name": "flights"}"#).unwrap();
    models.publish(draft("1").attach(flights, &data)).unwrap();
    let (late, elsewhere) = (folder.0.join("models/late"), folder.0.join("elsewhere"));
    let swept = |expected: usize, what: &str| {
        let swept = models.sweep().unwrap();
        assert_eq!((swept.data, swept.unsure), (0, expected), "{what}");
        assert_eq!(listing(&folder.0.join("models/.data")).len(), 2, "{what}");
    };
    fs::rename(&late, &elsewhere).unwrap();
    symlink(&elsewhere, &late).unwrap();
    models.verify(&models.get("late", "1").unwrap()).unwrap();
    swept(0, "a model whose folder is a link");
    let away = folder.0.join("away");
    fs::rename(&elsewhere, &away).unwrap();
    swept(1, "what the link leads to is not there");
    fs::create_dir(&elsewhere).unwrap();
    swept(1, "nothing is mounted on it");
    fs::remove_dir(&elsewhere).unwrap();
    fs::rename(&away, &elsewhere).unwrap();
    fs::remove_file(&late).unwrap();
    symlink("late", &late).unwrap();
    swept(1, "the system does not say what it is");
    fs::remove_file(&late).unwrap();
    fs::rename(&elsewhere, &late).unwrap();

    let one = late.join("1");
    fs::rename(&one, late.join(".one")).unwrap();
    symlink("1", &one).unwrap();
    swept(1, "nor what a version is");
    fs::remove_file(&one).unwrap();
    symlink("nowhere", &one).unwrap();
    swept(1, "a version's folder is away");
    fs::remove_file(&one).unwrap();
    fs::rename(late.join(".one"), &away).unwrap();
    symlink(&away, &one).unwrap();
    swept(1, "one that is used by nobody here, and may be by others");
    fs::remove_file(&one).unwrap();
    fs::rename(&away, &one).unwrap();
    // What is in nobody's way: a link to a file, a folder that is no version, a file beside the models.
    symlink("1/model.onnx", late.join("6")).unwrap();
    fs::create_dir(late.join("lost+found")).unwrap();
    fs::write(folder.0.join("models/README"), b"").unwrap();
    swept(0, "all is seen, and it is used");
    models.remove("late", "1").unwrap();
    swept(1, "a link leads to what is gone now");
    fs::remove_file(late.join("6")).unwrap();
    assert_eq!(models.sweep().unwrap().data, 1);
}

/// Bug: on a volume whose root is a repository, or a model's folder, no data was ever removed, nor beside a link that gives a model a second name,
/// and one folder that could not be listed ended a sweep; `verify` found a fault in what is no version. Cause: `lost+found`, which is empty or for
/// root alone, was looked at like a model or a version, a link like a model of another name, and a listing was not to fail. Fix: `lost+found` is
/// no name, a link to a model beside it is passed over, what cannot be listed is unseen, and an empty folder only where there is data to remove.
#[cfg(unix)]
#[test]
fn a_sweep_is_sure_where_only_a_file_system_and_second_names_are_in_its_way() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new();
    let (models, root) = (repository(&folder), folder.0.join("models"));
    let data = folder.0.join("flights.csv");
    fs::write(&data, "a,b\n1,2\n").unwrap();
    let flights = serde_json::from_str::<DataSet>(r#"{"name": "flights"}"#).unwrap();
    models.publish(draft("1").attach(flights, &data)).unwrap();
    let swept = || models.sweep().map(|swept| (swept.data, swept.unsure)).unwrap();
    // What the file system keeps there, whether it can be looked at or not.
    fs::create_dir(root.join("lost+found")).unwrap();
    symlink("lost+found", root.join("late/lost+found")).unwrap();
    assert_eq!(models.models().unwrap(), ["late"]);
    assert!(models.unusable("late").unwrap().is_empty());
    models.publish(Draft::new(Manifest::new("late", "lost+found", Timestamp::default()))).unwrap_err();
    // A second name, and one of that.
    symlink("late", root.join("prod")).unwrap();
    symlink(root.join("prod"), root.join("stable")).unwrap();
    // An empty folder is in nobody's way as long as all data is used.
    fs::create_dir(root.join("planned")).unwrap();
    assert_eq!(swept(), (0, 0));
    models.remove("late", "1").unwrap();
    assert_eq!(swept(), (0, 1), "nothing may be mounted there");
    fs::remove_dir(root.join("planned")).unwrap();
    // A manifest that cannot be read is counted.
    models.publish(draft("2")).unwrap();
    let manifest = root.join("late/2/manifest.json");
    let written = fs::read(&manifest).unwrap();
    fs::write(&manifest, b"{").unwrap();
    assert_eq!(swept(), (0, 1), "its manifest");
    fs::write(&manifest, written).unwrap();
    // More than can be listed.
    let crowd = folder.0.join("crowd");
    fs::create_dir(&crowd).unwrap();
    (0..=65_536).for_each(|number| drop(fs::File::create(crowd.join(number.to_string())).unwrap()));
    symlink(&crowd, root.join("crowd")).unwrap();
    assert_eq!(swept(), (0, 1), "a folder that cannot be listed");
    fs::remove_file(root.join("crowd")).unwrap();
    assert_eq!(swept(), (1, 0));
}

/// What is there is what was there before, or what was asked for, whichever step fails.
#[test]
fn whatever_step_fails_nothing_is_half_there() {
    type Change = fn(&Repository) -> Result<(), RepositoryError>;
    let publish: Change = |models| {
        let mut manifest = manifest("2");
        manifest.tags.insert("stable".into());
        let data = serde_json::from_str::<DataSet>(r#"{"name": "d"}"#).unwrap();
        let draft =
            Draft::new(manifest).file("model.onnx", MODEL).bytes("w/1.bin", *b"1").attach(data, MODEL);
        models.publish(draft).map(drop)
    };
    let tag: Change = |models| models.tag("late", "stable", "1").map(drop);
    let remove: Change = |models| models.remove("late", "1");
    for change in [publish, tag, remove] {
        for torn in [false, true] {
            for failing in 0.. {
                let folder = Folder::new();
                let (models, faults) = (repository(&folder), Faults::new());
                models.publish(draft("1")).unwrap();
                let failing_models = models.clone().disk_faults(faults.clone());
                faults.fail_after(failing).once();
                if torn {
                    faults.torn();
                }
                let changed = change(&failing_models);
                let versions = models.versions("late").unwrap();
                for entry in &versions {
                    models.verify(entry).unwrap();
                }
                let names: Vec<&str> = versions.iter().map(|entry| entry.version.as_str()).collect();
                let asides = listing(&folder.0)
                    .iter()
                    .filter(|(path, _)| path.to_string_lossy().contains(".aside-"))
                    .count();
                if change as usize == publish as usize && changed.is_err() {
                    assert_eq!((names.as_slice(), asides), (&["1"][..], 0), "step {failing}");
                    assert!(models.tags("late").unwrap().is_empty(), "step {failing}");
                }
                for (_, version) in models.tags("late").unwrap() {
                    models.get("late", &version).unwrap();
                }
                models.sweep().unwrap();
                assert!(
                    listing(&folder.0).iter().all(|(path, _)| !path.to_string_lossy().contains(".aside-"))
                );
                if faults.steps() <= failing {
                    changed.unwrap();
                    break;
                }
            }
        }
    }
}

/// Eight at once: every version and every tag is there, and of one version that all want, one is.
#[test]
fn publishers_at_one_time_do_not_undo_each_other() {
    let folder = Folder::new();
    let models = repository(&folder);
    let won: Vec<bool> = std::thread::scope(|scope| {
        let publish = |number: u32| {
            let models = models.clone();
            move || {
                let name = number.to_string();
                let mut own = manifest(&name);
                own.tags.insert(format!("tag-{number}"));
                models.publish(Draft::new(own).file("model.onnx", MODEL)).unwrap();
                models.publish(draft("wanted").bytes("whose", name)).is_ok()
            }
        };
        let threads: Vec<_> = (0..8).map(|number| scope.spawn(publish(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    let versions = models.versions("late").unwrap();
    assert_eq!((versions.len(), models.tags("late").unwrap().len()), (9, 8));
    versions.iter().for_each(|entry| models.verify(entry).unwrap());
}

#[test]
fn what_a_publisher_left_that_was_killed_is_swept_and_what_one_is_at_is_not() {
    let folder = Folder::new();
    let models = repository(&folder);
    models.publish(draft("1")).unwrap();
    let aside = folder.0.join("models/late/.aside-0123");
    fs::create_dir_all(aside.join("whole")).unwrap();
    let lock = fs::File::create(aside.join("lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(models.sweep().unwrap().asides, 0);
    drop(lock);
    assert_eq!(models.versions("late").unwrap().len(), 1, "it is no version");
    assert_eq!(models.sweep().unwrap().asides, 1);
    assert!(!aside.exists());
}

fn faults(models: &Repository) -> Vec<VersionFileError> {
    match models.verify(&models.get("late", "1").unwrap()) {
        Err(RepositoryError::Faulty { faults, .. }) => faults,
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_that_is_not_as_it_was_published_is_found_at_once() {
    let folder = Folder::new();
    let models = repository(&folder);
    models
        .publish(draft("1").bytes("a.bin", *b"aaaa").bytes("b.bin", *b"bbbb").bytes("c.bin", *b"cccc"))
        .unwrap();
    let version = folder.0.join("models/late/1");
    fs::write(version.join("a.bin"), b"aaab").unwrap();
    fs::write(version.join("b.bin"), b"longer").unwrap();
    fs::remove_file(version.join("c.bin")).unwrap();
    fs::write(version.join("d.bin"), b"d").unwrap();
    let found = faults(&models);
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(
        found.iter().any(|fault| matches!(fault, VersionFileError::Digest { file, .. } if file == "a.bin"))
    );
    assert!(found.contains(&VersionFileError::Size { file: "b.bin".into(), expected: 4, found: 6 }));
    assert!(found.contains(&VersionFileError::Missing { file: "c.bin".into() }));
    assert!(found.contains(&VersionFileError::Unlisted { file: "d.bin".into() }));
}

#[cfg(unix)]
#[test]
fn links_and_pipes_are_no_files() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new();
    let models = repository(&folder);
    models.publish(draft("1").bytes("a.bin", *b"aaaa").bytes("b.bin", *b"bbbb")).unwrap();
    let version = folder.0.join("models/late/1");
    let outside = folder.0.join("outside");
    fs::write(&outside, b"aaaa").unwrap();
    for name in ["a.bin", "b.bin"] {
        fs::remove_file(version.join(name)).unwrap();
    }
    symlink(&outside, version.join("a.bin")).unwrap();
    fs::hard_link(&outside, version.join("b.bin")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(version.join("pipe")).status().unwrap().success());
    let found = faults(&models);
    assert!(
        found.contains(&VersionFileError::NotAFile { file: "a.bin".into(), what: "a link" }),
        "{found:?}"
    );
    assert!(
        found.contains(&VersionFileError::NotAFile { file: "pipe".into(), what: "a device or a pipe" }),
        "{found:?}"
    );
    assert!(found.contains(&VersionFileError::HardLink { file: "b.bin".into(), names: 2 }), "{found:?}");
    // A version that is a link to another one is not that one under another name: its manifest says so.
    symlink(&version, folder.0.join("models/late/2")).unwrap();
    let refused = models.get("late", "2").unwrap_err().to_string();
    assert!(refused.contains("it is of late 1, and lies where late 2 belongs"), "{refused}");
    assert_eq!(models.versions("late").unwrap().len(), 1);
}

#[test]
fn names_and_manifests_that_mislead_are_refused() {
    let folder = Folder::new();
    let models = repository(&folder);
    models.publish(draft("1")).unwrap();
    for bad in ["../late", "/etc", "a/b", "a\nb", ""] {
        assert!(matches!(models.get(bad, "1"), Err(RepositoryError::Name { .. })), "{bad:?}");
        assert!(matches!(models.get("late", bad), Err(RepositoryError::Name { .. })), "{bad:?}");
    }
    for bad in ["../late", "/etc", "a//b", "a\nb", "", "manifest.json"] {
        assert!(models.publish(draft("3").bytes(bad, *b"x")).is_err(), "{bad:?}");
    }
    assert_eq!(models.versions("late").unwrap().len(), 1);
    let path = folder.0.join("models/late/1/manifest.json");
    let good = fs::read_to_string(&path).unwrap();
    let cases = [
        (good.replace("\"schema\": 1", "\"schema\": 2"), "schema 2"),
        (good.replace("\"created\"", "\"creatd\""), "creatd"),
        (good.replace("model.onnx", "../model.onnx"), "begins with a dot"),
        (good.replace("\"version\": \"1\"", "\"version\": \"2\""), "lies where late 1 belongs"),
        (
            good.replace(
                "\"files\"",
                &format!("\"profile\": {}1{}, \"files\"", "[".repeat(500), "]".repeat(500)),
            ),
            "recursion limit",
        ),
        (" ".repeat(5 << 20), "more than 4194304 bytes"),
        (String::new(), "EOF"),
    ];
    for (text, expected) in cases {
        fs::write(&path, text).unwrap();
        let error = models.get("late", "1").unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("manifest.json"), "{expected}: {error}");
        assert!(models.versions("late").unwrap().is_empty());
    }
}

/// `tests/corpus/manifest`: each says in its name what is wrong with it.
#[test]
fn every_manifest_of_the_corpus_is_read_or_refused_as_its_name_says() {
    let mut seen = 0;
    for entry in fs::read_dir("tests/corpus/manifest").unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let parsed = Manifest::parse(&fs::read(&path).unwrap());
        assert_eq!(parsed.is_ok(), name.starts_with("good"), "{name}: {parsed:?}");
        seen += 1;
    }
    assert!(seen >= 10, "{seen}");
}

/// The schema is for those who write manifests in another language: what it names is what is read.
#[test]
fn the_json_schema_names_what_a_manifest_has() {
    let schema: serde_json::Value =
        serde_json::from_str(&fs::read_to_string("schema/manifest.schema.json").unwrap()).unwrap();
    let full: serde_json::Value =
        serde_json::from_str(&fs::read_to_string("tests/corpus/manifest/good_full.json").unwrap()).unwrap();
    fn compare(schema: &serde_json::Value, root: &serde_json::Value, value: &serde_json::Value, place: &str) {
        let schema = match schema["$ref"].as_str() {
            Some(reference) => &root["$defs"][reference.rsplit('/').next().unwrap()],
            None => schema,
        };
        match value {
            serde_json::Value::Object(fields) if schema["properties"].is_object() => {
                let known = schema["properties"].as_object().unwrap();
                let names = |map: &serde_json::Map<String, serde_json::Value>| {
                    let mut names: Vec<String> = map.keys().cloned().collect();
                    names.sort();
                    names
                };
                assert_eq!(schema["additionalProperties"], false, "{place}");
                assert_eq!(names(known), names(fields), "{place}");
                for (name, value) in fields {
                    compare(&known[name], root, value, &format!("{place}.{name}"));
                }
            }
            serde_json::Value::Array(items) => {
                items.iter().for_each(|item| compare(&schema["items"], root, item, &format!("{place}[]")));
            }
            _ => {}
        }
    }
    compare(&schema, &schema, &full, "manifest");
    for name in schema["required"].as_array().unwrap() {
        let mut without = full.clone();
        without.as_object_mut().unwrap().remove(name.as_str().unwrap());
        assert!(Manifest::parse(without.to_string().as_bytes()).is_err(), "{name} is required");
    }
    for name in schema["properties"].as_object().unwrap().keys() {
        // Without `model` it is `model.onnx`, which this one does not list.
        if !schema["required"].as_array().unwrap().contains(&serde_json::json!(name)) && name != "model" {
            let mut without = full.clone();
            without.as_object_mut().unwrap().remove(name);
            Manifest::parse(without.to_string().as_bytes()).unwrap();
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange_for_a_manifest(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Manifest::parse(&bytes);
    }

    /// A good manifest in which one piece of text is replaced is read to the same again, or refused.
    #[test]
    fn a_manifest_that_was_changed_is_refused_or_reads_as_it_writes(
        at in any::<prop::sample::Index>(), length in 0_usize..6, text in "[\\[\\]{}\",:0-9a-z./\\\\-]{0,6}"
    ) {
        let good = fs::read_to_string("tests/corpus/manifest/good_full.json").unwrap();
        let places: Vec<usize> = good.char_indices().map(|(place, _)| place).collect();
        let from = at.index(places.len());
        let to = (from + length).min(places.len() - 1);
        let changed = format!("{}{text}{}", &good[..places[from]], &good[places[to]..]);
        if let Ok(manifest) = Manifest::parse(changed.as_bytes()) {
            let written = serde_json::to_vec(&manifest).unwrap();
            prop_assert_eq!(Manifest::parse(&written).unwrap(), manifest);
        }
    }
}

/// `tests/repository` was written by `examples/publish_sklearn.py`, which has nothing of ours.
#[test]
fn what_python_published_is_whole_and_known() {
    let models = Repository::open("tests/repository").unwrap();
    let entry = models.resolve("late", "stable").unwrap();
    models.verify(&entry).unwrap();
    let manifest = entry.manifest.unwrap();
    assert!(manifest.lineage.framework.unwrap().starts_with("scikit-learn"));
    assert_eq!((manifest.contract.features.len(), manifest.samples.len()), (2, 5));
    assert!(manifest.metrics["accuracy"] > 0.8);
}

#[cfg(feature = "signatures")]
#[test]
fn a_manifest_counts_if_a_trusted_key_signed_its_bytes() {
    use switchback::repository::TrustedKeys;
    const KEY: &str = "RWSCzNvEdk18d/1s4yjXGLdPN6Z8FYjzeB9fDJuBrw/wnwJFLM7n0JFC";
    const OTHER: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let folder = Folder::new();
    let root = folder.0.join("models");
    for (model, files) in [
        ("signed", &["model.onnx", "manifest.json", "manifest.json.minisig"][..]),
        ("late", &["model.onnx", "manifest.json"]),
    ] {
        fs::create_dir_all(root.join(model).join("1")).unwrap();
        for file in files {
            fs::copy(
                Path::new("tests/repository").join(model).join("1").join(file),
                root.join(model).join("1").join(file),
            )
            .unwrap();
        }
    }
    let trusting = |keys: TrustedKeys, key| Repository::open(&root).unwrap().trusting(keys.key(key).unwrap());
    let required = trusting(TrustedKeys::required(), KEY);
    required.verify(&required.get("signed", "1").unwrap()).unwrap();
    let error = |models: &Repository, model: &str| models.get(model, "1").unwrap_err().to_string();
    assert!(error(&required, "late").contains("it is not signed"));
    assert!(error(&trusting(TrustedKeys::required(), OTHER), "signed").contains("no trusted key"));
    let where_present = trusting(TrustedKeys::where_present(), OTHER);
    where_present.get("late", "1").unwrap();
    assert!(error(&where_present, "signed").contains("no trusted key"));

    let path = root.join("signed/1/manifest.json");
    let manifest = fs::read_to_string(&path).unwrap();
    fs::write(&path, manifest.replace("2026", "2027")).unwrap();
    assert!(error(&required, "signed").contains("of other bytes"));
    fs::write(&path, manifest).unwrap();
    for bad in ["", "untrusted comment: x\nRWQ=\n", &"x".repeat(9_000)] {
        fs::write(root.join("signed/1/manifest.json.minisig"), bad).unwrap();
        assert!(error(&required, "signed").contains("signature"), "{bad:.20}");
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(required.get("signed", "1"), Err(RepositoryError::Unsigned { .. })));
    assert!(TrustedKeys::required().key("not a key").is_err());
}

/// A watch on a clock that is turned by hand, and what it says at each look.
#[test]
fn a_watch_tells_of_versions_once_they_are_whole_and_of_tags_that_moved() {
    use switchback::Clock;
    use switchback::repository::Change;
    let folder = Folder::new();
    let models = repository(&folder);
    models.publish(draft("1")).unwrap();
    let clock = Clock::manual(Timestamp::from_unix_seconds(1_790_000_000));
    let mut watch = models.watch_by("late", clock.clone()).unwrap();
    let mut look = |seconds: u64| {
        clock.advance(std::time::Duration::from_secs(seconds));
        watch.poll().unwrap()
    };
    let id = |name: &str| name.parse().unwrap();
    assert_eq!(look(1), []);
    models.publish(draft("2")).unwrap();
    models.tag("late", "stable", "2").unwrap();
    let tagged = |from: Option<&str>, to: Option<&str>| Change::Tagged {
        tag: "stable".into(),
        from: from.map(Into::into),
        to: to.map(Into::into),
    };
    assert_eq!(look(0), [Change::Added { version: id("2") }, tagged(None, Some("2"))]);
    assert_eq!(look(0), []);

    // Copied file by file: the manifest first, as a copy may do it.
    let (from, to) = (folder.0.join("models/late/2"), folder.0.join("models/late/3"));
    fs::create_dir(&to).unwrap();
    assert_eq!(look(1), []);
    let manifest = fs::read_to_string(from.join("manifest.json"))
        .unwrap()
        .replace("\"version\": \"2\"", "\"version\": \"3\"");
    fs::write(to.join("manifest.json"), manifest).unwrap();
    assert_eq!(look(10), []);
    let model = fs::read(from.join("model.onnx")).unwrap();
    fs::write(to.join("model.onnx"), &model[..model.len() / 2]).unwrap();
    assert_eq!(look(10), [], "half of it");
    fs::write(to.join("model.onnx"), &model).unwrap();
    assert_eq!(look(0), [Change::Added { version: id("3") }]);

    // Without a manifest: once nothing about it changes any more.
    let to = folder.0.join("models/late/4");
    fs::create_dir(&to).unwrap();
    for end in [model.len() / 2, model.len()] {
        fs::write(to.join("model.onnx"), &model[..end]).unwrap();
        assert_eq!(look(1), []);
        assert_eq!(look(1), []);
    }
    assert_eq!(look(1), [Change::Added { version: id("4") }]);

    fs::write(to.join("model.onnx"), b"other").unwrap();
    assert_eq!(look(1), [Change::Changed { version: id("4") }]);
    assert_eq!(look(1), []);
    assert_eq!(look(1), [Change::Settled { version: id("4") }]);
    models.untag("late", "stable").unwrap();
    models.remove("late", "2").unwrap();
    assert_eq!(look(1), [Change::Removed { version: id("2") }, tagged(Some("2"), None)]);
    let broken = folder.0.join("models/late/5");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("manifest.json"), b"{").unwrap();
    assert_eq!((look(1), look(58)), (vec![], vec![]));
    assert!(matches!(&look(2)[..], [Change::Broken { reason, .. }] if reason.contains("manifest.json")));
    assert_eq!(look(100), []);
}

/// Bug: a version whose manifest has more than 4 MiB, or that lies in more than 8 folders, was published, and could be read by
/// nobody ever after: none can be published again. Cause: what readers refuse was not asked of what is written. Fix: it is
/// refused with what to do, before anybody can see it, and what is written is what was read back.
#[test]
fn what_no_reader_takes_is_not_published() {
    use switchback::repository::contract::GoldenSample;
    let folder = Folder::new();
    let models = repository(&folder);
    let sample = |bytes: usize| GoldenSample::new("long", serde_json::json!("a".repeat(bytes)));
    let mut long = manifest("1");
    long.samples = vec![sample(4 << 20)];
    let refused = models.publish(Draft::new(long.clone()).file("model.onnx", MODEL)).unwrap_err();
    assert!(
        matches!(refused, RepositoryError::TooLarge { bytes, max, .. } if bytes > max && max == 4 << 20),
        "{refused}"
    );
    assert!(refused.to_string().contains("leave out golden samples or make them smaller"), "{refused}");
    long.samples = vec![sample((4 << 20) - (4 << 10))];
    models.verify(&models.publish(Draft::new(long).file("model.onnx", MODEL)).unwrap()).unwrap();
    models.get("late", "1").unwrap();

    let below = |folders: usize| format!("{}deep.bin", "a/".repeat(folders));
    let refused = models.publish(draft("2").bytes(below(9), *b"a")).unwrap_err();
    assert!(matches!(refused, RepositoryError::Name { what: "file", .. }), "{refused}");
    models.verify(&models.publish(draft("2").bytes(below(8), *b"a")).unwrap()).unwrap();

    let mut later = manifest("3");
    later.schema = 7;
    let refused = models.publish(Draft::new(later).file("model.onnx", MODEL)).unwrap_err();
    assert!(matches!(refused, RepositoryError::Manifest { .. }), "{refused}");
    assert_eq!(models.versions("late").unwrap().len(), 2);
    assert!(models.unusable("late").unwrap().is_empty());
}

/// Bug: the first version of a model was acknowledged, and a power cut took all of it. Cause: the folder that names the model was
/// never synced, nor those that name the data. Fix: whatever names what was made is synced first. That of the models is each time,
/// since another process may have made the model's a moment ago.
#[test]
fn the_first_version_of_a_model_lasts_or_is_not_there() {
    let steps = |data: bool, known: bool| {
        for failing in 0.. {
            let (folder, faults) = (Folder::new(), Faults::new());
            let models = repository(&folder);
            if known {
                fs::create_dir(folder.0.join("models/late")).unwrap();
                fs::create_dir_all(folder.0.join("models/.data/sha256")).unwrap();
            }
            let flights = serde_json::from_str::<DataSet>(r#"{"name": "flights"}"#).unwrap();
            let first = if data { draft("1").attach(flights, MODEL) } else { draft("1") };
            faults.fail_after(failing).once();
            let published = models.clone().disk_faults(faults.clone()).publish(first);
            assert_eq!(models.versions("late").unwrap().len(), usize::from(published.is_ok()));
            if published.is_ok() {
                return faults.steps();
            }
        }
        0
    };
    // To make a folder is a step that is left out where it is there; to sync what names it is not.
    assert_eq!(steps(false, false), steps(false, true) + 1);
    assert_eq!(steps(true, false), steps(true, true) + 2);
    // What could not be made to last is not left behind either.
    for failing in 0..4 {
        let (folder, faults) = (Folder::new(), Faults::new());
        let models = repository(&folder).disk_faults(faults.clone());
        faults.fail_after(failing);
        models.publish(draft("1")).unwrap_err();
        assert!(!folder.0.join("models/late").exists(), "step {failing}");
    }
}

/// Bug: `remove` and `tag` of one version were both acknowledged, and the tag pointed at nothing. Cause: `remove` looked at the
/// tags without their lock, and `tag` looked for the version before it had it. Fix: both look while they have it.
#[test]
fn a_version_that_is_removed_while_it_is_tagged_is_one_or_the_other() {
    let folder = Folder::new();
    let models = repository(&folder);
    models.publish(draft("1")).unwrap();
    models.publish(draft("2")).unwrap();
    let late = folder.0.join("models/late");
    // What comes of it where somebody else has the lock, and does `meanwhile` before it is given back.
    let waiting = |change: &(dyn Fn() -> bool + Sync), meanwhile: &dyn Fn()| {
        let lock = fs::File::create(late.join(".tags.lock")).unwrap();
        lock.lock().unwrap();
        let (told, outcome) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || told.send(change()));
            // Whatever is looked at without the lock is looked at by then.
            outcome.recv_timeout(std::time::Duration::from_millis(200)).unwrap_err();
            meanwhile();
            lock.unlock().unwrap();
            outcome.recv().unwrap()
        })
    };
    let tag = || models.tag("late", "stable", "1").is_ok();
    assert!(!waiting(&tag, &|| fs::rename(late.join("1"), late.join(".removed")).unwrap()));
    assert!(models.tags("late").unwrap().is_empty());
    fs::rename(late.join(".removed"), late.join("1")).unwrap();

    let remove = || models.remove("late", "1").is_ok();
    assert!(!waiting(&remove, &|| fs::write(late.join(".tags.json"), r#"{"stable": "1"}"#).unwrap()));
    assert_eq!(models.resolve("late", "stable").unwrap().version, "1");
    assert!(waiting(&remove, &|| fs::write(late.join(".tags.json"), "{}").unwrap()));
}

/// Bug: a version could be published with its own name as a tag, or by the name that somebody gave a tag at the same time. Cause:
/// whoever publishes looked at the tags before the version could be seen, and whoever tags at the versions. Fix: they are looked
/// at once more where it can be seen, by who has their lock.
#[test]
fn no_tag_has_the_name_of_a_version() {
    let folder = Folder::new();
    let models = repository(&folder);
    let mut own = manifest("1");
    own.tags.insert("1".into());
    let refused = models.publish(Draft::new(own).file("model.onnx", MODEL)).unwrap_err();
    assert!(matches!(refused, RepositoryError::Name { what: "tag", .. }), "{refused}");
    assert!(models.versions("late").unwrap().is_empty() && models.tags("late").unwrap().is_empty());

    models.publish(draft("1")).unwrap();
    for _ in 0..20 {
        let (published, tagged) = std::thread::scope(|scope| {
            let publishing = scope.spawn(|| models.publish(draft("2")).is_ok());
            let tagging = scope.spawn(|| models.tag("late", "2", "1").is_ok());
            (publishing.join().unwrap(), tagging.join().unwrap())
        });
        assert!(!(published && tagged));
        let _ = (models.untag("late", "2"), models.remove("late", "2"));
    }
}

/// Bug: one tag more was acknowledged than the file of tags has room for, and nothing that reads it did anything any more, not even
/// `repair_tags`. Cause: what readers refuse was written. Fix: it is refused, and a file that somebody else made too large is torn.
#[test]
fn there_are_no_more_tags_than_can_be_read() {
    let folder = Folder::new();
    let models = repository(&folder);
    models.publish(draft("1")).unwrap();
    let written = |tags: usize| {
        let tag = |number| (format!("{:0>47}", number), "1".to_owned());
        let tags: std::collections::BTreeMap<String, String> = (0..tags).map(tag).collect();
        serde_json::to_vec_pretty(&tags).unwrap()
    };
    let one = written(2).len() - written(1).len();
    let most = (1 << 20) / one;
    let path = folder.0.join("models/late/.tags.json");
    fs::write(&path, written(most)).unwrap();
    let before = fs::read(&path).unwrap();
    let long = "x".repeat(47);
    let refused = models.tag("late", &long, "1").unwrap_err();
    assert!(matches!(refused, RepositoryError::TooLarge { max, .. } if max == 1 << 20), "{refused}");
    assert!(refused.to_string().contains("remove tags that nobody uses"), "{refused}");
    let mut tagged = manifest("2");
    tagged.tags.insert(long.clone());
    models.publish(Draft::new(tagged).file("model.onnx", MODEL)).unwrap_err();
    assert_eq!((fs::read(&path).unwrap(), models.versions("late").unwrap().len()), (before, 1));
    models.untag("late", &format!("{:0>47}", 0)).unwrap();
    models.tag("late", &long, "1").unwrap();

    fs::write(&path, written(most + 1)).unwrap();
    assert!(matches!(models.tags("late"), Err(RepositoryError::Tags { .. })));
    assert!(models.repair_tags("late").unwrap().is_some());
    models.tag("late", "stable", "1").unwrap();
}

/// Bug: of two sets of data of one name the first was copied, and then nothing named it: the manifest listed the second alone, and a
/// sweep removed the first. Cause: what is attached replaced what was listed under its name, what was just attached too. Fix: it is refused.
#[test]
fn two_sets_of_data_under_one_name_are_refused() {
    let folder = Folder::new();
    let models = repository(&folder);
    for part in ["train", "test"] {
        fs::create_dir(folder.0.join(part)).unwrap();
        fs::write(folder.0.join(part).join("part-0.csv"), part).unwrap();
    }
    let data = || {
        let mut data = DataSet::default();
        data.name = "part-0.csv".to_owned();
        data
    };
    let from = |part: &str| folder.0.join(part).join("part-0.csv");
    let refused = models.publish(draft("1").attach(data(), from("train")).attach(data(), from("test")));
    let told = refused.unwrap_err().to_string();
    assert_eq!(
        told,
        "`part-0.csv` cannot name a set of data: two sets have this name: attach each under another"
    );
    assert!(models.versions("late").unwrap().is_empty());
    // One that the manifest lists without its bytes is replaced by what is attached.
    let mut listed = manifest("1");
    listed.lineage.data.push(data());
    let entry =
        models.publish(Draft::new(listed).file("model.onnx", MODEL).attach(data(), from("train"))).unwrap();
    let lineage = entry.manifest.unwrap().lineage;
    assert!(lineage.data.len() == 1 && lineage.data[0].attached);
}

/// Bug: a model was published without its external data, as whole, and nobody could ever load that version. Cause: nobody looked
/// at what the model's file refers to. Fix: publishing is refused, with the names of what is missing.
#[cfg(feature = "onnx")]
#[test]
fn a_model_is_not_published_without_the_external_data_that_it_refers_to() {
    let folder = Folder::new();
    let models = repository(&folder);
    let draft = |version: &str, model: &str| {
        let mut manifest = manifest(version);
        model.clone_into(&mut manifest.model);
        Draft::new(manifest).file(model, "tests/models/external.onnx")
    };
    for (model, data) in [("model.onnx", "external.data"), ("onnx/model.onnx", "onnx/external.data")] {
        let refused = models.publish(draft("1", model)).unwrap_err();
        assert!(
            matches!(&refused, RepositoryError::DataMissing { model: file, missing } if file == model && missing[..] == [data]),
            "{refused}"
        );
        assert!(refused.to_string().contains(data), "{refused}");
        assert!(models.get("late", "1").is_err(), "nothing is there that was not before");
    }
    // Beside the version and not beside the model, it is missing all the same.
    let astray = draft("1", "onnx/model.onnx").file("external.data", "tests/models/external.data");
    assert!(matches!(models.publish(astray), Err(RepositoryError::DataMissing { .. })));
    for (version, model, data) in
        [("1", "model.onnx", "external.data"), ("2", "onnx/model.onnx", "onnx/external.data")]
    {
        let whole = draft(version, model).file(data, "tests/models/external.data");
        let entry = models.publish(whole).unwrap();
        assert!(!entry.manifest.unwrap().contract.inputs.is_empty(), "it can be read as a model");
    }
    // What is no model of ONNX refers to nothing.
    models.publish(Draft::new(manifest("3")).bytes("model.onnx", *b"trees of another engine")).unwrap();
}
