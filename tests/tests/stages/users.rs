//! Users of a deployed stage, who call its API.

use test_support::stage::{Person, Stage};

use crate::account::Account;

/// Returns the URLs and resources of the stage `name`, from the CloudFormation exports of its
/// stacks.
pub(crate) async fn stage(account: &Account, name: &str) -> Stage {
    linked(account, name, name).await
}

/// Returns the URLs and resources of the stage `name`, which uses the data and the users of the
/// stage `to`.
pub(crate) async fn linked(account: &Account, name: &str, to: &str) -> Stage {
    let exports = account.exports().await;
    let export = |stage: &str, name: &str| exports[&format!("scratchpad-{stage}-{name}")].clone();
    Stage {
        api_url: format!(
            "{}/_aws/execute-api/{}/{name}",
            account.endpoint,
            export(name, "RestApiId")
        ),
        cloud_url: account.endpoint.clone(),
        region: account.region.clone(),
        user_pool_id: export(to, "UserPoolId"),
        user_pool_client_id: export(to, "UserPoolClientId"),
        identity_pool_id: export(to, "IdentityPoolId"),
        attachments_bucket: export(to, "AttachmentsBucketName"),
        notes_table: export(to, "NotesTableName"),
        purchases_table: export(to, "PurchasesTableName"), // part: billing
        stripe_url: String::new(),                         // part: billing
    }
}

/// Signs up a new user on a stage, and signs in the user with the credentials of the AWS account's
/// owner.
pub(crate) async fn sign_up<'a>(account: &Account, stage: &'a Stage) -> Person<'a> {
    Person::sign_up_as_owner(stage, &account.signer("cognito-idp")).await
}
