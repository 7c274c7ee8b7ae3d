use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::axes::{Axes, combinations};
use super::hearing::Hearing;
use super::judge::Judge;
use super::rows::{Point, Reach, merged};
use super::{Bounds, Need, TooLarge, Vocabulary, asks, consents};

/// What a boundary allows that the other does not, and the other way round.
#[derive(Debug, Default, Serialize)]
pub struct Comparison {
    pub vocabulary: Vocabulary,
    pub widened: Vec<Change>,
    pub narrowed: Vec<Change>,
}

#[derive(Debug, PartialEq, Serialize)]
pub struct Change {
    pub action: String,
    pub what: String,
    /// As in a [`super::Row`].
    pub at: BTreeMap<String, Vec<String>>,
}

/// Tries both at the same combinations of values. Conditions over values that cannot be listed are
/// compared as they are written: one that is written otherwise counts as gone, and as new.
///
/// Errors: there are too many combinations to try.
pub fn compare(old: &Bounds<'_>, new: &Bounds<'_>) -> Result<Comparison, TooLarge> {
    let mut found = Comparison::default();
    for ask in asks(&[old, new]) {
        let (before, after) = (Judge::new(*old, &ask), Judge::new(*new, &ask));
        let axes = Axes::new(&[&before, &after]);
        found.vocabulary.insert(ask.name().to_owned(), axes.vocabulary());
        let (before, after) = (Hearing::new(&before, &axes), Hearing::new(&after, &axes));
        let (mut wider, mut narrower) = (Vec::new(), Vec::new());
        for point in combinations(&axes, ask.name())? {
            let (was, is) = (before.reach(&point), after.reach(&point));
            wider.extend(gained(&point, was.as_ref(), is.as_ref(), WIDER));
            narrower.extend(gained(&point, is.as_ref(), was.as_ref(), NARROWER));
        }
        let told = |points: Vec<(Point, String)>| {
            let rows = merged(points).into_iter();
            rows.map(|(sets, what)| Change {
                action: ask.name().to_owned(),
                what,
                at: axes.named(&sets),
            })
            .collect::<Vec<Change>>()
        };
        found.widened.extend(told(wider));
        found.narrowed.extend(told(narrower));
    }
    let (was, is) = (consents(old.boundary), consents(new.boundary));
    let consent = |these: &[String], those: &[String], what: &str| -> Vec<Change> {
        let new = these.iter().filter(|name| !those.contains(name));
        new.map(|name| Change {
            action: "every action".to_owned(),
            what: format!("{what}: {name}"),
            at: BTreeMap::new(),
        })
        .collect()
    };
    found.widened.extend(consent(&is, &was, "may be passed while it is unknown"));
    found.narrowed.extend(consent(&was, &is, "may no longer be passed while it is unknown"));
    Ok(found)
}

/// How it is told: reachable, gone, and changed need.
struct Words {
    reachable: &'static str,
    without: &'static str,
    is_new_first: bool,
}

const WIDER: Words =
    Words { reachable: "allowed now", without: "no longer needed", is_new_first: true };
const NARROWER: Words =
    Words { reachable: "not allowed any more", without: "needed now", is_new_first: false };

/// What `more` may that `less` may not.
fn gained(
    point: &Point,
    less: Option<&Reach>,
    more: Option<&Reach>,
    words: Words,
) -> Vec<(Point, String)> {
    let Some(more) = more else { return Vec::new() };
    let Some(less) = less else {
        return vec![(point.clone(), words.reachable.to_owned())];
    };
    let lost = less.needs.iter().filter(|need| !is_held(need, &more.needs));
    let told = lost.map(|need| {
        let other = more.needs.iter().find(|other| other.subject() == need.subject());
        let what = match (other, words.is_new_first) {
            (Some(other), true) => format!("{other} (was: {need})"),
            (Some(other), false) => format!("{need} (was: {other})"),
            (None, _) => format!("{}: {need}", words.without),
        };
        (point.clone(), what)
    });
    told.collect()
}

fn is_held(need: &Need, by: &BTreeSet<Need>) -> bool {
    by.iter().any(|other| other.implies(need))
}
