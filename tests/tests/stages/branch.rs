//! Tests of what code from a branch can do with the role of previews: it cannot read or change another stage, even if previews
//! share the account of the stage dev.

use aws_credential_types::Credentials;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use serde_json::{Value, json};
use test_support::http::{Method, Response};

use crate::account::Account;
use crate::checkout::Checkout;
use crate::inventory::elements;
use crate::roles::{PREVIEW, credentials};
use crate::users::stage;

/// The tag of the attacker's stage, as a form.
const TAG: &str = "Tags.member.1.Key=scratchpad:stage&Tags.member.1.Value=pr-1";

/// A stack whose name the role may use.
const STACK: &str = "scratchpad-attack-pr-1";

/// Returns a form that calls an action with parameters.
fn form(action: &str, version: &str, parameters: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", action)
        .append_pair("Version", version);
    for (name, value) in parameters {
        form.append_pair(name, value);
    }
    form.finish()
}

async fn query(account: &Account, service: &'static str, form: String) -> Response {
    let request = account.request(Method::POST, "/");
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    request
        .body(form)
        .signed_by(&account.signer(service))
        .send()
        .await
}

async fn rest(
    account: &Account,
    service: &'static str,
    method: Method,
    path: &str,
    body: &str,
) -> Response {
    let request = account.request(method, path).body(body);
    request.signed_by(&account.signer(service)).send().await
}

/// Checks that a call was denied.
#[track_caller]
fn assert_denied(what: &str, response: &Response) {
    let text = response.text();
    let is_denied = text.contains("AccessDenied")
        || text.contains("not authorized")
        || text.contains("AuthorizationError");
    assert!(
        is_denied && response.status >= 400,
        "{what}: {} {text}",
        response.status
    );
}

/// A policy document that allows everything.
fn everything() -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
}

/// The trust policy of a role that the account's owner can assume.
fn trust(account: &Account) -> Value {
    let owner = format!("arn:aws:iam::{}:root", account.id);
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": owner}, "Action": "sts:AssumeRole"}]})
}

/// A template's role that may do everything, with the permissions boundary of a row of the stage table.
fn role(account: &Account, name: &str, boundary: Option<&str>) -> Value {
    let mut properties = json!({
        "RoleName": name,
        "AssumeRolePolicyDocument": trust(account),
        "Policies": [{"PolicyName": "everything", "PolicyDocument": everything()}],
    });
    if let Some(row) = boundary {
        properties["PermissionsBoundary"] = boundary_arn(account, row).into();
    }
    json!({"Type": "AWS::IAM::Role", "Properties": properties})
}

fn boundary_arn(account: &Account, row: &str) -> String {
    format!(
        "arn:aws:iam::{}:policy/scratchpad-boundary-{row}",
        account.id
    )
}

fn resource(kind: &str, properties: Value) -> Value {
    json!({"Type": kind, "Properties": properties})
}

/// Creates a stack with one resource as the attacker. Returns the status of the stack, and the reason of the failure.
async fn create_stack(attacker: &Account, owner: &Account, resource: &Value) -> (String, String) {
    let template = json!({"Resources": {"Attack": resource}});
    let tag = aws_sdk_cloudformation::types::Tag::builder()
        .key("scratchpad:stage")
        .value("pr-1");
    let create = attacker
        .cloudformation
        .create_stack()
        .stack_name(STACK)
        .tags(tag.build());
    let create = create
        .capabilities("CAPABILITY_NAMED_IAM".into())
        .template_body(template.to_string());
    create.send().await.unwrap();
    let status = owner.ended(STACK).await;
    let events = owner.events(STACK).await;
    let failed = events.iter().filter(|event| {
        event
            .resource_status()
            .unwrap()
            .as_str()
            .ends_with("_FAILED")
    });
    let reasons: Vec<&str> = failed
        .filter_map(|event| event.resource_status_reason())
        .collect();
    (status, reasons.join("\n"))
}

