use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::body::{Document, Documents};
use super::explain::Explained;
use super::layout::{Doc, Item};
use super::mapping::empty_report;
use super::pipeline::{Format, Pipeline};
use super::reading::{Incoming, Made, Reading, Refusal};
use super::rows::{Report, report};
use super::when::Seen;
use super::{FingerprintKeys, Pipelines};
use crate::case::{Alert, Arrival, Id, Reason};
use crate::json::{Extractor, Kind, Malformed, Path, Raw, Slots, Start, Step};

pub const ALERTS_MAX: usize = 1000;

/// A message's candidates, and what they made of it so far.
struct Work<'r> {
    reading: &'r Reading<'r>,
    candidates: Vec<&'r Pipeline>,
    chosen: &'r str,
    made: Vec<Made<'r>>,
}

/// One document as a pipeline reads it.
#[derive(Clone, Copy)]
struct Page<'t> {
    text: &'t str,
    /// Its first byte in the message; nothing when it does not stand there as it is.
    at: Option<usize>,
    report: Option<&'t Report>,
}

/// A document after one pipeline's `open`.
struct Opened<'r> {
    pipeline: &'r Pipeline,
    page: Page<'r>,
    /// What the walk found, when nothing had to be opened.
    whole: Option<Slots<'r>>,
}

/// The pipeline whose signs a document bears, with what its walk found.
struct Found<'r> {
    pipeline: &'r Pipeline,
    page: Page<'r>,
    whole: Rc<Slots<'r>>,
    /// Nothing when the document is one alert itself.
    items: Option<Vec<Item<'r, 'r>>>,
}

impl Page<'_> {
    fn placed(&self, refusal: Refusal) -> Refusal {
        let at = refusal.at.zip(self.at).map(|(inside, at)| at + inside);
        Refusal { at, ..refusal }
    }
}

impl<'r> Work<'r> {
    /// Decided before anything is mapped.
    fn check_room(&self, alerts: usize) -> Result<(), Refusal> {
        let is_full = self.made.len() + alerts > ALERTS_MAX;
        if is_full { Err(Refusal::too_many()) } else { Ok(()) }
    }

    fn next_id(&self) -> Id {
        self.reading.alert_id(self.made.len())
    }

    fn put(&mut self, id: Id, alert: Result<Box<Alert<'r>>, Refusal>) {
        self.made.push(Made { id, pipeline: self.chosen, alert });
    }

    /// The one candidate whose signs the document bears.
    fn choose(&self, opened: Vec<Opened<'r>>) -> Result<Found<'r>, Refusal> {
        let mut chosen = None;
        for Opened { pipeline, page, whole } in opened {
            let placed = |malformed: Malformed| page.placed(malformed.into());
            let whole = match whole {
                Some(whole) => whole,
                None => pipeline.walks.whole.fill(page.text).map_err(placed)?,
            };
            let whole = Rc::new(whole);
            let items = pipeline.walks.items(&whole).map_err(placed)?;
            let found = Found { pipeline, page, whole, items };
            if !self.is_claimed(&found).map_err(placed)? {
                continue;
            }
            if chosen.replace(found).is_some() {
                return Err(Refusal::new(Reason::AmbiguousShape, "several pipelines claim it"));
            }
        }
        let found = chosen
            .ok_or_else(|| Refusal::new(Reason::UnknownShape, "no pipeline knows its shape"))?;
        if found.items.is_none() && !found.page.text.trim_start().starts_with('{') {
            return Err(Refusal::new(Reason::UnknownShape, "neither an object nor a known list"));
        }
        Ok(found)
    }

    fn is_claimed(&self, found: &Found<'_>) -> Result<bool, Malformed> {
        let Found { pipeline, page, whole, items } = found;
        // A report without a row is known by its header.
        if let Some(report) = page.report.filter(|report| report.is_empty()) {
            let whole = Rc::new(pipeline.walks.whole.fill(&report.header)?);
            let items = pipeline.walks.items(&whole)?;
            return fits(pipeline, self.reading, &report.header, &whole, items.as_deref());
        }
        fits(pipeline, self.reading, page.text, whole, items.as_deref())
    }
}

impl Pipelines {
    /// Makes a message into alerts; never into none (INV-1).
    ///
    /// `pipeline` names one by its file's `pipeline`, as a webhook does, and only it is tried;
    /// without it the message's topic and shape choose. An unknown topic stands for all of them.
    pub fn read(
        &self,
        message: &Incoming<'_>,
        pipeline: Option<&str>,
        keys: &FingerprintKeys,
    ) -> Vec<Arrival<'static>> {
        self.read_then(message, pipeline, keys, |arrivals| {
            arrivals.into_iter().map(Arrival::into_owned).collect()
        })
    }

