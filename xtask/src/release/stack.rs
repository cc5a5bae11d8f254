//! Creates, updates and deletes CloudFormation stacks. Also lists the changes that an update of a stack would make,
//! with a change set.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use aws_sdk_cloudformation::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::{
        Capability, ChangeSetStatus, ChangeSetType, ResourceStatus, Stack, StackEvent, StackStatus,
        Tag,
    },
};
use thiserror::Error;
use tokio::time::sleep;
use uuid::Uuid;

use super::{
    change::Change,
    store::Store,
    table::StageName,
    target::Target,
    template::{FINGERPRINT, Template},
};
use crate::ui::Step;

/// The key of a stack's tag whose value is the name of the stage that the stack belongs to.
pub(crate) const STAGE_TAG: &str = "scratchpad:stage";

/// CloudFormation reports that an operation on a stack failed, or it refuses the operation because of the template. A
/// request that failed for another reason, such as throttling or expired credentials, is not a `StackFailed`: the
/// state of the stack is unknown then, and the operation may still succeed.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct StackFailed(pub(crate) String);

const NO_REASON: &str = "CloudFormation gave no reason";

/// A CloudFormation client for the account of a stage. The client tags new stacks with the stage's name.
#[derive(Debug, Clone)]
pub(crate) struct Stacks {
    client: Client,
    poll_interval: Duration,
    store: Store,
    stage: StageName,
    /// Whether new stacks get termination protection.
    protected: bool,
}

impl Stacks {
    /// Creates a client for the target's account. `store` is the account's bucket, which holds the templates.
    pub(crate) fn new(target: &Target, store: &Store) -> Self {
        let poll_interval = if target.account.is_local() { 50 } else { 2000 };
        Self {
            client: Client::new(target.account.config()),
            poll_interval: Duration::from_millis(poll_interval),
            store: store.clone(),
            stage: target.stage.clone(),
            protected: target.row.protected,
        }
    }

    /// Returns all stacks of the account. The keys are the stacks' names.
    ///
    /// # Errors
    /// Fails if the stacks cannot be listed.
    pub(crate) async fn all(&self) -> Result<BTreeMap<String, Stack>> {
        let mut stacks = BTreeMap::new();
        let mut pages = self
            .client
            .describe_stacks()
            .into_paginator()
            .items()
            .send();
        while let Some(stack) = pages.next().await {
            let stack = stack
                .map_err(aws_sdk_cloudformation::Error::from)
                .context("cannot list the stacks")?;
            stacks.extend(stack.stack_name.clone().map(|name| (name, stack)));
        }
        Ok(stacks)
    }

    /// Returns the deployed stacks that have the tag of the stage. The keys are the stacks' names.
    ///
    /// # Errors
    /// Fails if the stacks cannot be listed.
    pub(crate) async fn of_stage(&self) -> Result<BTreeMap<String, Stack>> {
        let mut stacks = self.all().await?;
        stacks.retain(|_, stack| stage_tag(stack) == Some(self.stage.as_ref()));
        Ok(stacks)
    }

    /// Returns the current template of the stack `name`.
    ///
    /// # Errors
    /// Fails if CloudFormation does not return the template, or the template is not JSON.
    pub(crate) async fn template(&self, name: &str) -> Result<Template> {
        let template = self.client.get_template().stack_name(name).send().await;
        let template = template.map_err(aws_sdk_cloudformation::Error::from);
        let template =
            template.with_context(|| format!("cannot read the template of the stack {name}"))?;
        serde_json::from_str(template.template_body().unwrap_or_default())
            .with_context(|| format!("the template of the stack {name} is not JSON"))
    }

    /// Returns the type and the physical ID of each resource of the stack `name`.
    ///
    /// # Errors
    /// Fails if the resources cannot be listed.
    pub(crate) async fn resources(&self, name: &str) -> Result<Vec<(String, String)>> {
        let mut resources = Vec::new();
        let mut pages = self
            .client
            .list_stack_resources()
            .stack_name(name)
            .into_paginator()
            .items()
            .send();
        while let Some(resource) = pages.next().await {
            let resource = resource.map_err(aws_sdk_cloudformation::Error::from);
            let resource = resource
                .with_context(|| format!("cannot list the resources of the stack {name}"))?;
            resources.extend(resource.resource_type.zip(resource.physical_resource_id));
        }
        Ok(resources)
    }

