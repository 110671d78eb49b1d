//! The prepared form: what it answers, what a cache of it does when what lies there is not what was put there, and its bounds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use switchback::events::EventKind;
use switchback::model::onnx::ndarray::ArrayD;
use switchback::model::onnx::{
    Dimension, ElementType, Kind, OnnxModel, Optimization, PreparedCache, Tensor, Tensors, Value,
};
use switchback::options::Tiers;
use switchback::options::{Retention, Threads};
use switchback::testing::Faults;
use switchback::versions::{Lifecycle, LoadThrottle, TargetTier, Tier};
use switchback::{Model, ModelHandle, RollbackOutcome, StageError, model::LoadError};

use crate::common::matrix::matrix_model;
use crate::common::{Chance, Folder, RaisedAtTheEnd, wait_until};

const SIDE: u64 = 64;

fn cache(folder: &Folder) -> PreparedCache {
    PreparedCache::open(folder.0.join("cache")).unwrap().smallest(0)
}

fn matrix(cache: &PreparedCache, factor: f32) -> OnnxModel {
    let model = OnnxModel::from_bytes(format!("matrix {factor}"), matrix_model(SIDE, factor)).unwrap();
    model.pool_size(2).prepared(cache)
}

fn ones() -> Tensors {
    Tensors::new().with("x", ArrayD::<f32>::ones(vec![1, SIDE as usize])).unwrap()
}

fn first(model: &impl Model<Tensors, Tensors>) -> f32 {
    model.predict(&ones()).unwrap().get::<f32>("y").unwrap()[[0, 0]]
}

/// The folder of the one entry.
fn entry(cache: &PreparedCache) -> PathBuf {
    let entries: Vec<PathBuf> = fs::read_dir(cache.folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    entry.clone()
}

fn write(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    let mut permissions = path.metadata().unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "it is a test's own file")]
    permissions.set_readonly(false);
    fs::set_permissions(path, permissions).unwrap();
    fs::write(path, bytes).unwrap();
}

// What it answers.

/// An input for a model: fractions where it takes fractions, zeros elsewhere.
fn made_up(model: &OnnxModel) -> Option<Tensors> {
    let mut inputs = Tensors::new();
    for port in &model.signature()?.inputs {
        let Kind::Tensor { element, shape } = &port.kind else { return None };
        let shape: Vec<usize> =
            shape.iter().map(|size| if let Dimension::Fixed(size) = size { *size } else { 2 }).collect();
        let mut chance = Chance(shape.len() as u64);
        let tensor: Tensor = match element {
            ElementType::F32 => ArrayD::from_shape_simple_fn(shape, || chance.next() as f32).into(),
            ElementType::F64 => ArrayD::from_shape_simple_fn(shape, || chance.next()).into(),
            ElementType::I64 => ArrayD::<i64>::zeros(shape).into(),
            ElementType::I32 => ArrayD::<i32>::zeros(shape).into(),
            ElementType::String => ArrayD::<String>::default(shape).into(),
            _ => return None,
        };
        inputs = inputs.with(port.name.clone(), Value::Tensor(tensor)).ok()?;
    }
    Some(inputs)
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Tensor(Tensor::F32(array)) => array.iter().map(|x| f64::from(*x)).collect(),
        Value::Tensor(Tensor::F64(array)) => array.iter().copied().collect(),
        Value::Tensor(Tensor::I64(array)) => array.iter().map(|x| *x as f64).collect(),
        Value::Tensor(_) => Vec::new(),
        Value::Sequence(values) => values.iter().flat_map(numbers).collect(),
        Value::Map(map) => map.values().map(|x| f64::from(*x)).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn on_every_model_here_both_forms_answer_as_the_plain_one_does() {
    let folder = Folder::new();
    let cache = cache(&folder);
    let (mut prepared, mut plain, mut asked) = (Vec::new(), Vec::new(), 0);
    for models in ["tests/models", "benches/models", "examples/flights/models", "tests/repository/late/1"] {
        let files = fs::read_dir(models).unwrap().map(|entry| entry.unwrap().path());
        for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "onnx")) {
            // Those that are there to be refused.
            let Ok(reference) = OnnxModel::from_file(&file) else { continue };
            let reference = reference.pool_size(1);
            if reference.load().is_err() {
                continue;
            }
            let model = OnnxModel::from_file(&file).unwrap().pool_size(1).prepared(&cache);
            model.load().unwrap();
            assert_eq!(model.signature(), reference.signature());
            let description = Lifecycle::description(&model);
            assert_eq!(description.prepared, description.unprepared.is_none());
            if let Some(reason) = description.unprepared {
                plain.push((file, reason));
                continue;
            }
            prepared.push(file.clone());
            let Some(input) = made_up(&model) else { continue };
            let Ok(expected) = reference.predict(&input) else { continue };
            for tier in [Tier::Hot, Tier::Warm, Tier::Hot] {
                assert_eq!(Lifecycle::settle(&model, &TargetTier::new(tier)).unwrap(), tier);
                let found = model.predict(&input).unwrap();
                for ((name, expected), (_, found)) in expected.iter().zip(found.iter()) {
                    let pairs = numbers(expected).into_iter().zip(numbers(found));
                    for (expected, found) in pairs {
                        let apart = (expected - found).abs();
                        assert!(
                            apart <= 1e-5 + 1e-4 * expected.abs(),
                            "{} {tier} {name}: {expected} {found}",
                            file.display()
                        );
                        asked += 1;
                    }
                }
            }
        }
    }
    // Most are tiny and take it all the same when they must; loops do not.
    assert!(prepared.len() > 20 && asked > 60, "{} prepared, {asked} numbers, {plain:?}", prepared.len());
    assert!(
        plain.iter().any(|(file, why)| file.ends_with("loop.onnx") && why.contains("loops")),
        "{plain:?}"
    );
}

