//! Plots as SVG that stands in a page: no script, no font of its own, colours from the page's style sheet.

use std::fmt::Write as _;

use super::Unit;
use super::plot::{Band, Limit, Line, Plot};
use crate::base::text::number;
use crate::report::escape::html;

// In units of the view box. It is as wide as a phone's screen, so that text is of its size there.
const WIDTH: f64 = 330.0;

const HEIGHT: f64 = 216.0;

const LEFT: f64 = 46.0;

const RIGHT: f64 = 60.0;

const TOP: f64 = 38.0;

const BOTTOM: f64 = 38.0;

/// The size of text, as in the style sheet, and how wide a letter of it is.
const LETTER: f64 = 6.3;

const LINE: f64 = 12.5;

/// Points of a line: more than that lie closer than lines are thick.
const POINTS_MAX: usize = 110;

/// Draws a plot. `number` tells it from the others of the page.
pub(crate) fn draw(plot: &Plot, number: usize) -> String {
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"plot-{number}-title plot-{number}-text\">\
         <title id=\"plot-{number}-title\">{}</title><desc id=\"plot-{number}-text\">{} {}</desc>",
        html(&plot.title),
        html(&plot.description),
        html(&in_words(plot))
    );
    bands(&mut svg, plot);
    axes(&mut svg, plot);
    limits(&mut svg, plot);
    lines(&mut svg, plot);
    names_of_limits(&mut svg, plot);
    svg.push_str("</svg>");
    svg
}

/// A line in words, for whoever does not see it.
fn in_words(plot: &Plot) -> String {
    let last = |line: &Line| {
        let (_, y) = line.stretches.iter().flatten().last()?;
        Some(format!("{} ends at {}", line.name, (plot.written)(*y)))
    };
    let parts: Vec<String> = plot.lines.iter().filter_map(last).collect();
    if parts.is_empty() { String::new() } else { format!("{}.", parts.join("; ")) }
}

