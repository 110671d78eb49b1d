//! Flights that left New York in 2013, and the versions of a model that says which will be late: shared by examples
//! and tests. Where the data and the models come from is in the README beside this.

#![allow(dead_code, reason = "every example uses a part of this")]

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use switchback::drift::{Cell, ProfileBuilder, ReferenceProfile};
use switchback::model::onnx::{Feed, OnnxModel, Outputs, Pipeline};
use switchback::{Timestamp, model::ModelError};

/// A flight arrives late when it arrives more than this many minutes after its scheduled time.
const LATE_MINUTES: i32 = 15;

/// What is known of a flight when it leaves the gate, and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Flight {
    departed: u64,
    arrived: Option<u64>,
    hour: i64,
    weekday: i64,
    carrier: String,
    origin: String,
    dest: String,
    distance: f32,
    block: f32,
    dep_delay: f32,
    arr_delay: Option<i32>,
    temp: Option<f32>,
    wind_speed: Option<f32>,
    visib: Option<f32>,
    precip: Option<f32>,
    pressure: Option<f32>,
    humid: Option<f32>,
}

impl Flight {
    /// What a copy of it takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self) + self.carrier.len() + self.origin.len() + self.dest.len()
    }

    /// When it left the gate.
    pub(crate) fn departed(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.departed * 60)
    }

    /// When it arrived and whether it was late; nothing for a flight that was diverted, whose truth never comes.
    pub(crate) fn truth(&self) -> Option<(Timestamp, bool)> {
        let arrived = Timestamp::from_unix_seconds(self.arrived? * 60);
        Some((arrived, self.arr_delay? > LATE_MINUTES))
    }

    /// Whether it left the gate more than an hour after its scheduled time.
    pub(crate) fn left_late(&self) -> bool {
        self.dep_delay > 60.0
    }

    /// Whether the station at its airport has told anything.
    pub(crate) fn has_weather(&self) -> bool {
        let weather = [self.temp, self.wind_speed, self.visib, self.precip, self.pressure, self.humid];
        weather.iter().any(Option::is_some)
    }

    /// What is known of it when it leaves, as a row of [`profile`].
    pub(crate) fn cells(&self) -> [Cell<'_>; 14] {
        [
            self.dep_delay.into(),
            self.distance.into(),
            self.block.into(),
            Cell::Number(self.hour as f64),
            Cell::Number(self.weekday as f64),
            Cell::Text(&self.carrier),
            Cell::Text(&self.origin),
            Cell::Text(&self.dest),
            self.temp.into(),
            self.wind_speed.into(),
            self.visib.into(),
            self.precip.into(),
            self.pressure.into(),
            self.humid.into(),
        ]
    }
}

/// How what is known of flights is distributed, in bins; hour and weekday are categories, as they go round.
pub(crate) fn profile() -> ProfileBuilder {
    let planned = ReferenceProfile::builder().numeric("dep_delay").numeric("distance").numeric("block");
    let planned = ["hour", "weekday", "carrier", "origin", "dest"]
        .into_iter()
        .fold(planned, ProfileBuilder::categorical);
    ["temp", "wind_speed", "visib", "precip", "pressure", "humid"]
        .into_iter()
        .fold(planned, ProfileBuilder::numeric)
}

/// The answer of every version.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Late {
    pub(crate) probability: f64,
}

/// All flights of the year, in order of departure.
pub(crate) fn load(file: &Path) -> Result<Vec<Flight>, Box<dyn Error>> {
    let rows = csv::Reader::from_reader(GzDecoder::new(File::open(file)?)).into_deserialize();
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A version of the model, from the folder of models: its file, and the pipeline that it needs.
pub(crate) fn version(name: &str, models: &Path) -> Result<Pipeline<Flight, Late>, Box<dyn Error>> {
    let open = |file: &str| -> Result<OnnxModel, Box<dyn Error>> {
        Ok(OnnxModel::from_file(models.join(file))?.intra_threads(1).max_wait(Duration::from_secs(5)))
    };
    Ok(match name {
        "v1" => open("v1.onnx")?.pipeline("schedule@1.0", schedule, decode),
        "v2" => open("v2.onnx")?.pipeline("at-departure@1.0", at_departure, decode),
        // The new pipeline asks for the delay with another call, which returns seconds.
        "v3" => open("v3.onnx")?.pipeline("at-departure@2.0", at_departure_in_seconds, decode),
        // The same bytes, the pipeline mended.
        "v4" => open("v3.onnx")?.pipeline("at-departure@2.1", at_departure, decode),
        _ => return Err(format!("there is no version {name}").into()),
    })
}

/// What the timetable knows.
pub(crate) fn schedule<'a>(flight: &'a Flight, feed: &mut Feed<'_, 'a>) -> Result<(), ModelError> {
    feed.strings("carrier", &[1, 1], [flight.carrier.as_str()])?;
    feed.strings("origin", &[1, 1], [flight.origin.as_str()])?;
    feed.strings("dest", &[1, 1], [flight.dest.as_str()])?;
    feed.buffer("hour", &[1, 1])?.copy_from_slice(&[flight.hour]);
    feed.buffer("weekday", &[1, 1])?.copy_from_slice(&[flight.weekday]);
    feed.buffer("planned", &[1, 2])?.copy_from_slice(&[flight.distance, flight.block]);
    Ok(())
}

/// What is known when the flight leaves the gate.
pub(crate) fn at_departure<'a>(flight: &'a Flight, feed: &mut Feed<'_, 'a>) -> Result<(), ModelError> {
    feed.buffer("features", &[1, 13])?.copy_from_slice(&features(flight, flight.dep_delay));
    Ok(())
}

/// The mistake of v3: the model has learnt minutes.
pub(crate) fn at_departure_in_seconds<'a>(
    flight: &'a Flight,
    feed: &mut Feed<'_, 'a>,
) -> Result<(), ModelError> {
    feed.buffer("features", &[1, 13])?.copy_from_slice(&features(flight, flight.dep_delay * 60.0));
    Ok(())
}

/// In the order of `models/encoding.json`; what is not known is NaN.
fn features(flight: &Flight, delay: f32) -> [f32; 13] {
    const CARRIERS: [&str; 16] =
        ["9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV"];
    const ORIGINS: [&str; 3] = ["EWR", "JFK", "LGA"];
    let place =
        |codes: &[&str], code: &str| codes.iter().position(|known| *known == code).map(|place| place as f32);
    let or_unknown = |value: Option<f32>| value.unwrap_or(f32::NAN);
    [
        delay,
        flight.distance,
        flight.block,
        flight.hour as f32,
        flight.weekday as f32,
        or_unknown(place(&CARRIERS, &flight.carrier)),
        or_unknown(place(&ORIGINS, &flight.origin)),
        or_unknown(flight.temp),
        or_unknown(flight.wind_speed),
        or_unknown(flight.visib),
        or_unknown(flight.precip),
        or_unknown(flight.pressure),
        or_unknown(flight.humid),
    ]
}

/// All models answer `[P(on time), P(late)]`.
pub(crate) fn decode(outputs: &Outputs<'_>) -> Result<Late, ModelError> {
    match outputs.tensor::<f32>("probabilities")?.1 {
        [_, late] => Ok(Late { probability: f64::from(*late) }),
        other => Err(ModelError::invalid_output(format!("{} probabilities instead of 2", other.len()))),
    }
}