#[test]
fn a_model_goes_through_all_tiers_and_answers_in_all_but_the_cold_one() {
    let folder = Folder::new();
    let cache = cache(&folder);
    let model = matrix(&cache, 1.0);
    model.load().unwrap();
    let expected = first(&model);
    assert_eq!(model.tier(), Tier::Hot);
    for tier in [Tier::Warm, Tier::Cold, Tier::Warm, Tier::Hot, Tier::Cold, Tier::Hot] {
        let reached = model.settle(&TargetTier::new(tier)).unwrap();
        if (tier, reached) == (Tier::Warm, Tier::Cold) {
            // Nobody is woken to be warm: it is woken when it is wanted.
            assert!(model.predict(&ones()).is_err());
            model.wake().unwrap();
        } else {
            assert_eq!(reached, tier);
        }
        if tier == Tier::Cold {
            assert!(model.predict(&ones()).is_err());
            model.wake().unwrap();
            assert_eq!(model.tier(), Tier::Warm);
        }
        assert_eq!(model.predict(&ones()).unwrap().get::<f32>("y").unwrap()[[0, 0]], expected);
    }
}

#[test]
fn what_is_wanted_again_meanwhile_is_not_made_cold() {
    let folder = Folder::new();
    let model = matrix(&cache(&folder), 1.0);
    model.load().unwrap();
    let wanted = TargetTier::new(Tier::Cold);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                Lifecycle::settle(&model, &wanted).unwrap();
            }
        });
        for _ in 0..2_000 {
            wanted.set(Tier::Hot);
            Lifecycle::wake(&model).unwrap();
            // From here on, until it is said again, it must answer.
            model.predict(&ones()).unwrap();
            wanted.set(Tier::Cold);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_has_nothing_to_gain_or_cannot_take_the_form_is_loaded_plainly_and_says_so() {
    let folder = Folder::new();
    let large = PreparedCache::open(folder.0.join("large")).unwrap();
    let all = cache(&folder);
    let why = |model: OnnxModel| {
        model.load().unwrap();
        assert!(model.predict(&ones()).is_ok());
        Lifecycle::description(&model).unprepared.unwrap_or_default()
    };
    assert!(why(matrix(&large, 1.0)).contains("load at once"));
    let options =
        matrix(&all, 1.0).session_options("lean", |builder| Ok(builder.with_memory_pattern(false)?));
    assert!(why(options).contains("`lean`"));
    assert_eq!((large.counts().refused, all.counts().refused), (1, 1));
}

// What lies there.

#[test]
fn whatever_is_wrong_with_an_entry_it_is_made_anew_and_never_trusted() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 11] = [
        ("truncated weights", |entry| {
            write(&entry.join("model.data"), |bytes| bytes.truncate(bytes.len() / 2));
        }),
        ("longer weights", |entry| write(&entry.join("model.data"), |bytes| bytes.push(0))),
        ("a flipped bit of the weights", |entry| {
            write(&entry.join("model.data"), |bytes| bytes[100] ^= 1);
        }),
        ("no weights", |entry| fs::remove_file(entry.join("model.data")).unwrap()),
        ("a flipped bit of the graph", |entry| {
            write(&entry.join("model.onnx"), |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            });
        }),
        ("an empty graph", |entry| write(&entry.join("model.onnx"), Vec::clear)),
        ("a graph that is a folder", |entry| {
            fs::remove_file(entry.join("model.onnx")).unwrap();
            fs::create_dir(entry.join("model.onnx")).unwrap();
        }),
        ("no record", |entry| fs::remove_file(entry.join("record")).unwrap()),
        ("a torn record", |entry| {
            write(&entry.join("record"), |bytes| bytes.truncate(bytes.len() - 9));
        }),
        ("another entry's record", |entry| {
            write(&entry.join("record"), |bytes| bytes[30] = if bytes[30] == b'0' { b'1' } else { b'0' });
        }),
        ("nothing to lock", |entry| fs::remove_file(entry.join("in-use")).unwrap()),
    ];
    for (name, harm) in harms {
        let folder = Folder::new();
        let before = cache(&folder);
        let model = matrix(&before, 1.0);
        model.load().unwrap();
        let expected = first(&model);
        drop(model);
        harm(&entry(&before));
        let after = cache(&folder);
        let model = matrix(&after, 1.0);
        model.load().unwrap();
        assert_eq!(first(&model), expected, "{name}");
        let counts = after.counts();
        assert_eq!((counts.broken, counts.made, counts.refused), (1, 1, 0), "{name}");
        assert!(Lifecycle::description(&model).prepared, "{name}");
        let again = cache(&folder);
        matrix(&again, 1.0).load().unwrap();
        assert_eq!((again.counts().broken, again.counts().made), (0, 0), "{name}");
    }
}

