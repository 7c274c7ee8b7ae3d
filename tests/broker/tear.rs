use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tipstaff::pipeline::{Progress, RecoveryRules};

use crate::checker::Report;
use crate::kafka::Kafka;
use crate::proxy::{Plan, Proxy};
use crate::rig::{Feed, create_lane, report, start, wait_until};

const CHILD: &str = "TIPSTAFF_TEAR_CHILD";
/// Also holds requests for 90 s.
const LONG: &str = "TIPSTAFF_TEAR_LONG";

/// Tears happen and are healed; with all rules they are prevented.
const LOG_ONLY: RecoveryRules = RecoveryRules { read_log: true, ..RecoveryRules::NONE };

#[derive(Clone, Copy)]
struct Case {
    delay: Duration,
    cut: bool,
    kill: bool,
    rules: RecoveryRules,
}

struct Row {
    case: Case,
    held: usize,
    late: Vec<i16>,
    doubtful: u64,
    recoveries: u64,
    ended: String,
    report: Report,
}

/// Holds several commits, one after the other, and looks at what is left when all is quiet again.
fn run(direct: &str, proxy: &Proxy, lane: &str, case: Case) -> Row {
    create_lane(direct, lane);
    let (held, late) = (proxy.held(), proxy.late().len());
    let feed = Feed::start(direct, lane);
    let (progress, ended) = if case.kill {
        hold_and_kill(proxy, lane, case);
        (None, "killed".to_owned())
    } else {
        let (progress, ended) = hold(proxy, lane, case, feed_seconds(case));
        (Some(progress), ended)
    };
    feed.stop();

    // One more recovery sees whatever came last.
    let last = start(&proxy.bootstrap(), lane, "0", case.rules);
    let mut found = Report::default();
    // What has to become green may take its time; what need not gets too little for nothing.
    let patience = Duration::from_secs(if case.rules.read_log { 60 } else { 8 });
    wait_until(patience, || {
        found = report(direct, lane);
        last.thread.is_finished() || found.is_green()
    });
    last.drain.start();
    last.thread.join().unwrap();
    let sum = |one: fn(&Progress) -> u64| progress.as_deref().map_or(0, one) + one(&last.progress);
    Row {
        case,
        held: proxy.held() - held,
        late: proxy.late()[late..].to_vec(),
        doubtful: sum(|progress| progress.doubtful_commits.load(SeqCst)),
        recoveries: sum(|progress| progress.recoveries.load(SeqCst)),
        ended,
        report: report(direct, lane),
    }
}

fn feed_seconds(case: Case) -> usize {
    if case.delay < Duration::from_secs(5) { 5 } else { 3 }
}

fn hold(proxy: &Proxy, lane: &str, case: Case, times: usize) -> (Arc<Progress>, String) {
    let running = start(&proxy.bootstrap(), lane, "0", case.rules);
    let progress = Arc::clone(&running.progress);
    let is_warm = wait_until(Duration::from_secs(90), || progress.commits.load(SeqCst) > 3);
    assert!(is_warm || running.thread.is_finished(), "{lane}: nothing was committed");
    for _ in 0..times {
        let (before, commits) = (proxy.held(), progress.commits.load(SeqCst));
        proxy.plan(Plan { next: 1, delay: case.delay, cut: case.cut, ..Plan::default() });
        wait_until(Duration::from_secs(10), || {
            proxy.held() > before || running.thread.is_finished()
        });
        // The next one to be held must not be this one's own retry.
        wait_until(Duration::from_secs(8), || progress.commits.load(SeqCst) > commits + 2);
    }
    proxy.plan(Plan::default());
    wait_until(case.delay + Duration::from_secs(5), || proxy.waiting() == 0);
    std::thread::sleep(Duration::from_millis(500));
    running.drain.start();
    (progress, running.thread.join().unwrap().to_string())
}

