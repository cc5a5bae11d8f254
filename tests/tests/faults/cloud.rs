//! The services that the functions call: the local DynamoDB, the local Stripe, and minimal implementations of
//! SSM, SNS and SQS.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use hyper::{Method, Response};
use local_dynamodb::Dynamodb;
use local_stripe::{Settings, Stripe};
use reqwest::Client;
use serde_json::{Value, json};
use test_support::proxy::{self, HttpResponse};

use crate::call::BY_SMS; // part: notify
use crate::call::{Call, Service};

pub(crate) const BUYERS: &str = "Buyers";
pub(crate) const IDEMPOTENCY: &str = "Idempotency";
pub(crate) const NOTES: &str = "Notes";
pub(crate) const PURCHASES: &str = "Purchases";
pub(crate) const STORAGE: &str = "Storage";
pub(crate) const TOPIC: &str = "arn:aws:sns:us-east-1:111111111111:NotePurchased";
pub(crate) const PHONE: &str = "+15555550100"; // part: notify
pub(crate) const SECRETS: &str = "/scratchpad/sample";
pub(crate) const WEBHOOK_SECRET: &str = "whsec_4b1f0c6e2d9a";
/// The time until the bank acts. It is so long that the bank acts only in the steps of a scenario that make it act.
pub(crate) const BANK_DELAY: Duration = Duration::from_secs(6 * 60 * 60);
const STRIPE_KEY: &str = "sk_test_7e3a9d5c1f08";

/// Texts that no log line may contain: secrets and parts of secrets.
pub(crate) const SECRET_TEXTS: &[&str] = &[
    STRIPE_KEY,
    WEBHOOK_SECRET,
    PHONE, // part: notify
    "_secret_",
];

/// The messages that functions have sent through SNS and SQS.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// The messages that were published to the SNS topic but not yet delivered to its subscribers.
    pub(crate) topic: Vec<String>,
    // part: notify {
    /// The phone number and the text of each SMS.
    pub(crate) sms: Vec<(String, String)>,
    // part: notify }
    /// The messages in the dead-letter queues of billing-purchase-paid and billing-webhook.
    pub(crate) dead_letters: Vec<String>,
}

/// The services that the payment functions call in one simulation.
pub(crate) struct Cloud {
    pub(crate) dynamodb: Dynamodb,
    pub(crate) stripe: Stripe,
    sent: Mutex<Sent>,
    /// The time by which the clock of the local Stripe is ahead of the functions' clock, in seconds.
    ahead: AtomicU64,
    client: Client,
}

