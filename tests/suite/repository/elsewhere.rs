//! Folders of others, with the files as those lay them: a model hub's cache and downloads, a model server's tree, volumes that an
//! orchestrator fills.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use switchback::Timestamp;
use switchback::repository::{Draft, HubModel, Manifest, Repository, RepositoryError, VersionFileError};

use crate::common::Folder;

const MODEL: &str = "tests/models/affine.onnx";
const REVISION: &str = "714eb0fa89d2f80546fda750413ed43d93601a13";
const CONFIG: &str = r#"{"architectures": ["BertForSequenceClassification"], "model_type": "bert",
    "id2label": {"1": "late", "0": "on time", "10": "j", "2": "c", "3": "d", "4": "e", "5": "f", "6": "g", "7": "h", "8": "i", "9": "k"},
    "transformers_version": "4.46.0"}"#;

fn created() -> Timestamp {
    Timestamp::from_unix_seconds(1_790_000_000)
}

/// A cache as the hub's client lays one: files by their digests in `blobs`, and links to them in a snapshot.
fn cache(root: &Path) -> PathBuf {
    let model = root.join("models--org--late--v2");
    let snapshot = model.join("snapshots").join(REVISION);
    for folder in [model.join("blobs"), model.join("refs"), snapshot.join("onnx")] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(model.join("refs/main"), REVISION).unwrap();
    let external = fs::read("tests/models/external.onnx").unwrap();
    for (number, (path, bytes)) in [
        ("config.json", CONFIG.into()),
        ("tokenizer.json", b"{}".to_vec()),
        ("README.md", b"# Late".to_vec()),
        ("onnx/model.onnx", external),
        ("onnx/external.data", fs::read("tests/models/external.data").unwrap()),
        ("onnx/model.onnx_data", b"more weights".to_vec()),
        ("onnx/model_quantized.onnx", fs::read(MODEL).unwrap()),
    ]
    .into_iter()
    .enumerate()
    {
        let blob = format!("{number:040x}");
        fs::write(model.join("blobs").join(&blob), bytes).unwrap();
        let up = if path.contains('/') { "../../../blobs" } else { "../../blobs" };
        symlink(format!("{up}/{blob}"), snapshot.join(path)).unwrap();
    }
    model
}

#[test]
fn a_model_in_a_hubs_cache_is_published_with_what_the_hub_knows() {
    let folder = Folder::new();
    let model = cache(&folder.0);
    let snapshot = model.join("snapshots").join(REVISION);
    let hub = HubModel::read(&model).unwrap().unwrap();
    assert_eq!(HubModel::read(&snapshot).unwrap().unwrap(), hub, "what `main` points at");
    assert_eq!((hub.repository.as_deref(), hub.revision.as_deref()), (Some("org/late--v2"), Some(REVISION)));
    assert_eq!(hub.models, ["onnx/model.onnx", "onnx/model_quantized.onnx"]);
    assert_eq!(hub.labels, ["on time", "late", "c", "d", "e", "f", "g", "h", "i", "k", "j"]);

    let models = Repository::create(folder.0.join("models")).unwrap();
    let draft = hub.draft(hub.manifest("onnx/model.onnx", "late", "1", created())).unwrap();
    // What the model names otherwise than hubs do is said beside.
    let draft = draft.file("onnx/external.data", snapshot.join("onnx/external.data"));
    let entry = models.publish(draft).unwrap();
    models.verify(&entry).unwrap();
    let manifest = entry.manifest.as_ref().unwrap();
    let files: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    let expected =
        ["onnx/model.onnx", "onnx/model.onnx_data", "config.json", "tokenizer.json", "onnx/external.data"];
    assert_eq!(files, expected);
    assert_eq!(manifest.contract.labels, hub.labels);
    assert_eq!(manifest.lineage.framework.as_deref(), Some("transformers 4.46.0"));
    assert_eq!(manifest.notes["hub revision"], REVISION);
    assert_eq!(manifest.notes["hub model"], "org/late--v2");
    assert_eq!(manifest.notes["hub architecture"], "BertForSequenceClassification");
    // They are files of their own: the cache may be cleaned.
    fs::remove_dir_all(&model).unwrap();
    models.verify(&entry).unwrap();
    assert_eq!(fs::read(entry.model_file()).unwrap(), fs::read("tests/models/external.onnx").unwrap());
    #[cfg(feature = "onnx")]
    switchback::model::onnx::OnnxModel::from_file(entry.model_file()).unwrap();
}

