//! Takes the inputs of one request from a pipeline's `encode`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ndarray::{ArrayView, ArrayViewMut, Dimension};
use ort::memory::Allocator;
use ort::session::SessionInputValue;
use ort::value::{DynTensor, DynTensorValueType, DynValue, Map, Sequence, Shape, Tensor, TensorRef};
use smallvec::SmallVec;

use super::element::ElementType;
use super::interface::{INLINE, Input, Interface, Takes};
use super::outputs::copied;
use super::packed::Packed;
use super::tensor;
use super::tensor::Primitive;
use super::tensors::{Label, Tensors, Value};
use crate::base::os;
use crate::model::error::{InputError, ModelError};
use crate::model::onnx::file::signature::Kind;

/// The inputs of one request, given one by one by a pipeline's `encode`.
///
/// Two ways in, beside [`strings`](Self::strings):
/// - [`buffer`](Self::buffer) is memory that belongs to the session and is kept between requests. Nothing is allocated
///   while shapes repeat, and the session runs at its fastest: the way for small inputs.
/// - [`view`](Self::view) and [`slice`](Self::slice) hand over memory of the request without a copy: the way for large
///   ones.
///
/// Every input is given once, in any order (the model's own is found fastest). What is given is checked against the
/// model's signature before ONNX Runtime sees it.
///
/// Lifetimes: `'a` is the request's, `'s` the session's.
pub struct Feed<'s, 'a> {
    interface: &'s Interface,
    buffers: &'s mut Buffers,
    given: SmallVec<[Given<'a>; INLINE]>,
    /// The input that comes next in the model's order.
    next: usize,
    /// The bytes that were given so far; texts are not counted.
    bytes: usize,
}

/// Without what was given, which is a request's.
impl fmt::Debug for Feed<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("given", &self.given.len()).finish_non_exhaustive()
    }
}

/// The inputs that were given, in the model's order. Nothing is missing.
pub(crate) struct Complete<'a> {
    pub(crate) bytes: usize,
    given: SmallVec<[Given<'a>; INLINE]>,
}

enum Given<'a> {
    Nothing,
    Buffer,
    View(SessionInputValue<'a>),
}

impl<'a> Complete<'a> {
    /// Whether all of it lies in the session's buffers.
    pub(crate) fn is_all_buffers(&self) -> bool {
        self.given.iter().all(|given| matches!(given, Given::Buffer))
    }

    /// The values to run with, where some lie in the session's buffers.
    pub(crate) fn with<'v>(self, buffers: &'v Buffers) -> SmallVec<[SessionInputValue<'v>; INLINE]>
    where
        'a: 'v,
    {
        let given = self.given.into_iter().zip(&buffers.values);
        given
            .map(|(given, buffer)| if let Given::View(view) = given { view } else { buffer.view().into() })
            .collect()
    }
}

impl<'s, 'a> Feed<'s, 'a> {
    pub(crate) fn new(interface: &'s Interface, buffers: &'s mut Buffers) -> Self {
        let given = (0..interface.inputs.len()).map(|_| Given::Nothing).collect();
        Self { interface, buffers, given, next: 0, bytes: 0 }
    }

    /// The session's own memory for the input `name`, in this shape, row by row, filled with zeros (`false` for
    /// `bool`). Zeros rather than what the last request left there: an element that is not written must not be that of
    /// another request.
    ///
    /// Allocates where the shape is not that of the request before, which costs about as much as a run of a small
    /// model.
    ///
    /// # Errors
    ///
    /// [`ModelError::Input`] (which a pipeline returns as [`ModelError::Signature`]) where the signature has no such input, or where it was given before;
    /// [`ModelError::Engine`] where there is no memory.
    pub fn buffer<T: Primitive>(&mut self, name: &str, shape: &[usize]) -> Result<&mut [T], ModelError> {
        let (index, expected) = self.check(name, T::TYPE, shape)?;
        let elements = self.buffers.get::<T>(index, shape)?;
        // Not before it is there: whoever goes on without it has given nothing, and least of all what the last request left.
        self.given[index] = Given::Buffer;
        self.bytes = self.bytes.saturating_add(expected * size_of::<T>());
        elements.fill(T::default());
        Ok(elements)
    }

