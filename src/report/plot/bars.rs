//! Plots in text: lines as rows of blocks, for a page that can hold no picture.

use super::plot::Plot;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Blocks in a row.
const WIDTH: usize = 24;

/// Places in a bar.
const BAR: usize = 10;

/// Each line and limit of a plot as a row: what it is, its course, its last value.
pub(crate) fn rows(plot: &Plot) -> Vec<[String; 3]> {
    let lines = plot.lines.iter().map(|line| {
        let last = line.stretches.iter().flatten().last().map(|(_, y)| (plot.written)(*y));
        let points: Vec<(f64, f64)> = line.stretches.iter().flatten().copied().collect();
        [line.name.clone(), course(plot, &points), last.unwrap_or_else(|| String::from("–"))]
    });
    let limits =
        plot.limits.iter().map(|limit| [limit.name.clone(), String::new(), (plot.written)(limit.at)]);
    lines.chain(limits).collect()
}

/// The last value that was known in each of the stretches of time.
fn course(plot: &Plot, points: &[(f64, f64)]) -> String {
    let width = plot.span.max(1e-9) / WIDTH as f64;
    let block = |column: usize| {
        let until = (column + 1) as f64 * width;
        let known = points.iter().take_while(|(x, _)| *x <= until + width * 1e-6).last();
        known.map_or('·', |(_, y)| {
            let place = (plot.scale.place(*y) * (BLOCKS.len() - 1) as f64).round() as usize;
            BLOCKS.get(place).copied().unwrap_or('█')
        })
    };
    (0..WIDTH).map(block).collect()
}

/// A part of the whole: `██████░░░░`
pub(crate) fn bar(part: f64) -> String {
    let full = (part.clamp(0.0, 1.0) * BAR as f64).floor() as usize;
    (0..BAR).map(|place| if place < full { '█' } else { '░' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::plot::Scale;
    use crate::report::plot::plot::Colour;
    use crate::report::plot::plot::Line;

    #[test]
    fn a_bar_is_full_only_where_the_whole_is_reached() {
        assert_eq!(
            [bar(0.0), bar(0.99), bar(1.0), bar(7.0)],
            ["░░░░░░░░░░", "█████████░", "██████████", "██████████"]
        );
        assert_eq!(bar(f64::NAN), "░░░░░░░░░░");
    }

    #[test]
    fn a_row_holds_what_was_known_at_each_time() {
        let line =
            Line::new("v2", Colour::Candidate, vec![vec![(6.0, 0.0), (12.0, 50.0)], vec![(18.0, 100.0)]]);
        let plot = Plot {
            title: String::new(),
            description: String::new(),
            unit: String::new(),
            scale: Scale::linear(0.0, 100.0),
            lines: vec![line],
            limits: Vec::new(),
            bands: Vec::new(),
            span: 24.0,
            written: |y| y.to_string(),
        };
        let [[name, course, last]] = rows(&plot).try_into().unwrap();
        assert_eq!((name.as_str(), last.as_str()), ("v2", "100"));
        assert_eq!(course, "·····▁▁▁▁▁▁▅▅▅▅▅▅███████");
    }
}
