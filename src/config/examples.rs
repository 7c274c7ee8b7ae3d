use super::files::Files;
use super::load::folder;
use crate::case::{Arrival, Body, Millis, Reason};
use crate::normalize::{FingerprintKeys, Incoming, Pipeline, Pipelines};
use crate::text::{At, Problems};

/// Where several pipelines read one topic, the examples of each must be its own: a message that two
/// claim would be unreadable, one that the wrong one claims would be misread.
pub(super) fn check_examples(files: &Files, pipelines: &Pipelines, problems: &mut Problems) {
    // Which key it is does not matter: no fingerprint leaves here.
    let Ok(keys) = FingerprintKeys::new(("check", &[0; 32]), None) else { return };
    for pipeline in pipelines.list() {
        let readers = pipelines.list().iter().filter(|other| other.topic == pipeline.topic);
        if readers.count() < 2 {
            continue;
        }
        let mut own = files.iter().filter(|(_, file)| file.source.path == pipeline.file);
        let Some(examples) = own.next().map(|(path, _)| format!("{}/examples/", folder(path)))
        else {
            continue;
        };
        for (_, file) in files.iter().filter(|(path, _)| path.starts_with(&examples)) {
            let arrivals = pipelines.read(&incoming(pipeline, &file.source.text), None, &keys);
            if let Some(why) = arrivals.iter().find_map(|arrival| stranger(arrival, pipeline)) {
                let at = At { path: file.source.path.clone(), line: 1, column: 1 };
                problems.add(&at, format!("on the topic `{}` {why}", pipeline.topic));
            }
        }
    }
}

fn stranger(arrival: &Arrival<'_>, pipeline: &Pipeline) -> Option<String> {
    if !arrival.pipeline.is_empty() && arrival.pipeline != pipeline.name {
        return Some(format!("it is claimed by `{}`", arrival.pipeline));
    }
    match &arrival.body {
        Body::Unreadable(unreadable) if unreadable.reason == Reason::AmbiguousShape => {
            Some("several pipelines claim it: tell them apart with `detect`".to_owned())
        }
        _ => None,
    }
}

fn incoming<'m>(pipeline: &'m Pipeline, text: &'m str) -> Incoming<'m> {
    Incoming {
        topic: &pipeline.topic,
        incarnation: "-",
        partition: 0,
        offset: 0,
        headers: &[],
        value: Some(text.as_bytes()),
        received_at: Millis(0),
    }
}
