use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::lane::{Lane, Letter, Oldest, Waits, doubled};
use super::{Delivery, Parked, SinkState};
use crate::deliver::{Case, Outcome};
use crate::ingest::{BatchLimits, Consumer, Doubt, LogReader, Message, Starts};
use crate::pipeline::worker::Drain;
use crate::service::jittered;

/// One membership in the group, until Kafka wants another.
pub(super) struct Session<'d> {
    delivery: &'d Delivery,
    consumer: Consumer,
    log: LogReader,
    lanes: BTreeMap<(String, i32), Lane>,
    rebalances: u64,
    /// Of lanes, over all sessions.
    number: &'d mut u64,
    /// False while the group is about to say who has what.
    is_member: bool,
    /// Partitions that have no place to begin at.
    without_start: Vec<String>,
    pause: Option<Pause>,
    why: String,
    landed: Landed,
    committed: Instant,
}

/// What comes back from the tasks.
struct Landed {
    count: Arc<AtomicUsize>,
    sender: Sender<Done>,
    receiver: Receiver<Done>,
}

struct Done {
    place: (String, i32),
    number: u64,
    offset: i64,
    outcome: Outcome,
}

/// Why a session does not begin.
pub(super) enum Obstacle {
    Kafka(Doubt),
    /// Something that `topics create` makes.
    Setup(String),
}

impl From<Doubt> for Obstacle {
    fn from(doubt: Doubt) -> Self {
        Self::Kafka(doubt)
    }
}

/// Nothing is tried until then, and one case is the first.
struct Pause {
    until: Instant,
    times: u32,
    is_probed: bool,
}

const TICK: BatchLimits =
    BatchLimits { time: Duration::from_millis(100), messages: 64, bytes: 4 << 20 };
const COMMIT_EVERY: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// For what is on its way when the drain starts; a supervisor kills after 10 s.
const DRAIN: Duration = Duration::from_secs(6);
/// For partitions that somebody has given a start meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

impl<'d> Session<'d> {
    /// Joins the group, once there is something to begin with: until then `topics create` can say
    /// where.
    pub fn begin(delivery: &'d Delivery, number: &'d mut u64) -> Result<Self, Obstacle> {
        let (group, member) = &delivery.member;
        let topics = delivery.case_topics();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let log = LogReader::connect(&delivery.settings, group)?;
        if !has_begun(&topics, &log, &Starts::connect(&delivery.settings, group)?)? {
            let why = "it has no place to begin at: run `tipstaff topics create`";
            return Err(Obstacle::Setup(why.to_owned()));
        }
        let (sender, receiver) = channel();
        Ok(Self {
            delivery,
            consumer: Consumer::connect(&delivery.settings, group, member, &topics)?,
            log,
            lanes: BTreeMap::new(),
            rebalances: 0,
            number,
            is_member: false,
            without_start: Vec::new(),
            pause: None,
            why: "it joins its group".to_owned(),
            landed: Landed { count: Arc::new(AtomicUsize::new(0)), sender, receiver },
            committed: Instant::now(),
        })
    }

    /// Until the drain.
    ///
    /// Errors: only another membership helps.
    pub fn run(&mut self, drain: &Drain) -> Result<(), Doubt> {
        let mut looked = Instant::now();
        while !drain.is_started() {
            if self.consumer.is_broken() {
                return Err(Doubt::Unsure("the group wants another member".to_owned()));
            }
            let lacks = !self.without_start.is_empty() && looked.elapsed() >= LOOK_AGAIN;
            if self.consumer.rebalances() != self.rebalances || lacks {
                looked = Instant::now();
                self.rebalances = self.consumer.rebalances();
                self.assign()?;
            }
            self.read(drain)?;
            self.land();
            if self.is_member {
                self.step(Instant::now());
                self.hold()?;
                self.commit(COMMIT_EVERY)?;
            }
            self.tell();
        }
        let until = Instant::now() + DRAIN;
        while self.lanes.values().any(Lane::is_in_flight) && Instant::now() < until {
            self.consumer.serve(Duration::from_millis(20))?;
            self.land();
        }
        if self.is_member { self.commit(Duration::ZERO) } else { Ok(()) }
    }