#[test]
fn other_bytes_and_other_options_are_other_entries() {
    let folder = Folder::new();
    let cache = cache(&folder);
    for model in
        [matrix(&cache, 1.0), matrix(&cache, 2.0), matrix(&cache, 1.0).optimization(Optimization::Basic)]
    {
        model.load().unwrap();
    }
    assert_eq!(cache.counts().made, 3);
    matrix(&cache, 2.0).load().unwrap();
    assert_eq!(cache.counts().made, 3);
}

#[test]
fn a_form_that_is_written_to_while_it_is_in_use_is_made_anew_by_whoever_maintains() {
    let folder = Folder::new();
    let cache = cache(&folder);
    let model = matrix(&cache, 1.0);
    model.load().unwrap();
    let expected = first(&model);
    Lifecycle::settle(&model, &TargetTier::new(Tier::Warm)).unwrap();
    write(&entry(&cache).join("model.data"), |bytes| bytes.iter_mut().for_each(|byte| *byte = 0));
    // The pages are the file's: nothing can keep this from being seen until somebody looks.
    assert_eq!(model.replenish().unwrap(), 2);
    assert_eq!(first(&model), expected);
    assert_eq!((cache.counts().broken, cache.counts().made), (1, 2));
    assert_eq!(model.replenish().unwrap(), 0);
}

