//! Sends traces of invocations to the X-Ray daemon that Lambda runs next to a function.
//!
//! A trace is a tree of subsegments below the segment that Lambda sends. The first level is the subsegment of the
//! [`invocation`]. Below it are the subsegments of the handler's steps (spans of our own code) and of the AWS calls (by
//! clients that have the interceptor [`AwsCall`]). Each subsegment is one UDP datagram. The datagram is sent when the
//! span of the subsegment closes. Therefore all subsegments are sent before the function returns its response and
//! Lambda freezes the process.
//!
//! If X-Ray did not sample the invocation, nothing is sent, and spans take almost no time because they are disabled. If
//! no daemon is listening, the datagrams are lost and the function does not wait. The subsegment of a step has the
//! name, the parent and the times of its span. It also has the span's fields whose names start with `metadata.`: never
//! put user input into these fields. Other fields and all events go only to the log.
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
