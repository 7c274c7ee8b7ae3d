use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::progress::{Phase, count, gauge};
use super::stage::{Stage, Start};
use super::worker::{Ended, Running, Worker};
use crate::ingest::{Doubt, Producer};

const ERRORS_MAX: usize = 10;
const ERRORS_WITHIN: Duration = Duration::from_secs(600);
const FENCES_MAX: usize = 2;
const FENCES_WITHIN: Duration = Duration::from_secs(60);
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A transaction of our own that a crash left open is ended by `init` within about a second. Those
/// of others take as long as their timeout: they are waited for while the rest runs.
const SETTLE_TOGETHER: Duration = Duration::from_millis(1500);
const HANGING_AFTER: Duration = Duration::from_secs(30);
const BLOCKED_RETRY: Duration = Duration::from_secs(60);
const ASSIGNMENT_CHECK: Duration = Duration::from_secs(5);

/// The rules that keep a torn transaction from doing harm. They exist as switches only so that a
/// test can show what happens without them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryRules {
    /// A commit that took long is followed by a new producer, which fences its late twin.
    pub recycle_doubtful: bool,
    /// Recovery waits for the log to settle and believes it, not the committed offset.
    pub read_log: bool,
    /// Retries that the client hides are slow enough to show in the commit time.
    pub slow_retries: bool,
}

impl RecoveryRules {
    pub const ALL: RecoveryRules =
        RecoveryRules { recycle_doubtful: true, read_log: true, slow_retries: true };
    pub const NONE: RecoveryRules =
        RecoveryRules { recycle_doubtful: false, read_log: false, slow_retries: false };
}

impl Default for RecoveryRules {
    fn default() -> RecoveryRules {
        RecoveryRules::ALL
    }
}

/// An input partition that does not run, and what it waits for.
pub(super) struct Pending {
    topic: String,
    partition: i32,
    since: Instant,
    is_reported: bool,
    until: Until,
}

impl Pending {
    fn waits_for(&self) -> String {
        match &self.until {
            Until::Retried(_) => String::new(),
            Until::Settled(ends) => {
                let places: Vec<String> = ends
                    .iter()
                    .map(|(topic, partition, _)| format!("{topic}/{partition}"))
                    .collect();
                places.join(", ")
            }
        }
    }
}

enum Until {
    /// The log before these offsets is settled.
    Settled(Vec<(String, i32, i64)>),
    /// Nothing that can be seen from here: try again now and then.
    Retried(Instant),
}

/// Errors of the recent past and how long to wait after the next.
#[derive(Default)]
pub(super) struct Troubles {
    errors: Vec<Instant>,
    fences: Vec<Instant>,
    streak: u32,
}

impl Troubles {
    pub(super) fn calm(&mut self) {
        self.streak = 0;
    }

    pub(super) fn add(&mut self, doubt: &Doubt, name: &str) -> Option<Ended> {
        let now = Instant::now();
        if let Doubt::Fenced(why) = doubt {
            self.fences.retain(|at| now.duration_since(*at) < FENCES_WITHIN);
            self.fences.push(now);
            if self.fences.len() >= FENCES_MAX {
                return Some(Ended::Duplicate { name: name.to_owned(), why: why.clone() });
            }
        }
        self.errors.retain(|at| now.duration_since(*at) < ERRORS_WITHIN);
        self.errors.push(now);
        (self.errors.len() >= ERRORS_MAX)
            .then(|| Ended::TooManyErrors { count: self.errors.len(), why: doubt.to_string() })
    }

    /// Doubles with every trouble since the last good commit; half of it is chance, so that workers
    /// do not come back to a slow broker all at once.
    pub(super) fn pause(&mut self) -> Duration {
        let longest = PAUSE_FIRST.saturating_mul(1 << self.streak.min(10)).min(PAUSE_MAX);
        self.streak = self.streak.saturating_add(1);
        let chance = RandomState::new().hash_one(Instant::now()) % 1000;
        let chance = u32::try_from(chance).unwrap_or(0);
        longest / 2 + longest / 2 * chance / 1000
    }
}

