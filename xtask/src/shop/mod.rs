//! `cargo xtask shop`: support for the people who buy storage. It finds their purchases, shows what happened to one,
//! refunds it, and announces it again.
//!
//! | module | content |
//! |---|---|
//! | [`purchase`] | a stored purchase |
//! | [`tables`] | purchases and credits in the tables of a stage |
//! | [`stripe`] | what Stripe knows about a purchase |
//! | [`timeline`] | what happened, in causal order, and what can be done |

mod json;
mod purchase;
mod stripe;
mod tables;
#[cfg(test)]
mod tests;
mod timeline;

use std::io::{IsTerminal as _, stdin};

use anyhow::{Result, bail};
use clap::Subcommand;
use console::style;

use self::{
    json::{number, text},
    purchase::Purchase,
    stripe::Stripe,
    tables::{Owner, Shop},
    timeline::{Facts, advice, timeline},
};
use crate::{
    release::{StageName, confirm, now},
    ui,
    workspace::Workspace,
};

/// The subcommands of `cargo xtask shop`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// List the purchases of a person, or find the purchase of a payment
    Find {
        /// A purchase's ID, a person's e-mail address, identity ID or sub, or a payment: pi_… or ch_…
        term: String,
        /// The name of the stage
        #[arg(long)]
        stage: StageName,
    },
    /// Show what happened to a purchase, causes before effects, and what you can do
    Show {
        /// A purchase's ID, or what `find` accepts if it finds one purchase
        term: String,
        /// The name of the stage
        #[arg(long)]
        stage: StageName,
    },
    /// Refund a purchase. The webhook then changes the purchase and its storage
    Refund {
        /// A purchase's ID, or what `find` accepts if it finds one purchase
        term: String,
        /// The name of the stage
        #[arg(long)]
        stage: StageName,
        /// The amount to refund, in cents [default: what is not refunded yet]
        #[arg(long, value_name = "CENTS", value_parser = clap::value_parser!(u64).range(1..))]
        amount: Option<u64>,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Announce a purchase again. A missing credit is stored.
    // part: notify {
    /// The owner gets its SMS again
    // part: notify }
    Resend {
        /// A purchase's ID, or what `find` accepts if it finds one purchase
        term: String,
        /// The name of the stage
        #[arg(long)]
        stage: StageName,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

/// Runs a subcommand of `cargo xtask shop`.
///
/// # Errors
/// Fails if nothing is found, if Stripe refuses a refund, or if a request fails.
pub(crate) async fn shop(command: Command) -> Result<()> {
    match command {
        Command::Find { term, stage } => find(&term, &stage).await,
        Command::Show { term, stage } => show(&term, &stage).await,
        Command::Refund {
            term,
            stage,
            amount,
            yes,
        } => refund(&term, &stage, amount, yes).await,
        Command::Resend { term, stage, yes } => resend(&term, &stage, yes).await,
    }
}

async fn find(term: &str, stage: &StageName) -> Result<()> {
    let shop = Shop::open(&Workspace::read()?, stage).await?;
    let found = purchases(&shop, term).await?;
    for purchase in &found {
        ui::print(purchase.line());
    }
    ui::success(ui::count(found.len(), "purchase"));
    Ok(())
}

async fn show(term: &str, stage: &StageName) -> Result<()> {
    let workspace = Workspace::read()?;
    let shop = Shop::open(&workspace, stage).await?;
    let purchase = one_purchase(&shop, term).await?;
    let facts = facts(&shop, &workspace, purchase).await?;
    ui::print(style(facts.purchase.line()).bold().to_string());
    ui::print("");
    for entry in timeline(&facts) {
        ui::print(entry.line());
    }
    ui::print("");
    for line in advice(&facts, stage.as_ref()) {
        ui::print(format!("→ {line}"));
    }
    Ok(())
}

async fn facts(shop: &Shop, workspace: &Workspace, purchase: Purchase) -> Result<Facts> {
    let payments = async {
        let stripe = Stripe::of(&shop.context.target).await?;
        stripe.payments(&purchase).await
    };
    let (payments, logs, credit) = tokio::join!(
        payments,
        shop.logs(workspace, &purchase),
        shop.credit(&purchase)
    );
    // part: notify {
    let mut claims = Vec::new();
    for notice in purchase.notices() {
        let record = shop.claim(&purchase, &notice).await?;
        claims.push((text(&notice, "/type").to_owned(), record));
    }
    // part: notify }
    let reason = |error: anyhow::Error| format!("{error:#}");
    Ok(Facts {
        payments: payments.map_err(reason),
        logs: logs.map_err(reason),
        credit: credit?,
        claims, // part: notify
        purchase,
        now: now(),
    })
}

async fn refund(term: &str, stage: &StageName, amount: Option<u64>, yes: bool) -> Result<()> {
    check_consent(yes)?;
    let shop = Shop::open(&Workspace::read()?, stage).await?;
    let purchase = one_purchase(&shop, term).await?;
    let stripe = Stripe::of(&shop.context.target).await?;
    let refund = Refund::of(&stripe, &purchase, amount).await?;
    ui::say(format!(
        "refund {} to {}: {}",
        purchase.money(refund.amount),
        purchase.user_id(),
        text(&purchase.0, "/description")
    ));
    if !yes {
        confirm(stage)?;
    }
    let made = stripe
        .refund(purchase.intent(), refund.amount, &refund.key)
        .await?;
    ui::success(format!(
        "refund {} of {} is {}; the webhook changes the purchase and its storage",
        text(&made, "/id"),
        purchase.money(refund.amount),
        text(&made, "/status")
    ));
    Ok(())
}

/// A refund of a purchase.
#[derive(Debug, PartialEq, Eq)]
struct Refund {
    /// In the minor unit of the currency.
    amount: u64,
    /// The idempotency key. It contains the amount that was refunded before. So the repetition of a refund whose
    /// response was lost has the same key, and the next partial refund has another.
    key: String,
}

impl Refund {
    /// Creates a refund of `amount`, or of what is not refunded yet.
    ///
    /// # Errors
    /// Fails if the purchase was not paid, if less than `amount` is left, or if a request to Stripe fails.
    async fn of(stripe: &Stripe, purchase: &Purchase, amount: Option<u64>) -> Result<Self> {
        let intent = purchase.intent();
        if intent.is_empty() || !purchase.was_paid() {
            bail!(
                "the purchase {} is {}: there is nothing to refund",
                purchase.id(),
                purchase.status()
            );
        }
        let charges = stripe.charges(intent).await?;
        let charge = charges
            .iter()
            .find(|charge| text(charge, "/status") == "succeeded");
        let (paid, refunded) = charge.map_or((0, 0), |charge| {
            (
                number(charge, "/amount"),
                number(charge, "/amount_refunded"),
            )
        });
        let left = paid.saturating_sub(refunded);
        let amount = amount.unwrap_or(left);
        if amount == 0 || amount > left {
            bail!(
                "cannot refund {}: {} of {} are left",
                purchase.money(amount),
                purchase.money(left),
                purchase.money(paid)
            );
        }
        Ok(Self {
            amount,
            key: format!("shop-refund-{}-{refunded}-{amount}", purchase.id()),
        })
    }
}

async fn resend(term: &str, stage: &StageName, yes: bool) -> Result<()> {
    check_consent(yes)?;
    let shop = Shop::open(&Workspace::read()?, stage).await?;
    let purchase = one_purchase(&shop, term).await?;
    let notices = purchase.notices();
    if notices.is_empty() {
        bail!(
            "the purchase {} is {}: there is nothing to announce",
            purchase.id(),
            purchase.status()
        );
    }
    let kinds: Vec<&str> = notices.iter().map(|notice| text(notice, "/type")).collect();
    ui::say(format!(
        "announce the purchase {} again: {}",
        purchase.id(),
        kinds.join(", ")
    ));
    ui::say("the owner gets one SMS for each"); // part: notify
    if !yes {
        confirm(stage)?;
    }
    shop.announce(&purchase, &notices).await?;
    ui::success(format!(
        "revision {} of the purchase {} is announced again",
        purchase.revision(),
        purchase.id()
    ));
    Ok(())
}

/// Checks that the user can be asked for confirmation, or that the option `--yes` makes this unnecessary.
fn check_consent(yes: bool) -> Result<()> {
    if !yes && !stdin().is_terminal() {
        bail!("cannot ask for confirmation, because standard input is not a terminal: add --yes");
    }
    Ok(())
}

/// What a command line argument names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Term<'a> {
    /// A UUID: the ID of a purchase or the `sub` of a person.
    Uuid(&'a str),
    Owner(Owner<'a>),
    /// A PaymentIntent or a charge of Stripe.
    Payment(&'a str),
}

impl<'a> Term<'a> {
    fn parse(term: &'a str) -> Result<Self> {
        if uuid::Uuid::parse_str(term).is_ok() {
            Ok(Self::Uuid(term))
        } else if term.starts_with("pi_") || term.starts_with("ch_") {
            Ok(Self::Payment(term))
        } else if term.contains('@') {
            Ok(Self::Owner(Owner::Email(term)))
        } else if term.contains(':') {
            Ok(Self::Owner(Owner::Identity(term)))
        } else {
            bail!(
                "cannot search for {term}: pass a purchase's ID, a person's e-mail address, identity ID or sub, or a payment (pi_… or ch_…)"
            )
        }
    }
}

/// Returns the purchases that `term` names, the newest first.
async fn purchases(shop: &Shop, term: &str) -> Result<Vec<Purchase>> {
    let mut found = match Term::parse(term)? {
        Term::Uuid(id) => shop.scan(id).await?,
        Term::Owner(owner) => shop.of(owner).await?,
        Term::Payment(id) => {
            let stripe = Stripe::of(&shop.context.target).await?;
            let payment = stripe.payment_of(id).await?;
            let (user, purchase) = (
                text(&payment, "/metadata/userId"),
                text(&payment, "/metadata/purchaseId"),
            );
            if user.is_empty() || purchase.is_empty() {
                bail!(
                    "the payment {id} does not belong to this shop: its metadata names no purchase"
                );
            }
            shop.purchase(user, purchase).await?.into_iter().collect()
        }
    };
    if found.is_empty() {
        bail!("no purchase found for {term}");
    }
    found.sort_by(|one, other| other.id().cmp(one.id()));
    Ok(found)
}

/// Returns the only purchase that `term` names.
async fn one_purchase(shop: &Shop, term: &str) -> Result<Purchase> {
    let mut found = purchases(shop, term).await?;
    match (found.pop(), found.len()) {
        (Some(purchase), 0) => Ok(purchase),
        (_, others) => bail!(
            "{} found for {term}: list them with cargo xtask shop find, and pass the ID of one",
            ui::count(others + 1, "purchase")
        ),
    }
}
