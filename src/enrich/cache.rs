use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use moka::Expiry;
use moka::notification::RemovalCause;
use moka::sync::Cache;
use tokio::runtime::Handle;

use super::answer::{Answer, Changes, Flight};
use super::remote::{Found, Remote};
use super::{Lookup, Sourced};
use crate::case::{CacheState, FactRow, FactState, Millis, Why};
use crate::config::CacheConfig;
use crate::observe::{CacheMetrics, CallSpan, Traces};
use crate::service::{Failure, Fault, jittered};

/// Stands in front of one remote source: keeps its answers, asks once for all who ask the same, and
/// never waits.
pub struct Cached(Arc<Shared>);

struct Shared {
    rows: Sourced,
    config: CacheConfig,
    /// [`ANY_AGE`] when no ruling minds.
    max_age_ms: AtomicI64,
    remote: Box<dyn Remote>,
    entries: Cache<Arc<str>, Arc<Entry>>,
    /// One for each key that is being asked for.
    flights: Mutex<HashMap<Arc<str>, Arc<Flight>>>,
    runtime: Handle,
    changes: Changes,
    metrics: CacheMetrics,
}

/// An answer that is kept.
pub(super) struct Entry {
    /// As it is given within its lifetime.
    pub row: Arc<FactRow>,
    pub fresh_until: Instant,
    /// Never given from then on.
    pub ends: Instant,
    past: Mutex<Past>,
}

/// Of an answer past its lifetime.
#[derive(Default)]
struct Past {
    row: Option<Arc<FactRow>>,
    /// After a failure it is not asked for again before this.
    again_at: Option<Instant>,
}

/// More questions on their way than this are not begun.
const FLIGHTS_MAX: usize = 20_000;
const ANY_AGE: i64 = i64::MAX;
/// Between the look into the cache and the ruling, at most.
const RULED_IN_MS: i64 = 1000;
/// What an entry takes beside its texts: measured by `cargo bench --bench lookups`.
const ENTRY_BYTES: usize = 800;

impl Cached {
    pub fn new(
        rows: Sourced,
        config: CacheConfig,
        remote: impl Remote,
        (runtime, changes, metrics): (Handle, Changes, CacheMetrics),
    ) -> Self {
        let evicted = metrics.clone();
        let entries = Cache::builder()
            .max_capacity(config.max_bytes)
            .weigher(|key: &Arc<str>, entry: &Arc<Entry>| entry.weight(key))
            .expire_after(Ends)
            .eviction_listener(move |_, _, cause| evicted.evicted(cause_code(cause)))
            .build();
        Self(Arc::new(Shared {
            rows,
            config,
            max_age_ms: AtomicI64::new(ANY_AGE),
            remote: Box::new(remote),
            entries,
            flights: Mutex::default(),
            runtime,
            changes,
            metrics,
        }))
    }

    /// What is older than this is too old for some ruling from now on.
    pub fn rule_within(&self, max_age_ms: Option<i64>) {
        self.0.max_age_ms.store(max_age_ms.unwrap_or(ANY_AGE), Relaxed);
    }

    /// Number of answers and what they weigh.
    pub fn size(&self) -> (u64, u64) {
        self.0.entries.run_pending_tasks();
        (self.0.entries.entry_count(), self.0.entries.weighted_size())
    }

    pub(super) fn rows(&self) -> &Sourced {
        &self.0.rows
    }

    pub(super) fn metrics(&self) -> &CacheMetrics {
        &self.0.metrics
    }

    /// Answers that are known or absent and can still be given.
    pub(super) fn kept(&self) -> Vec<Arc<Entry>> {
        let now = Instant::now();
        let is_kept = |entry: &Arc<Entry>| {
            entry.ends > now && !matches!(entry.row.state, FactState::Unknown(_))
        };
        self.0.entries.iter().map(|(_, entry)| entry).filter(is_kept).collect()
    }

    /// Takes an answer that an earlier process kept, but not over one of its own, and for no longer
    /// than an answer of this age may be given; `wall` is now.
    pub(super) fn restore(
        &self,
        row: FactRow,
        fresh_until: Instant,
        ends: Instant,
        wall: Millis,
    ) -> bool {
        if matches!(row.state, FactState::Unknown(_)) {
            return false;
        }
        let now = Instant::now();
        let (lives, bound) = self.0.lifetime(row.state);
        let Some(age) = row.as_of.map(|as_of| wall.since(as_of)).filter(|age| *age >= 0) else {
            return false;
        };
        let (age, lives) = (millis(age), lives * 11 / 10);
        let left = |longest: Duration| now + longest.saturating_sub(age);
        let (fresh_until, ends) = (fresh_until.min(left(lives)), ends.min(left(lives.max(bound))));
        let key: Arc<str> = row.key.as_ref().into();
        if ends <= now || self.0.entries.contains_key(&key) {
            return false;
        }
        let entry = Entry { row: Arc::new(row), fresh_until, ends, past: Mutex::default() };
        self.0.entries.insert(key, Arc::new(entry));
        true
    }
}

