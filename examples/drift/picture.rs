//! The figure: what drifts when, the accuracy that was estimated beside the one that was realised, and the storms.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use switchback::drift::What;

use crate::storms::STORM;
use crate::year::{Thing, Week, Year};

type Outcome = Result<(), Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

const LEFT: i32 = 168;
const CELL: i32 = 18;
const TOP: i32 = 118;
const LINE: i32 = 18;
const GAP: i32 = 66;
const CHART: i32 = 150;
const BARS: i32 = 80;

const OURS: RGBColor = RGBColor(20, 92, 158);
const TRUTH: RGBColor = RGBColor(200, 84, 30);
const INK: RGBColor = RGBColor(34, 34, 34);
const FAINT: RGBColor = RGBColor(110, 110, 110);
const GRID: RGBColor = RGBColor(226, 226, 226);
/// An effect of this and more has the darkest colour: a Jensen-Shannon distance is at most 0.83.
const DARKEST: f64 = 0.7;

/// Draws the year.
pub(crate) fn draw(year: &Year, path: &Path) -> Outcome {
    let lines = year.things.len() as i32 + 1;
    let (map, right) = (TOP + lines * LINE, LEFT + CELL * year.weeks.len() as i32);
    let (accuracy, storms) = (map + GAP, map + GAP + CHART + GAP);
    let size = ((right + 64) as u32, (storms + BARS + 40) as u32);
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE)?;
    let title = "A year of flights from New York, week by week, against its January and February";
    write(&area, title, (24, 26), 23, INK, HPos::Left)?;
    months(&area, year, storms + BARS)?;
    heat_map(&area, year)?;
    accuracies(&area, year, accuracy)?;
    breakdowns(&area, year, storms)?;
    area.present()?;
    Ok(())
}

/// Where the column of a week begins.
fn x(week: usize) -> i32 {
    LEFT + CELL * week as i32
}

/// The names of the months, and a line through all panels where each begins.
fn months(area: &Area<'_>, year: &Year, bottom: i32) -> Outcome {
    const NAMES: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = |week: &Week| week.began.to_string().get(5..7).and_then(|month| month.parse::<usize>().ok());
    let mut before = None;
    for (place, week) in year.weeks.iter().enumerate() {
        if month(week) != before {
            before = month(week);
            let name = before.and_then(|month| NAMES.get(month - 1)).copied().unwrap_or_default();
            write(area, name, (x(place) + 2, TOP - 12), 14, FAINT, HPos::Left)?;
            line(area, (x(place), TOP - 20), (x(place), bottom), GRID)?;
        }
    }
    Ok(())
}

fn heat_map(area: &Area<'_>, year: &Year) -> Outcome {
    legend(area, x(year.weeks.len()))?;
    let mut y = TOP;
    let mut before = None;
    for thing in &year.things {
        if before == Some(What::Distribution) && thing.what == What::Missing {
            y += LINE;
        }
        before = Some(thing.what);
        let label = match thing.what {
            What::Missing => format!("{}, missing", thing.feature),
            What::Unseen => format!("{}, unseen", thing.feature),
            _ => thing.feature.clone(),
        };
        write(area, &label, (LEFT - 10, y + LINE / 2), 14, INK, HPos::Right)?;
        for (place, week) in year.weeks.iter().enumerate() {
            cell(area, thing, week, (x(place), y))?;
        }
        y += LINE;
    }
    Ok(())
}

fn cell(area: &Area<'_>, thing: &Thing, week: &Week, (x, y): (i32, i32)) -> Outcome {
    let Some(row) = week.row(&thing.feature, thing.what) else { return Ok(()) };
    if row.effect >= 0.02 {
        rectangle(area, (x + 1, y + 1), (x + CELL - 1, y + LINE - 1), shade(row.effect))?;
    }
    if thing.drifted(row) {
        let color = if row.effect > 0.35 { WHITE } else { INK };
        area.draw(&Circle::new((x + CELL / 2, y + LINE / 2), 2, color.filled()))?;
    }
    Ok(())
}

/// From white to the darkest.
fn shade(effect: f64) -> RGBColor {
    let part = (effect / DARKEST).clamp(0.0, 1.0);
    let mix = |dark: u8| (255.0 - part * (255.0 - f64::from(dark))).round() as u8;
    RGBColor(mix(OURS.0), mix(OURS.1), mix(OURS.2))
}

