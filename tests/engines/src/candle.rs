//! Networks that [candle](https://github.com/huggingface/candle) runs on the processor, from weights in safetensors.

use candle_core::{DType, Device, Tensor, safetensors};
use switchback::Model;
use switchback::model::{Identity, LoadError, ModelError};

/// What answers may depend on besides the weights. A test holds it against Cargo.lock.
const ENGINE: &[u8] = b"candle-core 0.11.1";

/// Layers of which each is a matrix, a bias and, but for the last one, what is above zero of them.
pub struct Network {
    layers: Vec<(Tensor, Tensor)>,
    features: usize,
    identity: Identity,
}

impl Network {
    /// A network of weights with the names that PyTorch's `Sequential` gives them: `0.weight`, `0.bias`, `2.weight`, and
    /// so on. The names between are those of the activations, which have no weights.
    ///
    /// # Errors
    ///
    /// The weights are no safetensors, or no layers that fit each other.
    pub fn from_safetensors(file: &[u8]) -> Result<Self, LoadError> {
        let mut weights = safetensors::load_buffer(file, &Device::Cpu).map_err(LoadError::other)?;
        let (mut layers, mut features, mut width) = (Vec::new(), 0, None);
        while let Some(weight) = weights.remove(&format!("{}.weight", 2 * layers.len())) {
            let bias = weights.remove(&format!("{}.bias", 2 * layers.len())).ok_or("a layer has no bias");
            let bias = bias.map_err(LoadError::other)?;
            // As they are multiplied: a row for each input.
            let layer = weight.to_dtype(DType::F32).and_then(|weight| weight.t()?.contiguous());
            let layer = layer.and_then(|weight| Ok((weight, bias.to_dtype(DType::F32)?)));
            let (weight, bias) = layer.map_err(LoadError::other)?;
            let (inputs, outputs) = weight.dims2().map_err(LoadError::other)?;
            if bias.dims() != [outputs] || width.is_some_and(|width| width != inputs) {
                return Err(LoadError::other(format!("layer {} does not fit", layers.len())));
            }
            features = width.map_or(inputs, |_| features);
            width = Some(outputs);
            layers.push((weight, bias));
        }
        if layers.is_empty() || !weights.is_empty() {
            return Err(LoadError::other("the weights are not those of layers alone"));
        }
        let identity = Identity::of([("engine", ENGINE), ("weights", file), ("network", b"relu")]);
        Ok(Self { layers, features, identity })
    }
}

impl Network {
    fn run(&self, features: &[f32]) -> candle_core::Result<Vec<f32>> {
        let mut row = Tensor::from_slice(features, (1, features.len()), &Device::Cpu)?;
        for (place, (weight, bias)) in self.layers.iter().enumerate() {
            row = row.matmul(weight)?.broadcast_add(bias)?;
            if place + 1 < self.layers.len() {
                row = row.relu()?;
            }
        }
        row.flatten_all()?.to_vec1()
    }
}

impl Model<[f32], Vec<f32>> for Network {
    fn predict(&self, features: &[f32]) -> Result<Vec<f32>, ModelError> {
        if features.len() != self.features {
            let (found, expected) = (features.len(), self.features);
            return Err(ModelError::input(format!("{found} features: the network takes {expected}")));
        }
        if !features.iter().all(|feature| feature.is_finite()) {
            return Err(ModelError::input("a feature is not finite")); // or every answer is its fault
        }
        let answer = self.run(features).map_err(|error| ModelError::engine(error.to_string()))?;
        match answer.iter().all(|number| number.is_finite()) {
            true => Ok(answer),
            false => Err(ModelError::invalid_output("a number that is not finite")),
        }
    }

    fn identity(&self) -> Identity {
        self.identity // of the weights, the engine's version and what is between the layers
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use ::safetensors::serialize;
    use ::safetensors::tensor::{Dtype, TensorView};
    use switchback::Task;
    use switchback::testing::Suite;

    use super::*;
    use crate::life::life;

    /// The file that a training job would have written: each layer a matrix with a row for each output, and a bias.
    pub(crate) fn file(layers: &[(&[&[f32]], &[f32])]) -> Vec<u8> {
        let bytes =
            |numbers: &[f32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>();
        let mut tensors = Vec::new();
        for (place, (weight, bias)) in layers.iter().enumerate() {
            let shape = vec![weight.len(), weight[0].len()];
            tensors.push((format!("{}.weight", 2 * place), shape, bytes(&weight.concat())));
            tensors.push((format!("{}.bias", 2 * place), vec![bias.len()], bytes(bias)));
        }
        let views = tensors
            .iter()
            .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        serialize(views, None).unwrap()
    }

    /// The one that differs of two: two hidden units, `a + b` and `a + b - 1`, of which the second counts twice. A second
    /// version says half of it.
    fn differs(certainty: f32) -> Network {
        let hidden: (&[&[f32]], &[f32]) = (&[&[1.0, 1.0], &[1.0, 1.0]], &[0.0, -1.0]);
        let last: (&[&[f32]], &[f32]) = (&[&[certainty, -2.0 * certainty]], &[0.0]);
        Network::from_safetensors(&file(&[hidden, last])).unwrap()
    }

    const PAIRS: [[f32; 2]; 4] = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]];

    #[test]
    fn a_network_answers_what_its_weights_say() {
        let answers = PAIRS.map(|pair| differs(1.0).predict(&pair).unwrap());
        assert_eq!(answers.concat(), [0.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn a_network_holds_to_what_a_model_must() {
        let pairs = PAIRS.map(Vec::from);
        let bad = [vec![], vec![1.0], vec![1.0; 3], vec![f32::NAN, 0.0], vec![f32::INFINITY, 0.0]];
        let suite = Suite::new(|one: &Vec<f32>, other| one == other).bad_inputs(&bad);
        suite.check::<[f32], _>(&differs(1.0), &pairs).unwrap();
    }

    #[test]
    fn the_identity_is_that_of_the_weights() {
        assert_eq!(differs(1.0).identity(), differs(1.0).identity());
        assert_ne!(differs(1.0).identity(), differs(0.5).identity());
    }

    #[test]
    fn an_answer_that_is_none_is_the_networks_fault() {
        let error = differs(f32::MAX).predict(&[9.0, 9.0]).unwrap_err();
        assert!(matches!(error, ModelError::InvalidOutput { .. }), "{error}");
    }

    #[test]
    fn weights_that_are_no_network_are_refused() {
        let (two, three): (&[&[f32]], &[&[f32]]) = (&[&[1.0, 1.0]], &[&[1.0, 1.0, 1.0]]);
        assert!(Network::from_safetensors(b"no file").is_err());
        assert!(Network::from_safetensors(&file(&[])).is_err());
        assert!(Network::from_safetensors(&file(&[(two, &[0.0]), (three, &[0.0])])).is_err());
        assert!(Network::from_safetensors(&file(&[(two, &[0.0, 0.0])])).is_err());
    }

    #[test]
    fn a_second_network_is_tried_promoted_and_taken_back() {
        let task = Task::regression(|answer: &Vec<f32>| answer.first().copied().map_or(f64::NAN, f64::from));
        life::<[f32], _>(differs(1.0), differs(0.5), task, &PAIRS.map(Vec::from));
    }
}
