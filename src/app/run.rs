use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::{info, warn};

use super::cluster::{Cluster, INTAKE_GROUP, Place, TRIAGE_GROUP};
use super::facts::Kept;
use super::health::{Front, Workers, serve};
use super::policies::{Back, activate, generation};
use super::policy_state::PolicyState;
use super::reload::{Reload, Reloader};
use super::setup::{Failure, InForce, Loaded};
use super::signers::signers;
use super::sinks::Sinks;
use super::topic_tables;
use super::webhooks::Webhooks;
use crate::case::Millis;
use crate::config::{BatchConfig, WorkersConfig};
use crate::ingest::{Admin, BatchLimits, Doubt, LogReader};
use crate::normalize::FingerprintKeys;
use crate::observe::{Metrics, Traces};
use crate::pipeline::{
    Active, AlertEnds, Clock, Drain, Ended, Expected, Identity, Intake, People, Phase, Progress,
    RecoveryRules, Stage, Terms, Triage, WorkerConfig, worker,
};

/// Parts of the work that a process can do. Contain, notary and console come later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Intake,
    Triage,
    /// Tells sinks of cases.
    Deliver,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Intake, Self::Triage, Self::Deliver];

    pub fn name(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Triage => "triage",
            Self::Deliver => "deliver",
        }
    }
}

#[derive(Clone)]
pub struct Options {
    pub roles: Vec<Role>,
    pub instance: String,
    pub workers: WorkersConfig,
    pub batch: BatchConfig,
    /// Makes this policy the active one although a newer one is stored.
    pub activate: bool,
    pub reload: Reload,
    pub clock: Clock,
}

/// Largest batch in bytes: with its outputs it must fit one transaction of 10 s.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
const ENDS_EVERY: Duration = Duration::from_secs(2);
const DRAIN_PATIENCE: Duration = Duration::from_secs(8);
/// For the last spans: what the drain leaves of its own time, and a little in any case.
const SPANS_PATIENCE_MIN: Duration = Duration::from_secs(1);
const SPANS_PATIENCE_MAX: Duration = Duration::from_secs(5);

/// Workers that were started. They end when the drain starts, or by themselves with a reason.
pub struct Running {
    workers: Vec<(String, Arc<Progress>, JoinHandle<Ended>)>,
    pub metrics: Metrics,
    pub drain: Drain,
    traces: Traces,
}

pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}

/// Starts the workers of `options.roles` on a cluster whose topics were created. Everything that
/// can fail comes before the first worker, so that a failed start can be tried again.
pub fn start(
    cluster: &Cluster,
    loaded: &Loaded,
    keys: Arc<FingerprintKeys>,
    options: &Options,
    (drain, metrics, traces): (Drain, Metrics, Traces),
) -> Result<Running, Failure> {
    let admin = Admin::connect(&cluster.settings)?;
    let expected = cluster.expected(&admin)?;
    let checked = &loaded.checked;
    let mut running = Running { workers: Vec::new(), metrics, traces, drain };
    let (hash, back) =
        (&checked.policy_hash, if options.activate { Back::Asked } else { Back::Never });
    let generation = if options.roles.contains(&Role::Triage) {
        cluster.check_control(&admin)?;
        cluster.check_outputs(&admin, &checked.policy)?;
        activate(cluster, hash, &checked.bundle, back)?
    } else {
        generation(cluster, hash, back)?
    };
    info!(policy = %hash, generation, "the policy of the files has generation {generation}");
    let current = &loaded.in_force.policy;
    let (policy, signers) = (Arc::clone(&checked.policy), current.get().signers.clone());
    current.put(Arc::new(Active { policy, generation, signers }));
    if options.roles.contains(&Role::Intake) {
        cluster.check_detectors(&admin, &checked.pipelines)?;
        running.spawn_intake(cluster, &loaded.in_force, &keys, options)?;
    }
    if options.roles.contains(&Role::Triage) {
        let shared = (&running.metrics, &running.drain);
        let topics = topic_tables::fill(cluster, &loaded.enrichers, shared)?;
        topics.follow(&running.drain);
        running.spawn_triage(cluster, loaded, &expected, options)?;
    }
    Ok(running)
}

