//! The journal's bytes: pure functions over slices. `mod.rs` has the table of the format.
//!
//! Every checksum is seeded with the file's salt and the place where the bytes stand, so that bytes of an older file, or
//! some that have moved, are never taken for this file's. A head has a checksum of its own: what is damaged can be stepped
//! over by its length, and the search for a frame after damage hashes a few bytes at each place, not whatever a length
//! found there happens to say.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The newest format that is known here.
///
/// 1 had no decisions; it is read as one without.
pub(crate) const FORMAT: u32 = 2;

const MAGIC: [u8; 8] = *b"swbkjrnl";

/// Bytes of the header of a file.
pub(crate) const HEADER: usize = 56;

/// Bytes of the head of a frame.
pub(crate) const HEAD: usize = 17;

/// Bytes of the checksum after a body.
const CHECK: usize = 8;

/// The longest body: more than any state has, and little enough to be read at once.
pub(crate) const FRAME_MAX: usize = 64 << 20;

const WHOLE: u8 = 0x10;

const COMMIT: u8 = 0x80;

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The whole of what is decided. The newest replaces those before.
    State = 1,
    /// The evidence that was seen: all of it, or what came since the entry before.
    Evidence = 2,
    /// One line of the audit log.
    Event = 3,
    /// The record of one decision of a guard.
    Decision = 4,
}

/// The header at the beginning of a file. Its layout is that of every format to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) format: u32,
    /// Counts the files that have been the journal of this folder.
    pub(crate) generation: u64,
    /// Drawn for this file.
    pub(crate) salt: u64,
    /// Events that were dropped before the first one in this file.
    pub(crate) dropped: u64,
    /// How long the file was when it was put in its place, synced: a crash can shorten nothing before.
    pub(crate) base: u64,
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend(MAGIC);
        bytes.extend(self.format.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        for number in [self.generation, self.salt, self.dropped, self.base] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(xxh3_64_with_seed(&bytes, 0).to_le_bytes());
        bytes
    }

    /// The header, and whether it is as it was written; nothing where there are too few bytes. One that is not is good for
    /// a repair, which finds out whether its salt is right.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, bool)> {
        let header = Self {
            format: u32_at(bytes, 8)?,
            generation: u64_at(bytes, 16)?,
            salt: u64_at(bytes, 24)?,
            dropped: u64_at(bytes, 32)?,
            base: u64_at(bytes, 40)?,
        };
        let covered = bytes.get(..HEADER - CHECK)?;
        let check = u64_at(bytes, HEADER - CHECK)?;
        let whole =
            covered.starts_with(&MAGIC) && check == xxh3_64_with_seed(covered, 0) && header.format > 0;
        Some((header, whole))
    }

    fn seed(&self, offset: u64) -> u64 {
        self.salt ^ offset
    }
}

/// The head that stands before the body of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    /// Evidence that needs none before it.
    pub(crate) whole: bool,
    /// The last frame of its batch: with it all of the batch counts.
    pub(crate) commit: bool,
    /// Bytes of the body.
    pub(crate) length: u32,
    /// Counts the frames of the file.
    pub(crate) number: u32,
    /// The number of the first frame of its batch. A batch is synced before the next begins, so a frame of a later batch
    /// proves that those before were on disk; one of the same batch does not, since a disk may keep the end of what was
    /// written last and lose its beginning.
    pub(crate) first: u32,
}

impl Head {
    /// Bytes of the whole frame.
    pub(crate) fn frame_length(self) -> u64 {
        frame_length(self.length as usize)
    }

    /// Adds the frame as it stands at `offset` of the file.
    pub(crate) fn encode(self, header: &Header, offset: u64, body: &[u8], out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend(self.length.to_le_bytes());
        let flags = if self.whole { WHOLE } else { 0 } | if self.commit { COMMIT } else { 0 };
        out.push(self.kind as u8 | flags);
        out.extend(self.number.to_le_bytes());
        out.extend(self.first.to_le_bytes());
        let head = out.get(begin..).unwrap_or_default();
        out.extend(short(xxh3_64_with_seed(head, header.seed(offset))).to_le_bytes());
        out.extend(body);
        let frame = out.get(begin..).unwrap_or_default();
        out.extend(xxh3_64_with_seed(frame, header.seed(offset)).to_le_bytes());
    }

