//! The program `switchback`: what a repository of versions holds, what happened to a handle or a fleet, and whether a plan is right.
//!
//! It uses what the library shows to everybody. It ends with 0 where all is well, with 1 where what was asked for is not so or
//! cannot be done, and with 2 where it was not understood.

mod fleet;
mod follow;
mod forecast;
mod out;
mod plan;
mod profile;
mod progress;
mod pull;
mod remote;
mod repository;
mod state;

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use switchback::repository::{PullError, RepositoryError, SourceError};
use switchback::state::StateError;

use out::Out;

/// Looks into repositories of versions, folders of state, and plans, and operates fleets, and services over HTTP.
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
    /// One rollout over many processes, as the store in which they agree has it.
    #[command(subcommand)]
    Fleet(fleet::Command),
    /// Files that describe a handle and its rollouts.
    #[command(subcommand)]
    Plan(plan::Command),
    #[command(flatten)]
    Service(remote::Command),
    /// Writes what lets a shell complete the words of this program, such as `switchback completions bash`.
    Completions { shell: clap_complete::Shell },
    /// Writes the manual page, or those of all commands into a folder.
    Man { folder: Option<PathBuf> },
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
    #[error(transparent)]
    Fleet(#[from] switchback::operator::FleetError),
    #[error("the answer could not be written")]
    Output(#[from] io::Error),
    #[error("{0} could not be read")]
    Unreadable(String, #[source] io::Error),
    #[error("{0} could not be written to")]
    Unwritable(String, #[source] io::Error),
    #[error("{0} cannot be asked")]
    Unreachable(String, #[source] Box<ureq::Error>),
    /// It was sent, and nobody has said what came of it.
    #[error(
        "it is not known whether {0} has done it: look with `switchback get` before it is said again, or it may be done twice, and a \
         second rollback goes one version further"
    )]
    Unknown(String, #[source] Box<ureq::Error>),
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
        What::Fleet(command) => command.run(out),
        What::Plan(command) => command.run(out),
        What::Service(command) => command.run(out),
        What::Completions { shell } => completions(out, shell),
        What::Man { folder } => manual(out, folder.as_deref()),
    };
    match (ended, out.flush()) {
        (Ok(()), Ok(())) => ExitCode::SUCCESS,
        (Err(Failure::Said), Ok(())) => ExitCode::FAILURE,
        // What was to be said was not.
        (Ok(()) | Err(Failure::Said), Err(error)) => complain(&Failure::Output(error)),
        (Err(failure), _) => complain(&failure),
    }
}

fn completions(out: &mut Out, shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "switchback", &mut script);
    Ok(out.own(&script)?)
}

fn manual(out: &mut Out, folder: Option<&Path>) -> Result<(), Failure> {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Arguments::command()).render(&mut page)?;
        return Ok(out.own(&page)?);
    };
    let failed = |error| Failure::Unwritable(folder.display().to_string(), error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command(), folder).map_err(failed)
}

fn complain(failure: &Failure) -> ExitCode {
    // Where nobody listens there is nobody to tell.
    let _ = out::complain(&with_causes(failure));
    ExitCode::FAILURE
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // What is transparent says its source's words.
        if !text.ends_with(&error.to_string()) {
            text = format!("{text}: {error}");
        }
        cause = error.source();
    }
    text
}
