//! Local replacements for the services that a function calls, behind one endpoint, to run a function
//! without a stage: an in-memory DynamoDB, the test double of Stripe, and the calls of S3, SSM, SNS and
//! SQS that functions make. They contain the data that the sample events in `events/` refer to.

mod cloud;
mod endpoint;
mod sample;

pub use local_dynamodb::Dynamodb;

pub use crate::cloud::Cloud;
pub use crate::sample::{LAMBDA_VARIABLES, USER, environment_variable, sign_event};