    /// As [`Self::read`], for who needs them only as long as the message is there: their texts
    /// are not copied.
    pub fn read_then<R>(
        &self,
        message: &Incoming<'_>,
        pipeline: Option<&str>,
        keys: &FingerprintKeys,
        then: impl FnOnce(Vec<Arrival<'_>>) -> R,
    ) -> R {
        let reading = Reading::new(message, keys);
        then(self.arrivals(&reading, pipeline))
    }

    /// As [`Self::read`], with what every alert was made of.
    pub fn explain(
        &self,
        message: &Incoming<'_>,
        pipeline: Option<&str>,
        keys: &FingerprintKeys,
    ) -> (Vec<Arrival<'static>>, Vec<Explained>) {
        let explained = RefCell::default();
        let mut reading = Reading::new(message, keys);
        reading.explained = Some(&explained);
        let arrivals = self.arrivals(&reading, pipeline);
        let arrivals = arrivals.into_iter().map(Arrival::into_owned).collect();
        (arrivals, explained.take())
    }

    fn arrivals<'r>(
        &'r self,
        reading: &'r Reading<'r>,
        pipeline: Option<&str>,
    ) -> Vec<Arrival<'r>> {
        let message = reading.message;
        let mut work = Work {
            reading,
            candidates: self.candidates(message.topic, pipeline),
            chosen: "",
            made: Vec::new(),
        };
        // A defect of ours costs one message, not the partition.
        let read = catch_unwind(AssertUnwindSafe(|| self.message(&mut work)));
        let failed = |_| Err(Refusal::new(Reason::RuleFailed, "reading it failed in the program"));
        if let Err(refusal) = read.unwrap_or_else(failed) {
            work.made.clear();
            work.put(work.next_id(), Err(refusal));
        }
        debug_assert!(!work.made.is_empty(), "INV-1: a message without an arrival");
        reading.arrivals(work.made)
    }

    fn candidates(&self, topic: &str, name: Option<&str>) -> Vec<&Pipeline> {
        let is_known = self.list.iter().any(|pipeline| pipeline.topic == topic);
        let is_candidate = |pipeline: &&Pipeline| match name {
            Some(name) => pipeline.name == name,
            None => pipeline.topic == topic || !is_known,
        };
        self.list.iter().filter(is_candidate).collect()
    }

    /// Errors: what makes all of the message one unreadable.
    fn message<'r>(&'r self, work: &mut Work<'r>) -> Result<(), Refusal> {
        let reading = work.reading;
        let mut whole = reading.text()?;
        // What scanners in Go write for a list of none.
        if whole.text.trim() == "null" {
            whole.text = "[]";
        }
        let is_json = whole.text.trim_start().starts_with(['{', '[']);
        let has_csv = work.candidates.iter().any(|pipeline| pipeline.format == Format::Csv);
        let format = if has_csv && !is_json { Format::Csv } else { Format::Json };
        work.candidates.retain(|pipeline| pipeline.format == format);
        if format == Format::Csv {
            let report = report(whole)?;
            let report = reading.report.get_or_init(|| report);
            return self.page(work, Page { text: &report.json, at: None, report: Some(report) });
        }
        let page = |Document { text, at }: Document<'r>| Page { text, at: Some(at), report: None };
        // Nearly every message is one document, and is not searched for more before it is read.
        let Err(refusal) = self.page(work, page(whole)) else { return Ok(()) };
        let documents = Documents::of(whole).take(ALERTS_MAX + 1);
        let documents: Vec<_> = documents.take_while(|_| refusal.is_of_the_text()).collect();
        match documents.len() {
            0 | 1 => return Err(refusal),
            2..=ALERTS_MAX => {}
            _ => return Err(Refusal::too_many()),
        }
        for document in documents {
            work.check_room(1)?;
            work.chosen = "";
            let read = document.map_err(|malformed| (malformed.at, malformed.into()));
            let read = read.and_then(|document| {
                self.page(work, page(document)).map_err(|refusal| (document.at, refusal))
            });
            match read {
                Err((_, refusal)) if refusal.reason == Reason::TooMany => return Err(refusal),
                Err((at, refusal)) => work.put(work.next_id(), Err(refusal.or_at(at))),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Errors: what makes all of the document one unreadable, or the message if it is too many.
    fn page<'r>(&'r self, work: &mut Work<'r>, page: Page<'r>) -> Result<(), Refusal> {
        let reading = work.reading;
        let opened = work.candidates.iter().map(|pipeline: &&'r Pipeline| {
            let placed = |malformed: Malformed| page.placed(malformed.into());
            let whole = pipeline.walks.whole.fill(page.text).map_err(placed)?;
            let found = |entry: usize| pipeline.walks.to_open(entry, &whole);
            let opened = pipeline.open.opened(page.text, found, &reading.opened_bytes_left);
            Ok(match opened.map_err(|refusal| page.placed(refusal))? {
                None => Opened { pipeline, page, whole: Some(whole) },
                Some(text) => {
                    let text = reading.kept.keep(text);
                    Opened { pipeline, page: Page { text, at: None, ..page }, whole: None }
                }
            })
        });
        let opened = opened.collect::<Result<_, Refusal>>()?;
        let Found { pipeline, page, whole, items } = work.choose(opened)?;
        work.chosen = &pipeline.name;
        let whole = whole.as_ref();
        let doc = Doc::new(&pipeline.walks, page.text, (whole, whole), None);
        let seen = Seen { doc: &doc, headers: reading.message.headers, alert: None, trace: None };
        let is_incomplete = pipeline.incomplete.as_ref().is_some_and(|when| when.holds(&seen));
        let of = items.as_ref().map_or(1, Vec::len) + usize::from(is_incomplete);
        work.check_room(of.max(1))?;
        if is_incomplete {
            let detail = "the report says that it did not come to an end";
            work.put(work.next_id(), Err(Refusal::new(Reason::IncompleteReport, detail)));
        }
        let Some(items) = items else {
            let id = work.next_id();
            let alert = self.alert(pipeline, reading, &doc, &id)?;
            work.put(id, Ok(alert));
            return Ok(());
        };
        if items.is_empty() && !is_incomplete {
            let id = work.next_id();
            let alert = empty_report(pipeline, reading, &id);
            work.put(id, Ok(Box::new(alert)));
        }
        let mut rows = page.report.into_iter().flat_map(|report| &report.rows);
        for item in &items {
            let id = work.next_id();
            let alert = match rows.next() {
                Some(row) => row
                    .read()
                    .and_then(|()| self.item(pipeline, reading, (item, whole), &id))
                    .map_err(|refusal| Refusal { at: Some(row.at), ..refusal }),
                None => {
                    let alert = self.item(pipeline, reading, (item, whole), &id);
                    alert.map_err(|refusal| page.placed(refusal))
                }
            };
            work.put(id, alert);
        }
        Ok(())
    }

    fn item<'r>(
        &'r self,
        pipeline: &'r Pipeline,
        reading: &'r Reading<'r>,
        (item, whole): (&Item<'r, '_>, &Slots<'r>),
        id: &Id,
    ) -> Result<Box<Alert<'r>>, Refusal> {
        let placed = |refusal: Refusal| Refusal { at: Some(item.raw.at), ..refusal };
        if item.raw.kind != Kind::Object {
            return Err(placed(Refusal::new(Reason::UnknownShape, "an item is no object")));
        }
        let here = inside(pipeline, &item.raw)?;
        let doc = Doc::new(&pipeline.walks, item.raw.text, (&here, whole), Some(item));
        self.alert(pipeline, reading, &doc, id).map_err(placed)
    }
}

