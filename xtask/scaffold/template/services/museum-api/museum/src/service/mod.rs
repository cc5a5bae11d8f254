//! External services: a file per table, with its client.

pub mod specimens;
