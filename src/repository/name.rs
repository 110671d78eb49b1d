//! Refuses names that would lead out of their folder.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use super::error::RepositoryError;
use crate::version::id::VersionId;

/// How deep a version's folders may lie in each other.
pub(crate) const DEPTH_MAX: usize = 8;

/// Names that some systems take for devices, whatever stands behind the dot.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// What lies at the root of a volume, and is its file system's alone: no model and no version, wherever a volume is mounted.
const LOST_AND_FOUND: &str = "lost+found";

/// A name as one component of a path.
pub(crate) fn component(what: &'static str, name: &str) -> Result<(), RepositoryError> {
    let refused = |cause| Err(RepositoryError::Name { what, name: name.chars().take(64).collect(), cause });
    if name.is_empty() {
        return refused("it is empty");
    }
    if name.len() > VersionId::LEN_MAX {
        return refused("it is longer than 47 bytes");
    }
    if name.starts_with('.') {
        return refused("it begins with a dot");
    }
    if name
        .chars()
        .any(|c| c.is_control() || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|'))
    {
        return refused(
            "it has a control character, a path separator or another that some system cannot write",
        );
    }
    if name.ends_with(['.', ' ']) || name.starts_with(' ') {
        return refused("it ends or begins with what some systems drop");
    }
    if name == LOST_AND_FOUND && what != "file" {
        return refused("a file system keeps what it has found for itself by that name");
    }
    let stem = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let numbered =
        ["com", "lpt"].iter().any(|device| stem.strip_prefix(device).is_some_and(|n| n.len() == 1));
    if DEVICES.contains(&stem.as_str()) || numbered {
        return refused("some systems take it for a device");
    }
    Ok(())
}

/// Whether a name is a whole number, of any length.
pub(crate) fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Compares names as people count: digits that stand together are one number.
pub(crate) fn natural(one: &str, other: &str) -> Ordering {
    let (mut left, mut right) = (one, other);
    loop {
        let (number, rest) = leading(left);
        let (other_number, other_rest) = leading(right);
        let ordering = if number.is_empty() || other_number.is_empty() {
            let (mut letters, mut others) = (left.chars(), right.chars());
            let ordering = letters.next().cmp(&others.next());
            (left, right) = (letters.as_str(), others.as_str());
            ordering
        } else {
            (left, right) = (rest, other_rest);
            let plain = |digits: &str| digits.trim_start_matches('0').to_owned();
            let (number, other_number) = (plain(number), plain(other_number));
            number.len().cmp(&other_number.len()).then(number.cmp(&other_number))
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
        if left.is_empty() && right.is_empty() {
            // `01` is not `1`.
            return one.cmp(other);
        }
    }
}

/// The digits at the head of a text, and what follows them.
fn leading(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// The external data of a model, as a manifest writes its path: the model's file names it as that lies.
#[cfg(feature = "onnx")]
pub(crate) fn beside(model: &str, data: &str) -> String {
    let path = Path::new(model).parent().unwrap_or(Path::new("")).join(data);
    let parts = path.components().filter(|part| matches!(part, std::path::Component::Normal(_)));
    parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// A file of a version, by its path below the version's folder: components of names, nothing absolute, nothing that
/// climbs, nothing so far down that nobody looks there.
pub(crate) fn file(path: &str) -> Result<PathBuf, RepositoryError> {
    if path.len() > 255 {
        let name = path.chars().take(64).collect();
        return Err(RepositoryError::Name { what: "file", name, cause: "it is longer than 255 bytes" });
    }
    for part in path.split('/') {
        component("file", part)?;
    }
    if path.split('/').count() > DEPTH_MAX + 1 {
        let name = path.chars().take(64).collect();
        return Err(RepositoryError::Name { what: "file", name, cause: "it lies in more than 8 folders" });
    }
    Ok(Path::new(path).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for bad in [
            "", ".", "..", ".hidden", "a/b", "a\\b", "a\0", "a\nb", "C:", "con", "NUL.onnx", "com1", "a.",
            " a", "a*",
        ] {
            assert!(component("model", bad).is_err(), "{bad:?}");
        }
        for bad in ["/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", "a/.b", "\\\\host\\x"] {
            assert!(file(bad).is_err(), "{bad:?}");
        }
        for good in ["model.onnx", "weights/part-1.bin", "Größe.onnx", "3", "2026-11-24.1"] {
            assert!(file(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn names_are_in_the_order_in_which_people_count() {
        let sorted =
            ["1", "2", "010", "10", "10.bak", "2026-11-24", "v9", "v9-rc", "v10", "v10.2.9", "v10.2.10"];
        for pair in sorted.windows(2) {
            assert_eq!(natural(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(natural(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(natural("v10", "v10"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn the_order_of_names_is_one(a in "[0-2a.]{0,6}", b in "[0-2a.]{0,6}", c in "[0-2a.]{0,6}") {
            prop_assert_eq!(natural(&a, &b), natural(&b, &a).reverse());
            prop_assert_eq!(natural(&a, &b) == Ordering::Equal, a == b);
            if natural(&a, &b) != Ordering::Greater && natural(&b, &c) != Ordering::Greater {
                prop_assert!(natural(&a, &c) != Ordering::Greater);
            }
        }

        #[test]
        fn whatever_is_accepted_stays_below_its_folder(path in "[a-c./\\\\ :]{0,12}|\\PC{0,12}") {
            if let Ok(path) = file(&path) {
                let whole = Path::new("/root").join(&path);
                let climbs = |part| !matches!(part, std::path::Component::Normal(_) | std::path::Component::RootDir);
                prop_assert!(whole.starts_with("/root") && !whole.components().any(climbs));
                prop_assert!(whole != Path::new("/root"));
            }
        }
    }
}
