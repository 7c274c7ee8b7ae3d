use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::deliver::Case;
use crate::service::jittered;

/// Of each case the oldest revision that is still to be done, on whatever queue it was told.
pub(super) type Oldest = HashMap<String, u64>;

/// One partition of a queue, as one sink works through it: several cases at a time, and of each
/// case one revision after the other.
pub(super) struct Lane {
    pub topic: String,
    pub partition: i32,
    /// Tells what comes back for this lane from what comes back for one before it.
    pub number: u64,
    /// From the first that is not done to the last that was read.
    letters: VecDeque<Letter>,
    pub committed: i64,
    /// Behind what was read.
    pub read_to: i64,
    pub is_held: bool,
}

pub(super) struct Letter {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub bytes: usize,
    /// None once it is done.
    pub case: Option<Arc<Case>>,
    pub state: Waits,
}

#[derive(Default)]
pub(super) struct Waits {
    tries: u32,
    due: Option<Instant>,
    is_in_flight: bool,
}

const BACK_OFF: Duration = Duration::from_millis(500);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// Of each partition.
const AT_ONCE: usize = 8;
// LIMIT: of each partition, those that are done behind one that is tried again included, with one
// read above it; the broker keeps the rest. As many are told again at most after a kill.
const LETTERS_MAX: usize = 64;
const BYTES_MAX: usize = 1024 * 1024;

impl Lane {
    pub fn new(topic: &str, partition: i32, from: i64, number: u64) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
            number,
            letters: VecDeque::new(),
            committed: from,
            read_to: from,
            is_held: false,
        }
    }

    pub fn push(&mut self, letter: Letter) {
        self.read_to = letter.offset + 1;
        self.letters.push_back(letter);
        self.trim();
    }

    /// Everything before it is done.
    pub fn next(&self) -> i64 {
        self.letters.front().map_or(self.read_to, |letter| letter.offset)
    }

    pub fn oldest_ms(&self) -> Option<i64> {
        self.letters.front().map(|letter| letter.timestamp_ms)
    }

    pub fn is_full(&self) -> bool {
        self.letters.len() >= LETTERS_MAX || self.bytes() >= BYTES_MAX
    }

    pub fn is_empty(&self) -> bool {
        self.letters.len() <= LETTERS_MAX / 4 && self.bytes() < BYTES_MAX / 2
    }

    /// Of what is kept: nothing of what is done.
    fn bytes(&self) -> usize {
        self.letters.iter().filter(|letter| letter.case.is_some()).map(|letter| letter.bytes).sum()
    }

    pub fn is_in_flight(&self) -> bool {
        self.letters.iter().any(|letter| letter.state.is_in_flight)
    }

    pub fn is_retrying(&self) -> bool {
        self.letters.iter().any(|letter| letter.case.is_some() && letter.state.tries > 0)
    }

    pub fn case(&self, offset: i64) -> Option<&Arc<Case>> {
        self.letters.iter().find(|letter| letter.offset == offset)?.case.as_ref()
    }

    /// What is still to be done.
    pub fn undone(&self) -> impl Iterator<Item = &Case> {
        self.letters.iter().filter_map(|letter| letter.case.as_deref())
    }

    /// Takes the first case that may be tried now.
    pub fn start(&mut self, now: Instant, oldest: &Oldest) -> Option<(i64, Arc<Case>)> {
        if self.letters.iter().filter(|letter| letter.state.is_in_flight).count() >= AT_ONCE {
            return None;
        }
        let at = (0..self.letters.len()).find(|at| self.may_start(*at, now, oldest))?;
        let letter = self.letters.get_mut(at)?;
        letter.state.is_in_flight = true;
        Some((letter.offset, Arc::clone(letter.case.as_ref()?)))
    }

    /// It is due, and nothing of the same case is before it, here or on another queue.
    fn may_start(&self, at: usize, now: Instant, oldest: &Oldest) -> bool {
        let Some(Letter { case: Some(case), state, .. }) = self.letters.get(at) else {
            return false;
        };
        let is_same = |other: &Letter| other.case.as_ref().is_some_and(|o| o.id() == case.id());
        let is_due = !state.is_in_flight && state.due.is_none_or(|due| due <= now);
        let is_next = oldest.get(case.id()).is_none_or(|oldest| case.revision() <= *oldest);
        is_due && is_next && !self.letters.iter().take(at).any(is_same)
    }

    /// It is done with.
    pub fn done(&mut self, offset: i64) {
        if let Some(letter) = self.find(offset) {
            letter.case = None;
            letter.state = Waits::default();
            self.trim();
        }
    }

    /// It is tried again, no earlier than `after`.
    pub fn again(&mut self, offset: i64, now: Instant, after: Option<Duration>) {
        let Some(Letter { state, .. }) = self.find(offset) else { return };
        let pause = jittered(doubled(BACK_OFF, state.tries, BACK_OFF_MAX), 50);
        let due = Some(now + pause.max(after.unwrap_or_default()));
        *state = Waits { tries: state.tries.saturating_add(1), due, is_in_flight: false };
    }

    /// It is tried again as soon as the sink may.
    pub fn wait(&mut self, offset: i64) {
        if let Some(letter) = self.find(offset) {
            letter.state.is_in_flight = false;
        }
    }

    fn find(&mut self, offset: i64) -> Option<&mut Letter> {
        self.letters.iter_mut().find(|letter| letter.offset == offset)
    }

    fn trim(&mut self) {
        while self.letters.front().is_some_and(|letter| letter.case.is_none()) {
            self.letters.pop_front();
        }
    }
}

