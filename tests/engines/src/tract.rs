//! ONNX files that [tract](https://github.com/sonos/tract) runs: in Rust, without ONNX Runtime's shared library.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use switchback::Model;
use switchback::model::{Identity, LoadError, ModelError};
use switchback::versions::{Lifecycle, LoadThrottle, Memory, TargetTier, Tier};
use tract_onnx::prelude::*;

/// What answers may depend on besides the file. A test holds it against Cargo.lock.
const ENGINE: &[u8] = b"tract-onnx 0.23.9";

/// An ONNX file with one input, and one of its outputs, which is of `f32`.
pub struct Tract {
    file: PathBuf,
    output: String,
    /// How many features a row has; where none is told, the input is a list of any length.
    row: Option<usize>,
    identity: Identity,
    /// The size of the file, which is near that of the weights in memory.
    bytes: u64,
    /// What tract has made of the file; nothing before it is loaded, and while it is cold.
    plan: RwLock<Option<Arc<TypedRunnableModel>>>,
}

impl Tract {
    /// A model that is asked for one row of so many features at a time.
    ///
    /// # Errors
    ///
    /// The file cannot be read. What is wrong with it otherwise is found when a handle loads it.
    pub fn of_rows(file: impl AsRef<Path>, features: usize, output: &str) -> Result<Self, LoadError> {
        Self::open(file.as_ref(), Some(features), output)
    }

    /// A model that is asked for a list of any length, such as the ids of a text.
    ///
    /// # Errors
    ///
    /// As for [`of_rows`](Self::of_rows).
    pub fn of_lists(file: impl AsRef<Path>, output: &str) -> Result<Self, LoadError> {
        Self::open(file.as_ref(), None, output)
    }

    fn open(file: &Path, row: Option<usize>, output: &str) -> Result<Self, LoadError> {
        let (file, output) = (file.to_owned(), output.to_owned());
        let read = read(&file)?;
        let (identity, bytes) = (identity(&read, row, &output), read.len() as u64);
        Ok(Self { file, output, row, identity, bytes, plan: RwLock::default() })
    }

    /// A panic in another thread has left the plan whole: it is exchanged in one step.
    fn plan(&self) -> Option<Arc<TypedRunnableModel>> {
        self.plan.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What tract makes of the file, which must be the one whose identity was told.
    fn compile(&self) -> Result<Arc<TypedRunnableModel>, LoadError> {
        let bytes = read(&self.file)?;
        if identity(&bytes, self.row, &self.output) != self.identity {
            return Err(LoadError::other(format!("{} has changed since it was opened", self.file.display())));
        }
        let compiled = || {
            let mut model = tract_onnx::onnx().model_for_read(&mut bytes.as_slice())?;
            if let Some(features) = self.row {
                model = model.with_input_fact(0, f32::fact([1, features]).into())?;
            }
            model.select_outputs_by_name([&self.output])?;
            model.into_optimized()?.into_runnable()
        };
        compiled().map_err(|error| LoadError::other(format!("{error:#}"))) // with its causes
    }

    fn run(&self, input: TractResult<Tensor>) -> Result<Vec<f32>, ModelError> {
        let plan = self.plan().ok_or(ModelError::NotLoaded)?;
        let answered = || -> TractResult<Vec<f32>> {
            let outputs = plan.run(tvec!(input?.into()))?;
            // One output was selected.
            Ok(outputs[0].to_plain_array_view::<f32>()?.iter().copied().collect())
        };
        let numbers = answered().map_err(|error| ModelError::engine(format!("{error:#}")))?;
        match numbers.iter().all(|number| number.is_finite()) {
            true => Ok(numbers),
            false => Err(ModelError::invalid_output("a number that is not finite")),
        }
    }
}

/// The file, and all else that an answer depends on.
fn identity(file: &[u8], row: Option<usize>, output: &str) -> Identity {
    let row = format!("{row:?}");
    Identity::of([("engine", ENGINE), ("file", file), ("row", row.as_bytes()), ("output", output.as_bytes())])
}

fn read(file: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(file).map_err(|cause| LoadError::Read { file: file.to_owned(), cause: Arc::new(cause) })
}

/// A row of features. Not a number stands for what is not known, so it is no fault.
impl Model<[f32], Vec<f32>> for Tract {
    fn predict(&self, features: &[f32]) -> Result<Vec<f32>, ModelError> {
        if self.row.is_some_and(|row| row != features.len()) {
            return Err(ModelError::input(format!(
                "{} features: the model has another number",
                features.len()
            )));
        }
        self.run(Tensor::from_shape(&[1, features.len()], features))
    }

