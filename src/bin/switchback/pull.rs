//! `switchback repo pull`.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use percent_encoding::percent_decode_str;
use serde_json::json;
use switchback::repository::{FolderSource, Progress, Pulled, Repository, Source};
use switchback::{Clock, Timestamp};

use crate::Failure;
use crate::out::{Out, bytes, visible};

/// Whoever waits for longer wants to know how long it will be.
const PATIENCE: Duration = Duration::from_secs(1);

/// As often as an eye can follow numbers.
const REPAINTED: Duration = Duration::from_millis(200);

#[derive(Args)]
pub(crate) struct Pull {
    /// Where versions are: a folder, file:///folder, or with the feature `bucket` s3://bucket/models, gs://.., az://.., abfss://...
    source: String,
    /// The repository here; it is made where there is none.
    folder: PathBuf,
    model: String,
    /// A version, a tag, or `latest`, as the source has them.
    #[arg(default_value = "latest")]
    version: String,
    /// A tag of the repository here that points at it from now on.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Refuses a version with more bytes; 64 GiB if it is left out.
    #[arg(long, value_name = "NUMBER")]
    max_bytes: Option<u64>,
}

impl Pull {
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let source = source(&self.source)?;
        let models = Repository::create(&self.folder)?;
        let mut painter = Painter::new(io::stderr().is_terminal());
        let mut pull = switchback::repository::Pull::new(&*source, self.model, self.version)
            .on_progress(|progress| painter.told(progress));
        for tag in self.tags {
            pull = pull.tag(tag);
        }
        if let Some(max) = self.max_bytes {
            pull = pull.max_bytes(max);
        }
        let pulled = models.pull(pull);
        painter.wipe();
        let Pulled { entry, was_there, read, resumed, .. } = pulled?;
        let (model, version) = (&entry.model, entry.version.as_str());
        if out.json {
            return Ok(out.value(&json!({
                "model": model, "version": version, "was_there": was_there, "read": read, "resumed": resumed,
            }))?);
        }
        let told = match (was_there, resumed) {
            (true, _) => format!("{model} {version} is there already, as it was published"),
            (_, 0) => format!("{model} {version} is pulled: {}", bytes(read)),
            _ => format!(
                "{model} {version} is pulled: {}, after {} of an earlier pull",
                bytes(read),
                bytes(resumed)
            ),
        };
        Ok(out.line(&told)?)
    }
}

fn source(text: &str) -> Result<Box<dyn Source>, Failure> {
    if let Some(path) = text.strip_prefix("file://") {
        let path = percent_decode_str(path).decode_utf8().ok().filter(|path| path.starts_with('/'));
        let path =
            path.ok_or_else(|| Failure::Refused(format!("{text} is no folder: write file:///folder")))?;
        return Ok(Box::new(FolderSource::open(&*path)?));
    }
    if text.contains("://") {
        return bucket(text);
    }
    Ok(Box::new(FolderSource::open(text)?))
}

#[cfg(feature = "bucket")]
fn bucket(url: &str) -> Result<Box<dyn Source>, Failure> {
    Ok(Box::new(switchback::repository::BucketSource::open(url)?))
}

#[cfg(not(feature = "bucket"))]
fn bucket(url: &str) -> Result<Box<dyn Source>, Failure> {
    Err(Failure::Refused(format!(
        "{url} is a bucket, and this program was built without the feature `bucket`: install it with --features cli,bucket"
    )))
}

/// Paints how far it is over the line before, where a person looks and it takes a while.
struct Painter {
    terminal: bool,
    clock: Clock,
    begun: Timestamp,
    /// When it was painted last, since it began.
    painted: Option<Duration>,
}

impl Painter {
    fn new(terminal: bool) -> Self {
        let clock = Clock::system();
        Self { terminal, begun: clock.now(), clock, painted: None }
    }

    fn told(&mut self, progress: &Progress<'_>) {
        let since = self.clock.now().unix_nanos().saturating_sub(self.begun.unix_nanos());
        if self.is_due(Duration::from_nanos(since)) {
            // Where it cannot be shown nobody misses it.
            let _ =
                write!(io::stderr(), "\r\u{1b}[K{}", line(progress.object, progress.done, progress.total));
        }
    }

    fn is_due(&mut self, since: Duration) -> bool {
        let next = self.painted.map_or(PATIENCE, |painted| painted + REPAINTED);
        let due = self.terminal && since >= next;
        if due {
            self.painted = Some(since);
        }
        due
    }

    fn wipe(&self) {
        if self.painted.is_some() {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}

fn line(object: &str, done: u64, total: u64) -> String {
    let percent = u128::from(done) * 100 / u128::from(total.max(1));
    format!("{percent} %  {} of {}  {}", bytes(done), bytes(total), visible(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_painted_for_people_who_wait() {
        let millis = Duration::from_millis;
        let painted = |terminal| {
            let mut painter = Painter::new(terminal);
            (0..=20).filter(|tick| painter.is_due(millis(tick * 100))).collect::<Vec<_>>()
        };
        assert_eq!(painted(true), [10, 12, 14, 16, 18, 20]);
        assert!(painted(false).is_empty());
        assert_eq!(line("late/2/\u{1b}[2J", 512, 2_048), "25 %  512 B of 2.0 KiB  late/2/\u{fffd}[2J");
        assert_eq!(line("late/2/empty", 0, 0), "0 %  0 B of 0 B  late/2/empty");
    }
}
