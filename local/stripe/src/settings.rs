//! The configuration of the Stripe test double.

use std::time::Duration;

use crate::webhook::Webhook;

/// The version of Stripe's API that the test double implements. The types of async-stripe have the
/// same version.
pub const API_VERSION: &str = "2026-09-30.endive";

/// The configuration of a Stripe test double ([`Stripe`](crate::Stripe)).
#[derive(Clone, Debug)]
pub struct Settings {
    /// The secret API key, which servers use. Default: `sk_test_double`. With a key of live mode
    /// (`sk_live_…` or `rk_live_…`), the field `livemode` of all objects and events is true. The test
    /// cards still work.
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
    /// The time until the bank or the cardholder acts, according to the test double's clock: until
    /// a charge is disputed, a pending refund succeeds, a failing refund fails, or a dispute is
    /// decided. Default: 1 s.
    pub bank_delay: Duration,
    /// A number that is part of every id that the test double creates. With the same number, the
    /// same calls create the same ids. Use another number after each restart if ids must not
    /// repeat. Default: 0.
    pub run: u32,
}

impl Settings {
    /// Whether the secret key is a key of live mode (<https://docs.stripe.com/keys>).
    pub(crate) fn livemode(&self) -> bool {
        let live = ["sk_live_", "rk_live_"];
        live.iter()
            .any(|prefix| self.secret_key.starts_with(prefix))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            secret_key: "sk_test_double".to_owned(),
            publishable_key: "pk_test_double".to_owned(),
            webhook: None,
            retries: [5, 60, 3600].map(Duration::from_secs).to_vec(),
            bank_delay: Duration::from_secs(1),
            run: 0,
        }
    }
}
