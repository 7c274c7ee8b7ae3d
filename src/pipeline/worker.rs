use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::outbox::Outbox;
use super::progress::{Phase, Progress, count};
use super::recovery::{Pending, RecoveryRules, Troubles};
use super::stage::{Batch, Stage};
use crate::ingest::{
    BatchLimits, CommitTook, Consumer, Doubt, Held, LogReader, Membership, Producer, Settings,
};

const CLOSE_WAIT: Duration = Duration::from_secs(2);
const PENDING_CHECK: Duration = Duration::from_secs(1);
const LINGER_AT_FIRST: Duration = Duration::from_millis(10);

#[derive(Clone)]
pub struct WorkerConfig {
    pub settings: Settings,
    pub group: String,
    /// `<instance>-<role>-<thread>`: member of the group and, with the group in front, the
    /// transactional id. No two workers of a group may share one.
    pub name: String,
    pub topics: Vec<String>,
    pub limits: BatchLimits,
    pub rules: RecoveryRules,
    pub progress: Arc<Progress>,
}

/// Asks workers to end; set once, shared by all of them.
#[derive(Debug, Clone, Default)]
pub struct Drain(Arc<AtomicBool>);

impl Drain {
    pub fn start(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn is_started(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Why a worker ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    #[error("drained")]
    Drained,
    #[error("another worker runs under the name `{name}`; give each its own `--instance`: {why}")]
    Duplicate { name: String, why: String },
    #[error("{count} recoveries after errors within ten minutes, the last because: {why}")]
    TooManyErrors { count: usize, why: String },
    #[error("{why}")]
    Refused { why: String },
}

/// Runs a stage until it is drained or cannot go on, on the calling thread.
pub fn worker<S: Stage>(stage: S, config: WorkerConfig, drain: Drain) -> Ended {
    let name = config.name.clone();
    let ended = match Worker::connect(stage, config, drain) {
        Ok(mut worker) => {
            let ended = worker.run();
            worker.progress().enter(Phase::Draining);
            close((worker.consumer, worker.log));
            ended
        }
        Err(doubt) => Ended::Refused { why: doubt.to_string() },
    };
    match &ended {
        Ended::Drained => info!(worker = %name, "worker `{name}` drained"),
        why => error!(worker = %name, reason = %why, "worker `{name}` ended"),
    }
    ended
}

pub(super) struct Worker<S> {
    pub(super) stage: S,
    pub(super) config: WorkerConfig,
    pub(super) drain: Drain,
    pub(super) consumer: Consumer,
    pub(super) log: LogReader,
    /// Input partitions that recovery had to leave out.
    pub(super) pending: Vec<Pending>,
    troubles: Troubles,
}

/// What one recovery leads to.
pub(super) struct Running {
    pub(super) producer: Producer,
    pub(super) membership: Membership,
    pub(super) rebalances: u64,
}

/// Why a recovery is needed, or that none is.
enum Cause {
    Drained,
    Rebalanced,
    /// A partition that was left out can be recovered now.
    Unblocked,
    /// Acknowledged, but late enough that a second commit request may be on its way.
    Doubtful(CommitTook),
    Failed(Doubt),
}

impl<S: Stage> Worker<S> {
    fn connect(stage: S, mut config: WorkerConfig, drain: Drain) -> Result<Worker<S>, Doubt> {
        if !config.rules.slow_retries {
            config.settings = config.settings.with_default_retries();
        }
        Ok(Worker {
            consumer: consumer(&config)?,
            log: LogReader::connect(&config.settings, &config.group)?,
            stage,
            config,
            drain,
            pending: Vec::new(),
            troubles: Troubles::default(),
        })
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.config.progress
    }

    fn run(&mut self) -> Ended {
        while !self.drain.is_started() {
            let cause = match self.recover() {
                Ok(Some(running)) => self.batches(running),
                Ok(None) => Cause::Rebalanced,
                Err(doubt) => Cause::Failed(doubt),
            };
            if let Some(ended) = self.judge(cause) {
                return ended;
            }
        }
        Ended::Drained
    }

    /// Rules batches until something asks for a recovery. The producer ends with it.
    fn batches(&mut self, mut running: Running) -> Cause {
        self.progress().enter(Phase::Running);
        // What the recovery left to write, before there is a message.
        let first = transact(&mut self.stage, (&self.config, &self.log), &mut running, None);
        if let Some(cause) = self.seen(first) {
            return cause;
        }
        let drain = self.drain.clone();
        let mut checked = Instant::now();
        // A batch that waits for more as long as the last commit took spends less than half of
        // its time on its own, however slow the brokers are.
        let mut linger = LINGER_AT_FIRST;
        loop {
            let stop = || drain.is_started();
            let held = match self.consumer.gather(self.config.limits, linger, stop) {
                Ok(held) => held,
                Err(doubt) => return Cause::Failed(doubt),
            };
            if drain.is_started() {
                return Cause::Drained;
            }
            if self.consumer.rebalances() != running.rebalances {
                return Cause::Rebalanced;
            }
            let clients = (&self.config, &self.log);
            let done = transact(&mut self.stage, clients, &mut running, Some(&held));
            drop(held);
            if let Ok(Some(took)) = &done {
                linger = took.0;
            }
            if let Some(cause) = self.seen(done) {
                return cause;
            }
            if !self.pending.is_empty() && checked.elapsed() >= PENDING_CHECK {
                checked = Instant::now();
                if self.can_unblock() {
                    return Cause::Unblocked;
                }
            }
        }
    }

    fn seen(&mut self, done: Result<Option<CommitTook>, Doubt>) -> Option<Cause> {
        match done {
            Ok(Some(took)) if took.is_doubtful() && self.config.rules.recycle_doubtful => {
                Some(Cause::Doubtful(took))
            }
            Ok(Some(_)) => {
                self.troubles.calm();
                None
            }
            Ok(None) => None,
            Err(doubt) => Some(Cause::Failed(doubt)),
        }
    }

    /// Counts, reports and waits as the cause asks for; `Some` when the worker has to end.
    fn judge(&mut self, cause: Cause) -> Option<Ended> {
        let name = self.config.name.clone();
        match cause {
            Cause::Drained => return Some(Ended::Drained),
            Cause::Rebalanced | Cause::Unblocked => return None,
            Cause::Doubtful(took) => {
                count(&self.progress().doubtful_commits);
                let commit_ms = u64::try_from(took.0.as_millis()).unwrap_or(u64::MAX);
                warn!(worker = %name, commit_ms, "commit of `{name}` is doubtful");
            }
            Cause::Failed(Doubt::Refused(why)) => return Some(Ended::Refused { why }),
            Cause::Failed(Doubt::Unreachable(why)) => {
                self.progress().enter(Phase::Waiting);
                let brokers = self.config.settings.bootstrap();
                warn!(worker = %name, brokers, reason = %why, "waiting for Kafka at {brokers}");
            }
            Cause::Failed(doubt) => {
                count(&self.progress().recoveries_after_error);
                warn!(worker = %name, reason = %doubt, "worker `{name}` must recover");
                let ended = self.troubles.add(&doubt, &name);
                if ended.is_some() && self.config.rules.recycle_doubtful {
                    return ended;
                }
            }
        }
        if self.consumer.is_broken() {
            match consumer(&self.config) {
                Ok(new) => close(std::mem::replace(&mut self.consumer, new)),
                Err(doubt) => return Some(Ended::Refused { why: doubt.to_string() }),
            }
        }
        let pause = self.troubles.pause();
        self.rest(pause);
        None
    }

    /// Waits, serving the group, but not beyond the start of a drain.
    pub(super) fn rest(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.drain.is_started() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let slice = left.min(Duration::from_millis(50));
            if self.consumer.serve(slice).is_err() {
                std::thread::sleep(slice);
            }
        }
    }
}

/// One batch in one transaction; `None` when there was nothing to commit.
fn transact<S: Stage>(
    stage: &mut S,
    (config, log): (&WorkerConfig, &LogReader),
    running: &mut Running,
    held: Option<&Held<'_>>,
) -> Result<Option<CommitTook>, Doubt> {
    let messages = held.map(Held::messages).unwrap_or_default();
    let mut outbox = Outbox::new(&mut running.producer);
    let is_wanted = stage.process(&Batch { messages: &messages }, log, &mut outbox);
    if !is_wanted && outbox.sent() > 0 {
        outbox.fail(Doubt::Refused("the stage sent records and did not want them".to_owned()));
    }
    let progress = &config.progress;
    let Some((txn, next)) = outbox.close()? else {
        progress.moved();
        return Ok(None);
    };
    let took = txn.finish(&next, &running.membership)?;
    stage.committed();
    count(&progress.batches);
    progress
        .batch_messages
        .fetch_add(u64::try_from(messages.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
    progress.committed(took.0);
    progress.moved();
    Ok(Some(took))
}

fn consumer(config: &WorkerConfig) -> Result<Consumer, Doubt> {
    let topics: Vec<&str> = config.topics.iter().map(String::as_str).collect();
    Consumer::connect(&config.settings, &config.group, &config.name, &topics)
}

/// Closing talks to the brokers, which may not answer; the process must end all the same.
fn close<T: Send + 'static>(clients: T) {
    let (done, closed) = mpsc::channel();
    std::thread::spawn(move || {
        drop(clients);
        done.send(()).ok();
    });
    if closed.recv_timeout(CLOSE_WAIT).is_err() {
        warn!("a Kafka client did not close in time and is left behind");
    }
}
