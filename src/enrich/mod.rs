//! Keys of a batch of alerts in, one fact row for each alert and enricher out, by a deadline.
//!
//! What must stay true: each distinct key is asked once per batch; a missing key, a late answer and
//! a failed source are unknown, never absent (INV-4, INV-11). Whether a fact is too old is for the
//! ruling to say, which knows the playbook's `max_age`.

mod addresses;
mod answer;
mod aws;
mod codeowners;
mod http;
mod http_facts;
mod cache;
mod combine;
mod fresh;
mod key;
mod lists;
mod remote;
mod remotes;
mod rows;
mod snapshot;
mod sourced;
mod table;
mod topic;
mod via;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::case::{Alert, FactRow, FactState, Millis, Why};
use crate::config::{
    CombineSource, EnricherConfig, Files, KeySpec, Part, SourceConfig, TopicSource,
};
use crate::service::Service;
use crate::text::{Problem, Problems};

pub use addresses::Addresses;
pub use answer::{Answer, Changes, Flight, Merge};
pub use aws::AwsIam;
pub use cache::Cached;
pub use combine::Combined;
pub use http::HttpSource;
pub use key::{Key, joined, key_of, key_of_parts};
pub use remote::{BoxFuture, Found, Remote};
pub use remotes::Remotes;
use remotes::Unconfigured;
pub use sourced::Sourced;
pub use table::Table;
pub use topic::{Applied, TopicTable, Update};
use via::ByTable;

/// Where facts come from.
pub trait Lookup: Send + Sync {
    /// Begins to look, without waiting for anything. One answer for each key, in order.
    fn ask(&self, keys: &[&str]) -> Vec<Answer>;

    /// Keeps no answer for this key, so that it is asked for again.
    fn forget(&self, _: &str) {}
}

/// Every enricher of the configuration, ready to be asked, in its order.
pub struct Enrichers {
    enrichers: Vec<Enricher>,
    changes: Changes,
    /// Set once, by those who may ask over the network.
    remotes: OnceLock<Arc<Remotes>>,
    topics: Topics,
}

/// Topics held as tables. They outlive the enrichers that use them, since reading one takes long.
type Topics = Mutex<Vec<Arc<TopicTable>>>;

/// One enricher: how its key is made and whom to ask.
struct Enricher {
    name: Arc<str>,
    key: KeySpec,
    timeout: Option<Duration>,
    /// A batch asks the one that is there when it begins.
    lookup: RwLock<Arc<dyn Lookup>>,
    no_key: Arc<FactRow>,
    failed: Arc<FactRow>,
}

/// One alert and which enrichers, by index, its playbooks ask.
pub type Wanted<'w> = (&'w Alert<'w>, &'w [usize]);

impl Enrichers {
    /// Reads every table. `now` is the age of tables that say none.
    ///
    /// Errors: every cell of every table that does not fit.
    pub fn new(
        configs: &[EnricherConfig],
        files: &Files,
        now: Millis,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let (mut enrichers, changes) = (Vec::new(), Changes::default());
        let topics = Topics::default();
        for config in configs {
            let reading = Reading { files, now, remotes: None, changes: &changes, topics: &topics };
            let lookup = reading.read(config, &mut problems);
            enrichers.extend(lookup.map(|lookup| Enricher::new(config, lookup)));
        }
        if problems.is_empty() {
            Ok(Self { enrichers, changes, remotes: OnceLock::new(), topics })
        } else {
            Err(problems.into_sorted())
        }
    }

    /// With sources of the caller's, in the order of the configurations.
    pub fn with(sources: impl IntoIterator<Item = (EnricherConfig, Box<dyn Lookup>)>) -> Self {
        let of = |(config, lookup)| Enricher::new(&config, Arc::from(lookup));
        let enrichers = sources.into_iter().map(of);
        Self {
            enrichers: enrichers.collect(),
            changes: Changes::default(),
            remotes: OnceLock::new(),
            topics: Topics::default(),
        }
    }

