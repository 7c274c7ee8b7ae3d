//! A file of the largest size is read, or refused, in bounded time, whatever is in it.

use std::time::{Duration, Instant};

use tipstaff::policy::findings;
use tipstaff::text::{Problems, Source, read};

use crate::support::policy;

const BASE: &str = "boundary: base\nowner: o\ndefault_queue: {queue: triage, priority: medium}\n";

/// Far above what it takes, also where nothing is optimised, and below what it takes where something
/// grows with the square of the size.
const LIMIT: Duration = Duration::from_secs(60);

/// Time that this thread had a processor: what else the machine does is no part of it. Where nobody
/// counts that, the time that passed.
struct Work {
    began: Instant,
    before: Option<Duration>,
}

impl Work {
    fn begin() -> Self {
        Self { began: Instant::now(), before: Self::counted() }
    }

    fn counted() -> Option<Duration> {
        let counted = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        let nanoseconds = counted.split_whitespace().next()?.parse().ok()?;
        Some(Duration::from_nanos(nanoseconds)).filter(|counted| !counted.is_zero())
    }

    fn done(&self) -> Duration {
        match (self.before, Self::counted()) {
            (Some(before), Some(now)) => now - before,
            _ => self.began.elapsed(),
        }
    }
}

fn filled(bytes: usize, (start, end): (&str, &str), item: impl Fn(usize) -> String) -> String {
    let mut text = start.to_owned();
    let mut number = 0;
    while text.len() < bytes {
        text.push_str(&item(number));
        number += 1;
    }
    text + end
}

const HEAD: &str = "playbook: p\ntitle: t\nowner: o\nmode: live\non: {kind: k}\nrules:\n";
const LAST: &str = "  - id: otherwise\n    route: {queue: q, priority: low}\n";

fn rule(number: usize, clauses: &str) -> String {
    format!("  - id: r{number}\n    when: [{clauses}]\n    route: {{queue: q, priority: low}}\n")
}

#[test]
fn the_largest_files_are_read_in_bounded_time() {
    let work = Work::begin();
    let decimals = filled(1_000_000, ("[", "1]"), |_| "0.25,".to_owned());
    let mut problems = Problems::default();
    assert!(read(&Source::new("f.yaml", decimals), &mut problems).is_some());
    let (head, last) = (HEAD, LAST);
    let rule = |clauses: String| move |number: usize| rule(number, &clauses);
    let when = format!("{head}  - id: r\n    when: [");
    let patterns = vec![r#""nhi.id.matches('[a-z]{1,40}')""#; 40].join(", ");
    for (text, expected) in [
        (filled(200_000, (head, last), rule(patterns)), "more than 200 patterns in one file"),
        (filled(200_000, (head, last), |n| format!("  - {{kee{n}: 1}}\n")), "unknown key"),
        (
            filled(200_000, (head, last), rule("severty == 'high', nope".to_owned())),
            "did you mean `severity`?",
        ),
        (
            filled(1_000_000, (&when, "]\n"), |_| "has(nhi.id), ".to_owned()),
            "more than 64 clauses in one condition",
        ),
        (filled(1_000_000, (&when, "]\n"), |_| "[".to_owned()), "not valid YAML"),
    ] {
        let problems = policy(&[&text], &[BASE]).map(|_| ()).unwrap_err();
        assert!(problems.len() <= 501, "{}", problems.len());
        assert!(problems.iter().any(|each| each.contains(expected)), "{expected}: {problems:?}");
    }
    assert!(work.done() < LIMIT, "{:?}", work.done());
}

/// All of them about one name, so that each value might be matched with each pattern.
#[test]
fn what_is_found_in_many_patterns_and_values_is_found_in_bounded_time() {
    let work = Work::begin();
    let patterns = |of: usize| {
        let pattern = |number| format!("\"nhi.id.matches('^[a-z]{{1,40}}{of}-{number}')\"");
        (0..40).map(pattern).collect::<Vec<_>>().join(", ")
    };
    let values = |of: usize| {
        let value = |number| format!("'v{of}-{number}'");
        format!("\"nhi.id in [{}]\"", (0..250).map(value).collect::<Vec<_>>().join(", "))
    };
    let mut text = HEAD.to_owned();
    (0..5).for_each(|of| text.push_str(&rule(of, &patterns(of))));
    (5..45).for_each(|of| text.push_str(&rule(of, &values(of))));
    text.push_str(LAST);
    let policy = policy(&[&text], &[BASE]).unwrap();
    let found = findings(&policy);
    assert!(found.iter().all(|each| !each.message.contains("rule `r")), "nothing can be claimed");
    assert!(work.done() < LIMIT, "{:?}", work.done());
}