/// The resources of the stage dev that the attacker tries to read or change.
struct Victim {
    user_pool: String,
    identity_pool: String,
    api: String,
    zone: String,
    table: String,
    topic: String,
    role: String,
    bucket: String,
}

impl Victim {
    async fn find() -> Self {
        let dev = Account::dev();
        let stage = stage(&dev, "dev").await;
        let resources = dev.resources("dev").await;
        let find = |kind: &str, part: &str| {
            let mut found = resources
                .iter()
                .filter(|(known, name)| known == kind && name.contains(part));
            found
                .next()
                .unwrap_or_else(|| panic!("dev has no {kind}"))
                .1
                .clone()
        };
        Self {
            user_pool: stage.user_pool_id,
            identity_pool: stage.identity_pool_id,
            table: stage.notes_table,
            api: find("AWS::ApiGateway::RestApi", ""),
            zone: find("AWS::Route53::HostedZone", ""),
            topic: find("AWS::SNS::Topic", ""),
            role: find("AWS::IAM::Role", "notes-create"),
            bucket: find("AWS::S3::Bucket", ""),
        }
    }
}

/// Checks that a role cannot read, overwrite or delete anything of the stage dev in the releases bucket.
async fn check_releases(attacker: &Account, dev: &Account) {
    let bucket = dev.releases_bucket();
    let list = dev
        .s3
        .list_objects_v2()
        .bucket(&bucket)
        .prefix("dev/")
        .send()
        .await
        .unwrap();
    let keys: Vec<&str> = list
        .contents()
        .iter()
        .filter_map(|object| object.key())
        .collect();
    let parts = [
        "/templates/",
        "/functions/",
        "/app/", // part: web
        "/releases/",
    ];
    for part in parts {
        let key = keys.iter().find(|key| key.contains(part)).unwrap();
        let put = attacker
            .s3
            .put_object()
            .bucket(&bucket)
            .key(*key)
            .body(b"{}".to_vec().into());
        let new = format!("dev{part}0000");
        let put_new = attacker
            .s3
            .put_object()
            .bucket(&bucket)
            .key(&new)
            .if_none_match("*");
        let results = [
            (
                "overwrite",
                put.send()
                    .await
                    .err()
                    .and_then(|error| error.code().map(str::to_owned)),
            ),
            (
                "write",
                put_new
                    .body(b"{}".to_vec().into())
                    .send()
                    .await
                    .err()
                    .and_then(|error| error.code().map(str::to_owned)),
            ),
            (
                "read",
                attacker
                    .s3
                    .get_object()
                    .bucket(&bucket)
                    .key(*key)
                    .send()
                    .await
                    .err()
                    .and_then(|error| error.code().map(str::to_owned)),
            ),
            (
                "delete",
                attacker
                    .s3
                    .delete_object()
                    .bucket(&bucket)
                    .key(*key)
                    .send()
                    .await
                    .err()
                    .and_then(|error| error.code().map(str::to_owned)),
            ),
        ];
        for (what, code) in results {
            assert_eq!(code.as_deref(), Some("AccessDenied"), "{what} {key}");
        }
    }
    for prefix in ["dev/", "dev/releases/", ""] {
        let list = attacker
            .s3
            .list_objects_v2()
            .bucket(&bucket)
            .prefix(prefix)
            .send()
            .await;
        assert_eq!(
            list.unwrap_err().code(),
            Some("AccessDenied"),
            "list {prefix}"
        );
    }
}

