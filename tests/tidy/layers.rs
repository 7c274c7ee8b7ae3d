//! Who may know whom.

use May::{Above, Only};

/// What a module may import of the crate, beside itself.
pub enum May {
    Only(&'static [&'static str]),
    /// Every row above its own.
    Above,
}

/// In the order of `src/lib.rs`. The shell begins at `observe`; a stage (`enrich`, `receive`, `deliver`, `ingest`) never
/// imports another stage.
pub const LAYERS: &[(&str, May)] = &[
    ("text", Only(&[])),
    ("pattern", Only(&[])),
    ("json", Only(&["pattern"])),
    ("case", Only(&[])),
    ("clause", Only(&["case", "text", "pattern"])),
    ("policy", Only(&["case", "text", "clause"])),
    ("normalize", Only(&["case", "text", "json", "pattern"])),
    ("audit", Only(&["case"])),
    ("correlate", Only(&["case", "audit"])),
    ("decide", Only(&["case", "policy", "clause", "text"])),
    ("replay", Only(&["case", "policy", "clause", "audit", "decide"])),
    ("trial", Only(&["case", "policy", "clause", "text", "correlate", "decide"])),
    ("config", Above),
    ("observe", Only(&["case", "config"])),
    ("service", Only(&["case", "config", "observe"])),
    ("enrich", Only(&["case", "config", "text", "observe", "service"])),
    ("receive", Only(&["case", "config", "text", "observe"])),
    ("deliver", Only(&["case", "config", "text", "observe", "service"])),
    ("ingest", Only(&["case", "config", "observe"])),
    ("pipeline", Above),
    ("app", Above),
    ("cli", Above),
];

/// The first module of the shell.
const SHELL: &str = "observe";

fn place(module: &str) -> Option<usize> {
    LAYERS.iter().position(|(name, _)| *name == module)
}

pub fn is_module(name: &str) -> bool {
    place(name).is_some()
}

/// The files beside the modules (`lib.rs`, `main.rs`, `build.rs`) are in no layer and may.
pub fn may_import(module: &str, other: &str) -> bool {
    let (Some(own), Some(others)) = (place(module), place(other)) else { return true };
    own == others
        || match &LAYERS[own].1 {
            Only(may) => may.contains(&other),
            Above => others < own,
        }
}

pub fn is_core(module: &str) -> bool {
    place(module) < place(SHELL) && is_module(module)
}
