use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::case::Millis;

/// What a sink is doing, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkState {
    /// Waits for Kafka, for its topics, or for a place to begin.
    Waiting,
    Delivering,
    /// Something is tried again.
    Retrying,
    /// What it needs is refused; somebody has to mend it.
    Paused,
}

/// Written by a sink's thread, read by whoever asks.
#[derive(Debug)]
pub struct SinkStatus {
    pub name: String,
    now: Mutex<Now>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Now {
    pub state: SinkState,
    /// Of every state but [`SinkState::Delivering`].
    pub why: String,
    /// The broker's time of the oldest case that is not delivered.
    pub oldest: Option<Millis>,
}

impl SinkStatus {
    pub fn new(name: &str) -> Self {
        let why = "not connected to Kafka yet".to_owned();
        let now = Now { state: SinkState::Waiting, why, oldest: None };
        Self { name: name.to_owned(), now: Mutex::new(now) }
    }

    pub fn get(&self) -> Now {
        self.lock().clone()
    }

    /// True when it is another state than before.
    pub(super) fn put(&self, next: Now) -> bool {
        let mut now = self.lock();
        let is_other = now.state != next.state;
        *now = next;
        is_other
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
