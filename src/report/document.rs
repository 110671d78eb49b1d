//! The content of a page, before it is written in one form or another. Text here is plain: whoever renders it escapes it.

use super::plot::plot::Plot;

/// A page.
pub(crate) struct Document {
    pub(crate) title: String,
    /// The outcome of the rollout, in a word or two.
    pub(crate) outcome: String,
    pub(crate) tone: Tone,
    /// The story of what happened, in a sentence or two each.
    pub(crate) lead: Vec<String>,
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) sections: Vec<Section>,
    pub(crate) foot: String,
    /// After how many seconds it is to be loaded again, of a page about what goes on.
    pub(crate) renewed_every: Option<u32>,
}

/// How an outcome is to be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tone {
    Good,
    Bad,
    Open,
}

pub(crate) struct Section {
    pub(crate) heading: String,
    pub(crate) blocks: Vec<Block>,
}

impl Section {
    pub(crate) fn new(heading: impl Into<String>, blocks: Vec<Block>) -> Self {
        Self { heading: heading.into(), blocks }
    }
}

pub(crate) enum Block {
    /// A paragraph.
    Text(String),
    /// An aside that helps to read the rest.
    Aside(String),
    Table(Table),
    Plots(Vec<Plot>),
    /// The steps of what happened, in their order.
    Steps(Vec<Step>),
    /// Where to read on: what it says, and its path.
    #[cfg(feature = "admin")]
    Links(Vec<(String, String)>),
}

pub(crate) struct Table {
    pub(crate) caption: String,
    pub(crate) columns: Vec<Column>,
    /// The first cell of a row is what the row is about.
    pub(crate) rows: Vec<Vec<String>>,
}

pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) is_number: bool,
}

impl Column {
    pub(crate) fn text(name: impl Into<String>) -> Self {
        Self { name: name.into(), is_number: false }
    }

    pub(crate) fn number(name: impl Into<String>) -> Self {
        Self { name: name.into(), is_number: true }
    }
}

/// Something that happened.
pub(crate) struct Step {
    pub(crate) when: String,
    pub(crate) what: String,
    /// Who did it, where somebody did.
    pub(crate) by: Option<String>,
    pub(crate) grounds: Vec<Ground>,
}

/// The grounds of a step.
pub(crate) struct Ground {
    pub(crate) verdict: &'static str,
    pub(crate) sentence: String,
    /// How strong it is, and whether it was judged again.
    pub(crate) detail: String,
    /// How far it went towards its limit.
    pub(crate) progress: Option<Progress>,
}

/// How far evidence went towards what was asked for, on the scale of its logarithm; 1 is all of it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Progress {
    pub(crate) part: f64,
    /// Towards harm, not away from it.
    pub(crate) of_harm: bool,
}
