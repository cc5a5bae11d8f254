//! The metrics of the functions, in CloudWatch's embedded metric format (EMF): members of the one log line that each
//! invocation writes. CloudWatch extracts the metrics from the log, so a function calls no API for them.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//!
//! The table `metrics.json` defines the metrics. A business rule records a metric where it learns the value, such as
//! `metrics::NOTES_CREATED.add(1)`. [`begin`] starts the record of an invocation, and [`Emf::finish`] writes it to the
//! log line. A Lambda function handles one invocation at a time, on one thread, so the record is a variable of the
//! thread. Without a record, as in most tests, nothing is recorded.

mod emf;
mod metric;
mod name;
mod record;
mod user_hash;

pub use emf::{Dimensions, Emf, Outcome};
pub use metric::{Metric, NAMESPACE, Scope};
pub use name::Name;
pub use record::*;
pub use user_hash::UserHashKey;