    fn identity(&self) -> Identity {
        self.identity
    }

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        Some(self)
    }
}

/// The ids of a text.
impl Model<[i64], Vec<f32>> for Tract {
    fn predict(&self, ids: &[i64]) -> Result<Vec<f32>, ModelError> {
        if ids.is_empty() {
            return Err(ModelError::input("no ids"));
        }
        self.run(Tensor::from_shape(&[ids.len()], ids))
    }

    fn identity(&self) -> Identity {
        self.identity
    }

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        Some(self)
    }
}

/// It is hot, or it is cold: there is no form between a file and a plan.
impl Lifecycle for Tract {
    fn load(&self, throttle: &LoadThrottle) -> Result<(), LoadError> {
        throttle.step()?; // waits while live has trouble
        self.wake()
    }

    fn wake(&self) -> Result<(), LoadError> {
        if self.plan().is_none() {
            let plan = self.compile()?; // without the lock: requests go on meanwhile
            *self.plan.write().unwrap_or_else(PoisonError::into_inner) = Some(plan);
        }
        Ok(())
    }

    fn tier(&self) -> Tier {
        if self.plan().is_some() { Tier::Hot } else { Tier::Cold }
    }

    fn settle(&self, target: &TargetTier) -> Result<Tier, LoadError> {
        let mut plan = self.plan.write().unwrap_or_else(PoisonError::into_inner);
        if target.tier() == Tier::Cold {
            *plan = None; // who is being answered has a share of it
            return Ok(Tier::Cold);
        }
        drop(plan);
        self.wake().map(|()| Tier::Hot)
    }

    fn memory(&self) -> Option<Memory> {
        Some(Memory::private(self.plan().map_or(0, |_| self.bytes))) // for a budget of retained versions
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use switchback::options::{Retention, Threads, Tiers};
    use switchback::testing::Suite;
    use switchback::{Clock, ModelHandle, RollbackOutcome, Task, Timestamp};

    use super::*;
    use crate::life::life;

    const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/models");
    const FEATURES: usize = 64;

    /// A chain of products of matrices, with one number between 0 and 1 for 64; b says half of what a says.
    fn chain(version: &str) -> Tract {
        Tract::of_rows(format!("{MODELS}/run50_{version}.onnx"), FEATURES, "y").unwrap()
    }

    fn loaded(model: Tract) -> Tract {
        model.load(&LoadThrottle::new()).unwrap();
        model
    }

    fn rows() -> Vec<Vec<f32>> {
        let row = |row: u8| {
            (0..FEATURES as u8).map(|place| (f32::from(row) + 0.1 * f32::from(place)).sin()).collect()
        };
        (0..8).map(row).collect()
    }

    fn number() -> Task<Vec<f32>> {
        Task::regression(|answer: &Vec<f32>| answer.first().copied().map_or(f64::NAN, f64::from))
    }

    #[test]
    fn a_file_answers_what_is_in_it() {
        let affine = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/affine.onnx"); // x1 + 2 x2 + 3 x3 + 0.5
        let affine = loaded(Tract::of_rows(affine, 3, "y").unwrap());
        assert_eq!(affine.predict(&[1.0, 2.0, 4.0][..]).unwrap(), [17.5]);
        let (whole, half) = (loaded(chain("a")), loaded(chain("b")));
        for row in rows() {
            let [whole, half] = [&whole, &half].map(|model| model.predict(&row[..]).unwrap());
            assert!((0.0..=1.0).contains(&whole[0]) && half == [whole[0] / 2.0], "{whole:?} {half:?}");
        }
    }

    /// ONNX Runtime runs this one. What tract does not is found while it is staged, and live goes on.
    #[test]
    fn a_file_that_tract_does_not_run_is_not_staged() {
        let trees = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/flights/models/v2.onnx");
        let handle = ModelHandle::builder("late-arrival")
            .live("v1", switchback::closure("never@1.0", |_: &[f32]| Ok(vec![1.0, 0.0])))
            .threads(Threads::manual())
            .build()
            .unwrap();
        let refused = handle.stage("v2", Tract::of_rows(trees, 13, "probabilities").unwrap());
        let error = refused.map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("base_values"), "{error}");
        assert_eq!(handle.predict(&[0.0; 13][..]).unwrap().version(), "v1");
    }