impl Lookup for Cached {
    fn ask(&self, keys: &[&str]) -> Vec<Answer> {
        let now = (Instant::now(), wall_clock());
        keys.iter().map(|key| Shared::ask(&self.0, key, now)).collect()
    }

    /// What is on its way for the key is not kept when it lands.
    fn forget(&self, key: &str) {
        let mut flights = self.0.flights();
        flights.remove(key);
        self.0.entries.invalidate(key);
        drop(flights);
        self.0.changes.tell();
    }
}

impl Shared {
    fn flights(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Flight>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(shared: &Arc<Self>, key: &str, (now, wall): (Instant, Millis)) -> Answer {
        let Some(entry) = shared.entries.get(key).filter(|entry| now < entry.ends) else {
            return Self::begin(shared, key, wall);
        };
        let is_too_old = shared.is_too_old(&entry, wall);
        if now < entry.fresh_until && !is_too_old {
            return shared.hit(&entry);
        }
        let (row, is_due) = shared.stale(&entry, now, None);
        if is_due {
            let asked = Self::begin(shared, key, wall);
            // Not everybody can rule by it, so it is not given while a better one may come in time.
            if is_too_old {
                match asked {
                    Answer::Later(flight) => return Answer::Meanwhile(flight, row),
                    Answer::Now(new) if new.as_of.is_some() => return Answer::Now(new),
                    _ => {}
                }
            }
        }
        shared.metrics.stale.inc();
        Answer::Now(row)
    }

    /// Whether some ruling would find it stale, or may while it is made.
    fn is_too_old(&self, entry: &Entry, wall: Millis) -> bool {
        let age = self.max_age_ms.load(Relaxed);
        let allowed = age - (age / 10).min(RULED_IN_MS);
        entry.row.as_of.is_some_and(|as_of| wall.since(as_of).saturating_abs() > allowed)
    }

    fn hit(&self, entry: &Entry) -> Answer {
        match entry.row.state {
            FactState::Known => self.metrics.hit.inc(),
            FactState::Absent => self.metrics.hit_absent.inc(),
            FactState::Unknown(_) => self.metrics.hit_failure.inc(),
        }
        Answer::Now(Arc::clone(&entry.row))
    }

    /// The row as given when it is past its lifetime or too old, and whether it is to be asked
    /// for again. With a `failure` to be told.
    fn stale(&self, entry: &Entry, now: Instant, failure: Option<&str>) -> (Arc<FactRow>, bool) {
        let mut past = entry.past.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.is_some() {
            past.again_at = Some(now + jittered(millis(self.config.failure_ms), 10));
            past.row = None;
        }
        let old = &entry.row;
        let made = || {
            let (values, stale) = (old.values.clone(), Some(CacheState::Stale));
            self.rows.row(&old.key, (old.state, values), old.as_of, (stale, failure))
        };
        let row = Arc::clone(past.row.get_or_insert_with(made));
        (row, past.again_at.is_none_or(|at| at <= now))
    }

    /// Asks, unless somebody does already.
    fn begin(shared: &Arc<Self>, key: &str, wall: Millis) -> Answer {
        let mut flights = shared.flights();
        if let Some(flight) = flights.get(key) {
            shared.metrics.joined.inc();
            return Answer::Later(Arc::clone(flight));
        }
        // It may have landed since it was looked for.
        let is_fresh = |entry: &Arc<Entry>| {
            Instant::now() < entry.fresh_until && !shared.is_too_old(entry, wall)
        };
        if let Some(entry) = shared.entries.get(key).filter(is_fresh) {
            return shared.hit(&entry);
        }
        if flights.len() >= FLIGHTS_MAX {
            let told = format!("{FLIGHTS_MAX} keys are being asked for already");
            return Answer::Now(shared.rows.unknown(key, Why::Error, (None, Some(&told))));
        }
        let late = (None, Some("the answer was not there in time"));
        let flight = Arc::new(Flight::new(shared.rows.unknown(key, Why::Timeout, late)));
        let key: Arc<str> = key.into();
        flights.insert(Arc::clone(&key), Arc::clone(&flight));
        drop(flights);
        shared.metrics.began.inc();
        let landing = Landing {
            shared: Arc::clone(shared),
            key,
            flight: Arc::clone(&flight),
            is_down: false,
        };
        let call = Traces::call(&shared.rows.enricher, &shared.rows.source);
        shared.runtime.spawn(call.here().around(landing.fly(call)));
        Answer::Later(flight)
    }

    /// For how long an answer is fresh, and from which age on it is never given. The second without
    /// jitter: it is what a user reads in the file.
    fn lifetime(&self, state: FactState) -> (Duration, Duration) {
        let CacheConfig { hit_ms, absent_ms, failure_ms, stale_ms, .. } = self.config;
        match state {
            FactState::Known if stale_ms > 0 => (millis(hit_ms), millis(hit_ms + stale_ms)),
            FactState::Known => (millis(hit_ms), Duration::ZERO),
            // That something is not there is soon untrue, so it is never given past its lifetime.
            FactState::Absent => (millis(absent_ms), Duration::ZERO),
            FactState::Unknown(_) => (millis(failure_ms), Duration::ZERO),
        }
    }

    /// Keeps what was found, unless it is a failure and something better is there; gives the row
    /// for those who wait.
    fn keep(
        &self,
        key: &Arc<str>,
        asked_at: Millis,
        found: Result<Found, Failure>,
    ) -> Arc<FactRow> {
        let now = Instant::now();
        let (state, values, failure) = match found {
            Ok(Found::Known(values)) => (FactState::Known, values, None),
            Ok(Found::Absent) => (FactState::Absent, Vec::new(), None),
            Err(failure) => {
                let why = if failure.fault == Fault::Timeout { Why::Timeout } else { Why::Error };
                (FactState::Unknown(why), Vec::new(), Some(failure.detail))
            }
        };
        let (lives, bound) = self.lifetime(state);
        let as_of = failure.is_none().then_some(asked_at);
        let old = failure.as_ref().and_then(|_| self.entries.get(key));
        let is_better =
            |old: &Arc<Entry>| now < old.ends && !matches!(old.row.state, FactState::Unknown(_));
        if let Some(old) = old.filter(is_better) {
            return self.stale(&old, now, failure.as_deref()).0;
        }
        let came_by = |how| (Some(how), failure.as_deref());
        let waited =
            self.rows.row(key, (state, values.clone()), as_of, came_by(CacheState::Fetched));
        let row = self.rows.row(key, (state, values), as_of, came_by(CacheState::Hit));
        let (fresh_until, past) = (now + jittered(lives, 10), Mutex::default());
        let ends = fresh_until.max(now + bound);
        self.entries.insert(Arc::clone(key), Arc::new(Entry { row, fresh_until, ends, past }));
        waited
    }
}

/// A question on its way: it lands even when whoever carries it is gone.
struct Landing {
    shared: Arc<Shared>,
    key: Arc<str>,
    flight: Arc<Flight>,
    is_down: bool,
}

impl Landing {
    async fn fly(mut self, mut call: CallSpan) {
        let asked_at = wall_clock();
        let found = self.shared.remote.fetch(&self.key).await;
        if let Err(failure) = &found {
            call.failed(failure.fault.code());
        }
        drop(call);
        self.land(asked_at, found);
    }

