//! Folders as people leave them: strays, names, links and layouts of others, and tags that were torn.

use std::fs;
use std::path::Path;

use switchback::repository::{Change, Draft, Repository, RepositoryError};
use switchback::{Clock, Timestamp};

use crate::common::{Folder, seconds};

const MODEL: &str = "tests/models/affine.onnx";

fn repository(folder: &Folder) -> Repository {
    Repository::create(folder.0.join("models")).unwrap()
}

/// A version as others keep one: a model in a folder.
fn keep(folder: &Folder, version: &str) {
    let path = folder.0.join("models/late").join(version);
    fs::create_dir_all(path.join("model.onnx").parent().unwrap()).unwrap();
    fs::copy(MODEL, path.join("model.onnx")).unwrap();
}

fn versions(models: &Repository) -> Vec<String> {
    models.versions("late").unwrap().iter().map(|entry| entry.version.to_string()).collect()
}

fn latest(models: &Repository) -> String {
    models.resolve("late", "latest").unwrap().version.to_string()
}

/// Bug: a mistyped folder of a repository was told as "opening models/nowhere failed". Cause: the message left out what the system
/// had said, which stood in `source()` alone. Fix: it says it. Bug: whoever printed all causes then read it twice. Cause: it was
/// the source as well. Fix: what a message tells is a field, `cause`, and no source; `.ci/house.py` looks at every error.
#[test]
fn a_repository_that_is_not_there_says_what_the_system_said() {
    let folder = Folder::new();
    let path = folder.0.join("nowhere");
    let refused = Repository::open(&path).unwrap_err();
    let told = format!("opening {} failed: No such file or directory (os error 2)", path.display());
    assert_eq!(refused.to_string(), told);
    assert!(std::error::Error::source(&refused).is_none(), "it would be told twice");
}

/// Bug: beside 1, 2, 9, 10 an empty `10.bak` made `latest` 9 in silence, and `lost+found` made it what could not be opened.
/// Cause: any folder was a version, and one name that is no number put all names in the order of letters.
/// Fix: a folder with neither manifest nor model is no version, and is told; numbers are in numeric order and last, whatever
/// lies beside them.
#[test]
fn a_stray_folder_is_no_version_and_flips_nothing() {
    let folder = Folder::new();
    for version in ["1", "2", "9", "10"] {
        keep(&folder, version);
    }
    let models = repository(&folder);
    for stray in ["10.bak", "notes"] {
        fs::create_dir(folder.0.join("models/late").join(stray)).unwrap();
        assert_eq!(versions(&models), ["1", "2", "9", "10"]);
        assert_eq!(latest(&models), "10");
        let error = models.get("late", stray).unwrap_err();
        assert!(matches!(&error, RepositoryError::NoVersion { version, .. } if version == stray), "{error}");
        assert!(error.to_string().contains("neither a manifest.json nor a model.onnx"), "{error}");
        assert!(matches!(models.resolve("late", stray), Err(RepositoryError::NoVersion { .. })));
    }
    // What no version can be called is not looked at.
    fs::create_dir(folder.0.join("models/late/lost+found")).unwrap();
    assert_eq!((versions(&models).len(), latest(&models)), (4, "10".into()));
    assert!(matches!(models.get("late", "lost+found"), Err(RepositoryError::Name { .. })));
    // One that holds a model is a version, and none that others are taken for.
    keep(&folder, "10.bak");
    assert_eq!(versions(&models), ["10.bak", "1", "2", "9", "10"]);
    assert_eq!(latest(&models), "10");
    let unknown = models.resolve("late", "3").unwrap_err().to_string();
    assert!(unknown.ends_with("it has 1, 10, 10.bak, 2, 9"), "{unknown}");
}

