use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Spreads what would happen at one time: from `1 - part` to `1 + part` of it, `part` in percent.
pub fn jittered(of: Duration, percent: u32) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1000;
    let random = u32::try_from(random).unwrap_or_default();
    let least = of * (100 - percent.min(100)) / 100;
    least + of * (2 * percent.min(100)) / 100 * random / 1000
}

/// So many requests in so much time, and no more than a second's worth at once.
pub(super) struct Rate {
    between: Duration,
    burst: Duration,
    /// When the next request would be due, were they evenly spread.
    next: Mutex<Instant>,
}

impl Rate {
    pub fn new((count, every_ms): (u64, u64), now: Instant) -> Self {
        let between = Duration::from_nanos(every_ms * 1_000_000 / count.max(1));
        let burst = Duration::from_secs(1).saturating_sub(between);
        Self { between, burst, next: Mutex::new(now) }
    }

    /// How long to wait for one's turn.
    ///
    /// Errors: it would be longer than `most`, and no turn is taken.
    pub fn turn(&self, now: Instant, most: Duration) -> Result<Duration, Duration> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let due = (*next).max(now);
        let wait = due.saturating_duration_since(now).saturating_sub(self.burst);
        if wait > most {
            return Err(wait);
        }
        *next = due + self.between;
        Ok(wait)
    }
}

/// Tries beyond the first: a tenth of all requests and a few, so that an outage is not multiplied.
pub(super) struct Retries {
    tenths: AtomicU32,
}

const RETRY: u32 = 10;
const FIRST: u32 = 3 * RETRY;
const MOST: u32 = 10 * RETRY;

impl Retries {
    pub fn new() -> Self {
        Self { tenths: AtomicU32::new(FIRST) }
    }

    pub fn earn(&self) {
        let more = |tenths: u32| Some((tenths + 1).min(MOST));
        self.tenths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok();
    }

    /// False when there is none left.
    pub fn spend(&self) -> bool {
        let less = |tenths: u32| tenths.checked_sub(RETRY);
        self.tenths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_second_s_worth_at_once_and_then_evenly() {
        let now = Instant::now();
        let rate = Rate::new((10, 1000), now);
        let waits: Vec<_> = (0..12).map(|_| rate.turn(now, SECOND).unwrap().as_millis()).collect();
        assert_eq!(waits[..10], [0; 10]);
        assert_eq!(waits[10..], [100, 200]);
        assert_eq!(rate.turn(now, Duration::from_millis(250)), Err(Duration::from_millis(300)));
        assert_eq!(rate.turn(now + SECOND * 5, Duration::ZERO), Ok(Duration::ZERO));
        let slow = Rate::new((60, 3_600_000), now);
        assert_eq!(slow.turn(now, SECOND), Ok(Duration::ZERO));
        assert_eq!(slow.turn(now, SECOND), Err(SECOND * 60));
    }

    #[test]
    fn an_outage_is_not_multiplied() {
        let retries = Retries::new();
        let mut made = 0;
        for _ in 0..1000 {
            retries.earn();
            made += u32::from(retries.spend());
        }
        assert!((100..=103).contains(&made), "{made}");
    }

    #[test]
    fn jitter_stays_within_its_bounds_and_moves() {
        let all: Vec<_> = (0..1000).map(|_| jittered(SECOND, 10)).collect();
        assert!(all.iter().all(|each| (900..=1100).contains(&each.as_millis())));
        assert!(all.iter().any(|each| each.as_millis() < 940));
        assert!(all.iter().any(|each| each.as_millis() > 1060));
        assert_eq!(jittered(Duration::ZERO, 10), Duration::ZERO);
    }
}
