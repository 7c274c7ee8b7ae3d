use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;

use super::recall::{Recalled, Recaller};
use super::report::{About, Report};
use crate::audit::{Kind, Record, VERSION};
use crate::case::{Alert, Decision, Revised, Ruling, Standing, Why};
use crate::decide::{decide, rests_on, revise};
use crate::policy::Policy;

/// One record where it stands: partition, offset, bytes.
pub type Stored<'r> = (i32, i64, &'r [u8]);

/// Alerts that a thread takes at once.
const CHUNK: usize = 256;

/// How far the threads are, for who watches from another one.
#[derive(Debug, Default)]
pub struct Progress {
    pub done: AtomicUsize,
    /// Zero until the records are looked through.
    pub of: AtomicUsize,
}

/// What is needed to put the records of one alert together.
#[derive(Deserialize)]
struct Glance<'r> {
    v: u32,
    kind: Kind,
    #[serde(borrow, default)]
    alert_id: Option<Cow<'r, str>>,
    #[serde(default)]
    void: Vec<i64>,
}

/// The records of one alert, by their place in the input: its first ruling and what came later.
struct Story {
    first: usize,
    later: Vec<usize>,
}

/// Rules every alert of the records under both policies, on all cores.
///
/// Errors: the place in the input of the first that is no record of this version.
pub fn compare(
    old: &Policy,
    new: &Policy,
    records: &[Stored<'_>],
    progress: &Progress,
) -> Result<Report, usize> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let stories = stories(records, threads)?;
    progress.of.store(stories.len(), Ordering::Relaxed);
    let chunks: Vec<&[Story]> = stories.chunks(CHUNK).collect();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        let known = [old, new];
        let mut sides =
            known.map(|policy| Side { policy, recaller: Recaller::new(policy, &known) });
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(chunk) = chunks.get(index) else { return };
            let mut report = Report::default();
            for story in *chunk {
                tell(&mut sides, records, story, &mut report);
            }
            progress.done.fetch_add(chunk.len(), Ordering::Relaxed);
            if let Ok(mut found) = found.lock() {
                found.push((index, report));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.min(chunks.len()) {
            scope.spawn(work);
        }
    });
    let mut found = found.into_inner().unwrap_or_default();
    found.sort_by_key(|(index, _)| *index);
    let mut whole = Report::default();
    found.into_iter().for_each(|(_, report)| whole.merge(report));
    Ok(whole)
}

/// What stands in the records as ruled by two configurations that each read the same events.
pub fn compare_ruled(old: &[Vec<u8>], new: &[Vec<u8>]) -> Report {
    let parse = |bytes: &Vec<u8>| Record::parse(bytes).is_some();
    debug_assert!(old.iter().chain(new).all(parse), "made here");
    let mut report = Report::default();
    let mut before: HashMap<_, _> = HashMap::new();
    for record in old.iter().filter_map(|bytes| Record::parse(bytes)) {
        before.extend(record.alert_id.clone().map(|id| (id, record)));
    }
    for record in new.iter().filter_map(|bytes| Record::parse(bytes)) {
        let Some(id) = &record.alert_id else { continue };
        let Some(before) = before.remove(id) else {
            report.unpaired += 1;
            continue;
        };
        match (&record.alert, &before.alert, &before.ruling, &record.ruling) {
            (None, None, ..) => report.unreadable += 1,
            (Some(alert), _, Some(old), Some(new)) | (_, Some(alert), Some(old), Some(new)) => {
                let is_revised = false;
                report.add(old, new, &About { alert_id: id, alert, now: record.at, is_revised });
            }
            _ => report.unpaired += 1,
        }
    }
    report.unpaired += before.len() as u64;
    report
}