/// A stray is told to whoever watches, once; what a file system keeps beside the versions is none.
#[test]
fn a_stray_folder_is_told_to_who_watches() {
    let folder = Folder::new();
    keep(&folder, "1");
    let clock = Clock::manual(Timestamp::from_unix_seconds(1_790_000_000));
    let mut watch = repository(&folder).watch_by("late", clock.clone()).unwrap();
    fs::create_dir(folder.0.join("models/late/notes")).unwrap();
    fs::create_dir(folder.0.join("models/late/lost+found")).unwrap();
    let mut look = |after: u64| {
        clock.advance(seconds(after));
        watch.poll().unwrap()
    };
    assert_eq!((look(0), look(59)), (vec![], vec![]));
    let told = look(1);
    assert!(
        matches!(&told[..], [Change::Broken { reason, .. }] if reason.contains("no version")),
        "{told:?}"
    );
    assert_eq!(look(100), []);
}

/// Bug: `v10` was before `v9`, and 2.10.0 before 2.9.0. Cause: the order of letters. Fix: natural order.
#[test]
fn names_with_numbers_are_in_natural_order() {
    for (names, last) in [(["v10", "v9", "v1"], "v10"), (["2.10.0", "2.9.0", "2.9.10"], "2.10.0")] {
        let folder = Folder::new();
        names.iter().for_each(|name| keep(&folder, name));
        assert_eq!(latest(&repository(&folder)), last);
    }
}

/// Bug: a version that is a link to a folder was invisible: "late has no version". Cause: only plain folders were looked at.
/// Fix: a link that stays below the model's folder is followed; of any other it is said what it is.
#[cfg(unix)]
#[test]
fn a_version_may_be_a_link_that_stays_below_the_models_folder() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new();
    keep(&folder, "1");
    keep(&folder, ".store/abc");
    keep(&folder, "../outside");
    let (models, late) = (repository(&folder), folder.0.join("models/late"));
    let clock = Clock::manual(Timestamp::from_unix_seconds(1_790_000_000));
    let mut watch = models.watch_by("late", clock.clone()).unwrap();
    symlink(".store/abc", late.join("2")).unwrap();
    symlink("../outside", late.join("3")).unwrap();
    symlink("nowhere", late.join("4")).unwrap();
    symlink(".", late.join("5")).unwrap();
    symlink("1/model.onnx", late.join("6")).unwrap();
    assert_eq!(versions(&models), ["1", "2"]);
    assert_eq!(latest(&models), "2");
    models.verify(&models.get("late", "2").unwrap()).unwrap();
    for (name, cause) in [("3", "leads out of"), ("4", "what is not there"), ("5", "leads out of")] {
        let error = models.get("late", name).unwrap_err();
        assert!(matches!(error, RepositoryError::NoVersion { .. }), "{error}");
        assert!(error.to_string().contains(cause), "{error}");
    }
    assert!(matches!(models.get("late", "6"), Err(RepositoryError::Unknown { .. })), "a link to a file");
    assert_eq!(watch.poll().unwrap(), []);
    clock.advance(seconds(2));
    assert_eq!(watch.poll().unwrap(), [Change::Added { version: "2".parse().unwrap() }]);
    // It is swung to another folder of the same files: a change all the same.
    keep(&folder, ".store/def");
    fs::remove_file(late.join("2")).unwrap();
    symlink(".store/def", late.join("2")).unwrap();
    assert_eq!(watch.poll().unwrap(), [Change::Changed { version: "2".parse().unwrap() }]);
    // What it leads to is not the repository's to remove.
    models.remove("late", "2").unwrap();
    assert!(late.join(".store/def/model.onnx").exists() && fs::symlink_metadata(late.join("2")).is_err());
    assert!(
        fs::read_dir(&late)
            .unwrap()
            .all(|entry| { !entry.unwrap().file_name().to_string_lossy().starts_with(".aside-") })
    );
}

