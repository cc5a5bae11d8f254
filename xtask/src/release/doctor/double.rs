//! Doubles of the services that the checks query: an HTTP server for AWS and other services, and a DNS resolver.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_types::region::Region;
use http::{Request, Response, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use simple_dns::{CLASS, Name, Packet, PacketFlag, RCODE, ResourceRecord, rdata::NS, rdata::RData};
use tokio::net::{TcpListener, UdpSocket};

pub(super) mod stripe; // part: billing

use super::{
    check::{Check, State},
    dns::Resolver,
    subject::Subject,
};

pub(super) const ACCOUNT: &str = "111111111111";
pub(super) const API_URL: &str = "https://api1.execute-api.eu-central-1.amazonaws.com/dev";
pub(super) const PHONE: &str = "+15555550100"; // part: notify
/// A response: its status and its body.
pub(super) type Reply = (u16, String);

/// An HTTP server with fixed responses.
///
/// A request to AWS has the key `SERVICE OPERATION`, where SERVICE comes from the scope of the signature, and OPERATION
/// from the protocol: the header `X-Amz-Target` and the field `NextToken`, the field `Action`, or the method and the path. A request with a bearer
/// token has the key `KIND METHOD PATH`, where KIND is the beginning of the token, up to `_`. A response whose key has the
/// query of the request takes precedence. A request that has no response gets an error.
pub(super) struct Double {
    pub(super) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

pub(super) type Responses = BTreeMap<&'static str, Reply>;

impl Double {
    pub(super) async fn start(responses: Responses) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (responses, requests) = (Arc::new(responses), Arc::new(Mutex::new(Vec::new())));
        let received = requests.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (responses, received) = (responses.clone(), received.clone());
                let service = service_fn(move |request| {
                    let (responses, received) = (responses.clone(), received.clone());
                    async move { Ok::<_, Infallible>(respond(request, &responses, &received).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, requests }
    }

    /// The keys of the requests so far.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn respond(
    request: Request<Incoming>,
    responses: &Responses,
    received: &Mutex<Vec<String>>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap());
    let path = format!("{} {}", head.method, head.uri.path());
    let full_path = format!("{} {}", head.method, head.uri);
    let authorization = header(AUTHORIZATION.as_str()).unwrap();
    let caller = match authorization.strip_prefix("Bearer ") {
        Some(key) => key.split('_').next().unwrap(),
        None => {
            // AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, …
            let mut scope = authorization.split('/').skip(2);
            let (region, service) = (scope.next().unwrap(), scope.next().unwrap());
            let global = [
                "cloudfront", // part: web
                "iam",
                "servicequotas", // part: web
            ];
            let is_global = global.contains(&service);
            let expected = if is_global {
                "us-east-1"
            } else {
                "eu-central-1"
            };
            assert_eq!(region, expected, "{service}");
            service
        }
    };
    let action = form_urlencoded::parse(&body).find(|(name, _)| name == "Action");
    let operation = match (header("x-amz-target"), action) {
        (Some(target), _) => target.rsplit('.').next().unwrap().to_owned(),
        (None, Some((_, action))) => action.into_owned(),
        (None, None) => path,
    };
    // In the JSON protocols, the body contains the token of the requested page.
    let token = serde_json::from_slice::<Value>(&body).ok();
    let token = token.and_then(|body| Some(body.get("NextToken")?.as_str()?.to_owned()));
    let operation = match token {
        Some(token) => format!("{operation} {token}"),
        None => operation,
    };
    let (key, full_key) = (
        format!("{caller} {operation}"),
        format!("{caller} {full_path}"),
    );
    let found = responses.get(full_key.as_str());
    let found = found.or_else(|| responses.get(key.as_str())).cloned();
    received.lock().unwrap().push(key.clone());
    let (status, body) = found.unwrap_or_else(|| {
        let error = json!({ "__type": "NotInDouble", "message": format!("no response for {key}") });
        (400, error.to_string())
    });
    let kind = if body.starts_with('<') {
        "text/xml"
    } else {
        "application/x-amz-json-1.1"
    };
    let response = Response::builder()
        .status(status)
        .header("content-type", kind);
    // The error of the REST-JSON protocol has its code in a header.
    let error = serde_json::from_str::<Value>(&body).ok();
    let error = error.and_then(|error| Some(error.get("__type")?.as_str()?.to_owned()));
    let response = match error {
        Some(code) => response.header("x-amzn-errortype", code),
        None => response,
    };
    response.body(Full::new(body.into())).unwrap()
}

/// A successful response.
pub(super) fn ok(body: impl ToString) -> Reply {
    (200, body.to_string())
}

/// An error of the Query protocol: <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>
pub(super) fn query_error(status: u16, code: &str) -> Reply {
    let body = format!(
        "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>message of {code}</Message></Error><RequestId>r1</RequestId></ErrorResponse>"
    );
    (status, body)
}

/// An error of the JSON protocols.
pub(super) fn json_error(status: u16, code: &str) -> Reply {
    let message = format!("message of {code}");
    (
        status,
        json!({ "__type": code, "message": message }).to_string(),
    )
}

/// The response of the Query protocol to an action.
pub(super) fn query_response(action: &str, result: &str) -> Reply {
    ok(format!(
        "<{action}Response xmlns=\"https://sns.amazonaws.com/doc/2010-03-31/\"><{action}Result>{result}</{action}Result>\
         <ResponseMetadata><RequestId>r1</RequestId></ResponseMetadata></{action}Response>"
    ))
}

/// The response to GetCallerIdentity.
pub(super) fn caller(account: &str) -> Reply {
    let result = format!(
        "<Arn>arn:aws:sts::{account}:assumed-role/Admin/me</Arn><UserId>AROA:me</UserId><Account>{account}</Account>"
    );
    query_response("GetCallerIdentity", &result)
}

/// The response to DescribeStacks.
pub(super) fn stacks(stacks: &[(&str, &str)]) -> Reply {
    let members = stacks.iter().map(|(name, status)| {
        format!(
            "<member><StackName>{name}</StackName><StackStatus>{status}</StackStatus>\
             <CreationTime>2026-11-01T00:00:00Z</CreationTime></member>"
        )
    });
    let members: String = members.collect();
    query_response("DescribeStacks", &format!("<Stacks>{members}</Stacks>"))
}

/// The response to ListExports.
pub(super) fn exports(exports: &[(&str, &str)]) -> Reply {
    let members = exports
        .iter()
        .map(|(name, value)| format!("<member><Name>{name}</Name><Value>{value}</Value></member>"));
    let members: String = members.collect();
    query_response("ListExports", &format!("<Exports>{members}</Exports>"))
}

// part: billing {
/// The response to GetParameters, with the secrets of the stage dev.
pub(super) fn secrets(secrets: &[(&str, &str)]) -> Reply {
    let parameters = secrets.iter().map(|(name, value)| {
        json!({ "Name": format!("/scratchpad/dev/{name}"), "Type": "SecureString", "Value": value })
    });
    let parameters: Vec<Value> = parameters.collect();
    ok(json!({ "Parameters": parameters, "InvalidParameters": [] }))
}
// part: billing }

/// The responses of an account for which every check of the stage dev is green.
fn healthy_account() -> Responses {
    let provider =
        format!("arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com");
    let complete = "CREATE_COMPLETE";
    BTreeMap::from([
        ("sts GetCallerIdentity", caller(ACCOUNT)),
        (
            "cloudformation DescribeStacks",
            stacks(&[
                ("scratchpad-releases", complete),
                ("scratchpad-api-logs", complete),
                ("scratchpad-budget", "UPDATE_COMPLETE"),
                ("scratchpad-github", complete),
            ]),
        ),
        (
            "cloudformation ListExports",
            exports(&[
                ("scratchpad-dev-ApiUrl", API_URL),
                (
                    "scratchpad-dev-NameServers",
                    "ns-2.example.org,ns-1.example.com",
                ),
            ]),
        ),
        (
            "cloudformation ListStackResources",
            query_response(
                "ListStackResources",
                &format!(
                    "<StackResourceSummaries><member><LogicalResourceId>GitHub</LogicalResourceId>\
                     <PhysicalResourceId>{provider}</PhysicalResourceId><ResourceType>AWS::IAM::OIDCProvider</ResourceType>\
                     <ResourceStatus>{complete}</ResourceStatus></member></StackResourceSummaries>"
                ),
            ),
        ),
        (
            "iam ListOpenIDConnectProviders",
            query_response(
                "ListOpenIDConnectProviders",
                &format!(
                    "<OpenIDConnectProviderList><member><Arn>{provider}</Arn></member></OpenIDConnectProviderList>"
                ),
            ),
        ),
        (
            "iam GetPolicy",
            query_response(
                "GetPolicy",
                "<Policy><PolicyName>scratchpad-boundary-dev</PolicyName></Policy>",
            ),
        ),
        (
            "lambda GET /2016-08-19/account-settings",
            concurrency(1000, 900),
        ),
        // part: web {
        (
            "cloudfront GET /2020-05-31/distribution",
            distributions(3, None),
        ),
        (
            "cloudfront GET /2020-05-31/response-headers-policy",
            policies(3),
        ),
        (
            "servicequotas ListServiceQuotas",
            ok(json!({ "Quotas": [
                { "QuotaName": "Response headers policies per AWS account", "Value": 40.0 },
                { "QuotaName": "Web distributions per AWS account", "Value": 500.0 },
            ] })),
        ),
        // part: web }
        // part: billing {
        (
            "ssm GetParameters",
            secrets(&[
                stripe::SECRET_KEY,
                stripe::WEBHOOK_SECRET,
                ("admin-phone-number", PHONE), // part: notify
            ]),
        ),
        // part: billing }
        // part: notify {
        (
            "sns GetSMSSandboxAccountStatus",
            query_response(
                "GetSMSSandboxAccountStatus",
                "<IsInSandbox>false</IsInSandbox>",
            ),
        ),
        (
            "sns ListOriginationNumbers",
            query_response(
                "ListOriginationNumbers",
                "<PhoneNumbers><member><PhoneNumber>+18335550100</PhoneNumber><Status>ACTIVE</Status>\
                 <Iso2CountryCode>US</Iso2CountryCode><NumberCapabilities><member>SMS</member></NumberCapabilities>\
                 </member></PhoneNumbers>",
            ),
        ),
        ("sns GetSMSAttributes", spend_limit("20")),
        // part: notify }
        ("ses GET /v2/email/account", ses_account(true, true)),
        (
            "ses GET /v2/email/identities/dev.scratchpad.example.com",
            ses_identity(true, "SUCCESS"),
        ),
    ])
}

/// The responses for which every check of the stage dev is green.
pub(super) fn healthy() -> Responses {
    let groups = [
        healthy_account(),
        stripe::healthy(), // part: billing
    ];
    groups.into_iter().flatten().collect()
}

/// The responses of AWS for a new account in which nothing is configured, and those of other services to an invalid key.
pub(super) fn bare() -> Responses {
    let groups = [
        bare_account(),
        stripe::bare(), // part: billing
    ];
    groups.into_iter().flatten().collect()
}

fn bare_account() -> Responses {
    BTreeMap::from([
        ("sts GetCallerIdentity", caller(ACCOUNT)),
        ("cloudformation DescribeStacks", stacks(&[])),
        ("cloudformation ListExports", exports(&[])),
        (
            "iam ListOpenIDConnectProviders",
            query_response("ListOpenIDConnectProviders", "<OpenIDConnectProviderList/>"),
        ),
        ("iam GetPolicy", query_error(404, "NoSuchEntity")),
        (
            "lambda GET /2016-08-19/account-settings",
            concurrency(10, 10),
        ),
        // part: web {
        (
            "cloudfront GET /2020-05-31/distribution",
            distributions(0, None),
        ),
        (
            "cloudfront GET /2020-05-31/response-headers-policy",
            policies(0),
        ),
        (
            "servicequotas ListServiceQuotas",
            ok(json!({ "Quotas": [] })),
        ),
        // part: web }
        ("ssm GetParameters", secrets(&[])), // part: billing
        // part: notify {
        (
            "sns GetSMSSandboxAccountStatus",
            query_response(
                "GetSMSSandboxAccountStatus",
                "<IsInSandbox>true</IsInSandbox>",
            ),
        ),
        (
            "sns ListOriginationNumbers",
            query_response("ListOriginationNumbers", "<PhoneNumbers/>"),
        ),
        (
            "sns GetSMSAttributes",
            query_response("GetSMSAttributes", "<attributes/>"),
        ),
        // part: notify }
        ("ses GET /v2/email/account", ses_account(false, true)),
        (
            "ses GET /v2/email/identities/dev.scratchpad.example.com",
            json_error(404, "NotFoundException"),
        ),
    ])
}

/// The response to GetAccountSettings.
pub(super) fn concurrency(total: u32, unreserved: u32) -> Reply {
    ok(json!({ "AccountLimit": {
        "TotalCodeSize": 80530636800_u64, "CodeSizeUnzipped": 262144000, "CodeSizeZipped": 52428800,
        "ConcurrentExecutions": total, "UnreservedConcurrentExecutions": unreserved,
    }, "AccountUsage": { "TotalCodeSize": 0, "FunctionCount": 0 } }))
}

// part: web {
/// A page of the response to ListDistributions.
pub(super) fn distributions(number: usize, next: Option<&str>) -> Reply {
    let items = "<DistributionSummary><Id>E1</Id><Status>Deployed</Status></DistributionSummary>"
        .repeat(number);
    let next = next.map(|marker| format!("<NextMarker>{marker}</NextMarker>"));
    ok(format!(
        "<?xml version=\"1.0\"?><DistributionList xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Marker/>\
         <MaxItems>100</MaxItems><Quantity>{number}</Quantity>{}<Items>{items}</Items></DistributionList>",
        next.unwrap_or_default()
    ))
}
// part: web }

// part: web {
/// The response to ListResponseHeadersPolicies.
pub(super) fn policies(number: usize) -> Reply {
    let items = "<ResponseHeadersPolicySummary><Type>custom</Type><ResponseHeadersPolicy><Id>1</Id></ResponseHeadersPolicy>\
                 </ResponseHeadersPolicySummary>"
        .repeat(number);
    ok(format!(
        "<?xml version=\"1.0\"?><ResponseHeadersPolicyList xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\">\
         <MaxItems>100</MaxItems><Quantity>{number}</Quantity><Items>{items}</Items></ResponseHeadersPolicyList>"
    ))
}
// part: web }

// part: notify {
/// The response to GetSMSAttributes.
pub(super) fn spend_limit(limit: &str) -> Reply {
    let entry = format!("<entry><key>MonthlySpendLimit</key><value>{limit}</value></entry>");
    query_response(
        "GetSMSAttributes",
        &format!("<attributes>{entry}</attributes>"),
    )
}
// part: notify }

/// The response to SES's GetAccount.
pub(super) fn ses_account(has_access: bool, can_send: bool) -> Reply {
    ok(json!({
        "DedicatedIpAutoWarmupEnabled": false, "EnforcementStatus": if can_send { "HEALTHY" } else { "SHUTDOWN" },
        "ProductionAccessEnabled": has_access, "SendingEnabled": can_send,
        "SendQuota": { "Max24HourSend": 50000.0, "MaxSendRate": 14.0, "SentLast24Hours": 0.0 },
    }))
}

/// The response to GetEmailIdentity.
pub(super) fn ses_identity(is_verified: bool, dkim: &str) -> Reply {
    ok(json!({
        "IdentityType": "DOMAIN", "VerifiedForSendingStatus": is_verified,
        "DkimAttributes": { "SigningEnabled": true, "Status": dkim, "Tokens": ["a", "b", "c"] },
    }))
}

/// The stage dev. The double at `url` handles the requests to the stage's account and to other services.
pub(super) fn subject(url: &str) -> Subject {
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(aws::https(std::time::Duration::from_secs(5)).for_aws())
        .region(Region::from_static("eu-central-1"))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(url)
        .build();
    Subject {
        stage: "dev".into(),
        account_id: ACCOUNT.into(),
        account_name: "dev".into(),
        profile: "scratchpad-dev".into(),
        config,
        region: "eu-central-1".into(),
        is_local: false,
        boundary: "scratchpad-boundary-dev".into(),
        has_workflow_roles: true,
        has_foreign_oidc_provider: false,
        sends_sms: true,     // part: notify
        is_protected: false, // part: billing
        domain: Some("dev.scratchpad.example.com".into()),
        is_delegated: true,
        secrets_stage: "dev".into(),                     // part: billing
        stripe_url: url.into(),                          // part: billing
        publishable_key: stripe::PUBLISHABLE_KEY.into(), // part: billing
    }
}

/// Starts a resolver. `answer` has the name servers that it returns for every query, or the response code of an error.
pub(super) async fn resolver(answer: Result<&[&'static str], RCODE>) -> Resolver {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    let answer = answer.map(<[_]>::to_vec);
    tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((size, client)) = socket.recv_from(&mut query).await {
            let query = Packet::parse(&query[..size]).unwrap();
            let mut response = Packet::new_reply(query.id());
            response.set_flags(PacketFlag::RECURSION_AVAILABLE);
            let question = query.questions[0].clone();
            match &answer {
                Ok(servers) => {
                    response.answers.extend(servers.iter().map(|server| {
                        let server = RData::NS(NS(Name::new(server).unwrap()));
                        ResourceRecord::new(question.qname.clone(), CLASS::IN, 300, server)
                    }));
                }
                Err(code) => *response.rcode_mut() = *code,
            }
            response.questions.push(question);
            let response = response.build_bytes_vec_compressed().unwrap();
            socket.send_to(&response, client).await.unwrap();
        }
    });
    Resolver::new([address])
}

/// An address at which nothing listens.
pub(super) async fn nowhere() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    listener.local_addr().unwrap()
}

/// The state of the check with this name, what it found, and the next step.
#[track_caller]
pub(super) fn found<'a>(checks: &'a [Check], name: &str) -> (State, &'a str, &'a str) {
    let check = checks.iter().find(|check| check.name == name);
    let check = check.unwrap_or_else(|| panic!("there is no check {name}: {checks:#?}"));
    let step = check.finding.remedy.as_ref();
    let step = step.map_or("", |remedy| remedy.step.as_str());
    (check.finding.state, &check.finding.found, step)
}
