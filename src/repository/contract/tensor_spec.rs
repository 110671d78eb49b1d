//! The tensors that a model takes and gives, as a contract, a pipeline and a file each say it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::problem::{Problem, repeated};

/// One tensor by name, type and shape.
///
/// ```
/// use switchback::repository::contract::TensorSpec;
///
/// let features = TensorSpec::new("features", "f32").shape([None, Some(13)]);
/// assert_eq!(features.to_string(), "features: f32[?, 13]");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TensorSpec {
    /// The name of the input or output.
    pub name: String,
    /// The type of its elements: `f32`, `i64`, `string`. What is no tensor is told as a signature tells it.
    #[serde(rename = "type")]
    pub element: String,
    /// Its sizes, outermost first; `null` for a size that varies. It is left out where any shape will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<Option<usize>>>,
}

impl TensorSpec {
    /// A tensor of elements of this type, in any shape.
    pub fn new(name: impl Into<String>, element: impl Into<String>) -> Self {
        Self { name: name.into(), element: element.into(), shape: None }
    }

    /// In this shape; `None` is a size that varies.
    #[must_use]
    pub fn shape(mut self, sizes: impl IntoIterator<Item = Option<usize>>) -> Self {
        self.shape = Some(sizes.into_iter().collect());
        self
    }

    /// Whether some tensor has both shapes. A size that varies goes with any other.
    pub(crate) fn shapes_meet(&self, other: &Self) -> bool {
        let (Some(one), Some(other)) = (&self.shape, &other.shape) else { return true };
        let meet = |(one, other): (&Option<usize>, &Option<usize>)| match (one, other) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        one.len() == other.len() && one.iter().zip(other).all(meet)
    }
}

/// `features: f32[?, 13]`
impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.element)?;
        let Some(shape) = &self.shape else { return Ok(()) };
        let size = |size: &Option<usize>| size.map_or_else(|| "?".to_owned(), |size| size.to_string());
        write!(f, "[{}]", shape.iter().map(size).collect::<Vec<_>>().join(", "))
    }
}

/// Whether a tensor goes into a model or comes out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::exhaustive_enums, reason = "there is no third side")]
pub enum TensorRole {
    /// It goes in.
    Input,
    /// It comes out.
    Output,
}

/// `input`, `output`
impl fmt::Display for TensorRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Input => "input",
            Self::Output => "output",
        })
    }
}

/// Returns what is wrong with lists of tensors.
pub(crate) fn problems(inputs: &[TensorSpec], outputs: &[TensorSpec]) -> Vec<Problem> {
    let names = |specs: &[TensorSpec]| specs.iter().map(|spec| spec.name.clone()).collect::<Vec<_>>();
    let twice = |specs| repeated(&names(specs)).collect::<Vec<_>>();
    let both = twice(inputs).into_iter().chain(twice(outputs));
    both.map(|tensor| Problem::TensorRepeated { tensor }).collect()
}

/// The tensors of a signature's side. A tensor whose type cannot be carried is told as what it is.
#[cfg(feature = "onnx")]
pub(crate) fn of_ports(ports: &[crate::model::onnx::Port]) -> Vec<TensorSpec> {
    use crate::model::onnx::{Dimension, Kind};
    let spec = |port: &crate::model::onnx::Port| {
        let name = port.name.to_string();
        match &port.kind {
            Kind::Tensor { element, shape } => {
                let size =
                    |size: &Dimension| if let Dimension::Fixed(size) = size { Some(*size) } else { None };
                TensorSpec::new(name, element.name()).shape(shape.iter().map(size))
            }
            Kind::AnyShape { element } => TensorSpec::new(name, element.name()),
            other => TensorSpec::new(name, other.to_string()),
        }
    };
    ports.iter().map(spec).collect()
}
