//! The stage under test, and users who sign up there.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use aws_credential_types::Credentials;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::http::{Method, Request, Response, Signer};

/// The environment variable that contains the path of the stage's `stage.json`.
const STAGE_VARIABLE: &str = "SCRATCHPAD_STAGE";

/// The ID of the AWS account that the local cloud emulates. It is also the access key ID of the account's root user.
pub(crate) const ACCOUNT: &str = "555555555555";

/// The time after which [`wait_for`] panics.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The URLs and resources of a stage, read from the `stage.json` that `cargo xtask` writes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// The URL of the API, without a trailing slash.
    pub api_url: String,
    /// The endpoint of all AWS services of the local cloud, without a trailing slash.
    pub cloud_url: String,
    /// The AWS region of the stage.
    pub region: String,
    /// The ID of the Cognito user pool.
    pub user_pool_id: String,
    /// The ID of the app's client in the Cognito user pool.
    pub user_pool_client_id: String,
    /// The ID of the Cognito identity pool.
    pub identity_pool_id: String,
    /// The name of the S3 bucket with attachments.
    pub attachments_bucket: String,
    /// The name of the DynamoDB table Notes.
    pub notes_table: String,
    // part: billing {
    /// The name of the DynamoDB table Purchases.
    pub purchases_table: String,
    /// The URL of the local Stripe, without a trailing slash.
    pub stripe_url: String,
    // part: billing }
}

impl Stage {
    /// Reads the stage whose `stage.json` is `file`. `file` may be relative to the checkout, because Cargo runs tests in the
    /// folder of their crate.
    pub fn read(file: impl AsRef<Path>) -> Self {
        let file = crate::workspace::root().join(file);
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| {
            panic!("cannot read the stage file {}: {error}", file.display())
        });
        serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!("cannot parse the stage file {}: {error}", file.display())
        })
    }
}

/// Returns the path of the stage's `stage.json`.
pub(crate) fn stage_file() -> &'static Path {
    static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
        let file = std::env::var(STAGE_VARIABLE).unwrap_or_else(|_| {
            panic!("{STAGE_VARIABLE} is not set to the file of a stage: run these tests with cargo xtask test")
        });
        // The variable may be relative to the checkout, but Cargo runs tests in the folder of their crate.
        crate::workspace::root().join(file)
    });
    &FILE
}

/// A lock on the stage. Most tests hold a read lock. A test that must run alone holds a write lock.
static LOCK: LazyLock<RwLock<()>> = LazyLock::new(RwLock::default);

/// The stage, with a lock that is held until the guard is dropped.
#[derive(Debug)]
pub struct StageGuard<Guard> {
    stage: &'static Stage,
    _guard: Guard,
}

impl<Guard> Deref for StageGuard<Guard> {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        self.stage
    }
}

impl<Guard> StageGuard<Guard> {
    /// Returns the stage without the lock, for use in a spawned task. The task must end before this guard is dropped.
    pub fn for_task(&self) -> &'static Stage {
        self.stage
    }
}