impl Cloud {
    pub(crate) async fn start(client: Client) -> Self {
        let tables = [(NOTES, "noteId"), (STORAGE, "entry")];
        let dynamodb = Dynamodb::start(&tables).await.unwrap();
        dynamodb.create(BUYERS, &["userId"]).unwrap();
        dynamodb.create(IDEMPOTENCY, &["id"]).unwrap();
        let text = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
        let number = |name: &str| json!({"AttributeName": name, "AttributeType": "N"});
        let hash = |name: &str| json!({"AttributeName": name, "KeyType": "HASH"});
        let range = |name: &str| json!({"AttributeName": name, "KeyType": "RANGE"});
        let purchases = json!({
            "TableName": PURCHASES,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [hash("userId"), range("purchaseId")],
            "AttributeDefinitions": [
                text("userId"), text("purchaseId"), number("unsettledShard"), number("dueAt"),
            ],
            "GlobalSecondaryIndexes": [{
                "IndexName": "unsettled",
                "KeySchema": [hash("unsettledShard"), range("dueAt")],
                "Projection": {"ProjectionType": "ALL"},
            }],
            "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        });
        dynamodb.create_table(&purchases).unwrap();
        let settings = Settings {
            secret_key: STRIPE_KEY.to_owned(),
            bank_delay: BANK_DELAY,
            ..Settings::default()
        };
        Self {
            dynamodb,
            stripe: Stripe::start(0, settings).await.unwrap(),
            sent: Mutex::default(),
            ahead: AtomicU64::new(0),
            client,
        }
    }

    pub(crate) fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap()
    }

    /// Returns all purchases in the table. Ignores items without a status, which are not purchases.
    pub(crate) fn purchases(&self) -> Vec<Value> {
        let mut items = self.dynamodb.items(PURCHASES).unwrap();
        items.retain(|item| item.get("status").is_some());
        items
    }

    /// Whether work is due for a purchase in a shard. `shard` is the number of the shard.
    pub(crate) fn is_due(&self, shard: &str) -> bool {
        let purchases = self.purchases();
        let mut shards = purchases.iter().map(|item| &item["unsettledShard"]["N"]);
        shards.any(|other| other == shard)
    }

    /// Executes the call at the service that the call is for. Returns the response of the service.
    pub(crate) async fn execute(&self, call: Call) -> HttpResponse {
        match call.service {
            Service::DynamoDb => self.forward(&self.dynamodb.url(), call).await,
            Service::Stripe => {
                let call = self.at_stripes_time(call);
                self.forward(&self.stripe.url(), call).await
            }
            Service::Ssm => self.parameters(&call),
            Service::Sns => self.publish(&call),
            Service::Sqs => self.send_to_dead_letter_queue(&call),
            Service::Unknown => json_response(501, json!({})),
        }
    }

    /// Returns the throttling error of the service that is called, or the error of a conflict with another transaction.
    /// The service does not execute the call.
    pub(crate) async fn throttle(&self, call: Call) -> HttpResponse {
        match call.service {
            Service::DynamoDb if call.is_transaction() => conflict(&call),
            Service::DynamoDb => aws_error(400, "ProvisionedThroughputExceededException"),
            Service::Ssm => aws_error(400, "ThrottlingException"),
            Service::Sqs => aws_error(400, "RequestThrottled"),
            Service::Sns => sns_error(400, "Sender", "Throttling"),
            Service::Stripe => {
                self.fail_at_stripe(&call, 429, false);
                self.execute(call).await
            }
            Service::Unknown => self.execute(call).await,
        }
    }

    /// Returns an internal error (status 500) of the service that is called. Executes the call if `has_effect` is true.
    pub(crate) async fn fail(&self, call: Call, has_effect: bool) -> HttpResponse {
        if let Service::Stripe = call.service {
            self.fail_at_stripe(&call, 500, has_effect);
            return self.execute(call).await;
        }
        let service = call.service;
        if has_effect {
            self.execute(call).await;
        }
        match service {
            Service::DynamoDb | Service::Ssm => aws_error(500, "InternalServerError"),
            Service::Sns => sns_error(500, "Receiver", "InternalError"),
            _ => aws_error(500, "InternalFailure"),
        }
    }

    /// Makes the local Stripe respond with `status` to the next request that has the method and path of `call`. That
    /// request is `call` itself, because a simulation makes one call at a time. If `has_effect` is false, Stripe does
    /// not execute the call.
    fn fail_at_stripe(&self, call: &Call, status: u16, has_effect: bool) {
        let failure = local_stripe::Failure::on(call.head.method.as_str(), call.head.uri.path());
        let failure = failure.times(1).respond_with(status);
        self.stripe.inject(match has_effect {
            true => failure,
            false => failure.without_effect(),
        });
    }

    /// Moves the clock of the local Stripe forward by `by`. The functions' clock stays the same: see
    /// [`crate::simulation::Simulation::advance`].
    pub(crate) fn advance_stripe(&self, by: Duration) {
        self.ahead.fetch_add(by.as_secs(), Relaxed);
        self.stripe.advance(by);
    }

    /// Converts the creation times in the query of a call to Stripe from the functions' clock to Stripe's clock.
    fn at_stripes_time(&self, mut call: Call) -> Call {
        let Some(query) = call
            .head
            .uri
            .query()
            .filter(|query| query.contains("created"))
        else {
            return call;
        };
        let mut shifted = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name.starts_with("created") {
                let time = value.parse::<u64>().unwrap() + self.ahead.load(Relaxed);
                shifted.append_pair(&name, &time.to_string());
            } else {
                shifted.append_pair(&name, &value);
            }
        }
        let uri = format!("{}?{}", call.head.uri.path(), shifted.finish());
        call.head.uri = uri.parse().unwrap();
        call
    }

    /// Sends a form to the Stripe API without the proxy, as the Stripe Dashboard does. Returns the response.
    pub(crate) async fn post_to_stripe(&self, path: &str, form: &str) -> Value {
        let url = format!("{}/v1/{path}", self.stripe.url());
        let request = self.client.post(url).bearer_auth(STRIPE_KEY);
        let response = request.body(form.to_owned()).send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {response:?}");
        response.json().await.unwrap()
    }

    async fn forward(&self, url: &str, call: Call) -> HttpResponse {
        let Call { mut head, body, .. } = call;
        head.headers.remove("host");
        proxy::forward(&self.client, url, head, body).await
    }

    /// Calls an operation of the local DynamoDB directly, without the proxy. Returns the output.
    pub(crate) async fn dynamodb(&self, target: &str, input: &Value) -> Value {
        let request = self.client.request(Method::POST, self.dynamodb.url());
        let request = request.header("x-amz-target", target);
        let request = request.header("content-type", "application/x-amz-json-1.0");
        // A signature is required but not verified.
        let request = request.header("authorization", AUTHORIZATION);
        let request = request.header("x-amz-date", "20251120T100000Z");
        let response = request.body(input.to_string()).send().await.unwrap();
        assert!(response.status().is_success(), "{target}: {response:?}");
        response.json().await.unwrap()
    }

