//! The metrics of the functions, in CloudWatch's embedded metric format (EMF): members of the one log line that each
//! invocation writes. CloudWatch extracts the metrics from the log, so a function calls no API for them.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//!
//! The table `metrics.json` defines the metrics. A business rule records a metric where it learns the value, such as
//! `metrics::NOTES_CREATED.add(1)`. [`begin`] starts the record of an invocation, and [`Emf::finish`] writes it to the
//! log line. A Lambda function handles one invocation at a time, on one thread, so the record is a variable of the
//! thread. Without a record, as in most tests, nothing is recorded.

mod emf;
mod name;
mod record;
mod user_hash;

use std::{fmt::Display, time::Duration};

pub use emf::{Dimensions, Emf, Outcome};
pub use name::Name;
pub use record::{Record, begin, take};
pub use user_hash::UserHashKey;

include!(concat!(env!("OUT_DIR"), "/metric.rs"));

/// The namespace of the metrics in CloudWatch.
pub const NAMESPACE: &str = "Scratchpad";

/// The scope of a metric. It determines the dimensions of the metric in CloudWatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A metric of every invocation. It has three sets of dimensions: the stage and the route group, if the function has
    /// a route; the function; the function and its version.
    Invocation,
    /// A metric of the whole stage.
    Stage,
}

/// A metric whose values are added up: a count, or an amount of money in the smallest currency unit.
#[derive(Debug, Clone, Copy)]
pub struct Sum(Metric);

impl Sum {
    /// Adds `value` to the metric's value in this invocation. Zero records the metric too.
    pub fn add(self, value: u64) {
        record::with(|record| record.add(self.0, value));
    }
}

/// A metric whose value is an age, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Age(Metric);

impl Age {
    /// Sets the metric's value in this invocation.
    pub fn set(self, age: Duration) {
        record::with(|record| record.set(self.0, age.as_secs()));
    }
}

/// A field of the log line by which the lines of a purchase, note or file can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The ID of a purchase.
    Purchase,
    /// The ID of a note.
    Note,
    /// The ID of an uploaded file.
    File,
}

impl Subject {
    /// All subjects.
    pub const ALL: [Self; 3] = [Self::Purchase, Self::Note, Self::File];

    /// The name of the field.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Purchase => "purchase_id",
            Self::Note => "note_id",
            Self::File => "file_id",
        }
    }

    /// Adds the ID of a purchase, note or file that this invocation works on to its log line. The ID must not need an escape in
    /// JSON.
    pub fn log(self, id: impl Display) {
        record::with(|record| record.subject(self, &id));
    }
}

/// Adds the keyed hash of a user's ID to the log line of this invocation. The log contains no user IDs, which are the keys of
/// the users' data.
pub fn log_user(user_id: &str) {
    record::with(|record| record.user(user_id));
}
