//! A payment: the parts of a Stripe PaymentIntent that a purchase needs.

use std::{borrow::Cow, fmt};

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

/// Whether `id` is a valid Stripe id that starts with `prefix`. Stripe's ids have at most 255
/// characters:
/// <https://docs.stripe.com/upgrades#what-changes-does-stripe-consider-to-be-backwards-compatible>.
pub(crate) fn is_stripe_id(id: &str, prefix: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let rest = id.strip_prefix(prefix);
    id.len() <= 255 && rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(plain))
}

/// The client secret of a PaymentIntent. The browser needs it to complete the payment. It must be
/// neither stored nor logged:
/// <https://docs.stripe.com/api/payment_intents/object#payment_intent_object-client_secret>.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSecret(String);

impl ClientSecret {
    /// The client secret as text, for the response to the customer's browser.
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

/// The status of a payment: <https://docs.stripe.com/payments/paymentintents/lifecycle>.
///
/// `Succeeded` and `Canceled` are final. A payment with another status may have changed since it
/// was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payment {
    /// The card was charged.
    Succeeded {
        /// The id of the PaymentIntent.
        intent: IntentId,
    },
    /// The card was not charged, and the PaymentIntent can no longer charge a card.
    Canceled {
        /// The id of the PaymentIntent.
        intent: IntentId,
        /// Why the last attempt to charge the card failed. None if no attempt failed.
        decline: Option<Decline>,
    },
    /// The card was not charged, but the PaymentIntent, if there is one, can still charge a card.
    Declined {
        /// The id of the PaymentIntent. The PaymentIntent must be canceled, so that it cannot
        /// charge a card later. None if Stripe rejected the payment source and created no
        /// PaymentIntent.
        intent: Option<IntentId>,
        /// Why the card was not charged.
        decline: Decline,
    },
    /// The cardholder must complete 3-D Secure authentication.
    RequiresAction {
        /// The id of the PaymentIntent.
        intent: IntentId,
        /// The client secret that the browser needs to complete the payment.
        client_secret: ClientSecret,
    },
    /// The bank has neither accepted nor declined the payment yet.
    Processing {
        /// The id of the PaymentIntent.
        intent: IntentId,
    },
}

impl Payment {
    /// The id of the PaymentIntent. None if Stripe created none.
    pub fn intent(&self) -> Option<&IntentId> {
        match self {
            Self::Succeeded { intent }
            | Self::Canceled { intent, .. }
            | Self::RequiresAction { intent, .. }
            | Self::Processing { intent } => Some(intent),
            Self::Declined { intent, .. } => intent.as_ref(),
        }
    }
}

/// Why a card was not charged: <https://docs.stripe.com/declines/codes>.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decline {
    /// Stripe's error code, such as `card_declined`, or a code that this library defines:
    /// `payment_unfinished`, `payment_not_made`, `payment_canceled` or `payment_refunded`.
    pub code: String,
    /// The reason that the card's issuer gave, such as `insufficient_funds`. None if Stripe reports
    /// no reason of the issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decline_code: Option<String>,
    /// A message that tells the customer why the payment failed.
    pub message: String,
}

/// The codes that a customer must not learn, because they would help a thief. Stripe asks to present
/// such a decline as `generic_decline`: <https://docs.stripe.com/declines/codes>.
const HIDDEN_CODES: [&str; 7] = [
    "fraudulent",
    "lost_card",
    "merchant_blacklist",
    "pickup_card",
    "restricted_card",
    "security_violation",
    "stolen_card",
];

/// The codes that this library defines.
const OWN_CODES: [&str; 4] = [
    "payment_unfinished",
    "payment_not_made",
    "payment_canceled",
    "payment_refunded",
];

impl Decline {
    fn own(code: &str, message: &str) -> Self {
        Self {
            code: code.into(),
            decline_code: None,
            message: message.into(),
        }
    }

    /// The decline for a payment that the customer did not complete in time.
    pub fn unfinished() -> Self {
        let message = "The payment was not finished. Your card was not charged.";
        Self::own("payment_unfinished", message)
    }

    /// The decline for a purchase whose payment was never made.
    pub fn not_made() -> Self {
        let message = "The payment could not be made. Your card was not charged.";
        Self::own("payment_not_made", message)
    }

    /// The decline for an order that the customer canceled.
    pub fn canceled() -> Self {
        let message = "You canceled this order. Your card was not charged.";
        Self::own("payment_canceled", message)
    }

    /// The decline for a failed purchase whose card was charged after the failure.
    pub fn refunded() -> Self {
        let message = "This order had failed when your card was charged. The charge was refunded.";
        Self::own("payment_refunded", message)
    }

    /// Whether Stripe or the bank declined the card. False if the decline has a code that this library
    /// defines, for example because the customer canceled the order.
    pub fn is_by_stripe(&self) -> bool {
        !OWN_CODES.contains(&&*self.code)
    }

    /// The decline, with `generic_decline` in place of a code that the customer must not learn.
    pub fn for_customer(&self) -> Cow<'_, Self> {
        let is_hidden = |code: &str| HIDDEN_CODES.contains(&code);
        if !is_hidden(&self.code) && !self.decline_code.as_deref().is_some_and(is_hidden) {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self {
            code: "card_declined".into(),
            decline_code: Some("generic_decline".into()),
            message: "Your card was declined.".into(),
        })
    }
}

/// The final outcome of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The card was charged.
    Paid {
        /// The id of the PaymentIntent that charged the card.
        intent: IntentId,
    },
    /// The card was not charged, and no PaymentIntent of the purchase can charge a card later.
    Failed {
        /// The id of the PaymentIntent. None if Stripe created no PaymentIntent.
        intent: Option<IntentId>,
        /// Why the card was not charged.
        decline: Decline,
    },
}
