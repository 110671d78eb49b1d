//! The page about one rollout: its sections, each written by a file of its own, in their order.

use super::document::{Block, Column, Document, Section, Table};
use super::drift::{DriftSummary, DriftSummaryRow};
use super::report::Report;
use super::words::moment;
use super::{decided, headline, html, markdown, pictures, seen, tried};
use crate::base::text::number;

impl Report {
    /// Returns what happened, in a sentence or two.
    pub fn headline(&self) -> String {
        headline::lead(self).join(" ")
    }

    /// The page as one HTML file: no network, no script, styles and plots within it.
    pub fn html(&self) -> String {
        html::render(&self.document())
    }

    /// The same, to be looked at where it was made: it is loaded again as often as this, in seconds, until the rollout is over.
    #[cfg(feature = "admin")]
    pub(crate) fn html_renewed(&self, every: u32) -> String {
        let renewed_every = (!self.rollout.phase.is_over()).then_some(every);
        html::render(&Document { renewed_every, ..self.document() })
    }

    /// The page in GitHub's Markdown, with short bars in place of plots.
    pub fn markdown(&self) -> String {
        markdown::render(&self.document())
    }

    fn document(&self) -> Document {
        let (outcome, tone) = headline::outcome(self);
        let mut sections = vec![tried::section(self)];
        if !self.from_journal {
            sections.push(seen::section(self));
        }
        sections.extend(pictures::evidence(self));
        sections.push(decided::section(self));
        sections.extend(self.drift.as_ref().map(drift_section));
        sections.extend(self.notes_section());
        sections.push(decided::how_sure(self));
        Document {
            title: self.title.clone(),
            outcome: outcome.into(),
            tone,
            lead: headline::lead(self),
            facts: headline::facts(self),
            sections,
            foot: format!(
                "Made {} by switchback {} from what the handle “{}” has kept. It holds no request, no key and no tensor.",
                moment(self.at),
                env!("CARGO_PKG_VERSION"),
                self.handle
            ),
            renewed_every: None,
        }
    }

    fn notes_section(&self) -> Option<Section> {
        let notes = self.notes.iter().map(|note| Block::Text(note.clone())).collect();
        (!self.notes.is_empty()).then(|| Section::new("Notes", notes))
    }
}

fn drift_section(drift: &DriftSummary) -> Section {
    let DriftSummary { about, rows } = drift;
    let mut blocks = vec![Block::Text(format!(
        "What the service has found of the drift of its data{}{}. Drift that both versions share is the world's doing, not the candidate's.",
        if about.is_empty() { "" } else { ": " },
        about.trim_end_matches('.'),
    ))];
    let cell = |row: &DriftSummaryRow| {
        let p = row.p.map_or_else(|| String::from("–"), number);
        vec![row.feature.clone(), row.what.clone(), number(row.effect), p, row.verdict.clone()]
    };
    blocks.push(Block::Table(Table {
        caption: String::from("Drift by feature"),
        columns: vec![
            Column::text("Feature"),
            Column::text("Measure"),
            Column::number("Effect"),
            Column::number("p"),
            Column::text("Verdict"),
        ],
        rows: rows.iter().take(DriftSummary::ROWS_SHOWN).map(cell).collect(),
    }));
    if let Some(more) = rows.len().checked_sub(DriftSummary::ROWS_SHOWN).filter(|more| *more > 0) {
        blocks.push(Block::Aside(format!("{more} more rows are not shown.")));
    }
    Section::new("Drift", blocks)
}
