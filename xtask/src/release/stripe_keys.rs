//! A check of a stage's Stripe keys before a deploy. If the publishable key of the browser app and the secret key of the
//! functions are of different modes, Stripe rejects the payment methods that the app creates, and every purchase fails.

use anyhow::{Result, bail};
use aws_sdk_ssm::error::ProvideErrorMetadata as _;
use serde_json::{Map, Value}; // part: web

use super::{
    secret::{self, Name},
    stripe_mode::Mode,
    target::Target,
};

/// The secret or restricted key for Stripe's API.
pub(super) const SECRET_KEY: Name = Name {
    name: "stripe-secret-key",
    help: "The secret or restricted key for Stripe's API: sk_… or rk_…",
    has_format: |value| value.starts_with("sk_") || value.starts_with("rk_"),
    describe: |value| Mode::of(value).map(describe),
};

/// The signing secret of the Stripe webhook.
pub(super) const WEBHOOK_SECRET: Name = Name {
    name: "stripe-webhook-secret",
    help: "The signing secret of the Stripe webhook: whsec_…",
    has_format: |value| value.starts_with("whsec_"),
    describe: |_| None,
};

/// The end of the placeholders in serverless.yml that a key of a Stripe account must replace.
const PLACEHOLDER: &str = "_example";

/// Checks that the keys of a stage are of one mode, and that a protected stage has keys of live mode. Checks nothing if
/// the mode of the secret key is not known: the secret is not set, or the credentials may not read it and an earlier
/// version of `secrets set` has set it.
///
/// # Errors
/// Fails if payments would fail or charge nothing, or if a request to SSM fails.
pub(crate) async fn check(target: &Target) -> Result<()> {
    let publishable = target.row.stripe_publishable_key.as_str();
    if publishable.is_empty() {
        return Ok(());
    }
    let Some(secret) = mode(target).await? else {
        return Ok(());
    };
    let must_be_live = target.row.protected && !target.account.is_local();
    if let Some(problem) = problem(publishable, secret, must_be_live) {
        let stage = &target.stage;
        bail!(
            "{problem}. Nothing was changed. Set stripePublishableKey in the row of {stage} in serverless.yml, and the secret \
             with cargo xtask secrets set {} --stage {}",
            SECRET_KEY.name(),
            target.infrastructure_stage()
        );
    }
    Ok(())
}

/// Reads the secret key of a stage. `None` if it is not set.
///
/// # Errors
/// Fails if the request to SSM fails.
pub(crate) async fn secret_key(target: &Target) -> Result<Option<String>> {
    secret::value(target, SECRET_KEY).await
}

/// Reads the signing secret of the webhook of a stage. `None` if it is not set.
///
/// # Errors
/// Fails if the request to SSM fails.
pub(crate) async fn webhook_secret(target: &Target) -> Result<Option<String>> {
    secret::value(target, WEBHOOK_SECRET).await
}

// part: web {
/// Returns the fields of the browser app's config.json that are about Stripe.
pub(super) fn web_config(target: &Target) -> Map<String, Value> {
    let script = match target.row.stripe_url.as_str() {
        "https://api.stripe.com" => "https://js.stripe.com/v3/".to_owned(),
        stub => format!("{stub}/v3/"),
    };
    Map::from_iter([
        ("stripeScript".into(), script.into()),
        (
            "stripePublishableKey".into(),
            target.row.stripe_publishable_key.clone().into(),
        ),
    ])
}
// part: web }

/// Returns the mode of the Stripe secret key. `None` if the secret is not set, or if the credentials may not read it
/// and its description does not contain the mode.
///
/// # Errors
/// Fails if a request to SSM fails for another reason.
async fn mode(target: &Target) -> Result<Option<Mode>> {
    let Some(description) = secret::description(target, SECRET_KEY).await? else {
        return Ok(None);
    };
    if let Some(mode) = [Mode::Live, Mode::Test]
        .into_iter()
        .find(|mode| description == describe(*mode))
    {
        return Ok(Some(mode));
    }
    match secret_key(target).await {
        Ok(value) => Ok(value.as_deref().and_then(Mode::of)),
        Err(error) => match error.downcast_ref::<aws_sdk_ssm::Error>() {
            Some(ssm) if ssm.code() == Some("AccessDeniedException") => Ok(None),
            _ => Err(error),
        },
    }
}

