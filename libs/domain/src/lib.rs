//! Types that several services share. Parsing rejects invalid values.

mod author;
pub mod events; // part: billing
mod id;
mod page;
mod service_error;
pub mod stripe; // part: billing
mod timestamp;
mod user;

pub use author::{Author, Sub};
pub use id::Id;
pub use page::Page;
pub use service_error::{Cause, ServiceError};
pub use timestamp::Timestamp;
pub use user::UserId;
