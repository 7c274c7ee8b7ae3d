use super::Page;
use super::sides::Side;
use crate::cli::lines::shown;
use crate::cli::screen::{terminal_width, wrapped};
use crate::replay::{CHANGES, Example, Group, Report, Told};

/// As on a terminal.
pub(super) fn page(page: &Page<'_>) -> String {
    let report = page.report;
    let mut out = String::new();
    for (name, side) in [("old", &page.sides.old), ("new", &page.sides.new)] {
        line(&mut out, &format!("{name}  {}, policy {}", side.name, short(side)));
    }
    let alerts = number(report.alerts);
    line(&mut out, &format!("{alerts} alerts of {}{}", page.from, times(report)));
    line(
        &mut out,
        &format!("{} of {} rulings change", number(report.changed), number(report.alerts)),
    );
    for change in CHANGES.iter().filter(|change| report.count(**change) > 0) {
        let count = number(report.count(*change));
        out.push('\n');
        line(&mut out, &format!("{}  {count}: {}", change.name().to_uppercase(), change.about()));
        for (old, new, group) in report.groups_of(*change) {
            rows(&mut out, old, new, group, page.examples);
        }
    }
    let notes = notes(page);
    if !notes.is_empty() {
        out.push_str("\nTO KNOW\n");
        notes.iter().for_each(|note| indented(&mut out, 2, note));
    }
    let budget = page.budget.lines(report);
    if !budget.is_empty() {
        out.push_str("\nBUDGET\n");
    }
    for kept in budget {
        let verdict = if kept.is_kept() { "ok  " } else { "OVER" };
        let (found, max) = (number(kept.found), number(kept.max));
        indented(&mut out, 2, &format!("{verdict}  {}: {found} of at most {max}", kept.name));
    }
    out
}

fn rows(out: &mut String, old: &Told, new: &Told, group: &Group, examples: usize) {
    let mut name = number(group.count);
    for (mark, told) in [("-", old), ("+", new)] {
        indented_as(out, &format!("{name:>8}  {mark} "), &told.ruling);
        indented_as(out, "            ", &rule(told));
        name.clear();
    }
    for example in group.examples.iter().take(examples) {
        indented_as(out, "            ", &told_of(example));
    }
}

pub(super) fn rule(told: &Told) -> String {
    format!("{}/{}, {}", told.playbook, told.rule, told.reason)
}

pub(super) fn told_of(example: &Example) -> String {
    let Example { alert_id, nhi, detector, ruled_at } = example;
    format!("{alert_id}  {}  {}  {ruled_at}", shown(nhi, 60), shown(detector, 30))
}

pub(super) fn short(side: &Side) -> String {
    side.policy.hash.chars().take(16).collect()
}

/// When it had been ruled.
pub(super) fn times(report: &Report) -> String {
    match (report.from, report.to) {
        (Some(from), Some(to)) => format!(", ruled from {from} to {to}"),
        _ => String::new(),
    }
}

/// What has to be known to read the numbers.
pub(super) fn notes(page: &Page<'_>) -> Vec<String> {
    let report: &Report = page.report;
    let mut notes = Vec::new();
    for (name, rested) in ["old", "new"].iter().zip(&report.rested) {
        if rested.rulings == 0 {
            continue;
        }
        let each = rested.by_enricher.iter();
        let each: Vec<String> =
            each.map(|(name, count)| format!("{name} {}", number(*count))).collect();
        notes.push(format!(
            "rulings of the {name} policy that rest on facts which were not recorded, and so are \
             unknown: {} ({})",
            number(rested.rulings),
            each.join(", ")
        ));
    }
    for (name, count) in ["old", "new"].iter().zip(report.regrouped) {
        if count > 0 {
            notes.push(format!(
                "alerts that the {name} policy groups otherwise, their counters being those that were \
                 recorded: {}",
                number(count)
            ));
        }
    }
    for (what, count) in [
        (
            "rulings that stay what they are and come from another playbook, rule or reason",
            report.other_rule,
        ),
        (
            "alerts ruled by neither policy then, their facts being read as those of the old one",
            report.foreign,
        ),
        ("later rulings, made again on what people would have had by then", report.revisions),
        ("messages that could not be read, which no policy changes", report.unreadable),
        ("alerts that one of the two configurations alone makes", report.unpaired),
        ("alerts that could not be ruled, a defect to report", report.failed),
        (
            "alerts left out because a record of theirs is not whole, for `verify` to look at",
            report.unread,
        ),
    ] {
        if count > 0 {
            notes.push(format!("{what}: {}", number(count)));
        }
    }
    if !page.sides.other_files.is_empty() {
        let files: Vec<&str> = page.sides.other_files.iter().map(String::as_str).collect();
        notes.push(format!(
            "differ too, and count only for native events (records hold what was read and looked up \
             then): {}",
            files.join(", ")
        ));
    }
    notes
}

fn line(out: &mut String, text: &str) {
    indented(out, 0, text);
}

fn indented(out: &mut String, by: usize, text: &str) {
    indented_as(out, &" ".repeat(by), text);
}

/// The first line after `head`, the others below it.
fn indented_as(out: &mut String, head: &str, text: &str) {
    let by = head.chars().count();
    let mut head = head.to_owned();
    for line in wrapped(text, terminal_width().saturating_sub(by).max(20)) {
        out.push_str(&head);
        out.push_str(&line);
        out.push('\n');
        head = " ".repeat(by);
    }
}

/// With its thousands apart.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
