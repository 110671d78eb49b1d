//! The frames of a file, one after the other, in the memory of one.

use std::io;
use std::io::{BufReader, Read, Seek, SeekFrom};

use super::frame;
use super::frame::{HEAD, HEADER, Head, Header};

/// How much is searched at once for a frame after damage.
const WINDOW: u64 = 64 << 10;

/// Reads the frames of a file up to a place.
#[derive(Debug)]
pub(crate) struct Frames<R> {
    input: BufReader<R>,
    header: Header,
    at: u64,
    end: u64,
    frame: Vec<u8>,
}

/// The next thing in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// A whole frame; its body can be had until the next one.
    Frame(Head),
    /// The place that was to be read to.
    End,
    /// No whole frame; its head, where that is whole. Nothing is stepped over.
    Bad(Option<Head>),
}

impl<R: Read + Seek> Frames<R> {
    /// The frames of a file that begins with `header`, up to `end`.
    pub(crate) fn new(file: R, header: Header, end: u64) -> io::Result<Self> {
        let mut frames = Self { input: BufReader::new(file), header, at: 0, end, frame: Vec::new() };
        frames.seek(HEADER as u64)?;
        Ok(frames)
    }

    /// Where the next frame begins.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    pub(crate) fn next(&mut self) -> io::Result<Next> {
        if self.at >= self.end {
            return Ok(Next::End);
        }
        self.frame.clear();
        self.fill(HEAD as u64)?;
        let Some(head) = Head::decode(&self.header, self.at, &self.frame) else { return Ok(Next::Bad(None)) };
        // Before any memory is asked for: a length is worth what the file has.
        let length = head.frame_length();
        if length > self.end - self.at {
            return Ok(Next::Bad(Some(head)));
        }
        self.fill(length - HEAD as u64)?;
        if frame::body(&self.header, self.at, &self.frame).is_none() {
            return Ok(Next::Bad(Some(head)));
        }
        self.at += length;
        Ok(Next::Frame(head))
    }

    /// The body of the frame that was read last.
    pub(crate) fn body(&self) -> &[u8] {
        self.frame.get(HEAD..self.frame.len().saturating_sub(8)).unwrap_or_default()
    }

    /// The first head that stands at `from` or after it and is `wanted`. Linear in what is left of the file. Afterwards the next frame is looked for there, or at the end
    /// where there is none.
    pub(crate) fn find(&mut self, from: u64, wanted: impl Fn(Head) -> bool) -> io::Result<Option<Head>> {
        self.seek(from.min(self.end))?;
        self.frame.clear();
        loop {
            let before = self.frame.len();
            self.fill(WINDOW)?;
            let grown = self.frame.len() > before;
            if let Some((place, head)) = frame::find(&self.header, self.at, &self.frame, &wanted) {
                self.seek(self.at + place as u64)?;
                return Ok(Some(head));
            }
            if !grown {
                self.seek(self.end)?;
                return Ok(None);
            }
            // A head may begin in what is too short to hold it.
            let searched = self.frame.len().saturating_sub(HEAD - 1);
            self.frame.drain(..searched);
            self.at += searched as u64;
        }
    }

    fn seek(&mut self, to: u64) -> io::Result<()> {
        self.at = self.input.seek(SeekFrom::Start(to))?;
        Ok(())
    }

    /// Adds so many bytes to what was read since `at`, or as many as there are.
    fn fill(&mut self, bytes: u64) -> io::Result<()> {
        let left = (self.end - self.at).saturating_sub(self.frame.len() as u64);
        (&mut self.input).take(bytes.min(left)).read_to_end(&mut self.frame)?;
        Ok(())
    }
}
