//! What only the functions of billing-api need: the local Stripe, secrets, environment variables and signed events.

use std::time::SystemTime;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use local_dynamodb::BoxError;
use local_stripe::{Settings, Stripe};
use serde_json::{Value, json};

/// The id of another user in the sample events, who has an order that waits for 3-D Secure
/// authentication.
const BUYER: &str = "us-east-1:1f0c8a57-6d2b-4e94-b3a8-7c5d9e1f2a60";

/// The id of the order that waits for authentication.
const OPEN_ORDER: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d90b";

/// The secret key of the Stripe API: the name and the value of the secret.
pub(crate) const SECRET_KEY: (&str, &str) = ("stripe-secret-key", "sk_test_double");

/// The signing secret of the Stripe webhook endpoint: the name and the value of the secret.
pub(crate) const WEBHOOK_SECRET: (&str, &str) = ("stripe-webhook-secret", "whsec_sample");

/// The local replacements for the services of billing-api.
pub(crate) struct Billing {
    stripe: Stripe,
    /// The PaymentIntent that waits for authentication.
    open_payment: String,
}

impl Billing {
    /// Starts Stripe, and creates a payment that waits for 3-D Secure authentication.
    pub(crate) async fn start() -> Result<Self, BoxError> {
        let stripe = Stripe::start(0, Settings::default()).await?;
        let open_payment = create_payment(&stripe.url()).await?;
        Ok(Self {
            stripe,
            open_payment,
        })
    }

    /// The beginning of the paths of Stripe's API, and the URL of Stripe.
    pub(crate) fn server(&self) -> (&'static str, String) {
        ("/v1/", self.stripe.url())
    }

    /// The placeholder in `events/tables/Purchases.json`, and the id of the PaymentIntent that replaces it. The PaymentIntent waits
    /// for authentication.
    pub(crate) fn placeholder(&self) -> (&'static str, &str) {
        ("OPEN_PAYMENT", &self.open_payment)
    }

    /// The charges at Stripe.
    pub(crate) fn charges(&self) -> Value {
        json!(self.stripe.charges())
    }
}

/// Creates the PaymentIntent that waits for authentication. `url` is the URL of Stripe. Returns the id
/// of the PaymentIntent.
async fn create_payment(url: &str) -> Result<String, BoxError> {
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(OPEN_PAYMENT)
        .finish();
    let (_, key) = SECRET_KEY;
    let request = Request::post(format!("{url}/v1/payment_intents"))
        .header("authorization", format!("Bearer {key}"))
        .header("stripe-version", local_stripe::API_VERSION)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::<Bytes>::from(form))?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let body = client.request(request).await?.into_body();
    let intent: Value = serde_json::from_slice(&body.collect().await?.to_bytes())?;
    let id = intent.get("id").and_then(Value::as_str);
    id.map(str::to_owned)
        .ok_or_else(|| format!("Stripe created no PaymentIntent: {intent}").into())
}

/// Returns the value of the environment variable `name` of a function of billing-api. `url` is the URL
/// of the local services' endpoint.
pub(crate) fn environment_variable<'a>(name: &str, url: &'a str) -> Option<&'a str> {
    Some(match name {
        "DEAD_LETTER_QUEUE" => "http://127.0.0.1:1/111111111111/dead-letters",
        "NOTE_PURCHASED_TOPIC" => "arn:aws:sns:us-east-1:111111111111:NotePurchased",
        "STRIPE_URL" => url,
        _ => return None,
    })
}

/// Replaces the header `Stripe-Signature` of an event with a signature for the current time. An
/// event without this header stays unchanged.
pub(crate) fn sign_event(mut event: Value) -> Value {
    let body = event.get("body").and_then(Value::as_str);
    let body = body.unwrap_or_default();
    let (_, secret) = WEBHOOK_SECRET;
    let signature = local_stripe::signature(body.as_bytes(), SystemTime::now(), &[secret]);
    for header in [
        "/headers/Stripe-Signature",
        "/multiValueHeaders/Stripe-Signature/0",
    ] {
        if let Some(header) = event.pointer_mut(header) {
            *header = signature.as_str().into();
        }
    }
    event
}

/// The parameters of the request that creates the PaymentIntent of the order that waits for
/// authentication.
const OPEN_PAYMENT: [(&str, &str); 9] = [
    ("amount", "4000"),
    ("currency", "usd"),
    ("confirm", "true"),
    ("description", "storage for 10 notes"),
    ("metadata[userId]", BUYER),
    ("metadata[purchaseId]", OPEN_ORDER),
    ("automatic_payment_methods[enabled]", "true"),
    ("automatic_payment_methods[allow_redirects]", "never"),
    ("payment_method", "pm_card_threeDSecure2Required"),
];

#[cfg(test)]
mod tests {
    use crate::sample::tables;
    use serde_json::json;

    #[test]
    fn a_table_has_its_keys_and_its_index() {
        let tables = tables(&[]).unwrap();
        let table = |name| tables.iter().find(|table| table.name == name).unwrap();
        let purchases = table("Purchases").create();
        assert_eq!(purchases["KeySchema"].as_array().unwrap().len(), 2);
        assert_eq!(
            purchases["GlobalSecondaryIndexes"][0]["IndexName"],
            "unsettled"
        );
        let due = json!({"AttributeName": "dueAt", "AttributeType": "N"});
        assert!(
            purchases["AttributeDefinitions"]
                .as_array()
                .unwrap()
                .contains(&due)
        );
        let buyers = table("Buyers").create();
        assert_eq!(
            buyers["KeySchema"],
            json!([{"AttributeName": "userId", "KeyType": "HASH"}])
        );
        assert_eq!(buyers.get("GlobalSecondaryIndexes"), None);
    }
}