    /// Elements that live in the request, row by row. No copy is made.
    ///
    /// # Errors
    ///
    /// [`ModelError::Input`] (which a pipeline returns as [`ModelError::Signature`]) where the signature has no such input, where it was given before, or where the shape has
    /// not as many elements.
    pub fn slice<T: Primitive>(
        &mut self,
        name: &str,
        shape: &[usize],
        elements: &'a [T],
    ) -> Result<(), ModelError> {
        let (index, expected) = self.check(name, T::TYPE, shape)?;
        if elements.len() != expected {
            return Err(self.interface.wrong_length(index, shape, elements.len()).into());
        }
        self.bytes = self.bytes.saturating_add(size_of_val(elements));
        self.given[index] =
            Given::View(TensorRef::from_array_view((Shape::from(shape), elements)).map_err(engine)?.into());
        Ok(())
    }

    /// An array that lives in the request. No copy is made where its elements lie row by row and without gaps, as they
    /// do unless it was sliced, transposed or reversed; where they do not, they are copied into a
    /// [`buffer`](Self::buffer).
    ///
    /// # Errors
    ///
    /// Those of [`slice`](Self::slice) and `buffer`.
    pub fn view<T: Primitive, D: Dimension>(
        &mut self,
        name: &str,
        array: ArrayView<'a, T, D>,
    ) -> Result<(), ModelError> {
        match array.to_slice() {
            Some(elements) => self.slice(name, array.shape(), elements),
            None => {
                let shape = array.raw_dim();
                let buffer = self.buffer(name, array.shape())?;
                let mut target = ArrayViewMut::from_shape(shape, buffer)
                    .map_err(|error| ModelError::engine(error.to_string()))?;
                target.assign(&array);
                Ok(())
            }
        }
    }

    /// Texts, which ONNX Runtime copies.
    ///
    /// # Errors
    ///
    /// [`ModelError::Input`] (which a pipeline returns as [`ModelError::Signature`]) where the signature has no such input, where it was given before, where the shape has not
    /// as many elements, or where a text has a NUL in it, which ONNX Runtime would take for its end.
    pub fn strings<S: AsRef<str>>(
        &mut self,
        name: &str,
        shape: &[usize],
        texts: impl IntoIterator<Item = S>,
    ) -> Result<(), ModelError> {
        let (index, expected) = self.check(name, ElementType::String, shape)?;
        let texts: Vec<String> = texts.into_iter().map(|text| text.as_ref().to_owned()).collect();
        if texts.len() != expected {
            return Err(self.interface.wrong_length(index, shape, texts.len()).into());
        }
        without_nul(name, texts.iter())?;
        self.given[index] =
            Given::View(Tensor::from_string_array((shape, &texts[..])).map_err(engine)?.into());
        Ok(())
    }

    /// Elements that Rust has no type for. They are copied.
    ///
    /// # Errors
    ///
    /// Those of [`slice`](Self::slice), and [`ModelError::Engine`] where there is no memory.
    pub fn packed(&mut self, name: &str, packed: &Packed) -> Result<(), ModelError> {
        let (index, _) = self.check(name, packed.element(), packed.shape())?;
        self.given[index] = Given::View(packed_value(&self.buffers.allocator, packed)?.into());
        Ok(())
    }

    /// A value of any kind: a tensor, which is passed as by [`view`](Self::view), or a sequence or a map, which are copied.
    ///
    /// # Errors
    ///
    /// Those of [`view`](Self::view) and [`strings`](Self::strings), also of texts in a sequence and labels of a map.
    /// [`ModelError::Input`] for a sequence that is empty, which ONNX Runtime's interface cannot make, or that holds sequences, or
    /// items of several types.
    pub fn value(&mut self, name: &str, value: &'a Value) -> Result<(), ModelError> {
        if let Value::Tensor(tensor) = value {
            return self.tensor(name, tensor);
        }
        let index = self.interface.find(name, self.next)?;
        if !matches!(self.given[index], Given::Nothing) {
            return Err(InputError::Repeated { name: name.into() }.into());
        }
        let input = &self.interface.inputs[index];
        match &input.takes {
            Takes::Other(kind) if is_of(kind, value) => {}
            _ => return Err(input.wrong_type(&format!("{value:?}")).into()),
        }
        self.given[index] = Given::View(made(&self.buffers.allocator, name, value)?.into());
        self.next = index + 1;
        Ok(())
    }

    /// All of `tensors`, each under its name, without a copy of those that are tensors.
    ///
    /// # Errors
    ///
    /// Those of [`value`](Self::value).
    pub fn tensors(&mut self, tensors: &'a Tensors) -> Result<(), ModelError> {
        tensors.iter().try_for_each(|(name, value)| self.value(name, value))
    }

    fn tensor(&mut self, name: &str, tensor: &'a tensor::Tensor) -> Result<(), ModelError> {
        macro_rules! by_type {
            ($($primitive:ident)*) => {
                match tensor {
                    $(tensor::Tensor::$primitive(array) => self.view(name, array.view()),)*
                    tensor::Tensor::String(array) => self.strings(name, array.shape(), array.iter()),
                    tensor::Tensor::Packed(packed) => self.packed(name, packed),
                }
            };
        }
        by_type!(F16 Bf16 F32 F64 I8 I16 I32 I64 U8 U16 U32 U64 Bool)
    }