    /// Returns the names of the stacks that import the export with the name `export`.
    ///
    /// # Errors
    /// Fails if the importing stacks cannot be listed.
    pub(crate) async fn importers(&self, export: &str) -> Result<Vec<String>> {
        let mut stacks = Vec::new();
        let mut pages = self
            .client
            .list_imports()
            .export_name(export)
            .into_paginator()
            .items()
            .send();
        while let Some(stack) = pages.next().await {
            match stack {
                Ok(stack) => stacks.push(stack),
                // CloudFormation returns an error if no stack imports the export.
                Err(error)
                    if error.message().is_some_and(|message| {
                        message.contains("is not imported") || message.contains("does not exist")
                    }) =>
                {
                    break;
                }
                Err(error) => {
                    return Err(aws_sdk_cloudformation::Error::from(error)).with_context(|| {
                        format!("cannot list the stacks that import the export {export}")
                    });
                }
            }
        }
        Ok(stacks)
    }

    /// Returns the values of the exports of all stacks of the account. The keys are the exports' names.
    ///
    /// # Errors
    /// Fails if the exports cannot be listed.
    pub(crate) async fn exports(&self) -> Result<BTreeMap<String, String>> {
        let mut exports = BTreeMap::new();
        let mut pages = self.client.list_exports().into_paginator().items().send();
        while let Some(export) = pages.next().await {
            let export = export
                .map_err(aws_sdk_cloudformation::Error::from)
                .context("cannot list the exports")?;
            exports.extend(export.name.zip(export.value));
        }
        Ok(exports)
    }

    /// Creates or updates a stack of the stage, and shows the progress in `step`. Returns false if the stack already
    /// has the template.
    ///
    /// # Errors
    /// Fails if CloudFormation rejects or rolls back the creation or the update of the stack. If resources failed, the
    /// message names them.
    pub(crate) async fn apply(&self, step: &Step, name: &str, template: &Template) -> Result<bool> {
        let url = self.store.template_url(template).await?;
        let source = TemplateSource::Url(url);
        self.apply_from(step, name, &source, &[self.stage_tag()], self.protected)
            .await
    }

    /// Creates or updates a stack that all stages of the account share. The request to CloudFormation contains the
    /// template itself, because the bucket for templates may not exist yet. Returns false if the stack already has the
    /// template.
    ///
    /// # Errors
    /// Fails in the same cases as [`Stacks::apply`].
    pub(crate) async fn apply_account_stack(
        &self,
        step: &Step,
        name: &str,
        template: &Template,
    ) -> Result<bool> {
        let source = TemplateSource::Body(template.body());
        self.apply_from(step, name, &source, &[], false).await
    }

    fn stage_tag(&self) -> Tag {
        let tag = Tag::builder().key(STAGE_TAG);
        tag.value(self.stage.to_string()).build()
    }

    async fn apply_from(
        &self,
        step: &Step,
        name: &str,
        source: &TemplateSource,
        tags: &[Tag],
        protected: bool,
    ) -> Result<bool> {
        let exists = self.settle(step, name).await?;
        let last_event = self.last_event(name).await?;
        if exists {
            if !self.start_update(name, source, tags).await? {
                return Ok(false);
            }
        } else {
            self.start_creation(name, source, tags, protected).await?;
        }
        let status = self.wait(step, name, last_event.as_deref()).await?;
        if matches!(
            status,
            Some(
                StackStatus::CreateComplete
                    | StackStatus::UpdateComplete
                    | StackStatus::UpdateCompleteCleanupInProgress
            )
        ) {
            return Ok(true);
        }
        let failures = self.failures(name, last_event.as_deref()).await?;
        bail!(StackFailed(format!("the stack {name} failed: {failures}")))
    }