/// Returns the description of the SSM parameter that contains a Stripe key for `mode`. The roles of workflows may read
/// the description, but not the key.
fn describe(mode: Mode) -> String {
    format!("Stripe key for {mode} mode")
}

/// Says what is wrong with a pair of keys. `secret` is the mode of the secret key.
fn problem(publishable: &str, secret: Mode, must_be_live: bool) -> Option<String> {
    let Some(mode) = Mode::of(publishable) else {
        return Some(format!(
            "the publishable key {publishable} does not begin with pk_test_ or pk_live_"
        ));
    };
    if must_be_live && publishable.ends_with(PLACEHOLDER) {
        return Some(format!(
            "the stage is protected, but its publishable key {publishable} is a placeholder: every payment would fail"
        ));
    }
    if mode != secret {
        return Some(format!(
            "the secret key is for {secret} mode, the publishable key for {mode} mode: every payment would fail"
        ));
    }
    (must_be_live && mode == Mode::Test).then(|| {
        "the stage is protected, but both keys are for test mode: no card would be charged".into()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::release::fake_aws::{Answer, FakeAws};

    #[test]
    fn keys_of_different_modes_are_refused() {
        for (publishable, secret, fits) in [
            ("pk_test_51abc", Mode::Test, true),
            ("pk_live_51abc", Mode::Live, true),
            ("pk_test_example", Mode::Test, true),
            ("pk_test_51abc", Mode::Live, false),
            ("pk_live_51abc", Mode::Test, false),
            ("sk", Mode::Test, false),
        ] {
            let problem = problem(publishable, secret, false);
            assert_eq!(
                problem.is_none(),
                fits,
                "{publishable}, {secret}: {problem:?}"
            );
        }
    }

    #[test]
    fn a_protected_stage_needs_keys_of_live_mode() {
        for (publishable, secret, fits) in [
            ("pk_live_51abc", Mode::Live, true),
            ("pk_test_51abc", Mode::Test, false),
            ("pk_live_example", Mode::Live, false),
            ("pk_test_example", Mode::Test, false),
        ] {
            let problem = problem(publishable, secret, true);
            assert_eq!(
                problem.is_none(),
                fits,
                "{publishable}, {secret}: {problem:?}"
            );
        }
    }

    /// Returns the target dev, whose secret key has this description and value. Without a value, SSM denies the read.
    async fn target(description: &'static str, value: Option<&'static str>) -> (FakeAws, Target) {
        let name = "/scratchpad/dev/stripe-secret-key";
        let aws = FakeAws::new(move |request| {
            let is_list = request.target.ends_with("DescribeParameters");
            let (status, body) = match value {
                _ if is_list => (
                    200,
                    json!({"Parameters": [{"Name": name, "Version": 1, "Description": description}]}),
                ),
                Some(value) => (200, json!({"Parameters": [{"Name": name, "Value": value}]})),
                None => (
                    400,
                    json!({"__type": "AccessDeniedException", "message": "no"}),
                ),
            };
            Answer::new(status, body.to_string())
        });
        let mut target = aws.stage().await.target;
        target.row.stripe_publishable_key = "pk_test_51abc".into();
        (aws, target)
    }

    #[tokio::test]
    async fn the_mode_is_known_without_permission_to_read_the_secret() {
        let (aws, target) = target("Stripe key for live mode", None).await;
        let error = check(&target).await.unwrap_err().to_string();
        assert!(error.contains("live mode"), "{error}");
        assert_eq!(aws.requests().len(), 1);
    }

    #[tokio::test]
    async fn a_secret_without_a_description_is_read_if_the_credentials_allow_it() {
        let (_, readable) = target("", Some("rk_live_1")).await;
        let error = check(&readable).await.unwrap_err().to_string();
        assert!(!error.contains("rk_live_1"), "{error}");
        let (_, denied) = target("", None).await;
        check(&denied).await.unwrap();
    }

    #[test]
    fn a_malformed_secret_is_rejected() {
        for (name, good, bad) in [
            (SECRET_KEY, "sk_test_1", "pk_test_1"),
            (SECRET_KEY, "rk_live_1", "sk_ 1"),
            (WEBHOOK_SECRET, "whsec_1", ""),
        ] {
            assert!(name.accepts(good), "{good}");
            assert!(!name.accepts(bad), "{bad}");
        }
    }
}
