//! What is kept, how long, and how often is asked.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use tipstaff::case::{CacheState, FactState};
use tipstaff::config::CacheConfig;
use tipstaff::enrich::{BoxFuture, Found, Lookup, Remote};
use tipstaff::observe::Metrics;
use tipstaff::service::{Failure, Fault};

use crate::rig::{QUICK, Rig, pause, state, until};
use crate::server::{Mode, Server};

fn rig(server: &Server, cache: CacheConfig) -> Rig {
    Rig::new(&format!("url: \"{}\", allow: [127.0.0.1]", server.url()), cache)
}

/// 200 threads, 50 alerts each, all about one key that nobody has asked for yet.
#[test]
fn ten_thousand_alerts_on_one_cold_key_make_one_call() {
    let server = Server::start(Mode::Slow(300, "{\"live\":true}"));
    let rig = Arc::new(rig(&server, CacheConfig::default()));
    let (threads, each) = (200, 50);
    let (start, known) = (Arc::new(Barrier::new(threads)), Arc::new(AtomicUsize::new(0)));
    let asking: Vec<_> = (0..threads)
        .map(|_| {
            let (rig, start, known) = (Arc::clone(&rig), Arc::clone(&start), Arc::clone(&known));
            std::thread::spawn(move || {
                start.wait();
                let answers: Vec<_> = (0..each).flat_map(|_| rig.cached.ask(&["cold"])).collect();
                let deadline = Instant::now() + Duration::from_secs(20);
                let rows = answers.iter().map(|answer| answer.by(deadline));
                known.fetch_add(rows.filter(|r| r.state == FactState::Known).count(), SeqCst);
            })
        })
        .collect();
    asking.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(known.load(SeqCst), 10_000);
    assert_eq!(server.requests(), 1);
    let keys = |answer| {
        let line = format!("tipstaff_lookup_keys_total{{answer=\"{answer}\",enricher=\"vault\"}}");
        rig.metric(&line)
    };
    assert_eq!(keys("began"), 1);
    assert_eq!(keys("joined") + keys("hit"), 9_999);
    assert_eq!(rig.metric("tipstaff_lookup_calls_total{result=\"reply\",service=\"probe\"}"), 1);
    println!("10000 alerts, 1 call: {} waited for it, {} came later", keys("joined"), keys("hit"));
}

#[test]
fn an_answer_serves_for_its_lifetime_and_then_while_it_is_asked_for_again() {
    let server = Server::start(Mode::Right("{\"live\":true}"));
    let rig = rig(&server, QUICK);
    let first = rig.ask("a");
    assert_eq!(state(&first), "known fetched");
    let again = rig.ask("a");
    assert_eq!(
        (state(&again), again.as_of, server.requests()),
        ("known hit".into(), first.as_of, 1)
    );
    pause(360);
    let before = rig.changes.count();
    let stale = rig.ask("a");
    assert_eq!((state(&stale), stale.as_of), ("known stale".into(), first.as_of));
    until("the second answer", || rig.changes.count() > before);
    let fresh = rig.ask("a");
    assert_eq!((state(&fresh), server.requests()), ("known hit".into(), 2));
    assert!(fresh.as_of > first.as_of);
}

#[test]
fn past_its_bound_an_answer_is_never_given_and_a_failed_refresh_is_told() {
    let server = Server::start(Mode::Right("{\"live\":true}"));
    let rig = rig(&server, QUICK);
    let first = rig.ask("a");
    let began = Instant::now();
    server.turn(Mode::Status("500 Broken"));
    pause(360);
    let mut told = 0;
    while began.elapsed() < Duration::from_millis(780) {
        let row = rig.ask("a");
        if row.cache == Some(CacheState::Stale) {
            assert_eq!((row.as_of, row.state), (first.as_of, FactState::Known));
            told +=
                usize::from(row.detail.as_ref().is_some_and(|told| told.contains("500 Internal")));
        }
        pause(10);
    }
    assert!(told > 5, "{told}");
    // Not asked for at each look, but once a failure's lifetime.
    assert!((2..=5).contains(&server.requests()), "{}", server.requests());
    pause(1000_u64.saturating_sub(began.elapsed().as_millis() as u64));
    let over = rig.ask("a");
    assert_eq!((over.state.code(), over.as_of), ("unknown", None));
}

#[test]
fn absences_and_failures_have_lifetimes_of_their_own() {
    let server = Server::start(Mode::Status("404 Not Found"));
    let rig = rig(&server, CacheConfig { absent_ms: 150, ..QUICK });
    assert_eq!(state(&rig.ask("a")), "absent fetched");
    assert_eq!(state(&rig.ask("a")), "absent hit");
    pause(180);
    assert_eq!(state(&rig.ask("a")), "absent fetched", "never given past its lifetime");
    server.turn(Mode::Status("500 Broken"));
    assert_eq!(state(&rig.ask("b")), "unknown(error) fetched");
    assert_eq!(state(&rig.ask("b")), "unknown(error) hit");
    assert_eq!(server.requests(), 3);
    server.turn(Mode::Right("{\"live\":false}"));
    pause(240);
    assert_eq!(state(&rig.ask("b")), "known fetched");
}

