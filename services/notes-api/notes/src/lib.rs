//! What the functions of notes-api share: the business rules of notes and of the files that go
//! with them, and the services that these rules stand on.
//!
//! | module | knows |
//! |---|---|
//! | [`note`], [`file`](mod@file) | what the words mean: types that cannot be wrong |
//! | [`controller`] | the rules, one file per route; nothing of Lambda, HTTP or AWS |
//! | [`service`] | what is outside: one trait per thing, and its AWS implementation |
//! | [`http`] | what the routes' handlers share: bodies, answers, statuses |

pub mod controller;
pub mod file;
pub mod http;
pub mod note;
pub mod service;
