//! Named values that own their memory: inputs and outputs of a model that is asked without a pipeline.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ndarray::{Array, ArrayD, Dimension};
use serde::{Deserialize, Serialize};

use super::tensor::{Element, Tensor};
use crate::model::error::InputError;

/// Named values: the input and the output of an [`OnnxModel`](crate::model::onnx::OnnxModel) that is asked without a pipeline.
///
/// `Debug` shows names, types and shapes, never a value.
///
/// ```
/// use switchback::model::onnx::Tensors;
/// use switchback::model::onnx::ndarray::array;
///
/// let tensors = Tensors::new().with("age", array![[31.0_f32]])?.with("ids", array![7_i64, 8])?;
/// assert_eq!(tensors.get::<i64>("ids").unwrap()[1], 8);
/// assert!(tensors.get::<f32>("ids").is_none());
/// assert_eq!(format!("{tensors:?}"), "{age: f32[1, 1], ids: i64[2]}");
/// # Ok::<(), switchback::model::InputError>(())
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct Tensors {
    values: Vec<(Arc<str>, Value)>,
}

impl Tensors {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// These and one more.
    ///
    /// # Errors
    ///
    /// [`InputError::Repeated`] where the name is taken.
    pub fn with(mut self, name: impl Into<Arc<str>>, value: impl Into<Value>) -> Result<Self, InputError> {
        let name = name.into();
        if self.value(&name).is_some() {
            return Err(InputError::Repeated { name });
        }
        self.values.push((name, value.into()));
        Ok(self)
    }

    /// The elements of the tensor `name`; nothing where there is none, or where its elements are of another type.
    pub fn get<T: Element>(&self, name: &str) -> Option<&ArrayD<T>> {
        match self.value(name)? {
            Value::Tensor(tensor) => T::unwrap(tensor),
            _ => None,
        }
    }

    /// The value `name`, whatever its type.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|(known, _)| **known == *name).map(|(_, value)| value)
    }

    /// Names and values, in the order in which they were given, or in the model's.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.values.iter().map(|(name, value)| (&**name, value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// For inputs and outputs of a model, which cannot repeat their names.
    pub(crate) fn of_ports(values: Vec<(Arc<str>, Value)>) -> Self {
        Self { values }
    }
}

impl fmt::Debug for Tensors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in self.iter() {
            map.entry(&format_args!("{name}"), value);
        }
        map.finish()
    }
}

/// One value: a tensor nearly always; sequences and maps are what classifiers exported from scikit-learn give
/// (`ZipMap`: a sequence of maps from label to probability).
///
/// `Debug` shows types and shapes, never a value.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A tensor.
    Tensor(Tensor),
    /// Values in a row.
    Sequence(Vec<Value>),
    /// A number per label.
    Map(BTreeMap<Label, f32>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(tensor) => fmt::Debug::fmt(tensor, f),
            Self::Sequence(values) => write!(f, "sequence of {}", values.len()),
            Self::Map(entries) => write!(f, "map of {}", entries.len()),
        }
    }
}

/// The label of a class, as a classifier was trained with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Label {
    /// A number.
    Int(i64),
    /// A text.
    Text(Arc<str>),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl From<i64> for Label {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<&str> for Label {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Label {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

impl From<super::packed::Packed> for Value {
    fn from(packed: super::packed::Packed) -> Self {
        Self::Tensor(packed.into())
    }
}

impl<T: Element, D: Dimension> From<Array<T, D>> for Value {
    fn from(array: Array<T, D>) -> Self {
        Self::Tensor(array.into())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn no_value_of_a_user_is_shown() {
        let map = Value::Map([(Label::from("secret"), 0.5)].into());
        let tensors = Tensors::new()
            .with("name", array!["secret".to_owned()])
            .and_then(|tensors| tensors.with("scores", Value::Sequence(vec![map.clone()])))
            .and_then(|tensors| tensors.with("score", map))
            .unwrap();
        assert_eq!(format!("{tensors:?}"), "{name: string[1], scores: sequence of 1, score: map of 1}");
        assert!(!format!("{tensors:#?}").contains("secret"));
    }

    #[test]
    fn a_name_is_given_once() {
        let twice =
            Tensors::new().with("x", array![1_u8]).and_then(|tensors| tensors.with("x", array![2_u8]));
        assert_eq!(twice, Err(InputError::Repeated { name: "x".into() }));
    }
}
