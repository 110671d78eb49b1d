//! Tells an error together with its causes.
//!
//! Of an error of ours the message tells its causes, since most services print that alone, at three in the morning; what it tells is a field,
//! `cause`, to be matched, and no `source()`, or whoever prints all causes would read it twice. `source()` has what the message does not:
//! that of an error which is passed on as it is. `.ci/house.py` looks at every error.

use std::error::Error;

use crate::base::guarded::{guarded, let_go};
use crate::base::text::bounded_text;

/// An error's message with those of its causes, as far as it does not give them itself: for events and status, which keep
/// texts, so it is bounded. An error may be the host's, and its `Display` the host's code.
pub(crate) fn in_full(error: &dyn Error) -> String {
    let told = guarded(|| {
        let (mut text, mut cause) = (bounded_text(error.to_string()), error.source());
        // An error may be its own cause.
        for _ in 0..CAUSES_MAX {
            let Some(error) = cause else { break };
            let told = bounded_text(error.to_string());
            if !text.contains(&told) {
                text = format!("{text}: {told}");
            }
            cause = error.source();
        }
        text
    });
    told.map_or_else(
        |_| String::from("an error whose message cannot be told: its `Display` panicked"),
        bounded_text,
    )
}

/// `Debug` of a public error is what it says to people, with its causes. It is what `fn main() -> Result<(), Box<dyn Error>>`,
/// `unwrap()` and a log's `error = ?error` print, at the moments when somebody needs to know what to do; a derived one prints
/// fields instead of that sentence. What the variant is, a program asks by matching.
macro_rules! debug_as_told {
    ($error:ty) => {
        impl std::fmt::Debug for $error {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&$crate::base::causes::in_full(self))
            }
        }
    };
}
pub(crate) use debug_as_told;

/// Causes of one error that are told.
const CAUSES_MAX: usize = 16;

/// The same, and lets go of the error: its destructor may be the host's too.
pub(crate) fn told(error: impl Error) -> String {
    let text = in_full(&error);
    let_go(error);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once_and_debug_says_what_people_read() {
        #[derive(thiserror::Error)]
        #[error("a.onnx cannot be read")]
        struct Read(#[source] std::io::Error);
        debug_as_told!(Read);
        #[derive(thiserror::Error)]
        #[error("no licence: {0}")]
        struct TellsItself(#[source] std::io::Error);
        debug_as_told!(TellsItself);

        let io = || std::io::Error::other("the disk is gone");
        assert_eq!(in_full(&Read(io())), "a.onnx cannot be read: the disk is gone");
        assert_eq!(in_full(&TellsItself(io())), "no licence: the disk is gone");
        assert_eq!(format!("{:?}", Read(io())), in_full(&Read(io())));
        assert_eq!(format!("{:#?}", TellsItself(io())), "no licence: the disk is gone");
    }
}
