//! The flights of the library's example, as rows of numbers: what models of trees are asked about.

use std::fs::File;
use std::io::Read;
use std::sync::OnceLock;

use flate2::read::GzDecoder;

pub(crate) const FEATURES: usize = 13;

pub(crate) struct Flight {
    pub(crate) month: u8,
    /// In the order of `models/encoding.json`; what is not known is not a number.
    pub(crate) features: [f32; FEATURES],
    /// Whether it arrived more than 15 minutes late; nothing for one that was diverted.
    pub(crate) late: Option<bool>,
}

/// All flights of the year, in the order of the file.
pub(crate) fn flights() -> &'static [Flight] {
    static FLIGHTS: OnceLock<Vec<Flight>> = OnceLock::new();
    FLIGHTS.get_or_init(|| {
        let mut text = String::new();
        let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/flights/flights.csv.gz"));
        GzDecoder::new(file.unwrap()).read_to_string(&mut text).unwrap();
        text.lines().skip(1).map(flight).collect()
    })
}

fn flight(line: &str) -> Flight {
    const CARRIERS: [&str; 16] =
        ["9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV"];
    const ORIGINS: [&str; 3] = ["EWR", "JFK", "LGA"];
    let columns: [&str; 21] = line.split(',').collect::<Vec<_>>().try_into().unwrap();
    let [
        _,
        _,
        _,
        month,
        _,
        hour,
        weekday,
        carrier,
        _,
        origin,
        _,
        distance,
        block,
        dep_delay,
        arr_delay,
        weather @ ..,
    ] = columns;
    let number = |text: &str| if text.is_empty() { f32::NAN } else { text.parse().unwrap() };
    let place =
        |codes: &[&str], code| codes.iter().position(|known| *known == code).map_or(f32::NAN, |at| at as f32);
    let [dep_delay, distance, block, hour, weekday] = [dep_delay, distance, block, hour, weekday].map(number);
    let [temp, wind_speed, visib, precip, pressure, humid] = weather.map(number);
    let (carrier, origin) = (place(&CARRIERS, carrier), place(&ORIGINS, origin));
    let late = (!arr_delay.is_empty()).then(|| number(arr_delay) > 15.0);
    let features = [
        dep_delay, distance, block, hour, weekday, carrier, origin, temp, wind_speed, visib, precip,
        pressure, humid,
    ];
    Flight { month: month.parse().unwrap(), features, late }
}
