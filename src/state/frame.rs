//! The journal's bytes: pure functions over slices. The module above has the table of the format.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The latest format that is known here.
pub(super) const FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"swbackjl";
pub(super) const HEADER: usize = 40;
/// Length and checksum before each body.
const PREFIX: usize = 12;
/// Kind and length before each part of a body.
const PART: usize = 5;

/// What stands at the beginning of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Counts the files that this one has replaced.
    pub(super) generation: u64,
    /// Mixed into every checksum: bytes of another file are never taken for this one's.
    pub(super) salt: u64,
}

/// Why a beginning is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoHeader {
    Not(&'static str),
    Newer(u32),
}

/// What a part of a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What was decided, whole.
    State = 1,
    /// What was seen, whole.
    Evidence = 2,
    /// What was seen since the last record.
    MoreEvidence = 3,
    /// One event.
    Event = 4,
    /// How many events were dropped before the first one here, as eight bytes.
    Dropped = 5,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Self::State, Self::Evidence, Self::MoreEvidence, Self::Event, Self::Dropped]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

impl Header {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(self.generation.to_le_bytes());
        bytes.extend(self.salt.to_le_bytes());
        bytes.extend(xxh3_64_with_seed(&bytes, 0).to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, NoHeader> {
        let Some(header) = bytes.get(..HEADER) else { return Err(NoHeader::Not("it is too short")) };
        if !header.starts_with(MAGIC) {
            return Err(NoHeader::Not("it begins otherwise"));
        }
        let format = u32_at(header, 8).unwrap_or_default();
        if format > FORMAT {
            return Err(NoHeader::Newer(format));
        }
        let check = header.get(..HEADER - 8).map(|bytes| xxh3_64_with_seed(bytes, 0));
        if check != u64_at(header, HEADER - 8) {
            return Err(NoHeader::Not("its first bytes are damaged"));
        }
        match (u64_at(header, 16), u64_at(header, 24)) {
            (Some(generation), Some(salt)) => Ok(Self { generation, salt }),
            _ => Err(NoHeader::Not("it is too short")),
        }
    }

    /// A record as it stands at `offset` of this file.
    pub(super) fn record(self, offset: usize, parts: &[(Kind, &[u8])]) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        for (kind, bytes) in parts {
            body.push(*kind as u8);
            body.extend(u32::try_from(bytes.len()).ok()?.to_le_bytes());
            body.extend(*bytes);
        }
        let mut record = u32::try_from(body.len()).ok()?.to_le_bytes().to_vec();
        record.extend(self.check(offset, &body).to_le_bytes());
        record.extend(body);
        Some(record)
    }

    /// The place is part of the checksum: a record that has moved is none.
    fn check(self, offset: usize, body: &[u8]) -> u64 {
        xxh3_64_with_seed(body, self.salt ^ offset as u64)
    }

    /// The body of the record at `offset`, and where the next one begins; nothing where there is no whole record.
    fn record_at(self, bytes: &[u8], offset: usize) -> Option<(&[u8], usize)> {
        let length = u32_at(bytes, offset)? as usize;
        let check = u64_at(bytes, offset + 4)?;
        let begin = offset + PREFIX;
        let end = begin.checked_add(length)?;
        let body = bytes.get(begin..end)?;
        // Cheap first: the search for a record after damage asks at every byte.
        (length > 0 && Parts(body).is_whole() && check == self.check(offset, body)).then_some((body, end))
    }
}

/// The records of a file, as far as they are whole.
pub(super) struct Read<'a> {
    pub(super) header: Header,
    pub(super) bodies: Vec<&'a [u8]>,
    /// Where what is whole ends.
    pub(super) end: usize,
    /// Where a whole record begins behind something that is none.
    pub(super) beyond: Option<usize>,
}

/// Reads the records of a file up to the first that is not whole. Linear in its size.
pub(super) fn read(bytes: &[u8]) -> Result<Read<'_>, NoHeader> {
    let header = Header::decode(bytes)?;
    let (bodies, end) = run(header, bytes, HEADER);
    let beyond = (end + 1..bytes.len()).find(|offset| header.record_at(bytes, *offset).is_some());
    Ok(Read { header, bodies, end, beyond })
}