    /// From now on sources may be asked over the network: those that were left out until now are
    /// put in.
    ///
    /// Errors: what does not fit in files that are read again for it.
    pub fn connect(
        &self,
        configs: &[EnricherConfig],
        files: &Files,
        now: Millis,
        remotes: Arc<Remotes>,
    ) -> Result<(), Vec<Problem>> {
        let remotes = self.remotes.get_or_init(|| remotes);
        let mut problems = Problems::default();
        let reading = self.reading((files, now), Some(remotes));
        for config in configs.iter().filter(|config| config.source.is_remote()) {
            if let Some(lookup) = reading.read(config, &mut problems) {
                self.put(config, lookup);
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.into_sorted()) }
    }

    fn reading<'r>(
        &'r self,
        (files, now): (&'r Files, Millis),
        remotes: Option<&'r Remotes>,
    ) -> Reading<'r> {
        Reading { files, now, remotes, changes: &self.changes, topics: &self.topics }
    }

    /// Each topic that is held as a table, for whoever reads it.
    pub fn topics(&self) -> Vec<Arc<TopicTable>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn remotes(&self) -> Option<&Arc<Remotes>> {
        self.remotes.get()
    }

    fn put(&self, config: &EnricherConfig, lookup: Arc<dyn Lookup>) {
        let known = self.enrichers.iter().find(|enricher| enricher.name == config.name);
        if let Some(enricher) = known {
            *enricher.lookup.write().unwrap_or_else(PoisonError::into_inner) = lookup;
        }
    }

    /// Reads the files of one enricher again. Whole or not at all: on any mistake it goes on with
    /// what it had.
    ///
    /// Errors: every cell and line that does not fit.
    pub fn renew(
        &self,
        config: &EnricherConfig,
        files: &Files,
        now: Millis,
    ) -> Result<(), Vec<Problem>> {
        let mut problems = Problems::default();
        let remotes = self.remotes.get().map(Arc::as_ref);
        let reading = self.reading((files, now), remotes);
        let Some(lookup) = reading.read(config, &mut problems) else {
            return Err(problems.into_sorted());
        };
        self.put(config, lookup);
        self.changes.tell();
        Ok(())
    }

    /// What is older than its enricher's least `max_age` is asked for again. In the order of the
    /// configurations.
    pub fn rule_within(&self, max_ages_ms: impl IntoIterator<Item = Option<i64>>) {
        let Some(remotes) = self.remotes.get() else { return };
        for (enricher, max_age_ms) in self.enrichers.iter().zip(max_ages_ms) {
            let caches = remotes.caches();
            let of = caches.iter().filter(|cached| cached.rows().enricher == enricher.name);
            of.for_each(|cached| cached.rule_within(max_age_ms));
        }
    }

    /// Moves whenever a fact that was unknown may be known now.
    pub fn changes(&self) -> u64 {
        self.changes.count()
    }

    pub fn len(&self) -> usize {
        self.enrichers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.enrichers.is_empty()
    }

    /// One key of one enricher, for a person. Nothing when there is no such enricher.
    pub fn fact(&self, enricher: &str, key: &str, deadline: Instant) -> Option<Arc<FactRow>> {
        let enricher = self.enrichers.iter().find(|each| *each.name == *enricher)?;
        let answer = enricher.lookup().ask(&[key]).into_iter().next();
        Some(answer.map_or_else(|| enricher.failed.clone(), |answer| answer.by(deadline)))
    }

    /// Keeps no answer for one key of one enricher. False when there is no such enricher.
    pub fn forget(&self, enricher: &str, key: &str) -> bool {
        let enricher = self.enrichers.iter().find(|each| *each.name == *enricher);
        let Some(enricher) = enricher else { return false };
        enricher.lookup().forget(key);
        if let Some(remotes) = self.remotes.get() {
            remotes.has_changed();
        }
        self.changes.tell();
        true
    }

    /// For each alert a slot for each enricher, filled where it was wanted.
    pub fn facts(
        &self,
        alerts: &[Wanted<'_>],
        deadline: Instant,
    ) -> Vec<Vec<Option<Arc<FactRow>>>> {
        let mut facts: Vec<_> = alerts.iter().map(|_| vec![None; self.enrichers.len()]).collect();
        let enrichers = self.enrichers.iter().enumerate();
        // All are asked before the first is waited for.
        let asked: Vec<_> =
            enrichers.map(|(index, enricher)| (index, enricher.ask(index, alerts))).collect();
        let began = Instant::now();
        for (enricher, (index, asked)) in self.enrichers.iter().zip(asked) {
            let own = enricher.timeout.map(|timeout| began + timeout);
            let deadline = own.map_or(deadline, |own| own.min(deadline));
            enricher.fill(index, &asked, &mut facts, deadline);
        }
        facts
    }
}

