#[cfg(feature = "shell")]
pub mod ingest;
#[cfg(feature = "shell")]
pub mod pipeline;
