use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::case::FactRow;

/// What a source says to one key: at once, or when somebody else has answered.
pub enum Answer {
    Now(Arc<FactRow>),
    Later(Arc<Flight>),
    /// As `Later`, with an old row for those who cannot wait.
    Meanwhile(Arc<Flight>, Arc<FactRow>),
    /// One row made of the answers of several sources, in their order.
    Merged(Vec<Answer>, Arc<Merge>),
}

pub type Merge = dyn Fn(&[Arc<FactRow>]) -> Arc<FactRow> + Send + Sync;

impl Answer {
    /// The row. When it is not there by the deadline: an old one, else `unknown(timeout)`.
    pub fn by(&self, deadline: Instant) -> Arc<FactRow> {
        match self {
            Self::Now(row) => Arc::clone(row),
            Self::Later(flight) => flight.by(deadline, &flight.late),
            Self::Meanwhile(flight, old) => flight.by(deadline, old),
            Self::Merged(answers, merge) => {
                let rows: Vec<_> = answers.iter().map(|answer| answer.by(deadline)).collect();
                merge(&rows)
            }
        }
    }
}

/// A question that is on its way, shared by all who ask the same. It always lands.
pub struct Flight {
    row: Mutex<Option<Arc<FactRow>>>,
    landed: Condvar,
    /// For those who cannot wait: `unknown(timeout)`.
    late: Arc<FactRow>,
}

impl Flight {
    pub fn new(late: Arc<FactRow>) -> Self {
        Self { row: Mutex::new(None), landed: Condvar::new(), late }
    }

    pub fn land(&self, row: Arc<FactRow>) {
        *self.row.lock().unwrap_or_else(PoisonError::into_inner) = Some(row);
        self.landed.notify_all();
    }

    fn by(&self, deadline: Instant, late: &Arc<FactRow>) -> Arc<FactRow> {
        let row = self.row.lock().unwrap_or_else(PoisonError::into_inner);
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self.landed.wait_timeout_while(row, left, |row| row.is_none());
        let (row, _) = waited.unwrap_or_else(PoisonError::into_inner);
        Arc::clone(row.as_ref().unwrap_or(late))
    }
}

/// Counts what may have made an unknown fact known: an answer that landed, a table read again, a
/// key that was purged. Those who wait for facts look again when it has moved.
#[derive(Debug, Clone, Default)]
pub struct Changes(Arc<AtomicU64>);

impl Changes {
    pub fn tell(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}