fn legend(area: &Area<'_>, right: i32) -> Outcome {
    let y = 62;
    write(area, "What drifts", (24, y), 17, INK, HPos::Left)?;
    write(area, "effect: Jensen-Shannon distance, or change of share", (LEFT, y), 14, FAINT, HPos::Left)?;
    for (place, effect) in [0.05, 0.1, 0.2, 0.3, 0.5, 0.7].into_iter().enumerate() {
        let x = LEFT + 350 + 56 * place as i32;
        rectangle(area, (x, y - 8), (x + 16, y + 8), shade(effect))?;
        write(area, &format!("{effect}"), (x + 21, y), 14, FAINT, HPos::Left)?;
    }
    area.draw(&Circle::new((LEFT + 706, y), 2, INK.filled()))?;
    let dot = "drifted, beyond the winter's own weeks";
    write(area, dot, (LEFT + 716, y), 14, FAINT, HPos::Left)?;
    // The reference.
    let winter = x(9).min(right);
    line(area, (LEFT, TOP - 24), (winter, TOP - 24), OURS)?;
    write(area, "the reference", (LEFT + 2, TOP - 32), 13, OURS, HPos::Left)
}

fn accuracies(area: &Area<'_>, year: &Year, top: i32) -> Outcome {
    const LOW: f64 = 0.80;
    const HIGH: f64 = 0.98;
    let y =
        |value: f64| top + (f64::from(CHART) * (HIGH - value.clamp(LOW, HIGH)) / (HIGH - LOW)).round() as i32;
    let middle = |place: usize| x(place) + CELL / 2;
    let right = x(year.weeks.len());
    write(area, "Accuracy", (24, top - 22), 17, INK, HPos::Left)?;
    for (at, color, label) in [
        (LEFT, OURS, "estimated without labels (CBPE, 95 %), from what scores meant in January and February"),
        (LEFT + 640, TRUTH, "realised"),
    ] {
        area.draw(&Circle::new((at + 5, top - 22), 4, color.filled()))?;
        write(area, label, (at + 15, top - 22), 14, INK, HPos::Left)?;
    }
    for value in [0.80, 0.85, 0.90, 0.95] {
        line(area, (LEFT, y(value)), (right, y(value)), GRID)?;
        write(area, &format!("{value:.2}"), (LEFT - 10, y(value)), 14, FAINT, HPos::Right)?;
    }
    let weeks = || year.weeks.iter().enumerate().filter(|(_, week)| week.is_whole());
    let low = weeks().map(|(place, week)| (middle(place), y(week.accuracy.estimated.low)));
    let high = weeks().map(|(place, week)| (middle(place), y(week.accuracy.estimated.high)));
    let band: Vec<(i32, i32)> = high.chain(low.collect::<Vec<_>>().into_iter().rev()).collect();
    area.draw(&Polygon::new(band, OURS.mix(0.18).filled()))?;
    let estimated: Vec<_> =
        weeks().map(|(place, week)| (middle(place), y(week.accuracy.estimated.value))).collect();
    let realised: Vec<_> = weeks().map(|(place, week)| (middle(place), y(week.accuracy.realised))).collect();
    area.draw(&PathElement::new(estimated, OURS.stroke_width(2)))?;
    area.draw(&PathElement::new(realised.clone(), TRUTH.stroke_width(1)))?;
    for at in realised {
        area.draw(&Circle::new(at, 3, TRUTH.filled()))?;
    }
    Ok(())
}

fn breakdowns(area: &Area<'_>, year: &Year, top: i32) -> Outcome {
    let bottom = top + BARS;
    let y = |late: usize| bottom - BARS * late.min(50) as i32 / 50;
    let right = x(year.weeks.len());
    write(area, "Storms", (24, top - 22), 17, INK, HPos::Left)?;
    rectangle(area, (LEFT, top - 27), (LEFT + 10, top - 17), TRUTH)?;
    let label = "a detector of departures that break down alarmed in this week (height: of 50 departures in a row, \
                 those more than an hour late, counted apart)";
    write(area, label, (LEFT + 15, top - 22), 14, INK, HPos::Left)?;
    for late in [0, 25, STORM, 50] {
        line(area, (LEFT, y(late)), (right, y(late)), GRID)?;
        write(area, &late.to_string(), (LEFT - 10, y(late)), 14, FAINT, HPos::Right)?;
    }
    for (place, week) in year.weeks.iter().enumerate() {
        let worst = week.days.iter().map(|day| day.worst_of_fifty).max().unwrap_or_default();
        let color = if week.is_storm() { TRUTH } else { RGBColor(190, 190, 190) };
        rectangle(area, (x(place) + 3, y(worst)), (x(place) + CELL - 3, bottom), color)?;
    }
    Ok(())
}

fn rectangle(area: &Area<'_>, from: (i32, i32), to: (i32, i32), color: RGBColor) -> Outcome {
    Ok(area.draw(&Rectangle::new([from, to], color.filled()))?)
}

fn line(area: &Area<'_>, from: (i32, i32), to: (i32, i32), color: RGBColor) -> Outcome {
    Ok(area.draw(&PathElement::new(vec![from, to], color.stroke_width(1)))?)
}

fn write(area: &Area<'_>, text: &str, at: (i32, i32), size: i32, color: RGBColor, anchor: HPos) -> Outcome {
    let style = ("sans-serif", size).into_font().color(&color).pos(Pos::new(anchor, VPos::Center));
    Ok(area.draw(&Text::new(text.to_owned(), at, style))?)
}
