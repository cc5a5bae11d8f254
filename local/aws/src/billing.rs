//! The services and the data of billing-api: the Stripe test double, and the tables Purchases and Buyers.

use std::time::SystemTime;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use local_dynamodb::{BoxError, Dynamodb};
use local_stripe::{Settings, Stripe};
use serde_json::{Map, Value, json};

use crate::cloud::reset_tables;
use crate::sample::USER;

/// The id of the purchase in the sample events.
const PURCHASE: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d90a";

/// The id of another user in the sample events, who has an order that waits for 3-D Secure
/// authentication.
const BUYER: &str = "us-east-1:1f0c8a57-6d2b-4e94-b3a8-7c5d9e1f2a60";

/// The id of the order that waits for authentication.
const OPEN_ORDER: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d90b";

/// The secret key of the Stripe API: the name and the value of the secret.
pub(crate) const SECRET_KEY: (&str, &str) = ("stripe-secret-key", "sk_test_double");

/// The signing secret of the Stripe webhook endpoint: the name and the value of the secret.
pub(crate) const WEBHOOK_SECRET: (&str, &str) = ("stripe-webhook-secret", "whsec_sample");

const TABLES: [(&str, &[&str]); 2] = [
    ("Purchases", &["userId", "purchaseId"]),
    ("Buyers", &["userId"]),
];

/// The local replacements for the services of billing-api.
pub(crate) struct Billing {
    stripe: Stripe,
    /// The PaymentIntent that waits for authentication.
    open_payment: String,
}

impl Billing {
    /// Starts Stripe, and creates the tables. The data are a purchase with the status `PENDING`, and
    /// another one whose payment waits for 3-D Secure authentication.
    pub(crate) async fn start(dynamodb: &Dynamodb) -> Result<Self, BoxError> {
        dynamodb.create_table(&create_purchases_table())?;
        dynamodb.create("Buyers", &["userId"])?;
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

    /// Resets the tables to their initial state. Does not reset Stripe.
    pub(crate) fn reset(&self, dynamodb: &Dynamodb) -> Result<(), BoxError> {
        reset_tables(dynamodb, &TABLES, &items(&self.open_payment))
    }

    /// Returns the items of the tables, and the charges at Stripe.
    pub(crate) fn snapshot(&self, dynamodb: &Dynamodb) -> Result<Map<String, Value>, BoxError> {
        Ok(Map::from_iter([
            ("Purchases".into(), dynamodb.items("Purchases")?.into()),
            ("Buyers".into(), dynamodb.items("Buyers")?.into()),
            ("charges".into(), json!(self.stripe.charges())),
        ]))
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
        "BUYERS_TABLE" => "Buyers",
        "DEAD_LETTER_QUEUE" => "http://127.0.0.1:1/111111111111/dead-letters",
        "NOTE_PURCHASED_TOPIC" => "arn:aws:sns:us-east-1:111111111111:NotePurchased",
        "PURCHASES_TABLE" => "Purchases",
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

/// The initial items of the tables: the name of a table, and an item in DynamoDB's JSON format.
/// `open_payment` is the PaymentIntent that waits for authentication.
fn items(open_payment: &str) -> [(&'static str, Value); 2] {
    let purchase = json!({
        "userId": {"S": USER}, "purchaseId": {"S": PURCHASE}, "storage": {"N": "10"},
        "amount": {"N": "4000"}, "description": {"S": "storage for 10 notes"},
        "createdAt": {"N": "1763632800000"}, "updatedAt": {"N": "1763632800000"},
        "status": {"S": "PENDING"}, "source": {"S": "tok_visa"},
        "unsettledShard": {"N": "2"}, "dueAt": {"N": "1763632920000"},
    });
    let open_order = json!({
        "userId": {"S": BUYER}, "purchaseId": {"S": OPEN_ORDER}, "storage": {"N": "10"},
        "amount": {"N": "4000"}, "currency": {"S": "usd"},
        "description": {"S": "storage for 10 notes"},
        "createdAt": {"N": "1763632800000"}, "updatedAt": {"N": "1763632800000"},
        "status": {"S": "PENDING"}, "source": {"S": "pm_card_threeDSecure2Required"},
        "paymentIntentId": {"S": open_payment},
        // Due in 2100, so that reconcile does not handle it.
        "unsettledShard": {"N": "3"}, "dueAt": {"N": "4102444800000"},
    });
    [("Purchases", purchase), ("Purchases", open_order)]
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

/// The CreateTable request for the table Purchases, which has a global secondary index.
fn create_purchases_table() -> Value {
    let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
    let attribute = |name: &str, kind: &str| json!({"AttributeName": name, "AttributeType": kind});
    json!({
        "TableName": "Purchases",
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [key("userId", "HASH"), key("purchaseId", "RANGE")],
        "AttributeDefinitions": [
            attribute("userId", "S"), attribute("purchaseId", "S"),
            attribute("unsettledShard", "N"), attribute("dueAt", "N"),
        ],
        "GlobalSecondaryIndexes": [{
            "IndexName": "unsettled",
            "KeySchema": [key("unsettledShard", "HASH"), key("dueAt", "RANGE")],
            "Projection": {"ProjectionType": "ALL"},
        }],
    })
}
