//! The program `switchback`: what a repository of versions holds, what happened to a handle, and whether a plan is right.
//!
//! It uses what the library shows to everybody. It ends with 0 where all is well, with 1 where what was asked for is not so or
//! cannot be done, and with 2 where it was not understood.

mod out;
mod plan;
mod pull;
mod remote;
mod repository;
mod state;

use std::error::Error;
use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use switchback::repository::{PullError, RepositoryError, SourceError};
use switchback::state::StateError;

use out::Out;

/// Looks into repositories of versions, folders of state, and plans, and operates services over HTTP.
///
/// Ends with 0 where all is well, with 1 where what was asked for is not so or cannot be done, and with 2 where it was not
/// understood.
#[derive(Parser)]
#[command(name = "switchback", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Prints JSON in place of tables and sentences.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum What {
    /// Versions of models in a folder.
    #[command(subcommand)]
    Repo(repository::Command),
    /// What a handle keeps of itself in its folder of state.
    #[command(subcommand)]
    State(state::Command),
    /// Files that describe a handle and its rollouts.
    #[command(subcommand)]
    Plan(plan::Command),
    #[command(flatten)]
    Service(remote::Command),
}

/// Why the program ends with 1.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error(transparent)]
    Pull(#[from] PullError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the answer could not be written")]
    Output(#[from] io::Error),
    #[error("{0} could not be read")]
    Unreadable(String, #[source] io::Error),
    #[error("{0} cannot be asked")]
    Unreachable(String, #[source] Box<ureq::Error>),
    #[error("{0}")]
    Refused(String),
    /// What was looked for was found, and has been said.
    #[error("")]
    Said,
}

fn main() -> ExitCode {
    let Arguments { what, json } = Arguments::parse();
    let out = &mut Out::new(json);
    let ended = match what {
        What::Repo(command) => command.run(out),
        What::State(command) => command.run(out),
        What::Plan(command) => command.run(out),
        What::Service(command) => command.run(out),
    };
    match ended.and_then(|()| Ok(out.flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough: `| head -1`.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Said) => match out.flush() {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => complain(&Failure::Output(error)),
            _ => ExitCode::FAILURE,
        },
        Err(failure) => complain(&failure),
    }
}

fn complain(failure: &Failure) -> ExitCode {
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(error) = cause {
        // What is transparent says its source's words.
        if !text.ends_with(&error.to_string()) {
            text = format!("{text}: {error}");
        }
        cause = error.source();
    }
    // Where nobody listens there is nobody to tell.
    let _ = out::complain(&text);
    ExitCode::FAILURE
}