/// The same in a process of its own, which is killed while its commit is on its way.
fn hold_and_kill(proxy: &Proxy, lane: &str, case: Case) {
    for _ in 0..4 {
        let before = proxy.held();
        let mut child = spawn(&proxy.bootstrap(), lane, case.rules);
        std::thread::sleep(Duration::from_millis(900));
        proxy.plan(Plan { next: 1, delay: case.delay, cut: case.cut, ..Plan::default() });
        wait_until(Duration::from_secs(5), || proxy.held() > before);
        std::thread::sleep(Duration::from_millis(crate::kafka::chance() % 300));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    proxy.plan(Plan::default());
    wait_until(case.delay + Duration::from_secs(5), || proxy.waiting() == 0);
}

fn spawn(bootstrap: &str, lane: &str, rules: RecoveryRules) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tear::child", "--nocapture"])
        .env(CHILD, format!("{bootstrap} {lane} {}", name(rules)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test of its own: the process that the tear test kills.
#[test]
fn child() {
    let Ok(what) = std::env::var(CHILD) else { return };
    let what: Vec<&str> = what.split(' ').collect();
    let rules = match what[2] {
        "all" => RecoveryRules::ALL,
        "log" => LOG_ONLY,
        _ => RecoveryRules::NONE,
    };
    start(what[0], what[1], "0", rules).thread.join().unwrap();
}

pub fn late_commits() {
    // One lane for each way of being late, with and without the rules, at the same time.
    let lanes = [
        (false, RecoveryRules::ALL),
        (true, RecoveryRules::ALL),
        (true, LOG_ONLY),
        (false, RecoveryRules::NONE),
        (true, RecoveryRules::NONE),
    ];
    let proxies: Vec<Proxy> = lanes.iter().map(|_| Proxy::bind()).collect();
    let ports: Vec<u16> = proxies.iter().map(Proxy::port).collect();
    let Some(kafka) = Kafka::start(&ports) else { return };
    let mut delays = vec![50, 200, 700, 1500, 5000, 15_000];
    if std::env::var_os(LONG).is_some() {
        delays.push(90_000);
    }
    let direct = kafka.bootstrap();
    let mut rows: Vec<Row> = std::thread::scope(|scope| {
        let threads: Vec<_> = lanes
            .iter()
            .zip(proxies.iter().zip(kafka.proxied()))
            .enumerate()
            .map(|(at, ((cut, rules), (proxy, port)))| {
                proxy.forward(*port);
                let (direct, delays) = (&direct, &delays);
                scope.spawn(move || {
                    let mut rows = Vec::new();
                    for (delay, kill) in
                        delays.iter().map(|delay| (*delay, false)).chain([(1500, true)])
                    {
                        let delay = Duration::from_millis(delay);
                        let lane = format!("lane{at}-{}{}", delay.as_millis(), u8::from(kill));
                        let case = Case { delay, cut: *cut, kill, rules: *rules };
                        rows.push(run(direct, proxy, &lane, case));
                    }
                    rows
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    rows.sort_by_key(|row| (name(row.case.rules), row.case.kill, row.case.cut, row.case.delay));
    print(&rows);

    for row in rows.iter().filter(|row| row.case.rules.read_log) {
        assert!(row.report.is_green(), "with the rules on: {}", line(row));
    }
    let is_red = |row: &&Row| row.case.rules == RecoveryRules::NONE && !row.report.is_green();
    assert!(rows.iter().any(|row| is_red(&row)), "without the rules nothing was torn");
}

fn print(rows: &[Row]) {
    // Past the test harness, which keeps the output of tests that pass to itself.
    let mut to = std::io::stderr();
    writeln!(
        to,
        "\n{:>7} {:<12} {:<5} {:>4} {:>8} {:>10} {:>7} {:>6} {:>6} {:<22} verdict",
        "hold ms",
        "then",
        "rules",
        "held",
        "doubtful",
        "recoveries",
        "records",
        "tears",
        "voided",
        "late answers"
    )
    .unwrap();
    for row in rows {
        writeln!(to, "{}", line(row)).unwrap();
    }
}

fn name(rules: RecoveryRules) -> &'static str {
    match rules {
        RecoveryRules::ALL => "all",
        LOG_ONLY => "log",
        _ => "none",
    }
}

fn line(row: &Row) -> String {
    let then = match (row.case.kill, row.case.cut) {
        (true, true) => "kill + cut",
        (true, false) => "kill",
        (false, true) => "cut",
        (false, false) => "in place",
    };
    let rules = name(row.case.rules);
    let ended = if row.ended == "drained" || row.ended == "killed" { "" } else { &row.ended };
    format!(
        "{:>7} {:<12} {:<5} {:>4} {:>8} {:>10} {:>7} {:>6} {:>6} {:<22} {} {ended}",
        row.case.delay.as_millis(),
        then,
        rules,
        row.held,
        row.doubtful,
        row.recoveries,
        row.report.records,
        row.report.recoveries,
        row.report.voided,
        format!("{:?}", row.late),
        row.report.verdict(),
    )
}