fn x(plot: &Plot, seconds: f64) -> f64 {
    let share = if plot.span > 0.0 { (seconds / plot.span).clamp(0.0, 1.0) } else { 0.0 };
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

fn y(plot: &Plot, value: f64) -> f64 {
    HEIGHT - BOTTOM - plot.scale.place(value) * (HEIGHT - TOP - BOTTOM)
}

/// Writes to a string, which cannot fail.
macro_rules! put {
    ($svg:expr, $($text:tt)*) => {
        let _ = write!($svg, $($text)*);
    };
}

fn bands(svg: &mut String, plot: &Plot) {
    let mut written_until = f64::NEG_INFINITY;
    for (place, Band { from, to, name }) in plot.bands.iter().enumerate() {
        let (left, right) = (x(plot, *from), x(plot, *to));
        if right <= left {
            continue;
        }
        let shade = if place % 2 == 0 { "band" } else { "band other" };
        put!(
            svg,
            "<rect class=\"{shade}\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\"/>",
            right - left,
            HEIGHT - TOP - BOTTOM
        );
        // A name is written where there is room for it.
        let (middle, half) = ((left + right) / 2.0, name.chars().count() as f64 * LETTER / 2.0);
        if middle - half > written_until && half * 2.0 <= (right - left) + 12.0 && middle + half < WIDTH {
            put!(svg, "<text class=\"phase\" x=\"{middle:.1}\" y=\"{}\">{}</text>", TOP - 6.0, html(name));
            written_until = middle + half + 4.0;
        }
    }
}

fn axes(svg: &mut String, plot: &Plot) {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    put!(svg, "<text x=\"2\" y=\"13\">{}</text>", html(&plot.unit));
    for tick in plot.scale.ticks() {
        let at = y(plot, tick);
        put!(svg, "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>");
        put!(
            svg,
            "<text class=\"tick\" x=\"{}\" y=\"{:.1}\">{}</text>",
            LEFT - 5.0,
            at + 4.0,
            plot.scale.written(tick)
        );
    }
    put!(svg, "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{bottom}\" x2=\"{right}\" y2=\"{bottom}\"/>");
    let unit = Unit::of_span(plot.span);
    let span = plot.span * unit.per_second;
    let times = super::Scale::linear(0.0, span).ticks();
    for time in times.into_iter().filter(|time| *time <= span * (1.0 + 1e-9)) {
        let at = x(plot, time / unit.per_second);
        put!(
            svg,
            "<line class=\"axis\" x1=\"{at:.1}\" y1=\"{bottom}\" x2=\"{at:.1}\" y2=\"{}\"/>",
            bottom + 4.0
        );
        put!(svg, "<text class=\"time\" x=\"{at:.1}\" y=\"{}\">{}</text>", bottom + 16.0, number(time));
    }
    put!(
        svg,
        "<text class=\"time\" x=\"{:.1}\" y=\"{}\">{} since it was staged</text>",
        (LEFT + right) / 2.0,
        bottom + 31.0,
        unit.name
    );
}

fn limits(svg: &mut String, plot: &Plot) {
    for Limit { colour, at, from, to, .. } in &plot.limits {
        let (left, right, at) = (x(plot, *from), x(plot, *to), y(plot, *at));
        let class = colour.class();
        put!(
            svg,
            "<line class=\"limit {class}\" x1=\"{left:.1}\" y1=\"{at:.1}\" x2=\"{right:.1}\" y2=\"{at:.1}\"/>"
        );
    }
}

/// Above the lines, or they would be struck through; where there is room for them.
fn names_of_limits(svg: &mut String, plot: &Plot) {
    let wide = |limit: &Limit| limit.name.chars().count() as f64 * LETTER;
    let room = |limit: &&Limit| x(plot, limit.to) - x(plot, limit.from) >= wide(limit) + 4.0;
    for (place, limit) in plot.limits.iter().enumerate().filter(|(_, limit)| room(limit)) {
        // Of two that lie close together the lower one has its name below.
        let at = y(plot, limit.at);
        let close = |other: &Limit| {
            other.from < limit.to && limit.from < other.to && {
                let other = y(plot, other.at);
                at > other && at - other < LINE + 2.0
            }
        };
        let others = plot.limits.iter().enumerate().filter(|(other, _)| *other != place);
        let below = others.map(|(_, other)| other).any(close);
        put!(
            svg,
            "<text class=\"halo\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x(plot, limit.from) + 4.0,
            if below { at + 12.0 } else { at - 4.0 },
            html(&limit.name)
        );
    }
}

fn lines(svg: &mut String, plot: &Plot) {
    let mut ends: Vec<(f64, f64, &Line)> = Vec::new();
    for line in &plot.lines {
        let thin = if line.is_thin { " thin" } else { "" };
        let class = line.colour.class();
        for stretch in &line.stretches {
            let points: Vec<(f64, f64)> =
                thinned(stretch).map(|(seconds, value)| (x(plot, seconds), y(plot, value))).collect();
            if let [(cx, cy)] = points.as_slice() {
                put!(svg, "<circle class=\"dot {class}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"2\"/>");
                continue;
            }
            put!(svg, "<polyline class=\"line {class}{thin}\" points=\"");
            for (place, (px, py)) in points.iter().enumerate() {
                let space = if place == 0 { "" } else { " " };
                put!(svg, "{space}{px:.1},{py:.1}");
            }
            svg.push_str("\"/>");
        }
        let last = line.stretches.iter().flatten().last();
        ends.extend(last.map(|(seconds, value)| (x(plot, *seconds), y(plot, *value), line)));
    }
    // Names stand at the ends of their lines, from top to bottom, as far apart as text is high.
    ends.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut places: Vec<f64> = ends.iter().map(|(_, at, _)| *at).collect();
    apart(&mut places);
    let side = WIDTH - RIGHT + 6.0;
    for ((end, at, line), place) in ends.into_iter().zip(places) {
        let class = line.colour.class();
        put!(
            svg,
            "<polyline class=\"leader {class}\" points=\"{end:.1},{at:.1} {side:.1},{place:.1}\"/>\
             <circle class=\"dot {class}\" cx=\"{side:.1}\" cy=\"{place:.1}\" r=\"2.5\"/>"
        );
        let name = cut(&line.name, ((RIGHT - 12.0) / LETTER) as usize);
        put!(
            svg,
            "<text class=\"halo\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            side + 5.0,
            place + 4.0,
            html(&name)
        );
    }
}

/// At most so many points, the first and the last among them; of those between, the farthest off in each stretch of time.
fn thinned(points: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> + '_ {
    let every = points.len().div_ceil(POINTS_MAX).max(1);
    let last = points.len().saturating_sub(1);
    let kept = move |place: usize| place == 0 || place == last || place.is_multiple_of(every);
    points.iter().enumerate().filter(move |(place, _)| kept(*place)).map(|(_, point)| *point)
}

/// Moves places that are in order until no two are closer than a line of text, and all are within the plot.
fn apart(places: &mut [f64]) {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|a, b| {
        let at = |place: &usize| places.get(*place).copied().unwrap_or_default();
        at(a).total_cmp(&at(b))
    });
    let mut push = |order: &mut dyn Iterator<Item = usize>, edge: f64, way: f64| {
        let mut free = edge;
        for place in order {
            if let Some(at) = places.get_mut(place) {
                *at = if way > 0.0 { at.max(free) } else { at.min(free) };
                free = *at + way * LINE;
            }
        }
    };
    push(&mut order.iter().copied(), TOP + 2.0, 1.0);
    push(&mut order.iter().rev().copied(), HEIGHT - BOTTOM, -1.0);
}

