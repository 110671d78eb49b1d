//! Answers over HTTP: a status, what goes with it, and nothing that a browser could misuse.

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName,
    HeaderValue, REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use serde::Serialize;

/// The answer, before it is written.
pub(crate) struct Answer {
    status: StatusCode,
    kind: &'static str,
    body: Vec<u8>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

pub(crate) const JSON: &str = "application/json";
pub(crate) const JSON_LINES: &str = "application/x-ndjson";
pub(crate) const HTML: &str = "text/html; charset=utf-8";
pub(crate) const MARKDOWN: &str = "text/markdown; charset=utf-8";

impl Answer {
    pub(crate) fn new(kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status: StatusCode::OK, kind, body: body.into(), headers: Vec::new() }
    }

    pub(crate) fn json(value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(JSON, body),
            // Of plain data with names for keys there is nothing that cannot be written.
            Err(error) => Self::refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    pub(crate) fn refused(status: StatusCode, why: impl Into<String>) -> Self {
        let body = serde_json::json!({ "error": why.into() }).to_string();
        Self { status, ..Self::new(JSON, body) }
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::refused(StatusCode::NOT_FOUND, format!("there is no {what}"))
    }

    pub(crate) fn only(method: &'static str) -> Self {
        let refused = Self::refused(StatusCode::METHOD_NOT_ALLOWED, format!("this takes {method} alone"));
        refused.with(ALLOW, HeaderValue::from_static(method))
    }

    pub(crate) fn unknown(why: String) -> Self {
        Self::refused(StatusCode::UNAUTHORIZED, why)
            .with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// Returns the answer to `HEAD`: the length that is told is that of the answer to `GET`. Unless it is told here, a server tells
    /// that of the empty body.
    pub(crate) fn without_body(self) -> Self {
        let length = HeaderValue::from(self.body.len());
        Self { body: Vec::new(), ..self }.with(CONTENT_LENGTH, length)
    }

    pub(crate) fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// With the routing table that it shows.
    pub(crate) fn of_epoch(self, epoch: u64) -> Self {
        match HeaderValue::try_from(tag(epoch)) {
            Ok(value) => self.with(ETAG, value),
            Err(_) => self,
        }
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn into_response(self) -> Response<Vec<u8>> {
        let Self { status, kind, body, headers } = self;
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let fixed = [
            (CONTENT_TYPE, kind),
            // Figures of this moment.
            (CACHE_CONTROL, "no-store"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            // Styles stand in the page, and nothing else is loaded, run or framed.
            (
                CONTENT_SECURITY_POLICY,
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
            ),
        ];
        let fixed = fixed.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value)));
        response.headers_mut().extend(fixed.chain(headers).map(|(name, value)| (Some(name), value)));
        response
    }
}

/// Returns the `ETag` of a routing table.
pub(crate) fn tag(epoch: u64) -> String {
    format!("\"{epoch}\"")
}
