//! What a page says, before it is written in one form or another. Text here is plain: whoever renders it escapes it.

use super::plot::Plot;

/// A page.
pub(super) struct Document {
    pub(super) title: String,
    /// What became of it, in a word or two.
    pub(super) outcome: String,
    pub(super) tone: Tone,
    /// What happened, in a sentence or two each.
    pub(super) lead: Vec<String>,
    pub(super) facts: Vec<(String, String)>,
    pub(super) sections: Vec<Section>,
    pub(super) foot: String,
}

/// How an outcome is to be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tone {
    Good,
    Bad,
    Open,
}

pub(super) struct Section {
    pub(super) heading: String,
    pub(super) blocks: Vec<Block>,
}

impl Section {
    pub(super) fn new(heading: impl Into<String>, blocks: Vec<Block>) -> Self {
        Self { heading: heading.into(), blocks }
    }
}

pub(super) enum Block {
    /// A paragraph.
    Text(String),
    /// What helps to read the rest.
    Aside(String),
    Table(Table),
    Plots(Vec<Plot>),
    /// What happened, in its order.
    Steps(Vec<Step>),
}

pub(super) struct Table {
    pub(super) caption: String,
    pub(super) columns: Vec<Column>,
    /// The first cell of a row is what the row is about.
    pub(super) rows: Vec<Vec<String>>,
}

pub(super) struct Column {
    pub(super) name: String,
    pub(super) is_number: bool,
}

impl Column {
    pub(super) fn text(name: impl Into<String>) -> Self {
        Self { name: name.into(), is_number: false }
    }

    pub(super) fn number(name: impl Into<String>) -> Self {
        Self { name: name.into(), is_number: true }
    }
}

/// Something that happened.
pub(super) struct Step {
    pub(super) when: String,
    pub(super) what: String,
    /// Who did it, where somebody did.
    pub(super) by: Option<String>,
    pub(super) grounds: Vec<Ground>,
}

/// What a step rests on.
pub(super) struct Ground {
    pub(super) verdict: &'static str,
    pub(super) sentence: String,
    /// How strong it is, and whether it was judged again.
    pub(super) detail: String,
    /// How far it went towards its limit.
    pub(super) progress: Option<Progress>,
}

/// How far evidence went towards what was asked for, on the scale of its logarithm; 1 is all of it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Progress {
    pub(super) part: f64,
    /// Towards harm, not away from it.
    pub(super) of_harm: bool,
}