/// What sources are made of.
struct Reading<'r> {
    files: &'r Files,
    now: Millis,
    /// Nothing while nobody may be asked.
    remotes: Option<&'r Remotes>,
    changes: &'r Changes,
    topics: &'r Topics,
}

impl Reading<'_> {
    /// Errors: adds what does not fit in the source's files, and returns nothing.
    fn read(&self, config: &EnricherConfig, problems: &mut Problems) -> Option<Arc<dyn Lookup>> {
        match &config.source {
            SourceConfig::Table(table) => {
                let table = Table::read(config, table, self.files, self.now, problems)?;
                Some(Arc::new(table))
            }
            SourceConfig::Addresses(source) => {
                let addresses = Addresses::read(config, source, self.files, self.now, problems)?;
                Some(Arc::new(addresses))
            }
            SourceConfig::Http(source) => {
                let of = |service| HttpSource::new(source.clone(), &config.provides, service);
                let asked = self.remote(config, &source.service, of);
                match &source.via {
                    None => Some(asked),
                    Some(via) => {
                        let table = config.of_via(via);
                        let table =
                            Table::read(&table, &via.table, self.files, self.now, problems)?;
                        Some(Arc::new(ByTable::new(config, table, asked)))
                    }
                }
            }
            SourceConfig::AwsIam(source) => {
                Some(self.remote(config, &source.service, |service| AwsIam::new(service, source)))
            }
            SourceConfig::Topic(source) => Some(self.topic(config, source)),
            SourceConfig::Combine(source) => self.combine(config, source, problems),
        }
    }

    /// What is asked over the network, behind its cache; where its service is not configured, a
    /// source that says so.
    fn remote<R: Remote>(
        &self,
        config: &EnricherConfig,
        service: &str,
        source: impl FnOnce(Arc<Service>) -> R,
    ) -> Arc<dyn Lookup> {
        let found = self.remotes.and_then(|remotes| Some((remotes, remotes.service(service)?)));
        let Some((remotes, service)) = found else {
            return Arc::new(Unconfigured::new(config, service));
        };
        remotes.cached(config, &service, self.changes, source(Arc::clone(&service)))
    }

    /// The one that is there, if it is of the same configuration.
    fn topic(&self, config: &EnricherConfig, source: &TopicSource) -> Arc<TopicTable> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = topics.iter().find(|table| table.is_of(config)) {
            return Arc::clone(known);
        }
        let table = Arc::new(TopicTable::new(config, source, self.changes));
        topics.push(Arc::clone(&table));
        table
    }

    /// What is not asked here, as its service is not configured, is left out where others of other
    /// ranks give the same. Else it says of its own keys that nobody was asked: those of one rank
    /// share the keys among them, and what one does not know the others do not either.
    fn combine(
        &self,
        config: &EnricherConfig,
        source: &CombineSource,
        problems: &mut Problems,
    ) -> Option<Arc<dyn Lookup>> {
        let configs = (0..source.parts.len()).map(|index| config.of_part(source, index));
        let configs: Vec<EnricherConfig> = configs.collect();
        let is_there = |config: &EnricherConfig| {
            config.source.service().is_none_or(|name| {
                self.remotes.is_some_and(|remotes| remotes.service(name).is_some())
            })
        };
        let there: Vec<bool> = configs.iter().map(is_there).collect();
        let is_given_beside = |part: &Part, field: &usize| {
            let others = source.parts.iter().zip(&there);
            let mut others = others.filter(|(other, there)| **there && other.rank != part.rank);
            others.any(|(other, _)| other.gives.contains(field))
        };
        // All are read, so that all their mistakes are told.
        let lookups: Vec<_> = configs.iter().map(|config| self.read(config, problems)).collect();
        let lookups = lookups.into_iter().collect::<Option<Vec<_>>>()?;
        let is_none_there = !there.contains(&true);
        let parts = source.parts.iter().zip(&there).zip(lookups).map(|((part, there), lookup)| {
            let is_left_out = is_none_there || part.gives.iter().all(|f| is_given_beside(part, f));
            (*there || !is_left_out).then_some(lookup)
        });
        let parts: Vec<Option<Arc<dyn Lookup>>> = parts.collect();
        // One that is left alone and gives everything has nothing to be merged with.
        let all = source.parts.iter().zip(&parts);
        let mut there = all.filter_map(|(part, lookup)| Some((part, lookup.as_ref()?)));
        if let (Some((part, lookup)), None) = (there.next(), there.next())
            && part.gives.len() == config.provides.len()
        {
            return Some(Arc::clone(lookup));
        }
        Some(Arc::new(Combined::new(config, source, parts)))
    }
}

