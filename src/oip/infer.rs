//! A request for an inference, read.

use std::collections::HashSet;
use std::fmt;

use half::{bf16, f16};
use http::HeaderMap;
use ndarray::ArrayD;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value as Json};

use super::data::{Data, Scalar};
use super::datatype::of_name;
use super::error::Error;
use crate::base::objects::from_json;
use crate::model::onnx::{Element, ElementType, Tensor, Tensors};

/// The header that says where the JSON ends and bytes of tensors begin.
pub(crate) const HEADER_LENGTH: &str = "inference-header-content-length";

/// A request for an inference: the tensors, and how it wants to be answered.
///
/// `Debug` shows names, types and shapes, never a value, an id or a key.
#[derive(Clone, PartialEq)]
pub struct Infer {
    pub(crate) tensors: Tensors,
    pub(crate) id: Option<String>,
    pub(crate) key: Option<String>,
    /// None asks for all.
    pub(crate) outputs: Vec<Wanted>,
    /// How outputs are given that are not asked for by name.
    pub(crate) binary: bool,
}

/// An output that is asked for by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) binary: bool,
}

/// What may be left out may be null too: clients write so what they have nothing for.
fn or_nothing<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    id: Option<String>,
    #[serde(default, deserialize_with = "or_nothing")]
    parameters: Map<String, Json>,
    inputs: Vec<Given>,
    #[serde(default, deserialize_with = "or_nothing")]
    outputs: Vec<Asked>,
}

#[derive(Deserialize)]
struct Given {
    name: String,
    datatype: String,
    shape: Vec<Number>,
    #[serde(default, deserialize_with = "or_nothing")]
    parameters: Map<String, Json>,
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Asked {
    name: String,
    #[serde(default, deserialize_with = "or_nothing")]
    parameters: Map<String, Json>,
}

impl Infer {
    /// The most tensors that a request may have, and the most outputs that it may name.
    pub const TENSORS_MAX: usize = 1_024;
    /// The most dimensions that a tensor may have.
    pub const DIMENSIONS_MAX: usize = 32;

    /// Reads the head and the body of a `POST` to `…/infer`, once `Content-Encoding` is undone. Of the headers
    /// `Inference-Header-Content-Length` alone is looked at: where it is missing, all of the body is JSON.
    ///
    /// Whether the model has such inputs, the model says when it is asked.
    ///
    /// # Errors
    ///
    /// Refuses what cannot be read, with a sentence that names the tensor and the field: JSON that is none or is nested
    /// too deeply, a type that is not of the protocol, a shape that has not as many elements as there are, elements of
    /// another type, bytes too few or left over, a name twice, and parameters that ask for shared memory, classification
    /// or sequences.
    pub fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, Error> {
        let (json, mut bytes) = split(headers, body)?;
        let request: Request = from_json(json)
            .map_err(|error| Error::new(format!("the JSON of the request cannot be read: {error}")))?;
        for name in ["sequence_id", "sequence_start", "sequence_end"] {
            if is_said(&request.parameters, name) {
                return Err(Error::new(format!(
                    "`parameters.{name}` is not known here: to have one version answer all of a sequence, send `parameters.key`"
                )));
            }
        }
        if request.inputs.len().max(request.outputs.len()) > Self::TENSORS_MAX {
            return Err(Error::new(format!(
                "a request has at most {} inputs and outputs",
                Self::TENSORS_MAX
            )));
        }
        let binary = flag(&request.parameters, "binary_data_output", "the request")?.unwrap_or(false);
        let key = match request.parameters.get("key") {
            None | Some(Json::Null) => None,
            Some(Json::String(key)) => Some(key.clone()),
            Some(Json::Number(key)) if !key.is_f64() => Some(key.to_string()),
            Some(_) => return Err(Error::new("`parameters.key` is a text or a whole number")),
        };
        let mut tensors = Tensors::new();
        for given in request.inputs {
            let (name, tensor) = read(given, &mut bytes)?;
            tensors = tensors
                .with(name.as_str(), tensor)
                .map_err(|_| Error::new(format!("input `{name}` is given twice: give each once")))?;
        }
        if !bytes.is_empty() {
            return Err(Error::new(format!(
                "{} bytes are left over behind the tensors: the `binary_data_size` of all inputs make up what follows the JSON",
                bytes.len()
            )));
        }
        let mut names = HashSet::new();
        let mut outputs = Vec::new();
        for Asked { name, parameters } in request.outputs {
            let what = format!("output `{name}`");
            refuse_extensions(&parameters, &what)?;
            let binary = flag(&parameters, "binary_data", &what)?.unwrap_or(binary);
            if !names.insert(name.clone()) {
                return Err(Error::new(format!("{what} is asked for twice: ask for each once")));
            }
            outputs.push(Wanted { name, binary });
        }
        Ok(Self { tensors, id: request.id, key, outputs, binary })
    }

