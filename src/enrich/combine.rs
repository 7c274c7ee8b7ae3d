//! Several sources of one fact, made into one row that says who said what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::answer::Merge;
use super::{Answer, Lookup};
use crate::case::{CacheState, FactRow, FactState, Type, Value, Why};
use crate::config::{CombineSource, EnricherConfig, WhenUnknown};

/// Sources that are asked together.
pub struct Combined {
    parts: Vec<Arc<dyn Lookup>>,
    merging: Arc<Merging>,
    merge: Arc<Merge>,
}

impl Combined {
    /// `parts` in the order of the file; one that is not there, as its service is not configured,
    /// says nothing.
    pub fn new(
        config: &EnricherConfig,
        source: &CombineSource,
        parts: Vec<Option<Arc<dyn Lookup>>>,
    ) -> Self {
        let (mut lookups, mut places) = (Vec::new(), Vec::new());
        for (part, lookup) in source.parts.iter().zip(parts) {
            let Some(lookup) = lookup else { continue };
            lookups.push(lookup);
            places.push(Place {
                gives: part.gives.clone(),
                rank: part.rank,
                when_unknown: part.when_unknown,
            });
        }
        let merging = Arc::new(Merging::new(config, places));
        let shared = Arc::clone(&merging);
        let merge: Arc<Merge> = Arc::new(move |rows: &[Arc<FactRow>]| Arc::new(shared.merge(rows)));
        Self { parts: lookups, merging, merge }
    }
}

impl Lookup for Combined {
    fn ask(&self, keys: &[&str]) -> Vec<Answer> {
        if self.parts.is_empty() {
            let nobody = |key: &&str| Answer::Now(Arc::new(self.merging.nobody(key, NOBODY)));
            return keys.iter().map(nobody).collect();
        }
        let mut answers: Vec<Vec<Answer>> = keys.iter().map(|_| Vec::new()).collect();
        for part in &self.parts {
            let mut given = part.ask(keys).into_iter();
            for (all, key) in answers.iter_mut().zip(keys) {
                // One that breaks off has failed; the others keep their places.
                let failed = || Answer::Now(Arc::new(self.merging.nobody(key, "no answer")));
                all.push(given.next().unwrap_or_else(failed));
            }
        }
        let merged = |all| Answer::Merged(all, Arc::clone(&self.merge));
        answers.into_iter().map(merged).collect()
    }

    fn forget(&self, key: &str) {
        self.parts.iter().for_each(|part| part.forget(key));
    }
}

/// How the rows of several sources become one: a pure function of them.
struct Merging {
    name: Arc<str>,
    provides: Vec<(String, Type)>,
    places: Vec<Place>,
    /// Places by rank, the highest first.
    ranks: Vec<Vec<usize>>,
}

/// Of one source among the others.
struct Place {
    gives: Vec<usize>,
    rank: u8,
    when_unknown: WhenUnknown,
}

/// What one source says of one field.
enum Said<'r> {
    /// It has no such field, or nobody minds that it failed.
    Nothing,
    Absent,
    Value(&'r Value<'static>),
    Unknown(Why),
}

/// What the merged row rests on, and what is to be told of it.
#[derive(Default)]
struct Story {
    rests_on: BTreeSet<usize>,
    failed: BTreeSet<usize>,
    passed_over: BTreeSet<usize>,
    /// Fields by who filled them in and who had nothing.
    filled: BTreeMap<(usize, Vec<usize>), Vec<usize>>,
    conflicts: Vec<(usize, Vec<usize>)>,
    /// Fields that no source gives.
    nobodys: Vec<usize>,
}

const NOBODY: &str = "none of its sources is configured";

impl Merging {
    fn new(config: &EnricherConfig, places: Vec<Place>) -> Self {
        let mut ranks: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for (index, place) in places.iter().enumerate() {
            ranks.entry(place.rank).or_default().push(index);
        }
        let (name, provides) = (config.name.clone(), config.provides.clone());
        Self { name, provides, places, ranks: ranks.into_values().collect() }
    }

    fn nobody(&self, key: &str, why: &str) -> FactRow {
        let names = (self.name.clone(), Arc::from("none"), Arc::from("none"));
        let state = FactState::Unknown(Why::Error);
        let row = FactRow::new(names, key, None, state, (&self.provides, Vec::new()));
        row.told(None, Some(why))
    }

