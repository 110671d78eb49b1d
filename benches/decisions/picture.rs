//! The figure: false alarms and delay of every test of harm, and of what people use today.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use switchback::stats::sequential::Claim;

use crate::ALPHA;
use crate::support::Outcome;
use crate::table::{Group, Row};

const WIDTH: i32 = 1_260;
const LINE: i32 = 24;
const TOP: i32 = 112;
const BELOW: i32 = 64;
const LABELS: i32 = 24;

const OURS: RGBColor = RGBColor(20, 92, 158);
const PEERS: RGBColor = RGBColor(200, 84, 30);
const INK: RGBColor = RGBColor(34, 34, 34);
const FAINT: RGBColor = RGBColor(110, 110, 110);
const GRID: RGBColor = RGBColor(226, 226, 226);

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// One of the two panels: a logarithmic axis.
struct Panel {
    left: i32,
    right: i32,
    from: f64,
    to: f64,
    title: &'static str,
    under: &'static str,
    ticks: &'static [(f64, &'static str)],
}

const ALARMS: Panel = Panel {
    left: 372,
    right: 692,
    from: 0.0005,
    to: 1.0,
    title: "False alarms, allowed: .05",
    under: "share of runs; from steady traffic to the worst condition and claim",
    ticks: &[(0.001, ".001"), (0.01, ".01"), (0.1, ".1"), (1.0, "1")],
};

const DELAY: Panel = Panel {
    left: 792,
    right: 1_050,
    from: 100.0,
    to: 10_000.0,
    title: "Delay until a harm is seen",
    under: "units, median",
    ticks: &[(100.0, "100"), (1_000.0, "1,000"), (10_000.0, "10,000")],
};

impl Panel {
    fn x(&self, value: f64) -> i32 {
        let part = (value.clamp(self.from, self.to) / self.from).ln() / (self.to / self.from).ln();
        self.left + (part * f64::from(self.right - self.left)).round() as i32
    }

    /// Title, axis and grid.
    fn draw(&self, area: &Area<'_>, bottom: i32) -> Outcome {
        write(area, self.title, (self.left, TOP - 40), 15, INK, HPos::Left)?;
        for (value, label) in self.ticks {
            line(area, (self.x(*value), TOP - 16), (self.x(*value), bottom), GRID)?;
            write(area, label, (self.x(*value), bottom + 12), 12, FAINT, HPos::Center)?;
        }
        write(area, self.under, (self.left, bottom + 34), 12, FAINT, HPos::Left)
    }
}