/// What is whole in a file, whatever lies between; and how many bytes do.
pub(super) fn salvage(bytes: &[u8]) -> Result<(Vec<&[u8]>, u64), NoHeader> {
    let Read { header, mut bodies, mut end, mut beyond } = read(bytes)?;
    let mut lost = 0;
    while let Some(next) = beyond {
        lost += (next - end) as u64;
        let (more, stop) = run(header, bytes, next);
        bodies.extend(more);
        end = stop;
        beyond = (end + 1..bytes.len()).find(|offset| header.record_at(bytes, *offset).is_some());
    }
    Ok((bodies, lost + bytes.len().saturating_sub(end) as u64))
}

fn run(header: Header, bytes: &[u8], from: usize) -> (Vec<&[u8]>, usize) {
    let (mut bodies, mut end) = (Vec::new(), from);
    while let Some((body, next)) = header.record_at(bytes, end) {
        bodies.push(body);
        end = next;
    }
    (bodies, end)
}

/// The parts of a record's body.
pub(super) struct Parts<'a>(pub(super) &'a [u8]);

impl Parts<'_> {
    /// Whether there is nothing in it but parts.
    fn is_whole(&self) -> bool {
        let mut parts = Parts(self.0);
        while !parts.0.is_empty() {
            if parts.next().is_none() {
                return false;
            }
        }
        true
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = (Kind, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let kind = Kind::of(*self.0.first()?)?;
        let length = u32_at(self.0, 1)? as usize;
        let end = PART.checked_add(length)?;
        let part = self.0.get(PART..end)?;
        self.0 = self.0.get(end..)?;
        Some((kind, part))
    }
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

    const OURS: Header = Header { generation: 3, salt: 0x5eed };

    fn file(records: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = OURS.encode();
        for body in records {
            let record = OURS.record(bytes.len(), &[(Kind::Event, body)]).unwrap();
            bytes.extend(record);
        }
        bytes
    }

    fn events(read: &Read<'_>) -> Vec<Vec<u8>> {
        read.bodies.iter().flat_map(|body| Parts(body)).map(|(_, part)| part.to_vec()).collect()
    }

    #[test]
    fn a_record_of_another_file_or_another_place_is_none() {
        let bytes = file(&[b"one".to_vec(), b"two".to_vec()]);
        let first = OURS.record_at(&bytes, HEADER).unwrap().1;
        let mut swapped = OURS.encode();
        swapped.extend(&bytes[first..]);
        assert_eq!(read(&swapped).unwrap().bodies.len(), 0);
        let other = Header { salt: 1, ..OURS };
        let mut mixed = other.encode();
        mixed.extend(&bytes[HEADER..]);
        assert_eq!(read(&mixed).unwrap().bodies.len(), 0);
    }

    proptest! {
        #[test]
        fn what_is_read_is_a_prefix_of_what_was_written(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            place in any::<prop::sample::Index>(), flip in 1_u8.., cut in any::<prop::sample::Index>(), kind in 0..2
        ) {
            let mut bytes = file(&records);
            if kind == 0 {
                let place = place.index(bytes.len());
                bytes[place] ^= flip;
            } else {
                bytes.truncate(cut.index(bytes.len() + 1));
            }
            if let Ok(read) = read(&bytes) {
                let found = events(&read);
                prop_assert!(records.starts_with(&found));
                // Damage that is followed by something whole is never taken for the end.
                prop_assert!(found.len() == records.len() || kind == 1 || read.beyond.is_some() || found.len() + 1 == records.len());
            }
            if let Ok((bodies, lost)) = salvage(&bytes) {
                let whole: usize = bodies.iter().map(|body| body.len() + PREFIX).sum();
                prop_assert_eq!(whole + lost as usize + HEADER, bytes.len());
            }
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_read(bytes in prop::collection::vec(any::<u8>(), 0..400), headed: bool) {
            let mut file = if headed { OURS.encode() } else { Vec::new() };
            file.extend(bytes);
            let _ = read(&file);
            let _ = salvage(&file);
        }
    }
}