    /// Returns the tensors that the model is asked, in the order of the request.
    pub fn tensors(&self) -> &Tensors {
        &self.tensors
    }

    /// The same, for whoever needs nothing else of the request.
    pub fn into_tensors(self) -> Tensors {
        self.tensors
    }

    /// The request's id, which its answer repeats.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whose request it is, from `parameters.key`: for [`predict_keyed`](crate::ModelHandle::predict_keyed).
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The outputs that are asked for by name; none asks for all.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = &str> {
        self.outputs.iter().map(|wanted| wanted.name.as_str())
    }
}

impl fmt::Debug for Infer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Infer")
            .field("tensors", &self.tensors)
            .field("outputs", &self.outputs)
            .field("binary", &self.binary)
            .finish_non_exhaustive()
    }
}

/// The JSON, and the bytes behind it.
fn split<'b>(headers: &HeaderMap, body: &'b [u8]) -> Result<(&'b [u8], &'b [u8]), Error> {
    let mut found = headers.get_all(HEADER_LENGTH).iter();
    let Some(length) = found.next() else { return Ok((body, &[])) };
    let length =
        length.to_str().ok().filter(|text| !text.starts_with('+')).and_then(|text| text.parse().ok());
    match length {
        Some(length) if found.next().is_none() => body.split_at_checked(length).ok_or_else(|| {
            Error::new(format!(
                "`Inference-Header-Content-Length` is {length} and the body has {} bytes: it counts the bytes of the JSON before compression",
                body.len()
            ))
        }),
        _ => Err(Error::new("`Inference-Header-Content-Length` is one whole number: the bytes of the JSON")),
    }
}

fn is_said(parameters: &Map<String, Json>, name: &str) -> bool {
    parameters.get(name).is_some_and(|value| !value.is_null())
}

fn flag(parameters: &Map<String, Json>, name: &str, what: &str) -> Result<Option<bool>, Error> {
    match parameters.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(Error::new(format!("`parameters.{name}` of {what} is true or false"))),
    }
}

/// Refuses what is asked in parameters of a tensor and is not done here.
fn refuse_extensions(parameters: &Map<String, Json>, what: &str) -> Result<(), Error> {
    let mut said = parameters.iter().filter(|(_, value)| !value.is_null());
    if said.any(|(name, _)| name.starts_with("shared_memory")) {
        return Err(Error::new(format!(
            "{what} is in shared memory, which is not done here: send it with the request"
        )));
    }
    if is_said(parameters, "classification") {
        return Err(Error::new(format!(
            "`parameters.classification` of {what} is not done here: ask for the output itself and sort its scores"
        )));
    }
    Ok(())
}

/// One input, whose bytes, where it has any, are the next ones.
fn read(given: Given, bytes: &mut &[u8]) -> Result<(String, Tensor), Error> {
    let Given { name, datatype, shape, parameters, data } = given;
    let what = format!("input `{name}`");
    refuse_extensions(&parameters, &what)?;
    let element = of_name(&datatype).ok_or_else(|| {
        Error::new(format!(
            "{what} has the datatype `{datatype}`: it is one of BOOL, UINT8 to UINT64, INT8 to INT64, FP16, FP32, FP64, BF16 and BYTES"
        ))
    })?;
    let (shape, elements) = sizes(&what, &shape)?;
    let size = match parameters.get("binary_data_size") {
        None | Some(Json::Null) => None,
        Some(size) => Some(size.as_u64().and_then(|size| usize::try_from(size).ok()).ok_or_else(|| {
            Error::new(format!("`parameters.binary_data_size` of {what} is a whole number of bytes"))
        })?),
    };
    let tensor = match (data, size) {
        (Some(data), None) => of_json(&what, &datatype, element, shape, elements, data)?,
        (None, Some(size)) => {
            let (own, rest) = bytes.split_at_checked(size).ok_or_else(|| {
                Error::new(format!(
                    "{what} has {size} bytes by its `binary_data_size`, and {} follow: send them behind the JSON, with `Inference-Header-Content-Length`",
                    bytes.len()
                ))
            })?;
            *bytes = rest;
            of_bytes(&what, &datatype, element, shape, elements, own)?
        }
        (Some(_), Some(_)) => {
            return Err(Error::new(format!(
                "{what} has both `data` and `binary_data_size`: send one of them"
            )));
        }
        (None, None) => {
            return Err(Error::new(format!(
                "{what} has no elements: send `data` or `parameters.binary_data_size`"
            )));
        }
    };
    Ok((name, tensor))
}

