/// A JSON Schema (draft 2020-12) for each kind of file that users write, by its kind. Held true by
/// `tests/config/schemas.rs`: what the loader knows is what they know.
pub const SCHEMAS: [(&str, &str); 7] = [
    ("action", include_str!("schemas/action.json")),
    ("boundary", include_str!("schemas/boundary.json")),
    ("enricher", include_str!("schemas/enricher.json")),
    ("pipeline", include_str!("schemas/pipeline.json")),
    ("playbook", include_str!("schemas/playbook.json")),
    ("sink", include_str!("schemas/sink.json")),
    ("tipstaff", include_str!("schemas/tipstaff.json")),
];

/// The schema of a file, by its path from the root of a configuration.
pub fn schema_kind(path: &str) -> Option<&'static str> {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["tipstaff.yaml"] => Some("tipstaff"),
        ["pipelines", _, "pipeline.yaml"] => Some("pipeline"),
        ["enrichers", _, "enricher.yaml"] => Some("enricher"),
        ["playbooks", "actions", name] if name.ends_with(".yaml") => Some("action"),
        ["playbooks", "sinks", name] if name.ends_with(".yaml") => Some("sink"),
        ["playbooks", name] if name.ends_with(".yaml") => {
            let is_layer = *name == "boundary.yaml" || name.starts_with("boundary.");
            Some(if is_layer { "boundary" } else { "playbook" })
        }
        _ => None,
    }
}
