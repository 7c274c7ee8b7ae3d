//! How long an order about everything is known to have been used.

use tipstaff::audit::{Folded, Hash};
use tipstaff::case::{Millis, Verb};
use tipstaff::correlate::State;

use super::forged::{END, order, statement};

/// As far as the clocks of a broker and of who signs may differ.
const CLOCKS_DIFFER_MS: i64 = 3_600_000;

#[test]
fn an_order_is_used_until_its_end_and_known_as_long_as_clocks_may_differ() {
    let id = statement(0, Verb::Stop).id;
    for (later, is_known) in [(CLOCKS_DIFFER_MS - 1, true), (CLOCKS_DIFFER_MS, false)] {
        let mut state = State::default();
        assert!(!state.snapshot(Millis(0)).concat().contains("control"), "where there is none");
        state.apply(&order(0, Verb::Stop), Hash::NONE);
        let was_used = |state: &State, at| state.control().was_used(&id, at);
        assert!(was_used(&state, END.plus(-1)) && !was_used(&state, END));
        let mut next = order(1, Verb::Stop);
        next.input.as_mut().unwrap().received_at = Some(END.plus(later));
        state.apply(&next, Hash::NONE);
        assert_eq!(was_used(&state, END.plus(-1)), is_known, "{later}");
    }
}
