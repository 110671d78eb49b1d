//! Versions that travel: each process has a repository of its own, and brings what any of them stages from one elsewhere.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use switchback::fleet::InMemory;
use switchback::model::ModelError;
use switchback::model::onnx::{Feed, Outputs};
use switchback::options::{Fleet, FleetTiming, Threads};
use switchback::repository::contract::{Host, Pipelines};
use switchback::repository::{Draft, FolderSource, Manifest, Repository, ServeError, Served};
use switchback::{Clock, ModelHandle, Timestamp};

use crate::common::Folder;

type Versions = Arc<Served<f32, f32>>;

fn encode(input: &f32, feed: &mut Feed<'_, '_>) -> Result<(), ModelError> {
    feed.buffer("x", &[1, 3])?.copy_from_slice(&[*input; 3]);
    Ok(())
}

fn decode(outputs: &Outputs<'_>) -> Result<f32, ModelError> {
    Ok(outputs.tensor::<f32>("y")?.1[0])
}

struct World {
    folder: Folder,
    clock: Clock,
    store: Arc<InMemory>,
}

impl World {
    fn new() -> Self {
        let clock = Clock::manual(Timestamp::from_unix_seconds(1_800_000_000));
        let store = Arc::new(InMemory::new(clock.clone()));
        Self { folder: Folder::new(), clock, store }
    }

    fn publish(&self, version: &str) {
        let mut manifest = Manifest::new("late", version, Timestamp::from_unix_seconds(1_790_000_000));
        let contract = r#"{"pipeline": {"name": "plain", "version": "1.0"}}"#;
        manifest.contract = serde_json::from_str(contract).unwrap();
        let models = Repository::create(self.folder.0.join("models")).unwrap();
        models.publish(Draft::new(manifest).file("model.onnx", "tests/models/affine.onnx")).unwrap();
    }

    /// What one process has: a folder that is empty at first, and the place that all bring versions from.
    fn versions(&self, process: &str) -> Versions {
        let mut pipelines = Pipelines::new();
        pipelines.register("plain", "1.0.0", encode, decode).unwrap();
        let here = Repository::create(self.folder.0.join(process)).unwrap();
        let elsewhere = FolderSource::open(self.folder.0.join("models")).unwrap();
        Arc::new(here.serve("late", Host::new(), pipelines).pulling_from(elsewhere))
    }

    fn join(&self, versions: &Versions) -> Result<ModelHandle<f32, f32>, Box<dyn std::error::Error>> {
        let (live, model) = versions.open("v1")?;
        let handle = ModelHandle::builder("late")
            .live(live.as_str(), model)
            .source(Arc::clone(versions))
            .threads(Threads::manual().stripes(1))
            .clock(self.clock.clone())
            .fleet(
                Fleet::on(Arc::clone(&self.store)).timing(FleetTiming::new().settle(Duration::from_secs(5))),
            )
            .build()?;
        Ok(handle)
    }

    fn pass(&self, members: &[&ModelHandle<f32, f32>], seconds: u64) {
        for _ in 0..2 * seconds {
            members.iter().for_each(|member| member.tick());
            self.clock.advance(Duration::from_millis(500));
        }
    }
}

fn here(versions: &Versions) -> Vec<String> {
    versions.repository().versions("late").unwrap().iter().map(|entry| entry.version.to_string()).collect()
}

#[test]
fn what_one_process_stages_the_others_bring_from_elsewhere_and_only_once() {
    let world = World::new();
    world.publish("v1");
    let (first, second) = (world.versions("first"), world.versions("second"));
    let (a, b) = (world.join(&first).unwrap(), world.join(&second).unwrap());
    world.pass(&[&a, &b], 8);
    world.publish("v2");
    assert_eq!((here(&first), here(&second)), (vec!["v1".to_owned()], vec!["v1".to_owned()]));

    // Only one process is told of v2: the other one brings it, has it ready, and only then does it take traffic there.
    let (version, model) = first.open("v2").unwrap();
    let rollout = a.stage(version.as_str(), model).unwrap();
    rollout.canary(1.0).unwrap();
    world.pass(&[&a, &b], 12);
    assert_eq!(here(&second), ["v1", "v2"]);
    assert_eq!(b.predict(&1.0).unwrap().version(), "v2", "{:?}", b.events());
    rollout.promote().unwrap();
    world.pass(&[&a, &b], 5);
    assert_eq!(b.live(), "v2");

    // A process that comes later finds what is live now, although nobody gave it anything but v1.
    let third = world.versions("third");
    let c = world.join(&third).unwrap();
    assert_eq!((c.live().as_str(), here(&third)), ("v2", vec!["v1".to_owned(), "v2".to_owned()]));
    assert_eq!(c.predict(&1.0).unwrap().output(), a.predict(&1.0).unwrap().output());

    // What was brought is here: the place elsewhere may go away. Who has not brought it says what is missing.
    let (again, fourth) = (world.versions("third"), world.versions("fourth"));
    fs::rename(world.folder.0.join("models"), world.folder.0.join("away")).unwrap();
    drop(c);
    assert_eq!(world.join(&again).unwrap().live(), "v2");
    let refused = fourth.open("v2").map(drop).unwrap_err();
    assert!(matches!(&refused, ServeError::Pull { asked, .. } if asked == "v2"), "{refused}");
    let said = refused.to_string();
    assert!(said.starts_with("`v2` is not in the repository here, and could not be pulled: "), "{said}");
}

#[test]
fn other_bytes_under_one_name_are_not_used() {
    let world = World::new();
    world.publish("v1");
    let versions = world.versions("first");
    let a = world.join(&versions).unwrap();
    world.pass(&[&a], 8);
    // Somebody exchanges what lies elsewhere: its manifest says otherwise, so it comes nowhere.
    world.publish("v2");
    let model = world.folder.0.join("models/late/v2/model.onnx");
    fs::write(&model, [fs::read(&model).unwrap(), vec![0]].concat()).unwrap();
    let refused = versions.open("v2").map(drop).unwrap_err();
    assert!(refused.to_string().contains("goes on after the"), "{refused}");
    assert_eq!(here(&versions), ["v1"]);
    assert_eq!(a.live(), "v1");
}