impl Stage {
    /// Returns the stage with a read lock, so that other tests use the stage at the same time.
    pub async fn shared() -> StageGuard<RwLockReadGuard<'static, ()>> {
        StageGuard {
            stage: Self::load(),
            _guard: LOCK.read().await,
        }
    }

    /// Returns the stage with a write lock, for a test that changes what other tests depend on. No other test runs
    /// meanwhile.
    pub async fn exclusive() -> StageGuard<RwLockWriteGuard<'static, ()>> {
        StageGuard {
            stage: Self::load(),
            _guard: LOCK.write().await,
        }
    }

    fn load() -> &'static Self {
        static LOADED: OnceLock<Stage> = OnceLock::new();
        LOADED.get_or_init(|| Self::read(stage_file()))
    }

    /// Returns the name of the stage.
    pub fn name(&self) -> &str {
        self.api_url.rsplit('/').next().unwrap()
    }

    /// Creates an unsigned request. `path` is a path of the API that starts with a slash, or an absolute URL.
    pub fn request(&self, client: &Client, method: Method, path: &str) -> Request {
        let url = match path.starts_with('/') {
            true => format!("{}{path}", self.api_url),
            false => path.to_owned(),
        };
        Request::new(client, method, Url::parse(&url).unwrap())
    }

    /// Calls an operation of an AWS service with a JSON protocol, without a signature. Returns the output.
    async fn call_unsigned(&self, client: &Client, target: &str, input: &Value) -> Value {
        send_successfully(self.json_request(client, target, input)).await
    }

    fn json_request(&self, client: &Client, target: &str, input: &Value) -> Request {
        Request::new(client, Method::POST, self.endpoint("/"))
            .header("x-amz-target", target)
            .json(input)
            .header("content-type", "application/x-amz-json-1.1")
    }

    /// Returns the URL of `path` at the local cloud's endpoint.
    pub fn endpoint(&self, path: &str) -> Url {
        Url::parse(&format!("{}{path}", self.cloud_url)).unwrap()
    }

    /// Returns a signer for requests to `service`, with the credentials of the AWS account's owner.
    pub(crate) fn owner_signer(&self, service: &'static str) -> Signer {
        Signer {
            credentials: credentials(ACCOUNT, "any", None),
            region: self.region.clone(),
            service,
        }
    }

    /// Returns the ARN of the IAM role of a function.
    pub async fn role_of(&self, function: &str) -> String {
        let configuration = self.configuration(function).await;
        configuration["Role"].as_str().unwrap().to_owned()
    }

    /// Calls IAM with the credentials of the AWS account's owner. Returns the text of each XML element with the name
    /// `element` in the response, percent-decoded.
    async fn iam(&self, parameters: &[(&str, &str)], element: &str) -> Vec<String> {
        let mut url = self.endpoint("/");
        url.query_pairs_mut().extend_pairs(parameters);
        let form = url.query().unwrap().to_owned() + "&Version=2010-05-08";
        let request = Request::new(&Client::new(), Method::POST, self.endpoint("/"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .signed_by(&self.owner_signer("iam"));
        let response = request.send().await;
        assert_eq!(response.status, 200, "{parameters:?}: {}", response.text());
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        let text = response.text();
        let texts = text.split(&open).skip(1);
        let texts = texts.map(|text| text.split(&close).next().unwrap());
        texts
            .map(|text| percent_decode_str(text).decode_utf8().unwrap().into_owned())
            .collect()
    }

    /// Returns the names of the inline policies of an IAM role.
    pub async fn inline_policies(&self, role: &str) -> Vec<String> {
        let list = [("Action", "ListRolePolicies"), ("RoleName", role)];
        self.iam(&list, "member").await
    }

    /// Returns the ARNs of the managed policies that are attached to an IAM role.
    pub async fn attached_policies(&self, role: &str) -> Vec<String> {
        let list = [("Action", "ListAttachedRolePolicies"), ("RoleName", role)];
        self.iam(&list, "PolicyArn").await
    }

    /// Returns the document of an inline policy of an IAM role.
    pub async fn inline_policy(&self, role: &str, name: &str) -> Value {
        let get = [
            ("Action", "GetRolePolicy"),
            ("RoleName", role),
            ("PolicyName", name),
        ];
        let found = self.iam(&get, "PolicyDocument").await;
        serde_json::from_str(&found[0]).unwrap()
    }

    /// Replaces the document of an inline policy of an IAM role.
    pub async fn put_inline_policy(&self, role: &str, name: &str, policy: &Value) {
        let put = [
            ("Action", "PutRolePolicy"),
            ("RoleName", role),
            ("PolicyName", name),
            ("PolicyDocument", &policy.to_string()),
        ];
        self.iam(&put, "RequestId").await;
    }

    /// Signs in a user of the user pool and returns the ID token. If `owner` is given, calls AdminInitiateAuth with
    /// these credentials of the AWS account's owner. Otherwise calls InitiateAuth, which needs no credentials.
    async fn sign_in(&self, client: &Client, email: &str, owner: Option<&Signer>) -> Value {
        let app = &self.user_pool_client_id;
        let mut input = json!({
            "ClientId": app, "AuthFlow": "USER_PASSWORD_AUTH",
            "AuthParameters": {"USERNAME": email, "PASSWORD": PASSWORD},
        });
        let mut signed_in = match owner {
            None => {
                self.call_unsigned(client, &user_pool_target("InitiateAuth"), &input)
                    .await
            }
            Some(owner) => {
                input["AuthFlow"] = "ADMIN_USER_PASSWORD_AUTH".into();
                input["UserPoolId"] = self.user_pool_id.clone().into();
                let request =
                    self.json_request(client, &user_pool_target("AdminInitiateAuth"), &input);
                send_successfully(request.signed_by(owner)).await
            }
        };
        signed_in["AuthenticationResult"]["IdToken"].take()
    }
}

/// The password of all users that the tests sign up.
const PASSWORD: &str = "Correct-horse-7";

fn user_pool_target(action: &str) -> String {
    format!("AWSCognitoIdentityProviderService.{action}")
}

/// A user of a stage, with credentials that sign requests to the API.
#[derive(Debug)]
pub struct Person<'a> {
    pub(crate) stage: &'a Stage,
    client: Client,
    signer: Signer,
    /// The user's name in the Cognito user pool.
    pub email: String,
    /// The ID of the user's identity in the Cognito identity pool.
    pub id: String,
    /// The ID of the user in the Cognito user pool: the claim `sub` of the user's ID token.
    pub sub: String,
}

