//! The business rules of specimens, one file per function.

mod create;
mod delete;
#[cfg(test)]
mod fixtures;
mod get;
mod list;
mod update;

pub use create::create;
pub use delete::delete;
pub use get::get;
pub use list::list;
pub use update::update;