    /// `rows` in the order of the places.
    fn merge(&self, rows: &[Arc<FactRow>]) -> FactRow {
        let mut story = Story::default();
        let fields = 0..self.provides.len();
        let values: Vec<_> = fields.map(|field| self.field(field, rows, &mut story)).collect();
        let state = state(&values, &story, rows);
        let all = || story.rests_on.iter().filter_map(|place| rows.get(*place));
        let as_of = all().map(|row| row.as_of).min().flatten();
        let told = story.rests_on.union(&story.failed).filter_map(|place| rows.get(*place));
        let told: Vec<&Arc<FactRow>> = told.collect();
        let joined = |of: fn(&FactRow) -> &str| {
            let all: Vec<&str> = told.iter().map(|row| of(row)).collect();
            Arc::from(if all.is_empty() { "none".to_owned() } else { all.join("+") })
        };
        let names = (self.name.clone(), joined(|row| &row.source), joined(|row| &row.version));
        let (as_of, values) = match state {
            FactState::Known => (as_of, values),
            FactState::Absent => (as_of, Vec::new()),
            FactState::Unknown(_) => (None, Vec::new()),
        };
        let key = rows.iter().map(|row| &*row.key).find(|key| !key.is_empty());
        let row =
            FactRow::new(names, key.unwrap_or_default(), as_of, state, (&self.provides, values));
        let detail = self.detail(&story, rows);
        // The least of them: what is stale in part is stale.
        let cache = all().filter_map(|row| row.cache).max_by_key(|cache| staleness(*cache));
        row.told(cache, Some(detail.as_str()).filter(|detail| !detail.is_empty()))
    }

