//! The data to which the sample events in `events/` refer.

use std::time::SystemTime;

use serde_json::{Value, json};

/// The id of the user in the sample events.
pub const USER: &str = "us-east-1:7d5e0c3a-94b1-4c6f-8e2d-5a1b3f709c48";

/// The id of the note in the sample events.
const NOTE: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d907";
/// The version of the note in the sample events.
const VERSION: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d908";

/// The id of the purchase in the sample events.
const PURCHASE: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d90a";

/// The id of another user in the sample events, who has an order that waits for 3-D Secure
/// authentication.
const BUYER: &str = "us-east-1:1f0c8a57-6d2b-4e94-b3a8-7c5d9e1f2a60";

/// The id of the order that waits for authentication.
const OPEN_ORDER: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d90b";

/// The signing secret of the Stripe webhook endpoint.
const WEBHOOK_SECRET: &str = "whsec_sample";

/// The environment variables that every function has although its manifest does not list them,
/// because Lambda or the local cloud sets them. [`environment_variable`] returns their values.
pub const LAMBDA_VARIABLES: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
];

/// The name of each table, and the names of its key attributes: the partition key and, if the table
/// has one, the sort key.
pub(crate) const TABLES: [(&str, &[&str]); 6] = [
    ("Notes", &["userId", "noteId"]),
    ("Attachments", &["userId", "attachment"]),
    ("Storage", &["userId", "entry"]),
    ("Purchases", &["userId", "purchaseId"]),
    ("Buyers", &["userId"]),
    ("Idempotency", &["id"]),
];

/// Returns a valid value for the environment variable `name` of a function. `url` is the URL of the
/// local services' endpoint. None if no function has this variable.
pub fn environment_variable(name: &str, url: &str) -> Option<String> {
    let value = match name {
        "ALLOWED_ORIGIN" => "https://app.example.com",
        "ATTACHMENTS_BUCKET" => "attachments",
        "ATTACHMENTS_TABLE" => "Attachments",
        "AWS_ACCESS_KEY_ID" => "AKIDEXAMPLE",
        "AWS_ENDPOINT_URL" | "STRIPE_URL" => url,
        "AWS_REGION" => "us-east-1",
        "AWS_SECRET_ACCESS_KEY" => "a-secret",
        "BUYERS_TABLE" => "Buyers",
        "DEAD_LETTER_QUEUE" => "http://127.0.0.1:1/111111111111/dead-letters",
        "FREE_NOTES" => "100",
        "IDEMPOTENCY_TABLE" => "Idempotency",
        "LOG_LEVEL" => "info",
        "NOTES_TABLE" => "Notes",
        "NOTE_PURCHASED_TOPIC" => "arn:aws:sns:us-east-1:111111111111:NotePurchased",
        "PURCHASES_TABLE" => "Purchases",
        "ROUTE_GROUP" => "sample",
        "SECRETS_PREFIX" => "/scratchpad/sample",
        "STAGE" => "sample",
        "STORAGE_TABLE" => "Storage",
        "USER_HASH_KEY" => "019aa0b4-e100-7d21-a6e4-3c8f1b52d90b",
        _ => return None,
    };
    Some(value.to_owned())
}

/// Replaces the header `Stripe-Signature` of an event with a signature for the current time. An
/// event without this header stays unchanged.
pub fn sign_event(mut event: Value) -> Value {
    let body = event.get("body").and_then(Value::as_str);
    let body = body.unwrap_or_default();
    let signature = local_stripe::signature(body.as_bytes(), SystemTime::now(), &[WEBHOOK_SECRET]);
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

/// Returns the value of the secret `name`. The name does not include the stage's prefix. None if
/// there is no such secret.
pub(crate) fn secret(name: &str) -> Option<&'static str> {
    match name {
        "stripe-secret-key" => Some("sk_test_double"),
        "stripe-webhook-secret" => Some(WEBHOOK_SECRET),
        "admin-phone-number" => Some("+12065550100"), // part: notify
        _ => None,
    }
}

/// The S3 key of the file that is attached to the note in the sample events.
pub(crate) fn attachment_key() -> String {
    format!("private/{USER}/hello.jpg")
}

/// The initial items of the tables: the name of a table, and an item in DynamoDB's JSON format.
/// `open_payment` is the PaymentIntent that waits for authentication.
pub(crate) fn items(open_payment: &str) -> [(&'static str, Value); 5] {
    let note = json!({
        "userId": {"S": USER}, "noteId": {"S": NOTE}, "version": {"S": VERSION},
        "content": {"S": "hello world"}, "attachment": {"S": "hello.jpg"},
        "uploaded": {"M": {"contentType": {"S": "image/jpeg"}, "size": {"N": "7"}}},
        "createdAt": {"N": "1763632800000"}, "updatedAt": {"N": "1763632800000"},
        "counted": {"BOOL": true},
    });
    let total = json!({
        "userId": {"S": USER}, "entry": {"S": "total"}, "used": {"N": "1"}, "balance": {"N": "1"},
    });
    let attachment = json!({
        "userId": {"S": USER}, "attachment": {"S": attachment_key()},
        "claims": {"SS": [format!("{NOTE}/{VERSION}")]},
        "contentType": {"S": "image/jpeg"}, "size": {"N": "7"},
    });
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
    [
        ("Notes", note),
        ("Storage", total),
        ("Attachments", attachment),
        ("Purchases", purchase),
        ("Purchases", open_order),
    ]
}

/// The parameters of the request that creates the PaymentIntent of the order that waits for
/// authentication.
pub(crate) const OPEN_PAYMENT: [(&str, &str); 9] = [
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
pub(crate) fn create_purchases_table() -> Value {
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