    /// The head that stands at the beginning of `bytes`, which is `offset` of the file; nothing where none does.
    pub(crate) fn decode(header: &Header, offset: u64, bytes: &[u8]) -> Option<Self> {
        let length = u32_at(bytes, 0)?;
        let tag = *bytes.get(4)?;
        let kind = match tag & !(WHOLE | COMMIT) {
            1 => Kind::State,
            2 => Kind::Evidence,
            3 => Kind::Event,
            4 => Kind::Decision,
            _ => return None,
        };
        let (number, first) = (u32_at(bytes, 5)?, u32_at(bytes, 9)?);
        // What costs nothing comes first: the search after damage asks at every byte.
        if length as usize > FRAME_MAX || first > number {
            return None;
        }
        let covered = bytes.get(..HEAD - 4)?;
        if u32_at(bytes, HEAD - 4)? != short(xxh3_64_with_seed(covered, header.seed(offset))) {
            return None;
        }
        Some(Self { kind, whole: tag & WHOLE != 0, commit: tag & COMMIT != 0, length, number, first })
    }
}

/// Bytes of a frame with so many in its body.
pub(crate) fn frame_length(body: usize) -> u64 {
    (HEAD + body + CHECK) as u64
}

/// The body of the frame that `frame` is, head and checksum included, at `offset` of the file; nothing where it is none.
pub(crate) fn body<'a>(header: &Header, offset: u64, frame: &'a [u8]) -> Option<&'a [u8]> {
    let end = frame.len().checked_sub(CHECK)?;
    let covered = frame.get(..end)?;
    let check = xxh3_64_with_seed(covered, header.seed(offset));
    (u64_at(frame, end)? == check).then(|| covered.get(HEAD..))?
}

/// The first head in `bytes`, which stand at `offset` of the file, that is `wanted`: how far in, and what it says.
pub(crate) fn find(
    header: &Header,
    offset: u64,
    bytes: &[u8],
    wanted: impl Fn(Head) -> bool,
) -> Option<(usize, Head)> {
    (0..bytes.len()).find_map(|at| {
        let head = Head::decode(header, offset.checked_add(at as u64)?, bytes.get(at..)?)?;
        wanted(head).then_some((at, head))
    })
}

/// The lower half: 32 bits are enough to tell a head from chance, 2^-32 a place, and a body has 64 of its own.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
fn short(check: u64) -> u32 {
    check as u32
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OURS: Header = Header { format: FORMAT, generation: 3, salt: 0x5eed, dropped: 7, base: 99 };

    fn head(length: usize) -> Head {
        let length = u32::try_from(length).unwrap();
        Head { kind: Kind::Evidence, whole: true, commit: true, length, number: 5, first: 4 }
    }

    fn encoded(offset: u64, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        head(body.len()).encode(&OURS, offset, body, &mut bytes);
        bytes
    }

    #[test]
    fn a_header_comes_back_and_a_changed_one_is_told() {
        let bytes = OURS.encode();
        assert_eq!(bytes.len(), HEADER);
        assert_eq!(Header::decode(&bytes), Some((OURS, true)));
        for place in 0..HEADER {
            let mut changed = bytes.clone();
            changed[place] ^= 0x40;
            assert!(!Header::decode(&changed).unwrap().1, "byte {place}");
            assert_eq!(Header::decode(&bytes[..place]), None);
        }
    }

    #[test]
    fn a_frame_of_another_file_or_another_place_is_none() {
        let bytes = encoded(100, b"{}");
        assert_eq!(bytes.len() as u64, head(2).frame_length());
        assert_eq!(Head::decode(&OURS, 100, &bytes), Some(head(2)));
        assert_eq!(body(&OURS, 100, &bytes), Some(b"{}".as_slice()));
        let other = Header { salt: 0x5eee, ..OURS };
        assert_eq!(Head::decode(&OURS, 101, &bytes), None);
        assert_eq!(Head::decode(&other, 100, &bytes), None);
        assert_eq!(body(&OURS, 101, &bytes), None);
        assert_eq!(body(&other, 100, &bytes), None);
    }

    #[test]
    fn a_head_is_found_behind_anything() {
        let mut bytes = vec![0; 1000];
        bytes.extend(encoded(1100, b"here"));
        assert_eq!(find(&OURS, 100, &bytes, |_| true), Some((1000, head(4))));
        assert_eq!(find(&OURS, 100, &bytes, |head| head.first > 4), None);
        assert_eq!(find(&OURS, 101, &bytes, |_| true), None);
    }

    proptest! {
        #[test]
        fn a_changed_frame_is_none(
            bytes in prop::collection::vec(any::<u8>(), 0..100), place in any::<prop::sample::Index>(), flip in 1_u8..
        ) {
            let mut frame = encoded(64, &bytes);
            prop_assert_eq!(body(&OURS, 64, &frame), Some(bytes.as_slice()));
            let place = place.index(frame.len());
            frame[place] ^= flip;
            prop_assert_eq!(body(&OURS, 64, &frame), None);
        }

        #[test]
        fn random_bytes_are_nothing_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), offset in any::<u64>()) {
            let _ = Header::decode(&bytes);
            prop_assert_eq!(body(&OURS, offset, &bytes), None);
            prop_assert_eq!(find(&OURS, offset, &bytes, |_| true), None);
        }
    }
}