#[test]
fn a_model_that_is_cold_when_its_entry_is_lost_is_woken_from_its_own_file() {
    let folder = Folder::new();
    let cache = cache(&folder);
    let model = matrix(&cache, 1.0);
    model.load().unwrap();
    let expected = first(&model);
    Lifecycle::settle(&model, &TargetTier::new(Tier::Cold)).unwrap();
    fs::remove_dir_all(entry(&cache)).unwrap();
    Lifecycle::wake(&model).unwrap();
    assert_eq!(first(&model), expected);
    assert_eq!(Lifecycle::tier(&model), Tier::Hot, "it is loaded plainly");
}

#[cfg(unix)]
#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = PreparedCache::open(&folder.0).unwrap_err();
    assert!(refused.to_string().contains("chmod 700"), "{refused}");
}

#[test]
fn every_step_on_the_disk_may_fail_and_the_model_is_loaded_all_the_same() {
    let mut step = 0;
    loop {
        let folder = Folder::new();
        let faults = Faults::new();
        let cache = cache(&folder).disk_faults(faults.clone());
        faults.fail_after(step);
        let model = matrix(&cache, 1.0);
        model.load().unwrap();
        let is_whole = faults.steps() <= step;
        assert!(first(&model) > 0.0);
        drop(model);
        faults.mend();
        let after = self::cache(&folder);
        let model = matrix(&after, 1.0);
        model.load().unwrap();
        assert!(Lifecycle::description(&model).prepared, "step {step}");
        assert_eq!(after.counts().broken, 0, "step {step}: half an entry was in place");
        assert_eq!(entry(&after).parent(), Some(after.folder()), "and nothing is beside it");
        if is_whole {
            assert_eq!(after.counts().made, 0);
            break;
        }
        step += 1;
    }
    assert!(step >= 8, "{step}");
}

// Who else is there.

#[test]
fn what_a_killed_process_was_making_is_swept_and_what_a_living_one_makes_is_not() {
    let folder = Folder::new();
    let place = cache(&folder).folder().to_owned();
    let (dead, alive) = (place.join(".aside-0000000000000001"), place.join(".aside-0000000000000002"));
    for aside in [&dead, &alive] {
        fs::create_dir(aside).unwrap();
        fs::write(aside.join(".lock"), "").unwrap();
        fs::write(aside.join("model.data"), [0; 100]).unwrap();
    }
    let lock = fs::File::options().write(true).open(alive.join(".lock")).unwrap();
    lock.lock().unwrap();
    cache(&folder);
    assert_eq!((dead.exists(), alive.exists()), (false, true));
}

// Its bounds.

#[test]
fn the_budget_of_bytes_is_kept_under_a_hundred_random_operations() {
    let folder = Folder::new();
    let one = {
        let cache = cache(&folder);
        matrix(&cache, 0.0).load().unwrap();
        cache.bytes().unwrap()
    };
    // Room for three of eight while a fourth is made: before it is, 64 KiB more than the weights twice are expected of it.
    let limit = one * 3 + 2 * SIDE * SIDE * 4 + (1 << 16) + 1_024;
    let cache = cache(&folder).limit(limit);
    let mut chance = Chance(5);
    let mut held: Vec<OnnxModel> = Vec::new();
    let (mut prepared, mut plain) = (0, 0);
    for _ in 0..100 {
        if chance.next() < 0.3 || held.len() > 6 {
            if held.is_empty() {
                continue;
            }
            let place = (chance.next() * held.len() as f64) as usize;
            held.swap_remove(place);
        } else {
            let model = matrix(&cache, (chance.next() * 8.0).floor() as f32 + 1.0);
            model.load().unwrap();
            assert!(first(&model) > 0.0);
            let description = Lifecycle::description(&model);
            if description.prepared {
                prepared += 1
            } else {
                plain += 1
            }
            held.push(model);
        }
        let bytes = cache.bytes().unwrap();
        assert!(bytes <= limit, "{bytes} of {limit}");
    }
    let counts = cache.counts();
    assert!(counts.evicted > 5 && counts.broken == 0, "{counts:?}");
    assert!(prepared > 10 && plain > 0, "{prepared} prepared, {plain} found no room among what is in use");
}

