//! What the README and the pages behind it show is what compiles.

/// The lines of some code, without their indentation.
fn lines(code: &str) -> Vec<&str> {
    code.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// Every block of Rust in the README and in the pages that it links stands, line for line, in an example.
#[test]
fn the_code_in_the_readme_is_that_of_the_examples() {
    let pages = [
        include_str!("../../README.md"),
        include_str!("../../docs/costs.md"),
        include_str!("../../docs/drift.md"),
        include_str!("../../docs/first-service.md"),
        include_str!("../../docs/fleet.md"),
        include_str!("../../docs/large-models.md"),
        include_str!("../../docs/reports.md"),
        include_str!("../../docs/repository.md"),
        include_str!("../../docs/state.md"),
    ];
    let examples = [
        include_str!("../../examples/before_the_truth.rs"),
        include_str!("../../examples/first_service.rs"),
        include_str!("../../examples/first_twenty_lines.rs"),
        include_str!("../../examples/fleet/member.rs"),
        include_str!("../../examples/large_model.rs"),
        include_str!("../../examples/rollout/report.rs"),
        include_str!("../../examples/rollout/service.rs"),
    ]
    .map(lines);
    let mut blocks = Vec::new();
    for fence in pages.iter().flat_map(|page| page.split("\n```").skip(1).step_by(2)) {
        let (language, code) = fence.split_once('\n').unwrap();
        assert!(
            ["rust", "sh", "text", "toml"].contains(&language),
            "a block of `{language}` is compiled by nobody"
        );
        match language {
            "rust" => blocks.push(code),
            "toml" => {
                let file = include_str!("../../examples/first_service.toml").trim_end();
                assert!(file.ends_with(code), "{code}");
            }
            _ => {}
        }
    }
    assert_eq!(blocks.len(), 10);
    for block in blocks {
        let block = lines(block);
        let is_in = |example: &Vec<&str>| example.windows(block.len()).any(|part| part == block);
        assert!(examples.iter().any(is_in), "in no example:\n{}", block.join("\n"));
    }
}