impl<S: Stage> Worker<S> {
    /// The only way to a running worker: fence, settle, restore, start. `None` when there is
    /// nothing to run yet or the assignment changed meanwhile.
    pub(super) fn recover(&mut self) -> Result<Option<Running>, Doubt> {
        self.consumer.hold()?;
        gauge(&self.progress().assigned_partitions, 0);
        let Some(assigned) = self.wait_assigned()? else { return Ok(None) };
        let rebalances = self.consumer.rebalances();
        let began = Instant::now();
        self.progress().enter(Phase::Recovering);
        count(&self.progress().recoveries);

        // Two deployments on one cluster may call their instances the same.
        let transactional_id = format!("{}.{}", self.config.group, self.config.name);
        let mut producer = Producer::connect(&self.config.settings, &transactional_id)?;
        let drain = self.drain.clone();
        producer.init(|| drain.is_started())?;
        let ready =
            if self.config.rules.read_log { self.settle(&assigned)? } else { assigned.to_vec() };
        if self.consumer.rebalances() != rebalances || self.drain.is_started() {
            return Ok(None);
        }
        let membership = self.consumer.membership()?;
        let hints = ready
            .iter()
            .map(|(topic, partition)| self.consumer.committed(topic, *partition))
            .collect::<Result<Vec<_>, _>>()?;
        let starts = self.stage.recover(&hints, &self.log)?;
        let at = self.allowed(starts)?;
        self.consumer.start(&at)?;

        gauge(&self.progress().assigned_partitions, assigned.len());
        gauge(&self.progress().blocked_partitions, self.pending.len());
        let name = &self.config.name;
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        info!(
            worker = %name, running = at.len(), pending = self.pending.len(), took_ms,
            "recovered `{name}`"
        );
        Ok(Some(Running { producer, membership, rebalances }))
    }

    fn wait_assigned(&mut self) -> Result<Option<Vec<(String, i32)>>, Doubt> {
        let mut checked: Option<Instant> = None;
        while !self.drain.is_started() {
            if let Some(assigned) = self.consumer.assigned()
                && !assigned.is_empty()
            {
                return Ok(Some(assigned));
            }
            if checked.is_none_or(|at| at.elapsed() >= ASSIGNMENT_CHECK) {
                let mut is_there = false;
                for topic in &self.config.topics {
                    is_there |= self.log.partitions(topic)?.is_some();
                }
                if !is_there {
                    let names = self.config.topics.join("`, `");
                    return Err(Doubt::Unreachable(format!("there is no topic `{names}`")));
                }
                checked = Some(Instant::now());
            }
            // A member without partitions is idle, not stuck.
            self.progress().moved();
            self.consumer.serve(Duration::from_millis(20))?;
        }
        Ok(None)
    }

    /// Waits until what the assigned partitions depend on is settled up to an end captured once,
    /// and puts those for which it takes longer aside, into `pending`.
    fn settle(&mut self, assigned: &[(String, i32)]) -> Result<Vec<(String, i32)>, Doubt> {
        let mut open = BTreeMap::new();
        let needs: Vec<Vec<(String, i32)>> =
            assigned.iter().map(|(t, p)| self.stage.depends_on(t, *p)).collect();
        for need in needs.iter().flatten() {
            if !open.contains_key(need) {
                open.insert(need.clone(), self.log.high(&need.0, need.1)?);
            }
        }
        let began = Instant::now();
        let rebalances = self.consumer.rebalances();
        self.close_settled(&mut open)?;
        let open_transaction = !open.is_empty();
        if open_transaction {
            count(&self.progress().open_transactions);
        }
        let name = &self.config.name;
        info!(worker = %name, partitions = assigned.len(), open_transaction, "recovering `{name}`");

        while !open.is_empty() && self.consumer.rebalances() == rebalances {
            let some_ready = needs.iter().any(|need| !need.iter().any(|n| open.contains_key(n)));
            let patience = if some_ready { SETTLE_TOGETHER } else { HANGING_AFTER };
            if began.elapsed() >= patience || self.drain.is_started() {
                break;
            }
            self.rest(Duration::from_millis(20));
            self.close_settled(&mut open)?;
        }
        Ok(self.put_aside(assigned, &needs, &open))
    }

    fn close_settled(&self, open: &mut BTreeMap<(String, i32), i64>) -> Result<(), Doubt> {
        let mut settled = Vec::new();
        for ((topic, partition), high) in open.iter() {
            if self.log.stable(topic, *partition)? >= *high {
                settled.push((topic.clone(), *partition));
            }
        }
        for key in settled {
            open.remove(&key);
        }
        Ok(())
    }