/// Checks that calls of AWS APIs with the role of previews are denied.
async fn check_calls(attacker: &Account, victim: &Victim) {
    let Victim {
        user_pool,
        identity_pool,
        api,
        zone,
        table,
        ..
    } = victim;
    let json_calls = [
        (
            "cognito-idp",
            "AWSCognitoIdentityProviderService.DeleteUserPool",
            json!({"UserPoolId": user_pool}),
        ),
        (
            "cognito-idp",
            "AWSCognitoIdentityProviderService.ListUsers",
            json!({"UserPoolId": user_pool}),
        ),
        (
            "cognito-idp",
            "AWSCognitoIdentityProviderService.UpdateUserPool",
            json!({"UserPoolId": user_pool}),
        ),
        (
            "cognito-identity",
            "AWSCognitoIdentityService.DeleteIdentityPool",
            json!({"IdentityPoolId": identity_pool}),
        ),
        (
            "dynamodb",
            "DynamoDB_20120810.Scan",
            json!({"TableName": table}),
        ),
        (
            "dynamodb",
            "DynamoDB_20120810.DeleteTable",
            json!({"TableName": table}),
        ),
        (
            "ssm",
            "AmazonSSM.GetParameter",
            json!({"Name": SECRET, "WithDecryption": true}),
        ),
        (
            "ssm",
            "AmazonSSM.GetParameters",
            json!({"Names": [SECRET], "WithDecryption": true}),
        ),
        ("ssm", "AmazonSSM.DeleteParameter", json!({"Name": SECRET})),
    ];
    for (service, target, input) in json_calls {
        assert_denied(target, &attacker.respond(service, target, &input).await);
    }
    let (own, trusted) = ("scratchpad-pr-1-attack", trust(attacker).to_string());
    let boundary = boundary_arn(attacker, "dev");
    let everything = everything().to_string();
    let iam = "2010-05-08";
    let new = [("RoleName", own), ("AssumeRolePolicyDocument", &trusted)];
    let policy = |role| {
        [
            ("RoleName", role),
            ("PolicyName", "x"),
            ("PolicyDocument", &*everything),
        ]
    };
    let trusting = |role| [("RoleName", role), ("PolicyDocument", &*trusted)];
    let forms = [
        form("CreateRole", iam, &new),
        form(
            "CreateRole",
            iam,
            &[&new[..], &[("PermissionsBoundary", &boundary)]].concat(),
        ),
        form("PutRolePolicy", iam, &policy(&victim.role)),
        form("PutRolePolicy", iam, &policy("scratchpad-github-preview")),
        form("UpdateAssumeRolePolicy", iam, &trusting(&victim.role)),
        form(
            "UpdateAssumeRolePolicy",
            iam,
            &trusting("scratchpad-github-dev"),
        ),
    ];
    for form in forms {
        assert_denied(&form, &query(attacker, "iam", form.clone()).await);
    }
    let stack = ("StackName", "scratchpad-notes-api-dev");
    for form in [
        form("DeleteStack", "2010-05-15", &[stack]),
        form(
            "UpdateStack",
            "2010-05-15",
            &[stack, ("TemplateBody", "{\"Resources\":{}}")],
        ),
        form(
            "CreateChangeSet",
            "2010-05-15",
            &[stack, ("ChangeSetName", "x"), ("TemplateBody", "{}")],
        ),
    ] {
        assert_denied(
            &form,
            &query(attacker, "cloudformation", form.clone() + "&" + TAG).await,
        );
    }
    let patch =
        json!({"patchOperations": [{"op": "replace", "path": "/name", "value": "x"}]}).to_string();
    let record = "<ChangeResourceRecordSetsRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeBatch><Changes>\
        <Change><Action>UPSERT</Action><ResourceRecordSet><Name>dev.scratchpad.example.com</Name><Type>A</Type><TTL>1</TTL>\
        <ResourceRecords><ResourceRecord><Value>192.0.2.1</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>\
        </Change></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>";
    let zone = zone.rsplit('/').next().unwrap();
    let calls = [
        (
            "apigateway",
            Method::PATCH,
            format!("/restapis/{api}"),
            patch.as_str(),
        ),
        ("apigateway", Method::DELETE, format!("/restapis/{api}"), ""),
        (
            "apigateway",
            Method::DELETE,
            format!("/restapis/{api}/stages/dev"),
            "",
        ),
        (
            "apigateway",
            Method::POST,
            format!("/restapis/{api}/deployments"),
            "{}",
        ),
        (
            "route53",
            Method::POST,
            format!("/2013-04-01/hostedzone/{zone}/rrset"),
            record,
        ),
        (
            "route53",
            Method::DELETE,
            format!("/2013-04-01/hostedzone/{zone}"),
            "",
        ),
        (
            "lambda",
            Method::GET,
            "/2015-03-31/functions/scratchpad-dev-notes-create".into(),
            "",
        ),
        (
            "lambda",
            Method::DELETE,
            "/2015-03-31/functions/scratchpad-dev-notes-create".into(),
            "",
        ),
    ];
    // An account of its own has no API of dev.
    let is_shared = attacker.id == Account::dev().id;
    let calls = calls
        .into_iter()
        .filter(|(service, ..)| is_shared || *service != "apigateway");
    for (service, method, path, body) in calls {
        let what = format!("{method} {path}");
        assert_denied(&what, &rest(attacker, service, method, &path, body).await);
    }
}

