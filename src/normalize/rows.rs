//! Comma-separated rows (RFC 4180) with their lines, for tables that people keep in a spreadsheet.

use super::alias::at_line;
use crate::text::{At, Problems, Source};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) at: At,
    pub(super) cells: Vec<String>,
}

/// All rows, the header among them. Empty lines and lines that start with `#` are passed over; a
/// row whose number of cells is not the header's is a problem.
pub(super) fn rows(source: &Source, problems: &mut Problems) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut lines = source.text.split('\n').enumerate();
    while let Some((index, line)) = lines.next() {
        let at = at_line(source, index + 1);
        let mut record = line.strip_suffix('\r').unwrap_or(line).to_owned();
        if record.trim().is_empty() || record.starts_with('#') {
            continue;
        }
        while record.matches('"').count() % 2 == 1 {
            let Some((_, next)) = lines.next() else {
                problems.add(&at, "a quote is not closed");
                return rows;
            };
            record.push('\n');
            record.push_str(next.strip_suffix('\r').unwrap_or(next));
        }
        let cells = cells_of(&record);
        let expected = rows.first().map_or(cells.len(), |header| header.cells.len());
        if cells.len() != expected {
            problems.add(&at, format!("{} cells where the header has {expected}", cells.len()));
            continue;
        }
        rows.push(Row { at, cells });
    }
    if rows.is_empty() {
        problems.add(&at_line(source, 1), "the table has no header");
    }
    rows
}

fn cells_of(record: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut is_quoted = false;
    let mut characters = record.chars().peekable();
    while let Some(character) = characters.next() {
        let Some(cell) = cells.last_mut() else { break };
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => cells.push(String::new()),
            other => cell.push(other),
        }
    }
    cells.into_iter().map(|cell| cell.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_lines() {
        let source =
            Source::new("t.csv", "# note\na,b\r\n\n\"x, \"\"y\"\"\",2\n\"two\nlines\",3\n1\n\"");
        let mut problems = Problems::default();
        let found: Vec<_> =
            rows(&source, &mut problems).into_iter().map(|row| (row.at.line, row.cells)).collect();
        let cells = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(
            found,
            [
                (2, cells(["a", "b"])),
                (4, cells(["x, \"y\"", "2"])),
                (5, cells(["two\nlines", "3"]))
            ]
        );
        let problems: Vec<_> = problems.into_sorted().iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            ["t.csv:7:1: 1 cells where the header has 2", "t.csv:8:1: a quote is not closed"]
        );
    }
}
