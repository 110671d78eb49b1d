//! Boosted trees that [LightGBM](https://lightgbm.readthedocs.io) runs, in the file that it writes itself.

use lightgbm3::Booster;
use switchback::Model;
use switchback::model::{Identity, LoadError, ModelError};

/// What answers may depend on besides the file. A test holds it against Cargo.lock.
const ENGINE: &[u8] = b"lightgbm3-sys 1.0.11";

/// Trees of two classes, which answer with the probabilities of both, as a model does that was converted to ONNX.
pub struct Trees {
    booster: Shared,
    features: usize,
    identity: Identity,
}

impl Trees {
    /// What `Booster::save_file` has written.
    ///
    /// # Errors
    ///
    /// It is no model of LightGBM's, or one of more than two classes.
    pub fn from_text(file: &str) -> Result<Self, LoadError> {
        if file.contains('\0') {
            return Err(LoadError::other("a model of LightGBM's is text")); // the binding would panic
        }
        let booster = Booster::from_string(file).map_err(|error| LoadError::other(error.to_string()))?;
        let features = usize::try_from(booster.num_features()).map_err(LoadError::other)?;
        if features == 0 || booster.num_classes() != 1 || !file.contains("\nobjective=binary") {
            return Err(LoadError::other("the trees are not those of two classes"));
        }
        let identity = Identity::of([("engine", ENGINE), ("file", file.as_bytes())]);
        Ok(Self { booster: Shared(booster), features, identity })
    }
}

/// A booster that threads share. The binding's type is not made for that by itself, since it has a pointer.
struct Shared(Booster);

// SAFETY: LightGBM's library may be called from any thread, and keeps its last error per thread. Once there, nothing of the
// booster is called but `predict_with_params` on one row, through which the library takes the booster's own lock, exclusively,
// for whatever it changes, and the destructor, which has it alone. Nothing is called that takes `&mut self`.
#[allow(unsafe_code, reason = "the binding has a pointer to what has a lock of its own")]
unsafe impl Send for Shared {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "the binding has a pointer to what has a lock of its own")]
unsafe impl Sync for Shared {}

impl Model<[f32], Vec<f32>> for Trees {
    fn predict(&self, features: &[f32]) -> Result<Vec<f32>, ModelError> {
        if features.len() != self.features {
            let (found, expected) = (features.len(), self.features);
            return Err(ModelError::input(format!("{found} features: the trees take {expected}")));
        }
        // One thread, this one: where LightGBM was built with OpenMP, it would begin some for each call.
        let answer =
            self.booster.0.predict_with_params(features, features.len() as i32, true, "num_threads=1");
        match answer.map_err(|error| ModelError::engine(error.to_string()))?.as_slice() {
            [late] if (0.0..=1.0).contains(late) => Ok(vec![(1.0 - late) as f32, *late as f32]),
            other => Err(ModelError::invalid_output(format!("not a probability, but {other:?}"))),
        }
    }

    fn identity(&self) -> Identity {
        self.identity
    }
}

#[cfg(test)]
mod tests {
    use lightgbm3::Dataset;
    use serde_json::json;
    use switchback::Task;
    use switchback::testing::Suite;

    use super::*;
    use crate::flights::{FEATURES, flights};
    use crate::life::life;

    /// The file that a training job would have written: so many trees, from the flights of January and February.
    fn trained(rounds: usize) -> String {
        let known = flights().iter().filter(|flight| flight.month <= 2);
        let (rows, late): (Vec<_>, Vec<_>) =
            known.filter_map(|flight| Some((flight.features, f32::from(u8::from(flight.late?))))).unzip();
        let dataset = Dataset::from_slice(&rows.concat(), &late, FEATURES as i32, true).unwrap();
        let parameters = json! {{
            "num_iterations": rounds, "objective": "binary", "num_leaves": 15, "learning_rate": 0.06,
            "min_data_in_leaf": 100, "num_threads": 1, "seed": 1, "deterministic": true, "verbosity": -1
        }};
        Booster::train(dataset, &parameters).unwrap().save_string().unwrap()
    }

    fn trees(rounds: usize) -> Trees {
        Trees::from_text(&trained(rounds)).unwrap()
    }

