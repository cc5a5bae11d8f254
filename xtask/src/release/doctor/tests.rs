use std::collections::{BTreeMap, BTreeSet};

use simple_dns::RCODE;

use super::double::{PHONE, spend_limit}; // part: notify
use super::double::{distributions, policies}; // part: web
use super::{
    boundary,
    check::{Check, State},
    counts,
    dns::Resolver,
    double::{
        ACCOUNT, Double, Reply, Responses, bare, caller, concurrency, exports, found, healthy,
        json_error, nowhere, ok, query_error, query_response, resolver, ses_account, ses_identity,
        stacks, subject,
    },
    examine, report,
    subject::Subject,
};
use serde_json::{Value, json};

mod stripe; // part: billing

const ZONE: [&str; 2] = ["NS-1.example.com", "ns-2.example.org"];

/// Runs the checks of the stage dev. `change` changes the responses and the subject of a healthy account.
async fn checks(change: impl FnOnce(&mut Responses, &mut Subject)) -> Vec<Check> {
    checks_with(healthy(), &resolver(Ok(&ZONE)).await, change)
        .await
        .0
}

async fn checks_with(
    mut responses: Responses,
    resolver: &Resolver,
    change: impl FnOnce(&mut Responses, &mut Subject),
) -> (Vec<Check>, Vec<String>) {
    let mut changed = subject("http://127.0.0.1");
    change(&mut responses, &mut changed);
    let double = Double::start(responses).await;
    let at_double = subject(&double.url);
    let changed = stripe::at(changed, &double.url); // part: billing
    let changed = Subject {
        config: at_double.config,
        ..changed
    };
    (examine(&changed, resolver).await, double.requests())
}

/// Runs the checks of a healthy account. `reply` replaces the response with the key `key`.
async fn checks_if(key: &'static str, reply: Reply) -> Vec<Check> {
    checks(|responses, _| {
        assert!(responses.insert(key, reply).is_some(), "{key}");
    })
    .await
}

#[track_caller]
fn assert_found(checks: &[Check], name: &str, state: State, text: &str, next: &str) {
    let (found_state, found, step) = found(checks, name);
    assert_eq!(found_state, state, "{name}: {found}");
    assert!(found.contains(text), "{name}: {found}");
    assert!(step.contains(next), "{name}: {step}");
}

fn names_except(checks: &[Check], state: State) -> Vec<&str> {
    let others = checks.iter().filter(|check| check.finding.state != state);
    others.map(|check| check.name.as_str()).collect()
}

#[tokio::test]
async fn every_check_of_a_complete_account_is_green() {
    let checks = checks(|_, _| ()).await;
    assert_eq!(names_except(&checks, State::Green), Vec::<&str>::new());
    let green = checks.len();
    assert!(green > 10);
    let expected = format!("{green} green, 0 warnings, 0 red, 0 unknown");
    assert_eq!(counts(&checks), expected);
}