    fn put_aside(
        &mut self,
        assigned: &[(String, i32)],
        needs: &[Vec<(String, i32)>],
        open: &BTreeMap<(String, i32), i64>,
    ) -> Vec<(String, i32)> {
        let before = std::mem::take(&mut self.pending);
        let mut ready = Vec::new();
        for ((topic, partition), need) in assigned.iter().zip(needs) {
            let missing: Vec<(String, i32, i64)> = need
                .iter()
                .filter_map(|key| open.get(key).map(|high| (key.0.clone(), key.1, *high)))
                .collect();
            if missing.is_empty() {
                ready.push((topic.clone(), *partition));
                continue;
            }
            let known = before.iter().find(|old| {
                old.topic == *topic
                    && old.partition == *partition
                    && matches!(old.until, Until::Settled(_))
            });
            self.pending.push(Pending {
                topic: topic.clone(),
                partition: *partition,
                since: known.map_or_else(Instant::now, |old| old.since),
                is_reported: known.is_some_and(|old| old.is_reported),
                until: Until::Settled(missing),
            });
        }
        ready
    }

    /// The starts that the input can serve; the others are blocked, saying why.
    fn allowed(&mut self, starts: Vec<Start>) -> Result<Vec<(String, i32, i64)>, Doubt> {
        let mut at = Vec::with_capacity(starts.len());
        for start in starts {
            let (topic, partition, why) = match start {
                Start::Blocked { topic, partition, why } => (topic, partition, why),
                Start::At { topic, partition, offset } => {
                    let low = self.log.low(&topic, partition)?;
                    let high = self.log.high(&topic, partition)?;
                    if (low..=high).contains(&offset) {
                        at.push((topic, partition, offset));
                        continue;
                    }
                    let why = if offset < low {
                        format!("offsets {offset} to {low} were removed before they were read")
                    } else {
                        format!("the log ends at {high}, before the next offset {offset}")
                    };
                    (topic, partition, why)
                }
            };
            warn!(
                worker = %self.config.name, topic = %topic, partition, reason = %why,
                "partition {topic}/{partition} is blocked: {why}"
            );
            self.pending.push(Pending {
                topic,
                partition,
                since: Instant::now(),
                is_reported: true,
                until: Until::Retried(Instant::now() + BLOCKED_RETRY),
            });
        }
        Ok(at)
    }

    /// Whether a partition that was put aside may be recovered now. An unanswered question is a no.
    pub(super) fn can_unblock(&mut self) -> bool {
        let Worker { pending, log, config, stage, .. } = self;
        let has_news = stage.has_news();
        let mut is_ready = false;
        for one in pending.iter_mut() {
            is_ready |= match &one.until {
                Until::Retried(at) => has_news || Instant::now() >= *at,
                Until::Settled(ends) => ends.iter().all(|(topic, partition, high)| {
                    log.stable(topic, *partition).is_ok_and(|stable| stable >= *high)
                }),
            };
            if !one.is_reported && one.since.elapsed() >= HANGING_AFTER {
                one.is_reported = true;
                warn!(
                    worker = %config.name, topic = %one.topic, partition = one.partition,
                    reason = "hanging transaction",
                    "partition {}/{} is blocked: a transaction on {} has been open for 30 s; \
                     `kafka-transactions.sh find-hanging` shows whose it is",
                    one.topic, one.partition, one.waits_for()
                );
            }
        }
        config
            .progress
            .blocked_partitions
            .store(u64::try_from(pending.len()).unwrap_or(u64::MAX), Relaxed);
        is_ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsure() -> Doubt {
        Doubt::Unsure("x".to_owned())
    }

    #[test]
    fn ten_errors_in_ten_minutes_end_a_worker() {
        let mut troubles = Troubles::default();
        for _ in 1..ERRORS_MAX {
            assert_eq!(troubles.add(&unsure(), "w"), None);
        }
        assert!(matches!(troubles.add(&unsure(), "w"), Some(Ended::TooManyErrors { .. })));
    }

    #[test]
    fn being_fenced_twice_means_a_double() {
        let mut troubles = Troubles::default();
        let fenced = Doubt::Fenced("x".to_owned());
        assert_eq!(troubles.add(&fenced, "w"), None);
        assert_eq!(troubles.add(&unsure(), "w"), None);
        assert!(matches!(troubles.add(&fenced, "w"), Some(Ended::Duplicate { .. })));
    }

    #[test]
    fn pauses_grow_up_to_a_limit_and_start_again_after_a_good_commit() {
        let mut troubles = Troubles::default();
        for _ in 0..20 {
            assert!(troubles.pause() <= PAUSE_MAX);
        }
        assert!(troubles.pause() >= PAUSE_MAX / 2);
        troubles.calm();
        assert!(troubles.pause() <= PAUSE_FIRST);
    }
}
