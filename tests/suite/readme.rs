//! What the README shows is what compiles.

/// Every block of Rust in the README stands, line for line, in an example.
#[test]
fn the_code_in_the_readme_is_that_of_the_examples() {
    let readme = include_str!("../../README.md");
    let examples =
        [include_str!("../../examples/first_twenty_lines.rs"), include_str!("../../examples/large_model.rs")];
    let blocks: Vec<&str> =
        readme.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 3);
    for block in blocks {
        assert!(examples.iter().any(|example| example.contains(block)), "in no example:\n{block}");
    }
}
