//! The AWS operations that functions call, each through our client and through the SDK's generated client.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;

use aws::{SdkError, Stack, is_transient};
use aws_sdk_dynamodb::operation::batch_get_item::builders::BatchGetItemInputBuilder;
use aws_sdk_dynamodb::operation::delete_item::builders::DeleteItemInputBuilder;
use aws_sdk_dynamodb::operation::get_item::builders::GetItemInputBuilder;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemInputBuilder;
use aws_sdk_dynamodb::operation::query::builders::QueryInputBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::builders::TransactWriteItemsInputBuilder;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemInputBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, Put, ReturnValue, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem, Update,
};
use aws_sdk_sns::operation::publish::builders::PublishInputBuilder;
use aws_sdk_sns::operation::publish::{Publish, PublishError, PublishOutput};
use aws_sdk_sns::types::MessageAttributeValue; // part: notify
use aws_sdk_sqs::operation::send_message::builders::SendMessageInputBuilder; // part: billing
use aws_sdk_sqs::operation::send_message::{SendMessage, SendMessageError, SendMessageOutput}; // part: billing
use aws_sdk_ssm::operation::get_parameters::GetParametersError;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::retry::RetryConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;
use dynamodb::Dynamodb;
use secrets::Secrets;

use crate::support::{REGION, Reply, Request, Server, credentials, reply};

/// The AWS protocol of an operation: the format of request, response and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// AWS JSON 1.0 or 1.1.
    Json,
    /// AWS Query: the request is an HTML form, and the response is XML.
    Query,
    /// The variant of AWS REST XML that S3 uses.
    S3,
}

type BoxFuture = Pin<Box<dyn Future<Output = Outcome> + Send>>;

pub(crate) struct Operation {
    /// The service's name in signatures and host names.
    pub(crate) service: &'static str,
    pub(crate) name: &'static str,
    pub(crate) protocol: Protocol,
    /// The body of a successful response.
    success: &'static str,
    /// Calls the operation through our client, as the functions do.
    ours: fn(Stack) -> BoxFuture,
    /// Calls the operation through the SDK's generated client, with the same input as `ours`.
    sdk: fn(SdkConfig) -> BoxFuture,
}

impl Operation {
    pub(crate) fn success(&self) -> Reply {
        reply("200 OK", "", self.success)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.service, self.name)
    }
}

/// The part of a call's result that must be the same for both clients.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    Failure {
        kind: &'static str,
        status: Option<u16>,
        code: Option<String>,
        transient: bool,
    },
}

fn outcome<T, E: ProvideErrorMetadata>(result: Result<T, SdkError<E>>) -> Outcome {
    result.map_or_else(|error| failure(&error), |_| Outcome::Success)
}

fn failure<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Outcome {
    Outcome::Failure {
        kind: match error {
            SdkError::ConstructionFailure(_) => "ConstructionFailure",
            SdkError::TimeoutError(_) => "TimeoutError",
            SdkError::DispatchFailure(_) => "DispatchFailure",
            SdkError::ResponseError(_) => "ResponseError",
            SdkError::ServiceError(_) => "ServiceError",
            _ => "another error",
        },
        status: error.raw_response().map(|raw| raw.status().as_u16()),
        code: error.code().map(str::to_owned),
        transient: is_transient(error),
    }
}

/// The HTTP requests that one call of an operation sent, and the outcome of the call.
pub(crate) struct Called {
    pub(crate) requests: Vec<Request>,
    pub(crate) outcome: Outcome,
}

/// Calls an operation through our client and through the SDK's generated client. Each client calls its own server. Both
/// servers send `replies`.
pub(crate) async fn call_both(operation: &Operation, replies: Vec<Reply>) -> (Called, Called) {
    let ours = Server::start(replies.clone()).await;
    let sdk = Server::start(replies).await;
    let (our_outcome, sdk_outcome) = tokio::join!(
        (operation.ours)(ours.stack()),
        (operation.sdk)(sdk_config(&sdk))
    );
    let called = |server: Server, outcome| Called {
        requests: server.requests(),
        outcome,
    };
    (called(ours, our_outcome), called(sdk, sdk_outcome))
}

/// The configuration that a function would have if it used the SDK's generated clients. Its endpoint is `server`.
fn sdk_config(server: &Server) -> SdkConfig {
    let ours = server.stack().config();
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(
            aws_credential_types::provider::SharedCredentialsProvider::new(credentials()),
        )
        .endpoint_url(ours.endpoint_url().unwrap())
        .http_client(ours.http_client().unwrap())
        .region(Region::from_static(REGION))
        .retry_config(RetryConfig::standard())
        .sleep_impl(TokioSleep::new())
        .timeout_config(ours.timeout_config().unwrap().clone())
        .build()
}