impl Enricher {
    fn new(config: &EnricherConfig, lookup: Arc<dyn Lookup>) -> Self {
        let unknown = |why| {
            let names = (config.name.clone(), Arc::from("none"), Arc::from("none"));
            Arc::new(FactRow::new(names, "", None, FactState::Unknown(why), (&[], Vec::new())))
        };
        Self {
            name: config.name.clone(),
            key: config.key.clone(),
            timeout: config
                .timeout_ms
                .and_then(|ms| u64::try_from(ms).ok())
                .map(Duration::from_millis),
            lookup: RwLock::new(lookup),
            no_key: unknown(Why::NoKey),
            failed: unknown(Why::Error),
        }
    }

    fn lookup(&self) -> Arc<dyn Lookup> {
        Arc::clone(&self.lookup.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn ask(&self, index: usize, alerts: &[Wanted<'_>]) -> Asked {
        let mut distinct = Distinct::for_alerts(&self.key, alerts.len());
        let mut places: Vec<(usize, Option<usize>)> = Vec::new();
        for (place, (alert, wanted)) in alerts.iter().enumerate() {
            if wanted.contains(&index) {
                places.push((place, distinct.number(alert, &self.key)));
            }
        }
        let keys = distinct.keys();
        let answers = if keys.is_empty() { Vec::new() } else { self.lookup().ask(&keys) };
        Asked { places, answers }
    }

    fn fill(
        &self,
        index: usize,
        asked: &Asked,
        facts: &mut [Vec<Option<Arc<FactRow>>>],
        deadline: Instant,
    ) {
        let rows: Vec<_> = asked.answers.iter().map(|answer| answer.by(deadline)).collect();
        for (place, number) in &asked.places {
            let row = match number {
                None => &self.no_key,
                Some(number) => rows.get(*number).unwrap_or(&self.failed),
            };
            if let Some(slot) = facts.get_mut(*place).and_then(|slots| slots.get_mut(index)) {
                *slot = Some(row.clone());
            }
        }
    }
}

/// What one enricher was asked for a batch.
struct Asked {
    /// Of each alert that wants it: its place in the batch and the number of its key, if it has
    /// one.
    places: Vec<(usize, Option<usize>)>,
    answers: Vec<Answer>,
}

/// The keys of one batch, each once, numbered as they were first seen.
#[derive(Default)]
struct Distinct<'a> {
    single: HashMap<&'a str, usize>,
    joined: HashMap<String, usize>,
    buffer: String,
}

impl<'a> Distinct<'a> {
    fn for_alerts(spec: &KeySpec, alerts: usize) -> Self {
        let is_joined = matches!(spec, KeySpec::All(fields) if fields.len() != 1);
        let mut distinct = Self::default();
        if is_joined {
            distinct.joined.reserve(alerts);
        } else {
            distinct.single.reserve(alerts);
        }
        distinct
    }

    fn number(&mut self, alert: &'a Alert<'a>, spec: &KeySpec) -> Option<usize> {
        let next = self.single.len() + self.joined.len();
        match key_of(alert, spec, &mut self.buffer) {
            Key::Missing => None,
            Key::Single(key) => Some(*self.single.entry(key).or_insert(next)),
            Key::Joined => {
                if let Some(number) = self.joined.get(&self.buffer) {
                    return Some(*number);
                }
                self.joined.insert(self.buffer.clone(), next);
                Some(next)
            }
        }
    }

    fn keys(&self) -> Vec<&str> {
        let mut keys = vec![""; self.single.len() + self.joined.len()];
        let single = self.single.iter().map(|(key, number)| (*key, *number));
        let joined = self.joined.iter().map(|(key, number)| (key.as_str(), *number));
        for (key, number) in single.chain(joined) {
            if let Some(slot) = keys.get_mut(number) {
                *slot = key;
            }
        }
        keys
    }
}
