//! Text that can't steer a terminal or a reader's eye.
//!
//! What was said comes from outside and is printed by `cat` and `grep`: an escape sequence could move the
//! cursor or set the title, a bidi override could turn a sentence round (API reference, 18).

/// The text without control and direction characters. Line ends of all kinds become `\n`, tabs a space.
pub(super) fn safe(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' if characters.peek() == Some(&'\n') => {}
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                clean.push('\n');
            }
            '\t' => clean.push(' '),
            hidden if hidden.is_control() || is_invisible(hidden) => {}
            shown => clean.push(shown),
        }
    }
    clean
}

/// The text as one safe line, with single spaces between words and none around them.
pub(super) fn safe_line(text: &str) -> String {
    let clean = safe(text);
    let mut line = String::with_capacity(clean.len());
    for word in clean.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

/// Characters that show nothing themselves, and change what is around them. The zero-width joiners stay:
/// scripts and emoji are written with them.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_controls_and_bidi_overrides_are_removed() {
        assert_eq!(
            safe_line("a\u{1b}[31mb\u{9b}2Jc\u{202e}d\u{2066}e\u{7}\u{7f}"),
            "a[31mb2Jcde"
        );
    }

    #[test]
    fn lines_and_joiners_stay() {
        assert_eq!(safe("a\r\nb\rc\td"), "a\nb\nc d");
        assert_eq!(safe("👩\u{200d}🚒"), "👩\u{200d}🚒");
        assert_eq!(safe_line("  a \n b  "), "a b");
    }
}
