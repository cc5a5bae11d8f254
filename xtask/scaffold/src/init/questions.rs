//! The table of the questions that `cargo xtask init` asks.

use super::rules::{self, Rule};

/// A question about the product.
#[derive(Debug)]
pub struct Question {
    /// The name of the answer, which is also the name of its option on the command line.
    pub key: &'static str,
    /// What the answer is.
    pub prompt: &'static str,
    /// Where the answer is stored.
    pub(crate) place: Place,
    /// The rule that the answer must follow.
    pub(crate) rule: Rule,
    /// What happens to stages that are deployed already if the answer changes.
    pub(crate) deployed: &'static str,
}

/// Where an answer is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// In product.json, and as a word in all files. `table` is the value in serverless.yml that must be the same, if there is
    /// one.
    Everywhere { table: &'static str },
    /// Only as values in serverless.yml.
    Table(&'static [&'static str]),
    // part: billing {
    /// Only as the value of a key in prices.json.
    Prices(&'static str),
    // part: billing }
}

const REDEPLOY: &str = "the next deploy of each stage applies it";
const MOVE: &str = "a stage cannot move: the next deploy creates a new stage without the data of the old one. First remove the \
                    old one with the earlier commit (cargo xtask remove, cargo xtask bootstrap --remove), or copy its data";
const BOOTSTRAP: &str = "run cargo xtask bootstrap for each account again";

/// All questions, in the order in which they are asked.
pub const QUESTIONS: &[Question] = &[
    Question {
        key: "name",
        prompt: "the name of the product, which people see",
        place: Place::Everywhere { table: "" },
        rule: rules::name,
        deployed: "the next deploy of each stage applies it; metrics begin anew in a namespace with the new name",
    },
    Question {
        key: "prefix",
        prompt: "the prefix of the names of all AWS resources, tags, parameters and environment variables",
        place: Place::Everywhere { table: "" },
        rule: rules::prefix,
        deployed: MOVE,
    },
    Question {
        key: "repository",
        prompt: "the repository on GitHub, OWNER/REPOSITORY",
        place: Place::Everywhere {
            table: "repository",
        },
        rule: rules::repository,
        deployed: BOOTSTRAP,
    },
    Question {
        key: "repository-owner-id",
        prompt: "the ID of the repository's owner on GitHub",
        place: Place::Table(&["repositoryIds.owner"]),
        rule: rules::id,
        deployed: BOOTSTRAP,
    },
    Question {
        key: "repository-id",
        prompt: "the ID of the repository on GitHub",
        place: Place::Table(&["repositoryIds.repository"]),
        rule: rules::id,
        deployed: BOOTSTRAP,
    },
    Question {
        key: "account-dev",
        prompt: "the ID of dev's AWS account",
        place: Place::Everywhere {
            table: "accounts.dev.id",
        },
        rule: rules::account,
        deployed: MOVE,
    },
    Question {
        key: "account-previews",
        prompt: "the ID of the AWS account of previews",
        place: Place::Everywhere {
            table: "accounts.previews.id",
        },
        rule: rules::account,
        deployed: MOVE,
    },
    Question {
        key: "account-prod",
        prompt: "the ID of prod's AWS account",
        place: Place::Everywhere {
            table: "accounts.prod.id",
        },
        rule: rules::account,
        deployed: MOVE,
    },
    Question {
        key: "account-local",
        prompt: "the ID of the account that the local cloud emulates, which need not exist",
        place: Place::Everywhere {
            table: "accounts.local.id",
        },
        rule: rules::account,
        deployed: "run cargo xtask dev --fresh",
    },
    Question {
        key: "region",
        prompt: "the AWS region of all stages",
        place: Place::Table(&["region"]),
        rule: rules::region,
        deployed: MOVE,
    },
    Question {
        key: "domain-prod",
        prompt: "the domain of prod's app",
        place: Place::Everywhere {
            table: "stages.prod.domain",
        },
        rule: rules::domain,
        deployed: "the next deploy of prod creates a hosted zone for the new domain: delegate it as docs/first-deploy.md says",
    },
    Question {
        key: "domain-dev",
        prompt: "the domain of dev's app",
        place: Place::Everywhere {
            table: "stages.dev.domain",
        },
        rule: rules::domain,
        deployed: "the next deploy of dev creates a hosted zone for the new domain: delegate it as docs/first-deploy.md says",
    },
    Question {
        key: "owner-email",
        prompt: "the address that gets e-mails about costs",
        place: Place::Table(&[
            "accounts.dev.owner",
            "accounts.previews.owner",
            "accounts.prod.owner",
        ]),
        rule: rules::email,
        deployed: BOOTSTRAP,
    },
    Question {
        key: "alarms-email",
        prompt: "the address that gets e-mails about alarms",
        place: Place::Table(&[
            "stages.local.alarms",
            "stages.dev.alarms",
            "stages.prod.alarms",
        ]),
        rule: rules::email,
        deployed: "the next deploy of each stage applies it; confirm the subscription with the link in the e-mail",
    },
    // part: billing {
    Question {
        key: "currency",
        prompt: "the currency of prices, in lower case",
        place: Place::Prices("currency"),
        rule: rules::currency,
        deployed: "the next deploy of each stage applies it to new orders",
    },
    Question {
        key: "prices",
        prompt: "the price per note in hundredths of the currency, by the smallest number of notes in an order: FROM:PRICE,… \
                 (Stripe must be able to charge the largest order, of 999999 notes, so the last price is at most 100)",
        place: Place::Prices("tiers"),
        rule: rules::prices,
        deployed: "the next deploy of each stage applies it to new orders; an app that is open shows the old prices until it is \
                   reloaded",
    },
    Question {
        key: "stripe-key-dev",
        prompt: "Stripe's publishable key for dev",
        place: Place::Table(&[
            "stages.dev.stripePublishableKey",
            "stages.ephemeral.stripePublishableKey",
        ]),
        rule: rules::test_key,
        deployed: REDEPLOY,
    },
    Question {
        key: "stripe-key-previews",
        prompt: "Stripe's publishable key for previews",
        place: Place::Table(&["stages.pr-*.stripePublishableKey"]),
        rule: rules::test_key,
        deployed: REDEPLOY,
    },
    Question {
        key: "stripe-key-prod",
        prompt: "Stripe's publishable key for prod",
        place: Place::Table(&["stages.prod.stripePublishableKey"]),
        rule: rules::live_key,
        deployed: REDEPLOY,
    },
    // part: billing }
];
