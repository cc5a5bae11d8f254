//! The rules that answers must follow. Each message says the rule or the limit, because it is shown to the person who answers.

use super::checkout::{Answers, Checkout};

/// Checks an answer. The other answers are known, too: those that were given, and the current ones.
pub(crate) type Rule = fn(&Checkout, &Answers, &str) -> Result<(), String>;

/// The maximum length of the names of Lambda functions and of IAM roles, which have the same names:
/// <https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html>.
const FUNCTION: usize = 64;

/// The maximum length of the name of a bucket: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>.
const BUCKET: usize = 63;

/// The maximum length of the name of a stack:
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html>.
const STACK: usize = 128;

/// The length of a stage's name for which every prefix leaves room, such as `pr-12345` or `feature-1234`.
const STAGE: usize = 12;

/// The length of the name of the longest stack without prefix and stage, such as `firewall`.
const UNIT: usize = 32;

/// The maximum length of the product's name. The header of the app and the titles of its pages show it.
const NAME: usize = 40;

/// The beginnings of names that AWS reserves for itself, for parameters of SSM, tags and buckets:
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-parameter-name-constraints.html>.
const RESERVED: [&str; 5] = ["aws", "amazon", "amzn", "ssm", "sthree"];

/// The regions of AWS that accounts of the partition `aws` can use:
/// <https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html>.
const REGIONS: [&str; 34] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

// part: billing {
/// The maximum amount of a charge, in the minor unit: eight digits.
/// <https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>
const MAXIMUM: u64 = 99_999_999;
// part: billing }

/// Returns `reason` as an error unless `condition` is true.
fn require(condition: bool, reason: impl Into<String>) -> Result<(), String> {
    condition.then_some(()).ok_or_else(|| reason.into())
}

pub(crate) fn name(_: &Checkout, answers: &Answers, name: &str) -> Result<(), String> {
    let words = name.split(' ').all(|word| !word.is_empty());
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == ' ' || c == '-';
    require(
        words && name.chars().all(allowed) && name.starts_with(|c: char| c.is_ascii_alphabetic()),
        "must begin with a letter and have only letters of ASCII, digits, hyphens and single spaces, because the sender of \
         e-mails and the namespace of metrics contain it",
    )?;
    require(
        name.len() <= NAME,
        format!("may have at most {NAME} characters, so that the header of the app can show it"),
    )?;
    require(
        answers.get("prefix").is_none_or(|prefix| prefix != name),
        "must differ from the prefix, for example by a capital letter, so that it can be changed again",
    )
}

pub(crate) fn prefix(checkout: &Checkout, _: &Answers, prefix: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut words = prefix.split('-');
    require(
        words.all(|word| !word.is_empty() && word.chars().all(allowed))
            && prefix.starts_with(|c: char| c.is_ascii_lowercase()),
        "must begin with a lower-case letter and have only lower-case letters, digits and single hyphens, because names of \
         buckets and environment variables contain it",
    )?;
    require(prefix.len() > 1, "must have at least 2 characters")?;
    if let Some(reserved) = RESERVED
        .iter()
        .find(|reserved| prefix.starts_with(**reserved))
    {
        return Err(format!(
            "must not begin with {reserved}, which AWS reserves"
        ));
    }
    let functions = checkout.functions.iter();
    let longest = functions
        .max_by_key(|name| name.len())
        .map_or("", |name| name);
    let names = [
        ("function and role", longest, "", FUNCTION),
        ("bucket", "attachments-", "123456789012", BUCKET),
        ("bucket", "web-", "123456789012", BUCKET),
        ("stack", "", "", STACK - UNIT),
    ];
    for (what, name, account, limit) in names {
        // The hyphens before and after the stage.
        let others = 2 + STAGE + name.len() + account.len();
        let most = limit.saturating_sub(others);
        require(
            prefix.len() <= most,
            format!(
                "may have at most {most} characters: the {what} {prefix}-STAGE-{name}{account}, with a stage of {STAGE} \
                 characters, would have {}, and AWS permits {limit}",
                prefix.len() + others
            ),
        )?;
    }
    Ok(())
}

pub(crate) fn repository(_: &Checkout, _: &Answers, repository: &str) -> Result<(), String> {
    let (owner, name) = repository.split_once('/').unwrap_or_default();
    let is_owner = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_name = |c: char| c.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&c);
    require(
        (1..=39).contains(&owner.len())
            && owner.chars().all(is_owner)
            && !owner.starts_with('-')
            && !owner.ends_with('-')
            && (1..=100).contains(&name.len())
            && name.chars().all(is_name),
        "must be OWNER/REPOSITORY as on GitHub: an owner of at most 39 letters, digits and hyphens, and a name of at most 100 \
         letters, digits, hyphens, dots and underscores",
    )
}

pub(crate) fn id(_: &Checkout, _: &Answers, id: &str) -> Result<(), String> {
    require(
        id.parse::<u64>().is_ok_and(|id| id > 0) && !id.starts_with(['0', '+']),
        "must be the number that `gh api repos/OWNER/REPOSITORY --jq '.owner.id, .id'` prints",
    )
}

