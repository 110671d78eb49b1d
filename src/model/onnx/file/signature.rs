//! The inputs and outputs of a model: names, element types, shapes; and what its file says of itself.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::text::{TEXT_MAX, bounded, bounded_text};
use crate::model::onnx::tensor::element::ElementType;
use crate::model::onnx::tensor::tensors::Label;
use crate::model::opset::Opset;

/// The inputs and outputs of a model, and what its file says of itself.
///
/// A check of names alone passes what must be refused: two published versions of one file-type model take
/// `f32[1536]` and `i32[2048]`, and know 113 and 214 labels, under the same names. So types, shapes and labels are part
/// of the signature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Signature {
    /// The inputs, in the model's order.
    pub inputs: Vec<Port>,
    /// The outputs, in the model's order.
    pub outputs: Vec<Port>,
    /// The labels of a classifier, in the order of its scores; none where the file names none.
    pub labels: Vec<Label>,
    /// Version of the file format.
    pub ir_version: i64,
    /// The operator sets that the file is written in.
    pub opsets: Vec<Opset>,
    /// The software that made the file, with its version.
    pub producer: Option<String>,
    /// The file's own metadata.
    pub metadata: BTreeMap<String, String>,
}

/// Inputs, outputs, labels and entries of metadata that are kept of a version, each.
const KEPT_MAX: usize = 1_024;

impl Signature {
    /// These inputs and outputs, and nothing that a file would say of itself: for an engine or a test of the host's. The other fields are
    /// there to be set.
    pub fn new(inputs: impl IntoIterator<Item = Port>, outputs: impl IntoIterator<Item = Port>) -> Self {
        Self {
            inputs: inputs.into_iter().collect(),
            outputs: outputs.into_iter().collect(),
            labels: Vec::new(),
            ir_version: 0,
            opsets: Vec::new(),
            producer: None,
            metadata: BTreeMap::new(),
        }
    }

    /// The same, as much as is kept: it stands in `status()` for as long as the version is loaded. Labels and metadata are cut;
    /// inputs and outputs are all there, or it is none.
    pub(crate) fn bounded(mut self) -> Option<Self> {
        let Self { inputs, outputs, labels, opsets, producer, metadata, .. } = &mut self;
        let fits = |ports: &[Port]| {
            ports.len() <= KEPT_MAX && ports.iter().all(|port| port.to_string().len() <= TEXT_MAX)
        };
        if !fits(inputs) || !fits(outputs) {
            return None;
        }
        let cut = |text: &mut String| *text = bounded_text(std::mem::take(text));
        labels.truncate(KEPT_MAX);
        for label in labels {
            if let Label::Text(text) = label {
                *text = bounded(&**text).into();
            }
        }
        opsets.iter_mut().for_each(|opset| cut(&mut opset.domain));
        producer.iter_mut().for_each(cut);
        let kept = std::mem::take(metadata).into_iter().take(KEPT_MAX);
        *metadata = kept.map(|(key, value)| (bounded_text(key), bounded_text(value))).collect();
        Some(self)
    }
}

/// One input or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Port {
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub kind: Kind,
}

impl Port {
    /// One of this name and type.
    pub fn new(name: impl Into<Arc<str>>, kind: Kind) -> Self {
        Self { name: name.into(), kind }
    }
}

/// The type of an input or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// A tensor.
    Tensor {
        /// The type of its elements.
        element: ElementType,
        /// Its dimensions, outermost first.
        shape: Vec<Dimension>,
    },
    /// A tensor of any shape: the file does not say which.
    AnyShape {
        /// The type of its elements.
        element: ElementType,
    },
    /// A kind that cannot be carried: complex numbers, a sparse tensor, an optional value, a sequence of sequences, a
    /// map to another number than `f32`. Only outputs are, which are not asked for then: others of the model are
    /// answered all the same.
    NotCarried {
        /// ONNX's name for it.
        what: String,
    },
    /// A sequence of values of one type.
    Sequence(Box<Kind>),
    /// A map from label to `f32`.
    Map {
        /// The type of its labels: `i64` or `string`.
        label: ElementType,
    },
}

