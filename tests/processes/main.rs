//! Tests that need processes of their own: those that are killed, that find ONNX Runtime or do not, that share a folder,
//! whose memory is weighed, whose threads are counted. Each test starts them from this binary, with `--child` and what the child is to do.
//!
//! Not libtest's harness, because of two things that it cannot do. A child is no test: as a `#[test]` that returns at
//! once where it is none, it was counted as one that passed. And these tests run one after another: between a fork and
//! its exec a child has what its parent has, the locks of tests beside it included.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![cfg_attr(
    not(any(feature = "fleet", feature = "state", feature = "onnx")),
    allow(unused, unreachable_code, reason = "no test here is for the features that are built")
)]

#[cfg(feature = "cli")]
mod command_line;
#[path = "../common/mod.rs"]
mod common;
mod harness;

#[cfg(all(feature = "cli", feature = "fleet"))]
mod fleet_command_line;
#[cfg(all(feature = "fleet", unix))]
mod fleet_directory;
#[cfg(all(feature = "state", unix))]
mod forked;
#[cfg(all(feature = "state", unix))]
mod killed;
#[cfg(all(feature = "state", feature = "repository", unix))]
mod killed_publisher;
#[cfg(all(feature = "state", feature = "repository", unix))]
mod killed_puller;
mod many_threads;
#[cfg(feature = "onnx")]
mod onnx_runtime;
#[cfg(feature = "onnx")]
mod prepared;
#[cfg(all(feature = "onnx", target_os = "linux", target_env = "gnu"))]
mod reload;
#[cfg(all(feature = "state", unix))]
mod threadless;

use std::process::{Command, ExitCode};

/// What a child is told to do, and how: `killed "goes on" /tmp/folder 7`.
const CHILD: &str = "--child";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, who, told @ ..] = &arguments[..]
        && flag == CHILD
    {
        match who.as_str() {
            #[cfg(all(feature = "cli", feature = "fleet"))]
            "fleet_command_line" => fleet_command_line::child(told),
            #[cfg(all(feature = "fleet", unix))]
            "fleet_directory" => fleet_directory::child(told),
            #[cfg(all(feature = "state", unix))]
            "killed" => killed::child(told),
            #[cfg(all(feature = "state", feature = "repository", unix))]
            "killed_publisher" => killed_publisher::child(told),
            #[cfg(all(feature = "state", feature = "repository", unix))]
            "killed_puller" => killed_puller::child(told),
            #[cfg(feature = "onnx")]
            "onnx_runtime" => onnx_runtime::child(told),
            #[cfg(feature = "onnx")]
            "prepared" => prepared::child(told),
            #[cfg(all(feature = "onnx", target_os = "linux", target_env = "gnu"))]
            "reload" => reload::child(told),
            #[cfg(all(feature = "state", unix))]
            "threadless" => threadless::child(told),
            _ => panic!("nobody is {who}, who was told {told:?}"),
        }
        return ExitCode::SUCCESS;
    }
    let tests: &[&[harness::Test]] = &[
        #[cfg(feature = "cli")]
        command_line::TESTS,
        #[cfg(all(feature = "cli", feature = "fleet"))]
        fleet_command_line::TESTS,
        #[cfg(all(feature = "fleet", unix))]
        fleet_directory::TESTS,
        #[cfg(all(feature = "state", unix))]
        forked::TESTS,
        #[cfg(all(feature = "state", unix))]
        killed::TESTS,
        #[cfg(all(feature = "state", feature = "repository", unix))]
        killed_publisher::TESTS,
        #[cfg(all(feature = "state", feature = "repository", unix))]
        killed_puller::TESTS,
        many_threads::TESTS,
        #[cfg(feature = "onnx")]
        onnx_runtime::TESTS,
        #[cfg(feature = "onnx")]
        prepared::TESTS,
        #[cfg(all(feature = "onnx", target_os = "linux", target_env = "gnu"))]
        reload::TESTS,
        #[cfg(all(feature = "state", unix))]
        threadless::TESTS,
    ];
    harness::run(&tests.concat(), &arguments)
}

/// This binary as a child of `who`.
#[allow(dead_code, reason = "without any feature nobody has a child")]
fn child(who: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([CHILD, who]);
    command
}