    /// Starts an update of the stack `name`. Returns false if the stack already has the template.
    async fn start_update(
        &self,
        name: &str,
        source: &TemplateSource,
        tags: &[Tag],
    ) -> Result<bool> {
        let update = self
            .client
            .update_stack()
            .stack_name(name)
            .set_template_url(source.url())
            .set_template_body(source.body())
            .set_tags(Some(tags.to_vec()))
            .capabilities(Capability::CapabilityNamedIam)
            .client_request_token(Uuid::now_v7().to_string());
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error) if has_message(&error, "No updates are to be performed") => Ok(false),
            Err(error) => Err(aws_sdk_cloudformation::Error::from(error))
                .with_context(|| format!("cannot update the stack {name}")),
        }
    }

    async fn start_creation(
        &self,
        name: &str,
        source: &TemplateSource,
        tags: &[Tag],
        protected: bool,
    ) -> Result<()> {
        let create = self
            .client
            .create_stack()
            .stack_name(name)
            .set_template_url(source.url())
            .set_template_body(source.body())
            .set_tags(Some(tags.to_vec()))
            .enable_termination_protection(protected)
            .capabilities(Capability::CapabilityNamedIam)
            .client_request_token(Uuid::now_v7().to_string());
        create
            .send()
            .await
            .map_err(aws_sdk_cloudformation::Error::from)
            .with_context(|| format!("cannot create the stack {name}"))?;
        Ok(())
    }

    /// Waits until no operation runs on a stack. If the status of the stack prevents updates, continues the
    /// rollback of the stack or deletes the stack. Returns false if the stack does not exist afterwards.
    async fn settle(&self, step: &Step, name: &str) -> Result<bool> {
        loop {
            let last_event = self.last_event(name).await?;
            match self.wait(step, name, last_event.as_deref()).await? {
                None => return Ok(false),
                // The creation or the deletion of the stack failed, so it cannot be updated.
                Some(
                    StackStatus::CreateFailed
                    | StackStatus::RollbackComplete
                    | StackStatus::RollbackFailed
                    | StackStatus::ReviewInProgress
                    | StackStatus::DeleteFailed,
                ) => self.delete(step, name).await?,
                // The stack is complete, but cannot be updated until CloudFormation has deleted the replaced resources.
                Some(StackStatus::UpdateCompleteCleanupInProgress) => {
                    sleep(self.poll_interval).await;
                }
                Some(StackStatus::UpdateRollbackFailed) => {
                    let rollback = self.client.continue_update_rollback().stack_name(name);
                    rollback
                        .send()
                        .await
                        .map_err(aws_sdk_cloudformation::Error::from)
                        .with_context(|| {
                            format!("cannot continue the update rollback of the stack {name}")
                        })?;
                    sleep(self.poll_interval).await;
                }
                Some(_) => return Ok(self.find(name).await?.is_some()),
            }
        }
    }

    /// Disables the termination protection of a stack and deletes the stack. A missing stack is not an error.
    ///
    /// # Errors
    /// Fails if a resource of the stack cannot be deleted. The message contains the resource's logical ID.
    pub(crate) async fn delete(&self, step: &Step, name: &str) -> Result<()> {
        let last_event = self.last_event(name).await?;
        let Some(stack) = self.find(name).await? else {
            return Ok(());
        };
        // CloudFormation finds a deleted stack by its ID, but not by its name.
        let id = stack.stack_id().unwrap_or(name).to_owned();
        if stack.enable_termination_protection() == Some(true) {
            let unprotect = self
                .client
                .update_termination_protection()
                .stack_name(&id)
                .enable_termination_protection(false);
            unprotect
                .send()
                .await
                .map_err(aws_sdk_cloudformation::Error::from)
                .with_context(|| {
                    format!("cannot disable the termination protection of the stack {name}")
                })?;
        }
        let delete = self.client.delete_stack().stack_name(&id).send().await;
        delete
            .map_err(aws_sdk_cloudformation::Error::from)
            .with_context(|| format!("cannot delete the stack {name}"))?;
        match self.wait(step, &id, last_event.as_deref()).await? {
            None | Some(StackStatus::DeleteComplete) => Ok(()),
            Some(_) => {
                let failures = self.failures(&id, last_event.as_deref()).await?;
                bail!(StackFailed(format!(
                    "cannot delete the stack {name}: {failures}"
                )))
            }
        }
    }

    /// Returns the changes that an update of the stack `name` to `template` would make, which it reads from a temporary
    /// change set. If the stack does not exist, returns an addition for each resource of the template.
    ///
    /// # Errors
    /// Fails if CloudFormation cannot create the change set, for example because the template is not valid.
    pub(crate) async fn changes(&self, name: &str, template: &Template) -> Result<Vec<Change>> {
        let exists = self
            .find(name)
            .await?
            .is_some_and(|stack| stack.stack_status != Some(StackStatus::ReviewInProgress));
        if !exists {
            return Ok(Change::between(&Template::default(), template));
        }
        let change_set = format!("scratchpad-{}", Uuid::now_v7());
        let create = self
            .client
            .create_change_set()
            .stack_name(name)
            .change_set_name(&change_set)
            .change_set_type(ChangeSetType::Update)
            .template_url(self.store.template_url(template).await?)
            .tags(self.stage_tag())
            .capabilities(Capability::CapabilityNamedIam);
        create
            .send()
            .await
            .map_err(aws_sdk_cloudformation::Error::from)
            .with_context(|| format!("cannot create a change set of the stack {name}"))?;
        let changes = self.read_change_set(name, &change_set).await?;
        // Ignore a failure, because a change set that is not deleted has no effect.
        self.client
            .delete_change_set()
            .stack_name(name)
            .change_set_name(&change_set)
            .send()
            .await
            .ok();
        changes.map_err(|reason| {
            anyhow::anyhow!("CloudFormation rejects the update of the stack {name}: {reason}")
        })
    }

    /// Waits until CloudFormation has created a change set, and returns the changes in it. The inner error is the
    /// reason why CloudFormation could not create the change set.
    async fn read_change_set(
        &self,
        name: &str,
        change_set: &str,
    ) -> Result<Result<Vec<Change>, String>> {
        let mut changes = Vec::new();
        let mut token = None;
        loop {
            let page = self
                .client
                .describe_change_set()
                .stack_name(name)
                .change_set_name(change_set)
                .set_next_token(token.clone())
                .send()
                .await;
            let page = page
                .map_err(aws_sdk_cloudformation::Error::from)
                .with_context(|| format!("cannot read the change set of the stack {name}"))?;
            match page.status() {
                Some(ChangeSetStatus::CreatePending | ChangeSetStatus::CreateInProgress) => {
                    sleep(self.poll_interval).await;
                    continue;
                }
                Some(ChangeSetStatus::Failed) => {
                    let reason = page.status_reason().unwrap_or(NO_REASON);
                    let is_empty =
                        reason.contains("didn't contain changes") || reason.contains("No updates");
                    return Ok(if is_empty {
                        Ok(changes)
                    } else {
                        Err(reason.to_owned())
                    });
                }
                _ => {}
            }
            let found = page
                .changes()
                .iter()
                .filter_map(|change| change.resource_change());
            changes.extend(found.map(Change::from_change_set));
            token = page.next_token().map(Into::into);
            if token.is_none() {
                return Ok(Ok(changes));
            }
        }
    }

    /// Waits until no operation runs on a stack, and returns the stack's status. While waiting, shows the newest event
    /// of the stack after `last_event` in `step`. Returns `None` if the stack does not exist.
    async fn wait(
        &self,
        step: &Step,
        name: &str,
        last_event: Option<&str>,
    ) -> Result<Option<StackStatus>> {
        loop {
            let status = self.find(name).await?.and_then(|stack| stack.stack_status);
            let Some(status) = status else {
                return Ok(None);
            };
            let in_progress = status.as_str().ends_with("_IN_PROGRESS")
                && !matches!(
                    status,
                    StackStatus::ReviewInProgress | StackStatus::UpdateCompleteCleanupInProgress
                );
            if !in_progress {
                return Ok((status != StackStatus::DeleteComplete).then_some(status));
            }
            if let Some(event) = self.events(name, last_event).await?.first() {
                step.at(format!(
                    "{} {}",
                    event.logical_resource_id().unwrap_or_default(),
                    event
                        .resource_status()
                        .map_or("", ResourceStatus::as_str)
                        .to_lowercase()
                        .replace('_', " ")
                ));
            }
            sleep(self.poll_interval).await;
        }
    }

    /// Returns a text that names each resource of a stack that failed after the event `last_event`, and why it failed.
    async fn failures(&self, name: &str, last_event: Option<&str>) -> Result<String> {
        let events = self.events(name, last_event).await?;
        let failed = events.iter().rev().filter(|event| {
            event
                .resource_status()
                .is_some_and(|status| status.as_str().ends_with("_FAILED"))
        });
        let mut reasons: Vec<String> = failed
            .map(|event| {
                format!(
                    "{} ({}): {}",
                    event.logical_resource_id().unwrap_or_default(),
                    event.resource_type().unwrap_or_default(),
                    event.resource_status_reason().unwrap_or(NO_REASON)
                )
            })
            // CloudFormation cancels a resource because another resource failed, so the canceled one is not the cause.
            .filter(|reason| {
                !reason.ends_with("Resource creation cancelled")
                    && !reason.ends_with("Resource update cancelled")
            })
            .collect();
        reasons.dedup();
        if reasons.is_empty() {
            let stack = self.find(name).await?;
            let reason = stack.and_then(|stack| stack.stack_status_reason);
            reasons.push(reason.unwrap_or_else(|| NO_REASON.into()));
        }
        Ok(reasons.join("; "))
    }

    /// Returns the ID of the latest event of the stack `name`. `None` if the stack does not exist.
    async fn last_event(&self, name: &str) -> Result<Option<String>> {
        match self
            .client
            .describe_stack_events()
            .stack_name(name)
            .send()
            .await
        {
            Ok(events) => Ok(events
                .stack_events()
                .first()
                .and_then(|event| event.event_id.clone())),
            Err(error) if has_message(&error, "does not exist") => Ok(None),
            Err(error) => Err(aws_sdk_cloudformation::Error::from(error))
                .with_context(|| format!("cannot read the events of the stack {name}")),
        }
    }

    /// Returns the events of a stack after the event with the ID `since`, newest first. If `since` is `None`, returns
    /// all events of the stack.
    async fn events(&self, name: &str, since: Option<&str>) -> Result<Vec<StackEvent>> {
        let mut events = Vec::new();
        let mut pages = self
            .client
            .describe_stack_events()
            .stack_name(name)
            .into_paginator()
            .items()
            .send();
        while let Some(event) = pages.next().await {
            match event {
                Ok(event) if since.is_some() && event.event_id() == since => break,
                Ok(event) => events.push(event),
                Err(error) if has_message(&error, "does not exist") => break,
                Err(error) => {
                    return Err(aws_sdk_cloudformation::Error::from(error))
                        .with_context(|| format!("cannot read the events of the stack {name}"));
                }
            }
        }
        Ok(events)
    }

    /// Returns the stack whose name or ID is `name`. `None` if the stack does not exist.
    async fn find(&self, name: &str) -> Result<Option<Stack>> {
        match self.client.describe_stacks().stack_name(name).send().await {
            Ok(stacks) => Ok(stacks.stacks.unwrap_or_default().into_iter().next()),
            Err(error) if has_message(&error, "does not exist") => Ok(None),
            Err(error) => Err(aws_sdk_cloudformation::Error::from(error))
                .with_context(|| format!("cannot describe the stack {name}")),
        }
    }
}

