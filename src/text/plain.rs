/// The text of a file or an alert as people may be shown it: in one line, and without what a
/// terminal would obey or nobody would see.
pub fn plain(text: &str) -> String {
    text.chars().map(shown).collect()
}

fn shown(c: char) -> char {
    match c {
        '\t' | '\n' => ' ',
        // They turn the direction of what follows.
        '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            MARK
        }
        // They take no room, so that two words look like one, or like another.
        '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' => MARK,
        _ if c.is_control() => MARK,
        _ => c,
    }
}

const MARK: char = '\u{b7}';
