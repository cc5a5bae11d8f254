//! A payment: what Stripe calls a PaymentIntent, as far as a purchase cares.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The id of a PaymentIntent: `pi_…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct IntentId(String);

impl IntentId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for IntentId {
    type Error = &'static str;

    fn try_from(id: String) -> Result<Self, Self::Error> {
        if is_stripe_id(&id, "pi_") {
            Ok(Self(id))
        } else {
            Err("not the id of a PaymentIntent")
        }
    }
}

/// Whether this is an id of Stripe's, of the kind that `prefix` says. At most 255 characters:
/// <https://docs.stripe.com/upgrades#what-changes-does-stripe-consider-to-be-backwards-compatible>.
pub(crate) fn is_stripe_id(id: &str, prefix: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let rest = id.strip_prefix(prefix);
    id.len() <= 255 && rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(plain))
}

/// What a browser finishes a payment with. Stripe wants it neither stored nor logged:
/// <https://docs.stripe.com/api/payment_intents/object#payment_intent_object-client_secret>.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSecret(String);

impl ClientSecret {
    /// The secret itself, for the answer to its owner.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for ClientSecret {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a payment stands: <https://docs.stripe.com/payments/paymentintents/lifecycle>.
///
/// `Succeeded` and `Canceled` are ends: a payment that is one of them stays so. All others may be
/// old news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payment {
    /// The card is charged.
    Succeeded {
        /// By this intent.
        intent: IntentId,
    },
    /// The card was not charged, and cannot be by this intent.
    Canceled {
        /// The intent.
        intent: IntentId,
    },
    /// The card was not charged.
    Declined {
        /// The intent (`requires_payment_method`, `requires_confirmation`), which can still charge
        /// a card. None when Stripe made none, for the source is none that it will ever take.
        intent: Option<IntentId>,
        /// Why.
        decline: Decline,
    },
    /// The card's owner has to show that it is theirs (3-D Secure).
    RequiresAction {
        /// The intent.
        intent: IntentId,
        /// What the browser does it with.
        client_secret: ClientSecret,
    },
    /// The bank has not decided.
    Processing {
        /// The intent.
        intent: IntentId,
    },
}

/// Why a card was not charged: <https://docs.stripe.com/declines/codes>.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decline {
    /// Stripe's code, such as `card_declined`, or one of ours.
    pub code: String,
    /// The bank's reason, such as `insufficient_funds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decline_code: Option<String>,
    /// A sentence for the card's owner.
    pub message: String,
}

impl Decline {
    /// The payment was begun, and not finished in time.
    pub fn unfinished() -> Self {
        Self {
            code: "payment_unfinished".into(),
            decline_code: None,
            message: "The payment was not finished. Your card was not charged.".into(),
        }
    }

    /// The order never reached Stripe.
    pub fn not_made() -> Self {
        Self {
            code: "payment_not_made".into(),
            decline_code: None,
            message: "The payment could not be made. Your card was not charged.".into(),
        }
    }
}

/// How a payment ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The card is charged.
    Paid {
        /// By this intent.
        intent: IntentId,
    },
    /// The card is not charged, and nothing that is under way can charge it.
    Failed {
        /// The intent, if one was made.
        intent: Option<IntentId>,
        /// Why.
        decline: Decline,
    },
}
