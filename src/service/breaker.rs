use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::BreakerConfig;

/// Stops asking a system that fails again and again: closed, then open for a while, then half open
/// for one request that says which.
pub(super) struct Breaker {
    config: BreakerConfig,
    state: Mutex<State>,
    /// Told each change: 0 closed, 1 half open, 2 open.
    tell: Box<dyn Fn(i64) + Send + Sync>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
    },
    /// One request is on its way.
    HalfOpen,
}

/// The right to make one request. Given back without a verdict it says nothing of the system.
pub(super) struct Pass {
    breaker: Arc<Breaker>,
    is_probe: bool,
    is_spent: bool,
}

impl Breaker {
    pub fn new(config: BreakerConfig, tell: impl Fn(i64) + Send + Sync + 'static) -> Arc<Self> {
        tell(0);
        let state = Mutex::new(State::Closed { failures: 0 });
        Arc::new(Self { config, state, tell: Box::new(tell) })
    }

    /// Errors: how long it stays open.
    pub fn pass(self: &Arc<Self>, now: Instant) -> Result<Pass, Duration> {
        let mut state = self.lock();
        let is_probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if now < until => return Err(until - now),
            State::HalfOpen => return Err(Duration::ZERO),
            State::Open { .. } => {
                self.set(&mut state, State::HalfOpen);
                true
            }
        };
        Ok(Pass { breaker: Arc::clone(self), is_probe, is_spent: false })
    }

    /// How long it stays open, if it is; takes no pass.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        match *self.lock() {
            State::Open { until } => {
                until.checked_duration_since(now).filter(|left| !left.is_zero())
            }
            State::HalfOpen => Some(Duration::ZERO),
            State::Closed { .. } => None,
        }
    }

    pub fn failures(&self) -> u32 {
        self.config.failures
    }

    fn set(&self, state: &mut State, next: State) {
        *state = next;
        (self.tell)(match next {
            State::Closed { .. } => 0,
            State::HalfOpen => 1,
            State::Open { .. } => 2,
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pass {{ is_probe: {} }}", self.is_probe)
    }
}

impl Pass {
    /// True when it was open until now.
    pub fn worked(mut self) -> bool {
        self.is_spent = true;
        let mut state = self.breaker.lock();
        // A reply to what was asked before it opened does not close it.
        if self.is_probe || matches!(*state, State::Closed { .. }) {
            self.breaker.set(&mut state, State::Closed { failures: 0 });
        }
        self.is_probe
    }

    /// True when it was closed until now.
    pub fn failed(mut self, now: Instant) -> bool {
        self.is_spent = true;
        let mut state = self.breaker.lock();
        let until = now + Duration::from_millis(self.breaker.config.open_for_ms);
        let next = match *state {
            _ if self.is_probe => State::Open { until },
            State::Closed { failures } if failures + 1 >= self.breaker.config.failures => {
                State::Open { until }
            }
            State::Closed { failures } => State::Closed { failures: failures + 1 },
            other => other,
        };
        let has_opened = matches!((*state, next), (State::Closed { .. }, State::Open { .. }));
        self.breaker.set(&mut state, next);
        has_opened
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.is_probe && !self.is_spent {
            let mut state = self.breaker.lock();
            self.breaker.set(&mut state, State::Open { until: Instant::now() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Arc<Breaker> {
        Breaker::new(BreakerConfig { failures: 3, open_for_ms: 1000 }, |_| {})
    }

    fn fail(breaker: &Arc<Breaker>, now: Instant, times: usize) {
        for _ in 0..times {
            let _ = breaker.pass(now).expect("a pass").failed(now);
        }
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_one_request_says_whether_it_closes() {
        let (breaker, now) = (breaker(), Instant::now());
        fail(&breaker, now, 2);
        breaker.pass(now).expect("a pass").worked();
        fail(&breaker, now, 3);
        assert_eq!(breaker.pass(now).err(), Some(Duration::from_secs(1)));
        let later = now + Duration::from_millis(1000);
        let probe = breaker.pass(later).expect("the one request");
        assert_eq!(breaker.pass(later).err(), Some(Duration::ZERO));
        probe.failed(later);
        assert_eq!(breaker.pass(later).err(), Some(Duration::from_secs(1)));
        let last = later + Duration::from_millis(1000);
        breaker.pass(last).expect("the one request").worked();
        fail(&breaker, last, 2);
        assert!(breaker.pass(last).is_ok(), "counting began anew");
    }

    #[test]
    fn what_was_asked_before_changes_nothing_and_a_lost_probe_is_made_again() {
        let (breaker, now) = (breaker(), Instant::now());
        let (early, late) = (breaker.pass(now).unwrap(), breaker.pass(now).unwrap());
        fail(&breaker, now, 3);
        early.worked();
        late.failed(now + Duration::from_millis(900));
        assert_eq!(breaker.pass(now).err(), Some(Duration::from_secs(1)));
        let later = now + Duration::from_secs(1);
        drop(breaker.pass(later).expect("the one request"));
        let much_later = later + Duration::from_secs(1);
        assert!(breaker.pass(much_later).is_ok(), "another one");
    }
}