/// Checks that stacks with the attacker's templates fail, because CloudFormation lacks the permission named with each template.
async fn check_templates(attacker: &Account, owner: &Account, victim: &Victim) {
    let (account, own) = (&owner.id, "scratchpad-pr-1-attack");
    let arn = |name: &str| format!("arn:aws:iam::{account}:role/{name}");
    let function = |role: &str, key: &str| {
        let code = json!({"S3Bucket": owner.releases_bucket(), "S3Key": key});
        resource(
            "AWS::Lambda::Function",
            json!({"FunctionName": own, "Role": arn(role), "Runtime": "provided.al2023", "Handler": "x", "Code": code}),
        )
    };
    let templates = [
        ("iam:CreateRole", role(owner, own, None)),
        ("iam:CreateRole", role(owner, own, Some("dev"))),
        ("iam:CreateRole", role(owner, own, Some("ephemeral"))),
        (
            "iam:CreateRole",
            role(owner, "scratchpad-dev-attack", Some("pr")),
        ),
        (
            "iam:PassRole",
            function(&victim.role, "pr-1/artifacts/functions/0.zip"),
        ),
        (
            "iam:PassRole",
            function("scratchpad-github-dev", "pr-1/artifacts/functions/0.zip"),
        ),
        (
            "s3:GetObject",
            function("scratchpad-pr-1-x", "dev/artifacts/functions/0.zip"),
        ),
        (
            "lambda:AddPermission",
            resource(
                "AWS::Lambda::Permission",
                json!({"FunctionName": "scratchpad-dev-notes-create", "Action": "lambda:InvokeFunction", "Principal": "*"}),
            ),
        ),
        (
            "sns:CreateTopic",
            resource(
                "AWS::SNS::Topic",
                json!({"TopicName": "scratchpad-dev-attack"}),
            ),
        ),
        (
            "sns:Subscribe",
            resource(
                "AWS::SNS::Subscription",
                json!({"TopicArn": victim.topic, "Protocol": "https", "Endpoint": "https://example.com"}),
            ),
        ),
        (
            "sqs:CreateQueue",
            resource(
                "AWS::SQS::Queue",
                json!({"QueueName": "scratchpad-dev-attack"}),
            ),
        ),
        (
            "events:",
            resource(
                "AWS::Events::Rule",
                json!({"Name": "scratchpad-dev-reconcile", "ScheduleExpression": "rate(1 minute)"}),
            ),
        ),
        (
            "logs:CreateLogGroup",
            resource(
                "AWS::Logs::LogGroup",
                json!({"LogGroupName": "/aws/lambda/scratchpad-dev-attack"}),
            ),
        ),
        (
            "cloudwatch:",
            resource(
                "AWS::CloudWatch::Alarm",
                json!({"AlarmName": "scratchpad-dev-attack", "ComparisonOperator": "LessThanThreshold", "EvaluationPeriods": 1}),
            ),
        ),
        (
            "dynamodb:CreateTable",
            resource(
                "AWS::DynamoDB::Table",
                json!({
                    "TableName": "scratchpad-dev-attack", "BillingMode": "PAY_PER_REQUEST",
                    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                }),
            ),
        ),
        (
            "s3:CreateBucket",
            resource(
                "AWS::S3::Bucket",
                json!({"BucketName": format!("scratchpad-dev-attack-{account}")}),
            ),
        ),
        (
            "s3:",
            resource(
                "AWS::S3::BucketPolicy",
                json!({"Bucket": victim.bucket, "PolicyDocument": everything()}),
            ),
        ),
        (
            "iam:PassRole",
            resource(
                "AWS::Cognito::IdentityPoolRoleAttachment",
                json!({"IdentityPoolId": victim.identity_pool, "Roles": {"authenticated": arn(&victim.role)}}),
            ),
        ),
        (
            "route53:ChangeResourceRecordSets",
            resource(
                "AWS::Route53::RecordSet",
                json!({"HostedZoneId": victim.zone, "Name": "dev.scratchpad.example.com", "Type": "A", "TTL": "1", "ResourceRecords": ["192.0.2.1"]}),
            ),
        ),
    ];
    for (action, resource) in templates {
        check_template(attacker, owner, action, &resource).await;
    }
}

