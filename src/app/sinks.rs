//! The role `deliver`: a thread for each sink that `tipstaff.yaml` switches on.

mod desk;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tracing::{info, warn};

use super::cluster::Cluster;
use super::run::{Options, Role};
use super::setup::{Failure, Loaded};
use crate::audit::CASES_PREFIX;
use crate::config::{SinkConfig, Start};
use crate::deliver::Sink;
use crate::ingest::Publisher;
use crate::observe::Metrics;
use crate::pipeline::{Delivery, Drain, SinkState, SinkStatus};

pub use desk::{COUNTED_MAX, SinkRow, list, retry};

/// Sinks that were started. They end with the drain.
#[derive(Default)]
pub(super) struct Sinks {
    threads: Vec<(String, JoinHandle<()>)>,
    pub status: Vec<Arc<SinkStatus>>,
}

/// For the brokers to take a case that is parked.
const PARKING_WAIT: Duration = Duration::from_secs(4);

/// The consumer group of a sink, without the prefix.
pub(super) fn group(sink: &SinkConfig) -> String {
    format!("sink-{}", sink.name)
}

/// Those that `tipstaff.yaml` switches on.
pub(super) fn switched_on(loaded: &Loaded) -> Vec<&SinkConfig> {
    let named = loaded.checked.service.as_ref().map_or(&[][..], |service| &service.sinks);
    let sinks = loaded.checked.sinks.iter();
    sinks.filter(|sink| named.iter().any(|(name, _)| *name == sink.name)).collect()
}

/// The queues whose cases a sink is told of.
pub(super) fn queues(sink: &SinkConfig, loaded: &Loaded) -> Vec<String> {
    match &sink.queues {
        Some(queues) => queues.iter().map(|(name, _)| name.clone()).collect(),
        None => loaded.checked.policy.queues().into_iter().map(str::to_owned).collect(),
    }
}

/// For each sink that is switched on: its group, the topics it reads, and where it is to begin.
pub fn sink_starts(
    cluster: &Cluster,
    loaded: &Loaded,
) -> Vec<(String, Vec<String>, Option<Start>)> {
    let topic = |queue: String| cluster.topics.output(&format!("{CASES_PREFIX}{queue}"));
    let one = |sink: &SinkConfig| {
        let topics = queues(sink, loaded).into_iter().map(topic);
        (cluster.group(&group(sink)), topics.collect(), sink.start)
    };
    switched_on(loaded).into_iter().map(one).collect()
}

impl Sinks {
    pub fn start(
        cluster: &Cluster,
        loaded: &Loaded,
        options: &Options,
        runtime: &Handle,
        (drain, metrics): (&Drain, &Metrics),
    ) -> Result<Self, Failure> {
        let mut sinks = Self::default();
        if !options.roles.contains(&Role::Deliver) {
            return Ok(sinks);
        }
        let on = switched_on(loaded);
        for sink in loaded.checked.sinks.iter().filter(|sink| !on.contains(sink)) {
            let name = &*sink.name;
            info!(sink = name, "sink `{name}` is not used: `sinks` does not name it");
        }
        for sink in on {
            sinks.spawn(sink, cluster, loaded, options, (runtime, drain, metrics))?;
        }
        Ok(sinks)
    }

    fn spawn(
        &mut self,
        sink: &SinkConfig,
        cluster: &Cluster,
        loaded: &Loaded,
        options: &Options,
        (runtime, drain, metrics): (&Handle, &Drain, &Metrics),
    ) -> Result<(), Failure> {
        let name = format!("{}-{}", options.instance, group(sink));
        let status = Arc::new(SinkStatus::new(&sink.name));
        let publisher = Publisher::connect(&cluster.settings, "tipstaff-sinks", PARKING_WAIT)?;
        let delivery = Delivery {
            sink: Arc::new(of(sink, loaded)?),
            settings: cluster.settings.clone(),
            topics: cluster.topics.clone(),
            cluster: cluster.id.clone(),
            member: (cluster.group(&group(sink)), name.clone()),
            queues: queues(sink, loaded),
            runtime: runtime.clone(),
            publisher: Arc::new(publisher),
            metrics: metrics.sinks.clone(),
            status: Arc::clone(&status),
            clock: Arc::clone(&options.clock),
        };
        let drain = drain.clone();
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || delivery.run(&drain))
            .map_err(|error| Failure::Ended(format!("a thread can't be started: {error}")))?;
        let (sink, owner) = (&*sink.name, &*sink.owner);
        info!(sink, owner, "sink `{sink}` is switched on; {owner} answers for it");
        self.threads.push((name, thread));
        self.status.push(status);
        Ok(())
    }

    /// After the drain has started. What was not done is delivered after the next start.
    pub fn stop(self, until: Instant) {
        for (name, thread) in self.threads {
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
            if !thread.is_finished() {
                warn!("`{name}` did not end in time; what is on its way is delivered again");
            }
        }
    }
}

/// A sink and its service, which `check` has seen in `services`.
pub(super) fn of(sink: &SinkConfig, loaded: &Loaded) -> Result<Sink, Failure> {
    let remotes = loaded.enrichers.remotes();
    let service = remotes.and_then(|remotes| remotes.service(&sink.service));
    let missing = || Failure::Usage(format!("no service `{}` is configured", sink.service));
    Ok(Sink::new(sink.clone(), service.ok_or_else(missing)?))
}

/// For readiness: a sink that somebody has to look at, in one line. It makes nobody unready.
pub(super) fn note(status: &[Arc<SinkStatus>]) -> Option<String> {
    let is_told = |state| matches!(state, SinkState::Paused | SinkState::Waiting);
    let told = status.iter().filter_map(|sink| {
        let now = sink.get();
        let state = if now.state == SinkState::Paused { "is paused" } else { "waits" };
        is_told(now.state).then(|| format!("sink {} {state}: {}", sink.name, now.why))
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// What `/sinks` answers: JSON.
pub(super) fn json(status: &[Arc<SinkStatus>]) -> String {
    let all = status.iter().map(|sink| {
        let now = sink.get();
        serde_json::json!({
            "sink": sink.name,
            "state": now.state,
            "why": now.why,
            "oldest_undelivered": now.oldest,
        })
    });
    serde_json::Value::Array(all.collect()).to_string()
}
