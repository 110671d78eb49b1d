//! Everything that reads what comes from outside, by name: bytes in, and no panic, no hang, no memory without a bound. What is
//! read can be written, and is read again as the same. `.ci/fuzz` looks for bytes that break this, guided by what they reach;
//! `tests/suite/contained/corpus.rs` tries all that were kept.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use switchback::admin::{Actor, Admin};
use switchback::config::Config;
use switchback::drift::ReferenceProfile;
use switchback::fleet::{Directory, Key, Over, Read, Store};
use switchback::guard::Stated;
use switchback::model::onnx::{Feed, OnnxModel, Outputs, Pipeline, PreparedCache, Tensors};
use switchback::oip::{Feedback, Infer};
use switchback::operator::Operators;
use switchback::options::{Shadowing, StateFolder, Threads};
use switchback::repository::contract::{GoldenSample, Preflight};
use switchback::repository::{FolderSource, HubModel, Manifest, MlflowModel, Pull, Repository, TrustedKeys};
use switchback::{Builder, Clock, Model, ModelHandle, Plan, PredictionId, Task, Timestamp, closure, guard};
use xxhash_rust::xxh3::xxh3_64_with_seed;

mod fleet_values;
#[allow(unused_imports, reason = "fuzzing knows it by its name alone")]
pub(crate) use fleet_values::{left, taken_over};

/// A parser, and a folder that it may write to.
pub(crate) type Parser = fn(&[u8], &PathBuf);

/// By the name that its corpus has below `tests/corpus`.
pub(crate) const PARSERS: [(&str, Parser); 23] = [
    ("onnx", onnx),
    ("manifest", manifest),
    ("journal", journal),
    ("guard", guard),
    ("config", config),
    ("id", id),
    ("infer", infer),
    ("profile", profile),
    ("mlflow", mlflow),
    ("tags", tags),
    ("fleet", |bytes, _| fleet_values::operated(bytes)),
    ("member", |bytes, _| fleet_values::followed(bytes)),
    ("handover", |bytes, _| {
        let _ = fleet_values::taken_over(bytes);
    }),
    ("directory", directory),
    ("remembered", remembered),
    ("admin", admin),
    ("feedback", feedback),
    ("hub", hub),
    ("signature", signature),
    ("samples", samples),
    ("prepared", prepared),
    ("pulled", pulled),
    ("mark", mark),
];

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn onnx(bytes: &[u8], _: &PathBuf) {
    if let Ok(model) = OnnxModel::from_bytes("fuzzed", bytes) {
        let _ = (model.signature(), model.labels().len(), model.opsets().len());
    }
}

fn manifest(bytes: &[u8], _: &PathBuf) {
    if let Ok(manifest) = Manifest::parse(bytes) {
        let written = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(Manifest::parse(&written).as_ref(), Ok(&manifest));
    }
}

/// What a process that ended has left, or somebody has made of it.
fn journal(bytes: &[u8], folder: &PathBuf) {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("journal"), bytes).unwrap();
    let _ = switchback::status::look(folder);
    if let Ok(history) = switchback::state::history(folder) {
        history.for_each(drop);
    }
    if switchback::state::repair(folder).is_ok() {
        // What was repaired is whole.
        if let Ok(history) = switchback::state::history(folder) {
            assert!(history.into_iter().all(|event| event.is_ok()));
        }
    }
}

fn guard(bytes: &[u8], _: &PathBuf) {
    if let Some(Ok(stated)) = text(bytes).map(str::parse::<Stated>) {
        assert_eq!(stated.to_string().parse::<Stated>().as_ref(), Ok(&stated));
    }
}

fn config(bytes: &[u8], _: &PathBuf) {
    if let Ok(config) = serde_json::from_slice::<Config>(bytes) {
        let written = serde_json::to_vec(&config).unwrap();
        let again: Config = serde_json::from_slice(&written).unwrap();
        assert_eq!(serde_json::to_vec(&again).unwrap(), written);
    }
    if let Some(Ok(config)) = text(bytes).map(toml::from_str::<Config>) {
        let _ = serde_json::to_vec(&config).unwrap();
    }
}

fn id(bytes: &[u8], _: &PathBuf) {
    if let Some(Ok(id)) = text(bytes).map(str::parse::<PredictionId>) {
        assert_eq!(id.to_string().parse::<PredictionId>().as_ref(), Ok(&id));
    }
}