    /// Lanes of partitions that stay go on, unless somebody else worked on them meanwhile.
    fn assign(&mut self) -> Result<(), Doubt> {
        let Some(assigned) = self.consumer.assigned() else {
            // What is on its way goes on: the partition may come back.
            self.is_member = false;
            return Ok(());
        };
        self.is_member = true;
        let mut before = std::mem::take(&mut self.lanes);
        self.without_start.clear();
        let mut from = Vec::new();
        for (topic, partition) in assigned {
            let hint = self.consumer.committed(&topic, partition)?;
            let Some(committed) = hint.committed else {
                self.without_start.push(format!("{topic}/{partition}"));
                continue;
            };
            let place = (topic.clone(), partition);
            let kept = before.remove(&place).filter(|lane| lane.committed == committed);
            let lane = match kept {
                Some(lane) => lane,
                None => {
                    *self.number += 1;
                    let at = self.within(&topic, partition, committed)?;
                    Lane::new(&topic, partition, at, *self.number)
                }
            };
            from.push((topic, partition, lane.read_to));
            self.lanes.insert(place, lane);
        }
        self.lanes.values_mut().for_each(|lane| lane.is_held = false);
        self.consumer.start(&from)
    }

    /// What is gone, or was made again, is said, and the rest is read.
    fn within(&self, topic: &str, partition: i32, committed: i64) -> Result<i64, Doubt> {
        let (low, high) = (self.log.low(topic, partition)?, self.log.high(topic, partition)?);
        if (low..=high).contains(&committed) {
            return Ok(committed);
        }
        let sink = &*self.delivery.sink.config.name;
        warn!(
            sink,
            topic,
            partition,
            "sink `{sink}` was at offset {committed} of {topic}/{partition}, which holds {low} to {high}: \
             what is not there can't be delivered; it goes on at {low}"
        );
        Ok(low)
    }

    fn read(&mut self, drain: &Drain) -> Result<(), Doubt> {
        let landed = Arc::clone(&self.landed.count);
        let stop = || drain.is_started() || landed.load(Ordering::Acquire) > 0;
        let held = self.consumer.gather(TICK, TICK.time, stop)?;
        for message in held.messages() {
            let Some(lane) = self.lanes.get_mut(&(message.topic.to_owned(), message.partition))
            else {
                continue;
            };
            if message.offset < lane.read_to {
                continue;
            }
            lane.push(Letter {
                offset: message.offset,
                timestamp_ms: message.timestamp_ms,
                bytes: message.value.map_or(0, <[u8]>::len),
                case: case(self.delivery, &message).map(Arc::new),
                state: Waits::default(),
            });
        }
        Ok(())
    }

