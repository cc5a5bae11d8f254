//! The logic of notes-api, which all its functions share: notes and their attached files.
//!
//! | module | contents |
//! |---|---|
//! | [`note`], [`file`](mod@file) | the domain types, whose values are always valid |
//! | [`controller`] | the business rules, one file per function; independent of Lambda, HTTP and AWS |
//! | [`service`] | external services: one trait per service, with its AWS implementation |
//! | [`http`] | the bodies, responses and errors of the routes |

pub mod controller;
pub mod file;
pub mod http;
pub mod note;
pub mod service;