/// As much of a name as there is room for.
fn cut(name: &str, letters: usize) -> String {
    if name.chars().count() <= letters {
        return name.to_owned();
    }
    let mut short: String = name.chars().take(letters.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::plot::Scale;
    use crate::report::plot::plot::Colour;
    use proptest::prelude::*;

    fn plot(stretches: Vec<Vec<(f64, f64)>>) -> Plot {
        Plot {
            title: String::from("Evidence <b>"),
            description: String::from("What was seen."),
            unit: String::from("e-value"),
            scale: Scale::logarithmic(0.01, 2_500.0),
            lines: vec![Line::new("harm", Colour::Harm, stretches)],
            limits: vec![Limit {
                name: String::from("limit 250"),
                colour: Colour::Harm,
                at: 250.0,
                from: 0.0,
                to: 100.0,
            }],
            bands: vec![Band { from: 0.0, to: 50.0, name: String::from("shadow") }],
            span: 100.0,
            written: number,
        }
    }

    #[test]
    fn a_plot_has_its_names_its_axes_its_limit_and_its_line() {
        let svg = draw(&plot(vec![vec![(0.0, 0.01), (100.0, 2_500.0)]]), 3);
        assert!(svg.contains("<title id=\"plot-3-title\">Evidence &lt;b&gt;</title>"));
        assert!(svg.contains("points=\"46.0,178.0 270.0,38.0\""), "{svg}");
        assert!(
            svg.contains(">limit 250</text>")
                && svg.contains(">shadow</text>")
                && svg.contains(">e-value</text>")
        );
        assert!(svg.contains("harm ends at 2,500."));
        assert!(svg.contains("seconds since it was staged"));
    }

    #[test]
    fn stretches_are_not_joined_and_a_lone_point_is_a_dot() {
        let svg = draw(&plot(vec![vec![(0.0, 1.0), (10.0, 2.0)], vec![(50.0, 3.0)]]), 1);
        assert_eq!(svg.matches("<polyline class=\"line").count(), 1);
        assert_eq!(svg.matches("r=\"2\"").count(), 1);
    }

    #[test]
    fn names_at_the_ends_of_lines_do_not_lie_upon_each_other() {
        let mut places = vec![100.0, 101.0, 101.0, 177.0];
        apart(&mut places);
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= LINE - 1e-9), "{places:?}");
        assert!(places.iter().all(|place| (TOP..=HEIGHT - BOTTOM).contains(place)));
    }

    proptest! {
        #[test]
        fn whatever_is_drawn_lies_within_the_view(
            points in prop::collection::vec((any::<f64>(), any::<f64>()), 0..400), span in any::<f64>(),
        ) {
            let svg = draw(&Plot { span, ..plot(vec![points]) }, 1);
            prop_assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            prop_assert!(svg.len() < 8_000, "{}", svg.len());
        }
    }
}
