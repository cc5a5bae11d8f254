//! Sends traces of invocations to the X-Ray daemon that Lambda runs next to a function.
//!
//! A trace is a tree of subsegments below the segment that Lambda sends: the [`invocation`], below it the handler's steps
//! (spans of our own code), and below those the calls to AWS (of clients with the interceptor [`AwsCall`]). Each
//! subsegment is one UDP datagram, sent when its span closes. So all are sent before the function returns its response
//! and Lambda freezes the process.
//!
//! If X-Ray did not sample the invocation, nothing is sent and spans cost almost nothing, because spans are recorded only
//! inside a sampled invocation. If no daemon is listening, the datagrams are lost and nothing waits. The subsegment of a
//! step has its name, its parent and its times. Events go only to the log, and so do fields, except fields named
//! `metadata.…`: never put user input in those.
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
//! # async fn respond(header: Option<&str>, request_id: &str, event: String) {
//! // For every invocation
//! let span = xray::invocation(header, "notes-get", request_id);
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
