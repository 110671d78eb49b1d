//! Two ways to rank books. They have nothing in common but what they are asked and what they answer: one counts genres,
//! the other has learnt which books go together.

use switchback::model::ModelError;

use crate::world::{BOOKS, Book, Chance, GENRES, SHOWN, genre};

/// What is asked: somebody has come who has read these, the last one last.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) recent: Vec<Book>,
}

/// What is answered: books, the best first.
pub(crate) type Shown = Vec<Book>;

/// The most read books of the genres that somebody reads.
pub(crate) struct PopularByGenre {
    /// How often each book was read, over how often its genre was.
    popularity: Vec<f64>,
}

impl PopularByGenre {
    pub(crate) fn learn<'a>(histories: impl Iterator<Item = &'a [Book]>) -> Self {
        let (mut books, mut genres) = (vec![0.0; BOOKS], [1.0; GENRES.len()]);
        for book in histories.flatten() {
            books.get_mut(*book).into_iter().for_each(|count| *count += 1.0);
            genres.get_mut(genre(*book)).into_iter().for_each(|count| *count += 1.0);
        }
        let over = |(book, count): (Book, f64)| count / genres.get(genre(book)).copied().unwrap_or(1.0);
        Self { popularity: books.into_iter().enumerate().map(over).collect() }
    }

    pub(crate) fn rank(&self, visit: &Visit) -> Result<Shown, ModelError> {
        let mut genres = [0.3; GENRES.len()];
        for book in &visit.recent {
            genres.get_mut(genre(*book)).into_iter().for_each(|count| *count += 1.0);
        }
        let likes = |book: Book| genres.get(genre(book)).copied().unwrap_or_default();
        let scores = self.popularity.iter().enumerate();
        Ok(best(scores.map(|(book, popularity)| popularity * likes(book)), &visit.recent))
    }
}

const FACTORS: usize = 16;

/// A vector for each book, so that books which the same people read point the same way; a reader is the mean of what
/// they have read. The vectors are the first eigenvectors of how much more often than by chance two books were read by
/// one person (positive pointwise mutual information; Levy & Goldberg, NIPS 2014).
pub(crate) struct Factors {
    vectors: Vec<[f64; FACTORS]>,
    /// By how many places the numbers of a visit are off: what goes wrong when the catalogue gets books in front and the
    /// pipeline still counts from the old beginning.
    off_by: usize,
}

impl Factors {
    pub(crate) fn learn<'a>(histories: impl Iterator<Item = &'a [Book]>) -> Self {
        let mut together = vec![vec![0.0_f64; BOOKS]; BOOKS];
        for history in histories {
            for (a, b) in history.iter().flat_map(|a| history.iter().map(move |b| (*a, *b))) {
                if a != b
                    && let Some(count) = together.get_mut(a).and_then(|row| row.get_mut(b))
                {
                    *count += 1.0;
                }
            }
        }
        let often: Vec<f64> = together.iter().map(|row| row.iter().sum::<f64>().max(1.0)).collect();
        let all: f64 = often.iter().sum();
        for (row, a) in together.iter_mut().zip(&often) {
            for (count, b) in row.iter_mut().zip(&often) {
                *count = (*count * all / (a * b)).max(1.0).ln();
            }
        }
        Self { vectors: eigenvectors(&together), off_by: 0 }
    }

    /// The same behind a pipeline that is off by so many places.
    pub(crate) fn off_by(self, off_by: usize) -> Self {
        Self { off_by, ..self }
    }

    pub(crate) fn rank(&self, visit: &Visit) -> Result<Shown, ModelError> {
        let mut reader = [0.0; FACTORS];
        for book in &visit.recent {
            let vector = self.vectors.get((book + self.off_by) % BOOKS);
            let vector = vector.ok_or_else(|| ModelError::input("a book that is not in the catalogue"))?;
            reader.iter_mut().zip(vector).for_each(|(sum, part)| *sum += part);
        }
        Ok(best(self.vectors.iter().map(|vector| product(vector, &reader)), &visit.recent))
    }
}

/// The first eigenvectors of a symmetric matrix, each as long as the root of its value: by multiplying again and again.
fn eigenvectors(matrix: &[Vec<f64>]) -> Vec<[f64; FACTORS]> {
    let mut chance = Chance(1);
    let mut basis: Vec<Vec<f64>> =
        (0..FACTORS).map(|_| matrix.iter().map(|_| chance.normal()).collect()).collect();
    let mut lengths = [0.0; FACTORS];
    for _ in 0..30 {
        for place in 0..FACTORS {
            let (before, rest) = basis.split_at_mut(place);
            let Some(vector) = rest.first_mut() else { continue };
            *vector = matrix.iter().map(|row| product(row, vector)).collect();
            for other in before {
                let along = product(vector, other);
                vector.iter_mut().zip(other).for_each(|(part, of)| *part -= along * *of);
            }
            let length = product(vector, vector).sqrt().max(1e-12);
            vector.iter_mut().for_each(|part| *part /= length);
            lengths.get_mut(place).into_iter().for_each(|of| *of = length);
        }
    }
    let of = |book: usize, factor: usize| {
        let length = lengths.get(factor).copied().unwrap_or_default();
        basis.get(factor).and_then(|vector| vector.get(book)).copied().unwrap_or_default() * length.sqrt()
    };
    (0..matrix.len()).map(|book| std::array::from_fn(|factor| of(book, factor))).collect()
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The books with the highest scores, of those that were not read lately.
fn best(scores: impl Iterator<Item = f64>, read: &[Book]) -> Shown {
    let mut scored: Vec<(f64, Book)> = scores
        .enumerate()
        .filter(|(book, _)| !read.contains(book))
        .map(|(book, score)| (score, book))
        .collect();
    let higher = |a: &(f64, Book), b: &(f64, Book)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if scored.len() > SHOWN {
        scored.select_nth_unstable_by(SHOWN, higher);
        scored.truncate(SHOWN);
    }
    scored.sort_unstable_by(higher);
    scored.into_iter().map(|(_, book)| book).collect()
}
