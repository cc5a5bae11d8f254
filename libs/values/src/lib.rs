//! The types of the fields of resources. They cannot hold invalid values: parsing rejects them, with an
//! error text for clients.
//!
//! | type | valid values | JSON | DynamoDB |
//! |---|---|---|---|
//! | [`Text<MAX>`](Text) | 1 to `MAX` characters | string | S |
//! | [`Integer<MAX>`](Integer) | integers from -`MAX` to `MAX` | number | N |
//! | [`Decimal<MAX>`](Decimal) | numbers from -`MAX` to `MAX` | number | N |
//! | `bool` | true and false | boolean | BOOL |
//! | [`Date`] | days such as 2026-01-31 | string | S |
//! | [`Time`] | milliseconds since the Unix epoch | number | N |
//! | [`Url`] | absolute URLs of the schemes https and http | string | S |
//! | [`Email`] | email addresses | string | S |
//!
//! [`FromJson`] parses a field of a request. Serde reads and writes stored items and responses.

mod date;
mod email;
mod json;
mod number;
mod text;
mod time;
mod unique;
mod url;

pub use date::Date;
pub use email::Email;
pub use json::{FromJson, to_integer};
pub use number::{Decimal, Integer};
pub use text::Text;
pub use time::Time;
pub use unique::Unique;
pub use url::Url;