/// A shape, and how many elements it has.
fn sizes(what: &str, shape: &[Number]) -> Result<(Vec<usize>, usize), Error> {
    if shape.len() > Infer::DIMENSIONS_MAX {
        return Err(Error::new(format!("{what} has more than {} dimensions", Infer::DIMENSIONS_MAX)));
    }
    let sizes: Option<Vec<usize>> =
        shape.iter().map(|size| size.as_u64().and_then(|size| usize::try_from(size).ok())).collect();
    let sizes = sizes.ok_or_else(|| {
        Error::new(format!(
            "the `shape` of {what} has a size that is none: send the sizes that it has, none below 0"
        ))
    })?;
    // Zeros aside, since memory is laid out by the other sizes too.
    let most = sizes
        .iter()
        .filter(|size| **size != 0)
        .try_fold(1_usize, |product, size| product.checked_mul(*size))
        .filter(|most| isize::try_from(*most).is_ok())
        .ok_or_else(|| Error::new(format!("the `shape` of {what} has more elements than memory")))?;
    let elements = if sizes.contains(&0) { 0 } else { most };
    Ok((sizes, elements))
}

fn array<T: Element>(what: &str, shape: &[usize], elements: Vec<T>) -> Result<Tensor, Error> {
    let array = ArrayD::from_shape_vec(shape, elements)
        .map_err(|error| Error::new(format!("the `shape` of {what} does not fit: {error}")))?;
    Ok(array.into())
}

fn of_json(
    what: &str,
    datatype: &str,
    element: ElementType,
    shape: Vec<usize>,
    elements: usize,
    data: Data,
) -> Result<Tensor, Error> {
    if matches!(element, ElementType::F16 | ElementType::Bf16) {
        return Err(Error::new(format!(
            "{what} is {datatype}, which has no form in JSON: send it as bytes, with `parameters.binary_data_size`"
        )));
    }
    let Data { scalars, sizes, is_ragged, .. } = data;
    if is_ragged || sizes.is_empty() {
        return Err(Error::new(format!(
            "the `data` of {what} is neither a list of elements nor lists of lists that are alike: send it flat, row by row"
        )));
    }
    if scalars.len() != elements {
        return Err(Error::new(format!(
            "the `data` of {what} has {} elements, and its `shape` {shape:?} has {elements}: make them agree",
            scalars.len()
        )));
    }
    // With a zero in the shape, lists end where there is nothing in them.
    let is_nested_so = if elements == 0 { shape.starts_with(&sizes) } else { shape == sizes };
    if sizes.len() > 1 && !is_nested_so {
        return Err(Error::new(format!(
            "the `data` of {what} is nested as {sizes:?}, and its `shape` is {shape:?}: nest it so, or send it flat, row by row"
        )));
    }
    let wrong = |at: usize, scalar: &Scalar| {
        Error::new(format!(
            "element {at} of {what} is {}, which is no {datatype} or does not fit",
            scalar.kind()
        ))
    };
    macro_rules! elements {
        ($read:expr) => {{
            let read = $read;
            let all: Result<Vec<_>, Error> = scalars
                .into_iter()
                .enumerate()
                .map(|(at, scalar)| read(&scalar).ok_or_else(|| wrong(at, &scalar)))
                .collect();
            array(what, &shape, all?)
        }};
    }
    macro_rules! whole {
        ($whole:ty) => {
            elements!(|scalar: &Scalar| match scalar {
                Scalar::Unsigned(number) => <$whole>::try_from(*number).ok(),
                Scalar::Signed(number) => <$whole>::try_from(*number).ok(),
                _ => None,
            })
        };
    }
    match element {
        ElementType::Bool => elements!(|scalar: &Scalar| match scalar {
            Scalar::Bool(is) => Some(*is),
            _ => None,
        }),
        ElementType::U8 => whole!(u8),
        ElementType::U16 => whole!(u16),
        ElementType::U32 => whole!(u32),
        ElementType::U64 => whole!(u64),
        ElementType::I8 => whole!(i8),
        ElementType::I16 => whole!(i16),
        ElementType::I32 => whole!(i32),
        ElementType::I64 => whole!(i64),
        ElementType::F32 => elements!(|scalar: &Scalar| match scalar {
            Scalar::Unsigned(number) => Some(*number as f32),
            Scalar::Signed(number) => Some(*number as f32),
            Scalar::Float(number) => Some(*number as f32).filter(|number| number.is_finite()),
            _ => None,
        }),
        ElementType::F64 => elements!(|scalar: &Scalar| match scalar {
            Scalar::Unsigned(number) => Some(*number as f64),
            Scalar::Signed(number) => Some(*number as f64),
            Scalar::Float(number) => Some(*number),
            _ => None,
        }),
        _ => {
            let mut texts = Vec::new();
            for (at, scalar) in scalars.into_iter().enumerate() {
                match scalar {
                    Scalar::Text(text) => texts.push(text),
                    other => return Err(wrong(at, &other)),
                }
            }
            array(what, &shape, texts)
        }
    }
}