/// Keeps the ends of the alerts partitions known to intake, on a thread of its own.
fn watch_ends(cluster: &Cluster, drain: Drain) -> Result<AlertEnds, Failure> {
    let ends = AlertEnds::new(cluster.topics.partitions);
    let log = LogReader::connect(&cluster.settings, &cluster.group(INTAKE_GROUP))?;
    let (watched, alerts) = (ends.clone(), cluster.topics.alerts.clone());
    std::thread::spawn(move || {
        while !drain.is_started() {
            // A failure leaves the ends where they are: a recovery then reads more, nothing else.
            if let Err(doubt) = watched.refresh(&log, &alerts) {
                tracing::debug!(reason = %doubt, "ends of the alerts partitions are not known");
            }
            std::thread::sleep(ENDS_EVERY);
        }
    });
    Ok(ends)
}

impl Running {
    fn spawn_intake(
        &mut self,
        cluster: &Cluster,
        in_force: &InForce,
        keys: &Arc<FingerprintKeys>,
        options: &Options,
    ) -> Result<(), Failure> {
        let ends = watch_ends(cluster, self.drain.clone())?;
        let topics = Cluster::detector_topics(&in_force.pipelines.get());
        for number in 0..options.workers.intake {
            let stage = Intake::new(
                (in_force.pipelines.clone(), Arc::clone(keys)),
                cluster.topics.clone(),
                (Admin::connect(&cluster.settings)?, ends.clone()),
                (self.metrics.clone(), self.traces.clone()),
            );
            self.spawn(stage, cluster, options, (Role::Intake, number), topics.clone())?;
        }
        Ok(())
    }

    fn spawn_triage(
        &mut self,
        cluster: &Cluster,
        loaded: &Loaded,
        expected: &Expected,
        options: &Options,
    ) -> Result<(), Failure> {
        let current = &loaded.in_force.policy;
        for number in 0..options.workers.triage {
            let terms = Terms {
                active: current.get(),
                topics: cluster.topics.clone(),
                identity: Identity { instance: options.instance.clone() },
                findings: cluster.findings,
            };
            let lookup = Duration::from_millis(options.batch.lookup_ms);
            let stage = Triage::new(
                terms,
                (Arc::clone(&loaded.enrichers), lookup),
                expected.clone(),
                Arc::clone(&options.clock),
                (self.metrics.clone(), self.traces.clone()),
            );
            let stage = stage.following(current).heeding(people(loaded)?);
            let topics = vec![cluster.topics.alerts.clone(), cluster.topics.orders.clone()];
            self.spawn(stage, cluster, options, (Role::Triage, number), topics)?;
        }
        Ok(())
    }

