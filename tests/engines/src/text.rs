//! Text in front of a model of ids, which [tokenizers](https://github.com/huggingface/tokenizers) makes of it.

use switchback::Model;
use switchback::model::{Identity, LoadError, ModelError};
use switchback::versions::Lifecycle;
use tokenizers::Tokenizer;

/// What ids may depend on besides the tokenizer's file. A test holds it against Cargo.lock.
const ENGINE: &[u8] = b"tokenizers 0.23.2";

/// A model of text: a tokenizer, and a model of the ids that it gives. Both are one version, and are switched together.
pub struct Text<M> {
    tokenizer: Tokenizer,
    file: Identity,
    longest: usize,
    model: M,
}

impl<M> Text<M> {
    /// A `tokenizer.json` before a model, for texts of at most `longest` tokens.
    ///
    /// # Errors
    ///
    /// The file is no tokenizer's.
    pub fn new(file: &[u8], longest: usize, model: M) -> Result<Self, LoadError> {
        let tokenizer = Tokenizer::from_bytes(file).map_err(LoadError::other)?;
        let file =
            Identity::of([("engine", ENGINE), ("tokenizer", file), ("longest", &longest.to_le_bytes())]);
        Ok(Self { tokenizer, file, longest, model })
    }
}

impl<O, M: Model<[i64], O>> Model<str, O> for Text<M> {
    fn predict(&self, text: &str) -> Result<O, ModelError> {
        let encoded = self.tokenizer.encode_fast(text, true);
        let encoded = encoded.map_err(|error| ModelError::engine(error.to_string()))?;
        let ids: Vec<i64> = encoded.get_ids().iter().map(|id| i64::from(*id)).collect();
        match ids.len() {
            0 => Err(ModelError::input("a text without a token")),
            many if many > self.longest => Err(ModelError::input(format!("{many} tokens are too many"))),
            _ => self.model.predict(&ids),
        }
    }

    fn identity(&self) -> Identity {
        let (file, model) = (self.file, self.model.identity()); // another tokenizer is another version
        Identity::of([("text", file.as_bytes().as_slice()), ("model", model.as_bytes().as_slice())])
    }

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        self.model.lifecycle() // it knows neither texts nor ids: the tokenizer is small, and stays
    }
}

#[cfg(test)]
mod tests {
    use switchback::testing::Suite;
    use switchback::{Task, closure};

    use super::*;
    use crate::life::life;

    /// A tokenizer of five words, by whether it knows that capitals are letters.
    fn words(lowercase: bool) -> Vec<u8> {
        let normalizer = if lowercase { r#"{"type": "Lowercase"}"# } else { "null" };
        let file = r#"{
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": NORMALIZER, "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": null, "decoder": null,
            "model": {
                "type": "WordLevel", "unk_token": "[UNK]",
                "vocab": {"[UNK]": 0, "on": 1, "time": 2, "late": 3, "cancelled": 4}
            }
        }"#;
        file.replace("NORMALIZER", normalizer).into_bytes()
    }

    /// The mean of what each token weighs, in a closure.
    fn weighed() -> impl Model<[i64], f64> {
        const WEIGHTS: [f64; 5] = [0.0, -1.0, -1.0, 1.0, 2.0];
        closure("weighed@1.0", |ids: &[i64]| {
            let weight = |id: &i64| usize::try_from(*id).ok().and_then(|id| WEIGHTS.get(id));
            let weights: Option<Vec<f64>> = ids.iter().map(|id| weight(id).copied()).collect();
            let weights = weights.ok_or_else(|| ModelError::engine("an id without a weight"))?;
            Ok(weights.iter().sum::<f64>() / weights.len() as f64)
        })
    }

    const TEXTS: [&str; 4] = ["on time", "the flight is late", "LATE, or cancelled", "cancelled"];

    fn bad() -> [&'static str; 3] {
        ["", " \n", "late late late late late late late late late"]
    }

    #[test]
    fn a_text_is_answered_by_the_model_behind() {
        let model = Text::new(&words(true), 8, weighed()).unwrap();
        assert_eq!(TEXTS.map(|text| model.predict(text).unwrap()), [-1.0, 0.25, 0.75, 2.0]);
    }

    #[test]
    fn a_text_model_holds_to_what_a_model_must() {
        let model = Text::new(&words(true), 8, weighed()).unwrap();
        let bad = bad();
        Suite::new(|one: &f64, other| one == other).bad_inputs(&bad).check::<str, _>(&model, &TEXTS).unwrap();
    }

    #[test]
    fn another_tokenizer_is_another_version() {
        let identity = |lowercase, longest| {
            let model = Text::new(&words(lowercase), longest, weighed()).unwrap();
            Model::<str, f64>::identity(&model)
        };
        assert_eq!(identity(true, 8), identity(true, 8));
        assert_ne!(identity(true, 8), identity(false, 8));
        assert_ne!(identity(true, 8), identity(true, 9));
    }

    #[test]
    fn a_file_that_is_no_tokenizers_is_refused() {
        assert!(Text::new(b"{}", 8, weighed()).is_err());
    }

    #[test]
    fn a_second_tokenizer_is_tried_promoted_and_taken_back() {
        let text = |lowercase| Text::new(&words(lowercase), 8, weighed()).unwrap();
        life::<str, _>(text(false), text(true), Task::regression(|weight: &f64| *weight), &TEXTS);
    }

    /// The ids go to an ONNX file that tract runs, whose lifecycle is that of the whole.
    #[cfg(feature = "tract")]
    #[test]
    fn a_text_is_answered_by_an_onnx_model_behind() {
        use crate::tract::Tract;
        use switchback::versions::{LoadThrottle, Tier};

        let numbers = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/gather.onnx");
        let text =
            |lowercase| Text::new(&words(lowercase), 8, Tract::of_lists(numbers, "y").unwrap()).unwrap();
        let model = text(true);
        let lifecycle = Model::<str, Vec<f32>>::lifecycle(&model).unwrap();
        assert_eq!(lifecycle.tier(), Tier::Cold);
        lifecycle.load(&LoadThrottle::new()).unwrap();
        assert_eq!(model.predict("the flight is LATE").unwrap(), [1.0, 1.0, 1.0, 4.0]);
        let bad = bad();
        let suite = Suite::new(|one: &Vec<f32>, other| one == other).bad_inputs(&bad);
        suite.check::<str, _>(&model, &TEXTS).unwrap();
        let sum = |numbers: &Vec<f32>| numbers.iter().copied().map(f64::from).sum();
        life::<str, _>(text(false), text(true), Task::regression(sum), &TEXTS);
    }
}
