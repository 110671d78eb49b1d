//! Messages of gRPC as the library reads and writes requests: a head in JSON, and bytes of tensors behind it.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Number, Value as Json, json};
use switchback::Answer;
use switchback::model::onnx::Tensors;
use switchback::oip::Infer;
use tonic::Status;

use crate::inference::infer_parameter::ParameterChoice;
use crate::inference::model_infer_request::InferInputTensor;
use crate::inference::model_infer_response::InferOutputTensor;
use crate::inference::{InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse};

/// The header that says where the JSON ends.
const HEAD_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// Reads a request. All of its tensors become bytes, and all outputs are asked for as bytes: JSON has no form for FP16 or NaN.
pub(crate) fn parse(asked: ModelInferRequest) -> Result<Infer, Status> {
    let ModelInferRequest { id, parameters, inputs, outputs, raw_input_contents: raw, .. } = asked;
    // Before anything is made of each.
    if inputs.len().max(outputs.len()) > Infer::TENSORS_MAX {
        return Err(refused(format!("a request has at most {} inputs and outputs", Infer::TENSORS_MAX)));
    }
    if !raw.is_empty() && raw.len() != inputs.len() {
        return Err(refused(format!(
            "`raw_input_contents` are those of {} inputs, and the request has {}: send the bytes of each, in their order",
            raw.len(),
            inputs.len()
        )));
    }
    let (mut heads, mut bytes) = (Vec::new(), Vec::new());
    let mut raw = raw.into_iter();
    for InferInputTensor { name, datatype, shape, parameters, contents } in inputs {
        let before = bytes.len();
        match (contents, raw.next()) {
            (Some(_), Some(_)) => {
                return Err(refused(format!(
                    "input `{name}` has `contents`, and there are `raw_input_contents`: send one of them"
                )));
            }
            (None, Some(mut own)) => bytes.append(&mut own),
            // Contents without an element may be left out of a message.
            (contents, None) => put(&name, &datatype, &contents.unwrap_or_default(), &mut bytes)?,
        }
        let mut parameters = object(parameters)?;
        parameters.insert("binary_data_size".to_owned(), json!(bytes.len() - before));
        heads.push(json!({"name": name, "datatype": datatype, "shape": shape, "parameters": parameters}));
    }
    let mut wanted = Vec::new();
    for output in outputs {
        let mut parameters = object(output.parameters)?;
        parameters.insert("binary_data".to_owned(), json!(true));
        wanted.push(json!({"name": output.name, "parameters": parameters}));
    }
    let mut parameters = object(parameters)?;
    parameters.insert("binary_data_output".to_owned(), json!(true));
    // An id that is empty is none.
    let id = Some(id).filter(|id| !id.is_empty());
    let head = json!({"id": id, "parameters": parameters, "inputs": heads, "outputs": wanted});
    let mut body = head.to_string().into_bytes();
    let headers = HeaderMap::from_iter([(HEAD_LENGTH, HeaderValue::from(body.len()))]);
    body.append(&mut bytes);
    Infer::parse(&headers, &body).map_err(|error| refused(error.to_string()))
}

pub(crate) fn refused(why: String) -> Status {
    Status::invalid_argument(why)
}

fn object(parameters: BTreeMap<String, InferParameter>) -> Result<Map<String, Json>, Status> {
    let mut object = Map::new();
    for (name, InferParameter { parameter_choice }) in parameters {
        let value = match parameter_choice {
            None => Json::Null,
            Some(ParameterChoice::BoolParam(is)) => is.into(),
            Some(ParameterChoice::Int64Param(number)) => number.into(),
            Some(ParameterChoice::Uint64Param(number)) => number.into(),
            Some(ParameterChoice::StringParam(text)) => text.into(),
            Some(ParameterChoice::DoubleParam(number)) => Number::from_f64(number)
                .ok_or_else(|| refused(format!("`parameters.{name}` is a number that is not finite")))?
                .into(),
        };
        object.insert(name, value);
    }
    Ok(object)
}

