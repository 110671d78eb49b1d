//! `switchback state`.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use serde_json::json;
use switchback::repository::Moment;
use switchback::state::{self, Repaired};
use switchback::status::{LookRollout, look};
use switchback::{Clock, Phase};

use crate::Failure;
use crate::out::Out;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Shows what is live, on trial, retained and quarantined. The handle may run meanwhile.
    Show { folder: PathBuf },
    /// Tells what happened to the handle, oldest first: who did what, when and why. It may run meanwhile.
    History {
        folder: PathBuf,
        /// No earlier than this: a time as RFC 3339, or how long ago, such as `2d` or `90m`.
        #[arg(long, value_parser = since)]
        since: Option<Since>,
    },
    /// Makes a journal of what is whole in one that is damaged, and keeps a copy of that. Only while nothing runs on the folder.
    Repair {
        folder: PathBuf,
        /// Does not ask first.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Clone, Copy)]
pub(crate) enum Since {
    Time(Moment),
    Ago(Duration),
}

fn since(text: &str) -> Result<Since, String> {
    let ago = || humantime::parse_duration(text).map(Since::Ago);
    text.parse()
        .map(Since::Time)
        .or_else(|_| ago())
        .map_err(|_| "write a time as 2026-11-24T10:00:00Z, or how long ago as 2d, 6h or 90m".to_owned())
}

/// When the event of a line happened, and the sentence of it; nothing of what a later release wrote.
fn told(line: &str) -> Option<(u64, String)> {
    let event: switchback::events::Event = serde_json::from_str(line).ok()?;
    let by = event.actor.as_deref().map(|actor| format!("  by {actor}")).unwrap_or_default();
    Some((event.at.unix_nanos(), format!("{}  {event}{by}", Moment(event.at))))
}

impl Command {
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        match self {
            Self::Show { folder } => show(out, &folder),
            Self::History { folder, since } => {
                let now = Clock::system().now().unix_nanos();
                let begin = match since {
                    None => 0,
                    Some(Since::Time(Moment(time))) => time.unix_nanos(),
                    Some(Since::Ago(ago)) => {
                        now.saturating_sub(u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX))
                    }
                };
                let history = state::history(folder)?;
                let dropped = history.dropped();
                if dropped > 0 && !out.json {
                    out.line(&format!("{dropped} entries are not here: only the last ones are kept"))?;
                }
                for line in history {
                    let line = line?;
                    match told(&line) {
                        Some((at, _)) if at < begin => {}
                        Some((_, sentence)) if !out.json => out.line(&sentence)?,
                        // What a later release wrote is shown as it is.
                        _ => out.json_line(&line)?,
                    }
                }
                Ok(())
            }
            Self::Repair { folder, yes } => {
                if !yes {
                    let what = folder.display();
                    ask(&format!(
                        "What was decided and seen in the damaged part of the journal in {what} is lost. Has the disk been \
                         looked at, and does nothing run on the folder? Type yes to go on: "
                    ))?;
                }
                let Repaired { kept_as, lost_bytes, lost_records, state, evidence, events, .. } =
                    state::repair(folder)?;
                if out.json {
                    return Ok(out.value(&json!({
                        "kept_as": kept_as, "lost_bytes": lost_bytes, "lost_records": lost_records, "state": state,
                        "evidence": evidence, "events": events,
                    }))?);
                }
                match kept_as {
                    None => out.line("nothing was damaged that is there")?,
                    Some(copy) => out.line(&format!("the journal as it was: {}", copy.display()))?,
                }
                let is = |there: bool| if there { "there" } else { "gone" };
                Ok(out.line(&format!(
                    "lost: {lost_bytes} bytes, {lost_records} records; what was decided is {}, evidence is {}; {events} events \
                     are whole",
                    is(state),
                    is(evidence)
                ))?)
            }
        }
    }
}

fn show(out: &mut Out, folder: &Path) -> Result<(), Failure> {
    let look = look(folder)?;
    if out.json {
        return Ok(out.value(&look)?);
    }
    let Some(look) = look else {
        return Ok(out.line("a handle has begun here, and has written nothing yet")?);
    };
    let ended = if look.closed { "closed" } else { "not closed: it runs, or ended without a word" };
    out.line(&format!(
        "{}  live {} since {}  {ended}  generation {}, {} events, as of {}",
        look.name,
        look.live,
        Moment(look.live_since),
        look.generation,
        look.events,
        Moment(look.at),
    ))?;
    if let Some(reason) = &look.frozen {
        out.line(&format!("frozen: {reason}"))?;
    }
    let row = |rollout: &LookRollout| {
        let step = rollout.step.map(|step| format!(" {}/{}", step + 1, rollout.steps)).unwrap_or_default();
        let share = match rollout.phase {
            Phase::Shadow => format!("copies of {}", rollout.sample),
            _ => rollout.weight.to_string(),
        };
        let paused = if rollout.paused { ", paused" } else { "" };
        let (version, since) = (rollout.version.to_string(), Moment(rollout.since).to_string());
        let guards = rollout.guards.join("; ");
        let guards = if guards.is_empty() { "-".to_owned() } else { guards };
        vec![version, format!("{}{step}{paused}", rollout.phase), share, since, guards]
    };
    let mut rows: Vec<_> = look.rollouts.iter().map(row).collect();
    rows.extend(look.retained.iter().map(|kept| {
        let role = if kept.taken_back { "retained, taken back" } else { "retained" };
        let dash = || "-".to_owned();
        vec![kept.version.to_string(), role.to_owned(), dash(), Moment(kept.since).to_string(), dash()]
    }));
    if !rows.is_empty() {
        out.table(&["VERSION", "IS", "SHARE", "SINCE", "GUARDS"], rows)?;
    }
    for (identity, entry) in &look.quarantined {
        let until = entry.until.map(|until| format!(" until {}", Moment(until))).unwrap_or_default();
        out.line(&format!("quarantined: {identity} ({}){until}: {}", entry.version, entry.reason))?;
    }
    Ok(())
}

/// Asks on a terminal, and takes nothing but yes for yes.
fn ask(question: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Refused("nobody is there to ask: say --yes where this is wanted".to_owned()));
    }
    let mut stderr = io::stderr();
    stderr.write_all(question.as_bytes())?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Failure::Refused("nothing was done".to_owned())) }
}