/// Bug: a model for which there is no room in the cache evicted all that was not in use, and was then loaded plainly. Cause: entries
/// were removed one by one until it fit, which it never did. Fix: what has to go is claimed first, and goes once it is enough.
#[test]
fn a_model_that_finds_no_room_takes_none_from_others() {
    let folder = Folder::new();
    let cache = cache(&folder);
    let used = matrix(&cache, 1.0);
    for model in [&used, &matrix(&cache, 2.0)] {
        model.load().unwrap();
    }
    let bytes = cache.bytes().unwrap();
    let is_prepared = |model: &OnnxModel| {
        model.load().unwrap();
        assert!(first(model) > 0.0);
        Lifecycle::description(model).prepared
    };
    // What is expected of one before it is made.
    let expected = 2 * matrix_model(SIDE, 3.0).len() as u64 + (1 << 16);
    // Too large for all of it, and for what is not in use.
    for limit in [bytes, bytes / 2 + expected - 1] {
        let narrow = cache.clone().limit(limit);
        assert!(!is_prepared(&matrix(&narrow, 3.0)), "{limit}");
        assert_eq!((cache.counts().evicted, cache.bytes().unwrap()), (0, bytes), "{limit}");
    }
    drop(used);
    assert!(is_prepared(&matrix(&cache.clone().limit(bytes / 2 + expected - 1), 3.0)));
    assert_eq!(cache.counts().evicted, 2);
}

#[test]
fn a_load_that_is_cancelled_leaves_nothing() {
    let folder = Folder::new();
    let cache = cache(&folder);
    let model = matrix(&cache, 1.0);
    let throttle = LoadThrottle::new();
    throttle.cancel();
    let refused = Lifecycle::load(&model, &throttle).unwrap_err();
    assert!(matches!(refused, LoadError::Cancelled));
    assert!(model.predict(&ones()).is_err());
    let left: Vec<_> =
        fs::read_dir(cache.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
    model.load().unwrap();
    assert!(first(&model) > 0.0);
}

// In a service.

type Service = ModelHandle<Tensors, Tensors>;

/// A service with four versions: `a` and `b` retained, and `c` live.
fn service(cache: &PreparedCache, tiers: Tiers) -> Service {
    let service: Service = ModelHandle::builder("matrices")
        .live("a", matrix(cache, 1.0))
        .retention(Retention::new().versions(3).tiers(tiers))
        .threads(Threads::background().tick_every(Duration::from_millis(5)))
        .build()
        .unwrap();
    for (name, factor) in [("b", 2.0), ("c", 3.0)] {
        service.stage(name, matrix(cache, factor)).unwrap().promote().unwrap();
    }
    service
}

#[test]
fn a_rollback_to_each_tier_under_load_loses_nothing() {
    let folder = Folder::new();
    let cache = cache(&folder);
    let forever = Duration::from_secs(1 << 30);
    for (tiers, expected) in [
        (Tiers::new().hot_for(forever), Tier::Hot),
        (Tiers::new().hot_for(Duration::ZERO), Tier::Warm),
        (Tiers::new().hot_for(Duration::ZERO).warm_for(Duration::ZERO), Tier::Cold),
    ] {
        let service = service(&cache, tiers);
        let tier_of = |version: &str| {
            let status = service.status();
            status.versions.iter().find(|known| known.version == *version).unwrap().tier
        };
        let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let answer = service.predict(&ones()).expect("no request is lost");
                        let y = answer.output().get::<f32>("y").unwrap()[[0, 0]];
                        let unit = y / if answer.version() == "a" {
                            1.0
                        } else if answer.version() == "b" {
                            2.0
                        } else {
                            3.0
                        };
                        assert!((unit - 27.0).abs() < 1.5, "answered whole by its version: {y}");
                        // A rest after some: what moves versions between tiers gets only time that nobody else wants.
                        if answered.fetch_add(1, Ordering::Relaxed).is_multiple_of(16) {
                            std::thread::park_timeout(Duration::from_micros(200));
                        }
                    }
                });
            }
            let _stop = RaisedAtTheEnd(&stop);
            for target in ["b", "a", "c", "b", "c", "a", "b", "a"] {
                wait_until("the tier that was asked for", || tier_of(target) == Some(expected));
                let lowered = service.rollback_to(target, "test").unwrap();
                assert!(matches!(lowered, RollbackOutcome::RolledBack { to, .. } if to == *target));
                let so_far = answered.load(Ordering::Relaxed);
                wait_until("twenty more answers", || answered.load(Ordering::Relaxed) >= so_far + 20);
                assert_eq!(service.live(), target);
                wait_until("hot again", || tier_of(target) == Some(Tier::Hot));
            }
        });
        let total: u64 = service.status().versions.iter().map(|version| version.total.requests).sum();
        assert_eq!(total, answered.load(Ordering::Relaxed));
    }
}

