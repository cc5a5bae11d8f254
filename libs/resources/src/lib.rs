//! Resources: items that belong to one user each, with a table per type of resource.
//!
//! A service defines a type, such as `Book`, implements [`Resource`] for it, and gets its storage:
//!
//! - The partition key is `userId`, and the sort key is a UUID of version 7, so that newer resources have greater ids.
//! - Each write gives the resource a new [`Version`], which is its entity tag. A write can require a version.
//! - The values of some fields can be unique among the resources of a user, see [`Fields::UNIQUE`].
//! - A resource that is created again with the same [`Plan`] is created once.
//!
//! | module | contents |
//! |---|---|
//! | `resource` | the traits of a resource and its fields, and what a write needs |
//! | `store` | the trait of the storage |
//! | `table` | the storage in DynamoDB |
//! | [`memory`] | the storage in memory, for tests |
//! | [`http`] | request headers, and problem documents |
//! | [`prelude`] | the names that a module with a resource needs |

mod error;
pub mod http;
pub mod memory;
pub mod prelude;
mod resource;
mod store;
mod table;

pub use error::Error;
pub use resource::{
    Change, Defaults, Fields, Plan, Precondition, Resource, UniqueFields, Version, WriteKind,
};
pub use store::Store;
pub use table::ResourceTable;
