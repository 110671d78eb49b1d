//! Readers and books, all of them made up: who likes what, and who opens what was shown.

/// A book, by its place in the catalogue.
pub(crate) type Book = usize;

pub(crate) const GENRES: [&str; 12] = [
    "biography",
    "children",
    "cooking",
    "crime",
    "fantasy",
    "gardening",
    "history",
    "poetry",
    "romance",
    "science",
    "thriller",
    "travel",
];
/// So many of each genre stand side by side in the catalogue.
const BOOKS_OF_A_GENRE: usize = 30;
pub(crate) const BOOKS: usize = GENRES.len() * BOOKS_OF_A_GENRE;
/// What a reader is remembered by.
pub(crate) const RECENT: usize = 16;
/// How many books are shown.
pub(crate) const SHOWN: usize = 10;
/// What a book is like beside its genre: grave or light, short or long, old or new.
const STYLES: usize = 3;

/// The genre of a book.
pub(crate) fn genre(book: Book) -> usize {
    (book / BOOKS_OF_A_GENRE).min(GENRES.len() - 1)
}

/// Chance from a seed (SplitMix64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// Evenly from 0 to 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((self.uniform() * limit as f64) as usize).min(limit.saturating_sub(1))
    }
}

/// The readers, the books, and what is in fashion.
pub(crate) struct World {
    chance: Chance,
    books: Vec<Traits>,
    readers: Vec<Reader>,
    fashion: [f64; GENRES.len()],
}

struct Traits {
    quality: f64,
    style: [f64; STYLES],
}

struct Reader {
    taste: [f64; GENRES.len()],
    style: [f64; STYLES],
    /// What they have read, the last one last.
    recent: Vec<Book>,
}

impl World {
    /// A world in which everybody has read something.
    pub(crate) fn new(readers: usize, seed: u64) -> Self {
        let mut chance = Chance(seed);
        let style = |chance: &mut Chance| std::array::from_fn(|_| chance.normal());
        let books =
            (0..BOOKS).map(|_| Traits { quality: chance.normal(), style: style(&mut chance) }).collect();
        let readers = (0..readers)
            .map(|_| Reader {
                taste: std::array::from_fn(|_| chance.normal()),
                style: style(&mut chance),
                recent: Vec::new(),
            })
            .collect();
        let mut world = Self { chance, books, readers, fashion: [0.0; GENRES.len()] };
        for reader in 0..world.readers.len() {
            (0..RECENT).for_each(|_| world.reads_something(reader));
        }
        world
    }

    /// Somebody comes: a few come often, most seldom.
    pub(crate) fn visitor(&mut self) -> usize {
        let share = self.chance.uniform();
        ((share.powf(1.7) * self.readers.len() as f64) as usize).min(self.readers.len() - 1)
    }

    /// What a reader has read last, the last one last.
    pub(crate) fn recent(&self, reader: usize) -> Vec<Book> {
        self.readers.get(reader).map(|reader| reader.recent.clone()).unwrap_or_default()
    }

    /// What everybody has read last.
    pub(crate) fn histories(&self) -> impl Iterator<Item = &[Book]> {
        self.readers.iter().map(|reader| reader.recent.as_slice())
    }

    /// From now on everybody wants to go out, and nobody wants to be frightened.
    pub(crate) fn spring_comes(&mut self) {
        for (genre, fashion) in GENRES.iter().zip(&mut self.fashion) {
            *fashion = match *genre {
                "gardening" | "travel" => 2.5,
                "crime" | "thriller" => -3.0,
                _ => -1.5,
            };
        }
    }

    /// What a reader opens of a list, who looks at the first book surely and at the last one seldom. It may be nothing:
    /// nobody ever says "no".
    pub(crate) fn opens(&mut self, reader: usize, list: &[Book]) -> Vec<Book> {
        let mut opened = Vec::new();
        for (place, book) in list.iter().enumerate() {
            let looks = 1.0 / (1.0 + 0.35 * place as f64);
            let likes = 1.0 / (1.0 + (5.2 - self.appeal(reader, *book)).exp());
            if self.chance.uniform() < looks * likes {
                opened.push(*book);
            }
        }
        for book in &opened {
            self.has_read(reader, *book);
        }
        // And now and then they read what somebody else has told them of.
        if self.chance.uniform() < 0.5 {
            self.reads_something(reader);
        }
        opened
    }

    fn appeal(&self, reader: usize, book: Book) -> f64 {
        let (Some(reader), Some(traits)) = (self.readers.get(reader), self.books.get(book)) else {
            return 0.0;
        };
        let of = |values: &[f64; GENRES.len()]| values.get(genre(book)).copied().unwrap_or_default();
        let style: f64 = reader.style.iter().zip(&traits.style).map(|(a, b)| a * b).sum();
        1.3 * of(&reader.taste) + of(&self.fashion) + style + 0.6 * traits.quality
    }

    /// The one that they like best of a few that they come across.
    fn reads_something(&mut self, reader: usize) {
        let seen: Vec<Book> = (0..15).map(|_| self.chance.below(BOOKS)).collect();
        let best =
            seen.into_iter().max_by(|a, b| self.appeal(reader, *a).total_cmp(&self.appeal(reader, *b)));
        self.has_read(reader, best.unwrap_or_default());
    }

    fn has_read(&mut self, reader: usize, book: Book) {
        if let Some(reader) = self.readers.get_mut(reader) {
            if reader.recent.len() == RECENT {
                reader.recent.remove(0);
            }
            reader.recent.push(book);
        }
    }
}
