//! The stage that the end-to-end scenarios run against, and people who signed up there.

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

use crate::http::{Answer, Method, Request, Signer};

/// The setting with its path.
const STAGE: &str = "SCRATCHPAD_STAGE";

/// The account that the local cloud plays. A key id of twelve digits is that account's owner.
pub(crate) const ACCOUNT: &str = "111111111111";

/// How long anything that happens in the background may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a stage is, as `cargo xtask` writes it down.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// The API, without a slash at its end.
    pub api_url: String,
    /// Where all services of the cloud are.
    pub cloud_url: String,
    /// The region that it plays.
    pub region: String,
    /// The user pool.
    pub user_pool_id: String,
    /// The browser app, to the user pool.
    pub user_pool_client_id: String,
    /// The identity pool.
    pub identity_pool_id: String,
    /// The bucket of attachments.
    pub attachments_bucket: String,
    /// The table of notes.
    pub notes_table: String,
    /// The table of purchases.
    pub purchases_table: String,
    /// What the functions take for Stripe, without a slash at its end.
    pub stripe_url: String,
}

/// The file that says where the stage is.
pub(crate) fn file() -> &'static Path {
    static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
        let file = std::env::var(STAGE).unwrap_or_else(|_| {
            panic!("{STAGE} names no stage: run these by cargo xtask test --e2e")
        });
        // Tests run in the folder of their crate; a path is meant from the checkout's.
        crate::root().join(file)
    });
    &FILE
}

/// Whether a test has the stage for itself.
static USE: LazyLock<RwLock<()>> = LazyLock::new(RwLock::default);

/// The stage, for as long as a test uses it.
#[derive(Debug)]
pub struct InUse<Guard> {
    stage: &'static Stage,
    _guard: Guard,
}

impl<Guard> Deref for InUse<Guard> {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        self.stage
    }
}

impl<Guard> InUse<Guard> {
    /// The stage, for a task that ends before the test does.
    pub fn for_task(&self) -> &'static Stage {
        self.stage
    }
}