#[test]
fn a_download_from_a_hub_is_published_and_what_it_does_not_say_is_not_made_up() {
    let folder = Folder::new();
    let download = folder.0.join("late");
    fs::create_dir_all(&download).unwrap();
    assert_eq!(HubModel::read(&download).unwrap(), None);
    fs::write(download.join("config.json"), "{}").unwrap();
    assert_eq!(HubModel::read(&download).unwrap(), None, "there is no model");
    fs::copy(MODEL, download.join("model.onnx")).unwrap();
    let hub = HubModel::read(&download).unwrap().unwrap();
    assert_eq!((&hub.repository, &hub.revision, &hub.architecture), (&None, &None, &None));
    assert_eq!((hub.models.as_slice(), hub.labels.len()), (&["model.onnx".to_owned()][..], 0));
    for (said, labels) in [
        (r#"{"id2label": {"0": "a", "2": "b"}}"#, &[][..]),
        (r#"{"id2label": {"0": "a", "one": "b"}}"#, &[]),
        (r#"{"id2label": {"0": "a", "00": "b"}}"#, &[]),
        (r#"{"id2label": null, "architectures": null}"#, &[]),
        (r#"{"id2label": {"0": "a", "1": "b"}, "more": [1, {}]}"#, &["a", "b"]),
    ] {
        fs::write(download.join("config.json"), said).unwrap();
        assert_eq!(HubModel::read(&download).unwrap().unwrap().labels, labels, "{said}");
    }
    let torn = fs::write(download.join("config.json"), "{").map(|()| HubModel::read(&download).unwrap_err());
    assert!(
        matches!(torn.unwrap(), RepositoryError::Manifest { path, .. } if path == download.join("config.json"))
    );
    fs::remove_file(download.join("config.json")).unwrap();
    let hub = HubModel::read(&download).unwrap().unwrap();
    for model in ["onnx/model.onnx", "../late/model.onnx", "/etc/passwd"] {
        assert!(hub.draft(hub.manifest(model, "late", "1", created())).is_err(), "{model}");
    }
    // A reference that leads out is none.
    fs::create_dir(download.join("refs")).unwrap();
    fs::write(download.join("refs/main"), "../..").unwrap();
    assert_eq!(HubModel::read(&download).unwrap().unwrap(), hub);
}

/// The versions of a model server lie in folders that are numbers, beside its own configuration.
#[test]
fn a_model_servers_tree_is_a_repository() {
    let folder = Folder::new();
    let late = folder.0.join("late");
    for version in ["1", "2", "10"] {
        let model = late.join(version).join("model.onnx");
        fs::create_dir_all(&model).unwrap();
        fs::copy("tests/models/external.onnx", model.join("model.onnx")).unwrap();
        fs::copy("tests/models/external.data", model.join("external.data")).unwrap();
    }
    fs::create_dir_all(late.join("3")).unwrap();
    fs::copy(MODEL, late.join("3/model.onnx")).unwrap();
    fs::write(late.join("config.pbtxt"), "name: \"late\"\nbackend: \"onnxruntime\"\n").unwrap();
    let models = Repository::open(&folder.0).unwrap();
    let entries = models.versions("late").unwrap();
    let names: Vec<&str> = entries.iter().map(|entry| entry.version.as_str()).collect();
    assert_eq!(names, ["1", "2", "3", "10"]);
    for entry in &entries {
        models.verify(entry).unwrap();
        assert!(entry.model_file().is_file());
        #[cfg(feature = "onnx")]
        switchback::model::onnx::OnnxModel::from_file(entry.model_file()).unwrap();
    }
}

#[test]
fn links_are_followed_where_that_is_said_and_they_stay_below_the_model() {
    let folder = Folder::new();
    let plain = Repository::create(folder.0.join("models")).unwrap();
    let following = plain.clone().following_links();
    let late = folder.0.join("models/late");
    let links = |error: RepositoryError| {
        let RepositoryError::Faulty { faults, .. } = error else { panic!("{error}") };
        faults
            .iter()
            .filter(|fault| matches!(fault, VersionFileError::NotAFile { what: "a link", .. }))
            .count()
    };
    // A cache of a hub's that lies below the model, and a version that is one of its snapshots.
    let model = cache(&late.join(".hub"));
    symlink(
        format!(".hub/{}/snapshots/{REVISION}", model.file_name().unwrap().to_str().unwrap()),
        late.join("1"),
    )
    .unwrap();
    let entry = plain.get("late", "1").unwrap();
    assert!(links(plain.verify(&entry).unwrap_err()) > 0);
    following.verify(&following.get("late", "1").unwrap()).unwrap();
    assert!(entry.model_file().ends_with("onnx/model.onnx"));

    // A volume that is filled from a configuration, with its manifest.
    let mut manifest = Manifest::new("late", "2", created());
    manifest.contract = serde_json::from_str(r#"{"pipeline": {"name": "plain", "version": "1.0"}}"#).unwrap();
    plain.publish(Draft::new(manifest).file("model.onnx", MODEL)).unwrap();
    let (version, real) = (late.join("2"), late.join("2/..2026_11_27_17_00"));
    fs::create_dir(&real).unwrap();
    symlink("..2026_11_27_17_00", version.join("..data")).unwrap();
    for file in ["model.onnx", "manifest.json"] {
        fs::rename(version.join(file), real.join(file)).unwrap();
        symlink(format!("..data/{file}"), version.join(file)).unwrap();
    }
    assert!(plain.get("late", "2").is_err());
    let entry = following.get("late", "2").unwrap();
    following.verify(&entry).unwrap();
    #[cfg(feature = "onnx")]
    following
        .serve::<f32, f32>("late", switchback::repository::contract::Host::new(), pipelines())
        .open("2")
        .unwrap();
    fs::write(real.join("model.onnx"), [fs::read(MODEL).unwrap(), vec![0]].concat()).unwrap();
    let error = following.verify(&entry).unwrap_err();
    assert!(error.to_string().contains("model.onnx has "), "{error}");
    fs::copy(MODEL, real.join("model.onnx")).unwrap();
    following.verify(&entry).unwrap();

    // Bug: a version whose files share their bytes with a cache's or a backup's was faulty whatever was said of links. Cause: more
    // than one name was a fault by itself. Fix: it is one kind of link; the digest decides.
    fs::hard_link(real.join("model.onnx"), folder.0.join("backup.onnx")).unwrap();
    following.verify(&entry).unwrap();
    fs::remove_file(folder.0.join("backup.onnx")).unwrap();

    // Out of the model's folder, to nothing, to a pipe's kind of thing, and round in circles.
    fs::copy(MODEL, folder.0.join("outside.onnx")).unwrap();
    for to in ["../../../outside.onnx", "gone", "/dev/null", "../..", "."] {
        symlink(to, version.join("stray")).unwrap();
        let error = following.verify(&entry).unwrap_err();
        assert!(
            matches!(&error, RepositoryError::Faulty { faults, .. } if !faults.is_empty()),
            "{to}: {error}"
        );
        fs::remove_file(version.join("stray")).unwrap();
    }
    // Two folders that lead into each other, again and again.
    for (one, other) in [("a", "b"), ("b", "a")] {
        fs::create_dir(version.join(one)).unwrap();
        (0..2_000).for_each(|number| fs::write(version.join(one).join(number.to_string()), []).unwrap());
        (0..4).for_each(|number| {
            symlink(format!("../{other}"), version.join(format!("{one}/x{number}"))).unwrap()
        });
    }
    let error = following.verify(&entry).unwrap_err();
    assert!(matches!(error, RepositoryError::TooMany { .. }), "{error}");
}

#[cfg(feature = "onnx")]
fn pipelines() -> switchback::repository::contract::Pipelines<f32, f32> {
    use switchback::model::ModelError;
    use switchback::model::onnx::{Feed, Outputs};
    fn encode(input: &f32, feed: &mut Feed<'_, '_>) -> Result<(), ModelError> {
        feed.buffer("x", &[1, 3])?.copy_from_slice(&[*input; 3]);
        Ok(())
    }
    fn decode(outputs: &Outputs<'_>) -> Result<f32, ModelError> {
        Ok(outputs.tensor::<f32>("y")?.1[0])
    }
    let mut pipelines = switchback::repository::contract::Pipelines::new();
    pipelines.register("plain", "1.0.0", encode, decode).unwrap();
    pipelines
}
