//! The table of metrics, and the fields of a log line.

include!(concat!(env!("OUT_DIR"), "/metric.rs"));

/// The scope of a metric. It determines the dimensions of the metric in CloudWatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A metric of every invocation. It has three sets of dimensions: the stage and the route group, if the function has
    /// a route; the function; the function and its version.
    Invocation,
    /// A metric of the whole stage.
    Stage,
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
}