#[tokio::test]
async fn a_bare_account_lacks_everything_in_the_order_in_which_to_fix_it() {
    let dns = resolver(Err(RCODE::NameError)).await;
    let (checks, _) = checks_with(bare(), &dns, |_, _| ()).await;
    let found: Vec<_> = checks
        .iter()
        .map(|check| (check.name.as_str(), check.finding.state))
        .collect();
    let (green, red) = (State::Green, State::Red);
    let expected = [
        &[
            ("credentials", green),
            ("GitHub OIDC provider", green),
            ("stack scratchpad-releases", red),
            ("policy scratchpad-boundary-dev", red),
            ("stack scratchpad-api-logs", red),
            ("stack scratchpad-budget", red),
            ("stack scratchpad-github", red),
            ("Lambda concurrency", red),
            ("CloudFront distributions", green), // part: web
            ("CloudFront response headers policies", green), // part: web
        ][..],
        stripe::LACKING_BEFORE_DEPLOY, // part: billing
        // part: notify {
        &[
            ("admin phone number", red),
            ("SMS sandbox", red),
            ("SMS origination number", red),
            ("SMS spend limit", red),
        ],
        // part: notify }
        &[
            ("delegation of dev.scratchpad.example.com", red),
            ("SES production access", red),
            ("SES identity dev.scratchpad.example.com", red),
        ],
        stripe::LACKING_AFTER_DEPLOY, // part: billing
    ];
    assert_eq!(found, expected.concat());
    for Check { name, finding, .. } in &checks {
        if finding.state == red {
            let remedy = finding.remedy.as_ref().unwrap();
            assert!(remedy.step.len() > 10, "{name}");
            assert!(remedy.docs.starts_with("https://docs."), "{name}");
        }
        assert!(!finding.found.contains('\n'), "{name}");
    }
    let all = expected.concat().into_iter();
    let number = all.filter(|(_, state)| *state == green).count();
    assert!(counts(&checks).starts_with(&format!("{number} green, 0 warnings, ")));
    let report: Vec<String> = report(&checks)
        .iter()
        .map(|line| console::strip_ansi_codes(line).into_owned())
        .collect();
    let report = report.join("\n");
    for line in [
        "\nBefore cargo xtask bootstrap\n  ✓ credentials ",
        "\nBefore the first deploy\n  ✗ stack scratchpad-releases ",
        "      next: cargo xtask bootstrap --stage dev\n      https://docs.aws.amazon.com/",
        "\nAfter the first deploy\n  ✗ delegation of dev.scratchpad.example.com ",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
}

/// The key of the response to a query, and the names of the checks that need it.
type Query = (&'static str, &'static [&'static str]);

/// The queries of all checks.
const ALL_QUERIES: &[&[Query]] = &[
    QUERIES,
    stripe::QUERIES, // part: billing
];

/// The names of the checks by the query that they need.
fn queries() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut queries = BTreeMap::<_, BTreeSet<_>>::new();
    for (key, names) in ALL_QUERIES.iter().copied().flatten() {
        queries.entry(*key).or_default().extend(*names);
    }
    queries
}

const QUERIES: &[Query] = &[
    ("sts GetCallerIdentity", &["credentials"]),
    (
        "cloudformation DescribeStacks",
        &[
            "GitHub OIDC provider",
            "stack scratchpad-releases",
            "stack scratchpad-api-logs",
            "stack scratchpad-budget",
            "stack scratchpad-github",
            "CloudFront distributions",             // part: web
            "CloudFront response headers policies", // part: web
        ],
    ),
    (
        "cloudformation ListExports",
        &["delegation of dev.scratchpad.example.com"],
    ),
    (
        "cloudformation ListStackResources",
        &["GitHub OIDC provider"],
    ),
    ("iam ListOpenIDConnectProviders", &["GitHub OIDC provider"]),
    ("iam GetPolicy", &["policy scratchpad-boundary-dev"]),
    (
        "lambda GET /2016-08-19/account-settings",
        &["Lambda concurrency"],
    ),
    // part: web {
    (
        "cloudfront GET /2020-05-31/distribution",
        &["CloudFront distributions"],
    ),
    (
        "cloudfront GET /2020-05-31/response-headers-policy",
        &["CloudFront response headers policies"],
    ),
    ("servicequotas ListServiceQuotas", &[]),
    // part: web }
    // part: billing {
    (
        "ssm GetParameters",
        &[
            "admin phone number", // part: notify
        ],
    ),
    // part: billing }
    ("sns GetSMSSandboxAccountStatus", &["SMS sandbox"]), // part: notify
    ("sns ListOriginationNumbers", &["SMS origination number"]), // part: notify
    ("sns GetSMSAttributes", &["SMS spend limit"]),       // part: notify
    ("ses GET /v2/email/account", &["SES production access"]),
    (
        "ses GET /v2/email/identities/dev.scratchpad.example.com",
        &["SES identity dev.scratchpad.example.com"],
    ),
];

#[tokio::test]
async fn a_denied_query_makes_only_its_checks_unknown() {
    for (key, names) in queries() {
        if key == "sts GetCallerIdentity" {
            continue; // without credentials, no other check is run
        }
        let service = key.split(' ').next().unwrap();
        let reply = match service {
            "lambda" | "ses" | "servicequotas" | "ssm" => json_error(403, "AccessDeniedException"),
            "sk" | "pk" => stripe::denied(), // part: billing
            _ => query_error(403, "AccessDenied"),
        };
        let checks = checks_if(key, reply).await;
        let others = BTreeSet::from_iter(names_except(&checks, State::Green));
        assert_eq!(others, names, "{key}");
        for name in names {
            assert_found(&checks, name, State::Unknown, "AccessDenied", "");
        }
    }
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_makes_checks_unknown() {
    let address = nowhere().await;
    let subject = subject(&format!("http://{address}"));
    let resolver = Resolver::new([address]);
    let checks = examine(&subject, &resolver).await;
    assert_found(&checks, "credentials", State::Unknown, "", "");
    assert_eq!(names_except(&checks, State::Unknown), Vec::<&str>::new());
}

#[tokio::test]
async fn a_throttled_query_is_retried() {
    let dns = resolver(Ok(&ZONE)).await;
    for reply in [
        query_error(400, "Throttling"),
        query_error(503, "ServiceUnavailable"),
    ] {
        let key = "iam GetPolicy";
        let (checks, requests) = checks_with(healthy(), &dns, |responses, _| {
            responses.insert(key, reply.clone());
        })
        .await;
        let name = "policy scratchpad-boundary-dev";
        assert_eq!(names_except(&checks, State::Green), [name]);
        assert_found(&checks, name, State::Unknown, "message of", "");
        let attempts = requests.iter().filter(|request| *request == key);
        assert_eq!(attempts.count(), 3);
    }
}

#[tokio::test]
async fn a_response_in_an_unknown_format_makes_checks_unknown() {
    for (key, name) in [
        ("sns GetSMSSandboxAccountStatus", "SMS sandbox"), // part: notify
        ("ses GET /v2/email/account", "SES production access"),
        (
            "ses GET /v2/email/identities/dev.scratchpad.example.com",
            "SES identity dev.scratchpad.example.com",
        ),
        // part: web {
        (
            "cloudfront GET /2020-05-31/distribution",
            "CloudFront distributions",
        ),
        // part: web }
        ("sk GET /v1/webhook_endpoints", "Stripe webhook"), // part: billing
    ] {
        for body in ["{}", "not a document"] {
            let checks = checks_if(key, ok(body)).await;
            assert_found(&checks, name, State::Unknown, "", "");
        }
    }
}

#[tokio::test]
async fn credentials_of_another_account_are_red_and_stop_all_other_requests_to_aws() {
    let dns = resolver(Ok(&ZONE)).await;
    let (checks, requests) = checks_with(healthy(), &dns, |responses, _| {
        responses.insert("sts GetCallerIdentity", caller("999999999999"));
    })
    .await;
    let text = "belong to account 999999999999, not to 111111111111 (dev)";
    let next = "aws sso login --profile scratchpad-dev";
    assert_found(&checks, "credentials", State::Red, text, next);
    let expected = [
        "sts GetCallerIdentity",
        "pk GET /v1/account", // part: billing
    ];
    assert_eq!(requests, expected);
    let text = "not checked, because the check of the credentials failed";
    assert_found(&checks, "Lambda concurrency", State::Unknown, text, "");
    let expected = [
        "credentials",
        "Stripe publishable key", // part: billing
    ];
    assert_eq!(names_except(&checks, State::Unknown), expected);
}

#[tokio::test]
async fn expired_credentials_are_red_and_a_failure_of_sts_is_unknown() {
    let expired = checks_if("sts GetCallerIdentity", query_error(403, "ExpiredToken")).await;
    assert_found(
        &expired,
        "credentials",
        State::Red,
        "ExpiredToken",
        "aws sso login",
    );
    let failed = checks_if("sts GetCallerIdentity", query_error(500, "InternalFailure")).await;
    assert_found(
        &failed,
        "credentials",
        State::Unknown,
        "InternalFailure",
        "",
    );
}

#[tokio::test]
async fn an_oidc_provider_that_bootstrap_did_not_create_is_red() {
    let name = "GitHub OIDC provider";
    let without_stack = checks(|responses, _| {
        responses.insert("cloudformation DescribeStacks", stacks(&[]));
    })
    .await;
    let next = "set `oidcProvider: existing`";
    assert_found(
        &without_stack,
        name,
        State::Red,
        "whose creation will fail",
        next,
    );

    let in_other_stack = checks_if(
        "cloudformation ListStackResources",
        query_response("ListStackResources", "<StackResourceSummaries/>"),
    )
    .await;
    assert_found(
        &in_other_stack,
        name,
        State::Red,
        "whose creation will fail",
        next,
    );

    let other = "<OpenIDConnectProviderList><member><Arn>arn:aws:iam::1:oidc-provider/example.com</Arn></member>\
                 </OpenIDConnectProviderList>";
    let other = query_response("ListOpenIDConnectProviders", other);
    let other = checks_if("iam ListOpenIDConnectProviders", other).await;
    assert_found(&other, name, State::Green, "none exists yet", "");
}

#[tokio::test]
async fn an_oidc_provider_of_another_application_is_green_if_the_account_table_says_so() {
    let name = "GitHub OIDC provider";
    let existing = checks(|responses, subject| {
        subject.has_foreign_oidc_provider = true;
        responses.insert("cloudformation DescribeStacks", stacks(&[]));
    })
    .await;
    let found = "another application created it";
    assert_found(&existing, name, State::Green, found, "");

    let missing = checks(|responses, subject| {
        subject.has_foreign_oidc_provider = true;
        let none = query_response("ListOpenIDConnectProviders", "");
        responses.insert("iam ListOpenIDConnectProviders", none);
    })
    .await;
    let next = "remove `oidcProvider: existing`";
    assert_found(
        &missing,
        name,
        State::Red,
        "the account has no GitHub OIDC provider",
        next,
    );
}

#[tokio::test]
async fn a_missing_failed_or_unfinished_stack_is_not_green() {
    let name = "stack scratchpad-budget";
    for (status, state, next) in [
        (
            "ROLLBACK_COMPLETE",
            State::Red,
            "scratchpad-budget > Events; then run cargo xtask bootstrap --stage dev",
        ),
        ("UPDATE_ROLLBACK_COMPLETE", State::Red, "Events"),
        ("UPDATE_IN_PROGRESS", State::Warning, "wait"),
    ] {
        let stack = stacks(&[("scratchpad-budget", status)]);
        let checks = checks_if("cloudformation DescribeStacks", stack).await;
        assert_found(&checks, name, state, status, next);
        let bootstrap = "cargo xtask bootstrap --stage dev";
        assert_found(
            &checks,
            "stack scratchpad-releases",
            State::Red,
            "does not exist",
            bootstrap,
        );
    }
    let local = checks(|_, subject| subject.is_local = true).await;
    assert!(local.iter().all(|check| check.name != name));
}

#[tokio::test]
async fn an_account_without_workflow_roles_needs_no_oidc_provider() {
    let checks = checks(|_, subject| subject.has_workflow_roles = false).await;
    let names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(
        names[..3],
        [
            "credentials",
            "stack scratchpad-releases",
            "policy scratchpad-boundary-dev"
        ]
    );
    assert!(!names.contains(&"GitHub OIDC provider"), "{names:?}");
}

#[test]
fn the_boundary_is_named_after_the_row() {
    assert_eq!(boundary("dev"), "scratchpad-boundary-dev");
    assert_eq!(boundary("pr-*"), "scratchpad-boundary-pr");
}

#[tokio::test]
async fn a_missing_permissions_boundary_is_red() {
    let checks = checks_if("iam GetPolicy", query_error(404, "NoSuchEntity")).await;
    let next = "cargo xtask bootstrap --stage dev";
    assert_found(
        &checks,
        "policy scratchpad-boundary-dev",
        State::Red,
        "does not exist",
        next,
    );
}

#[tokio::test]
async fn too_little_concurrency_is_red() {
    let key = "lambda GET /2016-08-19/account-settings";
    let name = "Lambda concurrency";
    let new = checks_if(key, concurrency(10, 10)).await;
    let text = "10 unreserved of 10 concurrent executions; the stage needs 100";
    assert_found(&new, name, State::Red, text, "--quota-code L-B99A9384");
    let reserved = checks_if(key, concurrency(1000, 99)).await;
    assert_found(
        &reserved,
        name,
        State::Red,
        "99 unreserved",
        "reduce the reserved concurrency",
    );
    let enough = checks_if(key, concurrency(100, 100)).await;
    assert_found(&enough, name, State::Green, "", "");
}

// part: web {
#[tokio::test]
async fn an_exhausted_cloudfront_quota_is_red_until_the_stage_is_deployed() {
    let key = "cloudfront GET /2020-05-31/response-headers-policy";
    let name = "CloudFront response headers policies";
    let red = checks_if(key, policies(40)).await;
    let text = "40 of 40 response headers policies exist (quota); the stage needs one";
    assert_found(&red, name, State::Red, text, "Request increase");

    // Service Quotas has no value of the account's own, or cannot be read.
    for quotas in [
        ok(json!({ "Quotas": [] })),
        json_error(400, "AccessDeniedException"),
    ] {
        let change = |responses: &mut Responses| {
            responses.insert("servicequotas ListServiceQuotas", quotas.clone());
        };
        let red = checks(|responses, _| {
            change(responses);
            responses.insert(key, policies(20));
        })
        .await;
        assert_found(
            &red,
            name,
            State::Red,
            "20 of 20 response headers policies exist (default quota)",
            "",
        );
        let green = checks(|responses, _| {
            change(responses);
            responses.insert(key, policies(19));
        })
        .await;
        assert_found(&green, name, State::Green, "19 of 20", "");
    }
    let deployed = checks(|responses, _| {
        responses.insert(key, policies(40));
        let stacks = stacks(&[("scratchpad-web-dev", "UPDATE_COMPLETE")]);
        responses.insert("cloudformation DescribeStacks", stacks);
    })
    .await;
    assert_found(&deployed, name, State::Green, "40 of 40", "");
}

#[tokio::test]
async fn all_pages_of_a_list_are_counted() {
    let checks = checks(|responses, _| {
        let first = "cloudfront GET /2020-05-31/distribution";
        responses.insert(first, distributions(100, Some("a/b")));
        let next = "cloudfront GET /2020-05-31/distribution?MaxItems=100&Marker=a%2Fb";
        responses.insert(next, distributions(7, None));
    })
    .await;
    assert_found(
        &checks,
        "CloudFront distributions",
        State::Green,
        "107 of 500",
        "",
    );
}

#[tokio::test]
async fn the_quota_is_searched_in_all_pages() {
    let checks = checks(|responses, _| {
        let other =
            json!([{ "QuotaName": "Staging distributions per AWS account", "Value": 20.0 }]);
        let first = ok(json!({ "Quotas": other, "NextToken": "t2" }));
        let second = json!([{ "QuotaName": "Distributions per AWS account", "Value": 600.0 }]);
        let second = ok(json!({ "Quotas": second }));
        responses.insert("servicequotas ListServiceQuotas", first);
        responses.insert("servicequotas ListServiceQuotas t2", second);
    })
    .await;
    let (distributions, policies) = (
        "CloudFront distributions",
        "CloudFront response headers policies",
    );
    assert_found(
        &checks,
        distributions,
        State::Green,
        "3 of 600 distributions exist (quota)",
        "",
    );
    assert_found(&checks, policies, State::Green, "(default quota)", "");
}
// part: web }

#[tokio::test]
async fn the_next_resolver_is_queried_if_one_does_not_respond() {
    let working = resolver(Ok(&ZONE)).await;
    let both = Resolver::new([nowhere().await, working.first()]);
    let (checks, _) = checks_with(healthy(), &both, |_, _| ()).await;
    let name = "delegation of dev.scratchpad.example.com";
    assert_found(&checks, name, State::Green, "", "");
}

// part: notify {
#[tokio::test]
async fn the_sms_sandbox_is_red_unless_the_destination_is_verified() {
    let in_sandbox = |responses: &mut Responses, status: &str| {
        let is_in_sandbox = query_response(
            "GetSMSSandboxAccountStatus",
            "<IsInSandbox>true</IsInSandbox>",
        );
        responses.insert("sns GetSMSSandboxAccountStatus", is_in_sandbox);
        let numbers = format!(
            "<PhoneNumbers><member><PhoneNumber>{PHONE}</PhoneNumber><Status>{status}</Status></member></PhoneNumbers>"
        );
        let numbers = query_response("ListSMSSandboxPhoneNumbers", &numbers);
        responses.insert("sns ListSMSSandboxPhoneNumbers", numbers);
    };
    let verified = checks(|responses, _| in_sandbox(responses, "Verified")).await;
    assert_found(&verified, "SMS sandbox", State::Green, "is verified", "");
    let pending = checks(|responses, _| in_sandbox(responses, "Pending")).await;
    assert_found(
        &pending,
        "SMS sandbox",
        State::Red,
        "is not verified",
        "Add phone number",
    );
    let denied = checks(|responses, _| {
        in_sandbox(responses, "");
        responses.remove("sns ListSMSSandboxPhoneNumbers");
    })
    .await;
    assert_found(&denied, "SMS sandbox", State::Unknown, "NotInDouble", "");
}

#[tokio::test]
async fn the_origination_number_must_exist_and_be_active() {
    let (key, name) = ("sns ListOriginationNumbers", "SMS origination number");
    let none = query_response("ListOriginationNumbers", "<PhoneNumbers/>");
    let missing = checks_if(key, none.clone()).await;
    assert_found(
        &missing,
        name,
        State::Red,
        "no origination number",
        "Request originator",
    );

    let other_country = checks(|responses, _| {
        responses.insert(key, none);
        responses.insert(
            "ssm GetParameters",
            super::double::secrets(&[("admin-phone-number", "+4930123456")]),
        );
    })
    .await;
    assert_found(
        &other_country,
        name,
        State::Warning,
        "some countries need one",
        "Request originator",
    );

    let pending = "<PhoneNumbers><member><PhoneNumber>+18335550100</PhoneNumber><Status>PENDING</Status></member></PhoneNumbers>";
    let pending = checks_if(key, query_response("ListOriginationNumbers", pending)).await;
    assert_found(
        &pending,
        name,
        State::Warning,
        "the status PENDING",
        "complete the registration",
    );
}

#[tokio::test]
async fn the_default_spend_limit_is_red() {
    let (key, name) = ("sns GetSMSAttributes", "SMS spend limit");
    let unset = query_response("GetSMSAttributes", "<attributes/>");
    let unset = checks_if(key, unset).await;
    let next = "aws sns set-sms-attributes --attributes MonthlySpendLimit=20";
    assert_found(
        &unset,
        name,
        State::Red,
        "1 USD a month, because no limit is set",
        next,
    );
    let low = checks_if(key, spend_limit("1")).await;
    assert_found(&low, name, State::Red, "1 USD a month: ", next);
    let malformed = checks_if(key, spend_limit("x")).await;
    assert_found(&malformed, name, State::Unknown, "not a number", "");
}

#[tokio::test]
async fn a_stage_that_sends_no_sms_has_no_checks_of_sms() {
    let checks = checks(|_, subject| subject.sends_sms = false).await;
    let sms = checks
        .iter()
        .filter(|check| check.name.contains("SMS") || check.name.contains("phone"));
    assert_eq!(sms.count(), 0);
}
// part: notify }

#[tokio::test]
async fn the_delegation_is_compared_with_the_hosted_zone() {
    let name = "delegation of dev.scratchpad.example.com";
    for (answer, state, text) in [
        (Ok(ZONE.as_slice()), State::Green, "delegates the domain"),
        (
            Ok(["ns-3.example.com", ZONE[0]].as_slice()),
            State::Red,
            "ns-1.example.com, ns-3.example.com",
        ),
        (Ok([].as_slice()), State::Red, "no name servers"),
        (Err(RCODE::NameError), State::Red, "no name servers"),
        (Err(RCODE::ServerFailure), State::Unknown, "SERVFAIL"),
        (Err(RCODE::Refused), State::Unknown, "Refused"),
    ] {
        let dns = resolver(answer).await;
        let (checks, _) = checks_with(healthy(), &dns, |_, _| ()).await;
        let next = if state == State::Red {
            "add NS records for dev.scratchpad.example.com to the zone of the parent domain: ns-1.example.com, ns-2.example.org;"
        } else {
            ""
        };
        assert_found(&checks, name, state, text, next);
    }
    let no_resolver = Resolver::new([]);
    let (no_resolver, _) = checks_with(healthy(), &no_resolver, |_, _| ()).await;
    assert_found(&no_resolver, name, State::Unknown, "no DNS resolver", "");
    let before = checks_if("cloudformation ListExports", exports(&[])).await;
    assert_found(
        &before,
        name,
        State::Red,
        "does not exist yet",
        "scratchpad-dns-dev",
    );
}

#[tokio::test]
async fn a_row_that_does_not_say_that_the_domain_is_delegated_is_red() {
    let checks = checks(|_, subject| subject.is_delegated = false).await;
    let name = "delegation of dev.scratchpad.example.com";
    assert_found(
        &checks,
        name,
        State::Red,
        "the row does not say so",
        "set delegated: true",
    );
    let text = "Cognito's own sender, which sends about 50 e-mails a day, until the row says `delegated: true`";
    assert_found(&checks, "e-mail sender", State::Green, text, "");
}

#[tokio::test]
async fn a_stage_without_a_domain_uses_cognitos_sender() {
    let checks = checks(|_, subject| subject.domain = None).await;
    assert_found(
        &checks,
        "e-mail sender",
        State::Green,
        "Cognito's own sender, which",
        "",
    );
    assert!(
        checks
            .iter()
            .all(|check| !check.name.starts_with("delegation"))
    );
}

#[tokio::test]
async fn ses_needs_production_access_and_a_verified_identity() {
    let (key, name) = ("ses GET /v2/email/account", "SES production access");
    let sandbox = checks_if(key, ses_account(false, true)).await;
    assert_found(
        &sandbox,
        name,
        State::Red,
        "SES is in the sandbox",
        "Request production access",
    );
    let paused = checks_if(key, ses_account(true, false)).await;
    assert_found(&paused, name, State::Red, "SHUTDOWN", "Reputation");
    let (_, account) = ses_account(false, true);
    let mut account: Value = serde_json::from_str(&account).unwrap();
    account["Details"] = json!({ "ReviewDetails": { "Status": "PENDING" } });
    let review = checks_if(key, ok(account)).await;
    assert_found(&review, name, State::Red, "AWS reviews", "wait");

    let key = "ses GET /v2/email/identities/dev.scratchpad.example.com";
    let name = "SES identity dev.scratchpad.example.com";
    for (reply, text, next) in [
        (
            json_error(404, "NotFoundException"),
            "does not exist",
            "cargo xtask deploy --stage dev",
        ),
        (
            ses_identity(false, "PENDING"),
            "not verified; the status of DKIM is PENDING",
            "72 hours",
        ),
        (
            ses_identity(true, "FAILED"),
            "verified, but the status of DKIM is FAILED",
            "Authentication",
        ),
    ] {
        assert_found(&checks_if(key, reply).await, name, State::Red, text, next);
    }
}

#[tokio::test]
async fn no_text_contains_a_secret() {
    let dns = resolver(Ok(&ZONE)).await;
    let mut texts = String::new();
    for key in queries().into_keys() {
        let (checks, _) = checks_with(healthy(), &dns, |responses, _| {
            responses.insert(key, (400, "x".into()));
        })
        .await;
        texts += &report(&checks).join("\n");
    }
    let secrets: &[&[&str]] = &[
        &[PHONE],        // part: notify
        stripe::SECRETS, // part: billing
    ];
    for secret in secrets.concat() {
        assert!(!texts.contains(secret), "{secret}");
    }
    assert!(texts.contains(ACCOUNT));
}

#[tokio::test]
async fn an_unknown_check_of_an_emulated_account_says_why() {
    let checks = checks(|responses, subject| {
        subject.is_local = true;
        responses.remove("iam GetPolicy");
    })
    .await;
    let name = "policy scratchpad-boundary-dev";
    let text = "the local cloud may lack this query";
    assert_found(&checks, name, State::Unknown, text, "");
}