/// Draws every method that tests for harm, and the peers.
pub(crate) fn draw(rows: &[Row], path: &Path) -> Outcome {
    let groups = [
        (Group::Pairs, "The same inputs: a shadow"),
        (Group::Arms, "Two arms: a canary of 10 %"),
        (Group::Latency, "Latency: a canary of 20 %"),
        (Group::Other, "Others, each with its own harm"),
    ];
    let groups = groups.map(|(group, title)| {
        let shown = |row: &&Row| row.group == group && row.claim != Some(Claim::NonInferiority);
        (group, title, rows.iter().filter(shown).map(|row| Shown::new(row, rows)).collect::<Vec<_>>())
    });
    let lines: usize = groups.iter().map(|(.., rows)| rows.len() + 1).sum();
    let bottom = TOP + LINE * lines as i32 + 8 * (groups.len() as i32 - 1);
    let area = SVGBackend::new(path, (WIDTH as u32, (bottom + BELOW) as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    legend(&area)?;
    ALARMS.draw(&area, bottom)?;
    DELAY.draw(&area, bottom)?;
    allowed(&area, bottom)?;
    let mut y = TOP;
    for (group, title, rows) in &groups {
        let harm = rows.first().map_or("", |shown| shown.row.effect.as_str());
        let title = if *group == Group::Other { (*title).to_owned() } else { format!("{title}; {harm}") };
        write(&area, &title, (LABELS, y), 13, FAINT, HPos::Left)?;
        y += LINE;
        for shown in rows {
            draw_row(&area, shown, y, *group == Group::Other)?;
            y += LINE;
        }
        y += 8;
    }
    area.present()?;
    Ok(())
}

fn legend(area: &Area<'_>) -> Outcome {
    let title = "Looked at after every unit: sequential tests of switchback, and what people use today";
    write(area, title, (LABELS, 26), 19, INK, HPos::Left)?;
    for (x, color, label) in [(LABELS + 6, OURS, "switchback"), (LABELS + 116, PEERS, "others")] {
        area.draw(&Circle::new((x, TOP - 40), 5, color.filled()))?;
        write(area, label, (x + 12, TOP - 40), 13, INK, HPos::Left)?;
    }
    Ok(())
}

/// The error that was allowed: the line that nothing should be to the right of.
fn allowed(area: &Area<'_>, bottom: i32) -> Outcome {
    let x = ALARMS.x(ALPHA);
    let mut y = TOP - 16;
    while y < bottom {
        line(area, (x, y), (x, (y + 6).min(bottom)), PEERS)?;
        y += 10;
    }
    write(area, ".05", (x, TOP - 24), 12, PEERS, HPos::Center)
}

/// A method: the row of its claim of harm, and the most false alarms of either claim.
struct Shown<'a> {
    row: &'a Row,
    worst: f64,
}

impl<'a> Shown<'a> {
    fn new(row: &'a Row, rows: &[Row]) -> Self {
        let same = rows.iter().filter(|other| other.name == row.name);
        Self { row, worst: same.map(Row::worst).fold(0.0, f64::max) }
    }
}

fn draw_row(area: &Area<'_>, shown: &Shown<'_>, y: i32, with_its_harm: bool) -> Outcome {
    let Shown { row, worst } = *shown;
    let color = if row.claim.is_some() { OURS } else { PEERS };
    write(area, row.name.trim_end_matches('*'), (LABELS + 14, y), 13, INK, HPos::Left)?;
    let steady = row.steady().map_or(f64::NAN, |cell| cell.false_alarms);
    let (from, to) = (ALARMS.x(steady), ALARMS.x(worst));
    area.draw(&PathElement::new(vec![(from, y), (to, y)], color.mix(0.45).stroke_width(3)))?;
    area.draw(&Circle::new((to, y), 5, color.filled()))?;
    let number = format!("{worst:.3}");
    let number = if worst > 0.0 { number.trim_start_matches('0') } else { "none" };
    write(area, number, (ALARMS.right + 14, y), 12, color, HPos::Left)?;
    if row.alpha < ALPHA {
        let own = ALARMS.x(row.alpha);
        line(area, (own, y - 10), (own, y + 10), PEERS)?;
    }
    if with_its_harm {
        write(area, &row.effect, (DELAY.right + 10, y), 11, FAINT, HPos::Left)?;
    }
    let delay = row.steady().map_or(f64::INFINITY, |cell| cell.median);
    if delay.is_infinite() {
        return write(area, "never in half of the runs", (DELAY.left, y), 12, FAINT, HPos::Left);
    }
    area.draw(&Circle::new((DELAY.x(delay), y), 5, color.filled()))?;
    write(area, &thousands(delay), (DELAY.x(delay) + 11, y), 12, INK, HPos::Left)
}

fn thousands(number: f64) -> String {
    let number = number.round() as u64;
    if number < 1_000 { number.to_string() } else { format!("{},{:03}", number / 1_000, number % 1_000) }
}

fn line(area: &Area<'_>, from: (i32, i32), to: (i32, i32), color: RGBColor) -> Outcome {
    Ok(area.draw(&PathElement::new(vec![from, to], color.stroke_width(1)))?)
}

fn write(area: &Area<'_>, text: &str, at: (i32, i32), size: i32, color: RGBColor, anchor: HPos) -> Outcome {
    let style = ("sans-serif", size).into_font().color(&color).pos(Pos::new(anchor, VPos::Center));
    Ok(area.draw(&Text::new(text.to_owned(), at, style))?)
}