    fn field(&self, field: usize, rows: &[Arc<FactRow>], story: &mut Story) -> Value<'static> {
        // Those of higher rank, which have nothing.
        let mut above = Vec::new();
        let mut passed_over = None;
        for rank in &self.ranks {
            let (mut found, mut is_conflict) = (Vec::new(), false);
            let mut unknown = None;
            let mut has_nothing = Vec::new();
            for place in rank {
                match self.said(*place, field, rows) {
                    Said::Nothing => {}
                    Said::Absent => has_nothing.push(*place),
                    Said::Value(value) => {
                        is_conflict |= found.first().is_some_and(|(_, first)| *first != value);
                        found.push((*place, value));
                    }
                    Said::Unknown(why) if self.is_passed_over(*place) => {
                        story.passed_over.insert(*place);
                        passed_over = Some(why);
                    }
                    Said::Unknown(why) => {
                        story.failed.insert(*place);
                        unknown = unknown.or(Some(why));
                    }
                }
            }
            let givers: Vec<usize> = found.iter().map(|(place, _)| *place).collect();
            // INVARIANT (INV-4): a lower source never hides that a higher one is unknown.
            if let Some(why) = unknown {
                return Value::Unknown(why);
            }
            if is_conflict {
                story.failed.extend(&givers);
                story.conflicts.push((field, givers));
                return Value::Unknown(Why::Conflict);
            }
            if let Some((place, value)) = found.first() {
                story.rests_on.extend(above.iter().chain(&has_nothing).chain(&givers));
                if !above.is_empty() {
                    story.filled.entry((*place, above)).or_default().push(field);
                }
                return (*value).clone();
            }
            above.extend(has_nothing);
        }
        // Another may stand in with a value for one that failed, but none can say that it has none.
        if let Some(why) = passed_over {
            return Value::Unknown(why);
        }
        if above.is_empty() {
            story.nobodys.push(field);
            return Value::Unknown(Why::Error);
        }
        story.rests_on.extend(above);
        Value::Absent
    }

    fn said<'r>(&self, place: usize, field: usize, rows: &'r [Arc<FactRow>]) -> Said<'r> {
        let given = self.places.get(place).zip(rows.get(place));
        let Some((place, row)) = given else { return Said::Nothing };
        let Some(index) = place.gives.iter().position(|each| *each == field) else {
            return Said::Nothing;
        };
        match (row.state, row.values.get(index)) {
            (FactState::Unknown(why), _) => Said::Unknown(why),
            (FactState::Known, Some(Value::Unknown(why))) => Said::Unknown(*why),
            (FactState::Absent, _) | (FactState::Known, None | Some(Value::Absent)) => Said::Absent,
            (FactState::Known, Some(value)) => Said::Value(value),
        }
    }

    fn is_passed_over(&self, place: usize) -> bool {
        self.places.get(place).is_some_and(|place| place.when_unknown == WhenUnknown::FillIn)
    }

    fn detail(&self, story: &Story, rows: &[Arc<FactRow>]) -> String {
        let source = |place: &usize| rows.get(*place).map_or("", |row| &row.source);
        let sources = |places: &[usize]| places.iter().map(source).collect::<Vec<_>>().join(", ");
        let mut notes = Vec::new();
        for (field, places) in &story.conflicts {
            let says = |place: &usize| {
                let value = match self.said(*place, *field, rows) {
                    Said::Value(value) => serde_json::to_string(value).unwrap_or_default(),
                    Said::Nothing | Said::Absent | Said::Unknown(_) => String::new(),
                };
                format!("{} says {}", source(place), capped(&value, VALUE_MAX))
            };
            let says: Vec<String> = places.iter().map(says).collect();
            notes.push(format!("{}: {}", self.paths(&[*field]), says.join(", ")));
        }
        let in_conflict = |place: &&usize| story.conflicts.iter().any(|(_, of)| of.contains(place));
        for place in story.failed.iter().filter(|place| !in_conflict(place)) {
            notes.push(format!("{}: {}", source(place), why(*place, rows)));
        }
        for place in &story.passed_over {
            notes.push(format!("{} is passed over: {}", source(place), why(*place, rows)));
        }
        for ((place, above), fields) in &story.filled {
            let has = if above.len() == 1 { "has" } else { "have" };
            let (fields, above) = (self.paths(fields), sources(above));
            notes.push(format!("{fields} filled in by {}; {above} {has} nothing", source(place)));
        }
        if !story.nobodys.is_empty() {
            let fields = self.paths(&story.nobodys);
            notes.push(format!("{fields}: no source that is configured gives it"));
        }
        for place in &story.rests_on {
            let detail = rows.get(*place).and_then(|row| row.detail.as_deref());
            notes.extend(detail.map(|detail| format!("{}: {detail}", source(place))));
        }
        capped(&notes.join("; "), DETAIL_MAX)
    }

    fn paths(&self, fields: &[usize]) -> String {
        let named = fields.iter().filter_map(|field| self.provides.get(*field));
        let paths = named.map(|(field, _)| format!("{}.{field}", self.name));
        paths.collect::<Vec<_>>().join(", ")
    }
}

const VALUE_MAX: usize = 60;
const DETAIL_MAX: usize = 500;

fn capped(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let short: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{short}…")
}

fn why(place: usize, rows: &[Arc<FactRow>]) -> String {
    let Some(row) = rows.get(place) else { return String::new() };
    if let Some(detail) = &row.detail {
        return detail.to_string();
    }
    let of_field = || row.values.iter().find_map(unknown);
    let why = match row.state {
        FactState::Unknown(why) => Some(why),
        FactState::Known | FactState::Absent => of_field(),
    };
    why.map_or_else(String::new, |why| why.about().to_owned())
}

fn unknown(value: &Value<'_>) -> Option<Why> {
    match value {
        Value::Unknown(why) => Some(*why),
        _ => None,
    }
}

fn state(values: &[Value<'_>], story: &Story, rows: &[Arc<FactRow>]) -> FactState {
    let all_unknown = values.iter().all(|value| unknown(value).is_some());
    if let Some(why) = values.iter().find_map(unknown).filter(|_| all_unknown) {
        return FactState::Unknown(why);
    }
    let mut used = story.rests_on.iter().filter_map(|place| rows.get(*place));
    let is_absent = values.iter().all(|value| *value == Value::Absent)
        && used.all(|row| row.state == FactState::Absent);
    if is_absent { FactState::Absent } else { FactState::Known }
}

fn staleness(cache: CacheState) -> u8 {
    match cache {
        CacheState::Fetched => 0,
        CacheState::Hit => 1,
        CacheState::Stale => 2,
    }
}
