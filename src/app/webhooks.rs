use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::callbacks::Callbacks;
use super::cluster::Place;
use super::run::{Options, Role};
use super::setup::{Failure, Loaded};
use crate::config::Proof;
use crate::ingest::{Publisher, Settings};
use crate::normalize::FingerprintKeys;
use crate::observe::{Metrics, Traces};
use crate::pipeline::{Drain, Topics, Webhook};
use crate::receive::{Door, Doors, Limits, Sender, Sns, serve};

/// Between two looks at whether a drain has started.
const DRAIN_CHECK: Duration = Duration::from_millis(50);

/// The HTTP side of intake while it runs. Before the brokers were found it answers 503.
pub struct Webhooks {
    address: SocketAddr,
    webhook: Webhook,
    wait: Duration,
    settings: Settings,
    topics: Topics,
    server: JoinHandle<()>,
}

impl Webhooks {
    /// Listens, if webhooks are configured and this process has the role intake.
    pub fn listen(
        (loaded, keys): (&Loaded, &Arc<FingerprintKeys>),
        place: &Place,
        options: &Options,
        runtime: &Runtime,
        (drain, metrics, traces): (&Drain, &Metrics, &Traces),
    ) -> Result<Option<Self>, Failure> {
        let Some(config) = &loaded.service()?.webhooks else { return Ok(None) };
        if !options.roles.contains(&Role::Intake) {
            return Ok(None);
        }
        let mut secrets = loaded.secrets()?.webhooks;
        let mut doors = BTreeMap::new();
        for one in &config.pipelines {
            let door = match &one.proof {
                Proof::Secret { verify, .. } => {
                    let secrets = secrets.remove(&one.pipeline).unwrap_or_default();
                    Door::Sender(Sender::new(verify.clone(), secrets, config.window_ms))
                }
                Proof::AwsSns(topics) => {
                    let sns = Sns::new(topics.clone(), config.window_ms);
                    Door::Sns(sns.map_err(|error| Failure::Ended(error.to_string()))?)
                }
            };
            doors.insert(one.pipeline.clone(), door);
        }
        let wait = Duration::from_millis(u64::try_from(config.wait_ms).unwrap_or_default());
        let pipelines = loaded.in_force.pipelines.clone();
        let watched = (metrics.clone(), traces.clone());
        let limits = Limits { max_bytes: config.max_bytes, in_flight: config.in_flight };
        let clock = Arc::clone(&options.clock);
        let callbacks = Callbacks::of(loaded);
        for missing in &callbacks.missing {
            warn!("{}: {}", missing.at, missing.message);
        }
        let keys = (Arc::clone(keys), callbacks.key);
        let webhook = Webhook::new(pipelines, keys, watched, wait);
        let doors = (doors, callbacks.offered);
        let doors = Doors::new(doors, limits, clock, metrics.clone(), webhook.clone());
        let address = config.listen;
        let listener = runtime.block_on(crate::observe::listen(address)).map_err(Failure::Ended)?;
        let stop = started(drain.clone());
        let server = runtime.spawn(async move {
            if let Err(problem) = serve(listener, Arc::new(doors), stop).await {
                error!(reason = %problem, "webhooks are not served any more");
            }
        });
        let (settings, topics) = (place.settings.clone(), place.topics.clone());
        Ok(Some(Self { address, webhook, wait, settings, topics, server }))
    }

    /// Takes deliveries from now on: the topics are there and are ours.
    pub fn open(&self) -> Result<(), Failure> {
        let publisher = Publisher::connect(&self.settings, "tipstaff-webhooks", self.wait)?;
        self.webhook.open(publisher, self.topics.clone());
        info!(address = %self.address, "webhooks are taken at http://{}", self.address);
        Ok(())
    }

    /// For readiness: whether deliveries are taken.
    pub fn is_ready(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let (webhook, server) = (self.webhook.clone(), self.server.abort_handle());
        move || webhook.is_open() && !server.is_finished()
    }

    /// Waits until what is in flight has its answer, after the drain has started.
    pub fn stop(self, runtime: &Runtime, patience: Duration) {
        let ended = runtime.block_on(async { tokio::time::timeout(patience, self.server).await });
        if ended.is_err() {
            warn!("deliveries in flight are cut off; none of them was acknowledged");
        }
    }
}

async fn started(drain: Drain) {
    while !drain.is_started() {
        tokio::time::sleep(DRAIN_CHECK).await;
    }
}
