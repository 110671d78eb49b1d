//! The [Open Inference Protocol](https://github.com/kserve/open-inference-protocol) (KServe V2) over HTTP, with Triton's extension
//! for binary tensors: what a client sends becomes [`Tensors`](crate::model::onnx::Tensors), and an answer becomes what it reads.
//!
//! It is a codec: bytes to values and back. It opens no port, asks no model and knows no path.
//!
//! ```
//! use http::HeaderMap;
//! use switchback::model::onnx::Tensors;
//! use switchback::oip::Infer;
//! use switchback::{ModelHandle, closure};
//!
//! // An `OnnxModel` without a pipeline takes and gives `Tensors` too.
//! let late = ModelHandle::builder("late").live("v1", closure("same@1", |x: &Tensors| Ok(x.clone()))).build()?;
//! let body = br#"{"id": "7", "inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [0.5, 1]}]}"#;
//!
//! let asked = Infer::parse(&HeaderMap::new(), body)?;
//! let answer = match asked.key() {
//!     Some(key) => late.predict_keyed(key, asked.tensors())?,
//!     None => late.predict(asked.tensors())?,
//! };
//! let (headers, body) = asked.respond("late", &answer)?;
//! assert_eq!(headers["content-type"], "application/json");
//! assert!(String::from_utf8(body)?.contains(r#""data":[0.5,1.0]"#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is read
//!
//! - The datatypes BOOL, UINT8 to UINT64, INT8 to INT64, FP16, FP32, FP64, BF16 and BYTES, as `data` of JSON, flat or nested, or as bytes
//!   behind the JSON. FP16 and BF16 have no form in JSON. BYTES are text, since ONNX has no other.
//! - `id`; `parameters.key`, a text or a whole number, for [`predict_keyed`](crate::ModelHandle::predict_keyed); `outputs` and which of
//!   them are wanted as bytes: `parameters.binary_data` of an output goes before `parameters.binary_data_output` of the request.
//! - Other parameters are ignored, except those that ask for what is not done here: shared memory, classification, sequences.
//!
//! Whoever hosts it undoes `Content-Encoding` first: `Inference-Header-Content-Length` counts bytes that are not compressed. They
//! also bound the body: an element of `data` in JSON takes 24 bytes while it is read, and up to twice that while the list grows. Sizes that a request claims are held
//! against the bytes that are there before anything is allocated for them.
//!
//! What turned out to be true of an answer is ours, and the protocol knows nothing of it: [`Feedback`].
//!
//! # What is written
//!
//! NaN and infinities have no form in JSON: such an output is refused with a sentence that says to ask for it as bytes, rather than
//! passed as `null`, which a client would take for something else. Numbers of JSON come back to the last bit.

pub(crate) mod data;
pub(crate) mod datatype;
pub(crate) mod error;
pub(crate) mod feedback;
pub(crate) mod index;
pub(crate) mod infer;
pub(crate) mod metadata;
pub(crate) mod respond;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use feedback::Feedback;
pub use http;
pub use index::repository_index;
pub use infer::Infer;
pub use metadata::{model_metadata, model_ready, server_live, server_metadata, server_ready};