/// The first two bytes say how long the JSON is, where they are not 0.
fn infer(bytes: &[u8], _: &PathBuf) {
    let Some((length, body)) = bytes.split_first_chunk::<2>() else { return };
    let length = u16::from_le_bytes(*length);
    let mut headers = http::HeaderMap::new();
    if length > 0 {
        headers.insert("inference-header-content-length", length.into());
    }
    if let Ok(infer) = Infer::parse(&headers, body) {
        assert!(infer.outputs().len() <= Infer::TENSORS_MAX);
        let _ = (infer.id(), infer.key(), infer.tensors().len());
    }
}

fn profile(bytes: &[u8], _: &PathBuf) {
    if let Ok(profile) = serde_json::from_slice::<ReferenceProfile>(bytes) {
        let written = serde_json::to_vec(&profile).unwrap();
        let again: ReferenceProfile = serde_json::from_slice(&written).unwrap();
        assert_eq!(again, profile);
    }
}

fn mlflow(bytes: &[u8], folder: &PathBuf) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("MLmodel"), bytes).unwrap();
    if let Ok(Some(model)) = MlflowModel::read(folder) {
        let manifest = model.manifest("late", "1", switchback::Timestamp::from_unix_seconds(1));
        let _ = serde_json::to_vec(&manifest).unwrap();
    }
}

fn tags(bytes: &[u8], folder: &PathBuf) {
    let model = folder.join("late");
    if std::fs::create_dir_all(model.join("1")).is_ok() {
        std::fs::write(model.join("1/model.onnx"), b"x").unwrap();
        std::fs::write(model.join(".tags.json"), bytes).unwrap();
        if let Ok(repository) = Repository::open(folder) {
            let _ = repository.versions("late");
        }
    }
}

/// Names of files that lie in the folder of a key, one a line.
fn directory(bytes: &[u8], folder: &PathBuf) {
    let Some(names) = text(bytes) else { return };
    let _ = std::fs::remove_dir_all(folder);
    let store = Directory::create(folder).unwrap();
    let head = Key::new("h/late/head").unwrap();
    let values = folder.join("h/late/head=");
    std::fs::create_dir_all(&values).unwrap();
    for name in names.lines().filter(|name| !name.is_empty() && !name.contains(['/', '\0'])) {
        // What lies beside a key's folder may be anything too.
        let _ = std::fs::write(values.join(name), name)
            .and_then(|()| std::fs::create_dir_all(folder.join("h").join(name)));
    }
    let _ = store.list(&Key::new("h").unwrap(), None);
    let over = match store.get(&head, None) {
        Ok(Read::Value { tag, .. }) => store.put(&head, b"x", Over::This(&tag)),
        Ok(Read::Absent | Read::Same) => store.put(&head, b"x", Over::Nothing),
        Err(_) => return,
    };
    if let Ok(tag) = over {
        assert!(
            matches!(store.get(&head, None), Ok(Read::Value { bytes, tag: of, .. }) if bytes == b"x" && of == tag)
        );
        store.remove(&head, &tag).unwrap();
    }
}

/// A handle that tries a version, without a thread.
fn trying() -> Builder<f64, f64> {
    let version = |name: &str| closure(format!("{name}@1"), |x: &f64| Ok(x * 0.5));
    ModelHandle::builder("late")
        .live("v1", version("v1"))
        .source(move |name: &str| Ok(Box::new(version(name)) as Box<dyn Model<f64, f64>>))
        .task(Task::binary(|p: &f64| *p))
        .shadowing(Shadowing::new())
        .threads(Threads::manual().stripes(1))
        .clock(Clock::manual(Timestamp::from_unix_seconds(1_800_000_000)))
        .seed(1)
}

