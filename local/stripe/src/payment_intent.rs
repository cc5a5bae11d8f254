//! The state of a PaymentIntent, and its API object
//! (<https://docs.stripe.com/payments/paymentintents/lifecycle>).

use serde_json::{Map, Value, json};

use crate::command::MethodTypes;
use crate::payment_method::PaymentMethod;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresAction,
    Processing,
    Succeeded,
    Canceled,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::RequiresPaymentMethod => "requires_payment_method",
            Self::RequiresConfirmation => "requires_confirmation",
            Self::RequiresAction => "requires_action",
            Self::Processing => "processing",
            Self::Succeeded => "succeeded",
            Self::Canceled => "canceled",
        }
    }

    /// Whether the PaymentIntent can be confirmed or canceled. The test double never cancels a payment
    /// that is `processing`. Stripe can cancel one "in rare cases"
    /// (<https://docs.stripe.com/api/payment_intents/cancel>).
    pub(crate) fn is_open(self) -> bool {
        !matches!(self, Self::Processing | Self::Succeeded | Self::Canceled)
    }
}

#[derive(Debug)]
pub(crate) struct PaymentIntent {
    pub(crate) id: String,
    pub(crate) client_secret: String,
    /// The time at which the PaymentIntent was created, in seconds since the Unix epoch.
    pub(crate) created: u64,
    /// The amount in US cents.
    pub(crate) amount: u32,
    pub(crate) currency: String,
    pub(crate) description: Option<String>,
    pub(crate) receipt_email: Option<String>,
    pub(crate) statement_descriptor_suffix: Option<String>,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) method_types: MethodTypes,
    pub(crate) status: Status,
    pub(crate) payment_method: Option<PaymentMethod>,
    pub(crate) return_url: Option<String>,
    pub(crate) latest_charge: Option<String>,
    pub(crate) last_payment_error: Option<Value>,
    /// The time of the cancellation, in seconds since the Unix epoch, and the cancellation reason
    /// from the request. The reason is None if the request has none. The whole field is None if the
    /// PaymentIntent was not canceled.
    pub(crate) canceled: Option<(u64, Option<String>)>,
    pub(crate) livemode: bool,
}

impl PaymentIntent {
    /// Returns the API object of the PaymentIntent
    /// (<https://docs.stripe.com/api/payment_intents/object>).
    pub(crate) fn object(&self) -> Value {
        json!({
            "id": self.id,
            "object": "payment_intent",
            "allowed_payment_method_types": self.allowed_payment_method_types(),
            "amount": self.amount,
            "amount_capturable": 0,
            "amount_details": {"tip": {}},
            "amount_received": self.amount_received(),
            "application": null,
            "application_fee_amount": null,
            "automatic_payment_methods": self.automatic_payment_methods(),
            "canceled_at": self.canceled.as_ref().map(|(at, _)| at),
            "cancellation_reason": self.canceled.as_ref().and_then(|(_, reason)| reason.as_ref()),
            "capture_method": "automatic_async",
            "client_secret": self.client_secret,
            "confirmation_method": "automatic",
            "created": self.created,
            "currency": self.currency,
            "customer": null,
            "description": self.description,
            "last_payment_error": self.last_payment_error,
            "latest_charge": self.latest_charge,
            "livemode": self.livemode,
            "metadata": self.metadata,
            "next_action": self.next_action(),
            "on_behalf_of": null,
            "payment_method": self.payment_method.as_ref().map(|method| &method.id),
            "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
            "payment_method_types": ["card"],
            "processing": self.processing(),
            "receipt_email": self.receipt_email,
            "review": null,
            "setup_future_usage": null,
            "shipping": null,
            "statement_descriptor": null,
            "statement_descriptor_suffix": self.statement_descriptor_suffix,
            "status": self.status.name(),
            "transfer_data": null,
            "transfer_group": null,
        })
    }

    fn processing(&self) -> Option<Value> {
        let processing = self.status == Status::Processing;
        processing.then(|| json!({"type": "card", "card": {}}))
    }

    fn amount_received(&self) -> u32 {
        match self.status {
            Status::Succeeded => self.amount,
            _ => 0,
        }
    }

    fn allowed_payment_method_types(&self) -> Option<[&'static str; 1]> {
        match self.method_types {
            MethodTypes::Card => Some(["card"]),
            MethodTypes::Automatic { .. } => None,
        }
    }

    fn automatic_payment_methods(&self) -> Option<Value> {
        match self.method_types {
            MethodTypes::Card => None,
            MethodTypes::Automatic { redirects } => {
                let redirects = if redirects { "always" } else { "never" };
                Some(json!({"enabled": true, "allow_redirects": redirects}))
            }
        }
    }

    fn next_action(&self) -> Option<Value> {
        let url = format!("https://hooks.stripe.com/redirect/authenticate/{}", self.id);
        match (self.status, &self.return_url) {
            (Status::RequiresAction, Some(return_url)) => Some(json!({
                "type": "redirect_to_url",
                "redirect_to_url": {"return_url": return_url, "url": url},
            })),
            (Status::RequiresAction, None) => Some(json!({
                "type": "use_stripe_sdk",
                "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": url},
            })),
            _ => None,
        }
    }
}

/// Returns the fields of a PaymentIntent object that a browser receives. These are the fields that
/// Stripe's documentation of the object marks as retrievable with a publishable key.
pub(crate) fn public_fields(intent: &Value) -> Value {
    const PUBLIC: [&str; 23] = [
        "id",
        "object",
        "allowed_payment_method_types",
        "amount",
        "amount_details",
        "automatic_payment_methods",
        "canceled_at",
        "cancellation_reason",
        "capture_method",
        "client_secret",
        "confirmation_method",
        "created",
        "currency",
        "description",
        "last_payment_error",
        "livemode",
        "next_action",
        "payment_method",
        "payment_method_types",
        "receipt_email",
        "setup_future_usage",
        "shipping",
        "status",
    ];
    let fields = intent.as_object().into_iter().flatten();
    let public = fields.filter(|(name, _)| PUBLIC.contains(&name.as_str()));
    public
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
