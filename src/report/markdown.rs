//! A page in GitHub's Markdown: rows of blocks in place of plots.

use super::document::{Block, Column, Document, Ground, Step, Table};
use super::escape::markdown as text;
use super::plot::plot::Plot;
use super::plot::{bar, rows};

pub(crate) fn render(document: &Document) -> String {
    let Document { title, outcome, lead, facts, sections, foot, .. } = document;
    let mut page = String::with_capacity(16 << 10);
    let mut paragraph = |written: &str| {
        page.push_str(written.trim_end());
        page.push_str("\n\n");
    };
    paragraph(&format!("# {}", text(title)));
    let lead: Vec<String> = lead.iter().map(|sentence| text(sentence)).collect();
    paragraph(&format!("**{}.** {}", text(outcome), lead.join(" ")));
    let facts: Vec<Vec<String>> = facts.iter().map(|(name, value)| vec![text(name), text(value)]).collect();
    paragraph(&table(&[Column::text("Fact"), Column::text("")], &facts));
    for section in sections {
        paragraph(&format!("## {}", text(&section.heading)));
        for block in &section.blocks {
            match block {
                Block::Text(written) => paragraph(&text(written)),
                Block::Aside(written) => paragraph(&format!("> {}", text(written))),
                Block::Table(Table { caption, columns, rows }) => {
                    let rows: Vec<Vec<String>> =
                        rows.iter().map(|row| row.iter().map(|cell| text(cell)).collect()).collect();
                    paragraph(&format!("**{}**", text(caption)));
                    paragraph(&table(columns, &rows));
                }
                Block::Plots(plots) => plots.iter().for_each(|plot| paragraph(&in_blocks(plot))),
                Block::Steps(steps) => paragraph(&steps.iter().map(step).collect::<String>()),
                #[cfg(feature = "admin")]
                Block::Links(links) => {
                    let items =
                        links.iter().map(|(said, path)| format!("- {}: {}\n", text(said), text(path)));
                    paragraph(&items.collect::<String>());
                }
            }
        }
    }
    paragraph("---");
    page.push_str(&text(foot));
    page.push('\n');
    page
}

/// A plot as rows of blocks, in a table of its own.
fn in_blocks(plot: &Plot) -> String {
    let rows: Vec<Vec<String>> =
        rows(plot).iter().map(|row| row.iter().map(|cell| text(cell)).collect()).collect();
    let unit = if plot.unit.is_empty() { String::new() } else { format!(" ({})", text(&plot.unit)) };
    let columns = [Column::text(""), Column::text("Over time"), Column::number("At last")];
    format!("**{}**{unit}: {}\n\n{}", text(&plot.title), text(&plot.description), table(&columns, &rows))
}

/// A table whose columns line up for whoever reads it as text. Cells are escaped already.
fn table(columns: &[Column], rows: &[Vec<String>]) -> String {
    let length = |text: &str| text.chars().count();
    let names: Vec<String> = columns.iter().map(|column| text(&column.name)).collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|place| {
            let cells = rows.iter().filter_map(|row| row.get(place));
            cells.chain(names.get(place)).map(|cell| length(cell)).max().unwrap_or(0).max(3)
        })
        .collect();
    let row = |cells: &[String]| {
        let padded = columns.iter().zip(&widths).enumerate().map(|(place, (column, width))| {
            let cell = cells.get(place).map_or("", String::as_str);
            let space = " ".repeat(width.saturating_sub(length(cell)));
            if column.is_number { format!(" {space}{cell} |") } else { format!(" {cell}{space} |") }
        });
        format!("|{}\n", padded.collect::<String>())
    };
    let rule = columns.iter().zip(&widths).map(|(column, width)| {
        let dashes = "-".repeat(width.saturating_sub(1));
        if column.is_number { format!(" {dashes}: |") } else { format!(" {dashes}- |") }
    });
    let mut table = row(&names);
    table.push_str(&format!("|{}\n", rule.collect::<String>()));
    rows.iter().for_each(|cells| table.push_str(&row(cells)));
    table
}

fn step(Step { when, what, by, grounds }: &Step) -> String {
    let by = by.as_ref().map(|by| format!(", by {}", text(by))).unwrap_or_default();
    let mut written = format!("1. **{}**{by}: {}\n", text(when), text(what));
    for Ground { verdict, sentence, detail, progress } in grounds {
        let bar = progress.as_ref().map(|progress| format!(" {}", bar(progress.part))).unwrap_or_default();
        written.push_str(&format!("   - **{verdict}**{bar} {} {}\n", text(sentence), text(detail)));
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_of_a_table_line_up() {
        let columns = [Column::text("Figure"), Column::number("v2")];
        let rows = [vec![String::from("Time to answer"), String::from("15.7 µs")], vec![String::from("n")]];
        let lines = table(&columns, &rows);
        let lengths: Vec<usize> = lines.lines().map(|line| line.chars().count()).collect();
        assert_eq!(lengths.len(), 4);
        assert!(lengths.windows(2).all(|pair| pair[0] == pair[1]), "{lines}");
        assert!(lines.contains("| -------------- | ------: |"), "{lines}");
    }
}