    fn rows() -> Vec<Vec<f32>> {
        flights().iter().step_by(12_000).map(|flight| flight.features.to_vec()).collect()
    }

    #[test]
    fn trees_hold_to_what_a_model_must() {
        let bad = [vec![], vec![1.0; FEATURES - 1], vec![1.0; FEATURES + 1]];
        let suite = Suite::new(|one: &Vec<f32>, other| one == other).bad_inputs(&bad);
        suite.check::<[f32], _>(&trees(40), &rows()).unwrap();
    }

    #[test]
    fn the_identity_is_that_of_the_file() {
        assert_eq!(trees(20).identity(), trees(20).identity());
        assert_ne!(trees(20).identity(), trees(40).identity());
    }

    #[test]
    fn what_are_no_trees_of_two_classes_is_refused() {
        assert!(Trees::from_text("no model").is_err());
        assert!(Trees::from_text("tree\0").is_err());
        assert!(
            Trees::from_text(&trained(20).replace("\nobjective=binary", "\nobjective=regression")).is_err()
        );
    }

    #[test]
    fn more_trees_are_tried_promoted_and_taken_back() {
        let late = Task::binary(|answer: &Vec<f32>| answer.last().copied().map_or(f64::NAN, f64::from));
        life::<[f32], _>(trees(20), trees(80), late, &rows());
    }

    /// The same trees with thresholds of 32 bits, as a file of ONNX has them.
    fn rounded(file: &str) -> String {
        let threshold = |number: &str| f64::from(number.parse::<f64>().unwrap() as f32).to_string();
        let line = |line: &str| match line.split_once('=') {
            // Sizes in bytes, which are others now; without them the file is read from its beginning to its end.
            Some(("tree_sizes", _)) => None,
            Some(("threshold", numbers)) => Some(format!(
                "threshold={}\n",
                numbers.split(' ').map(threshold).collect::<Vec<_>>().join(" ")
            )),
            _ => Some(format!("{line}\n")),
        };
        file.lines().filter_map(line).collect()
    }

    /// Where features have 32 bits themselves, and lie further apart than these tell, nothing is lost by rounding.
    #[test]
    fn thresholds_of_32_bits_answer_flights_alike() {
        let file = trained(40);
        let (exact, rounded) = (Trees::from_text(&file).unwrap(), Trees::from_text(&rounded(&file)).unwrap());
        assert_ne!(exact.identity(), rounded.identity());
        let differs =
            |features: &[f32]| exact.predict(features).unwrap() != rounded.predict(features).unwrap();
        let asked: Vec<_> = flights().iter().step_by(10).map(|flight| &flight.features).collect();
        let differing = asked.iter().filter(|row| differs(&row[..])).count();
        println!("{differing} of {} flights differ", asked.len());
        assert_eq!(differing, 0);
    }

    /// Features of 64 bits that are neighbours in 32 are told apart by LightGBM, and by no file of ONNX whose inputs are of
    /// 32 bits.
    #[test]
    fn neighbours_of_64_bits_are_one_number_in_32() {
        let (low, high) = (1.0, 1.0 + f64::from(f32::EPSILON) / 2.0);
        let rows: Vec<f64> = (0..200).map(|row| if row < 100 { low } else { high }).collect();
        let labels: Vec<f32> = (0..200).map(|row| if row < 100 { 0.0 } else { 1.0 }).collect();
        let dataset = Dataset::from_slice(&rows, &labels, 1, true).unwrap();
        let parameters = json! {{
            "num_iterations": 1, "objective": "binary", "min_data_in_leaf": 1, "num_threads": 1, "verbosity": -1
        }};
        let booster = Booster::train(dataset, &parameters).unwrap();
        let of_64_bits = |x: f64| booster.predict_with_params(&[x], 1, true, "num_threads=1").unwrap();
        let of_32_bits = |x: f64| booster.predict_with_params(&[x as f32], 1, true, "num_threads=1").unwrap();
        assert_ne!(of_64_bits(low), of_64_bits(high));
        assert_eq!(of_32_bits(low), of_32_bits(high));
    }
}