fn of_bytes(
    what: &str,
    datatype: &str,
    element: ElementType,
    shape: Vec<usize>,
    elements: usize,
    bytes: &[u8],
) -> Result<Tensor, Error> {
    macro_rules! fixed {
        ($element:ty) => {{
            let (all, rest) = bytes.as_chunks::<{ size_of::<$element>() }>();
            if all.len() != elements || !rest.is_empty() {
                return Err(Error::new(format!(
                    "{what} has {} bytes, and {datatype} of the `shape` {shape:?} has {elements} elements of {} bytes: make them agree",
                    bytes.len(),
                    size_of::<$element>()
                )));
            }
            all.iter().map(|bytes| <$element>::from_le_bytes(*bytes)).collect::<Vec<_>>()
        }};
    }
    match element {
        ElementType::Bool => {
            let all = fixed!(u8);
            if let Some(at) = all.iter().position(|byte| *byte > 1) {
                return Err(Error::new(format!("element {at} of {what} is no BOOL: it is a byte, 0 or 1")));
            }
            array(what, &shape, all.into_iter().map(|byte| byte == 1).collect())
        }
        ElementType::U8 => array(what, &shape, fixed!(u8)),
        ElementType::U16 => array(what, &shape, fixed!(u16)),
        ElementType::U32 => array(what, &shape, fixed!(u32)),
        ElementType::U64 => array(what, &shape, fixed!(u64)),
        ElementType::I8 => array(what, &shape, fixed!(i8)),
        ElementType::I16 => array(what, &shape, fixed!(i16)),
        ElementType::I32 => array(what, &shape, fixed!(i32)),
        ElementType::I64 => array(what, &shape, fixed!(i64)),
        ElementType::F16 => array(what, &shape, fixed!(f16)),
        ElementType::Bf16 => array(what, &shape, fixed!(bf16)),
        ElementType::F32 => array(what, &shape, fixed!(f32)),
        ElementType::F64 => array(what, &shape, fixed!(f64)),
        _ => array(what, &shape, texts(what, elements, bytes)?),
    }
}

/// Texts, each behind its length in four bytes.
fn texts(what: &str, elements: usize, mut bytes: &[u8]) -> Result<Vec<String>, Error> {
    let short = |at: usize| {
        Error::new(format!(
            "the bytes of {what} end in element {at} of {elements}: an element of BYTES is its length in 4 bytes, little-endian, and itself"
        ))
    };
    let mut texts = Vec::new();
    for at in 0..elements {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| short(at))?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| short(at))?;
        let (text, rest) = rest.split_at_checked(length).ok_or_else(|| short(at))?;
        let text = std::str::from_utf8(text).map_err(|_| {
            Error::new(format!("element {at} of {what} is not UTF-8, which texts in ONNX are: send text"))
        })?;
        texts.push(text.to_owned());
        bytes = rest;
    }
    if !bytes.is_empty() {
        return Err(Error::new(format!(
            "{} bytes are left over in {what} behind its {elements} elements: make its `shape` and `binary_data_size` agree",
            bytes.len()
        )));
    }
    Ok(texts)
}