    fn spawn<S: Stage + Send + 'static>(
        &mut self,
        stage: S,
        cluster: &Cluster,
        options: &Options,
        (role, number): (Role, usize),
        topics: Vec<String>,
    ) -> Result<(), Failure> {
        let name = format!("{}-{}-{number}", options.instance, role.name());
        let progress = Arc::new(Progress::default());
        let config = WorkerConfig {
            settings: cluster.settings.clone(),
            group: cluster.group(if role == Role::Intake { INTAKE_GROUP } else { TRIAGE_GROUP }),
            name: name.clone(),
            topics,
            limits: BatchLimits {
                time: Duration::from_millis(options.batch.max_ms),
                messages: options.batch.max_alerts,
                bytes: BATCH_BYTES_MAX,
            },
            rules: RecoveryRules::ALL,
            progress: Arc::clone(&progress),
        };
        let drain = self.drain.clone();
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || worker(stage, config, drain))
            .map_err(|error| Failure::Ended(format!("a thread can't be started: {error}")))?;
        self.workers.push((name, progress, thread));
        Ok(())
    }

    /// The workers' state as seen from outside.
    fn health(&self) -> Workers {
        let workers =
            self.workers.iter().map(|(name, progress, _)| (name.clone(), Arc::clone(progress)));
        Workers(workers.collect())
    }

    /// True as soon as one worker has ended.
    pub fn has_ended(&self) -> bool {
        self.workers.iter().any(|(_, _, thread)| thread.is_finished())
    }

    pub fn is_ready(&self) -> bool {
        self.workers.iter().all(|(_, progress, _)| progress.phase() == Phase::Running)
    }

    /// Starts the drain and waits for the workers, at most `patience`.
    ///
    /// Errors: a worker ended for another reason than the drain, or did not end.
    pub fn stop(self, patience: Duration) -> Result<(), Failure> {
        self.drain.start();
        let until = Instant::now() + patience;
        let mut failed = None;
        for (name, _, thread) in self.workers {
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
            if !thread.is_finished() {
                failed = Some(format!(
                    "worker `{name}` did not end within {} s; what it had not committed is done at the next start",
                    patience.as_secs()
                ));
                continue;
            }
            match thread.join() {
                Ok(Ended::Drained) => {}
                Ok(why) => failed = Some(format!("worker `{name}` ended: {why}")),
                Err(_) => failed = Some(format!("worker `{name}` panicked")),
            }
        }
        failed.map_or(Ok(()), |why| Err(Failure::Ended(why)))
    }
}

/// `tipstaff run`: serves health and metrics, waits for the brokers, starts, drains on SIGTERM or
/// SIGINT.
pub fn run(
    loaded: &Loaded,
    keys: FingerprintKeys,
    options: &Options,
    drain: Drain,
) -> Result<(), Failure> {
    let listen = loaded.service()?.listen;
    let place = Place::of(loaded)?;
    sign(loaded, options)?;
    let metrics = Metrics::new().map_err(|error| Failure::Ended(error.to_string()))?;
    let runtime = super::setup::runtime()?;
    loaded.connect(runtime.handle(), &metrics, (options.clock)())?;
    let kept = Kept::of(loaded, &options.instance).map(Arc::new);
    if let Some(kept) = &kept {
        kept.restore();
        kept.save_until(&drain);
    }
    let listener = runtime.block_on(crate::observe::listen(listen)).map_err(Failure::Ended)?;
    let keys = Arc::new(keys);
    let traces = traces(loaded, options, &metrics)?;
    let shared = (&drain, &metrics, &traces);
    let webhooks = Webhooks::listen((loaded, &keys), &place, options, &runtime, shared)?;
    let brokers = place.settings.bootstrap().to_owned();
    let takes_webhooks: Box<dyn Fn() -> bool + Send + Sync> = match &webhooks {
        Some(webhooks) => Box::new(webhooks.is_ready()),
        None => Box::new(|| true),
    };
    let rules = options.roles.contains(&Role::Triage);
    let policy = Arc::new(PolicyState::new(&loaded.in_force, rules, &metrics));
    let state = Arc::clone(&policy);
    let enrichers = Arc::clone(&loaded.enrichers);
    let (workers, sinks) = (OnceLock::new(), OnceLock::new());
    let front = Arc::new(Front { brokers, workers, sinks, policy, takes_webhooks, enrichers });
    serve(&runtime, listener, loaded, (&metrics, &front));
    super::tables::watch(loaded, &metrics, &drain);
    info!(address = %listen, "metrics and health at http://{listen}");
    state.expect(&loaded.checked.policy);
    let Some((cluster, running)) = started(place, loaded, &keys, options, shared)? else {
        return Ok(());
    };
    state.begin((options.clock)());
    let sinks = Sinks::start(&cluster, loaded, options, runtime.handle(), (&drain, &metrics))?;
    drop(front.sinks.set(sinks.status.clone()));
    if let Some(reloader) = Reloader::new(cluster, loaded, options, &state)? {
        reloader.run(&drain);
    }
    webhooks.as_ref().map_or(Ok(()), Webhooks::open)?;
    // Set once, here.
    drop(front.workers.set(running.health()));
    info!(instance = %options.instance, "running as `{}`", options.instance);
    while !drain.is_started() && !running.has_ended() {
        std::thread::sleep(Duration::from_millis(50));
    }
    info!("draining");
    drain.start();
    let until = Instant::now() + DRAIN_PATIENCE;
    let stopped = running.stop(DRAIN_PATIENCE);
    sinks.stop(until);
    if let Some(kept) = &kept {
        kept.save();
    }
    if let Some(webhooks) = webhooks {
        webhooks.stop(&runtime, until.saturating_duration_since(Instant::now()));
    }
    let left = until.saturating_duration_since(Instant::now()) + SPANS_PATIENCE_MIN;
    if let Err(reason) = traces.end(left.min(SPANS_PATIENCE_MAX)) {
        warn!(reason, "the last spans could not be sent");
    }
    stopped
}

