use tipstaff::normalize::partition_key;

use super::*;

#[test]
fn an_example_is_known_by_its_shape_alone() {
    let (pipelines, keys) = (shipped(), keys());
    for Example { detector, name, bytes, .. } in examples() {
        if bytes.starts_with(b"[]") || bytes.starts_with(b"null") {
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
    for Example { detector, topic, name, bytes } in examples() {
        let message = incoming(&topic, &bytes);
        let arrivals = pipelines.read(&message, None, &keys);
        assert_eq!(arrivals, pipelines.read(&message, None, &keys), "{detector}/{name}");
        for (index, arrival) in arrivals.iter().enumerate() {
            assert_eq!(arrival.origin.index as usize, index);
            assert_eq!(arrival.origin.of as usize, arrivals.len());
            assert_eq!(arrival.alert_id, arrival.origin.alert_id());
            assert!(!partition_key(arrival).is_empty());
        }
    }
}
