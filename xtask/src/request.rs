//! The command `cargo xtask request`: signs up a user, and sends a request with the user's signature to the API of a stage that this
//! machine emulates.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use reqwest::{
    Client, Method, Response, StatusCode,
    header::{HeaderMap, HeaderName},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    release::{self, StageContext, StageName},
    stage::{ACCOUNT, LocalStage, STAGE},
    workspace::Workspace,
};

/// The options of `cargo xtask request`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The HTTP method
    method: Method,
    /// The path with the query, for example /notes?limit=10
    path: String,
    /// The body as JSON
    body: Option<String>,
    /// A header, for example 'If-Match: "0199…"'; can be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Wait up to two minutes until `dev` has deployed the route
    #[arg(long)]
    wait: bool,
    /// The user, who is signed up at the first request
    #[arg(long = "as", value_name = "NAME", default_value = "ada")]
    user: String,
    /// The stage: `local`, which `cargo xtask dev` runs, or a stage that you deployed to the accounts of `cargo xtask local-accounts`
    #[arg(long, value_name = "STAGE", default_value = STAGE)]
    stage: StageName,
}

/// A stage that this machine emulates.
struct Api {
    api_url: String,
    /// The endpoint of the AWS services.
    cloud_url: String,
    account: String,
    region: String,
    user_pool_id: String,
    user_pool_client_id: String,
    identity_pool_id: String,
}

impl Api {
    async fn find(workspace: &Workspace, stage: &StageName) -> Result<Self> {
        if stage.as_ref() == STAGE {
            let stage = LocalStage::open(workspace, STAGE)?.description();
            let stage =
                stage.context("the stage local does not run; start it with cargo xtask dev")?;
            return Ok(Self {
                api_url: stage.api_url,
                cloud_url: stage.cloud_url,
                account: ACCOUNT.into(),
                region: stage.region,
                user_pool_id: stage.user_pool_id,
                user_pool_client_id: stage.user_pool_client_id,
                identity_pool_id: stage.identity_pool_id,
            });
        }
        let context = StageContext::open(workspace, stage, None).await?;
        let target = &context.target;
        let cloud = target.account.config().endpoint_url();
        // `sign_in` confirms the user with the credentials of the account's owner, which exist only in the local cloud.
        let cloud_url = cloud.filter(|_| target.account.is_local()).with_context(|| {
            format!(
                "{stage} is a stage on AWS; this command signs users up, which it can only do on stages that this machine \
                 emulates: run cargo xtask local-accounts, and set the variables that it prints"
            )
        })?;
        let exports = context.stacks.exports().await?;
        let export = |stage: &str, name: &str| release::export(&exports, stage, name);
        let users = target.infrastructure_stage();
        Ok(Self {
            api_url: target.reachable_url(&exports, &export(stage.as_ref(), "ApiUrl")?),
            cloud_url: cloud_url.to_owned(),
            account: target.account.id.clone(),
            region: target.account.region().to_owned(),
            user_pool_id: export(&users, "UserPoolId")?,
            user_pool_client_id: export(&users, "UserPoolClientId")?,
            identity_pool_id: export(&users, "IdentityPoolId")?,
        })
    }
}

/// The password of the users that this command signs up.
const PASSWORD: &str = "Correct-horse-7";

/// The response headers that are printed.
const SHOWN: [&str; 4] = ["etag", "link", "location", "retry-after"];

