//! The stage under test, and users who sign up there.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use aws_credential_types::Credentials;
use percent_encoding::percent_decode_str;
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::http::{Method, Request, Response, Signer};

/// The environment variable with the path of the stage's `stage.json`.
const STAGE_VARIABLE: &str = "SCRATCHPAD_STAGE";

/// The account that the local cloud emulates. Its ID is also the access key ID of its root user.
pub(crate) const ACCOUNT: &str = "111111111111";

/// The timeout of [`wait_for`].
const TIMEOUT: Duration = Duration::from_secs(10);

/// The URLs and resources of a stage, read from the `stage.json` that `cargo xtask` writes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// The URL of the API, without a trailing slash.
    pub api_url: String,
    /// The endpoint of all AWS services, without a trailing slash.
    pub cloud_url: String,
    /// The region.
    pub region: String,
    /// The ID of the user pool.
    pub user_pool_id: String,
    /// The ID of the browser app in the user pool.
    pub user_pool_client_id: String,
    /// The ID of the identity pool.
    pub identity_pool_id: String,
    /// The name of the bucket with attachments.
    pub attachments_bucket: String,
    /// The name of the table Notes.
    pub notes_table: String,
    /// The name of the table Purchases.
    pub purchases_table: String,
    /// The URL of the local Stripe, without a trailing slash.
    pub stripe_url: String,
}

/// The path of the stage's `stage.json`.
pub(crate) fn stage_file() -> &'static Path {
    static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
        let file = std::env::var(STAGE_VARIABLE).unwrap_or_else(|_| {
            panic!("{STAGE_VARIABLE} is not set to the file of a stage: run these tests with cargo xtask test --e2e")
        });
        // The variable may be relative to the checkout, but Cargo runs tests in the folder of their crate.
        crate::workspace::root().join(file)
    });
    &FILE
}

/// The lock on the stage. Tests hold it for reading; a test that needs the stage for itself holds it for writing.
static LOCK: LazyLock<RwLock<()>> = LazyLock::new(RwLock::default);

/// The stage, locked for as long as a test uses it.
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
    /// The stage, for a task that must end before the test does.
    pub fn for_task(&self) -> &'static Stage {
        self.stage
    }
}

impl Stage {
    /// The stage, shared with other tests. Each test signs up its own users.
    pub async fn shared() -> StageGuard<RwLockReadGuard<'static, ()>> {
        StageGuard {
            stage: Self::load(),
            _guard: LOCK.read().await,
        }
    }

    /// The stage, locked for a test that changes something that other tests depend on.
    pub async fn exclusive() -> StageGuard<RwLockWriteGuard<'static, ()>> {
        StageGuard {
            stage: Self::load(),
            _guard: LOCK.write().await,
        }
    }

    fn load() -> &'static Self {
        static LOADED: OnceLock<Stage> = OnceLock::new();
        LOADED.get_or_init(|| {
            let file = stage_file();
            let text = std::fs::read_to_string(file)
                .unwrap_or_else(|error| panic!("{STAGE_VARIABLE}: {}: {error}", file.display()));
            serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{STAGE_VARIABLE}: {}: {error}", file.display()))
        })
    }

    /// The name of the stage.
    pub fn name(&self) -> &str {
        self.api_url.rsplit('/').next().unwrap()
    }

    /// Creates an unsigned request. `path` is a path of the API, or an absolute URL.
    pub fn request(&self, client: &Client, method: Method, path: &str) -> Request {
        let url = match path.starts_with('/') {
            true => format!("{}{path}", self.api_url),
            false => path.to_owned(),
        };
        Request::new(client, method, Url::parse(&url).unwrap())
    }

    /// Sends an unsigned request to an AWS service with a JSON protocol. Returns the output.
    async fn call_unsigned(&self, client: &Client, target: &str, input: &Value) -> Value {
        send_successfully(self.json_request(client, target, input)).await
    }

    fn json_request(&self, client: &Client, target: &str, input: &Value) -> Request {
        Request::new(client, Method::POST, self.endpoint("/"))
            .header("x-amz-target", target)
            .json(input)
            .header("content-type", "application/x-amz-json-1.1")
    }

    /// The URL of a path of the local cloud.
    pub(crate) fn endpoint(&self, path: &str) -> Url {
        Url::parse(&format!("{}{path}", self.cloud_url)).unwrap()
    }

    /// The signer that signs as the owner of the account.
    pub(crate) fn owner_signer(&self, service: &'static str) -> Signer {
        Signer {
            credentials: credentials(ACCOUNT, "any", None),
            region: self.region.clone(),
            service,
        }
    }

    /// The ARN of a function's role.
    pub async fn role_of(&self, function: &str) -> String {
        let configuration = self.configuration(function).await;
        configuration["Role"].as_str().unwrap().to_owned()
    }

    /// Calls IAM as the account's owner. Returns the percent-decoded texts of all XML elements with the name
    /// `element` in the response.
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

    /// The names of a role's inline policies.
    pub async fn inline_policies(&self, role: &str) -> Vec<String> {
        let list = [("Action", "ListRolePolicies"), ("RoleName", role)];
        self.iam(&list, "member").await
    }

    /// The ARNs of the managed policies attached to a role.
    pub async fn attached_policies(&self, role: &str) -> Vec<String> {
        let list = [("Action", "ListAttachedRolePolicies"), ("RoleName", role)];
        self.iam(&list, "PolicyArn").await
    }

    /// An inline policy of a role.
    pub async fn inline_policy(&self, role: &str, name: &str) -> Value {
        let get = [
            ("Action", "GetRolePolicy"),
            ("RoleName", role),
            ("PolicyName", name),
        ];
        let found = self.iam(&get, "PolicyDocument").await;
        serde_json::from_str(&found[0]).unwrap()
    }

    /// Replaces an inline policy of a role.
    pub async fn put_inline_policy(&self, role: &str, name: &str, policy: &Value) {
        let put = [
            ("Action", "PutRolePolicy"),
            ("RoleName", role),
            ("PolicyName", name),
            ("PolicyDocument", &policy.to_string()),
        ];
        self.iam(&put, "RequestId").await;
    }

    /// Signs a user in and returns the ID token. With `owner`, the account's owner signs the user in.
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

