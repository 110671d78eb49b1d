//! Gives the outputs of one request to a pipeline's `decode`.

use std::collections::BTreeMap;
use std::fmt;

use ndarray::{ArrayD, ArrayViewD};
use ort::session::SessionOutputs;
use ort::value::{
    DynMapValueType, DynSequenceValueType, DynTensorValueType, DynValue, DynValueTypeMarker, ValueType,
};

use super::element::ElementType;
use super::interface::Interface;
use super::packed::Packed;
use super::tensor::{Primitive, Tensor};
use super::tensors::{Label, Tensors, Value};
use crate::base::os;
use crate::model::error::ModelError;
use crate::model::onnx::file::signature::{Kind, Port};

/// The outputs of one run, borrowed from its session: read them in a pipeline's `decode`, by name or by index.
///
/// Every method gives [`ModelError::InvalidOutput`] where the model has no such output, or one of another type.
pub struct Outputs<'s> {
    interface: &'s Interface,
    values: SessionOutputs<'s>,
}

/// How an output is named: by its name, or by its index in the model's order.
///
/// Sealed: `&str` and `usize`.
pub trait OutputKey: sealed::Find {}

mod sealed {
    use super::Port;
    use super::fmt;

    pub trait Find: Copy + fmt::Debug {
        fn find(self, ports: &[Port]) -> Option<usize>;
    }
}

impl OutputKey for &str {}

impl sealed::Find for &str {
    fn find(self, ports: &[Port]) -> Option<usize> {
        ports.iter().position(|port| *port.name == *self)
    }
}

impl OutputKey for usize {}

impl sealed::Find for usize {
    fn find(self, ports: &[Port]) -> Option<usize> {
        (self < ports.len()).then_some(self)
    }
}

impl<'s> Outputs<'s> {
    pub(crate) fn new(interface: &'s Interface, values: SessionOutputs<'s>) -> Self {
        Self { interface, values }
    }

    /// The values as ONNX Runtime gave them.
    pub(crate) fn values(&self) -> &SessionOutputs<'s> {
        &self.values
    }

    /// Shape and elements of a tensor, row by row. Nothing is copied.
    ///
    /// # Errors
    ///
    /// [`ModelError::InvalidOutput`] where it is not a tensor of `T`.
    pub fn tensor<T: Primitive>(&self, output: impl OutputKey) -> Result<(&[i64], &[T]), ModelError> {
        let (port, value) = self.find(output)?;
        let (shape, elements) = value.try_extract_tensor::<T>().map_err(|error| unreadable(port, &error))?;
        Ok((shape, elements))
    }

    /// A tensor as an array. Its elements are not copied; its shape is, so [`tensor`](Self::tensor) is a little faster.
    ///
    /// # Errors
    ///
    /// [`ModelError::InvalidOutput`] where it is not a tensor of `T`.
    pub fn array<T: Primitive>(&self, output: impl OutputKey) -> Result<ArrayViewD<'_, T>, ModelError> {
        let (port, value) = self.find(output)?;
        value.try_extract_array::<T>().map_err(|error| unreadable(port, &error))
    }

    /// The one element of a tensor of one element, whatever its rank.
    ///
    /// # Errors
    ///
    /// [`ModelError::InvalidOutput`] where it is not a tensor of `T`, or has another number of elements.
    pub fn scalar<T: Primitive>(&self, output: impl OutputKey) -> Result<T, ModelError> {
        match self.tensor::<T>(output)? {
            (_, &[element]) => Ok(element),
            (_, elements) => Err(ModelError::invalid_output(format!(
                "output {output:?} has {} elements, not one",
                elements.len()
            ))),
        }
    }

    /// The texts of a tensor, row by row, copied.
    ///
    /// # Errors
    ///
    /// [`ModelError::InvalidOutput`] where it is not a tensor of texts in UTF-8.
    pub fn strings(&self, output: impl OutputKey) -> Result<Vec<String>, ModelError> {
        let (port, value) = self.find(output)?;
        value.try_extract_strings().map(|(_, texts)| texts).map_err(|error| unreadable(port, &error))
    }

    /// A number per label, one map per row: what `ZipMap` gives, which ends the classifiers that are exported from
    /// scikit-learn. An output that is one map gives one.
    ///
    /// # Errors
    ///
    /// [`ModelError::InvalidOutput`] where it is neither.
    pub fn maps(&self, output: impl OutputKey) -> Result<Vec<BTreeMap<Label, f32>>, ModelError> {
        let not_maps =
            || ModelError::invalid_output(format!("output {output:?} is no map and no sequence of maps"));
        let as_map = |value| if let Value::Map(map) = value { Ok(map) } else { Err(not_maps()) };
        match self.value(output)? {
            Value::Sequence(values) => values.into_iter().map(as_map).collect(),
            value => as_map(value).map(|map| vec![map]),
        }
    }

    /// A copy of an output, whatever its type.
    ///
    /// # Errors
    ///
    /// [`ModelError::InvalidOutput`] where it cannot be copied out.
    pub fn value(&self, output: impl OutputKey) -> Result<Value, ModelError> {
        let (port, value) = self.find(output)?;
        copied(value).map_err(|error| unreadable(port, &error))
    }

    /// A copy of all outputs that the model was run for: those that can be carried, or those that were
    /// [chosen](crate::model::onnx::OnnxModel::outputs).
    ///
    /// # Errors
    ///
    /// [`ModelError::InvalidOutput`] where one cannot be copied out.
    pub fn to_tensors(&self) -> Result<Tensors, ModelError> {
        let asked = self
            .interface
            .asked
            .iter()
            .filter_map(|&place| Some((place, self.interface.outputs.get(place)?)));
        let values = asked.map(|(place, port)| Ok((port.name.clone(), self.value(place)?)));
        Ok(Tensors::of_ports(values.collect::<Result<_, ModelError>>()?))
    }

    #[inline]
    fn find(&self, output: impl OutputKey) -> Result<(&Port, &DynValue), ModelError> {
        let Interface { outputs, asked, .. } = self.interface;
        let place = output.find(outputs);
        // There are as many values as there are outputs that were asked for, in that order.
        let value = if asked.len() == outputs.len() {
            place
        } else {
            place.and_then(|place| asked.iter().position(|asked| *asked == place))
        };
        match (place.and_then(|place| outputs.get(place)), value.filter(|&value| value < self.values.len())) {
            (Some(port), Some(value)) => Ok((port, &self.values[value])),
            (port, _) => Err(self.unread(&output, port)),
        }
    }

    #[cold]
    fn unread(&self, output: &dyn fmt::Debug, port: Option<&Port>) -> ModelError {
        ModelError::invalid_output(match port {
            Some(port) if port.kind.is_refused() => format!("output `{port}`: the model was not run for it"),
            Some(port) => format!(
                "output `{port}` is not among those that were chosen: name it in `OnnxModel::outputs`"
            ),
            None => {
                let names: Vec<&str> = self.interface.outputs.iter().map(|port| &*port.name).collect();
                format!("no output {output:?}: the model gives {}", names.join(", "))
            }
        })
    }
}

