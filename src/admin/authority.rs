//! Who may change something.

use std::fmt;

use http::header::AUTHORIZATION;
use http::request::Parts;
use subtle::ConstantTimeEq as _;
use thiserror::Error;

use crate::base::causes::debug_as_told;
use crate::base::text::bounded_text;

/// Whoever makes a change, as the log names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(pub(crate) String);

impl Actor {
    /// Somebody by the name that the host knows them by. Of one of more than 4,096 bytes the start is kept.
    pub fn new(name: impl Into<String>) -> Self {
        Self(bounded_text(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why somebody may not change anything.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthorizationError {
    /// It is not known who they are: 401.
    #[error(
        "it is not known who asks: send `Authorization: Bearer TOKEN` with the token that this service has"
    )]
    Unknown,
    /// They have the token, and say who they are in bytes that are no text: 400.
    #[error(
        "the header `Switchback-Actor` is no UTF-8: write the name in it, or in ASCII, or leave the header out"
    )]
    Unreadable,
    /// They are known, and may not: 403.
    #[error("{actor} may not change anything here")]
    Forbidden {
        /// Who asked.
        actor: String,
    },
}

debug_as_told!(AuthorizationError);

/// Says who asks for a change, and whether they may make it. A function of the request's head is one.
pub trait Authority: Send + Sync + 'static {
    /// Who asks. It is called for changes alone, and its panics are refusals.
    ///
    /// # Errors
    ///
    /// They may not.
    fn who(&self, request: &Parts) -> Result<Actor, AuthorizationError>;
}

impl<F: Fn(&Parts) -> Result<Actor, AuthorizationError> + Send + Sync + 'static> Authority for F {
    fn who(&self, request: &Parts) -> Result<Actor, AuthorizationError> {
        self(request)
    }
}

/// Everybody who has a token may change something. They say who they are in the header `Switchback-Actor`, in UTF-8, and nobody checks
/// that: it is for the log.
pub struct Bearer(String);

/// The header in which those with a token say who they are.
const ACTOR: &str = "switchback-actor";

/// A token of less could be guessed.
const TOKEN_MIN: usize = 16;

impl Bearer {
    /// Whoever has this token.
    ///
    /// # Errors
    ///
    /// It has less than 16 bytes, or something that the header in which it is sent does not carry: a line's end, a space before or
    /// behind it, a letter that is not of ASCII.
    pub fn new(token: impl Into<String>) -> Result<Self, BearerError> {
        let token = token.into();
        if token.len() < TOKEN_MIN {
            return Err(BearerError::Short { bytes: token.len() });
        }
        let (first, last) = (0, token.len() - 1);
        let is_carried =
            |(at, byte): (usize, u8)| byte.is_ascii_graphic() || (byte == b' ' && at != first && at != last);
        match token.bytes().enumerate().position(|byte| !is_carried(byte)) {
            Some(at) => Err(BearerError::NotCarried { at }),
            None => Ok(Self(token)),
        }
    }

    /// Whoever has the token in a variable of the environment, so that it stands in no file of the program's. White space around it,
    /// such as the end of the line of a file that it comes from, is no part of it.
    ///
    /// # Errors
    ///
    /// There is no such variable, or its value is none that [`new`](Self::new) takes.
    pub fn from_env(variable: &str) -> Result<Self, BearerError> {
        let missing = || BearerError::Missing { variable: variable.to_owned() };
        let token = std::env::var_os(variable).ok_or_else(missing)?;
        // What is no text has bytes that no header carries, which is what is told of it.
        let token = token.to_string_lossy().trim().to_owned();
        if token.is_empty() { Err(missing()) } else { Self::new(token) }
    }
}

impl Authority for Bearer {
    fn who(&self, request: &Parts) -> Result<Actor, AuthorizationError> {
        let header = |name: &str| request.headers.get(name)?.to_str().ok();
        let said = header(AUTHORIZATION.as_str()).and_then(|value| value.split_once(' '));
        let said = said.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"));
        let (_, said) = said.ok_or(AuthorizationError::Unknown)?;
        // As long whatever is wrong with it.
        if !bool::from(said.as_bytes().ct_eq(self.0.as_bytes())) {
            return Err(AuthorizationError::Unknown);
        }
        let actor = request.headers.get(ACTOR).map_or(b"".as_slice(), |name| name.as_bytes());
        let actor = std::str::from_utf8(actor).map_err(|_| AuthorizationError::Unreadable)?.trim();
        Ok(Actor::new(if actor.is_empty() {
            "somebody with the token".to_owned()
        } else {
            format!("{actor} (by token)")
        }))
    }
}

/// Without the token.
impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer").finish_non_exhaustive()
    }
}

/// Why a token will not do.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BearerError {
    /// It could be guessed.
    #[error(
        "the token has {bytes} bytes and must have {TOKEN_MIN} or more: draw one, for example with `openssl rand -hex 32`"
    )]
    Short {
        /// How many it has.
        bytes: usize,
    },
    /// It could never be sent: a header carries the signs of ASCII that are seen, and spaces between them.
    #[error(
        "the token has something at byte {at} that the header `Authorization` does not carry, such as a line's end: take letters, digits \
         and signs of ASCII"
    )]
    NotCarried {
        /// Where it stands, from 0.
        at: usize,
    },
    /// The variable is not set.
    #[error("the variable {variable} is not set: set it to the token")]
    Missing {
        /// Its name.
        variable: String,
    },
}

debug_as_told!(BearerError);