async fn check_template(attacker: &Account, owner: &Account, action: &str, resource: &Value) {
    let (status, reason) = create_stack(attacker, owner, resource).await;
    assert_eq!(status, "ROLLBACK_COMPLETE", "{resource}: {reason}");
    let expected = format!("is not authorized to perform: {action}");
    assert!(reason.contains(&expected), "{resource}: {reason}");
    owner.delete_stack(STACK).await;
}

/// The name of a secret of the stage dev.
const SECRET: &str = "/scratchpad/dev/key";

/// Creates a role with the permissions boundary of previews in a stack of the attacker. Checks that the role, whose own policy
/// allows everything, can use the data of its own stage, but not that of dev.
async fn check_role_with_boundary(attacker: &Account, owner: &Account, victim: &Victim) {
    let name = "scratchpad-pr-1-attack";
    let (status, reason) = create_stack(attacker, owner, &role(owner, name, Some("pr"))).await;
    assert_eq!(status, "CREATE_COMPLETE", "{reason}");
    let arn = format!("arn:aws:iam::{}:role/{name}", owner.id);
    let assume = form(
        "AssumeRole",
        "2011-06-15",
        &[("RoleArn", &arn), ("RoleSessionName", "attack")],
    );
    let response = query(owner, "sts", assume).await.text();
    let [key, secret, token] = ["AccessKeyId", "SecretAccessKey", "SessionToken"]
        .map(|name| elements(&response, name).next().unwrap().to_owned());
    let function = owner.with_credentials(Credentials::new(key, secret, Some(token), None, "test"));
    let item = |table: &str| json!({"TableName": table, "Key": {"userId": {"S": "x"}, "noteId": {"S": "x"}}});
    let secret = |name: &str| json!({"Names": [name], "WithDecryption": true});
    let (get_item, get_secret) = ("DynamoDB_20120810.GetItem", "AmazonSSM.GetParameters");
    assert_denied(
        "dev's table",
        &function
            .respond("dynamodb", get_item, &item(&victim.table))
            .await,
    );
    assert_denied(
        "dev's secret",
        &function.respond("ssm", get_secret, &secret(SECRET)).await,
    );
    let own = function
        .respond("dynamodb", get_item, &item("scratchpad-pr-1-Notes"))
        .await
        .text();
    assert!(!own.contains("AccessDenied"), "{own}");
    function
        .call("ssm", get_secret, &secret("/scratchpad/pr-1/key"))
        .await;
    // An update of the stack can remove the boundary no more than a new stack can omit it.
    let template = json!({"Resources": {"Attack": role(owner, name, None)}}).to_string();
    let update = attacker
        .cloudformation
        .update_stack()
        .stack_name(STACK)
        .template_body(template);
    update
        .capabilities("CAPABILITY_NAMED_IAM".into())
        .send()
        .await
        .unwrap();
    assert_eq!(owner.ended(STACK).await, "UPDATE_ROLLBACK_COMPLETE");
    owner.delete_stack(STACK).await;
}

