//! The library of all functions of museum-api: the business rules, and the services that the rules use.
//!
//! | module | contents |
//! |---|---|
//! | [`controller`] | the business rules, one file per function; independent of Lambda, HTTP and AWS |
//! | [`service`] | external services: the clients of the tables |
//! | [`http`] | request bodies, response bodies and problem documents of the routes |
//!
//! Each other module has the types of one resource, which cannot hold invalid values.

pub mod controller;
pub mod http;
pub mod service;
pub mod specimen;
