//! Bytes that were kept because they reach something in a parser, tried on every machine. `.ci/fuzz` finds them.

use std::path::{Path, PathBuf};

#[path = "../../common/parsers.rs"]
mod parsers;

use parsers::PARSERS;

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