pub(crate) fn account(_: &Checkout, answers: &Answers, id: &str) -> Result<(), String> {
    require(
        id.len() == 12 && id.chars().all(|c| c.is_ascii_digit()),
        "must be the 12 digits of an AWS account ID",
    )?;
    require(
        answers.values().filter(|other| *other == id).count() <= 1,
        "must differ from the other accounts, so that it can be changed again; for previews in the account of dev, set \
         `account: dev` in the row `pr-*` of serverless.yml instead",
    )
}

pub(crate) fn region(_: &Checkout, _: &Answers, region: &str) -> Result<(), String> {
    require(
        REGIONS.contains(&region),
        format!("must be a region of AWS: {}", REGIONS.join(", ")),
    )
}

pub(crate) fn domain(_: &Checkout, answers: &Answers, domain: &str) -> Result<(), String> {
    require(
        is_domain(domain),
        "must be a domain such as app.example.com, in lower case: labels of 1 to 63 letters, digits and hyphens",
    )?;
    require(
        domain.len() <= 64,
        "may have at most 64 characters, because AWS's certificates have no longer names",
    )?;
    require(
        answers.values().filter(|other| *other == domain).count() <= 1,
        "must differ from the domain of the other stage",
    )
}

fn is_domain(domain: &str) -> bool {
    let labels: Vec<&str> = domain.split('.').collect();
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    labels.len() > 1
        && labels.iter().all(|label| {
            (1..=63).contains(&label.len())
                && label.chars().all(allowed)
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
        && !labels
            .last()
            .is_some_and(|label| label.starts_with(|c: char| c.is_ascii_digit()))
}

pub(crate) fn email(_: &Checkout, _: &Answers, email: &str) -> Result<(), String> {
    let (user, domain) = email.rsplit_once('@').unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!%&'*+-/=?^_{|}~.".contains(c);
    require(
        (1..=64).contains(&user.len())
            && user.chars().all(allowed)
            && email.len() <= 254
            && is_domain(&domain.to_ascii_lowercase()),
        "must be an e-mail address such as ada@example.com, of at most 254 characters",
    )
}

// part: billing {
pub(crate) fn currency(checkout: &Checkout, _: &Answers, currency: &str) -> Result<(), String> {
    let known: Vec<&str> = checkout.minimums.keys().map(String::as_str).collect();
    require(
        known.contains(&currency),
        format!(
            "must be a currency that Stripe charges in hundredths, in lower case: {}; for another one, add its minimum to \
             minimums.json",
            known.join(", ")
        ),
    )
}

pub(crate) fn prices(checkout: &Checkout, answers: &Answers, prices: &str) -> Result<(), String> {
    let Some(tiers) = tiers(prices) else {
        return Err("must be FROM:PRICE pairs such as 1:400,11:200: from 1 note on, each costs 400 hundredths of the \
                    currency; from 11 notes on, each costs 200"
            .into());
    };
    require(
        tiers.first().is_some_and(|(from, _)| *from == 1),
        "must begin with the price from 1 note on",
    )?;
    require(
        tiers.is_sorted_by(|(from, _), (next, _)| from < next)
            && tiers.iter().all(|(from, _)| *from <= checkout.limit),
        format!(
            "must have increasing numbers of notes, up to {}",
            checkout.limit
        ),
    )?;
    require(
        tiers.iter().all(|(_, each)| *each > 0),
        "must have prices above 0",
    )?;
    let currency = answers.get("currency").map_or("", String::as_str);
    let minimum = checkout.minimums.get(currency).copied().unwrap_or_default();
    let next = tiers.iter().skip(1).map(|(from, _)| from - 1);
    for ((from, each), last) in tiers.iter().zip(next.chain([checkout.limit])) {
        for notes in [*from, last] {
            let price = notes.saturating_mul(*each);
            require(
                (minimum..=MAXIMUM).contains(&price),
                format!(
                    "must be such that Stripe can charge each order: {notes} notes for {price} hundredths are not from \
                     {minimum} to {MAXIMUM} hundredths of {currency}"
                ),
            )?;
        }
    }
    Ok(())
}

/// Parses prices such as `1:400,11:200`.
pub(crate) fn tiers(prices: &str) -> Option<Vec<(u64, u64)>> {
    let tier = |tier: &str| {
        let (from, each) = tier.split_once(':')?;
        Some((from.trim().parse().ok()?, each.trim().parse().ok()?))
    };
    prices.split(',').map(tier).collect()
}

pub(crate) fn test_key(_: &Checkout, _: &Answers, key: &str) -> Result<(), String> {
    require(
        is_key(key, "pk_test_"),
        "must be a publishable key of Stripe's test mode, pk_test_…",
    )
}

pub(crate) fn live_key(_: &Checkout, _: &Answers, key: &str) -> Result<(), String> {
    require(
        is_key(key, "pk_live_") || key == "pk_test_example",
        "must be a publishable key of Stripe's live mode, pk_live_…, because this stage charges real cards",
    )
}

fn is_key(key: &str, mode: &str) -> bool {
    let secret = key.strip_prefix(mode).unwrap_or_default();
    !secret.is_empty() && secret.chars().all(|c| c.is_ascii_alphanumeric())
}
// part: billing }
