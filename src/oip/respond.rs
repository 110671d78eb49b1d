//! An answer, written.

use std::io::Write as _;

use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde::Serialize;

use super::datatype::name_of;
use super::error::Error;
use super::infer::{HEADER_LENGTH, Infer};
use crate::model::onnx::{Tensor, Tensors, Value};
use crate::request::answer::Answer;

impl Infer {
    /// Returns the answer for whoever asked: headers and a body, for a response with the status 200. `model_version` is
    /// the version whose answer it is; `parameters` have the `prediction_id`, for what turns out to be true later, and
    /// the `route`.
    ///
    /// # Errors
    ///
    /// Those of [`respond_with`](Self::respond_with).
    pub fn respond(&self, model: &str, answer: &Answer<Tensors>) -> Result<(HeaderMap, Vec<u8>), Error> {
        let (id, route) = (answer.id().to_string(), serde_json::to_value(answer.route()));
        let route = route.map_err(|error| Error::new(error.to_string()))?;
        let parameters = [("prediction_id", id.as_str()), ("route", route.as_str().unwrap_or_default())];
        self.respond_with(model, answer.version().as_str(), answer.output(), &parameters)
    }

    /// The same of outputs that the host has at hand, with parameters of its own: of a handle whose answers are no [`Tensors`].
    ///
    /// # Errors
    ///
    /// An output is asked for that there is not; it has no form in the protocol (a sequence, a map, elements of a type that
    /// ONNX alone has), or none in JSON and was not asked for as bytes: FP16, BF16, NaN and infinities.
    pub fn respond_with(
        &self,
        model: &str,
        version: &str,
        outputs: &Tensors,
        parameters: &[(&str, &str)],
    ) -> Result<(HeaderMap, Vec<u8>), Error> {
        let mut json = Vec::new();
        let mut bytes = Vec::new();
        json.extend_from_slice(b"{\"model_name\":");
        put(&mut json, model)?;
        json.extend_from_slice(b",\"model_version\":");
        put(&mut json, version)?;
        if let Some(id) = &self.id {
            json.extend_from_slice(b",\"id\":");
            put(&mut json, id)?;
        }
        json.extend_from_slice(b",\"parameters\":{");
        for (place, (name, value)) in parameters.iter().enumerate() {
            json.extend_from_slice(if place == 0 { b"" } else { b"," });
            put(&mut json, name)?;
            json.push(b':');
            put(&mut json, value)?;
        }
        json.extend_from_slice(b"},\"outputs\":[");
        let mut has_bytes = false;
        let mut write = |place: usize, name: &str, value: &Value, binary: bool| {
            json.extend_from_slice(if place == 0 { b"" } else { b"," });
            has_bytes |= binary;
            output(&mut json, &mut bytes, name, value, binary)
        };
        if self.outputs.is_empty() {
            for (place, (name, value)) in outputs.iter().enumerate() {
                write(place, name, value, self.binary)?;
            }
        }
        for (place, wanted) in self.outputs.iter().enumerate() {
            let Some(value) = outputs.value(&wanted.name) else {
                let names: Vec<_> = outputs.iter().map(|(name, _)| format!("`{name}`")).collect();
                return Err(Error::new(format!(
                    "there is no output `{}`: the model gives {}",
                    wanted.name,
                    names.join(", ")
                )));
            };
            write(place, &wanted.name, value, wanted.binary)?;
        }
        json.extend_from_slice(b"]}");
        let mut headers = HeaderMap::new();
        if has_bytes {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            headers.insert(HeaderName::from_static(HEADER_LENGTH), HeaderValue::from(json.len()));
            json.append(&mut bytes);
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok((headers, json))
    }
}

fn put(json: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
    serde_json::to_writer(json, value).map_err(|error| Error::new(error.to_string()))
}

fn output(
    json: &mut Vec<u8>,
    bytes: &mut Vec<u8>,
    name: &str,
    value: &Value,
    binary: bool,
) -> Result<(), Error> {
    let refused = |why: &str| Error::new(format!("output `{name}` {why}"));
    let Value::Tensor(tensor) = value else {
        return Err(refused(
            "is a sequence or a map, which the protocol has no form for: ask for other outputs by name",
        ));
    };
    let datatype = name_of(tensor.element()).ok_or_else(|| {
        refused("has elements that the protocol has no type for: ask for other outputs by name")
    })?;
    json.extend_from_slice(b"{\"name\":");
    put(json, name)?;
    json.extend_from_slice(b",\"datatype\":");
    put(json, datatype)?;
    json.extend_from_slice(b",\"shape\":");
    put(json, tensor.shape())?;
    if binary {
        let before = bytes.len();
        put_bytes(bytes, tensor)
            .ok_or_else(|| refused("has a text of more than 4 GiB, which BYTES have no form for"))?;
        let size = bytes.len() - before;
        json.extend_from_slice(b",\"parameters\":{\"binary_data_size\":");
        put(json, &size)?;
        json.extend_from_slice(b"}}");
    } else {
        json.extend_from_slice(b",\"data\":");
        put_data(json, tensor, &refused)?;
        json.push(b'}');
    }
    Ok(())
}

/// Row by row, whatever the array's own order; nothing where a text is too long.
fn put_bytes(bytes: &mut Vec<u8>, tensor: &Tensor) -> Option<()> {
    macro_rules! by_type {
        ($($primitive:ident)*) => {
            match tensor {
                $(Tensor::$primitive(array) => {
                    for element in array {
                        bytes.extend_from_slice(&element.to_le_bytes());
                    }
                })*
                Tensor::Bool(array) => bytes.extend(array.iter().map(|is| u8::from(*is))),
                Tensor::String(array) => {
                    for text in array {
                        bytes.extend_from_slice(&u32::try_from(text.len()).ok()?.to_le_bytes());
                        bytes.extend_from_slice(text.as_bytes());
                    }
                }
                Tensor::Packed(_) => return None,
            }
        };
    }
    by_type!(F16 Bf16 F32 F64 I8 I16 I32 I64 U8 U16 U32 U64);
    Some(())
}

fn put_data(json: &mut Vec<u8>, tensor: &Tensor, refused: &dyn Fn(&str) -> Error) -> Result<(), Error> {
    const NOT_FINITE: &str =
        "has NaN or an infinity in it, which JSON has no form for: ask for it with `parameters.binary_data`";
    macro_rules! list {
        ($array:expr) => {
            put(json, &Listed($array.iter()))
        };
    }
    match tensor {
        Tensor::Bool(array) => list!(array),
        Tensor::U8(array) => list!(array),
        Tensor::U16(array) => list!(array),
        Tensor::U32(array) => list!(array),
        Tensor::U64(array) => list!(array),
        Tensor::I8(array) => list!(array),
        Tensor::I16(array) => list!(array),
        Tensor::I32(array) => list!(array),
        Tensor::I64(array) => list!(array),
        Tensor::String(array) => list!(array),
        Tensor::F64(array) if array.iter().all(|number| number.is_finite()) => list!(array),
        Tensor::F32(array) if array.iter().all(|number| number.is_finite()) => {
            json.push(b'[');
            for (place, &number) in array.iter().enumerate() {
                json.extend_from_slice(if place == 0 { b"" } else { b"," });
                put_f32(json, number)?;
            }
            json.push(b']');
            Ok(())
        }
        Tensor::F32(_) | Tensor::F64(_) => Err(refused(NOT_FINITE)),
        Tensor::F16(_) | Tensor::Bf16(_) | Tensor::Packed(_) => {
            Err(refused("has a type that has no form in JSON: ask for it with `parameters.binary_data`"))
        }
    }
}

/// As short as it can be. A reader makes an `f64` of it first, and rounding twice may give a neighbour: then as an `f64` it is exact.
fn put_f32(json: &mut Vec<u8>, number: f32) -> Result<(), Error> {
    let start = json.len();
    write!(json, "{number:?}").map_err(|error| Error::new(error.to_string()))?;
    let read = std::str::from_utf8(&json[start..]).ok().and_then(|text| text.parse::<f64>().ok());
    if read.map(|read| (read as f32).to_bits()) != Some(number.to_bits()) {
        json.truncate(start);
        put(json, &f64::from(number))?;
    }
    Ok(())
}

/// A list in JSON of what an iterator gives.
struct Listed<I>(I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for Listed<I> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}