    /// The inputs of the model by name and type.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = (Arc<str>, String)> {
        self.interface.inputs.iter().map(|input| (input.name.clone(), input.type_name()))
    }

    /// Whether nothing is missing.
    #[inline]
    pub(crate) fn complete(&self) -> Result<(), InputError> {
        match self.given.iter().position(|given| matches!(given, Given::Nothing)) {
            Some(index) => Err(self.interface.missing(index)),
            None => Ok(()),
        }
    }

    /// Returns what was given, once nothing is missing.
    pub(crate) fn finish(self) -> Result<Complete<'a>, ModelError> {
        self.complete()?;
        Ok(Complete { bytes: self.bytes, given: self.given })
    }

    #[inline]
    fn check(
        &mut self,
        name: &str,
        element: ElementType,
        shape: &[usize],
    ) -> Result<(usize, usize), InputError> {
        let index = self.interface.find(name, self.next)?;
        if !matches!(self.given[index], Given::Nothing) {
            return Err(InputError::Repeated { name: name.into() });
        }
        let elements = self.interface.check(index, element, shape)?;
        self.next = index + 1;
        Ok((index, elements))
    }
}

/// Memory for inputs that belongs to a session, one tensor per input of the model. Those that were never asked for are
/// empty.
pub(crate) struct Buffers {
    allocator: Allocator,
    pub(crate) values: Vec<SessionInputValue<'static>>,
    shapes: Vec<SmallVec<[usize; INLINE]>>,
    /// Whether one was replaced since this was last set to `false`.
    pub(crate) replaced: bool,
}

impl Buffers {
    pub(crate) fn new(interface: &Interface) -> ort::Result<Self> {
        let allocator = Allocator::default();
        // Sequences and maps have no buffer: something stands in its place, which nothing reads.
        let element_of = |input: &Input| match input.takes {
            Takes::Tensor { element, .. } => element,
            Takes::Other(_) => ElementType::U8,
        };
        let empty = |element: ElementType| DynTensor::new(&allocator, element.to_ort(), [0_usize]);
        let values =
            interface.inputs.iter().map(|input| empty(element_of(input)).map(SessionInputValue::from));
        Ok(Self {
            values: values.collect::<ort::Result<_>>()?,
            shapes: interface.inputs.iter().map(|_| SmallVec::from_slice(&[0])).collect(),
            allocator,
            replaced: false,
        })
    }

    fn get<T: Primitive>(&mut self, index: usize, shape: &[usize]) -> Result<&mut [T], ModelError> {
        if *self.shapes[index] != *shape {
            let tensor = DynTensor::new(&self.allocator, T::TYPE.to_ort(), shape).map_err(engine)?;
            self.values[index] = tensor.into();
            self.shapes[index] = shape.into();
            self.replaced = true;
        }
        match &mut self.values[index] {
            SessionInputValue::Owned(tensor) => Ok(tensor.try_extract_tensor_mut::<T>().map_err(engine)?.1),
            _ => Err(ModelError::engine("a session's buffer is not its own")),
        }
    }
}

/// Whether a sequence or a map is of this kind.
fn is_of(kind: &Kind, value: &Value) -> bool {
    match (kind, value) {
        (Kind::Sequence(item), Value::Sequence(values)) => values.iter().all(|value| is_of(item, value)),
        (Kind::Tensor { element, .. } | Kind::AnyShape { element }, Value::Tensor(tensor)) => {
            *element == tensor.element()
        }
        (Kind::Map { label }, Value::Map(entries)) => entries.keys().all(|key| {
            matches!((label, key), (ElementType::I64, Label::Int(_)) | (ElementType::String, Label::Text(_)))
        }),
        _ => false,
    }
}

