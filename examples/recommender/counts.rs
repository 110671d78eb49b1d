//! What the shop itself counts of each version: visits, clicks, and what came in.

use switchback::VersionId;
use switchback::drift::{BuildProfileError, Cell, Profile, ReferenceProfile, WrongCells};

use crate::world::{Book, GENRES, genre};

/// What one version was asked since the last time.
pub(crate) struct Arm {
    pub(crate) version: VersionId,
    pub(crate) visits: u64,
    clicked: u64,
    pub(crate) seen: Profile,
}

impl Arm {
    /// That of a version.
    pub(crate) fn of(arms: &[Arm], version: VersionId) -> Option<&Arm> {
        arms.iter().find(|arm| arm.version == version)
    }

    /// The share of visits with a click.
    pub(crate) fn rate(&self) -> f64 {
        self.clicked as f64 / self.visits.max(1) as f64
    }
}

/// By version.
pub(crate) struct Counts {
    /// The readers as they were when the shop opened, and what they had read last: the bins of everything.
    reference: ReferenceProfile,
    arms: Vec<Arm>,
}

impl Counts {
    pub(crate) fn new(histories: &[Vec<Book>]) -> Result<Self, BuildProfileError> {
        let rows = histories.iter().map(|recent| cells(recent, recent.last().copied()));
        let builder = ReferenceProfile::builder();
        let reference = builder
            .categorical("genre read last")
            .categorical("genre read most")
            .numeric("genres read")
            .categorical("genre opened")
            .build_from(rows)?;
        Ok(Self { reference, arms: Vec::new() })
    }

    pub(crate) fn count(
        &mut self,
        version: VersionId,
        recent: &[Book],
        opened: Option<Book>,
    ) -> Result<(), WrongCells> {
        let place = self.arms.iter().position(|arm| arm.version == version).unwrap_or_else(|| {
            self.arms.push(Arm { version, visits: 0, clicked: 0, seen: self.reference.profile() });
            self.arms.len() - 1
        });
        let Some(arm) = self.arms.get_mut(place) else { return Ok(()) };
        arm.visits += 1;
        arm.clicked += u64::from(opened.is_some());
        arm.seen.record(&cells(recent, opened))
    }

    /// What was counted; counts from 0 again.
    pub(crate) fn take(&mut self) -> Vec<Arm> {
        std::mem::take(&mut self.arms)
    }
}

/// What a visit is like, and what came of it, for the profile.
fn cells(recent: &[Book], opened: Option<Book>) -> [Cell<'static>; 4] {
    let name = |genre: usize| GENRES.get(genre).map_or(Cell::Missing, |name| Cell::Text(name));
    let mut often = [0_usize; GENRES.len()];
    for book in recent {
        often.get_mut(genre(*book)).into_iter().for_each(|count| *count += 1);
    }
    let most = often.iter().enumerate().max_by_key(|(place, count)| (**count, usize::MAX - *place));
    [
        recent.last().map_or(Cell::Missing, |book| name(genre(*book))),
        most.map_or(Cell::Missing, |(genre, _)| name(genre)),
        Cell::Number(often.iter().filter(|count| **count > 0).count() as f64),
        opened.map_or(Cell::Missing, |book| name(genre(book))),
    ]
}