/// Names and types, no values.
impl fmt::Debug for Outputs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.interface.outputs.iter().map(ToString::to_string)).finish()
    }
}

#[cold]
fn unreadable(port: &Port, error: &ort::Error) -> ModelError {
    ModelError::invalid_output(format!("output `{port}`: {}", error.message()))
}

/// A value, copied out of ONNX Runtime.
pub(crate) fn copied(value: &DynValue) -> ort::Result<Value> {
    match value.dtype() {
        ValueType::Tensor { ty, .. } => match ElementType::of_ort(*ty) {
            Some(element) => copied_tensor(value, element).map(Value::Tensor),
            None => Err(ort::Error::new(format!("elements of type {ty} cannot be copied out"))),
        },
        ValueType::Sequence(_) => {
            let values = value.view().downcast::<DynSequenceValueType>()?;
            let values = values.try_extract_sequence::<DynValueTypeMarker>()?;
            values.iter().map(copied).collect::<ort::Result<_>>().map(Value::Sequence)
        }
        ValueType::Map { key, .. } => {
            let map = value.view().downcast::<DynMapValueType>()?;
            if ElementType::of_ort(*key) == Some(ElementType::I64) {
                let entries = map.try_extract_key_values::<i64, f32>()?;
                Ok(Value::Map(
                    entries.into_iter().map(|(label, number)| (Label::Int(label), number)).collect(),
                ))
            } else {
                let entries = map.try_extract_key_values::<String, f32>()?;
                Ok(Value::Map(
                    entries.into_iter().map(|(label, number)| (Label::Text(label.into()), number)).collect(),
                ))
            }
        }
        ValueType::Optional(_) => Err(ort::Error::new("optional outputs cannot be copied out")),
    }
}

fn copied_tensor(value: &DynValue, element: ElementType) -> ort::Result<Tensor> {
    fn array<T: Primitive>(value: &DynValue) -> ort::Result<ArrayD<T>> {
        value.try_extract_array::<T>().map(|array| array.to_owned())
    }
    macro_rules! by_type {
        ($($primitive:ident)*) => {
            match element {
                $(ElementType::$primitive => array(value).map(Tensor::$primitive),)*
                ElementType::String => value.try_extract_string_array().map(Tensor::String),
                packed => copied_packed(value, packed).map(Tensor::Packed),
            }
        };
    }
    by_type!(F16 Bf16 F32 F64 I8 I16 I32 I64 U8 U16 U32 U64 Bool)
}

fn copied_packed(value: &DynValue, element: ElementType) -> ort::Result<Packed> {
    let tensor = value.view().downcast::<DynTensorValueType>()?;
    let sizes = tensor.shape().iter().map(|&size| usize::try_from(size));
    let shape =
        sizes.collect::<Result<Vec<usize>, _>>().map_err(|error| ort::Error::new(error.to_string()))?;
    let bytes = os::tensor_bytes(&tensor).ok_or_else(|| ort::Error::new("its memory cannot be read"))?;
    Packed::new(element, shape, bytes).map_err(|error| ort::Error::new(error.to_string()))
}

/// The type of an output, in ort's words and in ours; nothing where it cannot be carried.
pub(crate) fn kind_of(found: &ValueType) -> Option<Kind> {
    use crate::model::onnx::file::signature::Dimension;
    match found {
        ValueType::Tensor { ty, shape, dimension_symbols } => {
            let sizes =
                shape.iter().zip(dimension_symbols.iter()).map(|(&size, symbol)| {
                    match usize::try_from(size) {
                        Ok(size) => Dimension::Fixed(size),
                        Err(_) if symbol.is_empty() => Dimension::Unknown,
                        Err(_) => Dimension::Symbolic(symbol.clone()),
                    }
                });
            Some(Kind::Tensor { element: ElementType::of_ort(*ty)?, shape: sizes.collect() })
        }
        ValueType::Sequence(inner) => Some(Kind::Sequence(Box::new(kind_of(inner)?))),
        ValueType::Map { key, value } => {
            let label = ElementType::of_ort(*key)
                .filter(|key| matches!(key, ElementType::I64 | ElementType::String))?;
            (ElementType::of_ort(*value)? == ElementType::F32).then_some(Kind::Map { label })
        }
        ValueType::Optional(_) => None,
    }
}
