use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Upper bounds of the buckets of [`Progress::commit_buckets`]; the last bucket has none.
pub const COMMIT_BOUNDS_MS: [u64; 10] = [5, 10, 25, 50, 100, 250, 600, 1000, 2500, 5000];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Waiting,
    Recovering,
    Running,
    Draining,
}

/// What one worker has done so far, for metrics and health. Every field only says what was: nothing
/// in the worker reads it back.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    pub recoveries: AtomicU64,
    /// Recoveries that an error caused; too many of them end the worker.
    pub recoveries_after_error: AtomicU64,
    /// Recoveries that found a transaction still open on a partition they depend on.
    pub open_transactions: AtomicU64,
    pub doubtful_commits: AtomicU64,
    pub commits: AtomicU64,
    pub commit_time_us: AtomicU64,
    pub commit_buckets: [AtomicU64; COMMIT_BOUNDS_MS.len() + 1],
    pub batches: AtomicU64,
    pub batch_messages: AtomicU64,
    pub assigned_partitions: AtomicU64,
    pub blocked_partitions: AtomicU64,
    /// Milliseconds since 1970 of the last commit or idle tick.
    pub last_progress_ms: AtomicU64,
}

impl Progress {
    pub fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            1 => Phase::Recovering,
            2 => Phase::Running,
            3 => Phase::Draining,
            _ => Phase::Waiting,
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        let code = match phase {
            Phase::Waiting => 0,
            Phase::Recovering => 1,
            Phase::Running => 2,
            Phase::Draining => 3,
        };
        self.phase.store(code, Relaxed);
    }

    pub(super) fn committed(&self, took: Duration) {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let within = COMMIT_BOUNDS_MS.iter().position(|bound| ms <= *bound);
        if let Some(bucket) = self.commit_buckets.get(within.unwrap_or(COMMIT_BOUNDS_MS.len())) {
            bucket.fetch_add(1, Relaxed);
        }
        self.commits.fetch_add(1, Relaxed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.commit_time_us.fetch_add(us, Relaxed);
    }

    pub(super) fn moved(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_progress_ms.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }
}

/// One more, for counters that several places raise.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

pub(super) fn gauge(value: &AtomicU64, to: usize) {
    value.store(u64::try_from(to).unwrap_or(u64::MAX), Relaxed);
}