/// Runs `cargo xtask request`: prints the status, some headers and the body of the response.
///
/// # Errors
/// Fails if the stage does not run or is on AWS, or if an option is malformed.
pub(crate) async fn request(options: Options) -> Result<()> {
    let workspace = Workspace::read()?;
    let stage = Api::find(&workspace, &options.stage).await?;
    let client = Client::new();
    let credentials = sign_in(&client, &stage, &options.user).await?;
    if !options.path.starts_with('/') {
        bail!("the path {} must begin with a slash", options.path);
    }
    let mut headers = Vec::new();
    for header in &options.headers {
        let (name, value) = header
            .split_once(':')
            .with_context(|| format!("the header {header} must have the form 'NAME: VALUE'"))?;
        headers.push((name.trim().to_lowercase(), value.trim().to_owned()));
    }
    if options.body.is_some() {
        headers.push(("content-type".into(), "application/json".into()));
    }
    let url = format!("{}{}", stage.api_url, options.path);
    let body = options.body.unwrap_or_default();
    let signer = Some((&credentials, "execute-api"));
    let started = Instant::now();
    loop {
        let (method, body) = (options.method.clone(), body.clone());
        let response = send(&client, &stage, method, &url, &headers, body, signer).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await?;
        // API Gateway answers this if no route has the path.
        let is_unknown =
            status == StatusCode::FORBIDDEN && text.contains("Missing Authentication Token");
        if !(options.wait && is_unknown && started.elapsed() < PATIENCE) {
            print(status, &headers, &text);
            return Ok(());
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// How long `--wait` waits for a route.
const PATIENCE: Duration = Duration::from_secs(120);

fn print(status: StatusCode, headers: &HeaderMap, text: &str) {
    println!("HTTP {status}");
    for name in SHOWN {
        if let Some(value) = headers.get(name) {
            println!("{name}: {}", value.to_str().unwrap_or_default());
        }
    }
    match serde_json::from_str::<Value>(text) {
        Ok(body) => println!("{body:#}"),
        Err(_) => println!("{text}"),
    }
}

/// Signs a user in, and up if necessary. Returns the user's credentials from the identity pool.
async fn sign_in(client: &Client, stage: &Api, user: &str) -> Result<Credentials> {
    let email = format!("{user}@example.com");
    let app = &stage.user_pool_client_id;
    let sign_up = json!({
        "ClientId": app, "Username": email, "Password": PASSWORD,
        "UserAttributes": [{"Name": "email", "Value": email}],
    });
    match call(
        client,
        stage,
        "CognitoIdentityProviderService.SignUp",
        &sign_up,
        false,
    )
    .await
    {
        Ok(_) => {
            let confirm = json!({"UserPoolId": stage.user_pool_id, "Username": email});
            let target = "CognitoIdentityProviderService.AdminConfirmSignUp";
            call(client, stage, target, &confirm, true).await?;
        }
        Err(error) if error.to_string().contains("UsernameExists") => {}
        Err(error) => return Err(error),
    }
    let input = json!({
        "ClientId": app, "AuthFlow": "USER_PASSWORD_AUTH",
        "AuthParameters": {"USERNAME": email, "PASSWORD": PASSWORD},
    });
    let target = "CognitoIdentityProviderService.InitiateAuth";
    let tokens = call(client, stage, target, &input, false).await?;
    let token = tokens.pointer("/AuthenticationResult/IdToken");
    let pool = format!(
        "cognito-idp.{}.amazonaws.com/{}",
        stage.region, stage.user_pool_id
    );
    let logins = json!({(pool.as_str()): token});
    let input = json!({"IdentityPoolId": stage.identity_pool_id, "Logins": logins});
    let identity = call(client, stage, "CognitoIdentityService.GetId", &input, false).await?;
    let input = json!({"IdentityId": identity.get("IdentityId"), "Logins": logins});
    let target = "CognitoIdentityService.GetCredentialsForIdentity";
    let issued = call(client, stage, target, &input, false).await?;
    let field = |name: &str| {
        let value = issued
            .pointer(&format!("/Credentials/{name}"))
            .and_then(Value::as_str);
        let value = value.with_context(|| format!("Cognito returned no {name}"));
        value.map(ToOwned::to_owned)
    };
    let token = Some(field("SessionToken")?);
    Ok(Credentials::new(
        field("AccessKeyId")?,
        field("SecretKey")?,
        token,
        None,
        "cognito",
    ))
}

/// Calls an operation of Cognito. Signs the request with the credentials of the account's owner if `is_owner` is true.
async fn call(
    client: &Client,
    stage: &Api,
    target: &str,
    input: &Value,
    is_owner: bool,
) -> Result<Value> {
    let owner = Credentials::new(stage.account.clone(), "any", None, None, "owner");
    let headers = [
        (
            "content-type".to_owned(),
            "application/x-amz-json-1.1".to_owned(),
        ),
        ("x-amz-target".to_owned(), format!("AWS{target}")),
    ];
    let url = format!("{}/", stage.cloud_url);
    let signer = is_owner.then_some((&owner, "cognito-idp"));
    let response = send(
        client,
        stage,
        Method::POST,
        &url,
        &headers,
        input.to_string(),
        signer,
    )
    .await?;
    let (status, text) = (response.status(), response.text().await?);
    if !status.is_success() {
        bail!("{target} failed: {text}");
    }
    Ok(serde_json::from_str(&text)?)
}

/// Sends a request, and signs it if credentials and the name of a service are given.
async fn send(
    client: &Client,
    stage: &Api,
    method: Method,
    url: &str,
    headers: &[(String, String)],
    body: String,
    signer: Option<(&Credentials, &str)>,
) -> Result<Response> {
    let mut request = client.request(method.clone(), url);
    for (name, value) in headers {
        request = request.header(HeaderName::try_from(name)?, value);
    }
    if let Some((credentials, service)) = signer {
        let identity = credentials.clone().into();
        let settings = v4::SigningParams::builder()
            .identity(&identity)
            .region(&stage.region)
            .name(service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let signed = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let bytes = SignableBody::Bytes(body.as_bytes());
        let signable = SignableRequest::new(method.as_str(), url, signed, bytes)?;
        let (signature, _) = sign(signable, &settings)?.into_parts();
        for (name, value) in signature.headers() {
            request = request.header(name, value);
        }
    }
    let response = request.body(body).send().await;
    response.with_context(|| format!("the stage does not respond at {url}"))
}
