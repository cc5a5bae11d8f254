//! The library of all functions of notes-api: the business rules of notes and their files, and the
//! services that the rules use.
//!
//! | module | contents |
//! |---|---|
//! | [`note`], [`file`](mod@file), [`storage`] | domain types that cannot hold invalid values |
//! | [`controller`] | the business rules, one file per function; independent of Lambda, HTTP and AWS |
//! | [`service`] | external services: traits, and their implementations with AWS |
//! | [`http`] | request bodies, response bodies and problem documents of the routes |

pub mod controller;
pub mod credit; // part: billing
pub mod file;
pub mod http;
pub mod note;
pub mod service;
pub mod storage;