/// Twice as long for each try, up to a limit.
pub(super) fn doubled(first: Duration, tries: u32, most: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(tries.min(16))).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(offset: i64, case: &str, bytes: usize) -> Letter {
        let json = format!(
            r#"{{"v":1,"case_id":"{case}","case_revision":{offset},
                "record":{{"chain":"c/d/0","seq":1,"hash":"{}"}}}}"#,
            "0".repeat(64)
        );
        let case = Some(Arc::new(Case::read(json.as_bytes()).unwrap()));
        Letter { offset, timestamp_ms: offset * 10, bytes, case, state: Waits::default() }
    }

    fn started(lane: &mut Lane, now: Instant) -> Vec<i64> {
        let oldest = Oldest::new();
        std::iter::from_fn(|| lane.start(now, &oldest)).map(|(offset, _)| offset).collect()
    }

    #[test]
    fn only_what_is_done_from_the_front_moves_the_place_to_begin_again_at() {
        let now = Instant::now();
        let mut lane = Lane::new("t", 0, 5, 1);
        assert_eq!(lane.next(), 5);
        for (offset, case) in [(7, "a"), (8, "b"), (9, "c")] {
            lane.push(letter(offset, case, 10));
        }
        assert_eq!((lane.next(), lane.read_to, lane.oldest_ms()), (7, 10, Some(70)));
        assert_eq!(started(&mut lane, now), [7, 8, 9]);
        lane.done(9);
        lane.again(7, now, Some(Duration::from_secs(60)));
        assert_eq!(lane.next(), 7, "what is behind it is done, and it is not");
        assert!(
            started(&mut lane, now + Duration::from_secs(59)).is_empty(),
            "as long as asked for"
        );
        assert_eq!(started(&mut lane, now + Duration::from_secs(61)), [7]);
        assert!(lane.is_retrying());
        lane.done(7);
        assert_eq!((lane.next(), lane.oldest_ms(), lane.is_retrying()), (8, Some(80), false));
        lane.wait(8);
        assert_eq!(started(&mut lane, now), [8]);
        lane.done(8);
        assert_eq!((lane.next(), lane.oldest_ms(), lane.is_in_flight()), (10, None, false));
    }

    #[test]
    fn a_case_that_moved_waits_for_what_its_old_queue_has_of_it() {
        let now = Instant::now();
        let mut lane = Lane::new("t", 0, 0, 1);
        for (offset, case) in [(2, "a"), (3, "b")] {
            lane.push(letter(offset, case, 1));
        }
        let ahead = Oldest::from([("a".to_owned(), 1), ("b".to_owned(), 3)]);
        let start = |lane: &mut Lane, oldest: &Oldest| Some(lane.start(now, oldest)?.0);
        assert_eq!(start(&mut lane, &ahead), Some(3));
        assert_eq!(start(&mut lane, &ahead), None);
        assert_eq!(start(&mut lane, &Oldest::from([("a".to_owned(), 2)])), Some(2));
        let undone: Vec<&str> = lane.undone().map(Case::key).collect();
        assert_eq!(undone, ["a/2", "b/3"]);
    }

    #[test]
    fn a_case_is_told_in_order_and_keeps_no_other_waiting() {
        let now = Instant::now();
        let mut lane = Lane::new("t", 0, 0, 1);
        for (offset, case) in [(0, "a"), (1, "a"), (2, "b"), (3, "a"), (4, "b")] {
            lane.push(letter(offset, case, 1));
        }
        assert_eq!(started(&mut lane, now), [0, 2]);
        lane.again(0, now, None);
        lane.done(2);
        assert_eq!(started(&mut lane, now), [4], "the first of `a` is not told yet");
        let later = now + BACK_OFF_MAX;
        assert_eq!(started(&mut lane, later), [0]);
        lane.done(0);
        assert_eq!(started(&mut lane, later), [1]);
        lane.done(1);
        assert_eq!(started(&mut lane, later), [3]);
    }

    #[test]
    fn what_is_on_its_way_and_what_waits_is_bounded_in_number_and_in_bytes() {
        let mut lane = Lane::new("t", 0, 0, 1);
        for offset in 0..64 {
            lane.push(letter(offset, &format!("c{offset}"), 1));
        }
        assert!(lane.is_full() && !lane.is_empty());
        assert_eq!(started(&mut lane, Instant::now()), [0, 1, 2, 3, 4, 5, 6, 7]);
        lane.done(3);
        assert_eq!(started(&mut lane, Instant::now()), [8]);
        lane.again(0, Instant::now(), None);
        let later = Instant::now() + BACK_OFF_MAX;
        assert_eq!(started(&mut lane, later), [0], "and no ninth");
        lane.again(0, Instant::now(), None);
        assert_eq!(started(&mut lane, Instant::now()), [9]);
        assert!(started(&mut lane, later).is_empty(), "the room is taken by those behind it");
        (1..48).for_each(|offset| lane.done(offset));
        assert!(lane.is_full(), "done, but behind one that is not");
        lane.done(0);
        assert!(lane.is_empty());
        lane.push(letter(80, "large", 2 * 1024 * 1024));
        assert!(lane.is_full() && !lane.is_empty());
        lane.done(80);
        assert!(!lane.is_full(), "what is done is not kept, though others are before it");
    }
}
