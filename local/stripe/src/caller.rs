//! The two kinds of API callers: servers and browsers.

/// The kind of an API caller. The API key of the call determines the kind
/// (<https://docs.stripe.com/keys>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A server, which has the secret key.
    Server,
    /// A browser, which has the publishable key.
    Browser,
}
