//! The topics of cases are the outbox of every sink: each has a consumer group of its own, and its
//! place there moves only behind what was delivered or parked.

mod lane;
mod parked;
mod session;
mod status;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tracing::{error, info, warn};

pub use parked::Parked;
pub use status::{Now, SinkState, SinkStatus};

use super::names::Topics;
use super::triage::Clock;
use super::worker::Drain;
use crate::deliver::Sink;
use crate::ingest::{Doubt, Publisher, Settings};
use crate::observe::SinkMetrics;
use session::{Obstacle, Session};

/// One sink, with all that its thread needs.
pub struct Delivery {
    pub sink: Arc<Sink>,
    pub settings: Settings,
    pub topics: Topics,
    /// Of the cluster: cases of another one's chains are void here.
    pub cluster: String,
    /// Consumer group, and the name in it.
    pub member: (String, String),
    pub queues: Vec<String>,
    pub runtime: Handle,
    pub publisher: Arc<Publisher>,
    pub metrics: SinkMetrics,
    pub status: Arc<SinkStatus>,
    pub clock: Clock,
}

/// Before Kafka is tried again.
const AGAIN: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(50);

impl Delivery {
    /// Until the drain, on the calling thread. Whatever is wrong is waited for: a sink never ends
    /// anything but itself.
    pub fn run(self, drain: &Drain) {
        self.metrics.begin(&self.sink.config.name);
        let mut number = 0;
        while !drain.is_started() {
            let why = match Session::begin(&self, &mut number) {
                Ok(mut session) => match session.run(drain) {
                    Ok(()) => return,
                    Err(doubt) => kafka(&doubt),
                },
                Err(Obstacle::Kafka(doubt)) => kafka(&doubt),
                Err(Obstacle::Setup(why)) => why,
            };
            // What was there is still there, and grows older.
            let oldest = self.status.get().oldest;
            self.told(SinkState::Waiting, why, oldest.map(|oldest| oldest.0));
            let until = Instant::now() + crate::service::jittered(AGAIN, 50);
            while !drain.is_started() && Instant::now() < until {
                std::thread::sleep(STEP);
            }
        }
    }

    /// Where the cases of a queue are.
    fn case_topics(&self) -> Vec<String> {
        let name =
            |queue: &String| self.topics.output(&format!("{}{queue}", crate::audit::CASES_PREFIX));
        self.queues.iter().map(name).collect()
    }

    fn told(&self, state: SinkState, why: String, oldest_ms: Option<i64>) {
        let sink = &*self.sink.config.name;
        let oldest = oldest_ms.filter(|ms| *ms > 0).map(crate::case::Millis);
        let age_ms = oldest.map_or(0, |oldest| (self.clock)().since(oldest).max(0));
        self.metrics.state(sink, age_ms / 1000, state == SinkState::Paused);
        if !self.status.put(Now { state, why: why.clone(), oldest }) {
            return;
        }
        match state {
            SinkState::Delivering => info!(sink, "sink `{sink}` delivers"),
            SinkState::Waiting => warn!(sink, reason = %why, "sink `{sink}` waits: {why}"),
            SinkState::Retrying => warn!(sink, reason = %why, "sink `{sink}` tries again: {why}"),
            SinkState::Paused => error!(
                sink,
                reason = %why,
                "sink `{sink}` is paused, nothing of it is lost: {why}"
            ),
        }
    }
}

fn kafka(doubt: &Doubt) -> String {
    format!("Kafka: {doubt}")
}
