//! Payments: the orders of users, what happens to them outside the API, and what becomes of them.
//!
//! | module | contents |
//! |---|---|
//! | [`orders`] | the orders of a user |
//! | [`owner`] | what happens outside the API: refunds, and the answers of cardholders |
//! | [`faults`] | the faults of Stripe and of its events |
//! | [`work`] | the work that is done later |
//! | [`stored`] | what the stage and Stripe have stored |
//! | [`compare`] | the comparison of the ledger with the stored data |

pub(crate) mod compare;
pub(crate) mod faults;
mod orders;
mod owner;
mod stored;
mod work;

pub(crate) use orders::Orders;
pub(crate) use owner::Owner;
pub(crate) use stored::read;
pub(crate) use work::{do_work, reconcile_regularly};
