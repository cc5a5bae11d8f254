//! The mode of a Stripe key.

use std::fmt;

/// Whether payments with a key charge real cards: <https://docs.stripe.com/keys>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Payments charge real cards.
    Live,
    /// Payments charge only Stripe's test cards.
    Test,
}

impl Mode {
    /// The mode of a key: `sk_test_…`, `rk_live_…`, `pk_test_…`.
    pub(crate) fn of(key: &str) -> Option<Self> {
        match key.split('_').nth(1)? {
            "live" => Some(Self::Live),
            "test" => Some(Self::Test),
            _ => None,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Test => "test",
        })
    }
}