    fn land(&mut self) {
        while let Ok(done) = self.landed.receiver.try_recv() {
            self.landed.count.fetch_sub(1, Ordering::AcqRel);
            let lane = self.lanes.get_mut(&done.place).filter(|lane| lane.number == done.number);
            let Some(lane) = lane else {
                // Perhaps the one that was to say whether the pause is over.
                self.pause.iter_mut().for_each(|pause| pause.is_probed = false);
                continue;
            };
            let (sink, metrics) = (&*self.delivery.sink.config.name, &self.delivery.metrics);
            let is_paused = matches!(done.outcome, Outcome::Pause { .. });
            let case = lane.case(done.offset).cloned();
            let key = case.as_ref().map_or("", |case| case.key());
            match done.outcome {
                Outcome::Delivered { link } => {
                    metrics.case(sink, "delivered");
                    let link = link.unwrap_or_default();
                    debug!(sink, key, link, "case `{key}` is delivered");
                    lane.done(done.offset);
                }
                Outcome::Park { status, why } => {
                    metrics.case(sink, "parked");
                    warn!(sink, key, status, reason = %why, "case `{key}` is parked: {why}");
                    lane.done(done.offset);
                }
                Outcome::Again { class, why, after } => {
                    metrics.retried(sink, class);
                    debug!(sink, key, class, reason = %why, "case `{key}` is tried again");
                    self.why = why;
                    lane.again(done.offset, Instant::now(), after);
                }
                Outcome::Pause { why } => {
                    metrics.retried(sink, "refused");
                    self.why = why;
                    lane.wait(done.offset);
                    let times = self.pause.as_ref().map_or(0, |pause| pause.times + 1);
                    // Those that were on their way already say nothing new.
                    if self.pause.as_ref().is_none_or(|pause| pause.is_probed) {
                        let wait = jittered(doubled(PAUSE, times, PAUSE_MAX), 20);
                        let until = Instant::now() + wait;
                        self.pause = Some(Pause { until, times, is_probed: false });
                    }
                }
            }
            if !is_paused {
                self.pause = None;
            }
        }
    }

    /// Starts what is due.
    fn step(&mut self, now: Instant) {
        let Self { lanes, delivery, landed, pause, .. } = self;
        let oldest = oldest(lanes.values());
        for lane in lanes.values_mut() {
            loop {
                if pause.as_ref().is_some_and(|pause| pause.is_probed || now < pause.until) {
                    return;
                }
                let Some(case) = lane.start(now, &oldest) else { break };
                if let Some(pause) = pause {
                    pause.is_probed = true;
                }
                start(lane, case, delivery, landed);
            }
        }
    }

    /// A lane that has enough to do is not read on.
    fn hold(&mut self) -> Result<(), Doubt> {
        for lane in self.lanes.values_mut() {
            if !lane.is_held && lane.is_full() {
                self.consumer.pause(&lane.topic, lane.partition)?;
                lane.is_held = true;
            } else if lane.is_held && lane.is_empty() {
                self.consumer.resume(&lane.topic, lane.partition)?;
                lane.is_held = false;
            }
        }
        Ok(())
    }

    /// A commit that the group refuses is made after the rebalance, or by whoever has it then.
    fn commit(&mut self, every: Duration) -> Result<(), Doubt> {
        if self.committed.elapsed() < every {
            return Ok(());
        }
        let moved = self.lanes.values().filter(|lane| lane.next() != lane.committed);
        let next: Vec<(String, i32, i64)> =
            moved.map(|lane| (lane.topic.clone(), lane.partition, lane.next())).collect();
        if next.is_empty() {
            return Ok(());
        }
        self.committed = Instant::now();
        match self.consumer.commit(&next) {
            Ok(()) => {
                for lane in self.lanes.values_mut() {
                    lane.committed = lane.next();
                }
                Ok(())
            }
            Err(doubt @ (Doubt::Fenced(_) | Doubt::Refused(_))) => Err(doubt),
            Err(doubt) => {
                let sink = &*self.delivery.sink.config.name;
                debug!(sink, reason = %doubt, "the place of sink `{sink}` is not committed yet");
                Ok(())
            }
        }
    }

    fn tell(&self) {
        let oldest = self.lanes.values().filter_map(Lane::oldest_ms).min();
        let is_retrying = self.lanes.values().any(Lane::is_retrying);
        let (state, why) = if self.pause.is_some() {
            (SinkState::Paused, self.why.clone())
        } else if !self.without_start.is_empty() {
            let count = self.without_start.len();
            let first = self.without_start.first().map_or("", String::as_str);
            let why = format!(
                "{count} partition(s), {first} first, have no place to begin at: stop this role, \
                 then `tipstaff topics create`"
            );
            (SinkState::Waiting, why)
        } else if self.lanes.is_empty() {
            (SinkState::Waiting, self.why.clone())
        } else if is_retrying {
            (SinkState::Retrying, self.why.clone())
        } else {
            (SinkState::Delivering, String::new())
        };
        self.delivery.told(state, why, oldest);
    }
}