/// `detect` looks at the message, or at the alerts in it when it is a bare list: one that fits is
/// enough, so that a strange one costs no other. A list of none fits: a scanner that found nothing
/// writes just that.
fn fits(
    pipeline: &Pipeline,
    reading: &Reading<'_>,
    text: &str,
    whole: &Slots<'_>,
    items: Option<&[Item<'_, '_>]>,
) -> Result<bool, Malformed> {
    let Some(detect) = &pipeline.detect else { return Ok(true) };
    let headers = reading.message.headers;
    let fit = |here: &Slots<'_>, item: Option<&Item<'_, '_>>| {
        let doc = Doc::new(&pipeline.walks, text, (here, whole), item);
        detect.holds(&Seen { doc: &doc, headers, alert: None, trace: None })
    };
    let is_list = text.trim_start().starts_with('[');
    let items = match items {
        Some(items) if is_list => items,
        _ => return Ok(fit(whole, None)),
    };
    // Reports that hold no alert are known by themselves.
    let reports = if items.is_empty() { listed(text)? } else { Vec::new() };
    if items.is_empty() && reports.is_empty() {
        return Ok(true);
    }
    let items = items.iter().map(|item| (item.raw, Some(item)));
    let mut malformed = None;
    for (raw, item) in items.chain(reports.into_iter().map(|raw| (raw, None))) {
        match inside(pipeline, &raw) {
            _ if raw.kind != Kind::Object => {}
            Ok(here) if fit(&here, item) => return Ok(true),
            Ok(_) => {}
            Err(fault) => malformed = malformed.or(Some(fault)),
        }
    }
    malformed.map_or(Ok(false), Err)
}

/// The items of a bare list.
fn listed(text: &str) -> Result<Vec<Raw<'_>>, Malformed> {
    let mut walk = Extractor::new(false);
    let slot = walk.slot(&Path { start: Start::Root, steps: vec![Step::Each], is_key: false });
    Ok(walk.fill(text)?.all(slot).copied().collect())
}

/// The walk over one item of a list; faults are placed in the whole message.
fn inside<'t>(pipeline: &Pipeline, item: &Raw<'t>) -> Result<Slots<'t>, Malformed> {
    let placed = |malformed: Malformed| Malformed { at: item.at + malformed.at, ..malformed };
    pipeline.walks.element.fill(item.text).map_err(placed)
}
