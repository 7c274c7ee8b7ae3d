use regex::Regex;

/// Owners of `file` by a CODEOWNERS file: the last line that matches says it, and may say nobody.
/// Nothing when no line matches. A pattern that cannot be read matches nothing, as at GitHub.
pub(super) fn owners(codeowners: &str, file: &str) -> Option<Vec<String>> {
    let file = file.trim_start_matches('/');
    let lines = codeowners.lines().filter_map(parts);
    let mut matching = lines.filter(|(pattern, _)| matches(pattern, file));
    matching.next_back().map(|(_, owners)| owners)
}

/// Pattern and owners of a line; nothing of a comment, a blank line or a section's title.
fn parts(line: &str) -> Option<(String, Vec<String>)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', '[', '^']) {
        return None;
    }
    // A space in a pattern is escaped.
    let mut words = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, words.last_mut()) {
            ('\\', Some(word)) => word.extend(chars.next()),
            ('#', Some(word)) if word.is_empty() => break,
            (c, _) if c.is_whitespace() => words.push(String::new()),
            (c, Some(word)) => word.push(c),
            (_, None) => {}
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let pattern = words.next()?;
    Some((pattern, words.collect()))
}

/// As in gitignore: a slash in front or in the middle ties it to the root, one at the end means all
/// below.
fn matches(pattern: &str, file: &str) -> bool {
    if pattern.starts_with('!') {
        return false;
    }
    let is_rooted = pattern.trim_end_matches('/').contains('/');
    let mut regex = String::from(if is_rooted { "^" } else { "^(?:.*/)?" });
    let mut rest = pattern.trim_start_matches('/');
    while !rest.is_empty() {
        let (piece, after) = if let Some(after) = rest.strip_prefix("**/") {
            ("(?:.*/)?".to_owned(), after)
        } else if let Some(after) = rest.strip_prefix("**") {
            (".*".to_owned(), after)
        } else if let Some(after) = rest.strip_prefix('*') {
            ("[^/]*".to_owned(), after)
        } else if let Some(after) = rest.strip_prefix('?') {
            ("[^/]".to_owned(), after)
        } else {
            let end = rest.find(['*', '?']).unwrap_or(rest.len());
            let (plain, after) = rest.split_at(end);
            (regex::escape(plain), after)
        };
        regex.push_str(&piece);
        rest = after;
    }
    // A folder's name holds what is below it, but `docs/*` only what is directly in it.
    regex.push_str(match (pattern.ends_with('/'), pattern.ends_with("/*")) {
        (true, _) => ".*$",
        (_, true) => "$",
        _ => "(?:/.*)?$",
    });
    Regex::new(&regex).is_ok_and(|regex| regex.is_match(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_matches_says_who() {
        let text = "\
            # everything\n*  @org/all # by default\n*.js @js\n/build/logs/ @doc\ndocs/* docs@example.com\n\
            apps/ @octocat\n/scripts/ @a @b\n**/logs @logs\n/apps/github\n[Section]\n^[Optional]\nwith\\ space @sp\n";
        for (file, expected) in [
            ("README", Some("@org/all")),
            ("a/b/c.js", Some("@js")),
            ("build/logs/x/y", Some("@logs")),
            ("docs/start.md", Some("docs@example.com")),
            ("docs/more/start.md", Some("@org/all")),
            ("x/apps/y/z", Some("@octocat")),
            ("scripts/x", Some("@a @b")),
            ("other/scripts/x", Some("@org/all")),
            ("deep/logs/x", Some("@logs")),
            ("apps/github", Some("")),
            ("apps/github/x", Some("")),
            ("with space", Some("@sp")),
        ] {
            let found = owners(text, file).map(|owners| owners.join(" "));
            assert_eq!(found.as_deref(), expected, "{file}");
        }
        assert_eq!(owners("*.js @js\n", "a.rs"), None);
    }
}
