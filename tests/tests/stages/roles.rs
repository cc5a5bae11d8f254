//! The roles of the repository's workflows: their credentials, and a record of the AWS calls that commands make with them.
//!
//! The commands that workflows run use the role that the workflow assumes, so the local cloud denies what the role may not
//! do. The local cloud also records each call. A call that is not in `infrastructure/test/calls.json` fails the test. The
//! tests of the templates check that each role may make the calls of that file.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use aws_credential_types::Credentials;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use test_support::http::{Method, Request};
use test_support::root;

use crate::account::{Account, configuration, configuration_file};
use crate::inventory::elements;

/// If this environment variable is set, calls that are not in [`CALLS`] are added to it instead of failing the test.
const ACCEPT_VARIABLE: &str = "SCRATCHPAD_ACCEPT_CALLS";

/// The AWS calls that commands make with each role.
const CALLS: &str = "infrastructure/test/calls.json";

/// The condition keys of a call that [`CALLS`] contains.
const KEYS: [&str; 6] = [
    "aws:requesttag/",
    "aws:resourcetag/",
    "aws:tagkeys",
    "route53:",
    "s3:if-",
    "s3:prefix",
];

/// A role that a workflow assumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Role {
    /// The name, without its prefix `scratchpad-github-`.
    pub(crate) name: &'static str,
    /// The AWS profile in which the workflow stores the credentials.
    profile: &'static str,
    /// The subject of the token with which the workflow assumes the role, without the repository.
    subject: &'static str,
    /// The stage that the calls of the role are recorded for.
    stage: &'static str,
}

const fn role(
    name: &'static str,
    profile: &'static str,
    subject: &'static str,
    stage: &'static str,
) -> Role {
    Role {
        name,
        profile,
        subject,
        stage,
    }
}

const MAIN: &str = "ref:refs/heads/main";
pub(crate) const DEV: Role = role("dev", "scratchpad-dev", MAIN, "dev");
pub(crate) const RELEASES: Role = role("releases", "scratchpad-dev", MAIN, "dev");
pub(crate) const PREVIEW: Role = role("preview", "scratchpad-previews", "pull_request", "pr-1");
pub(crate) const SHOW: Role = role("show", "scratchpad-prod", MAIN, "prod");
pub(crate) const PROD: Role = role("prod", "scratchpad-prod", "environment:prod", "prod");

/// Returns the command, without its stages, and the roles with which workflows run it. No roles if it is not a command of
/// workflows, which only people run.
fn command_and_roles(arguments: &str) -> (&str, Vec<Role>) {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let value = |option: &str| {
        let at = words.iter().position(|word| *word == option)?;
        words.get(at + 1).copied()
    };
    let command = words.first().copied().unwrap_or_default();
    let roles = match (command, value("--stage")) {
        ("deploy" | "plan" | "remove" | "rollback", Some(stage)) => match stage {
            "dev" => vec![DEV],
            "prod" if command != "remove" => vec![PROD],
            _ if stage.starts_with("pr-") => vec![PREVIEW],
            _ => Vec::new(),
        },
        ("promote", _) if words.contains(&"--show") => {
            return ("promote --show", vec![RELEASES, SHOW]);
        }
        ("promote", _) => vec![RELEASES, PROD],
        _ => Vec::new(),
    };
    (command, roles)
}

/// Returns the name of the sessions of a command, in the characters that STS accepts.
fn session_name(command: &str) -> String {
    command.replace(' ', "")
}

/// Returns the AWS configuration file with which a command runs: with a profile for each role that the workflow assumes, or
/// with the profiles of the accounts' owners if only people run the command.
pub(crate) fn configuration_for(arguments: &str) -> PathBuf {
    let (command, roles) = command_and_roles(arguments);
    if roles.is_empty() {
        return configuration_file();
    }
    let mut name = format!("aws-config-{}", session_name(command));
    let mut text = String::new();
    for profile in [DEV, PREVIEW, PROD].map(|role| role.profile) {
        let account = Account::of_configuration(&configuration(), profile);
        // The other profiles have no credentials. xtask needs their endpoints to synthesize templates for the local cloud.
        let credentials = roles
            .iter()
            .find(|role| role.profile == profile)
            .map(|role| {
                name += &format!("-{}", role.name);
                credentials(&account, *role, &session_name(command))
            });
        text += &section(profile, &account, credentials.as_ref());
    }
    let file = configuration_file().with_file_name(name);
    fs::write(&file, text).unwrap();
    file
}

/// Returns a section of an AWS configuration file.
pub(crate) fn section(
    profile: &str,
    account: &Account,
    credentials: Option<&Credentials>,
) -> String {
    let Account {
        region, endpoint, ..
    } = account;
    let mut text = format!("[profile {profile}]\nregion = {region}\nendpoint_url = {endpoint}\n");
    if let Some(credentials) = credentials {
        text += &format!(
            "aws_access_key_id = {}\naws_secret_access_key = {}\naws_session_token = {}\n",
            credentials.access_key_id(),
            credentials.secret_access_key(),
            credentials.session_token().unwrap_or_default(),
        );
    }
    text + "\n"
}

