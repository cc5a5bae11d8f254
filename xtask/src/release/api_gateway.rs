//! The deployments of a stage's REST API. A deployment is a snapshot of the API. API Gateway serves this snapshot
//! through a resource that it calls a stage of the API.
//!
//! Only the stack that owns the API has a deployment. The other stacks add methods to the API later. CloudFormation creates
//! a new deployment before it deletes the removed methods, and it does not restore the earlier deployment when it rolls
//! back an update. So after each update, the API's stage may serve an outdated snapshot.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use aws_smithy_types::date_time::{DateTime, Format};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{context::StageContext, rest::Rest};
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

/// Creates a deployment of the REST API `api`. The API's stage then serves this deployment. The settings of the API's
/// stage do not change.
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
    serde_json::from_str(body).context("cannot parse the response from API Gateway")
}

/// Percent-encodes a value for a query: all bytes except ASCII letters and digits.
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

/// Converts a time in a response from API Gateway to seconds since the Unix epoch, rounded down.
fn seconds(time: &Value) -> Result<i64> {
    match time {
        Value::String(text) => Ok(DateTime::from_str(text, Format::DateTimeWithOffset)?.secs()),
        _ => {
            let time = time.as_f64().context("the deployment has no valid date")?;
            Ok(time.floor() as i64)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::release::{
        fake_aws::{Answer, FakeAws, FakeStack, FakeStacks, Request},
        template::DEPLOYMENT,
    };

    const METHOD: &str = "AWS::ApiGateway::Method";

    /// The time at which the deployment was created, in seconds since the start of 2026-01-01 in UTC.
    const CREATED: u32 = 20;

    /// Returns a fake with the stack of an API that has the methods `methods`. The API's stage serves a deployment with
    /// the method `GET /notes`. `events` are the events of the API's stack.
    fn fake(methods: Value, events: &[(&str, &str, u32)]) -> FakeAws {
        let mut api = FakeStack::new("scratchpad-api-dev", "UPDATE_COMPLETE");
        api.resources = vec![(REST_API.into(), "api".into()), (METHOD.into(), "m".into())];
        for (kind, status, time) in events {
            api.resource_event(kind, status, *time);
        }
        let mut stacks = FakeStacks::default();
        stacks.stacks = vec![api];
        FakeAws::with_stacks(&Arc::new(Mutex::new(stacks)), move |request, _| {
            let uri = request.uri.split_once("/restapis/")?.1;
            let created = 1_767_225_600 + CREATED;
            Some(match uri.split('?').next().unwrap_or_default() {
                "api/stages/dev" => Answer::new(200, r#"{"deploymentId": "served"}"#),
                "api/deployments/served" => Answer::new(
                    200,
                    json!({"createdDate": created, "apiSummary": {"/notes": {"GET": {}}}})
                        .to_string(),
                ),
                "api/resources" => Answer::new(
                    200,
                    json!({"item": [{"path": "/"}, {"path": "/notes", "resourceMethods": methods}]})
                        .to_string(),
                ),
                "api/deployments" => Answer::new(201, "{}"),
                other => panic!("{other}"),
            })
        })
    }

    fn created(aws: &FakeAws) -> Vec<Request> {
        let mut requests = aws.requests();
        requests.retain(|request| {
            request.method == "POST" && request.uri.ends_with("/restapis/api/deployments")
        });
        requests
    }

    #[tokio::test]
    async fn an_outdated_deployment_is_replaced_once() {
        let unchanged = [
            (METHOD, "UPDATE_COMPLETE", CREATED),
            (DEPLOYMENT, "CREATE_IN_PROGRESS", CREATED),
        ];
        let rolled_back = [
            (METHOD, "UPDATE_COMPLETE", CREATED - 1),
            (DEPLOYMENT, "CREATE_IN_PROGRESS", CREATED),
            (METHOD, "UPDATE_COMPLETE", CREATED + 1),
        ];
        for (methods, events, expected) in [
            (json!({"GET": {}}), &unchanged[..], 0),
            // A removed method is still in the deployed snapshot.
            (json!({"PUT": {}}), &unchanged, 1),
            // CloudFormation has rolled back the method after it had created the deployment.
            (json!({"GET": {}}), &rolled_back, 1),
            // An API without methods cannot be deployed.
            (json!({}), &rolled_back, 0),
        ] {
            let aws = fake(methods.clone(), events);
            deploy_changed(&aws.stage().await).await.unwrap();
            let created = created(&aws);
            assert_eq!(created.len(), expected, "{methods} {events:?}");
            for request in created {
                assert_eq!(request.body, r#"{"stageName":"dev"}"#);
            }
        }
    }

    #[test]
    fn a_time_may_be_a_number_or_a_string() {
        for time in [json!(1_767_225_620), json!("2026-01-01T00:00:20Z")] {
            assert_eq!(seconds(&time).unwrap(), 1_767_225_620);
        }
    }
}
