//! A detector's JSON in, the raw values at the asked paths out; no tree is ever built.
//!
//! The text must be whole, valid JSON and nothing after it. Values stay slices of the text: numbers
//! keep their digits, strings are unescaped only when somebody reads them. A malformed text is told
//! by kind and place, never by quoting it.

mod path;
mod scan;
mod raw;
mod keys;
mod extract;
mod leaves;

pub use extract::{Extractor, Slots};
pub use leaves::{Leaf, leaves};
pub use path::{Path, Start, Step};
pub use raw::{Kind, Raw};
pub use scan::{DEPTH_MAX, Fault, Malformed, line_column, utf8};
