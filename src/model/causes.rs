//! Tells an error together with its causes.

use std::error::Error;

/// An error's message with those of its causes, as far as it does not give them itself: for events and status, which keep
/// texts.
pub(crate) fn in_full(error: &dyn Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::error::LoadError;

    #[test]
    fn a_cause_is_told_once() {
        let io = || std::io::Error::other("the disk is gone");
        let read = LoadError::Read { file: "a.onnx".into(), source: Arc::new(io()) };
        assert_eq!(read.to_string(), "a.onnx cannot be read");
        assert_eq!(in_full(&read), "a.onnx cannot be read: the disk is gone");

        #[derive(Debug, thiserror::Error)]
        #[error("no licence: {0}")]
        struct TellsItself(#[source] std::io::Error);
        assert_eq!(in_full(&LoadError::other(TellsItself(io()))), "no licence: the disk is gone");
    }
}
