//! The configuration of the Stripe test double.

use std::time::Duration;

use crate::webhook::Webhook;

/// The version of Stripe's API that the test double implements. The types of async-stripe have the
/// same version.
pub const API_VERSION: &str = "2026-09-30.endive";

/// The configuration of a Stripe test double ([`Stripe`](crate::Stripe)).
#[derive(Clone, Debug)]
pub struct Settings {
    /// The secret API key, which servers use. Default: `sk_test_double`.
    pub secret_key: String,
    /// The publishable API key, which browsers use. With this key, a browser can create payment
    /// methods and tokens, and confirm the payments whose client secrets it has. Default:
    /// `pk_test_double`.
    pub publishable_key: String,
    /// The webhook endpoint that receives events. Default: none.
    pub webhook: Option<Webhook>,
    /// The delays before the retries of a failed event delivery, each counted from the previous
    /// attempt. Default: 5 s, 1 min, 1 h. Stripe's sandboxes make the same number of retries
    /// (<https://docs.stripe.com/webhooks#automatic-retries>).
    pub retries: Vec<Duration>,
    /// A number that is part of every id that the test double creates. With the same number, the
    /// same calls create the same ids. Use another number after each restart if ids must not
    /// repeat. Default: 0.
    pub run: u32,
    /// The time from a change of a PaymentIntent until search finds the change, according to the
    /// test double's clock. Default: 1 min, which is Stripe's upper limit in normal conditions.
    /// Code that relies on a shorter time therefore fails in tests. During an outage of Stripe, the
    /// time can be 1 h (<https://docs.stripe.com/search#data-freshness>).
    pub search_lag: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            secret_key: "sk_test_double".to_owned(),
            publishable_key: "pk_test_double".to_owned(),
            webhook: None,
            retries: [5, 60, 3600].map(Duration::from_secs).to_vec(),
            run: 0,
            search_lag: Duration::from_secs(60),
        }
    }
}