impl<'a> Person<'a> {
    /// Signs up a new user, confirms the user with the code from the email, and signs in the user.
    pub async fn sign_up(stage: &'a Stage) -> Self {
        Self::sign_up_with(stage, None).await
    }

    /// Like [`Person::sign_up`], but signs in with AdminInitiateAuth and `owner`, the credentials of the AWS account's
    /// owner. For stages whose app client does not allow USER_PASSWORD_AUTH.
    pub async fn sign_up_as_owner(stage: &'a Stage, owner: &Signer) -> Self {
        Self::sign_up_with(stage, Some(owner)).await
    }

    async fn sign_up_with(stage: &'a Stage, owner: Option<&Signer>) -> Self {
        // One client per user, because a client belongs to the runtime of the test that created it.
        let client = Client::new();
        let email = format!("{}@example.com", Uuid::now_v7().simple());
        let app = &stage.user_pool_client_id;

        let input = json!({
            "ClientId": app, "Username": email, "Password": PASSWORD,
            "UserAttributes": [{"Name": "email", "Value": email}],
        });
        stage
            .call_unsigned(&client, &user_pool_target("SignUp"), &input)
            .await;
        let code = confirmation_code(stage, &client, &email).await;
        let input = json!({"ClientId": app, "Username": email, "ConfirmationCode": code});
        stage
            .call_unsigned(&client, &user_pool_target("ConfirmSignUp"), &input)
            .await;
        let token = stage.sign_in(&client, &email, owner).await;
        Self::with_identity(stage, client, email, &token).await
    }

    /// Signs in a user who has signed up before, and gets new credentials for the user's identity.
    pub async fn sign_in(stage: &'a Stage, email: String) -> Self {
        let client = Client::new();
        let token = stage.sign_in(&client, &email, None).await;
        Self::with_identity(stage, client, email, &token).await
    }

    /// Returns the user that an ID token identifies, with credentials from the identity pool.
    async fn with_identity(stage: &'a Stage, client: Client, email: String, token: &Value) -> Self {
        let pool = format!(
            "cognito-idp.{}.amazonaws.com/{}",
            stage.region, stage.user_pool_id
        );
        let input = json!({
            "IdentityPoolId": stage.identity_pool_id, "Logins": {(pool.as_str()): token},
        });
        let target = "AWSCognitoIdentityService.GetId";
        let identity = stage.call_unsigned(&client, target, &input).await["IdentityId"].take();
        let input = json!({"IdentityId": identity, "Logins": {(pool.as_str()): token}});
        let target = "AWSCognitoIdentityService.GetCredentialsForIdentity";
        let issued = &stage.call_unsigned(&client, target, &input).await["Credentials"];
        let field = |name: &str| issued[name].as_str().unwrap().to_owned();
        Self {
            stage,
            client,
            signer: Signer {
                credentials: credentials(
                    &field("AccessKeyId"),
                    &field("SecretKey"),
                    Some(field("SessionToken")),
                ),
                region: stage.region.clone(),
                service: "execute-api",
            },
            email,
            id: identity.as_str().unwrap().to_owned(),
            sub: sub_of(token),
        }
    }

    /// Creates a request that the user signs. `path` is a path of the API that starts with a slash, or an absolute URL.
    pub fn request(&self, method: Method, path: &str) -> Request {
        self.stage
            .request(&self.client, method, path)
            .signed_by(&self.signer)
    }

    /// Creates an unsigned request. `path` is a path of the API that starts with a slash, or an absolute URL.
    pub fn unsigned(&self, method: Method, path: &str) -> Request {
        self.stage.request(&self.client, method, path)
    }