/// One dimension of a shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// Always of this size.
    Fixed(usize),
    /// Of any size. What it stands for in one input and in another may differ: ONNX Runtime does not hold them against each
    /// other, and exporters name dimensions `?` or `N` that have nothing to do with one another.
    Symbolic(String),
    /// Of any size.
    Unknown,
}

impl Kind {
    /// Whether it cannot be carried.
    pub(crate) fn is_refused(&self) -> bool {
        match self {
            Self::NotCarried { .. } => true,
            Self::Sequence(item) => item.is_refused(),
            _ => false,
        }
    }
}

/// `age: f32[batch, 1]`
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.kind)
    }
}

/// `f32[batch, 1]`, `sequence of map from i64 to f32`
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor { element, shape } => write!(f, "{element}{}", Bracketed(shape)),
            Self::AnyShape { element } => write!(f, "{element}, of any shape"),
            Self::NotCarried { what } => write!(f, "{what}, which cannot be carried"),
            Self::Sequence(inner) => write!(f, "sequence of {inner}"),
            Self::Map { label } => write!(f, "map from {label} to f32"),
        }
    }
}

/// `3`, `batch`, `?`
impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => size.fmt(f),
            Self::Symbolic(name) => f.write_str(name),
            Self::Unknown => f.write_str("?"),
        }
    }
}

/// A list as `[a, b]`, each item by its `Display`.
pub(crate) struct Bracketed<'a, T>(pub(crate) &'a [T]);

impl<T: fmt::Display> fmt::Display for Bracketed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, item) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{item}")?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_reads_like_a_declaration() {
        let shape = vec![Dimension::Symbolic("batch".into()), Dimension::Fixed(3), Dimension::Unknown];
        let port = Port::new("x", Kind::Tensor { element: ElementType::F32, shape });
        assert_eq!(Signature::new([port.clone()], []).inputs, std::slice::from_ref(&port));
        assert_eq!(port.to_string(), "x: f32[batch, 3, ?]");
        let maps = Kind::Sequence(Box::new(Kind::Map { label: ElementType::I64 }));
        assert_eq!(maps.to_string(), "sequence of map from i64 to f32");
    }

    fn port(name: &str) -> Port {
        Port::new(name, Kind::Tensor { element: ElementType::Bf16, shape: Vec::new() })
    }

    fn signature() -> Signature {
        Signature {
            inputs: vec![port("x")],
            outputs: Vec::new(),
            labels: vec![Label::Int(1), Label::from("late")],
            ir_version: 8,
            opsets: vec![Opset::new("ai.onnx", 17)],
            producer: None,
            metadata: BTreeMap::new(),
        }
    }

    #[test]
    fn what_is_kept_of_a_signature_is_bounded_and_has_every_port_or_none() {
        assert_eq!(signature().bounded(), Some(signature()));
        let mut long = signature();
        long.labels = (0..5_000).map(Label::Int).chain([Label::from("late")]).collect();
        long.labels[0] = Label::Text("x".repeat(10_000).into());
        long.producer = Some("p".repeat(10_000));
        long.metadata = (0..5_000).map(|n| (format!("{n:04}"), "m".repeat(10_000))).collect();
        let kept = long.bounded().unwrap();
        assert_eq!(
            (kept.labels.len(), kept.metadata.len(), &kept.inputs),
            (1_024, 1_024, &signature().inputs)
        );
        assert!(kept.labels[0].to_string().len() <= TEXT_MAX && kept.producer.unwrap().len() <= TEXT_MAX);
        assert!(kept.metadata.values().all(|value| value.len() <= TEXT_MAX));
        for inputs in [vec![port("x"); 1_025], vec![port(&"x".repeat(10_000))]] {
            assert_eq!(Signature { inputs, ..signature() }.bounded(), None);
        }
    }

    #[test]
    fn a_signature_survives_serde() {
        let signature = signature();
        let json = serde_json::to_string(&signature).unwrap();
        assert_eq!(serde_json::from_str::<Signature>(&json).unwrap(), signature);
    }
}
