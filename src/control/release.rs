//! A quarantine that is lifted while nothing runs on the folder. When the process ended stays as it was written down: time in which none
//! ran is told from it.

use std::path::Path;

use super::event::{Event, EventKind};
use super::saved::SavedControl;
use crate::base::clock::Timestamp;
use crate::base::disk::Files;
use crate::base::text::bounded;
use crate::model::identity::Identity;
use crate::state::{Journal, StateError};

/// Lets plans try an identity again that did harm before, as [`ModelHandle::release`](crate::ModelHandle::release) does, of a
/// handle that does not run. `actor` stands in the log, of more than 4,096 bytes the start, and `at` for when. Whether it was
/// quarantined; nothing is written where it was not.
///
/// # Errors
///
/// Another process has the folder, there is no journal in it, it is damaged or of a later release, or a step on the disk
/// failed.
///
/// ```no_run
/// use switchback::status::{look, release};
///
/// let folder = "/var/lib/late/state";
/// let late = look(folder)?.ok_or("nothing is written there")?;
/// for quarantined in late.quarantined {
///     release(folder, quarantined.identity, Some("ada"), switchback::Clock::system().now())?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn release(
    folder: impl AsRef<Path>,
    identity: Identity,
    actor: Option<&str>,
    at: Timestamp,
) -> Result<bool, StateError> {
    let folder = folder.as_ref();
    // Before a folder is made where there is none.
    let missing = crate::state::found(folder)?.state.is_none();
    if missing {
        return Ok(false);
    }
    let (mut journal, found) = Journal::open(Files::default(), folder)?;
    let Some(state) = &found.state else { return Ok(false) };
    let mut saved: SavedControl = serde_json::from_slice(state).map_err(StateError::json)?;
    let Some(place) = saved.quarantine.iter().position(|(known, _)| *known == identity) else {
        return Ok(false);
    };
    let (_, released) = saved.quarantine.remove(place);
    saved.crashes.remove(&identity);
    let event = Event {
        sequence: saved.next_event,
        at,
        epoch: saved.epoch,
        actor: actor.map(|actor| bounded(actor).into()),
        kind: EventKind::Released { version: released.version },
    };
    saved.next_event += 1;
    let json = |value: serde_json::Result<Vec<u8>>| value.map_err(StateError::json);
    let (state, event) = (json(serde_json::to_vec(&saved))?, json(serde_json::to_vec(&event))?);
    // A repair may have left none: it is a part as any other.
    let decisions: Vec<Vec<u8>> = found.decisions.into();
    journal.rewrite(&state, &found.evidence, &[event], &decisions)?;
    Ok(true)
}