/// A value of ONNX Runtime's, which owns all that is in it.
fn made(allocator: &Allocator, name: &str, value: &Value) -> Result<DynValue, ModelError> {
    let refused = |what: &str| ModelError::input(format!("input `{name}` is {what}"));
    match value {
        Value::Tensor(tensor) => Ok(made_tensor(allocator, name, tensor)?.into_dyn()),
        Value::Map(entries) => match entries.keys().next() {
            None => Err(refused("an empty map: its labels have no type")),
            Some(Label::Int(_)) => Ok(made_map(entries, whole_label)?.into_dyn()),
            Some(Label::Text(_)) => Ok(made_text_map(name, entries)?.into_dyn()),
        },
        Value::Sequence(values) => match values.first() {
            None => Err(refused("an empty sequence, which ONNX Runtime's interface cannot make")),
            Some(Value::Sequence(_)) => Err(refused("a sequence of sequences")),
            Some(Value::Tensor(_)) => {
                let tensors = values.iter().map(|value| match value {
                    Value::Tensor(tensor) => made_tensor(allocator, name, tensor),
                    _ => Err(refused("a sequence of several kinds")),
                });
                let tensors = tensors.collect::<Result<Vec<_>, _>>()?;
                Ok(Sequence::<DynTensorValueType>::new(tensors).map_err(engine)?.into_dyn())
            }
            Some(Value::Map(first)) => {
                let maps = values.iter().map(|value| match value {
                    Value::Map(entries) => Ok(entries),
                    _ => Err(refused("a sequence of several kinds")),
                });
                let maps = maps.collect::<Result<Vec<_>, _>>()?;
                if matches!(first.keys().next(), Some(Label::Text(_))) {
                    let maps = maps.into_iter().map(|map| made_text_map(name, map));
                    let maps = maps.collect::<Result<Vec<_>, _>>()?;
                    Ok(Sequence::new(maps).map_err(engine)?.into_dyn())
                } else {
                    let maps = maps.into_iter().map(|map| made_map(map, whole_label));
                    let maps = maps.collect::<Result<Vec<_>, _>>()?;
                    Ok(Sequence::new(maps).map_err(engine)?.into_dyn())
                }
            }
        },
    }
}

/// A copy of a value, which owns all that is in it.
pub(crate) fn owned(allocator: &Allocator, value: &DynValue) -> Result<DynValue, ModelError> {
    made(allocator, "", &copied(value).map_err(engine)?)
}

fn whole_label(label: &Label) -> Option<i64> {
    if let Label::Int(number) = label { Some(*number) } else { None }
}

fn made_map(
    entries: &BTreeMap<Label, f32>,
    label: impl Fn(&Label) -> Option<i64>,
) -> Result<Map<i64, f32>, ModelError> {
    let entries = entries.iter().filter_map(|(key, number)| Some((label(key)?, *number)));
    Map::<i64, f32>::new(entries).map_err(engine)
}

fn made_text_map(name: &str, entries: &BTreeMap<Label, f32>) -> Result<Map<String, f32>, ModelError> {
    let entries: Vec<(String, f32)> =
        entries.iter().map(|(key, number)| (key.to_string(), *number)).collect();
    without_nul(name, entries.iter().map(|(key, _)| key))?;
    Map::<String, f32>::new(entries).map_err(engine)
}

/// Refuses texts that ONNX Runtime would take to end where they do not.
fn without_nul<'t>(name: &str, mut texts: impl Iterator<Item = &'t String>) -> Result<(), ModelError> {
    if texts.any(|text| text.contains('\0')) {
        return Err(ModelError::input(format!("input `{name}` has a text with a NUL in it")));
    }
    Ok(())
}

fn made_tensor(allocator: &Allocator, name: &str, tensor: &tensor::Tensor) -> Result<DynTensor, ModelError> {
    macro_rules! by_type {
        ($($primitive:ident)*) => {
            match tensor {
                $(tensor::Tensor::$primitive(array) => {
                    let elements: Vec<_> = array.iter().copied().collect();
                    Ok(Tensor::from_array((array.shape(), elements)).map_err(engine)?.upcast())
                })*
                tensor::Tensor::String(array) => {
                    let texts: Vec<String> = array.iter().cloned().collect();
                    without_nul(name, texts.iter())?;
                    Ok(Tensor::from_string_array((array.shape(), &texts[..])).map_err(engine)?.upcast())
                }
                tensor::Tensor::Packed(packed) => packed_value(allocator, packed),
            }
        };
    }
    by_type!(F16 Bf16 F32 F64 I8 I16 I32 I64 U8 U16 U32 U64 Bool)
}

fn packed_value(allocator: &Allocator, packed: &Packed) -> Result<DynTensor, ModelError> {
    let mut tensor = DynTensor::new(allocator, packed.element().to_ort(), packed.shape()).map_err(engine)?;
    match os::tensor_bytes_mut(&mut tensor) {
        Some(place) if place.len() == packed.bytes().len() => place.copy_from_slice(packed.bytes()),
        _ => return Err(ModelError::engine("memory of a tensor is not as large as its shape is")),
    }
    Ok(tensor)
}

/// ONNX Runtime's own words.
pub(crate) fn engine(error: ort::Error) -> ModelError {
    ModelError::engine(error.message())
}
