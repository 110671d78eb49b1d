//! What the example says while the year passes.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use switchback::events::{Event, EventKind};
use switchback::{ModelHandle, Timestamp};

use crate::flights::{Flight, Late};

/// One event, with the sentences that it rests on.
pub(crate) fn event(event: &Event) {
    println!("{}  {event}", day(event.at));
    because(&event.kind);
}

/// The same, with who did it.
pub(crate) fn event_by(event: &Event) {
    println!("{}  {:8}  {event}", day(event.at), event.actor.as_deref().unwrap_or("itself"));
    because(&event.kind);
}

fn because(event: &EventKind) {
    let evidence = match event {
        EventKind::PhaseChanged { evidence, .. } | EventKind::Promoted { evidence, .. } => {
            evidence.as_slice()
        }
        _ => &[],
    };
    for evidence in evidence {
        match &evidence.sentence {
            Some(sentence) => println!("{:18}because {sentence}", ""),
            None => println!("{:18}because {evidence}", ""),
        }
    }
}

/// `2013-06-24 17:05`
pub(crate) fn day(at: Timestamp) -> String {
    at.to_string().chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

/// A line that is written over again and again, on a terminal; elsewhere one a month.
pub(crate) struct Progress {
    total: usize,
    pub(crate) started: Instant,
    shown: Option<String>,
    terminal: bool,
}

impl Progress {
    #[expect(clippy::disallowed_methods, reason = "how long the example takes, in real time")]
    pub(crate) fn new(total: usize) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { total, started: Instant::now(), shown: None, terminal }
    }

    pub(crate) fn show(&mut self, now: Timestamp, done: usize, handle: &ModelHandle<Flight, Late>) {
        let every = if self.terminal { 10 } else { 7 };
        let line: String = now.to_string().chars().take(every).collect();
        if self.shown.as_ref() == Some(&line) {
            return;
        }
        let text = format!("{line}  {done} of {} flights answered, {} is live", self.total, handle.live());
        if self.terminal {
            eprint!("\r\x1b[2K{text}");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{text}");
        }
        self.shown = Some(line);
    }

    /// Waits until the year has passed no faster than was asked for.
    #[expect(clippy::disallowed_methods, reason = "how fast a person wants to watch, in real time")]
    pub(crate) fn keep_pace(&self, passed: Duration, days_per_second: f64) {
        if days_per_second > 0.0 {
            let due = Duration::from_secs_f64(passed.as_secs_f64() / 86_400.0 / days_per_second);
            std::thread::sleep(due.saturating_sub(self.started.elapsed()));
        }
    }

    pub(crate) fn clear(&mut self) {
        if self.terminal && self.shown.take().is_some() {
            eprint!("\r\x1b[2K");
        }
    }
}