#[test]
fn status_says_what_each_version_takes_and_an_event_what_loading_did_to_live() {
    let folder = Folder::new();
    let cache = cache(&folder);
    let service = service(&cache, Tiers::new().hot_for(Duration::ZERO));
    let is_weighed = || service.status().versions.iter().all(|version| version.memory.is_some());
    wait_until("every version is weighed", is_weighed);
    let status = service.status();
    let entries = status.versions.iter().map(|version| (version.tier.unwrap(), version.memory.unwrap()));
    for (tier, memory) in entries {
        assert!(memory.resident_bytes >= memory.private_bytes, "{tier} {memory:?}");
    }
    let loaded = |event: &EventKind| matches!(event, EventKind::Loaded { version, .. } if *version == "c");
    // There was no traffic: it is told when it has been waited for in vain.
    wait_until("what loading did to live", || service.events().iter().any(|event| loaded(&event.kind)));
}

#[test]
fn staging_is_given_up_when_it_is_cancelled() {
    /// Loads for as long as it is let.
    struct Endless(LoadThrottle);
    impl Model<Tensors, Tensors> for Endless {
        fn predict(&self, _: &Tensors) -> Result<Tensors, switchback::model::ModelError> {
            Ok(Tensors::new())
        }
        fn identity(&self) -> switchback::model::Identity {
            switchback::model::Identity::of([("endless", &b""[..])])
        }
        fn lifecycle(&self) -> Option<&dyn Lifecycle> {
            Some(self)
        }
    }
    impl Lifecycle for Endless {
        fn load(&self, throttle: &LoadThrottle) -> Result<(), LoadError> {
            self.0.cancel(); // it has begun
            loop {
                throttle.step()?;
                std::thread::yield_now();
            }
        }
    }
    let folder = Folder::new();
    let service = service(&cache(&folder), Tiers::new());
    let begun = LoadThrottle::new();
    std::thread::scope(|scope| {
        let staging = scope.spawn(|| service.stage("endless", Endless(begun.clone())).map(drop));
        wait_until("the load has begun", || begun.is_cancelled());
        assert!(!service.cancel_staging("another"));
        assert!(matches!(
            service.stage("endless", Endless(LoadThrottle::new())).map(drop),
            Err(StageError::InUse { .. })
        ));
        assert!(service.cancel_staging("endless"));
        assert!(matches!(staging.join().unwrap(), Err(StageError::Load(LoadError::Cancelled))));
    });
    assert!(!service.cancel_staging("endless"));
    assert!(service.status().rollouts.iter().all(|rollout| rollout.version != "endless"));
    // The name is free again.
    assert!(
        service.stage("endless", matrix(&PreparedCache::open(folder.0.join("cache")).unwrap(), 4.0)).is_ok()
    );
}
