//! The error of a faulty request.

use crate::base::causes::debug_as_told;
use http::StatusCode;

/// A fault in a request, as a sentence that names the field and says what to do.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Error {
    sentence: String,
}

debug_as_told!(Error);

impl Error {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into() }
    }

    /// Returns the status to answer with: 400, always.
    pub fn status(&self) -> StatusCode {
        StatusCode::BAD_REQUEST
    }

    /// Returns the body that clients of the protocol read: `{"error": "…"}`, of the type `application/json`.
    pub fn body(&self) -> Vec<u8> {
        serde_json::json!({ "error": self.sentence }).to_string().into_bytes()
    }
}
