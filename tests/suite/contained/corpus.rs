//! Bytes that were kept because they reach something in a parser, tried on every machine. `.ci/fuzz` finds them.

use std::path::{Path, PathBuf};

#[path = "../../common/parsers.rs"]
mod parsers;

use parsers::{PARSERS, left, taken_over};
use serde_json::{Value, json};

use crate::common::Chance;

/// Those of hand, each a file, and those that were found, all in one file: each with its length before it.
fn corpus(root: &Path, parser: &str) -> Vec<Vec<u8>> {
    let files = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten();
    let by_hand = files(root.join(parser)).map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let packed = std::fs::read(root.join("found").join(parser)).unwrap_or_default();
    let mut rest = &packed[..];
    let found = std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (one, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        rest = after;
        Some(one.to_vec())
    });
    let found: Vec<_> = found.collect();
    by_hand.chain(found).collect()
}

#[test]
fn every_parser_reads_or_refuses_all_of_its_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    for (name, parser) in PARSERS {
        let aside = std::env::temp_dir().join(format!("switchback-corpus-{name}-{}", std::process::id()));
        let kept = corpus(&root, name);
        // The package that is published has only those of hand.
        assert!(kept.len() > 1 || !root.join("found").exists(), "{name} has no corpus");
        for one in kept {
            // Seen where one of them breaks something.
            println!("{name}: {}", one.escape_ascii());
            parser(&one, &aside);
        }
        let _ = std::fs::remove_dir_all(aside);
    }
}

/// Puts something else in the place of one of the values in what was read: the one that comes after so many others.
fn exchange(within: &mut Value, before: &mut usize, other: &Value) -> bool {
    if *before == 0 {
        *within = other.clone();
        return true;
    }
    *before -= 1;
    match within {
        Value::Array(all) => all.iter_mut().any(|one| exchange(one, before, other)),
        Value::Object(all) => all.iter_mut().any(|(_, one)| exchange(one, before, other)),
        _ => false,
    }
}

fn values(within: &Value) -> usize {
    1 + match within {
        Value::Array(all) => all.iter().map(values).sum(),
        Value::Object(all) => all.values().map(values).sum(),
        _ => 0,
    }
}

/// Who has the secret of a fleet can leave anything for an heir, with a code that is right: it is refused or taken over, and the heir
/// answers and leaves in its turn.
#[test]
fn whatever_a_process_has_left_its_heir_goes_on() {
    let good: Value = serde_json::from_slice(left()).unwrap();
    let (taken_over_of, counted) = taken_over(left());
    assert!(taken_over_of == 1 && counted > 30, "{counted} outcomes");
    let others = [
        json!(null),
        json!(-1),
        json!(0),
        json!(u64::MAX),
        json!(1e300),
        json!("AAAA"),
        json!([]),
        json!({}),
        json!([[0, 1], [0, 1]]),
    ];
    let (mut chance, count) = (Chance(11), values(&good));
    for _ in 0..300 {
        let mut changed = good.clone();
        let mut draw = |most: usize| (chance.next() * most as f64) as usize;
        let (place, other) = (1 + draw(count - 1), &others[draw(others.len())]);
        assert!(exchange(&mut changed, &mut place.clone(), other));
        // Seen where one of them breaks something.
        println!("{place}: {other}");
        taken_over(&serde_json::to_vec(&changed).unwrap());
    }
}
