//! HTML as the text that a reader would see: chats and e-mails bring it.
//!
//! Only tags that HTML knows are taken for tags. Transcripts write `<unk>` or `<redacted>` for what can't be
//! given, and that must stay.

/// The longest tag or entity that is taken for one, in bytes.
const TAG_LIMIT: usize = 4096;
const ENTITY_LIMIT: usize = 12;

/// Tags that end a line.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "blockquote",
    "br",
    "div",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "li",
    "ol",
    "p",
    "pre",
    "section",
    "table",
    "tr",
    "ul",
];

/// Tags that stand within a line.
const INLINE: &[&str] = &[
    "a", "abbr", "b", "big", "body", "button", "center", "cite", "code", "del", "em", "font",
    "form", "head", "html", "i", "img", "input", "ins", "kbd", "label", "link", "mark", "meta",
    "o:p", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "tbody", "td",
    "tfoot", "th", "thead", "title", "tt", "u", "var", "video",
];

/// Tags whose content is not text.
const HIDDEN: &[&str] = &["script", "style"];

/// The text of what may be HTML.
pub(super) fn to_text(source: &str) -> String {
    if !source.contains(['<', '&']) {
        return source.to_owned();
    }
    let mut text = String::with_capacity(source.len());
    let mut ends = Ends::default();
    let mut at = 0;
    while let Some(found) = source[at..].find(['<', '&']) {
        text.push_str(&source[at..at + found]);
        at += found;
        let behind = if source[at..].starts_with('&') {
            entity(source, at, &mut text)
        } else {
            tag(source, at, &mut ends, &mut text)
        };
        at = behind.unwrap_or_else(|| {
            // '<' and '&' are one byte each.
            text.push_str(&source[at..=at]);
            at + 1
        });
    }
    text.push_str(&source[at..]);
    text
}

/// Where the tag that begins at `at` ends; `None` if it is none.
fn tag(source: &str, at: usize, ends: &mut Ends, text: &mut String) -> Option<usize> {
    if source[at..].starts_with("<!--") {
        return ends
            .comment
            .at_or_after(source, at + 4, "-->")
            .map(|end| end + 3);
    }
    let end = ends.tag.at_or_after(source, at, ">")?;
    if end - at > TAG_LIMIT {
        return None;
    }
    let inner = &source[at + 1..end];
    let named = inner.strip_prefix('/').unwrap_or(inner);
    let name: String = named
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == ':')
        .take(16)
        .collect::<String>()
        .to_ascii_lowercase();
    // `<b@example.com>` is an address.
    let behind = named[name.len()..].chars().next();
    if behind.is_some_and(|c| !c.is_ascii_whitespace() && c != '/') {
        return None;
    }
    let name = name.as_str();
    if BLOCKS.contains(&name) {
        text.push('\n');
    } else if HIDDEN.contains(&name) {
        if !inner.starts_with('/') {
            // The next closing tag of any kind ends it: neither may hold one.
            return Some(
                source[end..]
                    .find("</")
                    .map_or(source.len(), |close| end + close),
            );
        }
    } else if name == "td" || name == "th" {
        text.push(' ');
    } else if !INLINE.contains(&name) {
        return None;
    }
    Some(end + 1)
}

/// The next end of a tag and of a comment. Remembered, because many begin where few end, and a search from
/// each beginning would be quadratic.
#[derive(Default)]
struct Ends {
    tag: Next,
    comment: Next,
}

#[derive(Default)]
struct Next {
    searched_from: Option<usize>,
    found: Option<usize>,
}

impl Next {
    fn at_or_after(&mut self, source: &str, from: usize, pattern: &str) -> Option<usize> {
        let known = self.searched_from.is_some_and(|searched| searched <= from)
            && self.found.is_none_or(|found| found >= from);
        if !known {
            self.found = source[from..].find(pattern).map(|found| from + found);
            self.searched_from = Some(from);
        }
        self.found
    }
}

/// Where the entity that begins at `at` ends; `None` if it is none.
fn entity(source: &str, at: usize, text: &mut String) -> Option<usize> {
    let length = source[at..]
        .bytes()
        .take(ENTITY_LIMIT)
        .position(|byte| byte == b';')?;
    let name = &source[at + 1..at + length];
    let character = match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        "pound" => Some('£'),
        "euro" => Some('€'),
        "hellip" => Some('…'),
        "ndash" => Some('–'),
        "mdash" => Some('—'),
        "lsquo" => Some('‘'),
        "rsquo" => Some('’'),
        "ldquo" => Some('“'),
        "rdquo" => Some('”'),
        _ => name.strip_prefix('#').and_then(|number| {
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            code.ok().and_then(char::from_u32)
        }),
    };
    text.push(character?);
    Some(at + length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_goes_and_its_text_stays() {
        assert_eq!(
            to_text("<p class=\"x\">One &amp; <b>two</b></p><br/>3 &lt; 4&#33;&#x21;"),
            "\nOne & two\n\n3 < 4!!"
        );
        assert_eq!(to_text("a<!-- no -->b<style>p{}</style>c<script>x"), "abc");
    }

    #[test]
    fn what_is_no_html_stays() {
        for text in [
            "<unk> said <REDACTED>",
            "1 < 2 > 0",
            "R&D & more; yes",
            "<",
            "a<b",
            "&#xffffffff;",
            "Ina <i.jones@example.com>, Bo <b@example.com>, Pat <p-1@example.com>",
        ] {
            assert_eq!(to_text(text), text);
        }
    }

    #[test]
    fn an_entity_is_not_decoded_twice() {
        assert_eq!(to_text("&amp;lt;b&amp;gt; &lt;b&gt;"), "&lt;b&gt; <b>");
    }
}
