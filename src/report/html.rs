//! A page as one HTML file: no script, no network, styles and plots within it.

use super::document::{Block, Document, Ground, Progress, Section, Step, Table, Tone};
use super::escape::html;
use super::plot::draw;
use super::plot::plot::Plot;

/// The style sheet. Light and dark, for a phone and for paper.
const STYLE: &str = include_str!("style.css");

/// Text as it stands on the page; no line ends between a number and its percent sign.
fn text(plain: &str) -> String {
    html(plain).replace(" %", "\u{a0}%")
}

pub(crate) fn render(document: &Document) -> String {
    let mut page = Page { html: String::with_capacity(64 << 10), plots: 0 };
    page.document(document);
    page.html
}

struct Page {
    html: String,
    /// Plots so far: each has names of its own.
    plots: usize,
}

impl Page {
    fn put(&mut self, html: &str) {
        self.html.push_str(html);
    }

    fn line(&mut self, html: &str) {
        self.put(html);
        self.html.push('\n');
    }

    fn document(&mut self, document: &Document) {
        let Document { title, outcome, tone, lead, facts, sections, foot, renewed_every } = document;
        self.line("<!DOCTYPE html>");
        self.line("<html lang=\"en\">");
        self.line("<head>");
        self.line("<meta charset=\"utf-8\">");
        self.line("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
        self.line("<meta name=\"color-scheme\" content=\"light dark\">");
        if let Some(seconds) = renewed_every {
            self.line(&format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">"));
        }
        self.line(&format!("<title>{}: {}</title>", text(title), text(outcome)));
        self.line(&format!("<style>\n{STYLE}</style>"));
        self.line("</head>");
        self.line("<body>");
        self.line("<header>");
        self.line(&format!("<h1>{}</h1>", text(title)));
        let tone = match tone {
            Tone::Good => "good",
            Tone::Bad => "bad",
            Tone::Open => "open",
        };
        self.line(&format!("<p class=\"outcome {tone}\">{}</p>", text(outcome)));
        for sentence in lead {
            self.line(&format!("<p class=\"lead\">{}</p>", text(sentence)));
        }
        self.line("<dl class=\"facts\">");
        for (name, value) in facts {
            self.line(&format!("<div><dt>{}</dt><dd>{}</dd></div>", text(name), text(value)));
        }
        self.line("</dl>");
        self.line("</header>");
        self.line("<main>");
        for (place, section) in sections.iter().enumerate() {
            self.section(place, section);
        }
        self.line("</main>");
        self.line(&format!("<footer><p>{}</p></footer>", text(foot)));
        self.line("</body>");
        self.line("</html>");
    }

    fn section(&mut self, place: usize, Section { heading, blocks }: &Section) {
        let id = format!("part-{}", place + 1);
        self.line(&format!("<section aria-labelledby=\"{id}\">"));
        self.line(&format!("<h2 id=\"{id}\">{}</h2>", text(heading)));
        for block in blocks {
            match block {
                Block::Text(paragraph) => self.line(&format!("<p>{}</p>", text(paragraph))),
                Block::Aside(paragraph) => self.line(&format!("<p class=\"aside\">{}</p>", text(paragraph))),
                Block::Table(table) => self.table(table),
                Block::Plots(plots) => self.plots(plots),
                Block::Steps(steps) => self.steps(steps),
                #[cfg(feature = "admin")]
                Block::Links(links) => self.links(links),
            }
        }
        self.line("</section>");
    }

    #[cfg(feature = "admin")]
    fn links(&mut self, links: &[(String, String)]) {
        self.line("<ul>");
        for (said, path) in links {
            self.line(&format!("<li><a href=\"{}\">{}</a></li>", html(path), text(said)));
        }
        self.line("</ul>");
    }

    fn table(&mut self, Table { caption, columns, rows }: &Table) {
        // Where it is wider than the screen it is the table that scrolls, by keys too, not the page.
        let name = text(caption);
        self.line(&format!("<div class=\"scroll\" role=\"region\" aria-label=\"{name}\" tabindex=\"0\">"));
        self.line(&format!("<table><caption>{name}</caption>"));
        let class = |place: usize| {
            let is_number = columns.get(place).is_some_and(|column| column.is_number);
            if is_number { " class=\"number\"" } else { "" }
        };
        self.put("<thead><tr>");
        for (place, column) in columns.iter().enumerate() {
            self.put(&format!("<th scope=\"col\"{}>{}</th>", class(place), text(&column.name)));
        }
        self.line("</tr></thead>");
        self.line("<tbody>");
        for row in rows {
            self.put("<tr>");
            for (place, cell) in row.iter().enumerate() {
                let cell = text(cell);
                match place {
                    0 => self.put(&format!("<th scope=\"row\">{cell}</th>")),
                    _ => self.put(&format!("<td{}>{cell}</td>", class(place))),
                }
            }
            self.line("</tr>");
        }
        self.line("</tbody></table>");
        self.line("</div>");
    }

    fn plots(&mut self, plots: &[Plot]) {
        self.line("<div class=\"plots\">");
        for plot in plots {
            self.plots += 1;
            self.line("<figure>");
            let (title, description) = (text(&plot.title), text(&plot.description));
            self.line(&format!("<figcaption><strong>{title}</strong> {description}</figcaption>"));
            let svg = draw(plot, self.plots);
            self.line(&svg);
            self.line("</figure>");
        }
        self.line("</div>");
    }

    fn steps(&mut self, steps: &[Step]) {
        self.line("<ol class=\"steps\">");
        for Step { when, what, by, grounds } in steps {
            let by = by.as_ref().map(|by| format!(" <span class=\"by\">by {}</span>", text(by)));
            self.put(&format!(
                "<li><p class=\"when\">{}{}</p><p class=\"what\">{}</p>",
                text(when),
                by.unwrap_or_default(),
                text(what)
            ));
            if !grounds.is_empty() {
                self.line("<ul>");
                grounds.iter().for_each(|ground| self.ground(ground));
                self.put("</ul>");
            }
            self.line("</li>");
        }
        self.line("</ol>");
    }

    fn ground(&mut self, Ground { verdict, sentence, detail, progress }: &Ground) {
        self.put(&format!("<li><span class=\"verdict {verdict}\">{verdict}</span> {}", text(sentence)));
        if let Some(Progress { part, of_harm }) = progress {
            let percent = (part * 100.0).floor();
            let (class, of) =
                if *of_harm { ("harm", "of what shows harm") } else { ("fine", "of what lets it on") };
            self.put(&format!(
                " <span class=\"bar\" role=\"img\" aria-label=\"{percent} percent {of}\"><span class=\"{class}\" style=\"width:{percent}%\"></span></span>"
            ));
        }
        if !detail.is_empty() {
            self.put(&format!(" <small>{}</small>", text(detail)));
        }
        self.line("</li>");
    }
}