    fn land(&mut self, asked_at: Millis, found: Result<Found, Failure>) {
        self.is_down = true;
        let metrics = &self.shared.metrics;
        match &found {
            Ok(Found::Known(_)) => metrics.known.inc(),
            Ok(Found::Absent) => metrics.absent.inc(),
            Err(failure) => {
                metrics.failed.inc();
                metrics.failure(failure.fault.code());
            }
        }
        let is_answer = found.is_ok();
        let mut flights = self.shared.flights();
        let is_current =
            flights.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight));
        let row = if is_current {
            let row = self.shared.keep(&self.key, asked_at, found);
            flights.remove(&self.key);
            row
        } else {
            let told = (None, Some("it was purged while it was asked for"));
            self.shared.rows.unknown(&self.key, Why::Error, told)
        };
        drop(flights);
        self.flight.land(row);
        if is_answer {
            self.shared.changes.tell();
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if !self.is_down {
            let failure = Failure::new(Fault::Malformed, "the lookup did not come to its end");
            self.land(wall_clock(), Err(failure));
        }
    }
}

impl Entry {
    fn weight(&self, key: &str) -> u32 {
        let texts = 2 * key.len() + self.row.json().get().len() * 2;
        u32::try_from(texts + ENTRY_BYTES).unwrap_or(u32::MAX)
    }
}

struct Ends;

impl Expiry<Arc<str>, Arc<Entry>> for Ends {
    fn expire_after_create(
        &self,
        _: &Arc<str>,
        entry: &Arc<Entry>,
        at: Instant,
    ) -> Option<Duration> {
        Some(entry.ends.saturating_duration_since(at))
    }

    fn expire_after_update(
        &self,
        _: &Arc<str>,
        entry: &Arc<Entry>,
        at: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.ends.saturating_duration_since(at))
    }
}

fn cause_code(cause: RemovalCause) -> &'static str {
    match cause {
        RemovalCause::Expired => "expired",
        RemovalCause::Explicit => "purged",
        RemovalCause::Replaced => "replaced",
        RemovalCause::Size => "full",
    }
}

pub(super) fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

pub(super) fn wall_clock() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
