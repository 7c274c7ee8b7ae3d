use std::path::Path;

use crate::app::{Failure, Loaded};
use crate::config::Files;
use crate::text::{Data, Problems, Source, read};

/// What `--against` names on this machine: the directory of a configuration, or of playbooks or a
/// boundary's file, which stand for those of `loaded`.
pub(super) fn files(path: &Path, loaded: &Loaded) -> Result<Files, Failure> {
    if !path.is_dir() {
        return with_layer(path, loaded);
    }
    let is_playbooks = path.join("boundary.yaml").exists() && !path.join("playbooks").exists();
    Ok(if is_playbooks { loaded.files.with_playbooks(path) } else { Files::read(path) })
}

/// The layer of the file's name exchanged.
fn with_layer(path: &Path, loaded: &Loaded) -> Result<Files, Failure> {
    let unread = |error| Failure::Usage(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(unread)?;
    let source = Source::new(path.display().to_string(), text);
    let layers = &loaded.checked.policy.boundary().layers;
    let name = layer_name(&source)?;
    let Some(layer) = layers.iter().find(|layer| layer.name == name) else {
        let names: Vec<&str> = layers.iter().map(|layer| &*layer.name).collect();
        let names = names.join(", ");
        let message = format!("{}: no layer is called `{name}`: {names}", path.display());
        return Err(Failure::Usage(message));
    };
    let mut files = loaded.files.clone();
    let place = files.iter().find(|(_, file)| file.source.path == layer.at.path);
    let place = place.map(|(place, _)| place.to_owned());
    place.into_iter().for_each(|place| files.insert(&place, source.clone(), None));
    Ok(files)
}

fn layer_name(source: &Source) -> Result<String, Failure> {
    let mut problems = Problems::default();
    let node = read(source, &mut problems);
    let name = node.as_ref().and_then(|node| match &node.data {
        Data::Map(entries) => entries.iter().find(|(key, _)| key.text() == Some("boundary")),
        _ => None,
    });
    if let Some(name) = name.and_then(|(_, value)| value.text()) {
        return Ok(name.to_owned());
    }
    if let Some(node) = node {
        problems.add(&node.at, "a boundary says `boundary: <name>` first");
    }
    Err(Failure::Configuration(problems.into_sorted()))
}
