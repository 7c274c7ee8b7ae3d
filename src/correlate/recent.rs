use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::case::Id;

/// LIMIT: the second line of defense for what comes from topics, behind intake, which leaves out
/// what it finds on the alerts topic; what a webhook's sender repeats has this one alone.
pub const RECENT_MAX: usize = 4096;

/// Alerts that were ruled, the newest last.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Recent {
    ids: VecDeque<Arc<str>>,
    known: HashSet<Arc<str>>,
}

impl Recent {
    pub fn of(ids: Vec<Id>) -> Self {
        let ids: VecDeque<Arc<str>> = ids.into_iter().map(Arc::from).collect();
        Self { known: ids.iter().cloned().collect(), ids }
    }

    pub fn written(&self) -> Vec<&str> {
        self.ids.iter().map(|id| &**id).collect()
    }

    pub fn has(&self, alert_id: &str) -> bool {
        self.known.contains(alert_id)
    }

    pub fn add(&mut self, alert_id: &str) {
        let alert_id: Arc<str> = alert_id.into();
        if self.known.insert(Arc::clone(&alert_id)) {
            self.ids.push_back(alert_id);
        }
        while self.ids.len() > RECENT_MAX {
            if let Some(oldest) = self.ids.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
}