/// Errors: a topic is not there yet.
fn has_begun(topics: &[&str], log: &LogReader, starts: &Starts) -> Result<bool, Obstacle> {
    let mut has_begun = false;
    for topic in topics {
        let Some(partitions) = log.partitions(topic)? else {
            let why = format!("topic `{topic}` does not exist: run `tipstaff topics create`");
            return Err(Obstacle::Setup(why));
        };
        for partition in 0..partitions {
            has_begun = has_begun || starts.committed(topic, partition)?.is_some();
        }
    }
    Ok(has_begun)
}

/// The case, unless it is not for this sink, or nothing stands behind it.
fn case(delivery: &Delivery, message: &Message<'_>) -> Option<Case> {
    let (sink, metrics) = (&delivery.sink.config, &delivery.metrics);
    let (topic, partition, offset) = (message.topic, message.partition, message.offset);
    let read = Case::read(message.value.unwrap_or_default()).and_then(|case| {
        let chains = format!("{}/{}/", delivery.cluster, delivery.topics.decisions);
        let is_ours = case.chain().starts_with(&chains);
        is_ours.then_some(case).ok_or("the record it names is on no chain of this cluster")
    });
    match read {
        Err(why) => {
            metrics.case(&sink.name, "void");
            let name = &*sink.name;
            warn!(
                sink = name,
                topic,
                partition,
                offset,
                "{topic}/{partition}@{offset} is void and not delivered: {why}"
            );
            None
        }
        Ok(case) => {
            // It is told once, where it went to.
            let queue = format!("{}{}", crate::audit::CASES_PREFIX, case.queue());
            let has_left = delivery.topics.output(&queue) != topic
                && delivery.queues.iter().any(|queue| queue == case.queue());
            if case.is_of(&sink.only) && !has_left {
                return Some(case);
            }
            metrics.case(&sink.name, "left_out");
            None
        }
    }
}

fn oldest<'l>(lanes: impl Iterator<Item = &'l Lane> + Clone) -> Oldest {
    let mut oldest = Oldest::new();
    // In one lane it is told by the order.
    let busy = lanes.filter(|lane| lane.undone().next().is_some());
    if busy.clone().nth(1).is_none() {
        return oldest;
    }
    for case in busy.flat_map(Lane::undone) {
        let revision = oldest.entry(case.id().to_owned()).or_insert(u64::MAX);
        *revision = case.revision().min(*revision);
    }
    oldest
}

fn start(lane: &Lane, (offset, case): (i64, Arc<Case>), delivery: &Delivery, landed: &Landed) {
    let (place, number) = ((lane.topic.clone(), lane.partition), lane.number);
    let (sink, publisher) = (Arc::clone(&delivery.sink), Arc::clone(&delivery.publisher));
    let (parked, at) = (delivery.topics.parked.clone(), (delivery.clock)());
    let (count, sender) = (Arc::clone(&landed.count), landed.sender.clone());
    delivery.runtime.spawn(async move {
        let mut outcome = sink.deliver(&case).await;
        let written = match &outcome {
            Outcome::Park { status, why } => {
                let record = Parked {
                    v: 1,
                    sink: sink.config.name.as_str().into(),
                    case_id: case.id().into(),
                    key: case.key().into(),
                    topic: place.0.as_str().into(),
                    partition: place.1,
                    offset,
                    status: *status,
                    reason: why.as_str().into(),
                    at,
                };
                record.write(&publisher, &parked).await
            }
            _ => Ok(()),
        };
        if let Err(doubt) = written {
            let why = format!("it can't be parked on {parked}: {doubt}");
            outcome = Outcome::Again { class: "parking", why, after: None };
        }
        count.fetch_add(1, Ordering::AcqRel);
        // Nobody waits any more when the session has ended.
        drop(sender.send(Done { place, number, offset, outcome }));
    });
}