/// Assumes a role of the workflows in an account, once for each name of a session.
pub(crate) fn credentials(account: &Account, role: Role, session: &str) -> Credentials {
    /// The credentials by account, role and session.
    static ASSUMED: Mutex<BTreeMap<[String; 3], Credentials>> = Mutex::new(BTreeMap::new());
    let key = [&account.id, role.name, session].map(str::to_owned);
    if let Some(known) = ASSUMED.lock().unwrap().get(&key) {
        return known.clone();
    }
    let (endpoint, arn) = (
        account.endpoint.clone(),
        format!(
            "arn:aws:iam::{}:role/scratchpad-github-{}",
            account.id, role.name
        ),
    );
    let session = session.to_owned();
    // This function is called in asynchronous functions, but is not asynchronous itself.
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime
            .unwrap()
            .block_on(assume(&endpoint, &arn, &session, role.subject))
    });
    let credentials = thread.join().unwrap();
    ASSUMED.lock().unwrap().insert(key, credentials.clone());
    credentials
}

/// Assumes a role with a token such as GitHub gives to a workflow. The local cloud does not check the token's signature.
async fn assume(endpoint: &str, role: &str, session: &str, subject: &str) -> Credentials {
    let claims = json!({
        "iss": "https://token.actions.githubusercontent.com",
        "aud": "sts.amazonaws.com",
        "sub": format!("repo:example/scratchpad:{subject}"),
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let token = format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims));
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("Action", "AssumeRoleWithWebIdentity")
        .append_pair("Version", "2011-06-15")
        .append_pair("RoleArn", role)
        .append_pair("RoleSessionName", session)
        .append_pair("WebIdentityToken", &token)
        .finish();
    let request = Request::new(&Client::new(), Method::POST, Url::parse(endpoint).unwrap());
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let response = request.body(form).send().await;
    assert_eq!(response.status, 200, "{role}: {}", response.text());
    let text = response.text();
    let [key, secret, token] = ["AccessKeyId", "SecretAccessKey", "SessionToken"]
        .map(|name| elements(&text, name).next().unwrap().to_owned());
    Credentials::new(key, secret, Some(token), None, "test")
}

/// An entry of [`CALLS`].
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    command: String,
    stage: String,
    role: String,
    calls: Vec<String>,
}

/// Compares the calls that a command made with [`CALLS`]. `arguments` are the arguments of the command.
#[track_caller]
pub(crate) fn check_calls(arguments: &str) {
    let (command, roles) = command_and_roles(arguments);
    let mut unknown = Vec::new();
    let path = root().join(CALLS);
    let mut entries: Vec<Entry> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for role in roles {
        let account = Account::of_configuration(&configuration(), role.profile);
        let suffix = format!(
            ":assumed-role/scratchpad-github-{}/{}",
            role.name,
            session_name(command)
        );
        let is_same = |entry: &Entry| {
            entry.command == command && entry.stage == role.stage && entry.role == role.name
        };
        let position = entries.iter().position(is_same).unwrap_or_else(|| {
            entries.push(Entry {
                command: command.into(),
                stage: role.stage.into(),
                role: role.name.into(),
                calls: Vec::new(),
            });
            entries.len() - 1
        });
        for call in recorded(&account, &suffix) {
            let calls = &mut entries[position].calls;
            if !calls.iter().any(|known| includes(known, &call)) {
                unknown.push(format!("{} ({command}): {call}", role.name));
                calls.push(call);
            }
        }
        entries[position].calls.sort();
    }
    if unknown.is_empty() {
        return;
    }
    if std::env::var_os(ACCEPT_VARIABLE).is_some() {
        let text = serde_json::to_string_pretty(&entries).unwrap() + "\n";
        return fs::write(path, text).unwrap();
    }
    panic!(
        "{CALLS} lacks calls that cargo xtask {arguments} makes. Set {ACCEPT_VARIABLE} to add them:\n{}",
        unknown.join("\n")
    );
}

/// Whether a call of [`CALLS`] is the recorded call, perhaps with condition keys that the local cloud does not have.
fn includes(known: &str, recorded: &str) -> bool {
    let mut recorded = recorded.split(' ');
    let mut parts = known.split(' ');
    recorded.by_ref().take(2).eq(parts.by_ref().take(2))
        && recorded.all(|key| parts.clone().any(|known| known == key))
}

