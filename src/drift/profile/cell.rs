//! One value of one feature, as a host has it.

/// A value of a feature.
///
/// ```
/// use switchback::drift::Cell;
///
/// let row = [Cell::from(12.5), Cell::from("UA"), Cell::from(None::<f64>)];
/// assert_eq!(row[2], Cell::Missing);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Cell<'a> {
    /// A number. A NaN is missing; an infinity lies in the outermost bin of its side.
    ///
    /// Where a category is expected, its shortest decimal form is one: 3.0 is `3`, and 0.1 is `0.1`, as an `f32` too.
    Number(f64),
    /// A category, compared byte by byte. Where a number is expected, it is something that training has not seen.
    Text(&'a str),
    /// There is none.
    #[default]
    Missing,
}

impl From<f64> for Cell<'_> {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<f32> for Cell<'_> {
    fn from(number: f32) -> Self {
        Self::Number(number.into())
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a, T: Into<Cell<'a>>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Missing, Into::into)
    }
}

impl<'a> Cell<'a> {
    /// As a category: `buffer` is where a number is written. Nothing for what is missing or too long to be one.
    pub(crate) fn category(self, buffer: &'a mut Written) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(number) if !number.is_nan() => buffer.write(number),
            _ => None,
        }
    }
}

/// A number as text, without an allocation. Large enough for every number: f64 has at most 327 characters.
pub(crate) struct Written {
    bytes: [u8; 344],
    length: usize,
}

impl Written {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; 344], length: 0 }
    }

    fn write(&mut self, number: f64) -> Option<&str> {
        use std::fmt::Write;
        self.length = 0;
        let single = number as f32;
        // A fraction that an `f32` holds was one, and has the digits that tell it from others of its kind: 0.1, not 0.10000000149011612. Of a
        // whole number those would be fewer than it has. 0.0 and -0.0 are one category.
        if number.fract() != 0.0 && f64::from(single) == number {
            write!(self, "{single}").ok()?;
        } else {
            write!(self, "{}", number + 0.0).ok()?;
        }
        std::str::from_utf8(self.bytes.get(..self.length)?).ok()
    }
}

impl std::fmt::Write for Written {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length.saturating_add(text.len());
        let room = self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_categories_by_their_shortest_form() {
        for (number, text) in [
            (3.0, "3"),
            (-0.0, "0"),
            (2.5, "2.5"),
            (f64::INFINITY, "inf"),
            (f64::from(0.1_f32), "0.1"),
            (0.1, "0.1"),
            (123_456_792.0, "123456792"),
        ] {
            assert_eq!(Cell::Number(number).category(&mut Written::new()), Some(text));
        }
        assert_eq!(Cell::Number(f64::NAN).category(&mut Written::new()), None);
        for number in [f64::MAX, f64::MIN, f64::MIN_POSITIVE, -5e-324, -f64::MIN_POSITIVE] {
            let mut buffer = Written::new();
            assert_eq!(Cell::Number(number).category(&mut buffer), Some(number.to_string().as_str()));
        }
    }
}
