//! The deployments of a stage's REST API. A deployment is a snapshot of the API, which the API's stage serves.
//!
//! CloudFormation creates the new deployment before it deletes the removed methods, and it does not restore the earlier
//! deployment when it rolls back an update. So after each update, the API's stage may serve an outdated snapshot.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use aws_smithy_types::date_time::{DateTime, Format};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{context::StageContext, rest::Rest, template::DEPLOYMENT};
use crate::ui::Step;

const REST_API: &str = "AWS::ApiGateway::RestApi";

/// A stage of a REST API.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiStage {
    deployment_id: String,
}

/// A deployment of a REST API.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Deployment {
    created_date: Value,
    /// The methods of the snapshot: keyed by path, then by HTTP method.
    #[serde(default)]
    api_summary: BTreeMap<String, BTreeMap<String, Value>>,
}

/// A page of the resources of a REST API.
#[derive(Deserialize)]
struct Resources {
    #[serde(default, alias = "items")]
    item: Vec<Resource>,
    position: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    path: String,
    #[serde(default)]
    resource_methods: BTreeMap<String, Value>,
}

/// The path and the HTTP method of each method of an API.
type Methods = BTreeSet<(String, String)>;

/// Creates a deployment of each REST API of the stage whose deployed snapshot may be older than the API.
///
/// # Errors
/// Fails if a request to CloudFormation or API Gateway fails.
pub(crate) async fn deploy_changed(stage: &StageContext) -> Result<()> {
    let mut apis = Vec::new();
    let mut stacks = Vec::new();
    for name in stage.stacks.of_stage().await?.into_keys() {
        let resources = stage.stacks.resources(&name).await?;
        let is_api = |(kind, _): &(String, String)| kind.starts_with("AWS::ApiGateway::");
        if resources.iter().any(is_api) {
            stacks.push(name);
        }
        apis.extend(resources.into_iter().filter(|(kind, _)| kind == REST_API));
    }
    for (_, api) in apis {
        if is_outdated(stage, &api, &stacks).await? {
            let step = Step::begin("deploy the changed API");
            create_deployment(stage, &api).await?;
            step.done("");
        }
    }
    Ok(())
}

/// Makes the stage of the REST API independent of the stack `name`, which will be deleted: if the API's stage serves a
/// deployment of this stack, creates another deployment. API Gateway does not delete a deployment that a stage serves.
/// Does nothing if the API itself belongs to the stack.
///
/// # Errors
/// Fails if a request to CloudFormation or API Gateway fails.
pub(crate) async fn release_deployment(stage: &StageContext, name: &str) -> Result<()> {
    let resources = stage.stacks.resources(name).await?;
    let is_of = |wanted: &'static str| move |(kind, _): &&(String, String)| kind == wanted;
    let deployments: Vec<_> = resources.iter().filter(is_of(DEPLOYMENT)).collect();
    if deployments.is_empty() || resources.iter().any(|resource| is_of(REST_API)(&resource)) {
        return Ok(());
    }
    for other in stage.stacks.of_stage().await?.into_keys() {
        for (_, api) in stage
            .stacks
            .resources(&other)
            .await?
            .iter()
            .filter(is_of(REST_API))
        {
            let Some(served) = served_deployment(stage, api).await? else {
                continue;
            };
            // The physical ID of a deployment may also contain the ID of the API.
            let is_served = deployments
                .iter()
                .any(|(_, id)| id.split('|').any(|part| part == served));
            if is_served {
                create_deployment(stage, api).await?;
            }
        }
    }
    Ok(())
}

/// Whether the snapshot that the stage of the REST API `api` serves may be older than the API. `stacks` has the names
/// of the stacks that contain parts of the API.
async fn is_outdated(stage: &StageContext, api: &str, stacks: &[String]) -> Result<bool> {
    let methods = methods(stage, api).await?;
    // API Gateway refuses to deploy an API without methods.
    if methods.is_empty() {
        return Ok(false);
    }
    let Some(served) = served_deployment(stage, api).await? else {
        return Ok(true);
    };
    let gateway = Rest::api_gateway(&stage.target.account);
    let path = format!("/restapis/{api}/deployments/{served}?embed=apisummary");
    let Some(deployment) = gateway.get(path).await? else {
        return Ok(true);
    };
    let deployment: Deployment = parse(&deployment)?;
    let deployed: Methods = deployment
        .api_summary
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.keys();
            methods.map(move |method| (path.clone(), method.clone()))
        })
        .collect();
    if deployed != methods {
        return Ok(true);
    }
    let created = seconds(&deployment.created_date)?;
    for name in stacks {
        if stage.stacks.changed_api_since(name, created).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the ID of the deployment that the stage of the REST API `api` serves. `None` if the API has no such stage.
async fn served_deployment(stage: &StageContext, api: &str) -> Result<Option<String>> {
    let gateway = Rest::api_gateway(&stage.target.account);
    let path = format!("/restapis/{api}/stages/{}", stage.target.stage);
    let Some(found) = gateway.get(path).await? else {
        return Ok(None);
    };
    Ok(Some(parse::<ApiStage>(&found)?.deployment_id))
}

/// Returns the methods of the REST API `api`.
async fn methods(stage: &StageContext, api: &str) -> Result<Methods> {
    let gateway = Rest::api_gateway(&stage.target.account);
    let mut methods = Methods::new();
    let mut position = String::new();
    loop {
        let path = format!("/restapis/{api}/resources?embed=methods&limit=500{position}");
        let page = gateway.get(path).await?;
        let page = page.with_context(|| format!("cannot find the REST API {api}"))?;
        let page: Resources = parse(&page)?;
        for resource in page.item {
            let of_path = resource.resource_methods.into_keys();
            methods.extend(of_path.map(|method| (resource.path.clone(), method)));
        }
        match page.position {
            Some(next) => position = format!("&position={}", encode(&next)),
            None => return Ok(methods),
        }
    }
}

/// Creates a deployment of the REST API `api`, which the API's stage then serves. The settings of the API's stage do not
/// change.
async fn create_deployment(stage: &StageContext, api: &str) -> Result<()> {
    let gateway = Rest::api_gateway(&stage.target.account);
    let deployment = json!({"stageName": stage.target.stage}).to_string();
    let created = gateway.post(format!("/restapis/{api}/deployments"), deployment);
    created
        .await?
        .with_context(|| format!("cannot find the REST API {api}"))?;
    Ok(())
}

fn parse<'a, T: Deserialize<'a>>(body: &'a str) -> Result<T> {
    serde_json::from_str(body).context("cannot parse the answer of API Gateway")
}

/// Encodes a value for a query: everything but letters and digits.
fn encode(value: &str) -> String {
    let bytes = value.bytes().map(|byte| {
        if byte.is_ascii_alphanumeric() {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    });
    bytes.collect()
}

/// Converts a time in an answer of API Gateway to seconds since the Unix epoch, rounded down.
fn seconds(time: &Value) -> Result<i64> {
    match time {
        Value::String(text) => Ok(DateTime::from_str(text, Format::DateTimeWithOffset)?.secs()),
        _ => {
            let time = time.as_f64().context("the deployment has no valid date")?;
            Ok(time.floor() as i64)
        }
    }
}
