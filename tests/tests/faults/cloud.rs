//! What is outside of the functions: DynamoDB and Stripe as their doubles have them, and as much of
//! SSM, SNS and SQS as it takes.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Response};
use local_dynamodb::Dynamodb;
use local_stripe::{Settings, Stripe};
use reqwest::Client;
use serde_json::{Value, json};

use crate::call::{BY_SMS, Call, Service};

pub(crate) type Answer = Response<Full<Bytes>>;

pub(crate) const PURCHASES: &str = "Purchases";
pub(crate) const IDEMPOTENCY: &str = "Idempotency";
pub(crate) const TOPIC: &str = "arn:aws:sns:us-east-1:111111111111:scratchpad-faults-NotePurchased";
pub(crate) const PHONE: &str = "+15555550100";
pub(crate) const SECRETS: &str = "/scratchpad/faults";
pub(crate) const WEBHOOK_SECRET: &str = "whsec_4b1f0c6e2d9a";
const STRIPE_KEY: &str = "sk_test_7e3a9d5c1f08";

/// Texts that no log line may hold.
pub(crate) const HIDDEN: [&str; 4] = [STRIPE_KEY, WEBHOOK_SECRET, PHONE, "_secret_"];

/// What functions sent somewhere.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Messages of the topic that nobody has received yet.
    pub(crate) topic: Vec<String>,
    /// Number and text.
    pub(crate) sms: Vec<(String, String)>,
    /// What was put aside.
    pub(crate) failures: Vec<String>,
}

/// A cloud for one life.
pub(crate) struct Cloud {
    pub(crate) dynamodb: Dynamodb,
    pub(crate) stripe: Stripe,
    sent: Mutex<Sent>,
    client: Client,
}