/// Bug: Triton's folder form and a hub's export were "model.onnx is missing". Cause: one layout. Fix: three.
#[test]
fn layouts_of_others_are_found_without_a_manifest() {
    let folder = Folder::new();
    for (version, path) in [("1", "model.onnx"), ("2", "model.onnx/model.onnx"), ("3", "onnx/model.onnx")] {
        let path = folder.0.join("models/late").join(version).join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(MODEL, &path).unwrap();
        let models = repository(&folder);
        let entry = models.get("late", version).unwrap();
        assert_eq!(entry.model_file(), path);
        models.verify(&entry).unwrap();
        assert!(models.diff("late", "1", version).unwrap().is_empty());
    }
    fs::create_dir_all(folder.0.join("models/late/4/model.onnx")).unwrap();
    assert_eq!(versions(&repository(&folder)), ["1", "2", "3"], "a folder is no model");
}

/// Bug: a folder of MLflow's loaded, and what MLflow knew of it was lost. Cause: nobody read it. Fix: an entry tells the run, the
/// moment and the signature, and a manifest can be made of it and published.
#[test]
fn what_mlflow_says_of_a_model_is_its_lineage() {
    let folder = Folder::new();
    let logged = folder.0.join("models/late/1");
    fs::create_dir_all(&logged).unwrap();
    fs::copy(MODEL, logged.join("model.onnx")).unwrap();
    let models = repository(&folder);
    assert_eq!(models.get("late", "1").unwrap().mlflow().unwrap(), None);
    let said = "flavors:\n  onnx:\n    data: model.onnx\nmlflow_version: 3.17.0\nrun_id: 4f0c9d\n";
    fs::write(logged.join("MLmodel"), said).unwrap();
    let entry = models.get("late", "1").unwrap();
    assert_eq!((&entry.manifest, entry.model_file()), (&None, logged.join("model.onnx")));
    let mlflow = entry.mlflow().unwrap().unwrap();
    assert_eq!(mlflow.run.as_deref(), Some("4f0c9d"));

    let manifest = mlflow.manifest("late", "2", Timestamp::from_unix_seconds(1_790_000_000));
    models.publish(Draft::new(manifest).file("model.onnx", entry.model_file())).unwrap();
    let published = models.get("late", "2").unwrap();
    models.verify(&published).unwrap();
    let manifest = published.manifest.unwrap();
    assert_eq!(manifest.lineage.framework.as_deref(), Some("mlflow 3.17.0"));
    assert_eq!(manifest.notes["mlflow run"], "4f0c9d");
}

/// Bug: a torn `.tags.json` was an end: nothing resolved, not even `latest`, nothing was published, no watch went on.
/// Cause: every way led through the tags, and nothing mended them.
/// Fix: what needs no tags does without; the error names `repair_tags`, which puts the file aside.
#[test]
fn torn_tags_are_an_error_with_a_way_out() {
    let folder = Folder::new();
    keep(&folder, "1");
    let (models, tags) = (repository(&folder), folder.0.join("models/late/.tags.json"));
    models.tag("late", "stable", "1").unwrap();
    assert_eq!(models.repair_tags("late").unwrap(), None, "they can be read");
    let mut watch = models.watch("late").unwrap();
    let whole = fs::read(&tags).unwrap();
    fs::write(&tags, &whole[..whole.len() / 2]).unwrap();

    assert_eq!(latest(&models), "1");
    let error = models.resolve("late", "stable").unwrap_err();
    assert!(matches!(&error, RepositoryError::Tags { path, .. } if *path == tags), "{error}");
    assert!(error.to_string().contains("`Repository::repair_tags`"), "{error}");
    let changes = watch.poll().unwrap();
    assert!(
        matches!(&changes[..], [Change::TagsBroken { reason }] if reason.contains("repair_tags")),
        "{changes:?}"
    );
    assert_eq!(watch.poll().unwrap(), [], "it is told once");

    let aside = models.repair_tags("late").unwrap().unwrap();
    assert_eq!(fs::read(&aside).unwrap(), whole[..whole.len() / 2]);
    assert!(models.tags("late").unwrap().is_empty());
    models.tag("late", "stable", "1").unwrap();
    assert_eq!(models.resolve("late", "stable").unwrap().version, "1");
    assert_eq!(watch.poll().unwrap(), [], "it points where it did");
    models.sweep().unwrap();
    assert!(Path::new(&aside).exists(), "a person has not read it yet");
}