/// The password of all users.
const PASSWORD: &str = "Correct-horse-7";

fn user_pool_target(action: &str) -> String {
    format!("AWSCognitoIdentityProviderService.{action}")
}

/// A user who is signed in.
#[derive(Debug)]
pub struct Person<'a> {
    stage: &'a Stage,
    client: Client,
    signer: Signer,
    /// The ID of the Cognito identity.
    pub id: String,
}

impl<'a> Person<'a> {
    /// Signs up a new user with the confirmation code from the email, and signs them in.
    pub async fn sign_up(stage: &'a Stage) -> Self {
        Self::sign_up_with(stage, None).await
    }

    /// Like [`Person::sign_up`], but the account's owner signs the user in. For stages whose app client does
    /// not allow sign-in with a plain password.
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
        Self::with_identity(stage, client, &token).await
    }

    /// Creates the user that an ID token identifies, with credentials from the identity pool.
    async fn with_identity(stage: &'a Stage, client: Client, token: &Value) -> Self {
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
            id: identity.as_str().unwrap().to_owned(),
        }
    }

    /// Creates a request that the user signs. `path` is a path of the API, or an absolute URL.
    pub fn request(&self, method: Method, path: &str) -> Request {
        self.stage
            .request(&self.client, method, path)
            .signed_by(&self.signer)
    }

    /// Creates an unsigned request. `path` is a path of the API, or an absolute URL.
    pub fn unsigned(&self, method: Method, path: &str) -> Request {
        self.stage.request(&self.client, method, path)
    }

    /// The user's signer, with another access key ID or secret access key if given, and without the session
    /// token if `token` is false.
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

    /// Sends a signed GET.
    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await
    }

    /// Sends a signed DELETE.
    pub async fn delete(&self, path: &str) -> Response {
        self.request(Method::DELETE, path).send().await
    }

    /// Sends a signed POST with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.request(Method::POST, path).json(body).send().await
    }

    /// Sends a signed PUT with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Response {
        self.request(Method::PUT, path).json(body).send().await
    }

    /// Creates a note and returns it.
    pub async fn create_note(&self, content: &str, attachment: Option<&str>) -> Value {
        let body = json!({"content": content, "attachment": attachment});
        self.post("/notes", &body).await.json(201)
    }

    /// Gets all pages of a list. `path` is the path of the first page. The `Link` headers have the URLs of the next pages.
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

/// Sends the request, asserts status 200 and returns the JSON body.
async fn send_successfully(request: Request) -> Value {
    let context = format!("{request:?}");
    let response = request.send().await;
    assert_eq!(response.status, 200, "{context}: {}", response.text());
    serde_json::from_slice(&response.body).unwrap()
}

fn credentials(key_id: &str, secret: &str, token: Option<String>) -> Credentials {
    Credentials::new(key_id, secret, token, None, "test")
}

/// Waits for the email with the confirmation code from the user pool, and returns the code.
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

/// Polls until `poll` returns a value. Panics after 10 seconds.
pub async fn wait_for<T>(what: &str, poll: impl AsyncFn() -> Option<T>) -> T {
    wait_for_up_to(TIMEOUT, what, poll).await
}

/// Polls until `poll` returns a value. Panics after `timeout`.
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
