//! What goes on whether or not the service runs: time, and planes in the air with the ids of their predictions.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::error::Error;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use switchback::Timestamp;

use crate::HOUR;
use crate::flights::Flight;

/// When a plane landed, the id of the prediction made for it, and whether it was late.
pub(crate) type Landing = (Timestamp, String, bool);

pub(crate) struct World<'a> {
    pub(crate) now: Timestamp,
    /// Flights that have not left yet.
    rest: &'a [Flight],
    in_the_air: BinaryHeap<Reverse<Landing>>,
    /// Where it is kept, as the service of an airport keeps it in its database.
    file: PathBuf,
}

impl<'a> World<'a> {
    /// Goes on where it stood an hour ago at most; or begins with the first of these flights.
    pub(crate) fn open(file: PathBuf, flights: &'a [Flight]) -> Result<Self, Box<dyn Error>> {
        let first = flights.first().ok_or("there are no flights from April on")?.departed();
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("{}: {error}", file.display()).into()),
        };
        let mut lines = text.lines();
        let now = lines.next().map_or(Ok(first), |line| line.parse().map(Timestamp::from_unix_seconds))?;
        let landing = |line: &str| -> Result<Reverse<Landing>, Box<dyn Error>> {
            let mut parts = line.splitn(3, ' ');
            let mut next = || parts.next().ok_or("a line ends early");
            let (landed, late, id) = (next()?.parse()?, next()?.parse()?, next()?.to_owned());
            Ok(Reverse((Timestamp::from_unix_seconds(landed), id, late)))
        };
        let in_the_air = lines.map(landing).collect::<Result<_, _>>()?;
        let left = flights.partition_point(|flight| flight.departed() <= now && !text.is_empty());
        Ok(Self { now, rest: flights.get(left..).unwrap_or_default(), in_the_air, file })
    }

    /// Flights that have not left yet.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Lets an hour pass, and gives the flights that leave in it; nothing once all have landed.
    pub(crate) fn hour_passes(&mut self) -> Option<&'a [Flight]> {
        if self.rest.is_empty() && self.in_the_air.is_empty() {
            return None;
        }
        self.now = self.now.plus(HOUR);
        let (leaving, later) =
            self.rest.split_at(self.rest.partition_point(|flight| flight.departed() <= self.now));
        self.rest = later;
        Some(leaving)
    }

    /// Planes are in the air.
    pub(crate) fn take_off(&mut self, planes: Vec<Landing>) {
        self.in_the_air.extend(planes.into_iter().map(Reverse));
    }

    /// The next plane that has landed by now.
    pub(crate) fn landed(&mut self) -> Option<Landing> {
        let Reverse((landed, ..)) = self.in_the_air.peek()?;
        if *landed > self.now {
            return None;
        }
        self.in_the_air.pop().map(|Reverse(landing)| landing)
    }

    /// Writes it down, whole or not at all.
    pub(crate) fn keep(&self) -> Result<(), Box<dyn Error>> {
        let seconds = |at: Timestamp| at.unix_nanos() / 1_000_000_000;
        let mut text = format!("{}\n", seconds(self.now));
        for Reverse((landed, id, late)) in &self.in_the_air {
            text.push_str(&format!("{} {late} {id}\n", seconds(*landed)));
        }
        let aside = self.file.with_extension("new");
        fs::write(&aside, text)?;
        fs::rename(&aside, &self.file)?;
        Ok(())
    }
}
