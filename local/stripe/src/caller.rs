//! The two kinds of API callers.

/// The caller, identified by its API key (<https://docs.stripe.com/keys>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A server, which has the secret key.
    Server,
    /// A browser, which has the publishable key.
    Browser,
}