    /// Returns the user's signer with changed credentials: the access key ID `key_id` and the secret access key
    /// `secret` if they are given, and no session token if `token` is false.
    pub fn signer_with(&self, key_id: Option<&str>, secret: Option<&str>, token: bool) -> Signer {
        let own = &self.signer.credentials;
        Signer {
            credentials: credentials(
                key_id.unwrap_or(own.access_key_id()),
                secret.unwrap_or(own.secret_access_key()),
                own.session_token().filter(|_| token).map(str::to_owned),
            ),
            ..self.signer.clone()
        }
    }

    /// Sends a GET request, signed by the user.
    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await
    }

    /// Sends a DELETE request, signed by the user.
    pub async fn delete(&self, path: &str) -> Response {
        self.request(Method::DELETE, path).send().await
    }

    /// Sends a POST request with a JSON body, signed by the user.
    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.request(Method::POST, path).json(body).send().await
    }

    /// Sends a PUT request with a JSON body, signed by the user.
    pub async fn put(&self, path: &str, body: &Value) -> Response {
        self.request(Method::PUT, path).json(body).send().await
    }

    /// Creates a note that belongs to the user. Returns the note as the API describes it.
    pub async fn create_note(&self, content: &str, attachment: Option<&str>) -> Value {
        let body = json!({"content": content, "attachment": attachment});
        self.post("/notes", &body).await.json(201)
    }

    /// Gets all pages of a list. `path` is the path of the first page. The `Link` header of each page has the URL of
    /// the next page.
    pub async fn pages(&self, path: &str) -> Vec<Vec<Value>> {
        let (mut pages, mut next) = (Vec::new(), Some(path.to_owned()));
        while let Some(path) = next {
            let response = self.get(&path).await;
            let page = response.json(200);
            pages.push(page.as_array().unwrap().clone());
            next = response.next_page();
        }
        pages
    }

    /// Whether the user has no notes.
    pub async fn has_no_notes(&self) -> bool {
        self.get("/notes").await.json(200) == json!([])
    }
}

/// Sends the request, asserts that the response has status 200, and returns the JSON body.
async fn send_successfully(request: Request) -> Value {
    let context = format!("{request:?}");
    let response = request.send().await;
    assert_eq!(response.status, 200, "{context}: {}", response.text());
    serde_json::from_slice(&response.body).unwrap()
}

/// Returns the claim `sub` of an ID token, without verifying the token's signature.
fn sub_of(token: &Value) -> String {
    let claims = token.as_str().unwrap().split('.').nth(1).unwrap();
    let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["sub"].as_str().unwrap().to_owned()
}

fn credentials(key_id: &str, secret: &str, token: Option<String>) -> Credentials {
    Credentials::new(key_id, secret, token, None, "test")
}

/// Waits until the user pool has sent an email with a confirmation code to `email`, and returns the code.
async fn confirmation_code(stage: &Stage, client: &Client, email: &str) -> String {
    let sent = || async {
        let url = stage.endpoint("/_ministack/ses/messages");
        let response = Request::new(client, Method::GET, url).send().await;
        let mails: Value = serde_json::from_slice(&response.body).unwrap();
        let mails = mails["messages"].as_object()?.values();
        let mut mails = mails.flat_map(|mails| mails.as_array().unwrap());
        let mail = mails.find(|mail| mail["To"].to_string().contains(email))?;
        let is_separator = |c: char| !c.is_ascii_digit();
        let mut numbers = mail["BodyText"].as_str()?.split(is_separator);
        numbers.find(|number| number.len() == 6).map(str::to_owned)
    };
    wait_for(&format!("the code for {email}"), sent).await
}

/// Calls `poll` repeatedly until it returns a value, and returns this value. Panics after 10 seconds. `what` names the
/// awaited value in the panic.
pub async fn wait_for<T>(what: &str, poll: impl AsyncFn() -> Option<T>) -> T {
    wait_for_up_to(TIMEOUT, what, poll).await
}

/// Calls `poll` repeatedly until it returns a value, and returns this value. Panics after `timeout`. `what` names the
/// awaited value in the panic.
pub async fn wait_for_up_to<T>(
    timeout: Duration,
    what: &str,
    poll: impl AsyncFn() -> Option<T>,
) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = poll().await {
            return value;
        }
        assert!(Instant::now() < deadline, "timed out waiting for {what}");
        sleep(Duration::from_millis(50)).await;
    }
}