/// The bodies of a journal, one a line, each after the number of its kind: with checksums as a process writes them, so that what
/// reads them gets beyond those.
fn remembered(bytes: &[u8], folder: &PathBuf) {
    const SALT: u64 = 5;
    let mut file = [&b"swbkjrnl"[..], &2_u32.to_le_bytes(), &[0; 4]].concat();
    [1, SALT, 0, 56].iter().for_each(|number: &u64| file.extend(number.to_le_bytes()));
    file.extend(xxh3_64_with_seed(&file, 0).to_le_bytes());
    let records: Vec<&[u8]> =
        bytes.split(|byte| *byte == b'\n').filter(|record| !record.is_empty()).collect();
    for (number, record) in records.iter().enumerate() {
        let (begin, seed) = (file.len(), SALT ^ file.len() as u64);
        let (kind, body) = record.split_first().unwrap();
        let commit = if number + 1 == records.len() { 0x80 } else { 0 };
        let whole = if kind & 7 == 2 { 0x10 } else { 0 };
        file.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
        file.push((kind & 7) | whole | commit);
        file.extend(u32::try_from(number).unwrap().to_le_bytes());
        file.extend(0_u32.to_le_bytes());
        let check = xxh3_64_with_seed(&file[begin..], seed);
        file.extend(&check.to_le_bytes()[..4]);
        file.extend(body.iter());
        file.extend(xxh3_64_with_seed(&file[begin..], seed).to_le_bytes());
    }
    journal(&file, folder);
    let _ = switchback::decisions::recorded(folder);
    let _ = std::fs::remove_dir_all(folder);
    if std::fs::create_dir_all(folder).and_then(|()| std::fs::write(folder.join("journal"), &file)).is_err() {
        return;
    }
    let Ok(handle) = trying().state(StateFolder::new(folder)).build() else { return };
    let _ = handle.predict(&0.5);
    handle.run_shadow(usize::MAX);
    handle.tick();
    let _ = serde_json::to_vec(&handle.status()).unwrap();
}