#[test]
fn a_purged_key_is_asked_for_again_and_what_was_on_its_way_is_not_kept() {
    let server = Server::start(Mode::Right("{\"live\":true}"));
    let rig = rig(&server, CacheConfig::default());
    rig.ask("a");
    let before = rig.changes.count();
    rig.cached.forget("a");
    assert!(rig.changes.count() > before);
    assert_eq!(state(&rig.ask("a")), "known fetched");
    server.turn(Mode::Slow(200, "{\"live\":true}"));
    let early = rig.cached.ask(&["b"]).remove(0);
    until("the request", || server.requests() == 3);
    rig.cached.forget("b");
    server.turn(Mode::Right("{\"live\":false}"));
    let late = rig.ask("b");
    let deadline = Instant::now() + Duration::from_secs(5);
    assert_eq!(early.by(deadline).state.code(), "unknown");
    assert_eq!(rig.ask("b").values, late.values);
    assert_eq!(server.requests(), 4);
}

#[test]
fn what_is_late_is_unknown_now_and_known_to_the_next() {
    let server = Server::start(Mode::Slow(200, "{\"live\":true}"));
    let rig = rig(&server, CacheConfig::default());
    let before = rig.changes.count();
    let began = Instant::now();
    let late = rig.ask_for("a", 50);
    assert!(began.elapsed() < Duration::from_millis(150), "{:?}", began.elapsed());
    assert_eq!(state(&late), "unknown(timeout)");
    until("the answer", || rig.changes.count() > before);
    assert_eq!(state(&rig.ask("a")), "known hit");
}

#[test]
fn no_more_is_kept_than_fits() {
    let server = Server::start(Mode::Right("{\"live\":true}"));
    let rig = rig(&server, CacheConfig { max_bytes: 64 * 1024, ..CacheConfig::default() });
    for number in 0..500 {
        rig.ask(&number.to_string());
    }
    let (entries, bytes) = rig.cached.size();
    assert!((20..200).contains(&entries) && bytes <= 64 * 1024, "{entries} entries, {bytes} bytes");
    let line = "tipstaff_lookup_cache_evictions_total{cause=\"full\",enricher=\"vault\"}";
    assert_eq!(rig.metric(line), 500 - entries);
}

/// A source with a defect.
struct Panics;

impl Remote for Panics {
    fn fetch<'r>(&'r self, key: &'r str) -> BoxFuture<'r, Result<Found, Failure>> {
        Box::pin(async move {
            assert!(key != "bad", "a defect");
            let detail = "refused".to_owned();
            Err(Failure { fault: Fault::Timeout, detail, retry_after: None })
        })
    }
}

#[test]
fn a_flight_lands_whatever_becomes_of_it() {
    let metrics = Metrics::new().unwrap();
    let rig = Rig::with(Panics, QUICK, metrics);
    assert_eq!(state(&rig.ask("bad")), "unknown(error) fetched");
    assert_eq!(state(&rig.ask("good")), "unknown(timeout) fetched");
    let Rig { runtime, cached, .. } = rig;
    runtime.shutdown_background();
    let row = cached.ask(&["late"])[0].by(Instant::now() + Duration::from_secs(5));
    assert_eq!(row.state.code(), "unknown");
}

/// What an identity that is seen now and then is ruled by.
#[test]
fn what_is_too_old_for_a_ruling_is_waited_for_and_given_only_when_nothing_better_comes() {
    let server = Server::start(Mode::Right("{\"live\":true}"));
    let rig = rig(&server, CacheConfig::default());
    let first = rig.ask("a");
    pause(160);
    assert_eq!(state(&rig.ask("a")), "known hit", "no ruling minds");
    rig.cached.rule_within(Some(150));
    let second = rig.ask("a");
    assert_eq!((state(&second), server.requests()), ("known fetched".into(), 2));
    assert!(second.as_of > first.as_of);
    pause(160);
    server.turn(Mode::Slow(200, "{\"live\":false}"));
    let late = rig.ask_for("a", 20);
    assert_eq!((state(&late), late.as_of), ("known stale".into(), second.as_of));
    let third = rig.ask("a");
    assert_eq!(state(&third), "known fetched", "joined the question that was on its way");
    assert_eq!(server.requests(), 3);
    pause(160);
    server.turn(Mode::Status("500 Broken"));
    for _ in 0..3 {
        let failed = rig.ask("a");
        assert_eq!((state(&failed), failed.as_of), ("known stale".into(), third.as_of));
        assert!(failed.detail.as_ref().is_some_and(|told| told.contains("500")), "{failed:?}");
    }
    assert_eq!(server.requests(), 4, "not asked at each look");
}
