//! A small DynamoDB client. It creates requests that already contain the table's name, converts
//! between DynamoDB items and Rust types, and has errors that say whether a retry can succeed.

mod conflict;
mod table;
mod transaction;

pub use table::{
    Checked, Conditional, Dynamodb, Error, Item, Request, Table, TableName, authored_item, checked,
    define_sub, item, page_limit, read, read_page,
};
pub use transaction::{Action, Check, Transacted};