/// Runs all attacks in the account `owner`, with the role of previews in this account.
async fn attack(owner: &Account) {
    let dev = Account::dev();
    let secret =
        json!({"Name": SECRET, "Type": "SecureString", "Value": "5ecret", "Overwrite": true});
    dev.call("ssm", "AmazonSSM.PutParameter", &secret).await;
    owner.delete_stack(STACK).await; // of an earlier run that failed
    let before = (dev.inventory().await, owner.inventory().await);
    let victim = Victim::find().await;
    let attacker = owner.with_credentials(credentials(owner, PREVIEW, "attack"));
    if owner.id == dev.id {
        check_releases(&attacker, &dev).await;
        let api = resource(
            "AWS::ApiGateway::GatewayResponse",
            json!({"RestApiId": victim.api, "ResponseType": "UNAUTHORIZED"}),
        );
        check_template(&attacker, owner, "apigateway:PUT", &api).await;
        let client = resource(
            "AWS::Cognito::UserPoolClient",
            json!({"UserPoolId": victim.user_pool}),
        );
        check_template(
            &attacker,
            owner,
            "cognito-idp:CreateUserPoolClient",
            &client,
        )
        .await;
    }
    check_calls(&attacker, &victim).await;
    check_templates(&attacker, owner, &victim).await;
    check_role_with_boundary(&attacker, owner, &victim).await;
    for (account, before) in [(&dev, before.0), (owner, before.1)] {
        let after = account.inventory().await;
        let changed: Vec<_> = after.symmetric_difference(&before).collect();
        assert!(changed.is_empty(), "{changed:#?}");
    }
    dev.call("ssm", "AmazonSSM.DeleteParameter", &json!({"Name": SECRET}))
        .await;
}

#[tokio::test]
async fn a_branch_in_an_account_of_its_own_cannot_read_or_change_another_stage() {
    Checkout::clean()
        .await
        .run("deploy --stage dev")
        .await
        .success();
    attack(&Account::previews()).await;
}

#[tokio::test]
async fn a_branch_in_the_account_of_dev_cannot_read_or_change_another_stage() {
    let checkout = Checkout::changed("shared-account", |checkout| {
        let access = "preview: { from: [pull_request], may: deploy, stages: pr-* }";
        checkout.edit(
            "serverless.yml",
            &format!("    github:\n      {access}\n"),
            "",
        );
        checkout.edit(
            "serverless.yml",
            "    github:\n      dev:",
            &format!("    github:\n      {access}\n      dev:"),
        );
        checkout.edit(
            "serverless.yml",
            "    account: previews\n    profile: scratchpad-previews\n",
            "    account: dev\n    profile: scratchpad-dev\n",
        );
    });
    let checkout = checkout.await;
    let clean = Checkout::clean().await;
    clean.run("deploy --stage dev").await.success();
    checkout.run("bootstrap --stage dev").await.success();
    attack(&Account::dev()).await;
    clean.run("bootstrap --stage dev").await.success();
}

#[tokio::test]
async fn the_removal_of_a_preview_leaves_nothing_in_its_account() {
    let (checkout, account) = (Checkout::clean().await, Account::previews());
    checkout.run("remove --stage pr-7 --yes").await;
    let before = account.inventory().await;
    checkout.run("deploy --stage pr-7").await.success();
    assert!(account.inventory().await.len() > before.len() + 50);
    checkout.run("remove --stage pr-7 --yes").await.success();
    let after = account.inventory().await;
    let changed: Vec<_> = after.symmetric_difference(&before).collect();
    assert!(changed.is_empty(), "{changed:#?}");
}
