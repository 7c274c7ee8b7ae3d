//! Tests that time what they see, or load the machine. Tests begin in the order of their names:
//! these come first, one after the other, and when they are done nothing waits for the machine.

use crate::{fire, latency, life, product, seats, tear, traces};

fn alone(test: fn()) {
    let _machine = seats::alone();
    test();
}

#[test]
fn a_commit_takes_less_than_half_a_flush_slice_and_a_batch_waits_no_longer_for_more() {
    alone(latency::commits_and_batches);
}

#[test]
fn a_late_commit_harms_nothing_with_the_rules_and_something_without() {
    alone(tear::late_commits);
}

#[test]
fn a_process_outlives_its_broker_and_always_ends_when_asked() {
    alone(product::lifecycle::broker_lost_and_drains);
}

#[test]
fn nothing_is_lost_or_doubled_under_fire() {
    alone(fire::under_fire);
}

#[test]
fn without_a_collector_the_stream_goes_on_and_the_drain_ends_in_time() {
    alone(traces::without_a_collector);
}

#[test]
fn workers_share_survive_a_broker_restart_and_notice_a_double() {
    alone(life::shares_restart_and_double);
}
