//! What `docs/engines.md` shows is what compiles, and engines are what they say that they are.

/// The lines of some code, without their indentation.
fn lines(code: &str) -> Vec<&str> {
    code.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// Every block of Rust on the page stands, line for line, in a file of this crate. The test's own idea is that of
/// tests/suite/readme.rs.
#[test]
fn the_code_on_the_page_is_that_of_the_tests() {
    let page = include_str!("../../../docs/engines.md");
    let files = [
        include_str!("between.rs"),
        include_str!("candle.rs"),
        include_str!("lightgbm.rs"),
        include_str!("text.rs"),
        include_str!("tract.rs"),
    ]
    .map(lines);
    let mut blocks = 0;
    for fence in page.split("\n```").skip(1).step_by(2) {
        let (language, code) = fence.split_once('\n').unwrap();
        assert!(["rust", "sh", "text"].contains(&language), "a block of `{language}` is compiled by nobody");
        if language == "rust" {
            let block = lines(code);
            let is_in = |file: &Vec<&str>| file.windows(block.len()).any(|part| part == block);
            assert!(files.iter().any(is_in), "in no file:\n{}", block.join("\n"));
            blocks += 1;
        }
    }
    assert_eq!(blocks, 7);
}

/// The engine's version in an identity is the one that is built.
#[test]
fn identities_name_the_versions_that_are_built() {
    let lock = include_str!("../Cargo.lock");
    for file in [
        include_str!("candle.rs"),
        include_str!("lightgbm.rs"),
        include_str!("text.rs"),
        include_str!("tract.rs"),
    ] {
        let engine = file.split_once("const ENGINE: &[u8] = b\"").and_then(|(_, rest)| rest.split_once('"'));
        let (name, version) = engine.and_then(|(engine, _)| engine.split_once(' ')).unwrap();
        let locked = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        assert!(lock.contains(&locked), "{name} {version} is not what is built");
    }
}

/// No binding to ONNX Runtime is built, and so no shared library is looked for.
#[test]
fn nothing_here_rests_on_onnx_runtime() {
    let lock = include_str!("../Cargo.lock");
    assert!(!lock.lines().any(|line| ["name = \"ort\"", "name = \"ort-sys\""].contains(&line)));
}
