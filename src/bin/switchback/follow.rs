//! What goes on being told: the history of a folder as it grows, the events of a service as they happen. A line each, written
//! at once. It goes on until whoever reads has gone, which the next line notices, or ends it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use switchback::events::Event;
use switchback::repository::Moment;
use switchback::state;

use crate::Failure;
use crate::out::Out;

/// How often a folder is looked at. Its journal is read when it has changed, at most so often.
const LOOK: Duration = Duration::from_millis(500);

/// When the event of a line happened, and the sentence of it; nothing of what a later release wrote.
pub(crate) fn told(line: &str) -> Option<(u64, String)> {
    let event: Event = serde_json::from_str(line).ok()?;
    Some((event.at.unix_nanos(), sentence(&event)))
}

pub(crate) fn sentence(event: &Event) -> String {
    let by = event.actor.as_deref().map(|actor| format!("  by {actor}")).unwrap_or_default();
    format!("{}  {event}{by}", Moment(event.at))
}

/// Tells what happened since `begin`, and with `on` what goes on happening.
pub(crate) fn history(out: &mut Out, folder: &Path, begin: u64, on: bool) -> Result<(), Failure> {
    let (mut seen, mut stood) = (0, None);
    loop {
        let stands = stands(folder);
        if stood.is_none() || stood != Some(stands) {
            // Looked at before: what comes while it is read is read the next time.
            stood = Some(stands);
            tell(out, folder, begin, &mut seen)?;
        }
        out.flush()?;
        if !on || !out.is_read() {
            return Ok(());
        }
        wait(LOOK);
    }
}

/// Which file the journal is, as far as its times tell, and how far it goes.
fn stands(folder: &Path) -> Option<(u64, Option<SystemTime>, Option<SystemTime>)> {
    let metadata = folder.join("journal").metadata().ok()?;
    Some((metadata.len(), metadata.created().ok(), metadata.modified().ok()))
}

/// Waits until it is time to look again.
#[expect(
    clippy::disallowed_methods,
    reason = "whoever is looked at tells nobody; only how soon it is seen depends on it"
)]
pub(crate) fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// Tells the entries of a journal beyond the number `seen`, and says how many in between are not there.
fn tell(out: &mut Out, folder: &Path, begin: u64, seen: &mut u64) -> Result<(), Failure> {
    let history = state::history(folder)?;
    let dropped = history.dropped();
    if dropped > 0 && *seen == 0 && !out.json {
        out.line(&format!("{dropped} entries are not here: only the last ones are kept"))?;
    }
    let mut before = *seen;
    for line in history {
        let line = line?;
        let number = number(&line);
        if number.is_some_and(|number| number <= *seen) {
            continue;
        }
        if let Some(number) = number {
            let missed = number.saturating_sub(before + 1);
            if before > 0 && missed > 0 && !out.json {
                out.line(&format!("{missed} entries are not here"))?;
            }
            before = number;
        }
        match told(&line) {
            Some((at, _)) if at < begin => {}
            Some((_, sentence)) if !out.json => out.line(&sentence)?,
            // What a later release wrote is shown as it is.
            _ => out.json_line(&line)?,
        }
    }
    *seen = before;
    Ok(())
}

/// The number of an event, of a later release's too.
pub(crate) fn number(line: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(line).ok()?.get("sequence")?.as_u64()
}