    #[test]
    fn a_file_holds_to_what_a_model_must() {
        let bad = [vec![], vec![1.0; FEATURES - 1], vec![1.0; FEATURES + 1]];
        let suite = Suite::new(|one: &Vec<f32>, other| one == other).bad_inputs(&bad);
        suite.check::<[f32], _>(&chain("a"), &rows()).unwrap();
    }

    #[test]
    fn the_identity_is_that_of_the_file_and_of_how_it_is_asked() {
        let identity = |model: Tract| model.identity;
        assert_eq!(identity(chain("a")), identity(loaded(chain("a"))));
        assert_ne!(identity(chain("a")), identity(chain("b")));
        let label = Tract::of_rows(format!("{MODELS}/run50_a.onnx"), FEATURES, "p").unwrap();
        assert_ne!(identity(chain("a")), identity(label));
    }

    #[test]
    fn a_model_that_is_asked_too_early_or_cannot_be_loaded_says_so() {
        let asked = Model::<[f32], _>::predict(&chain("a"), &[0.0; FEATURES]);
        assert!(matches!(asked, Err(ModelError::NotLoaded)), "{asked:?}");
        assert!(matches!(Tract::of_rows("no/such.onnx", 1, "y"), Err(LoadError::Read { .. })));
        let other = Tract::of_rows(format!("{MODELS}/run50_a.onnx"), FEATURES, "no such output").unwrap();
        let error = other.load(&LoadThrottle::new()).unwrap_err();
        assert!(error.to_string().contains("no such output"), "{error}");
    }

    #[test]
    fn a_file_that_has_changed_since_is_not_loaded() {
        let file = std::env::temp_dir().join(format!("switchback-engines-{}.onnx", std::process::id()));
        std::fs::copy(format!("{MODELS}/run50_a.onnx"), &file).unwrap();
        let model = Tract::of_rows(&file, FEATURES, "y").unwrap();
        std::fs::copy(format!("{MODELS}/run50_b.onnx"), &file).unwrap();
        let error = model.load(&LoadThrottle::new()).unwrap_err();
        std::fs::remove_file(&file).unwrap();
        assert!(error.to_string().contains("has changed"), "{error}");
    }

    /// ONNX Runtime answers this with an error, as the library's own tests have it.
    #[test]
    fn an_id_beyond_the_table_is_a_panic_that_the_handle_catches() {
        let numbers = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/gather.onnx"); // five numbers
        let handle = ModelHandle::builder("numbers")
            .live("v1", Tract::of_lists(numbers, "y").unwrap())
            .threads(Threads::none())
            .build()
            .unwrap();
        assert_eq!(*handle.predict(&[4_i64, 0][..]).unwrap().output(), vec![5.0, 1.0]);
        let error = handle.predict(&[9_i64][..]).unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
    }

    #[test]
    fn a_second_file_is_tried_promoted_and_taken_back() {
        life::<[f32], _>(chain("a"), chain("b"), number(), &rows());
    }

    /// What is retained beyond the budget is on disk alone, and is woken by the rollback that needs it.
    #[test]
    fn a_retained_version_goes_cold_and_comes_back() {
        let clock = Clock::manual(Timestamp::from_unix_seconds(1_700_000_000));
        let tiers = Tiers::new().private_bytes(100); // less than the file has
        let handle = ModelHandle::builder("chain")
            .live("a", chain("a"))
            .task(number())
            .retention(Retention::new().tiers(tiers))
            .threads(Threads::manual())
            .clock(clock.clone())
            .build()
            .unwrap();
        let row = rows().swap_remove(1);
        let before = handle.predict(&row[..]).unwrap().into_output();
        handle.stage("b", chain("b")).unwrap().promote().unwrap();
        let tier = || {
            let status = handle.status();
            status.versions.iter().find(|one| one.version == "a").unwrap().tier
        };
        for _ in 0..3 {
            clock.advance(Duration::from_secs(60));
            handle.tick();
        }
        assert_eq!(tier(), Some(Tier::Cold));
        assert_ne!(handle.rollback("operator: complaints"), RollbackOutcome::Nothing);
        assert_eq!(handle.predict(&row[..]).unwrap().into_output(), before);
        assert_eq!(tier(), Some(Tier::Hot));
    }
}
