//! Sends traces of invocations to the X-Ray daemon that Lambda runs next to a function.
//!
//! A trace is a tree of subsegments below the segment that Lambda sends. The first level is the [`invocation`]. Below
//! it are the handler's steps (spans of our own code) and the calls to AWS (by clients with the interceptor
//! [`AwsCall`]). Each subsegment is one UDP datagram, which is sent when its span closes. Therefore all subsegments are
//! sent before the function returns its response and Lambda freezes the process.
//!
//! If X-Ray did not sample the invocation, nothing is sent, and spans cost almost nothing because they are disabled. If
//! no daemon is listening, the datagrams are lost and nothing waits. The subsegment of a step has the name, the parent
//! and the times of its span. It also has the fields named `metadata.…`: never put user input in these. Other fields
//! and all events go only to the log.
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
