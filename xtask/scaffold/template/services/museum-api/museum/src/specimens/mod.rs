//! Specimens: a table, and the routes that create, list, read, update and delete its items.
//!
//! | module | contents |
//! |---|---|
//! | [`specimen`] | the types of a specimen, which cannot hold invalid values |
//! | [`controller`] | the business rules, one file per function; independent of Lambda, HTTP and AWS |
//! | [`service`] | the client of the table |
//! | [`http`] | request bodies and response bodies of the routes |

pub mod controller;
pub mod http;
pub mod service;
pub mod specimen;
