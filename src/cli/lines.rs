use std::collections::BTreeMap;

use crate::audit::{Kind, Record};
use crate::case::{Field, Ruling};
use crate::text::plain;

/// Running totals by ruling, in the order in which people care.
#[derive(Debug, Default)]
pub(super) struct Totals {
    by_ruling: BTreeMap<&'static str, u64>,
    pub by_reason: BTreeMap<(&'static str, &'static str), u64>,
    pub rulings: u64,
}

impl Totals {
    pub(super) fn add(&mut self, record: &Record<'_>) {
        if let (Kind::Ruling, Some(decision)) = (record.kind, &record.ruling) {
            let name = decision.fate.name();
            *self.by_ruling.entry(name).or_default() += 1;
            *self.by_reason.entry((name, decision.reason.code())).or_default() += 1;
            self.rulings += 1;
        }
    }

    pub(super) fn line(&self) -> String {
        let count = |name: &str| self.by_ruling.get(name).copied().unwrap_or(0);
        format!(
            "{} ruled: {} routed, {} suppressed, {} escalated, {} held, {} dead letters",
            self.rulings,
            count("route"),
            count("suppress"),
            count("escalate"),
            count("hold"),
            count("dead_letter")
        )
    }
}

/// One line for one ruling: when, detector, NHI, kind, ruling, queue or reason, rule.
pub(super) fn ruling_line(record: &Record<'_>, colored: bool) -> Option<String> {
    let decision = record.ruling.as_ref()?;
    let field =
        |field: Field| record.alert.as_ref().and_then(|alert| alert.text(field)).unwrap_or("-");
    let at = record.at.to_string();
    let time = at.get(11..23).unwrap_or(&at);
    let detector = record.pipeline.as_deref().unwrap_or("-");
    let whither = match &decision.fate {
        Ruling::Route(route) => format!("{} ({})", route.queue, route.priority.name()),
        Ruling::Suppress(_) => decision.reason.code().to_owned(),
        Ruling::Escalate(escalate) => format!("{} ({})", escalate.action, escalate.priority.name()),
        Ruling::Hold(hold) => format!("{} ({})", hold.queue, decision.reason.code()),
        Ruling::DeadLetter(letter) => letter.reason.code().to_owned(),
    };
    let (start, end) = if colored { (color(&decision.fate), "\x1b[0m") } else { ("", "") };
    Some(format!(
        "{time}  {:<15} {:<34} {:<13} {start}{:<11}{end} {:<32} {}",
        shown(detector, 15),
        shown(field(Field::NhiId), 34),
        shown(field(Field::Kind), 13),
        decision.fate.name(),
        shown(&whither, 32),
        decision.rule
    ))
}

/// What somebody has to act on stands out; what nobody needs to see steps back.
fn color(ruling: &Ruling<'_>) -> &'static str {
    match ruling {
        Ruling::Escalate(_) => "\x1b[1;31m",
        Ruling::Hold(_) => "\x1b[33m",
        Ruling::DeadLetter(_) => "\x1b[35m",
        Ruling::Suppress(_) => "\x1b[2m",
        Ruling::Route(_) => "",
    }
}

/// At most `width` characters: an alert's words never steer a terminal.
pub(super) fn shown(text: &str, width: usize) -> String {
    let clean = plain(text);
    if clean.chars().count() <= width {
        return clean;
    }
    let mut cut: String = clean.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}
