//! Takes the inputs of one request from a pipeline's `encode`.

use std::sync::Arc;

use ndarray::{ArrayView, ArrayViewMut, Dimension};
use ort::memory::Allocator;
use ort::session::SessionInputValue;
use ort::value::{DynTensor, Shape, Tensor, TensorRef};
use smallvec::SmallVec;

use super::element::ElementType;
use super::interface::{INLINE, Interface};
use super::tensor;
use super::tensor::Primitive;
use super::tensors::{Tensors, Value};
use crate::model::error::{InputError, ModelError};

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
}

/// What was given, in the model's order. Nothing is missing.
pub(crate) struct Complete<'a> {
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
        Self { interface, buffers, given, next: 0 }
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
        let (index, _) = self.check(name, T::TYPE, shape)?;
        self.given[index] = Given::Buffer;
        let elements = self.buffers.get::<T>(index, shape)?;
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
        if texts.iter().any(|text| text.contains('\0')) {
            return Err(ModelError::input(format!("input `{name}` has a text with a NUL in it")));
        }
        self.given[index] =
            Given::View(Tensor::from_string_array((shape, &texts[..])).map_err(engine)?.into());
        Ok(())
    }

    /// All of `tensors`, each under its name, without a copy.
    ///
    /// # Errors
    ///
    /// Those of [`view`](Self::view) and [`strings`](Self::strings), and [`ModelError::Input`] for a sequence or a map.
    pub fn tensors(&mut self, tensors: &'a Tensors) -> Result<(), ModelError> {
        tensors.iter().try_for_each(|(name, value)| match value {
            Value::Tensor(tensor) => self.tensor(name, tensor),
            _ => Err(ModelError::input(format!("input `{name}` is a sequence or a map: inputs are tensors"))),
        })
    }

    fn tensor(&mut self, name: &str, tensor: &'a tensor::Tensor) -> Result<(), ModelError> {
        macro_rules! by_type {
            ($($primitive:ident)*) => {
                match tensor {
                    $(tensor::Tensor::$primitive(array) => self.view(name, array.view()),)*
                    tensor::Tensor::String(array) => self.strings(name, array.shape(), array.iter()),
                }
            };
        }
        by_type!(F16 Bf16 F32 F64 I8 I16 I32 I64 U8 U16 U32 U64 Bool)
    }

    /// The inputs of the model by name and type.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = (Arc<str>, ElementType)> {
        self.interface.inputs.iter().map(|input| (input.name.clone(), input.element))
    }

    /// Whether nothing is missing.
    #[inline]
    pub(crate) fn complete(&self) -> Result<(), InputError> {
        match self.given.iter().position(|given| matches!(given, Given::Nothing)) {
            Some(index) => Err(self.interface.missing(index)),
            None => Ok(()),
        }
    }

    /// What was given, once nothing is missing.
    pub(crate) fn finish(self) -> Result<Complete<'a>, ModelError> {
        self.complete()?;
        Ok(Complete { given: self.given })
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
        let empty = |element: ElementType| DynTensor::new(&allocator, element.to_ort(), [0_usize]);
        let values = interface.inputs.iter().map(|input| empty(input.element).map(SessionInputValue::from));
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

/// ONNX Runtime's own words.
pub(crate) fn engine(error: ort::Error) -> ModelError {
    ModelError::engine(error.message())
}
