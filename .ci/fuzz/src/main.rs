//! One parser, by the name in `PARSER`, given what libFuzzer thinks of.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

#[path = "../../../tests/common/parsers.rs"]
mod parsers;

static PARSER: LazyLock<(parsers::Parser, PathBuf)> = LazyLock::new(|| {
    let name = std::env::var("PARSER").expect("PARSER names one of the parsers");
    let parser = parsers::PARSERS.iter().find(|(of, _)| *of == name).expect("there is no such parser").1;
    (parser, std::env::temp_dir().join(format!("switchback-fuzz-{name}-{}", std::process::id())))
});

fuzz_target!(|bytes: &[u8]| {
    let (parser, folder) = &*PARSER;
    parser(bytes, folder);
});
