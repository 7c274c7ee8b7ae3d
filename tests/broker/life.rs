use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tipstaff::ingest::{Admin, LogReader, TopicIdError};
use tipstaff::normalize::{FingerprintKeys, compile};
use tipstaff::observe::{Metrics, Traces};
use tipstaff::pipeline::{
    AlertEnds, Current, Ended, Hint, Intake, IntakeMetadata, Phase, RecoveryRules, Stage, Start,
    Topics,
};
use tipstaff::text::Problems;

use crate::checker::all;
use crate::kafka::{Kafka, free_ports};
use crate::product::PATIENCE;
use crate::rig::{Feed, PARTITIONS, create_lane, report, start, wait_until};
use crate::{create_topics, seats, settings};

fn drained_within(running: crate::rig::Running, limit: Duration) -> Ended {
    let began = Instant::now();
    running.drain.start();
    let ended = running.thread.join().unwrap();
    assert!(began.elapsed() < limit, "took {:?} to drain", began.elapsed());
    ended
}

#[test]
fn without_a_broker_a_worker_waits_and_can_still_be_drained() {
    let nobody = format!("127.0.0.1:{}", free_ports(1)[0]);
    let running = start(&nobody, "nobody", "0", RecoveryRules::ALL);
    std::thread::sleep(Duration::from_millis(500));
    assert!(!running.thread.is_finished());
    assert_eq!(running.progress.phase(), Phase::Waiting);
    assert_eq!(drained_within(running, Duration::from_secs(5)), Ended::Drained);
}

#[test]
fn the_same_worker_runs_on_the_mock_cluster() {
    let mock = MockCluster::new(1).unwrap();
    for topic in ["mock.in", "mock.chain", "mock.out"] {
        mock.create_topic(topic, 2, 1).unwrap();
    }
    let bootstrap = mock.bootstrap_servers();
    let running = start(&bootstrap, "mock", "0", RecoveryRules::ALL);
    let feed = Feed::start(&bootstrap, "mock");
    let is_moving = wait_until(PATIENCE, || running.progress.commits.load(SeqCst) > 5);
    feed.stop();
    assert!(is_moving, "nothing was committed");
    let log = LogReader::connect(&settings(&bootstrap), "mock.checker").unwrap();
    let is_complete = wait_until(PATIENCE, || {
        (0..2).all(|p| {
            all(&log, "mock.in", p).unwrap().len() == all(&log, "mock.chain", p).unwrap().len()
        })
    });
    assert!(is_complete, "not every input has its record");
    drained_within(running, Duration::from_secs(4));
    let ids = Admin::connect(&settings(&bootstrap)).unwrap().topic_ids(&["mock.in"]);
    assert_eq!(ids, Err(TopicIdError::NotSupported));
}

pub fn shares_restart_and_double() {
    let Some(mut kafka) = Kafka::start(&[]) else { return };
    let bootstrap = kafka.bootstrap();

    create_lane(&bootstrap, "life");
    let mut feed = Feed::start(&bootstrap, "life");
    let first = start(&bootstrap, "life", "0", RecoveryRules::ALL);
    assert!(wait_until(PATIENCE, || first.progress.commits.load(SeqCst) > 10));
    let second = start(&bootstrap, "life", "1", RecoveryRules::ALL);
    assert!(wait_until(PATIENCE, || second.progress.commits.load(SeqCst) > 10));
    for pause in [Duration::ZERO, Duration::from_secs(1)] {
        // Between commits, as in `product::stop_between_commits`.
        feed.stop();
        assert!(wait_until(PATIENCE, || report(&bootstrap, "life").is_green()));
        kafka.stop();
        feed = Feed::start(&bootstrap, "life");
        std::thread::sleep(pause);
        kafka.resume();
        let after = first.progress.commits.load(SeqCst);
        assert!(wait_until(PATIENCE, || first.progress.commits.load(SeqCst) > after + 5));
    }
    feed.stop();
    assert!(wait_until(PATIENCE, || report(&bootstrap, "life").is_green()));
    assert_eq!(drained_within(first, Duration::from_secs(4)), Ended::Drained);

    let double = start(&bootstrap, "life", "1", RecoveryRules::ALL);
    let is_noticed =
        wait_until(PATIENCE, || second.thread.is_finished() || double.thread.is_finished());
    assert!(is_noticed, "two workers of one name went on");
    let ended: Vec<Ended> = [second, double]
        .into_iter()
        .map(|running| {
            running.drain.start();
            running.thread.join().unwrap()
        })
        .collect();
    assert!(ended.iter().any(|ended| matches!(ended, Ended::Duplicate { .. })), "{ended:?}");
    assert!(report(&bootstrap, "life").is_green());
}

