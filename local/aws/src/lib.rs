//! Local replacements for the services that a function calls. With them, a single function can run
//! without a deployed stage. One endpoint serves an in-memory DynamoDB, and the calls of S3, SSM, SNS
//! and SQS that functions make. The tables and the bucket contain the data to which the sample events
//! in `events/` refer.

mod billing; // part: billing
mod cloud;
mod endpoint;
mod sample;

pub use local_dynamodb::Dynamodb;

pub use crate::cloud::Cloud;
pub use crate::sample::{LAMBDA_VARIABLES, USER, environment_variable, prepare_event};