macro_rules! dynamodb {
    ($name:literal, $input:expr) => {
        Operation {
            service: "dynamodb",
            name: $name,
            protocol: Protocol::Json,
            success: "{}",
            ours: |aws| {
                Box::pin(async move {
                    let table = Dynamodb::new(&aws).table(TABLE.parse().unwrap());
                    outcome(table.send($input).await)
                })
            },
            sdk: |config| {
                let client = aws_sdk_dynamodb::Client::new(&config);
                Box::pin(async move { outcome($input.send_with(&client).await) })
            },
        }
    };
}

macro_rules! publish {
    ($input:expr) => {
        Operation {
            service: "sns",
            name: "Publish",
            protocol: Protocol::Query,
            success: "<PublishResponse><PublishResult><MessageId>m-1</MessageId></PublishResult></PublishResponse>",
            ours: |aws| {
                Box::pin(async move {
                    let (client, input) = (aws.client("sns"), $input.build().unwrap());
                    let call = client.call::<_, PublishOutput, PublishError>(Publish::new(), input);
                    outcome(call.await)
                })
            },
            sdk: |config| {
                let client = aws_sdk_sns::Client::new(&config);
                Box::pin(async move {
                    outcome($input.send_with(&client).await)
                })
            },
        }
    };
}

/// Every AWS operation that at least one function calls. The inputs are like those of the functions.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        dynamodb!("BatchGetItem", batch_get_item()),
        dynamodb!("DeleteItem", delete_item()),
        dynamodb!("GetItem", get_item()),
        dynamodb!("PutItem", put_item()),
        dynamodb!("Query", query()),
        dynamodb!("TransactWriteItems", transact_write_items()),
        dynamodb!("UpdateItem", update_item()),
        publish!(publish_to_topic()),
        publish!(publish_sms()), // part: notify
        // part: billing {
        Operation {
            service: "sqs",
            name: "SendMessage",
            protocol: Protocol::Json,
            success: r#"{"MessageId":"m-1"}"#,
            ours: |aws| {
                Box::pin(async move {
                    let (client, input) = (aws.client("sqs"), send_message().build().unwrap());
                    let sent: Result<SendMessageOutput, SdkError<SendMessageError>> =
                        client.call(SendMessage::new(), input).await;
                    outcome(sent)
                })
            },
            sdk: |config| {
                let client = aws_sdk_sqs::Client::new(&config);
                Box::pin(async move { outcome(send_message().send_with(&client).await) })
            },
        },
        // part: billing }
        Operation {
            service: "ssm",
            name: "GetParameters",
            protocol: Protocol::Json,
            success: r#"{"Parameters":[{"Name":"/scratchpad/dev/a","Value":"1"},{"Name":"/scratchpad/dev/b","Value":"2"}]}"#,
            ours: |aws| {
                Box::pin(async move {
                    let prefix = "/scratchpad/dev".parse().unwrap();
                    match Secrets::load(&aws, &prefix, ["a", "b"]).await {
                        Ok(_) => Outcome::Success,
                        Err(secrets::Error::Unreadable(error)) => {
                            failure::<GetParametersError>(error.downcast_ref().unwrap())
                        }
                        Err(error) => panic!("{error}"),
                    }
                })
            },
            sdk: |config| {
                let client = aws_sdk_ssm::Client::new(&config);
                Box::pin(async move {
                    let call = client
                        .get_parameters()
                        .names("/scratchpad/dev/a")
                        .names("/scratchpad/dev/b")
                        .with_decryption(true);
                    outcome(call.send().await)
                })
            },
        },
        Operation {
            service: "s3",
            name: "DeleteObject",
            protocol: Protocol::S3,
            success: "",
            ours: |aws| {
                Box::pin(async move { outcome(aws.objects(BUCKET).delete(OBJECT_KEY).await) })
            },
            sdk: |config| {
                let client = s3(&config);
                Box::pin(async move {
                    let call = client.delete_object().bucket(BUCKET).key(OBJECT_KEY);
                    outcome(call.send().await)
                })
            },
        },
        Operation {
            service: "s3",
            name: "HeadObject",
            protocol: Protocol::S3,
            success: "",
            ours: |aws| {
                Box::pin(async move { outcome(aws.objects(BUCKET).head(OBJECT_KEY).await) })
            },
            sdk: |config| {
                let client = s3(&config);
                Box::pin(async move {
                    let call = client.head_object().bucket(BUCKET).key(OBJECT_KEY);
                    outcome(call.send().await)
                })
            },
        },
    ]
}

const BUCKET: &str = "files";
const OBJECT_KEY: &str = "private/eu-central-1:8f2e/1+1 = 'two'?/a//b/./c/../100%25 📎.txt";
const TABLE: &str = "scratchpad-dev-Notes";

