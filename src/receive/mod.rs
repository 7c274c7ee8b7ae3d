//! HTTP: webhooks' deliveries and sinks' callbacks, told from forgeries, counted against limits,
//! repeats left out.
//!
//! In: requests to `POST /v1/alerts/<pipeline>` and `POST /v1/callbacks/<sink>`. Out: deliveries
//! whose sender is known, acknowledgements whose sink is, and an answer to each request. What must
//! stay true: a delivery is acknowledged only after [`Deliver`] said that the
//! brokers have it; a body is never held beyond its limit; a refusal never says which part was
//! wrong; nobody is asked but Amazon SNS, at hosts that the configuration's topics name, within a
//! time and a size. Deliberately absent: TLS, which ends at the proxy in front, and what a body
//! means.

mod answer;
mod callback;
mod claim;
mod fetch;
mod memory;
mod routes;
mod sender;
mod signature;
mod sns;

pub use answer::Delivered;
pub use callback::{Asked, Callback, NotAsked};
pub use memory::Memory;
pub use routes::{Deliver, Door, Doors, Limits, NotOrdered, serve};
pub use sender::{Delivery, Headers, Sender, Verified};
pub use sns::Sns;