/// Whose orders count; nobody's where `tipstaff.yaml` names no file.
fn people(loaded: &Loaded) -> Result<People, Failure> {
    let Some(orders) = loaded.checked.service.as_ref().and_then(|s| s.orders.as_ref()) else {
        return Ok(People::default());
    };
    let directory = loaded.directory.as_deref().unwrap_or_else(|| Path::new("."));
    People::of(directory.join(&orders.allowed_signers)).map_err(Failure::Configuration)
}

/// A policy that is not signed as `tipstaff.yaml` asks is not started.
fn sign(loaded: &Loaded, options: &Options) -> Result<(), Failure> {
    let checked = &loaded.checked;
    let directory = loaded.directory.as_deref().unwrap_or_else(|| Path::new("."));
    let signing = loaded.service()?.signing.as_ref();
    let signers = signers(checked, signing, directory, (options.clock)());
    let signers = signers.map_err(Failure::Configuration)?;
    let policy = Arc::clone(&checked.policy);
    loaded.in_force.policy.put(Arc::new(Active { policy, generation: 0, signers }));
    Ok(())
}

/// Before any thread of the runtime could do it, which must not.
fn traces(loaded: &Loaded, options: &Options, metrics: &Metrics) -> Result<Traces, Failure> {
    let Some(config) = &loaded.service()?.traces else { return Ok(Traces::default()) };
    let headers = loaded.secrets()?.traces;
    let traces = Traces::start(config, &headers, &options.instance, metrics);
    let traces = traces.map_err(Failure::Ended)?;
    let endpoint = &config.endpoint;
    info!(endpoint, sample_ppm = config.sample_ppm, "spans are sent to {endpoint}");
    Ok(traces)
}

/// Waits for the brokers as long as it takes; nothing when the drain comes first.
fn started(
    place: Place,
    loaded: &Loaded,
    keys: &Arc<FingerprintKeys>,
    options: &Options,
    (drain, metrics, traces): (&Drain, &Metrics, &Traces),
) -> Result<Option<(Cluster, Running)>, Failure> {
    let cluster = match Cluster::wait(place, drain) {
        Err(_) if drain.is_started() => return Ok(None),
        other => other?,
    };
    loop {
        let shared = (drain.clone(), metrics.clone(), traces.clone());
        match start(&cluster, loaded, Arc::clone(keys), options, shared) {
            Err(Failure::Kafka(_)) if drain.is_started() => return Ok(None),
            Err(Failure::Kafka(doubt @ (Doubt::Unreachable(_) | Doubt::Unsure(_)))) => {
                let brokers = cluster.settings.bootstrap();
                warn!(brokers, reason = %doubt, "waiting for Kafka at {brokers}");
                std::thread::sleep(Duration::from_millis(500));
            }
            other => return other.map(|running| Some((cluster, running))),
        }
    }
}