impl Stage {
    /// The stage, together with other tests: each has people of its own.
    pub async fn shared() -> InUse<RwLockReadGuard<'static, ()>> {
        InUse {
            stage: Self::load(),
            _guard: USE.read().await,
        }
    }

    /// The stage for one test alone, which changes what all depend on.
    pub async fn alone() -> InUse<RwLockWriteGuard<'static, ()>> {
        InUse {
            stage: Self::load(),
            _guard: USE.write().await,
        }
    }

    fn load() -> &'static Self {
        static LOADED: OnceLock<Stage> = OnceLock::new();
        LOADED.get_or_init(|| {
            let file = file();
            let text = std::fs::read_to_string(file)
                .unwrap_or_else(|error| panic!("{STAGE}: {}: {error}", file.display()));
            serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{STAGE}: {}: {error}", file.display()))
        })
    }

    /// The stage's name.
    pub fn name(&self) -> &str {
        self.api_url.rsplit('/').next().unwrap()
    }

    /// A request to the API that nobody signs: `path` below the API, or a full address.
    pub fn request(&self, client: &Client, method: Method, path: &str) -> Request {
        let url = match path.starts_with('/') {
            true => format!("{}{path}", self.api_url),
            false => path.to_owned(),
        };
        Request::new(client, method, Url::parse(&url).unwrap())
    }

    /// Calls a service of the cloud that speaks JSON, as anybody.
    async fn call(&self, client: &Client, target: &str, input: &Value) -> Value {
        answered(self.to(client, target, input)).await
    }

    fn to(&self, client: &Client, target: &str, input: &Value) -> Request {
        Request::new(client, Method::POST, self.cloud("/"))
            .header("x-amz-target", target)
            .json(input)
            .header("content-type", "application/x-amz-json-1.1")
    }

    pub(crate) fn cloud(&self, path: &str) -> Url {
        Url::parse(&format!("{}{path}", self.cloud_url)).unwrap()
    }

    pub(crate) fn owner(&self, service: &'static str) -> Signer {
        Signer {
            credentials: credentials(ACCOUNT, "any", None),
            region: self.region.clone(),
            service,
        }
    }

    /// The ARN of the role of a function, by the name of its crate.
    pub async fn role_of(&self, function: &str) -> String {
        let configuration = self.configuration(function).await;
        configuration["Role"].as_str().unwrap().to_owned()
    }

    /// Calls IAM as the account's owner, with parameters that need no encoding but `%XX`, and
    /// returns the texts of all elements of that name in the answer.
    async fn iam(&self, parameters: &[(&str, &str)], element: &str) -> Vec<String> {
        let mut url = self.cloud("/");
        url.query_pairs_mut().extend_pairs(parameters);
        let form = url.query().unwrap().to_owned() + "&Version=2010-05-08";
        let request = Request::new(&Client::new(), Method::POST, self.cloud("/"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .signed_by(&self.owner("iam"));
        let answer = request.send().await;
        assert_eq!(answer.status, 200, "{parameters:?}: {}", answer.text());
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        let text = answer.text();
        let texts = text.split(&open).skip(1);
        let texts = texts.map(|text| text.split(&close).next().unwrap());
        texts
            .map(|text| percent_decode_str(text).decode_utf8().unwrap().into_owned())
            .collect()
    }

    /// The names of the policies that a role holds itself.
    pub async fn policies_of(&self, role: &str) -> Vec<String> {
        let list = [("Action", "ListRolePolicies"), ("RoleName", role)];
        self.iam(&list, "member").await
    }

    /// The ARNs of the policies that a role shares with others.
    pub async fn shared_policies_of(&self, role: &str) -> Vec<String> {
        let list = [("Action", "ListAttachedRolePolicies"), ("RoleName", role)];
        self.iam(&list, "PolicyArn").await
    }

    /// A policy of a role.
    pub async fn policy(&self, role: &str, name: &str) -> Value {
        let get = [
            ("Action", "GetRolePolicy"),
            ("RoleName", role),
            ("PolicyName", name),
        ];
        let found = self.iam(&get, "PolicyDocument").await;
        serde_json::from_str(&found[0]).unwrap()
    }

    /// Writes over a policy of a role.
    pub async fn put_policy(&self, role: &str, name: &str, policy: &Value) {
        let put = [
            ("Action", "PutRolePolicy"),
            ("RoleName", role),
            ("PolicyName", name),
            ("PolicyDocument", &policy.to_string()),
        ];
        self.iam(&put, "RequestId").await;
    }
}

/// Somebody who signed up and in.
#[derive(Debug)]
pub struct Person<'a> {
    stage: &'a Stage,
    client: Client,
    signer: Signer,
    /// The id of their Cognito identity.
    pub id: String,
}

impl<'a> Person<'a> {
    /// Signs up somebody new, by the code that the stage mails them, and signs them in.
    pub async fn sign_up(stage: &'a Stage) -> Self {
        Self::sign_up_by(stage, None).await
    }

    /// As [`Person::sign_up`], where the app may not send passwords: the account's owner signs them in.
    pub async fn sign_up_by_owner(stage: &'a Stage, owner: &Signer) -> Self {
        Self::sign_up_by(stage, Some(owner)).await
    }

    async fn sign_up_by(stage: &'a Stage, owner: Option<&Signer>) -> Self {
        // One to a person: a client belongs to the runtime of the test that made it.
        let client = Client::new();
        let email = format!("{}@example.com", Uuid::now_v7().simple());
        let (app, password) = (&stage.user_pool_client_id, "Correct-horse-7");

        let provider = |action| format!("AWSCognitoIdentityProviderService.{action}");
        let input = json!({
            "ClientId": app, "Username": email, "Password": password,
            "UserAttributes": [{"Name": "email", "Value": email}],
        });
        stage.call(&client, &provider("SignUp"), &input).await;
        let code = code_sent_to(stage, &client, &email).await;
        let input = json!({"ClientId": app, "Username": email, "ConfirmationCode": code});
        stage
            .call(&client, &provider("ConfirmSignUp"), &input)
            .await;
        let mut input = json!({
            "ClientId": app, "AuthFlow": "USER_PASSWORD_AUTH",
            "AuthParameters": {"USERNAME": email, "PASSWORD": password},
        });
        let signed_in = match owner {
            None => stage.call(&client, &provider("InitiateAuth"), &input).await,
            Some(owner) => {
                input["AuthFlow"] = "ADMIN_USER_PASSWORD_AUTH".into();
                input["UserPoolId"] = stage.user_pool_id.clone().into();
                let request = stage.to(&client, &provider("AdminInitiateAuth"), &input);
                answered(request.signed_by(owner)).await
            }
        };
        let token = &signed_in["AuthenticationResult"]["IdToken"];

        let pool = format!(
            "cognito-idp.{}.amazonaws.com/{}",
            stage.region, stage.user_pool_id
        );
        let input = json!({
            "IdentityPoolId": stage.identity_pool_id, "Logins": {(pool.as_str()): token},
        });
        let target = "AWSCognitoIdentityService.GetId";
        let identity = stage.call(&client, target, &input).await["IdentityId"].take();
        let input = json!({"IdentityId": identity, "Logins": {(pool.as_str()): token}});
        let target = "AWSCognitoIdentityService.GetCredentialsForIdentity";
        let given = &stage.call(&client, target, &input).await["Credentials"];
        let given = |name: &str| given[name].as_str().unwrap().to_owned();
        Self {
            stage,
            client,
            signer: Signer {
                credentials: credentials(
                    &given("AccessKeyId"),
                    &given("SecretKey"),
                    Some(given("SessionToken")),
                ),
                region: stage.region.clone(),
                service: "execute-api",
            },
            id: identity.as_str().unwrap().to_owned(),
        }
    }

