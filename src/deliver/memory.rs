use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A bounded map that forgets what it has had the longest.
#[derive(Default)]
pub(super) struct Memory(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    found: HashMap<String, String>,
    order: VecDeque<String>,
}

// LIMIT: some 2 MB of ids for each sink.
const CASES_MAX: usize = 10_000;

impl Memory {
    pub fn get(&self, case: &str) -> Option<String> {
        self.lock().found.get(case).cloned()
    }

    pub fn put(&self, case: &str, found: String) {
        let mut inner = self.lock();
        if inner.found.insert(case.to_owned(), found).is_none() {
            inner.order.push_back(case.to_owned());
        }
        while inner.order.len() > CASES_MAX {
            let Some(oldest) = inner.order.pop_front() else { break };
            inner.found.remove(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
