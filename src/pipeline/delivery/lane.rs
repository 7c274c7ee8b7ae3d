use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::deliver::Case;
use crate::service::jittered;

/// One partition of a queue, as one sink works through it: in order, one case at a time.
pub(super) struct Lane {
    pub topic: String,
    pub partition: i32,
    /// Tells what comes back for this lane from what comes back for one before it.
    pub number: u64,
    waiting: VecDeque<Letter>,
    bytes: usize,
    /// Everything before it is done.
    pub next: i64,
    pub committed: i64,
    /// Behind what was read.
    pub read_to: i64,
    pub is_in_flight: bool,
    pub is_held: bool,
    tries: u32,
    due: Option<Instant>,
}

pub(super) struct Letter {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub value: Vec<u8>,
    /// Read once, at the first try.
    pub case: Option<Arc<Case>>,
}

const BACK_OFF: Duration = Duration::from_millis(500);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
// LIMIT: of each partition; the broker keeps the rest.
const LETTERS_MAX: usize = 32;
const BYTES_MAX: usize = 1024 * 1024;

impl Lane {
    pub fn new(topic: &str, partition: i32, from: i64, number: u64) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
            number,
            waiting: VecDeque::new(),
            bytes: 0,
            next: from,
            committed: from,
            read_to: from,
            is_in_flight: false,
            is_held: false,
            tries: 0,
            due: None,
        }
    }

    pub fn push(&mut self, letter: Letter) {
        self.bytes += letter.value.len();
        self.read_to = letter.offset + 1;
        self.waiting.push_back(letter);
    }

    pub fn front(&mut self) -> Option<&mut Letter> {
        self.waiting.front_mut()
    }

    pub fn oldest_ms(&self) -> Option<i64> {
        self.waiting.front().map(|letter| letter.timestamp_ms)
    }

    pub fn is_full(&self) -> bool {
        self.waiting.len() >= LETTERS_MAX || self.bytes >= BYTES_MAX
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.len() <= LETTERS_MAX / 4 && self.bytes < BYTES_MAX / 2
    }

    pub fn is_due(&self, now: Instant) -> bool {
        !self.is_in_flight && self.due.is_none_or(|due| due <= now) && !self.waiting.is_empty()
    }

    pub fn is_retrying(&self) -> bool {
        self.tries > 0
    }

    /// The one in front is done with.
    pub fn done(&mut self) {
        if let Some(letter) = self.waiting.pop_front() {
            self.bytes = self.bytes.saturating_sub(letter.value.len());
            self.next = letter.offset + 1;
        }
        (self.tries, self.due, self.is_in_flight) = (0, None, false);
    }

    /// The one in front is tried again, no earlier than `after`.
    pub fn again(&mut self, now: Instant, after: Option<Duration>) {
        let pause = jittered(doubled(BACK_OFF, self.tries, BACK_OFF_MAX), 50);
        self.due = Some(now + pause.max(after.unwrap_or_default()));
        self.tries = self.tries.saturating_add(1);
        self.is_in_flight = false;
    }

    /// The one in front is tried again as soon as the sink may.
    pub fn wait(&mut self) {
        self.is_in_flight = false;
    }
}

/// Twice as long for each try, up to a limit.
pub(super) fn doubled(first: Duration, tries: u32, most: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(tries.min(16))).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(offset: i64, bytes: usize) -> Letter {
        Letter { offset, timestamp_ms: offset * 10, value: vec![0; bytes], case: None }
    }

    #[test]
    fn only_what_is_done_moves_the_place_to_begin_again_at() {
        let now = Instant::now();
        let mut lane = Lane::new("t", 0, 5, 1);
        lane.push(letter(7, 10));
        lane.push(letter(8, 10));
        assert_eq!((lane.next, lane.read_to, lane.oldest_ms()), (5, 9, Some(70)));
        lane.is_in_flight = true;
        assert!(!lane.is_due(now));
        lane.again(now, Some(Duration::from_secs(60)));
        assert!(!lane.is_due(now + Duration::from_secs(59)), "as long as the service asked for");
        assert!(lane.is_due(now + Duration::from_secs(61)) && lane.is_retrying());
        assert_eq!(lane.next, 5);
        lane.done();
        assert_eq!((lane.next, lane.oldest_ms(), lane.is_retrying()), (8, Some(80), false));
        lane.done();
        lane.done();
        assert_eq!((lane.next, lane.oldest_ms()), (9, None));
    }

    #[test]
    fn what_waits_is_bounded_in_number_and_in_bytes() {
        let mut lane = Lane::new("t", 0, 0, 1);
        (0..32).for_each(|offset| lane.push(letter(offset, 1)));
        assert!(lane.is_full() && !lane.is_empty());
        (0..24).for_each(|_| lane.done());
        assert!(lane.is_empty());
        lane.push(letter(40, 2 * 1024 * 1024));
        assert!(lane.is_full() && !lane.is_empty());
    }
}