    /// Implements the operation GetParameters of SSM:
    /// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html>
    fn parameters(&self, call: &Call) -> HttpResponse {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        let input = call.input();
        for name in input["Names"].as_array().into_iter().flatten() {
            let value = name.as_str().and_then(|name| name.strip_prefix(SECRETS));
            let value = match value {
                Some("/stripe-secret-key") => STRIPE_KEY,
                Some("/stripe-webhook-secret") => WEBHOOK_SECRET,
                Some("/admin-phone-number") => PHONE, // part: notify
                _ => {
                    missing.push(name);
                    continue;
                }
            };
            found.push(json!({"Name": name, "Type": "SecureString", "Value": value, "Version": 1}));
        }
        json_response(
            200,
            json!({"Parameters": found, "InvalidParameters": missing}),
        )
    }

    /// Implements the operation Publish of SNS:
    /// <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>
    fn publish(&self, call: &Call) -> HttpResponse {
        let message = call.parameter("Message").unwrap_or_default();
        // part: notify {
        if let Some(number) = call.parameter("PhoneNumber") {
            self.sent().sms.push((number, message));
            return published();
        }
        // part: notify }
        if call.parameter("TopicArn").as_deref() != Some(TOPIC) {
            return sns_error(404, "Sender", "NotFound");
        }
        self.sent().topic.push(message);
        published()
    }

    /// Implements the operation SendMessage of SQS:
    /// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
    fn send_to_dead_letter_queue(&self, call: &Call) -> HttpResponse {
        let message = call.input()["MessageBody"].take();
        let message = message.as_str().unwrap_or_default().to_owned();
        self.sent().dead_letters.push(message);
        json_response(200, json!({"MessageId": "1", "MD5OfMessageBody": ""}))
    }

    /// Creates a call that publishes `message` to the SNS topic.
    pub(crate) fn publication(message: &Value) -> Call {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", "Publish");
        form.append_pair("TopicArn", TOPIC);
        form.append_pair("Message", &message.to_string());
        let (head, ()) = hyper::Request::post("/").body(()).unwrap().into_parts();
        Call::new(head, form.finish().into(), |_| false)
    }

    // part: notify {
    /// Returns the texts of all SMS. Panics if an SMS was sent to a wrong phone number.
    pub(crate) fn sms(&self) -> Vec<String> {
        let sent = self.sent();
        let texts = sent.sms.iter().map(|(number, text)| {
            assert_eq!(number, PHONE, "{BY_SMS}");
            text.clone()
        });
        texts.collect()
    }
    // part: notify }
}

const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 \
    Credential=AKIDEXAMPLE/20251120/us-east-1/dynamodb/aws4_request, \
    SignedHeaders=host;x-amz-date;x-amz-target, Signature=0";

/// Returns the response to a successful publication.
fn published() -> HttpResponse {
    xml(
        200,
        "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult>\
         <MessageId>1</MessageId></PublishResult><ResponseMetadata><RequestId>1</RequestId>\
         </ResponseMetadata></PublishResponse>"
            .to_owned(),
    )
}

fn json_response(status: u16, body: Value) -> HttpResponse {
    let response = Response::builder().status(status);
    let response = response.header("content-type", "application/x-amz-json-1.1");
    response.body(body.to_string().into()).unwrap()
}

/// Returns an error response in the AWS JSON protocol:
/// <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html#operation-error-serialization>
fn aws_error(status: u16, code: &str) -> HttpResponse {
    json_response(status, json!({"__type": code, "message": "injected"}))
}

/// Returns the error response of DynamoDB to a transaction whose first action conflicts with another transaction:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html#API_TransactWriteItems_Errors>
fn conflict(call: &Call) -> HttpResponse {
    let actions = call.input()["TransactItems"].take();
    let actions = actions.as_array().map_or(0, Vec::len);
    let reasons: Vec<_> = (0..actions)
        .map(|action| match action {
            0 => json!({"Code": "TransactionConflict", "Message": "injected"}),
            _ => json!({"Code": "None"}),
        })
        .collect();
    let body = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "message": "injected",
        "CancellationReasons": reasons,
    });
    json_response(400, body)
}

/// Returns an error response of SNS:
/// <https://docs.aws.amazon.com/sns/latest/api/CommonErrors.html>
fn sns_error(status: u16, kind: &str, code: &str) -> HttpResponse {
    xml(
        status,
        format!(
            "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error>\
             <Type>{kind}</Type><Code>{code}</Code><Message>injected</Message></Error>\
             <RequestId>1</RequestId></ErrorResponse>"
        ),
    )
}

fn xml(status: u16, body: String) -> HttpResponse {
    let response = Response::builder().status(status);
    let response = response.header("content-type", "text/xml");
    response.body(body.into()).unwrap()
}
