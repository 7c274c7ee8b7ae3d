use std::fs;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};
use tipstaff::ingest::{Admin, Created, TopicSpec};

use super::super::rig::wait_until;
use super::super::{seats, settings};
use super::{GITLEAKS, PATIENCE, Process, Site, drains, says};

const TOPIC: &str = "identity.owners";
const DEPLOYER: &str = "aws:iam:123456789012:user:ci-deployer";
const MISSING: &str = "topic identity.owners is missing: enricher `owner` reads it";

#[test]
fn a_topic_is_a_table_before_the_first_ruling_and_while_it_changes() {
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let site = Site::beside_others(&bootstrap, "topics");
    site.create("");
    let (directory, port) = site.config("t1", "");
    let file = site.own("t1", "enrichers").join("owner/enricher.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let source = text.find("source:").unwrap();
    fs::write(&file, format!("{}source: {{topic: {{name: {TOPIC}}}}}\n", &text[..source])).unwrap();

    nobody_makes_the_topic(&site);
    make(&site.bootstrap);
    let others: Vec<String> = (0..2_000).map(|n| format!("other-{n}")).collect();
    let (some, web) = (owner("some-team"), owner("web-platform"));
    let rows = others.iter().map(|key| (key.as_str(), Some(some.as_str())));
    let rows: Vec<_> = rows.chain([(DEPLOYER, Some(web.as_str()))]).collect();
    put(&site.bootstrap, &rows);
    aborted(&site.bootstrap, DEPLOYER, &owner("never-said"));

    // There before the process is.
    publish_finding(&site, 1);
    let mut process = Process::start(&directory, "intake,triage", port);
    let first = ruling(&site, &process, 1);
    assert_eq!(fact(&first)["values"]["team"], "web-platform", "{}", process.log());
    assert_eq!(fact(&first)["source"], "topic:identity.owners");
    says(&process, &["topic `identity.owners` is read as a table: 2001 keys"]);

    put(&site.bootstrap, &[(DEPLOYER, Some(&owner("new-team")))]);
    counted(&process, "read", 2_002);
    let second = ruled(&site, &process, 2);
    assert_eq!(fact(&second)["values"]["team"], "new-team");
    assert_ne!(fact(&second)["version"], fact(&first)["version"]);
    assert_eq!(second["policy"], first["policy"], "a topic is data, not policy");

    put(&site.bootstrap, &[(DEPLOYER, Some("{\"team\": [1]}"))]);
    counted(&process, "refused", 1);
    says(
        &process,
        &["enricher `owner` cannot use a record: identity.owners/", "`team` must be one value"],
    );
    let third = ruled(&site, &process, 3);
    assert_eq!(
        (&fact(&third)["state"], &fact(&third)["why"]),
        (&json!("unknown"), &json!("error"))
    );
    let detail = fact(&third)["detail"].as_str().unwrap();
    assert!(detail.ends_with("`team` must be one value"), "{detail}");

    put(&site.bootstrap, &[(DEPLOYER, None)]);
    counted(&process, "deleted", 1);
    let fourth = ruled(&site, &process, 4);
    assert_eq!(fact(&fourth)["state"], "absent");
    drains(&mut process);

    let mut again = Process::start(&directory, "intake,triage", port);
    let fifth = ruled(&site, &again, 5);
    assert_eq!(fact(&fifth)["state"], "absent", "{}", again.log());
    assert!(
        fact(&fifth)["as_of"].as_str() > fact(&fourth)["as_of"].as_str(),
        "as of the last look"
    );
    let shown = site.verb(&["lookup", "owner", "other-7"], "t1");
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.out.contains("some-team"), "{shown:?}");
    drains(&mut again);
}

fn nobody_makes_the_topic(site: &Site) {
    let checked = site.verb(&["topics", "check"], "t1");
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.out.contains(MISSING), "{checked:?}");
    let created = site.verb(&["topics", "create"], "t1");
    assert!(created.out.contains(MISSING), "{created:?}");
    let known = Admin::connect(&settings(&site.bootstrap)).unwrap();
    assert_eq!(known.partitions(TOPIC), Ok(None), "made by us");
}

fn make(bootstrap: &str) {
    let spec = TopicSpec {
        name: TOPIC.to_owned(),
        partitions: 2,
        replication: 1,
        config: vec![("cleanup.policy".to_owned(), "compact".to_owned())],
    };
    let admin = Admin::connect(&settings(bootstrap)).unwrap();
    assert_eq!(admin.create(&[spec]).unwrap(), [Created::Made]);
    assert!(wait_until(PATIENCE, || admin.partitions(TOPIC) == Ok(Some(2))));
}

fn owner(team: &str) -> String {
    json!({"team": team, "tier": "2", "environment": "staging", "lifecycle": "active"}).to_string()
}

fn producer(bootstrap: &str, transactional: bool) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("enable.idempotence", "true");
    if transactional {
        config.set("transactional.id", "whoever-fills-it");
    }
    config.create().unwrap()
}

fn send(producer: &BaseProducer, key: &str, value: Option<&str>) {
    let mut record = BaseRecord::<str, str>::to(TOPIC).key(key);
    if let Some(value) = value {
        record = record.payload(value);
    }
    producer.send(record).map_err(|(error, _)| error).unwrap();
}

fn put(bootstrap: &str, rows: &[(&str, Option<&str>)]) {
    let producer = producer(bootstrap, false);
    rows.iter().for_each(|(key, value)| send(&producer, key, *value));
    producer.flush(PATIENCE).unwrap();
}

fn aborted(bootstrap: &str, key: &str, value: &str) {
    let producer = producer(bootstrap, true);
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    send(&producer, key, Some(value));
    producer.flush(PATIENCE).unwrap();
    producer.abort_transaction(PATIENCE).unwrap();
}

fn publish_finding(site: &Site, count: usize) {
    let finding = json!([{
        "RuleID": "aws-access-token", "Description": "d", "Secret": "AKIADEPLOYKEYEXAMPLE",
        "Match": "m", "File": format!("{count}.py"), "Fingerprint": format!("c:{count}.py:r:1"),
    }]);
    site.publish(&[(GITLEAKS, 0, Some(finding.to_string().into_bytes()))]);
}

fn ruling(site: &Site, process: &Process, count: usize) -> Value {
    let rulings = site.rulings(count, process);
    let file = format!("{count}.py");
    rulings.into_iter().find(|ruling| ruling["alert"]["location"]["file"] == file).unwrap()
}

/// Publishes one more finding of the same key and returns its ruling.
fn ruled(site: &Site, process: &Process, count: usize) -> Value {
    publish_finding(site, count);
    ruling(site, process, count)
}

fn fact(ruling: &Value) -> &Value {
    let facts = ruling["facts"].as_array().unwrap();
    facts.iter().find(|fact| fact["enricher"] == "owner").unwrap()
}

fn counted(process: &Process, result: &str, count: usize) {
    let name = "tipstaff_lookup_topic_records_total{enricher=\"owner\",result=";
    let wanted = format!("{name}\"{result}\"}} {count}");
    let has =
        || process.get("/metrics").is_some_and(|(_, page)| page.lines().any(|line| line == wanted));
    assert!(wait_until(PATIENCE, has), "{wanted} is not counted: {}", process.log());
}
