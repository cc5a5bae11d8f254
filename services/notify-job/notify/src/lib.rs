//! The library of notify-job: the business rule that sends an SMS about each notice of a purchase, and
//! the service that sends SMS.
//!
//! | module | contents |
//! |---|---|
//! | [`text`] | the texts of the SMS |
//! | [`controller`] | the business rule; independent of Lambda and AWS |
//! | [`service`] | the service that sends SMS: a trait, and its implementations with SNS and in memory |

pub mod controller;
pub mod service;
pub mod text;