fn stories(records: &[Stored<'_>], threads: usize) -> Result<Vec<Story>, usize> {
    let size = records.len().div_ceil(threads).max(1);
    let glances = std::thread::scope(|scope| {
        let parts = records.chunks(size).enumerate().map(|(part, chunk)| {
            scope.spawn(move || {
                let glances = (part * size..).zip(chunk).map(|(index, (.., bytes))| {
                    let glance: Option<Glance<'_>> = serde_json::from_slice(bytes).ok();
                    glance.filter(|glance| glance.v == VERSION).ok_or(index)
                });
                glances.collect::<Result<Vec<_>, usize>>()
            })
        });
        // Started before any is waited for.
        let parts: Vec<_> = parts.collect();
        parts.into_iter().map(|part| part.join().unwrap_or(Err(0))).collect::<Vec<_>>()
    });
    let glances = glances.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten();
    let all: Vec<(usize, Glance<'_>)> = glances.enumerate().collect();
    let place =
        |index: usize| records.get(index).map(|(partition, offset, _)| (*partition, *offset));
    let mut void: HashSet<(i32, i64)> = HashSet::new();
    for (index, glance) in &all {
        let partition = place(*index).map_or(0, |(partition, _)| partition);
        void.extend(glance.void.iter().map(|offset| (partition, *offset)));
    }
    let mut stories: Vec<Story> = Vec::new();
    let mut by_alert: HashMap<&str, usize> = HashMap::new();
    for (index, glance) in &all {
        if place(*index).is_some_and(|place| void.contains(&place)) {
            continue;
        }
        let known = glance.alert_id.as_deref().and_then(|id| by_alert.get(id).copied());
        match glance.kind {
            Kind::Revision if known.is_some() => {
                if let Some(story) = known.and_then(|known| stories.get_mut(known)) {
                    story.later.push(*index);
                }
            }
            // Of a revision without its ruling the beginning was cut off.
            Kind::Ruling | Kind::Revision => {
                by_alert.extend(glance.alert_id.as_deref().map(|id| (id, stories.len())));
                stories.push(Story { first: *index, later: Vec::new() });
            }
            _ => {}
        }
    }
    Ok(stories)
}

struct Side<'p> {
    policy: &'p Policy,
    recaller: Recaller<'p>,
}

fn tell(sides: &mut [Side<'_>; 2], records: &[Stored<'_>], story: &Story, report: &mut Report) {
    let bytes = std::iter::once(&story.first).chain(&story.later);
    let bytes = bytes.filter_map(|index| records.get(*index).map(|(.., bytes)| *bytes));
    // Without one of its records nobody knows how the story ends.
    let Some(parsed) = bytes.map(Record::parse).collect::<Option<Vec<Record<'_>>>>() else {
        report.unread += 1;
        return;
    };
    let [old, new] = sides;
    let (Some(before), Some(after)) = (recall(old, &parsed), recall(new, &parsed)) else {
        report.failed += 1;
        return;
    };
    report.revisions += story.later.len() as u64;
    let (Some(first), Some(last)) = (after.first(), after.last()) else { return };
    let Some(alert) = first.alert() else {
        report.unreadable += 1;
        return;
    };
    let ruled = catch_unwind(AssertUnwindSafe(|| {
        let [before_last, after_last] = [(old.policy, &before), (new.policy, &after)]
            .map(|(policy, steps)| last_step(policy, steps));
        let (Some(before_last), Some(after_last)) = (before_last, after_last) else { return };
        let was = rule(old.policy, before_last.0, before_last.1.as_ref());
        let is = rule(new.policy, after_last.0, after_last.1.as_ref());
        let is_revised = before_last.1.is_some() || after_last.1.is_some();
        let alert_id = &*first.arrival.alert_id;
        let about = About { alert_id, alert, now: last.now, is_revised };
        report.add(&was, &is, &about);
        for (at, (side, step)) in [(&*old, before_last.0), (&*new, after_last.0)].iter().enumerate()
        {
            note(side, step, report, at);
        }
    }));
    report.failed += u64::from(ruled.is_err());
    let is_foreign = |record: &Record<'_>| new.recaller.is_foreign(record);
    report.foreign += u64::from(parsed.iter().any(is_foreign));
}

/// As if nothing had been stopped: a stop makes any two policies alike.
fn recall<'r>(side: &mut Side<'_>, records: &[Record<'r>]) -> Option<Vec<Recalled<'r>>> {
    let unstopped = |record: &Record<'r>| {
        let mut recalled = side.recaller.recall(record)?;
        recalled.counters.stopped = None;
        Some(recalled)
    };
    records.iter().map(unstopped).collect()
}

fn rule<'s>(
    policy: &'s Policy,
    step: &'s Recalled<'_>,
    revised: Option<&'s Revised<'s>>,
) -> Decision<'s> {
    match revised {
        Some(revised) => revise(policy, &step.inputs(), revised),
        None => decide(policy, &step.inputs()).decision,
    }
}

/// Where the story ends under this policy, with what people have of it by then: what it escalated
/// is not ruled again, and what it suppressed when that is over and not before.
fn last_step<'s, 'r>(
    policy: &Policy,
    steps: &'s [Recalled<'r>],
) -> Option<(&'s Recalled<'r>, Option<Revised<'s>>)> {
    let (first, later) = steps.split_first()?;
    let mut last = (first, first.revised.clone());
    for step in later {
        let fate = rule(policy, last.0, last.1.as_ref()).fate;
        let (standing, Some(revised)) = (Standing::of(&fate), step.revised.clone()) else { break };
        let is_same = match revised.standing {
            Some(_) => standing.is_some(),
            None => matches!(fate, Ruling::Suppress(_)),
        };
        if !is_same {
            break;
        }
        last = (step, Some(Revised { standing, ..revised }));
    }
    Some(last)
}

/// What a reader must know of a ruling: what it rests on, and whether its counters are its own.
fn note(side: &Side<'_>, step: &Recalled<'_>, report: &mut Report, at: usize) {
    let policy = side.policy;
    let group = step.alert().and_then(|alert| policy.group(alert)).map(|group| group.id);
    if let Some(count) = report.regrouped.get_mut(at) {
        *count += u64::from(group != step.counters.group);
    }
    let has_windows = |alert: &Alert<'_>| {
        let playbook = policy.live(alert);
        let mut windows = playbook.into_iter().flat_map(|playbook| playbook.windows());
        let readings = &step.counters.windows;
        windows.all(|window| readings.iter().any(|reading| reading.window == window.id))
    };
    if step.unrecorded.is_empty() && step.alert().is_none_or(has_windows) {
        return;
    }
    let open = rests_on(policy, &step.inputs(), Why::NotRecorded);
    let Some(rested) = report.rested.get_mut(at).filter(|_| !open.is_empty()) else { return };
    rested.rulings += 1;
    for name in open {
        *rested.by_enricher.entry(name.to_owned()).or_default() += 1;
    }
}
