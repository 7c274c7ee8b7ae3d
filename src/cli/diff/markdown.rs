use std::fmt::Write as _;

use super::Page;
use super::text::{notes, number, rule, short, times};
use crate::cli::lines::shown;
use crate::replay::{CHANGES, Change, Told};

/// For a pull request: what was written by detectors stands in code spans alone.
pub(super) fn page(page: &Page<'_>) -> String {
    let mut out = String::new();
    write(page, &mut out).unwrap_or_default();
    out
}

fn write(page: &Page<'_>, out: &mut String) -> std::fmt::Result {
    let report = page.report;
    let (changed, alerts) = (number(report.changed), number(report.alerts));
    writeln!(out, "## Playbooks: {changed} of {alerts} rulings change\n")?;
    for (name, side) in [("Old", &page.sides.old), ("new", &page.sides.new)] {
        let end = if name == "Old" { "; " } else { ". " };
        write!(out, "{name}: {}, policy {}{end}", code(&side.name), code(&short(side)))?;
    }
    writeln!(out, "{alerts} alerts of {}{}.\n", code(page.from), times(report))?;
    let budget = page.budget.lines(report);
    if !budget.is_empty() {
        writeln!(out, "| budget | found | at most | |\n|---|---:|---:|---|")?;
        for line in &budget {
            let verdict = if line.is_kept() { "ok" } else { "**over**" };
            let (found, max) = (number(line.found), number(line.max));
            writeln!(out, "| {} | {found} | {max} | {verdict} |", line.name)?;
        }
        out.push('\n');
    }
    let found: Vec<Change> =
        CHANGES.iter().copied().filter(|change| report.count(*change) > 0).collect();
    if !found.is_empty() {
        writeln!(out, "| change | alerts |\n|---|---:|")?;
        for change in &found {
            writeln!(out, "| {} | {} |", change.name(), number(report.count(*change)))?;
        }
        out.push('\n');
    }
    for change in found {
        table(page, change, out)?;
    }
    let notes = notes(page);
    if !notes.is_empty() {
        writeln!(out, "### To know\n")?;
        for note in notes {
            writeln!(out, "- {note}")?;
        }
    }
    Ok(())
}

fn table(page: &Page<'_>, change: Change, out: &mut String) -> std::fmt::Result {
    let count = number(page.report.count(change));
    writeln!(out, "### {}: {count}\n\n{}\n", change.name(), change.about())?;
    writeln!(out, "| alerts | old | new | for example |\n|---:|---|---|---|")?;
    for (old, new, group) in page.report.groups_of(change) {
        let side = |told: &Told| format!("{}<br>{}", code(&told.ruling), code(&rule(told)));
        let examples = group.examples.iter().take(page.examples).map(|example| {
            format!("{} {}", code(&example.alert_id), code(&shown(&example.nhi, 60)))
        });
        let examples: Vec<String> = examples.collect();
        let (count, old, new) = (number(group.count), side(old), side(new));
        writeln!(out, "| {count} | {old} | {new} | {} |", examples.join("<br>"))?;
    }
    out.push('\n');
    Ok(())
}

/// In a code span, inside a table or not: nothing in it is read as Markdown or HTML.
fn code(text: &str) -> String {
    let text = shown(text, usize::MAX).replace('`', "'").replace('|', "\\|");
    format!("`{text}`")
}
