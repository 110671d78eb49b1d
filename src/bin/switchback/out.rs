//! What is printed: safe for a terminal, and quiet where nobody reads any more.

use std::io::{self, BufRead, BufWriter, IsTerminal, Stdout, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// What a terminal obeys: go to its first line, clear the rest of a line, clear all below.
const HOME: &str = "\u{1b}[H";
const LINE_ENDS: &str = "\u{1b}[K";
const BELOW_IS_NOTHING: &str = "\u{1b}[J";

/// The standard output, for as long as somebody reads it.
///
/// A reader who has seen enough (`| head -1`) is no error, and changes nothing of what a command finds: it goes on to its end, and what it
/// ends with is the same. Whatever has no end of its own asks [`Out::is_read`].
struct Reader {
    stdout: Stdout,
    is_gone: bool,
}

impl Reader {
    fn unless_gone<T>(&mut self, write: impl FnOnce(&mut Stdout) -> io::Result<T>, gone: T) -> io::Result<T> {
        if self.is_gone {
            return Ok(gone);
        }
        match write(&mut self.stdout) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_gone = true;
                Ok(gone)
            }
            written => written,
        }
    }
}

impl Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_gone(|stdout| stdout.write(bytes), bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_gone(Write::flush, ())
    }
}

/// The answer, as text or as JSON.
pub(crate) struct Out {
    reader: BufWriter<Reader>,
    /// Whether what is printed takes the place of what stands there.
    paints: bool,
    /// Whether JSON was asked for.
    pub(crate) json: bool,
}

impl Out {
    pub(crate) fn new(json: bool) -> Self {
        let reader = Reader { stdout: io::stdout(), is_gone: false };
        Self { reader: BufWriter::new(reader), paints: false, json }
    }

    /// A line of text. Whatever it holds of names from elsewhere is shown, and tells the terminal nothing.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        self.end_line(&visible(text))
    }

    /// A line, and where a picture is painted nothing behind it of what stood there.
    fn end_line(&mut self, line: &str) -> io::Result<()> {
        let end = if self.paints { LINE_ENDS } else { "" };
        writeln!(self.reader, "{line}{end}")
    }

    /// Paints lines in place of those before: text for a terminal, written at once.
    pub(crate) fn paint<E: From<io::Error>>(
        &mut self,
        lines: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.own(HOME.as_bytes())?;
        self.paints = true;
        let painted = lines(self);
        self.paints = false;
        painted?;
        self.own(BELOW_IS_NOTHING.as_bytes())?;
        Ok(self.flush()?)
    }

    /// Rows below their heads, left-aligned. Nothing is cut off, however wide it is.
    pub(crate) fn table(&mut self, heads: &[&str], rows: Vec<Vec<String>>) -> io::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(heads.iter().copied());
        for row in rows {
            table.add_row(row.iter().map(|cell| visible(cell)));
        }
        // Columns are two spaces apart, and none is before the first.
        let columns = table.column_iter_mut();
        columns.for_each(|column| {
            column.set_padding((0, 2));
        });
        for line in table.lines() {
            self.end_line(line.trim_end())?;
        }
        Ok(())
    }

    /// A value as JSON, indented, since people read it too. JSON escapes what a terminal would obey, but for what turns text
    /// round.
    pub(crate) fn value(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value)?;
        writeln!(self.reader, "{}", escaped(&text))
    }

    /// One line of JSON.
    pub(crate) fn json_line(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.reader, "{}", escaped(line))
    }

    /// What the program has made itself, as it is.
    pub(crate) fn own(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.write_all(bytes)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.reader.flush()
    }

    /// Whether somebody was there at the last flush.
    pub(crate) fn is_read(&self) -> bool {
        !self.reader.get_ref().is_gone
    }
}

/// A line on the standard error.
pub(crate) fn complain(text: &str) -> io::Result<()> {
    writeln!(io::stderr(), "error: {}", visible(text))
}

/// A remark for those who read it and not for what reads the output. What it is about is done: where nobody listens it is not told.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(io::stderr(), "switchback: {}", visible(text));
}

/// A size as people read it; exact below a kilobyte.
pub(crate) fn bytes(size: u64) -> String {
    let units = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| size >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", size as f64 / unit as f64),
        None => format!("{size} B"),
    }
}

/// Asks on a terminal, and takes nothing but yes for yes.
pub(crate) fn ask(question: &str) -> Result<(), crate::Failure> {
    if !io::stdin().is_terminal() {
        return Err(crate::Failure::Refused(
            "nobody is there to ask: say --yes where this is wanted".to_owned(),
        ));
    }
    let mut stderr = io::stderr();
    stderr.write_all(question.as_bytes())?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(crate::Failure::Refused("nothing was done".to_owned())) }
}

/// What turns text round, or ends a line where a terminal sees none.
fn turns(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

pub(crate) fn visible(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() || turns(letter) { '\u{fffd}' } else { letter })
        .collect()
}

/// JSON whose strings are what they were: a character that a terminal obeys is written by its number.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            '\n' => text.push(letter),
            letter if letter.is_control() || turns(letter) => {
                text.push_str(&format!("\\u{:04x}", u32::from(letter)))
            }
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_of_a_name() {
        assert_eq!(visible("a\u{1b}[2J\u{202e}b\nc"), "a\u{fffd}[2J\u{fffd}b\u{fffd}c");
        let json = serde_json::to_string("\u{9b}2J\u{202e}").unwrap_or_default();
        assert_eq!(escaped(&json), "\"\\u009b2J\\u202e\"");
        assert_eq!(serde_json::from_str::<String>(&escaped(&json)).unwrap_or_default(), "\u{9b}2J\u{202e}");
    }
}
