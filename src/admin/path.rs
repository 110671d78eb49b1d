//! The paths of requests, and what they ask for.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The parts of a path, decoded; nothing where one of them is no text.
pub(crate) fn parts(path: &str) -> Option<Vec<String>> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts.map(|part| percent_decode_str(part).decode_utf8().ok().map(|part| part.into_owned())).collect()
}

/// A name as a part of a path.
pub(crate) fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

/// The number behind a name in a query; `Err` where there is something else.
pub(crate) fn number(query: Option<&str>, name: &str) -> Result<Option<u64>, String> {
    let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value);
    match values.next() {
        None => Ok(None),
        Some(value) => match value.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(format!("`{name}` is no number")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_is_read_part_by_part() {
        assert_eq!(parts("/late//rollouts/v%202/").unwrap(), ["late", "rollouts", "v 2"]);
        assert_eq!(parts("/a%2Fb").unwrap(), ["a/b"], "a name may hold what separates names");
        assert_eq!(parts("/%ff"), None);
        assert_eq!(number(Some("after=7&limit=x"), "after"), Ok(Some(7)));
        assert!(number(Some("after=7&limit=x"), "limit").is_err());
        assert_eq!(number(None, "after"), Ok(None));
    }

    proptest! {
        #[test]
        fn a_name_comes_back_whole_and_nothing_panics(name in "[^/]{1,20}", path in any::<String>()) {
            prop_assert_eq!(parts(&format!("/{}/x", encoded(&name))).unwrap(), [name, "x".into()]);
            let _ = (parts(&path), number(Some(&path), "after"));
        }
    }
}
