//! The names that a module with a resource needs: `use resources::prelude::*`.

pub use domain::{Author, Id, Page, Sub, Timestamp, UserId};
pub use values::*;

pub use crate::{
    Change, Defaults, Fields, Plan, Precondition, Resource, Store, UniqueFields, Version,
};