/// Returns the calls, in the format of [`CALLS`], that principals whose ARN ends with `suffix` have made since the last call
/// of this function for the account.
fn recorded(account: &Account, suffix: &str) -> Vec<String> {
    static READ: Mutex<BTreeMap<(String, String), usize>> = Mutex::new(BTreeMap::new());
    let file = configuration_file()
        .with_file_name(&account.id)
        .join("calls.jsonl");
    let bytes = fs::read(&file).unwrap();
    let end = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let key = (account.id.clone(), suffix.to_owned());
    let begin = READ.lock().unwrap().insert(key, end).unwrap_or_default();
    let lines = std::str::from_utf8(&bytes[begin..end]).unwrap().lines();
    let records = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let own = records.filter(|record| record["principal"].as_str().unwrap().ends_with(suffix));
    let mut calls: Vec<String> = own
        .map(|record| call(&record).replace(&account.region, "REGION"))
        .collect();
    calls.sort();
    calls.dedup();
    calls
}

/// Returns a recorded call in the format of [`CALLS`].
fn call(record: &Value) -> String {
    let action = record["action"].as_str().unwrap();
    let resource = normalized(record["resource"].as_str().unwrap());
    // part: web {
    let resource = match resource.split_once('/') {
        Some((bucket, _)) if action.starts_with("s3:DeleteObject") && bucket.contains("-web-") => {
            format!("{bucket}/0")
        }
        _ => resource,
    };
    // part: web }
    let mut keys: Vec<String> = Vec::new();
    for (key, value) in record["keys"].as_object().unwrap() {
        let lower = key.to_lowercase();
        if !KEYS.iter().any(|prefix| lower.starts_with(prefix)) {
            continue;
        }
        let key = lower
            .replace("aws:requesttag/", "aws:RequestTag/")
            .replace("aws:resourcetag/", "aws:ResourceTag/")
            .replace("aws:tagkeys", "aws:TagKeys")
            .replace("changeresourcerecordsets", "ChangeResourceRecordSets")
            .replace("normalizedrecordnames", "NormalizedRecordNames")
            .replace("actions", "Actions")
            .replace("recordtypes", "RecordTypes");
        let value = match value {
            _ if key == "s3:if-match" => "0".to_owned(),
            Value::String(value) => normalized(value),
            Value::Array(values) => {
                let texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
                texts.join(",")
            }
            _ => continue,
        };
        keys.push(format!("{key}={value}"));
    }
    keys.sort();
    [&[action.to_owned(), resource][..], &keys]
        .concat()
        .join(" ")
}

/// Replaces the name of a stack, a table or a function of a stage by `UNIT`, `TABLE` or `FUNCTION`, so that [`CALLS`] does not
/// depend on which of them exist.
fn without_names(text: &str) -> String {
    for stage in ["dev", "prod", "pr-1"] {
        let stack = format!("-{stage}/assigned");
        if let Some((begin, rest)) = text.split_once(":stack/scratchpad-")
            && rest.ends_with(&stack)
        {
            return format!("{begin}:stack/scratchpad-UNIT{stack}");
        }
        for (kind, placeholder) in [
            (":table/", "TABLE"),
            (":function:", "FUNCTION"),
            (":log-group:/aws/lambda/", "FUNCTION"),
        ] {
            let named = format!("{kind}scratchpad-{stage}-");
            if let Some((begin, _)) = text.split_once(&named) {
                return format!("{begin}{named}{placeholder}");
            }
        }
    }
    text.to_owned()
}

/// Replaces what differs between runs, as `recordedCalls` in `infrastructure/test/permissions.ts` documents.
fn normalized(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some((stack, _)) = text.split_once(":stack/").and_then(|(begin, rest)| {
        let (name, id) = rest.split_once('/')?;
        Some((format!("{begin}:stack/{name}/assigned"), id))
    }) {
        text = stack;
    }
    text = without_names(&text.replace("pr-7", "pr-1"));
    if let Some((begin, rest)) = text.split_once("API-Gateway-Execution-Logs_") {
        let stage = rest.split_once('/').map_or("", |(_, stage)| stage);
        return format!("{begin}API-Gateway-Execution-Logs_assigned/{stage}");
    }
    if text.starts_with("arn:aws:s3:::")
        && let Some((bucket, _)) = text.split_once('/')
    {
        let is_named = !bucket.contains("-attachments-");
        // part: web {
        let page = text.strip_prefix(bucket);
        let is_page = matches!(page, Some("/config.json" | "/index.html"));
        let is_named = is_named && (is_page || !bucket.contains("-web-"));
        // part: web }
        // The names of other files are not fixed.
        if !is_named {
            return format!("{bucket}/0");
        }
    }
    let mut collection = "";
    let parts = text.split('/').map(|part| {
        let above = std::mem::replace(&mut collection, part);
        let (name, extension) = part.split_once('.').unwrap_or((part, ""));
        let is_number = name.len() == 6 && name.bytes().all(|byte| byte.is_ascii_digit());
        let is_hash = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        match (above, extension) {
            ("restapis" | "deployments" | "hostedzone" | "distribution", _) => "assigned".into(),
            (_, "") if is_hash => "0".into(),
            _ if is_hash => format!("0.{extension}"),
            ("releases", "json") if is_number => "000001.json".into(),
            _ => part.to_owned(),
        }
    });
    parts.collect::<Vec<_>>().join("/")
}
