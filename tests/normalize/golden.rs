use std::collections::BTreeSet;

use tipstaff::normalize::partition_key;

use super::*;

/// A new example is a new test: its snapshot is written when `INSTA_UPDATE=always` is set.
#[test]
fn every_example_is_read_as_its_snapshot_says() {
    let (pipelines, keys) = (shipped(), keys());
    for (detector, name, bytes) in examples() {
        let arrivals = pipelines.read(&incoming(topic_of(detector), &bytes), None, &keys);
        assert!(arrivals.iter().all(|arrival| !partition_key(arrival).is_empty()));
        let settings = {
            let mut settings = insta::Settings::clone_current();
            settings.set_snapshot_path("snapshots");
            settings.set_prepend_module_to_snapshot(false);
            settings.set_omit_expression(true);
            settings
        };
        settings.bind(|| insta::assert_json_snapshot!(format!("{detector}--{name}"), arrivals));
    }
}

#[test]
fn every_snapshot_has_its_example() {
    let known: BTreeSet<String> =
        examples().iter().map(|(detector, name, _)| format!("{detector}--{name}.snap")).collect();
    let written: BTreeSet<String> = files_of(&root().join("tests/normalize/snapshots"))
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(written, known);
}

#[test]
fn an_example_is_known_by_its_shape_alone() {
    let (pipelines, keys) = (shipped(), keys());
    for (detector, name, bytes) in examples() {
        if bytes.starts_with(b"[]") {
            continue;
        }
        let arrivals = pipelines.read(&incoming("some.other.topic", &bytes), None, &keys);
        let is_fitting = arrivals.iter().all(|arrival| arrival.pipeline == detector);
        let is_unknown = name == "no-event-type";
        assert!(is_fitting != is_unknown, "{detector}/{name}");
    }
}

#[test]
fn a_fan_out_is_complete_and_ids_never_depend_on_a_retry() {
    let (pipelines, keys) = (shipped(), keys());
    for (detector, name, bytes) in examples() {
        let message = incoming(topic_of(detector), &bytes);
        let arrivals = pipelines.read(&message, None, &keys);
        assert_eq!(arrivals, pipelines.read(&message, None, &keys), "{detector}/{name}");
        for (index, arrival) in arrivals.iter().enumerate() {
            assert_eq!(arrival.origin.index as usize, index);
            assert_eq!(arrival.origin.of as usize, arrivals.len());
            assert_eq!(arrival.alert_id, arrival.origin.alert_id());
        }
    }
}
