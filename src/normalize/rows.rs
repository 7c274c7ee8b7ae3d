//! Comma-separated rows (RFC 4180) with their places: tables that people keep in a spreadsheet, and
//! reports that come as such.

use super::ALERTS_MAX;
use super::alias::at_line;
use super::body::Document;
use super::reading::{MESSAGE_BYTES_MAX, Refusal};
use crate::case::Reason;
use crate::text::{At, Problems, Source};

/// LIMIT: a report as JSON names its columns in every row, so it may be larger than the message.
const REPORT_BYTES_MAX: usize = 8 * MESSAGE_BYTES_MAX;
const NOT_CLOSED: &str = "a quote is not closed";

struct Record {
    /// Its first byte and its line, from 1.
    at: usize,
    line: usize,
    cells: csv::StringRecord,
    /// Not so when a quote runs on to the end of the text.
    is_closed: bool,
}

struct Records<'t> {
    text: &'t str,
    reader: csv::Reader<&'t [u8]>,
    comment: Option<u8>,
    line: usize,
}

impl<'t> Records<'t> {
    /// Lines with white space alone are passed over, and those that start with `comment`.
    fn of(text: &'t str, comment: Option<u8>) -> Self {
        let mut builder = csv::ReaderBuilder::new();
        builder.has_headers(false).flexible(true).comment(comment).trim(csv::Trim::All);
        Self { text, reader: builder.from_reader(text.as_bytes()), comment, line: 1 }
    }

    fn is_passed(&self, line: &str) -> bool {
        let is_comment = self.comment.is_some_and(|mark| line.as_bytes().first() == Some(&mark));
        is_comment || line.trim().is_empty()
    }

    fn place(&self) -> usize {
        usize::try_from(self.reader.position().byte()).unwrap_or(usize::MAX)
    }
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            let mut cells = csv::StringRecord::new();
            let mut at = self.place();
            // Any text is rows to this reader: only its end ends them.
            if !self.reader.read_record(&mut cells).unwrap_or(false) {
                return None;
            }
            let end = self.place();
            let mut rest = self.text.get(at..end).unwrap_or_default();
            while let Some((line, after)) =
                rest.split_once('\n').filter(|(line, _)| self.is_passed(line))
            {
                at += line.len() + 1;
                self.line += 1;
                rest = after;
            }
            let line = self.line;
            self.line += rest.matches('\n').count();
            if !self.is_passed(rest) {
                let is_closed = end < self.text.len() || rest.matches('"').count() % 2 == 0;
                return Some(Record { at, line, cells, is_closed });
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) at: At,
    pub(super) cells: Vec<String>,
}

/// All rows, the header among them. A row whose number of cells is not the header's is a problem.
pub(super) fn rows(source: &Source, problems: &mut Problems) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for record in Records::of(&source.text, Some(b'#')) {
        let at = at_line(source, record.line);
        let expected = rows.first().map_or(record.cells.len(), |header| header.cells.len());
        if !record.is_closed {
            problems.add(&at, NOT_CLOSED);
        } else if record.cells.len() != expected {
            let have = record.cells.len();
            problems.add(&at, format!("{have} cells where the header has {expected}"));
        } else {
            rows.push(Row { at, cells: record.cells.iter().map(str::to_owned).collect() });
        }
    }
    if rows.is_empty() {
        problems.add(&at_line(source, 1), "the table has no header");
    }
    rows
}

/// A report as JSON: a list with an object of texts for each row, `null` for a broken one.
pub(super) struct Report {
    pub(super) json: String,
    /// A list with one row whose cells are empty texts: what a report without rows is known by.
    pub(super) header: String,
    pub(super) rows: Vec<ReportRow>,
}

pub(super) struct ReportRow {
    /// Its first byte in the message.
    pub(super) at: usize,
    fault: Option<&'static str>,
}

impl Report {
    /// Whether it has no row that can be read.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.iter().all(|row| row.fault.is_some())
    }
}

impl ReportRow {
    pub(super) fn read(&self) -> Result<(), Refusal> {
        self.fault.map_or(Ok(()), |fault| Err(Refusal::new(Reason::NotJson, fault)))
    }
}

pub(super) fn report(document: Document<'_>) -> Result<Report, Refusal> {
    let mut records = Records::of(document.text, None);
    let header = records.next().filter(|header| header.is_closed);
    let header = header.ok_or_else(|| Refusal::new(Reason::NotJson, NOT_CLOSED))?;
    let keys: Vec<String> = header.cells.iter().map(quoted).collect();
    let mut report = Report { json: "[".into(), header: String::new(), rows: Vec::new() };
    report.header = format!("[{}]", object(&keys, keys.iter().map(|_| "\"\"".to_owned())));
    for record in records {
        if report.rows.len() == ALERTS_MAX {
            return Err(Refusal::too_many());
        }
        let fault = if !record.is_closed {
            Some(NOT_CLOSED)
        } else if record.cells.len() != keys.len() {
            Some("a row with another number of cells than the header")
        } else {
            None
        };
        if !report.rows.is_empty() {
            report.json.push(',');
        }
        match fault {
            None => report.json.push_str(&object(&keys, record.cells.iter().map(cell))),
            Some(_) => report.json.push_str("null"),
        }
        report.rows.push(ReportRow { at: document.at + record.at, fault });
        if report.json.len() > REPORT_BYTES_MAX {
            return Err(Refusal::too_large());
        }
    }
    report.json.push(']');
    Ok(report)
}

fn object(keys: &[String], values: impl Iterator<Item = String>) -> String {
    let members: Vec<String> = keys.iter().zip(values).map(|(k, v)| format!("{k}:{v}")).collect();
    format!("{{{}}}", members.join(","))
}

fn cell(text: &str) -> String {
    if text.is_empty() { "null".into() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
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