impl Cloud {
    pub(crate) async fn start(client: Client, search_lag: Duration) -> Self {
        let dynamodb = Dynamodb::start(&[]).await.unwrap();
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
            search_lag,
            ..Settings::default()
        };
        Self {
            dynamodb,
            stripe: Stripe::start(0, settings).await.unwrap(),
            sent: Mutex::default(),
            client,
        }
    }

    pub(crate) fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap()
    }

    /// All purchases that there are, but for what cannot be read.
    pub(crate) fn purchases(&self) -> Vec<Value> {
        let mut items = self.dynamodb.items(PURCHASES).unwrap();
        items.retain(|item| item.get("status").is_some());
        items
    }

    /// Does what the call asks for.
    pub(crate) async fn carry_out(&self, call: Call) -> Answer {
        match call.service {
            Service::DynamoDb => self.forward(&self.dynamodb.url(), call).await,
            Service::Stripe => self.forward(&self.stripe.url(), call).await,
            Service::Ssm => self.parameters(&call),
            Service::Sns => self.publish(&call),
            Service::Sqs => self.put_aside(&call),
            Service::Unknown => answer(501, json!({})),
        }
    }

    /// Refuses the call as the service does when it has too much to do, without effect.
    pub(crate) async fn throttle(&self, call: Call) -> Answer {
        match call.service {
            Service::DynamoDb => aws_error(400, "ProvisionedThroughputExceededException"),
            Service::Ssm => aws_error(400, "ThrottlingException"),
            Service::Sqs => aws_error(400, "RequestThrottled"),
            Service::Sns => sns_error(400, "Sender", "Throttling"),
            Service::Stripe => {
                self.fail_at_stripe(&call, 429, false);
                self.carry_out(call).await
            }
            Service::Unknown => self.carry_out(call).await,
        }
    }

    /// Carries the call out, and answers that the service failed.
    pub(crate) async fn fail(&self, call: Call) -> Answer {
        if let Service::Stripe = call.service {
            self.fail_at_stripe(&call, 500, true);
            return self.carry_out(call).await;
        }
        let service = call.service;
        self.carry_out(call).await;
        match service {
            Service::DynamoDb | Service::Ssm => aws_error(500, "InternalServerError"),
            Service::Sns => sns_error(500, "Receiver", "InternalError"),
            _ => aws_error(500, "InternalFailure"),
        }
    }

    /// Has Stripe fail the call that comes next, which is this one: a life calls nothing twice at
    /// once.
    fn fail_at_stripe(&self, call: &Call, status: u16, effect: bool) {
        let failure = local_stripe::Failure::on(call.head.method.as_str(), call.head.uri.path());
        let failure = failure.times(1).respond_with(status);
        self.stripe.inject(match effect {
            true => failure,
            false => failure.without_effect(),
        });
    }

    async fn forward(&self, url: &str, call: Call) -> Answer {
        let url = format!("{url}{}", call.head.uri);
        let mut headers = call.head.headers;
        headers.remove("host");
        headers.remove("content-length");
        let request = self.client.request(call.head.method, url).headers(headers);
        let given = request.body(call.body).send().await.unwrap();
        let mut answer = Answer::default();
        *answer.status_mut() = given.status();
        *answer.headers_mut() = given.headers().clone();
        *answer.body_mut() = given.bytes().await.unwrap().into();
        answer
    }

    /// Calls DynamoDB past the functions.
    pub(crate) async fn dynamodb(&self, target: &str, input: &Value) -> Value {
        let request = self.client.request(Method::POST, self.dynamodb.url());
        let request = request.header("x-amz-target", target);
        let request = request.header("content-type", "application/x-amz-json-1.0");
        // It wants a signature, and does not look at whose.
        let request = request.header("authorization", AUTHORIZATION);
        let request = request.header("x-amz-date", "20251120T100000Z");
        let answer = request.body(input.to_string()).send().await.unwrap();
        assert!(answer.status().is_success(), "{target}: {answer:?}");
        answer.json().await.unwrap()
    }

    /// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html>
    fn parameters(&self, call: &Call) -> Answer {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        let input = call.input();
        for name in input["Names"].as_array().into_iter().flatten() {
            let value = name.as_str().and_then(|name| name.strip_prefix(SECRETS));
            let value = match value {
                Some("/stripe-secret-key") => STRIPE_KEY,
                Some("/stripe-webhook-secret") => WEBHOOK_SECRET,
                Some("/admin-phone-number") => PHONE,
                _ => {
                    missing.push(name);
                    continue;
                }
            };
            found.push(json!({"Name": name, "Type": "SecureString", "Value": value, "Version": 1}));
        }
        answer(
            200,
            json!({"Parameters": found, "InvalidParameters": missing}),
        )
    }

    /// <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>
    fn publish(&self, call: &Call) -> Answer {
        let message = call.parameter("Message").unwrap_or_default();
        let mut sent = self.sent();
        match call.parameter("PhoneNumber") {
            Some(number) => sent.sms.push((number, message)),
            None if call.parameter("TopicArn").as_deref() == Some(TOPIC) => {
                sent.topic.push(message);
            }
            None => return sns_error(404, "Sender", "NotFound"),
        }
        xml(
            200,
            "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult>\
             <MessageId>1</MessageId></PublishResult><ResponseMetadata><RequestId>1</RequestId>\
             </ResponseMetadata></PublishResponse>"
                .to_owned(),
        )
    }

    /// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
    fn put_aside(&self, call: &Call) -> Answer {
        let message = call.input()["MessageBody"].take();
        let message = message.as_str().unwrap_or_default().to_owned();
        self.sent().failures.push(message);
        answer(200, json!({"MessageId": "1", "MD5OfMessageBody": ""}))
    }

    /// The call with which somebody else than a function publishes to the topic.
    pub(crate) fn publication(message: &Value) -> Call {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", "Publish");
        form.append_pair("TopicArn", TOPIC);
        form.append_pair("Message", &message.to_string());
        let (head, ()) = hyper::Request::post("/").body(()).unwrap().into_parts();
        Call::new(head, form.finish().into())
    }

    /// The texts that were sent by SMS.
    pub(crate) fn sms(&self) -> Vec<String> {
        let sent = self.sent();
        let texts = sent.sms.iter().map(|(number, text)| {
            assert_eq!(number, PHONE, "{BY_SMS}");
            text.clone()
        });
        texts.collect()
    }
}

const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 \
    Credential=AKIDEXAMPLE/20251120/us-east-1/dynamodb/aws4_request, \
    SignedHeaders=host;x-amz-date;x-amz-target, Signature=0";

fn answer(status: u16, body: Value) -> Answer {
    let answer = Response::builder().status(status);
    let answer = answer.header("content-type", "application/x-amz-json-1.1");
    answer.body(body.to_string().into()).unwrap()
}

/// <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html#operation-error-serialization>
fn aws_error(status: u16, code: &str) -> Answer {
    answer(status, json!({"__type": code, "message": "on request"}))
}

/// <https://docs.aws.amazon.com/sns/latest/api/CommonErrors.html>
fn sns_error(status: u16, at_fault: &str, code: &str) -> Answer {
    xml(
        status,
        format!(
            "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error>\
             <Type>{at_fault}</Type><Code>{code}</Code><Message>on request</Message></Error>\
             <RequestId>1</RequestId></ErrorResponse>"
        ),
    )
}

fn xml(status: u16, body: String) -> Answer {
    let answer = Response::builder().status(status);
    let answer = answer.header("content-type", "text/xml");
    answer.body(body.into()).unwrap()
}
