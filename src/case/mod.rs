//! The words, as types: what an alert, a fact and a ruling are, and how each is written.
//!
//! Nothing here decides anything, and nothing here knows Kafka, HTTP, files or the clock.

mod digits;
mod decimal;
mod time;
mod value;
mod field;
mod origin;
mod alert;
mod fact;
mod line;
mod reason;
mod ruling;
mod revision;
mod order;
mod worked;
mod told;
mod taxonomy;
mod techniques;
mod window;

pub use alert::{Alert, Arrival, Body, Unreadable};
pub use decimal::Decimal;
pub(crate) use digits::{from_base64, from_hex, hex, put_hex};
pub(crate) use fact::is_zero;
pub use fact::{
    Breadth, BreakOut, CacheState, Counters, EnricherShape, FactRow, FactState, Facts, Grouping,
    Stopped,
};
pub use field::{FIELDS, Field, FieldInfo, SEVERITIES, field_named};
pub use line::write_json;
pub use order::{
    Closing, Envelope, Excepting, Judgement, Part, Refusal, STATEMENT, STATEMENT_BYTES_MAX,
    Statement, Subject, VALID_MS_MAX, Verb, Via,
};
pub use origin::{Id, IdOf, Origin, WEBHOOK, id_of};
pub use reason::Reason;
pub use revision::{Again, Released, Revised, Standing, Wait};
pub use ruling::{
    Because, Blocked, BoundaryVerdict, Decision, Escalate, Evidence, Hold, Obligation, OnExpiry,
    Passed, PermitRecord, Priority, Route, Ruling, Seen, Shadow, Suppress, Verdict,
};
pub use taxonomy::{
    ATTACK_VERSION, OWASP_NHI, Technique, is_technique_id, owasp_nhi_name, technique, technique_ids,
};
pub use time::{Millis, duration_text, parse_duration};
pub use told::{CASE_STATES, CaseState, Change, Spread, Told};
pub use value::{Tri, Type, Value, Why};
pub use window::{
    Baseline, Count, Glimpse, Look, Mark, Reading, Sighting, Spans, WindowId, WindowValue,
};
pub use worked::{Act, Closed, Excepted, Worked};
