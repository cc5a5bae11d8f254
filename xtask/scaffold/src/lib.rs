//! Changes the sources of the project: makes it another product, and generates services, resources, routes and jobs.
//!
//! Every command computes all its changes in a [`Tree`] first. So it can print them, and it writes either all of them or, if
//! something blocks it, none.

mod format;
pub mod init;
mod lock;
pub mod new;
pub mod parts;
mod tree;

pub use format::format;
pub use lock::lock;
pub use tree::Tree;
