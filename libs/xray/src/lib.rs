//! Traces of invocations, sent to the X-Ray daemon that Lambda runs beside a function.
//!
//! A traced invocation is a tree of subsegments under the segment that Lambda itself sends: the
//! [`invocation`], in it the handler's steps (spans of our own code), in those the calls to AWS
//! (clients that carry an [`AwsCall`]). Each is one datagram, sent as soon as its span closes, so
//! that all have left before the answer is given and Lambda freezes the process.
//!
//! Nothing is sent for an invocation that X-Ray didn't sample, and its spans cost next to nothing:
//! a span is only looked at inside a sampled invocation. Where no daemon listens, datagrams are
//! lost and nobody waits. What is said of a step is its name, its place and its time. Events go to
//! the log alone, and so do fields, but for those named `metadata.…`: give no such name to what a
//! user wrote.
//!
//! ```no_run
//! use tracing_subscriber::filter::Targets;
//! use tracing_subscriber::prelude::*;
//!
//! // At init
//! let ours = Targets::new().with_target("notes", tracing::Level::INFO);
//! tracing_subscriber::registry()
//!     .with(xray::layer(ours.clone())?)
//!     .with(tracing_subscriber::fmt::layer().json().with_filter(ours))
//!     .init();
//!
//! # async fn handle(_: String) -> u16 { 200 }
//! # async fn answer(header: Option<&str>, request_id: &str, event: String) {
//! // For every invocation
//! let span = xray::invocation(header, "get", request_id);
//! let status = tracing::Instrument::instrument(handle(event), span.clone()).await;
//! xray::record_status(&span, status);
//! # }
//! # Ok::<(), xray::Error>(())
//! ```

mod aws_call;
mod invocation;
mod layer;
mod subsegment;

pub use aws_call::AwsCall;
pub use invocation::{invocation, record_failure, record_status};
pub use layer::{Error, layer, layer_to};