/// Another's transaction, which is left open on the first partition.
fn begun(bootstrap: &str, topic: &str) -> BaseProducer {
    let other: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", format!("other.{topic}"))
        .set("transaction.timeout.ms", "8000")
        .set("message.timeout.ms", "5000")
        .create()
        .unwrap();
    other.init_transactions(Duration::from_secs(10)).unwrap();
    other.begin_transaction().unwrap();
    let stray = BaseRecord::<str, str>::to(topic).partition(0).payload("never committed");
    other.send(stray).map_err(|(error, _)| error).unwrap();
    other.flush(Duration::from_secs(5)).unwrap();
    other
}

/// Under load another intake worker always has a transaction open.
#[test]
fn intake_reads_back_what_is_settled_while_another_worker_writes() {
    let Some((_place, bootstrap)) = seats::shared() else { return };
    create_topics(&bootstrap, &["busy.in", "busy.alerts"], PARTITIONS);
    let settings = settings(&bootstrap);
    let (admin, log) = (Admin::connect(&settings), LogReader::connect(&settings, "busy.checker"));
    let (admin, log) = (admin.unwrap(), log.unwrap());
    let incarnation = admin.topic_ids(&["busy.in"]).unwrap().remove(0);
    let metadata = IntakeMetadata { incarnation, from: 0, ends: vec![0, 0] }.to_string();
    let _open = begun(&bootstrap, "busy.alerts");
    assert_eq!(log.stable("busy.alerts", 0).unwrap(), 0);
    assert_eq!(log.high("busy.alerts", 0).unwrap(), 1);
    let keys = FingerprintKeys::new(("k", &[1; 16]), None).unwrap();
    let pipelines = compile(&[], None, &mut Problems::default()).unwrap();
    let mut intake = Intake::new(
        (Current::new(Arc::new(pipelines)), Arc::new(keys)),
        Topics::new("busy", PARTITIONS),
        (admin, AlertEnds::new(PARTITIONS)),
        (Metrics::new().unwrap(), Traces::default()),
    );
    let (topic, partition) = ("busy.in".to_owned(), 0);
    let hint = Hint { topic: topic.clone(), partition, committed: Some(0), metadata };
    let started = intake.recover(&[hint], &log);
    assert_eq!(started, Ok(vec![Start::At { topic, partition, offset: 0 }]));
}

#[test]
fn an_open_transaction_of_another_holds_back_only_its_partition() {
    let _beside = seats::beside();
    let Some(kafka) = Kafka::start(&[]) else { return };
    let bootstrap = kafka.bootstrap();
    create_lane(&bootstrap, "open");
    let _open = begun(&bootstrap, "open.chain");

    let feed = Feed::start(&bootstrap, "open");
    let running = start(&bootstrap, "open", "0", RecoveryRules::ALL);
    let log = LogReader::connect(&settings(&bootstrap), "open.checker").unwrap();
    let stable = |partition| log.stable("open.chain", partition).unwrap();
    assert!(wait_until(PATIENCE, || stable(1) > 10), "the other partition waits too");
    assert_eq!(stable(0), 0);
    assert_eq!(running.progress.blocked_partitions.load(SeqCst), 1);
    assert!(running.progress.open_transactions.load(SeqCst) >= 1);
    assert!(wait_until(PATIENCE, || stable(0) > 10), "the partition never came back");
    feed.stop();
    let large: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &bootstrap)
        .set("message.max.bytes", "9437184")
        .create()
        .unwrap();
    let payload = vec![b'x'; 8 << 20];
    let record = BaseRecord::<str, [u8]>::to("open.in").partition(1).payload(&payload);
    large.send(record).map_err(|(error, _)| error).unwrap();
    large.flush(Duration::from_secs(10)).unwrap();
    assert!(wait_until(PATIENCE, || report(&bootstrap, "open").is_green()));
    assert_eq!(drained_within(running, Duration::from_secs(4)), Ended::Drained);

    let admin = Admin::connect(&settings(&bootstrap)).unwrap();
    let ids = admin.topic_ids(&["open.in", "open.out"]).unwrap();
    assert!(ids[0].len() > 20 && ids[0] != ids[1], "{ids:?}");
    let missing = admin.topic_ids(&["open.no"]);
    assert_eq!(missing, Err(TopicIdError::Missing("open.no".to_owned())));
    assert!(admin.cluster_id(Duration::from_secs(5)).is_some());
}
