use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::case::{Id, id_of};

/// Deliveries that were acknowledged, the newest of them. LIMIT: a repeat that comes later, or to
/// another process, is produced again and triage finds that it was ruled.
#[derive(Default)]
pub struct Memory(Mutex<Known>);

#[derive(Default)]
struct Known {
    set: HashSet<Id>,
    order: VecDeque<Id>,
}

/// An id of 32 bytes twice and what stands around it: about 2 MB.
const KNOWN_MAX: usize = 16_384;

impl Memory {
    pub fn has(&self, pipeline: &str, delivery: &str) -> bool {
        self.known().set.contains(&key(pipeline, delivery))
    }

    pub fn add(&self, pipeline: &str, delivery: &str) {
        let key = key(pipeline, delivery);
        let mut known = self.known();
        if !known.set.insert(key.clone()) {
            return;
        }
        known.order.push_back(key);
        if known.order.len() > KNOWN_MAX
            && let Some(oldest) = known.order.pop_front()
        {
            known.set.remove(&oldest);
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(pipeline: &str, delivery: &str) -> Id {
    id_of("delivery", &[pipeline.as_bytes(), delivery.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_known_each_for_its_pipeline() {
        let memory = Memory::default();
        for n in 0..=KNOWN_MAX {
            memory.add("p", &n.to_string());
            memory.add("p", &n.to_string());
        }
        assert!(!memory.has("p", "0") && memory.has("p", "1"));
        assert!(memory.has("p", &KNOWN_MAX.to_string()));
        assert!(!memory.has("q", "1"));
        let known = memory.known();
        assert_eq!((known.set.len(), known.order.len()), (KNOWN_MAX, KNOWN_MAX));
    }
}
