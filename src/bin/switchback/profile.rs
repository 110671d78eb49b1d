//! How the columns of a table are distributed, for `repo publish --profile`.

use std::path::Path;

use csv::StringRecord;
use switchback::drift::{Cell, ReferenceProfile};
use switchback::repository::contract::{Feature, FeatureKind};

use crate::Failure;

/// All of a table is in memory while it is counted: a sample of a larger one tells as much.
const TABLE_MAX: u64 = 1 << 30;

/// Which columns are looked at, and how.
pub(crate) struct Columns<'a> {
    /// What the version needs; where nothing is told, every column is a feature.
    pub(crate) features: &'a [Feature],
    /// Those that hold categories although they look like numbers.
    pub(crate) categories: &'a [String],
    /// Those that are no features, such as the truth.
    pub(crate) left_out: &'a [String],
}

/// One that is a feature: where it stands, what it is called, whether its values are numbers.
struct Column {
    place: usize,
    name: String,
    numeric: bool,
}

/// Counts the rows of a table with a line of names.
pub(crate) fn of(path: &Path, columns: &Columns<'_>) -> Result<ReferenceProfile, Failure> {
    let shown = path.display();
    let refused = |why: String| Failure::Refused(format!("{shown}: {why}"));
    let unreadable = |error| Failure::Unreadable(shown.to_string(), error);
    if std::fs::metadata(path).map_err(unreadable)?.len() > TABLE_MAX {
        return Err(refused("it has more than 1 GiB: give a sample of its rows".to_owned()));
    }
    let of_csv = |error: csv::Error| refused(error.to_string());
    let mut table = csv::Reader::from_path(path).map_err(of_csv)?;
    let names: Vec<String> = table.headers().map_err(of_csv)?.iter().map(str::to_owned).collect();
    let rows: Vec<StringRecord> = table.into_records().collect::<Result<_, _>>().map_err(of_csv)?;
    let chosen = columns.choose(&names, &rows).map_err(refused)?;
    let mut builder = ReferenceProfile::builder();
    for column in &chosen {
        builder = match column.numeric {
            true => builder.numeric(column.name.as_str()),
            false => builder.categorical(column.name.as_str()),
        };
    }
    let cells = rows.iter().map(|row| {
        let cell = |column: &Column| cell(row.get(column.place).unwrap_or_default(), column.numeric);
        chosen.iter().map(cell).collect::<Vec<_>>()
    });
    builder.build_from(cells).map_err(|error| refused(error.to_string()))
}

fn cell(text: &str, numeric: bool) -> Cell<'_> {
    match text.trim() {
        "" => Cell::Missing,
        text if numeric => text.parse().map_or(Cell::Text(text), Cell::Number),
        text => Cell::Text(text),
    }
}

impl Columns<'_> {
    fn choose(&self, names: &[String], rows: &[StringRecord]) -> Result<Vec<Column>, String> {
        let place = |wanted: &str| {
            let found = names.iter().position(|name| name == wanted);
            found.ok_or_else(|| format!("it has no column {wanted}: it has {}", names.join(", ")))
        };
        for named in self.categories.iter().chain(self.left_out) {
            place(named)?;
        }
        let told = |name: &str| self.categories.iter().any(|category| category == name);
        let column = |place: usize, name: &str, numeric: Option<bool>| {
            // Where a value is none, the column has categories; an empty one is missing.
            let number = |row: &StringRecord| {
                let text = row.get(place).unwrap_or_default().trim();
                text.is_empty() || text.parse::<f64>().is_ok()
            };
            let numeric = !told(name) && numeric.unwrap_or_else(|| rows.iter().all(number));
            Column { place, name: name.to_owned(), numeric }
        };
        let wanted = |name: &str| !self.left_out.iter().any(|other| other == name);
        let counted = |feature: &&Feature| feature.length == 1 && feature.kind != FeatureKind::Time;
        if self.features.is_empty() {
            let all = names.iter().enumerate().filter(|(_, name)| wanted(name));
            return Ok(all.map(|(place, name)| column(place, name, None)).collect());
        }
        let features = self.features.iter().filter(counted).filter(|feature| wanted(&feature.name));
        features
            .map(|feature| {
                let numeric = matches!(feature.kind, FeatureKind::Number | FeatureKind::Integer);
                Ok(column(place(&feature.name)?, &feature.name, Some(numeric)))
            })
            .collect()
    }
}
