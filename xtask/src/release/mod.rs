//! The commands that plan, deploy, promote, roll back, list and remove releases and stages in the cloud.
//!
//! A release consists of artifacts such as CloudFormation templates and function zips, each stored
//! under its hash, and of a record that lists the artifacts. `deploy` builds a release from the sources. `promote` and
//! `rollback` use a stored release. All three commands then update the stage's stacks to the release's templates.
//!
//! | module | content |
//! |---|---|
//! | [`plan`] | `plan`: what a deploy of the sources would change in a stage |
//! | [`deploy`] | `deploy`, and the deployment of the local stage |
//! | [`promote`] | `promote` and `rollback` |
//! | [`history`] | `releases` and `stages` |
//! | [`remove`] | `remove` |
//! | [`secret`] | `secrets` |
// part: billing {
//! | [`stripe_keys`] | the check of the Stripe keys before a deploy |
// part: billing }
//! | [`bootstrap`] | `bootstrap` |
//! | [`migrate`] | `migrate`: changes of a stage's stored data |
//! | [`restore`] | `restore`: copies an earlier state of a table into a stage |
//! | [`dynamodb`], [`pace`], [`progress`] | requests to DynamoDB, their rate, and the progress of commands that make many |
//! | [`doctor`] | `doctor`: what the account of a stage lacks |
//! | [`context`] | a stage, with clients for its account's stacks and bucket of releases |
//! | [`artifacts`] | `build`, and the function zips of a release: built or reused |
//! | [`execute`] | the steps that deployments, promotions and removals share |
//! | [`change_plan`] | plans and executes the changes of a stage's stacks, with rollback |
//! | [`stack`], [`change`] | CloudFormation stacks, and the changes of their resources |
//! | [`api_gateway`], [`hosted_zone`] | the deployments of a REST API, the records of a DNS zone |
//! | [`rest`] | signed requests to services whose SDK crates xtask does not use |
//! | [`store`], [`record`], [`lease`] | the account's bucket: artifacts, records of releases, locks |
//! | [`template`], [`synth`] | templates, and their synthesis with `cdk` and `osls` |
//! | [`advice`] | what to do after a request to AWS has failed |
//! | [`app`] | the browser app: built or reused, and published | // part: web
//! | [`sources`] | the inputs of each function |
//! | [`table`], [`account`], [`target`] | the tables of serverless.yml, and the account of a stage |
//! | [`hash`], [`clock`], [`provenance`], [`confirm`] | hashes, time, user and commit, confirmation |

mod account;
mod advice;
mod api_gateway;
mod app; // part: web
mod artifacts;
mod bootstrap;
mod change;
mod change_plan;
mod clock;
mod confirm;
mod context;
mod deploy;
mod doctor;
mod dynamodb;
mod execute;
#[cfg(test)]
pub(crate) mod fake_aws;
mod hash;
mod history;
mod hosted_zone;
mod lease;
mod migrate;
mod pace;
mod plan;
mod progress;
mod promote;
mod provenance;
mod record;
mod remove;
mod rest;
mod restore;
#[cfg(test)]
mod s3_double;
mod secret;
mod sources;
mod stack;
mod store;
mod stripe_keys; // part: billing
mod stripe_mode; // part: billing
mod synth;
pub(crate) mod table;
mod target;
mod template;

pub(crate) use account::Account;
pub(crate) use advice::advice;
pub(crate) use artifacts::build;
pub(crate) use bootstrap::bootstrap;
pub(crate) use clock::now;
pub(crate) use confirm::confirm; // part: billing
pub(crate) use context::StageContext;
pub(crate) use deploy::{converge, deploy};
pub(crate) use doctor::aws::{Aws as OtherAws, Service as AwsService}; // part: billing
pub(crate) use doctor::doctor;
pub(crate) use doctor::stripe_api::{Answer as StripeAnswer, StripeApi}; // part: billing
pub(crate) use history::{Age, releases, stages};
pub(crate) use migrate::{MigrateOptions, Migration, migrate};
pub(crate) use plan::plan;
pub(crate) use promote::{Approval, Consent, promote, rollback};
pub(crate) use remove::remove;
pub(crate) use rest::Rest;
pub(crate) use restore::{RestoreOptions, restore};
pub(crate) use secret::{Secret, secrets};
pub(crate) use sources::fingerprints;
pub(crate) use stripe_keys::{secret_key, webhook_secret}; // part: billing
pub(crate) use synth::{services, synthesize, templates};
pub(crate) use table::{Architecture, Infrastructure, StageName, Tables};
pub(crate) use target::{Target, export};
