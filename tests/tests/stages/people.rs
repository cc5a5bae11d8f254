//! People of a stage, who call its API.

use e2e::stage::{Person, Stage};

use crate::account::Account;

/// Where a stage of an account is, as the scenarios of the deployed product want to know it.
pub(crate) async fn stage(account: &Account, name: &str) -> Stage {
    linked(account, name, name).await
}

/// As [`stage`], for one that links to another's data and people.
pub(crate) async fn linked(account: &Account, name: &str, to: &str) -> Stage {
    let exports = account.exports().await;
    let of = |stage: &str, what: &str| exports[&format!("scratchpad-{stage}-{what}")].clone();
    Stage {
        api_url: format!(
            "{}/_aws/execute-api/{}/{name}",
            account.endpoint,
            of(name, "RestApiId")
        ),
        cloud_url: account.endpoint.clone(),
        region: account.region.clone(),
        user_pool_id: of(to, "UserPoolId"),
        user_pool_client_id: of(to, "UserPoolClientId"),
        identity_pool_id: of(to, "IdentityPoolId"),
        attachments_bucket: of(to, "AttachmentsBucketName"),
        notes_table: of(to, "NotesTableName"),
        purchases_table: of(to, "PurchasesTableName"),
        stripe_url: String::new(),
    }
}

/// Somebody who signed up on a stage of an account.
pub(crate) async fn sign_up<'a>(account: &Account, stage: &'a Stage) -> Person<'a> {
    Person::sign_up_by_owner(stage, &account.signer("cognito-idp")).await
}