    /// A request to the API, signed by them: `path` below the API, or a full address.
    pub fn request(&self, method: Method, path: &str) -> Request {
        self.stage
            .request(&self.client, method, path)
            .signed_by(&self.signer)
    }

    /// A request that they do not sign, to the API or, by a full address, anywhere.
    pub fn unsigned(&self, method: Method, path: &str) -> Request {
        self.stage.request(&self.client, method, path)
    }

    /// Their credentials, with another key id or secret, or without the session's token.
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

    /// GET, signed.
    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path).send().await
    }

    /// DELETE, signed.
    pub async fn delete(&self, path: &str) -> Answer {
        self.request(Method::DELETE, path).send().await
    }

    /// POST with a JSON body, signed.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.request(Method::POST, path).json(body).send().await
    }

    /// PUT with a JSON body, signed.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.request(Method::PUT, path).json(body).send().await
    }

    /// Makes a note, and returns it as the API does.
    pub async fn note(&self, content: &str, attachment: Option<&str>) -> Value {
        let body = json!({"content": content, "attachment": attachment});
        self.post("/notes", &body).await.json(201)
    }

    /// All notes, page by page as the `Link` headers say, beginning at `path`.
    pub async fn pages(&self, path: &str) -> Vec<Vec<Value>> {
        let (mut pages, mut next) = (Vec::new(), Some(path.to_owned()));
        while let Some(path) = next {
            let answer = self.get(&path).await;
            let page = answer.json(200);
            pages.push(page.as_array().unwrap().clone());
            next = answer.next_page();
        }
        pages
    }

    /// Whether they have no note at all.
    pub async fn has_no_notes(&self) -> bool {
        self.get("/notes").await.json(200) == json!([])
    }
}

/// What a service of the cloud answers, which must be that it did it.
async fn answered(request: Request) -> Value {
    let said = format!("{request:?}");
    let answer = request.send().await;
    assert_eq!(answer.status, 200, "{said}: {}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

fn credentials(key_id: &str, secret: &str, token: Option<String>) -> Credentials {
    Credentials::new(key_id, secret, token, None, "test")
}

/// The code that the user pool mailed.
async fn code_sent_to(stage: &Stage, client: &Client, email: &str) -> String {
    let sent = || async {
        let url = stage.cloud("/_ministack/ses/messages");
        let answer = Request::new(client, Method::GET, url).send().await;
        let mails: Value = serde_json::from_slice(&answer.body).unwrap();
        let mails = mails["messages"].as_object()?.values();
        let mut mails = mails.flat_map(|mails| mails.as_array().unwrap());
        let mail = mails.find(|mail| mail["To"].to_string().contains(email))?;
        let digits = |c: char| !c.is_ascii_digit();
        let mut numbers = mail["BodyText"].as_str()?.split(digits);
        numbers.find(|number| number.len() == 6).map(str::to_owned)
    };
    until(&format!("the code for {email}"), sent).await
}

/// Asks time and again until there is an answer.
///
/// For what happens in the background, such as an event on its way.
pub async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    within(PATIENCE, what, ask).await
}

/// As [`until`], for what takes longer by design.
pub async fn within<T>(patience: Duration, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        sleep(Duration::from_millis(50)).await;
    }
}