/// How a template is passed to CloudFormation.
enum TemplateSource {
    /// The URL of the S3 object that contains the template.
    Url(String),
    /// The text of the template, which is sent in the request to CloudFormation.
    Body(String),
}

impl TemplateSource {
    fn url(&self) -> Option<String> {
        match self {
            Self::Url(url) => Some(url.clone()),
            Self::Body(_) => None,
        }
    }

    fn body(&self) -> Option<String> {
        match self {
            Self::Url(_) => None,
            Self::Body(body) => Some(body.clone()),
        }
    }
}

fn has_message<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>, text: &str) -> bool {
    error
        .as_service_error()
        .and_then(ProvideErrorMetadata::message)
        .is_some_and(|message| message.contains(text))
}

/// Returns the name of the stage that a stack belongs to. `None` if the stack belongs to no stage.
pub(crate) fn stage_tag(stack: &Stack) -> Option<&str> {
    stack
        .tags()
        .iter()
        .find(|tag| tag.key() == Some(STAGE_TAG))?
        .value()
}

/// Returns the output [`FINGERPRINT`] of a stack. `None` if the stack does not have this output, or its status is
/// not that of a completed creation, update or update rollback.
pub(crate) fn fingerprint(stack: &Stack) -> Option<&str> {
    let is_complete = matches!(
        stack.stack_status(),
        Some(
            StackStatus::CreateComplete
                | StackStatus::UpdateComplete
                | StackStatus::UpdateCompleteCleanupInProgress
                | StackStatus::UpdateRollbackComplete
        )
    );
    let output = stack
        .outputs()
        .iter()
        .find(|output| output.output_key() == Some(FINGERPRINT))?;
    is_complete.then(|| output.output_value())?
}
