//! Who calls the API.

/// The caller, identified by its API key (<https://docs.stripe.com/keys>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A server. It has the secret key.
    Server,
    /// A browser. It has the publishable key, which is public.
    Browser,
}