/// Creates the SDK's S3 client. It puts the bucket into the path of the URL, as `libs/aws` does for a custom endpoint.
fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::from(config).force_path_style(true);
    aws_sdk_s3::Client::from_conf(config.build())
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn key() -> HashMap<String, AttributeValue> {
    HashMap::from([
        ("userId".to_owned(), text("eu-central-1:8f2e")),
        ("noteId".to_owned(), text("01890a5d")),
    ])
}

fn batch_get_item() -> BatchGetItemInputBuilder {
    let keys = KeysAndAttributes::builder().keys(key()).keys(key());
    BatchGetItemInputBuilder::default().request_items(TABLE, keys.build().unwrap())
}

fn delete_item() -> DeleteItemInputBuilder {
    DeleteItemInputBuilder::default()
        .table_name(TABLE)
        .set_key(Some(key()))
        .condition_expression("version = :version")
        .expression_attribute_values(":version", text("v-1"))
        .return_values(ReturnValue::AllOld)
}

fn get_item() -> GetItemInputBuilder {
    GetItemInputBuilder::default()
        .table_name(TABLE)
        .set_key(Some(key()))
        .consistent_read(true)
}

fn put_item() -> PutItemInputBuilder {
    PutItemInputBuilder::default()
        .table_name(TABLE)
        .set_item(Some(key()))
        .item("content", text("\"naïve\" \u{1F4CE}\n"))
        .item("amount", AttributeValue::N("-12.5".to_owned()))
        .item("paid", AttributeValue::Bool(false))
        .item("attachment", AttributeValue::Null(true))
        .item("hash", AttributeValue::B(Blob::new([0, 255])))
        .item("tags", AttributeValue::Ss(vec!["a".to_owned()]))
        .item("list", AttributeValue::L(vec![text("a"), text("")]))
        .item("map", AttributeValue::M(key()))
        .condition_expression("attribute_not_exists(noteId)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
}

fn query() -> QueryInputBuilder {
    QueryInputBuilder::default()
        .table_name(TABLE)
        .index_name("byState")
        .key_condition_expression("userId = :user")
        .expression_attribute_values(":user", text("eu-central-1:8f2e"))
        .set_exclusive_start_key(Some(key()))
        .scan_index_forward(false)
        .consistent_read(true)
        .limit(101)
}

fn transact_write_items() -> TransactWriteItemsInputBuilder {
    let put = Put::builder()
        .table_name(TABLE)
        .set_item(Some(key()))
        .condition_expression("attribute_not_exists(noteId)");
    let update = Update::builder()
        .table_name("scratchpad-dev-Storage")
        .key("userId", text("eu-central-1:8f2e"))
        .update_expression("ADD used :one")
        .condition_expression("used < :free")
        .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
        .expression_attribute_values(":free", AttributeValue::N("100".to_owned()))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    let put = TransactWriteItem::builder().put(put.build().unwrap());
    let update = TransactWriteItem::builder().update(update.build().unwrap());
    TransactWriteItemsInputBuilder::default()
        .transact_items(put.build())
        .transact_items(update.build())
        .client_request_token("2f6b1c9e0d474a85b3e98c7d5a1f4e62")
}

fn update_item() -> UpdateItemInputBuilder {
    UpdateItemInputBuilder::default()
        .table_name(TABLE)
        .set_key(Some(key()))
        .update_expression("SET content = :content, #state = :state REMOVE uploaded")
        .condition_expression("attribute_exists(noteId)")
        .expression_attribute_names("#state", "state")
        .expression_attribute_values(":content", text("new"))
        .expression_attribute_values(":state", AttributeValue::Null(true))
        .return_values(ReturnValue::UpdatedOld)
}

fn publish_to_topic() -> PublishInputBuilder {
    PublishInputBuilder::default()
        .topic_arn("arn:aws:sns:eu-central-1:123456789012:Notices")
        .message(r#"{"id":"1","number":250,"description":"a & b = ü+📎"}"#)
}

// part: notify {
fn publish_sms() -> PublishInputBuilder {
    let kind = MessageAttributeValue::builder()
        .data_type("String")
        .string_value("Transactional");
    PublishInputBuilder::default()
        .phone_number("+12065550100")
        .message_attributes("AWS.SNS.SMS.SMSType", kind.build().unwrap())
        .message("A notice about $2.50")
}
// part: notify }

// part: billing {
fn send_message() -> SendMessageInputBuilder {
    SendMessageInputBuilder::default()
        .queue_url("https://sqs.eu-central-1.amazonaws.com/123456789012/dead-letters")
        .message_body(r#"{"a":"<b>"}"#)
}
// part: billing }