/// A request as it comes over a wire: a method and a path, headers, an empty line, and a body.
fn admin(bytes: &[u8], _: &PathBuf) {
    let (head, body) = match bytes.windows(2).position(|two| two == b"\n\n") {
        Some(end) => (&bytes[..end], &bytes[end + 2..]),
        None => (bytes, &b""[..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let end = first.iter().position(|byte| *byte == b' ').unwrap_or(first.len());
    let (method, path) = (&first[..end], first.get(end + 1..).unwrap_or_default());
    let mut request = http::Request::builder().method(method).uri(path);
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    let Ok(request) = request.body(body) else { return };
    let handle = trying().build().unwrap();
    let rollout = handle.stage("v2", closure("v2@1", |x: &f64| Ok(x * 0.5))).unwrap();
    let rollout = rollout.guard(guard::error_rate().at_most(0.5));
    rollout.run(Plan::ramp([0.5]).unwrap()).unwrap();
    let operators = Operators::new([handle.operator()]).unwrap();
    let ada = |_: &http::request::Parts| Ok(Actor::new("ada"));
    let answer = Admin::new(operators).changes(ada).respond(request);
    assert!(answer.status().as_u16() < 500 || answer.status() == http::StatusCode::SERVICE_UNAVAILABLE);
}

fn feedback(bytes: &[u8], _: &PathBuf) {
    if let Ok(feedback) = Feedback::parse(bytes) {
        let (id, outcome) = feedback.into_parts();
        let handle = trying().build().unwrap();
        let _ = Feedback::respond(&handle.feedback(id, outcome));
    }
}

fn hub(bytes: &[u8], folder: &PathBuf) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("model.onnx"), b"x").unwrap();
    std::fs::write(folder.join("config.json"), bytes).unwrap();
    if let Ok(Some(model)) = HubModel::read(folder) {
        let manifest = model.manifest("model.onnx", "late", "1", Timestamp::from_unix_seconds(1));
        let _ = serde_json::to_vec(&manifest).unwrap();
    }
}

/// Beside a manifest that a trusted key has signed.
fn signature(bytes: &[u8], folder: &PathBuf) {
    let version = folder.join("signed/1");
    std::fs::create_dir_all(&version).unwrap();
    std::fs::write(version.join("manifest.json"), include_bytes!("../repository/signed/1/manifest.json"))
        .unwrap();
    std::fs::write(version.join("manifest.json.minisig"), bytes).unwrap();
    let keys =
        TrustedKeys::required().key("RWSCzNvEdk18d/1s4yjXGLdPN6Z8FYjzeB9fDJuBrw/wnwJFLM7n0JFC").unwrap();
    if let Ok(repository) = Repository::open(folder) {
        let _ = repository.trusting(keys).get("signed", "1");
    }
}

fn model() -> OnnxModel {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/models/affine.onnx");
    let file = if file.exists() { file } else { "tests/models/affine.onnx".into() };
    OnnxModel::from_file(file).unwrap().pool_size(1)
}

/// Golden samples, as a manifest has them: a version is asked all of them before it takes traffic.
fn samples(bytes: &[u8], _: &PathBuf) {
    thread_local! {
        static ASKED: Pipeline<Vec<f32>, f32> = {
            let encode = |row: &Vec<f32>, feed: &mut Feed<'_, '_>| {
                let x = feed.buffer("x", &[1, 3])?;
                x.iter_mut().zip(row).for_each(|(x, value)| *x = *value);
                Ok(())
            };
            let asked = model().pipeline("samples@1", encode, |outputs: &Outputs<'_>| outputs.scalar("y"));
            // Without ONNX Runtime nothing would be asked, and nothing said of it.
            asked.load().unwrap();
            asked
        };
    }
    let Ok(samples) = serde_json::from_slice::<Vec<GoldenSample>>(bytes) else { return };
    let written = serde_json::to_vec(&samples).unwrap();
    assert_eq!(serde_json::from_slice::<Vec<GoldenSample>>(&written).as_ref().ok(), Some(&samples));
    if samples.len() > 64 {
        return;
    }
    ASKED.with(|asked| {
        let _ = Preflight::new().samples(&samples).run(asked).map_err(|error| error.to_string());
    });
}

/// What lies in the place of an entry's record: whatever it says, the model answers what it is to answer.
fn prepared(bytes: &[u8], folder: &PathBuf) {
    let _ = std::fs::create_dir_all(folder);
    let Ok(cache) = PreparedCache::open(folder.join("cache")) else { return };
    let cache = cache.smallest(0);
    let answer = || {
        let model = model().prepared(&cache);
        model.load().unwrap();
        let x = switchback::model::onnx::ndarray::ArrayD::from_shape_vec(vec![1, 3], vec![2.0_f32, 3.0, 4.0])
            .unwrap();
        let answered: Tensors = model.predict(&Tensors::new().with("x", x).unwrap()).unwrap();
        answered.get::<f32>("y").unwrap().iter().copied().collect::<Vec<_>>()
    };
    let right = answer();
    for entry in std::fs::read_dir(cache.folder()).unwrap().flatten() {
        let record = entry.path().join("record");
        if std::fs::remove_file(&record).is_ok() {
            std::fs::write(&record, bytes).unwrap();
        }
    }
    assert_eq!(answer(), right);
}

/// The tags of a model elsewhere, as they are pulled from.
fn pulled(bytes: &[u8], folder: &PathBuf) {
    let _ = std::fs::remove_dir_all(folder);
    let model = folder.join("elsewhere/signed");
    std::fs::create_dir_all(model.join("1")).unwrap();
    std::fs::write(model.join("1/manifest.json"), include_bytes!("../repository/signed/1/manifest.json"))
        .unwrap();
    std::fs::write(model.join(".tags.json"), bytes).unwrap();
    let source = FolderSource::open(folder.join("elsewhere")).unwrap();
    let here = Repository::create(folder.join("here")).unwrap();
    for asked in ["stable", "latest", "1", "../1"] {
        let _ = here.pull(Pull::new(&source, "signed", asked)).map_err(|error| error.to_string());
    }
}

/// What lies beside a journal: how far it was acknowledged, as it is or with a code that is right, or the key of its ids.
fn mark(bytes: &[u8], folder: &PathBuf) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let _ = std::fs::remove_dir_all(folder);
    let Ok(first) = trying().state(StateFolder::new(folder)).build() else { return };
    let _ = first.predict(&0.5);
    first.close(std::time::Duration::MAX).unwrap();
    drop(first);
    let (name, content) = match which % 3 {
        0 => ("mark", bytes.to_vec()),
        1 => ("key", bytes.to_vec()),
        _ => {
            let mut content = b"swbkmark".to_vec();
            content.extend(bytes.iter().copied().chain(std::iter::repeat(0)).take(24));
            content.extend(xxh3_64_with_seed(&content, 0).to_le_bytes());
            ("mark", content)
        }
    };
    assert!(folder.join(name).exists(), "{name} is another file by now");
    std::fs::write(folder.join(name), content).unwrap();
    let _ = switchback::status::look(folder);
    let Ok(handle) = trying().state(StateFolder::new(folder)).build() else { return };
    let _ = handle.predict(&0.5);
    handle.tick();
    let _ = serde_json::to_vec(&handle.status()).unwrap();
}
