//! What the README shows is what compiles.

/// Every block of Rust in the README stands, line for line, in the example it is taken from.
#[test]
fn the_code_in_the_readme_is_that_of_the_example() {
    let readme = include_str!("../README.md");
    let example = include_str!("../examples/first_twenty_lines.rs");
    let blocks: Vec<&str> =
        readme.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        assert!(example.contains(block), "not in examples/first_twenty_lines.rs:\n{block}");
    }
}
