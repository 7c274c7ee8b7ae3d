//! What a process says of itself while it runs.

use std::sync::{Arc, OnceLock};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tracing::error;

use super::facts::Purger;
use super::policy_state::PolicyState;
use super::run::system_clock;
use super::setup::Loaded;
use super::sinks;
use crate::case::Millis;
use crate::enrich::Enrichers;
use crate::observe::{Health, Metrics};
use crate::pipeline::{Phase, Progress, SinkStatus};

/// A worker that shows no progress for this long is stuck.
const STUCK_AFTER_MS: u64 = 120_000;

pub(super) struct Workers(pub Vec<(String, Arc<Progress>)>);

impl Workers {
    fn live(&self) -> Result<(), String> {
        use std::sync::atomic::Ordering::Relaxed;
        let now = u64::try_from(system_clock()().0).unwrap_or_default();
        for (name, progress) in &self.0 {
            let last = progress.last_progress_ms.load(Relaxed);
            if progress.phase() == Phase::Running
                && last > 0
                && now.saturating_sub(last) > STUCK_AFTER_MS
            {
                return Err(format!(
                    "worker {name} shows no progress since {}",
                    Millis(i64::try_from(last).unwrap_or(0))
                ));
            }
        }
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        use std::sync::atomic::Ordering::Relaxed;
        for (name, progress) in &self.0 {
            if progress.phase() != Phase::Running {
                return Err(format!("worker {name} is {:?}", progress.phase()).to_lowercase());
            }
            let blocked = progress.blocked_partitions.load(Relaxed);
            if blocked > 0 {
                return Err(format!(
                    "worker {name} has {blocked} blocked partition(s); its log says why"
                ));
            }
        }
        Ok(())
    }

    fn refresh(&self, metrics: &Metrics) {
        use std::sync::atomic::Ordering::Relaxed;
        for (name, progress) in &self.0 {
            for (what, value) in [
                ("recoveries", &progress.recoveries),
                ("recoveries_after_error", &progress.recoveries_after_error),
                ("open_transactions_met", &progress.open_transactions),
                ("doubtful_commits", &progress.doubtful_commits),
                ("commits", &progress.commits),
                ("commit_time_us", &progress.commit_time_us),
                ("batches", &progress.batches),
                ("batch_messages", &progress.batch_messages),
                ("assigned_partitions", &progress.assigned_partitions),
                ("blocked_partitions", &progress.blocked_partitions),
                ("last_progress_ms", &progress.last_progress_ms),
            ] {
                let value = i64::try_from(value.load(Relaxed)).unwrap_or(i64::MAX);
                metrics.workers.with_label_values(&[name.as_str(), what]).set(value);
            }
        }
    }
}

/// What the process answers on its own port, from before there are workers until its end.
pub(super) struct Front {
    pub brokers: String,
    pub workers: OnceLock<Workers>,
    pub sinks: OnceLock<Vec<Arc<SinkStatus>>>,
    pub policy: Arc<PolicyState>,
    /// Whether webhooks are taken; always, where there are none.
    pub takes_webhooks: Box<dyn Fn() -> bool + Send + Sync>,
    pub enrichers: Arc<Enrichers>,
}

impl Health for Front {
    fn live(&self) -> Result<(), String> {
        self.workers.get().map_or(Ok(()), |workers| workers.live())
    }

    fn ready(&self) -> Result<String, String> {
        match self.workers.get() {
            Some(_) if !(self.takes_webhooks)() => Err("webhooks are not taken".to_owned()),
            Some(workers) => workers.ready(),
            None => Err(format!("starting; waiting for Kafka at {}", self.brokers)),
        }?;
        let sinks = self.sinks.get().and_then(|status| sinks::note(status));
        let notes = ["ok".to_owned()].into_iter().chain(self.policy.note()).chain(sinks);
        Ok(notes.collect::<Vec<_>>().join("; "))
    }

    fn policy(&self) -> String {
        self.policy.json()
    }

    fn sinks(&self) -> String {
        sinks::json(self.sinks.get().map_or(&[], Vec::as_slice))
    }

    fn refresh(&self, metrics: &Metrics) {
        if let Some(remotes) = self.enrichers.remotes() {
            remotes.observe();
        }
        if let Some(workers) = self.workers.get() {
            workers.refresh(metrics);
        }
    }
}

/// Serves health, metrics and the policy on a task of the runtime.
pub(super) fn serve(
    runtime: &Runtime,
    listener: TcpListener,
    loaded: &Loaded,
    (metrics, front): (&Metrics, &Arc<Front>),
) {
    let purger = Purger {
        enrichers: Arc::clone(&loaded.enrichers),
        configs: loaded.checked.enrichers.clone(),
    };
    let (metrics, health) = (metrics.clone(), Arc::clone(front));
    let server = crate::observe::serve(listener, metrics, health, Arc::new(purger));
    runtime.spawn(async move {
        if let Err(problem) = server.await {
            error!(reason = %problem, "metrics and health are not served any more");
        }
    });
}
