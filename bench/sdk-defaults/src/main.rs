//! The function `notes-get` with the default settings of the AWS SDK, for comparison in the benchmark.

use std::{collections::HashMap, env, time::Duration};

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use aws_sdk_s3::presigning::PresigningConfig;
use lambda_http::{
    Body, Error, Request, RequestExt, Response, request::RequestContext, service_fn, tracing,
};
use serde::{Deserialize, Serialize};
use serde_dynamo::from_item;

struct Services {
    dynamodb: aws_sdk_dynamodb::Client,
    s3: aws_sdk_s3::Client,
    notes: String,
    attachments: String,
    bucket: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Note {
    user_id: String,
    note_id: String,
    content: String,
    attachment: Option<String>,
    created_at: u64,
    updated_at: u64,
    #[serde(skip_serializing)]
    version: String,
    #[serde(skip_serializing)]
    uploaded: Option<File>,
    #[serde(flatten)]
    file: Option<FileFields>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileFields {
    attachment_type: String,
    attachment_size: u64,
    attachment_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    content_type: Option<String>,
    size: Option<u64>,
}

fn key(names: [&str; 2], values: [&str; 2]) -> HashMap<String, AttributeValue> {
    let values = values.map(|value| AttributeValue::S(value.to_owned()));
    names.map(str::to_owned).into_iter().zip(values).collect()
}

async fn handle(services: &Services, request: Request) -> Result<Response<Body>, Error> {
    let RequestContext::ApiGatewayV1(context) = request.request_context() else {
        return Ok(empty_response(400));
    };
    let Some(user) = context.identity.cognito_identity_id else {
        return Ok(empty_response(401));
    };
    let parameters = request.path_parameters();
    let id = parameters.first("id").unwrap_or_default();
    let get = services.dynamodb.get_item().table_name(&services.notes);
    let get = get.set_key(Some(key(["userId", "noteId"], [&user, id])));
    let Some(item) = get.consistent_read(true).send().await?.item else {
        return Ok(empty_response(404));
    };
    let mut note: Note = from_item(item)?;
    if let Some(attachment) = &note.attachment {
        let own = format!("private/{user}/");
        let name = match attachment.starts_with(&own) {
            true => attachment.clone(),
            false => own + attachment,
        };
        let file = match note.uploaded.take() {
            Some(file) => Some(file),
            None => file_record(services, &user, &name).await?,
        };
        if let Some(File {
            content_type: Some(attachment_type),
            size: Some(attachment_size),
        }) = file
        {
            let get = services.s3.get_object().bucket(&services.bucket).key(name);
            let life = PresigningConfig::expires_in(Duration::from_secs(900))?;
            let attachment_url = get.presigned(life).await?.uri().to_owned();
            note.file = Some(FileFields {
                attachment_type,
                attachment_size,
                attachment_url,
            });
        }
    }
    tracing::info!(status = 200, request_id = context.request_id, "request");
    let response = Response::builder()
        .header("content-type", "application/json")
        .header("access-control-allow-origin", env::var("ALLOWED_ORIGIN")?)
        .header("etag", format!("\"{}\"", note.version));
    Ok(response.body(serde_json::to_string(&note)?.into())?)
}

async fn file_record(services: &Services, user: &str, name: &str) -> Result<Option<File>, Error> {
    let keys = KeysAndAttributes::builder().keys(key(["userId", "attachment"], [user, name]));
    let batch = services.dynamodb.batch_get_item();
    let batch = batch.request_items(&services.attachments, keys.build()?);
    let found = batch.send().await?.responses.unwrap_or_default();
    let found = found.into_values().flatten().next();
    Ok(found.map(from_item).transpose()?)
}

fn empty_response(status: u16) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status.try_into().unwrap_or_default();
    response
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let s3 = aws_sdk_s3::config::Builder::from(&config);
    let services = Services {
        dynamodb: aws_sdk_dynamodb::Client::new(&config),
        s3: aws_sdk_s3::Client::from_conf(
            s3.force_path_style(config.endpoint_url().is_some()).build(),
        ),
        notes: env::var("NOTES_TABLE")?,
        attachments: env::var("ATTACHMENTS_TABLE")?,
        bucket: env::var("ATTACHMENTS_BUCKET")?,
    };
    let services = &services;
    lambda_http::run(service_fn(|request| handle(services, request))).await
}
