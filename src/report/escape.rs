//! Text of the host's, made harmless: names, reasons and notes are anybody's.

use crate::base::text::is_plain;

/// Text as it may stand in HTML, between tags and in a quoted attribute.
pub(crate) fn html(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + text.len() / 8);
    for character in text.chars().map(visible) {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// Text as it may stand in a line of GitHub's Markdown, in a table too.
pub(crate) fn markdown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + text.len() / 8);
    let mut digits_only = true;
    let mut characters = text.trim().chars().map(visible).peekable();
    while let Some(character) = characters.next() {
        let begins = safe.is_empty();
        let special = match character {
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '<' | '>' | '#' | '|' | '~' | '&' | '$'
            | '!' => true,
            // A list, a rule, or the underline of a heading.
            '+' | '-' | '=' => begins,
            // A numbered list.
            '.' | ')' => digits_only && !begins && characters.peek().is_none_or(|next| *next == ' '),
            _ => false,
        };
        digits_only &= character.is_ascii_digit();
        if special {
            safe.push('\\');
        }
        safe.push(character);
    }
    // What looks like an address is made a link of, and what looks like a name calls somebody.
    safe.replace("://", "\\://").replace("www.", "www\\.").replace('@', "@\u{2060}")
}

/// A character that a reader can see: line breaks are spaces, and what writes over other text or turns it round is shown
/// as what it is.
fn visible(character: char) -> char {
    match character {
        '\n' | '\r' | '\t' | '\u{85}' | '\u{2028}' | '\u{2029}' => ' ',
        odd if !is_plain(odd) => '\u{fffd}',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_names_are_text() {
        assert_eq!(
            html("<script>alert('x' & \"y\")</script>"),
            "&lt;script&gt;alert(&#39;x&#39; &amp; &quot;y&quot;)&lt;/script&gt;"
        );
        assert_eq!(html("a\nb\u{202e}c\u{0}"), "a b\u{fffd}c\u{fffd}");
        assert_eq!(markdown("a|b`c`\n# d <img> [x](y)"), "a\\|b\\`c\\` \\# d \\<img\\> \\[x\\](y)");
        assert_eq!(markdown("- no list"), "\\- no list");
        assert_eq!(markdown("12. no list"), "12\\. no list");
        assert_eq!(markdown("7.65 points"), "7.65 points");
        assert_eq!(markdown("=== x - y"), "\\=== x - y");
        assert_eq!(
            markdown("https://example.org, www.example.org"),
            "https\\://example.org, www\\.example.org"
        );
    }

    proptest! {
        #[test]
        fn nothing_that_is_markup_is_left(text in any::<String>()) {
            let safe = html(&text);
            prop_assert!(!safe.contains(['<', '>', '"', '\'', '\n']));
            let safe = markdown(&text);
            prop_assert!(!safe.contains('\n'));
            let characters: Vec<char> = safe.chars().collect();
            for (place, character) in characters.iter().enumerate() {
                if matches!(character, '|' | '`' | '<' | '[' | '*') {
                    let before = characters[..place].iter().rev().take_while(|c| **c == '\\').count();
                    prop_assert!(before % 2 == 1, "{safe}");
                }
            }
        }
    }
}