/// Appends elements as they lie in memory. Whether there are as many as the shape has, the library says.
fn put(
    name: &str,
    datatype: &str,
    contents: &InferTensorContents,
    bytes: &mut Vec<u8>,
) -> Result<(), Status> {
    let field = match datatype {
        "BOOL" => "bool_contents",
        "INT8" | "INT16" | "INT32" => "int_contents",
        "INT64" => "int64_contents",
        "UINT8" | "UINT16" | "UINT32" => "uint_contents",
        "UINT64" => "uint64_contents",
        "FP32" => "fp32_contents",
        "FP64" => "fp64_contents",
        "BYTES" => "bytes_contents",
        "FP16" | "BF16" => "raw_input_contents",
        // The library says which there are.
        _ => return Ok(()),
    };
    let given = [
        ("bool_contents", contents.bool_contents.len()),
        ("int_contents", contents.int_contents.len()),
        ("int64_contents", contents.int64_contents.len()),
        ("uint_contents", contents.uint_contents.len()),
        ("uint64_contents", contents.uint64_contents.len()),
        ("fp32_contents", contents.fp32_contents.len()),
        ("fp64_contents", contents.fp64_contents.len()),
        ("bytes_contents", contents.bytes_contents.len()),
    ];
    if let Some((other, _)) = given.iter().find(|(other, elements)| *elements > 0 && *other != field) {
        return Err(refused(format!(
            "input `{name}` has `{other}`, and its datatype is {datatype}: send its elements in `{field}`"
        )));
    }
    macro_rules! all {
        ($numbers:expr) => {
            for number in $numbers {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        };
    }
    macro_rules! narrowed {
        ($numbers:expr, $whole:ty) => {
            for (at, number) in $numbers.iter().enumerate() {
                let number = <$whole>::try_from(*number).map_err(|_| {
                    refused(format!(
                        "element {at} of input `{name}` is a whole number that does not fit into {datatype}"
                    ))
                })?;
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        };
    }
    match datatype {
        "BOOL" => bytes.extend(contents.bool_contents.iter().map(|is| u8::from(*is))),
        "INT8" => narrowed!(&contents.int_contents, i8),
        "INT16" => narrowed!(&contents.int_contents, i16),
        "INT32" => all!(&contents.int_contents),
        "INT64" => all!(&contents.int64_contents),
        "UINT8" => narrowed!(&contents.uint_contents, u8),
        "UINT16" => narrowed!(&contents.uint_contents, u16),
        "UINT32" => all!(&contents.uint_contents),
        "UINT64" => all!(&contents.uint64_contents),
        "FP32" => all!(&contents.fp32_contents),
        "FP64" => all!(&contents.fp64_contents),
        "BYTES" => {
            for (at, text) in contents.bytes_contents.iter().enumerate() {
                let length = u32::try_from(text.len())
                    .map_err(|_| refused(format!("element {at} of input `{name}` has more than 4 GiB")))?;
                bytes.extend_from_slice(&length.to_le_bytes());
                bytes.extend_from_slice(text);
            }
        }
        _ => {}
    }
    Ok(())
}

/// The head of an answer, as the library writes it.
#[derive(Deserialize)]
struct Head {
    model_name: String,
    model_version: String,
    #[serde(default)]
    id: String,
    parameters: BTreeMap<String, String>,
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    datatype: String,
    shape: Vec<i64>,
    parameters: OfOutput,
}

#[derive(Deserialize)]
struct OfOutput {
    binary_data_size: usize,
}

/// Writes an answer, whose outputs are all in `raw_output_contents`.
pub(crate) fn respond(
    asked: &Infer,
    model: &str,
    answer: &Answer<Tensors>,
) -> Result<ModelInferResponse, Status> {
    let (headers, body) = asked.respond(model, answer).map_err(|error| refused(error.to_string()))?;
    let broken = |what: String| Status::internal(format!("the answer cannot be written: {what}"));
    let head_length = match headers.get(HEAD_LENGTH) {
        // Without outputs all of it is JSON.
        None => body.len(),
        Some(length) => length
            .to_str()
            .ok()
            .and_then(|length| length.parse().ok())
            .ok_or_else(|| broken(format!("{HEAD_LENGTH} is no number")))?,
    };
    let ended = || broken("its bytes end too early".to_owned());
    let (head, mut bytes) = body.split_at_checked(head_length).ok_or_else(ended)?;
    let head: Head = serde_json::from_slice(head).map_err(|error| broken(error.to_string()))?;
    let (mut outputs, mut raw) = (Vec::new(), Vec::new());
    for Output { name, datatype, shape, parameters } in head.outputs {
        let (own, rest) = bytes.split_at_checked(parameters.binary_data_size).ok_or_else(ended)?;
        bytes = rest;
        raw.push(own.to_vec());
        outputs.push(InferOutputTensor {
            name,
            datatype,
            shape,
            parameters: BTreeMap::new(),
            contents: None,
        });
    }
    let text =
        |(name, text)| (name, InferParameter { parameter_choice: Some(ParameterChoice::StringParam(text)) });
    Ok(ModelInferResponse {
        model_name: head.model_name,
        model_version: head.model_version,
        id: head.id,
        parameters: head.parameters.into_iter().map(text).collect(),
        outputs,
        raw_output_contents: raw,
    })
}
