//! The definition of the metrics.

include!(concat!(env!("OUT_DIR"), "/metric.rs"));

/// The namespace of the metrics in CloudWatch.
pub const NAMESPACE: &str = "Scratchpad";

/// The scope of a metric. It determines the dimensions of the metric in CloudWatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A metric of every invocation. Its sets of dimensions are: the stage and the route group, if the function has a route;
    /// the function; the function and its version, if the version has a number. The faults of functions with a route have
    /// the stage alone as another set.
    Invocation,
    /// A metric of the whole stage.
    Stage,
}
