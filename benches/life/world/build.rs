//! The service of a life.

use std::path::{Path, PathBuf};
use std::time::Duration;

use switchback::options::{Inputs, Labels, Limits, Shadowing};
use switchback::{Builder, Clock, Kpi, Task, Truth};

use super::cells::{Circumstance, Figure, Life};
use super::requests::{Ask, Said, Version, version};
use super::service::{Handle, service};
use super::side::{For, Side};

pub(super) fn model(life: &Life, place: u64, clock: &Clock) -> Version {
    let side = Side { life: *life, place };
    version(format!("side-{place}"), clock, move |ask: &Ask| side.answer(ask))
}

pub(super) fn build(life: &Life, seed: u64, clock: &Clock, folder: Option<&Path>) -> Handle {
    let mut builder = service(clock, seed).live("v1", model(life, 0, clock));
    let truth = if life.figure.is_business() { Truth::CausedByAnswer } else { Truth::Independent };
    builder = builder.task(
        match life.figure {
            Figure::Ranking => {
                Task::ranking(5, |said: &Said, ranked| said.items.iter().for_each(|item| ranked.push(*item)))
                    .unwrap()
            }
            _ => Task::binary(|said: &Said| said.yes),
        }
        .truth(truth)
        .kpi(Kpi::rate("purchase").unwrap())
        .kpi(Kpi::bounded("rating", 0.0, 10.0).unwrap())
        .kpi(Kpi::unbounded("revenue").unwrap()),
    );
    if life.meets(Circumstance::DelayedLabels) {
        // A correction comes up to five seconds after it.
        builder = builder.labels(Labels::complete_after(Duration::from_secs(20)));
    } else if life.meets(Circumstance::Corrections) {
        builder = builder.labels(Labels::complete_after(Duration::from_secs(10)));
    }
    if life.routing.shadows() {
        let few = life.meets(Circumstance::DroppedCopies);
        let room = if few { life.traffic as usize } else { 4_096 };
        builder = builder.shadowing(Shadowing::new().queue_entries(room));
    }
    if life.by_segment {
        builder = builder.inputs(Inputs::new().segment(|ask: &Ask| segment(ask)));
    }
    if life.meets(Circumstance::CandidateStalls) {
        builder = builder.limits(Limits::new().candidate_deadline(Duration::from_millis(200)));
    }
    remembered(builder, life, clock, folder).build().unwrap()
}

#[cfg(feature = "state")]
fn remembered(
    builder: Builder<Ask, Said>,
    life: &Life,
    clock: &Clock,
    folder: Option<&Path>,
) -> Builder<Ask, Said> {
    use super::run::NAMES;
    use switchback::Model;
    type Opened = Result<Box<dyn Model<Ask, Said>>, Box<dyn std::error::Error + Send + Sync>>;
    let Some(folder) = folder else { return builder };
    let (life, clock) = (*life, clock.clone());
    builder.state(folder).source(move |name: &str| -> Opened {
        let place = NAMES.iter().position(|known| *known == name).map_or(0, |place| place as u64 + 1);
        Ok(Box::new(model(&life, place, &clock)))
    })
}

#[cfg(not(feature = "state"))]
fn remembered(builder: Builder<Ask, Said>, _: &Life, _: &Clock, _: Option<&Path>) -> Builder<Ask, Said> {
    builder
}

/// A folder of a run's own for its state.
pub(super) fn folder() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("switchback-life-{}-{number}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    folder
}

fn segment(ask: &Ask) -> &'static str {
    match ask.chance(For::Segment as u64) {
        0.0..0.7 => "usual",
        0.7..0.9 => "second",
        _ => "rare",
    }
}
