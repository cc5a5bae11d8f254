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
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    change::Change,
    store::Store,
    table::StageName,
    target::Target,
    template::{DEPLOYMENT, FINGERPRINT, Template},
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
    poll: Poll,
    store: Store,
    stage: StageName,
    /// Whether the stacks of the stage have termination protection.
    protected: bool,
}

impl Stacks {
    /// Creates a client for the target's account. `store` is the account's bucket, which holds the templates.
    pub(crate) fn new(target: &Target, store: &Store) -> Self {
        Self {
            client: Client::new(target.account.config()),
            poll: if target.account.is_local() {
                Poll::LOCAL
            } else {
                Poll::CLOUD
            },
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
        // A stack that was created by a change set, which was not executed, has no template.
        let body = template.template_body().unwrap_or("{}");
        serde_json::from_str(body)
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
        self.apply_from(
            step,
            name,
            &source,
            &[self.stage_tag()],
            Some(self.protected),
        )
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
        self.apply_from(step, name, &source, &[], None).await
    }

    fn stage_tag(&self) -> Tag {
        let tag = Tag::builder().key(STAGE_TAG);
        tag.value(self.stage.to_string()).build()
    }

    /// `protected` says whether the stack has termination protection afterwards. If it is `None`, an existing stack
    /// keeps its setting, and a new stack has no termination protection.
    async fn apply_from(
        &self,
        step: &Step,
        name: &str,
        source: &TemplateSource,
        tags: &[Tag],
        protected: Option<bool>,
    ) -> Result<bool> {
        for _ in 0..MAX_STARTS {
            let stack = self.settle(step, name).await?;
            let id = stack.as_ref().and_then(Stack::stack_id).unwrap_or(name);
            let mut operation = Operation::new(id, self.last_event(id).await?);
            let started = match &stack {
                Some(stack) => {
                    if let Some(protected) = protected {
                        self.protect(stack, protected).await?;
                    }
                    self.start_update(&operation, name, source, tags).await?
                }
                None => {
                    let protected = protected.unwrap_or(false);
                    self.start_creation(&mut operation, source, tags, protected)
                        .await?
                }
            };
            match started {
                Start::Begun => {}
                Start::Unchanged => return Ok(false),
                Start::Busy => {
                    sleep(self.poll.first).await;
                    continue;
                }
            }
            let status = self.wait_for(step, &operation).await?;
            if matches!(
                status,
                StackStatus::CreateComplete
                    | StackStatus::UpdateComplete
                    | StackStatus::UpdateCompleteCleanupInProgress
            ) {
                return Ok(true);
            }
            let failures = self.failures(&operation).await?;
            bail!(StackFailed(format!("the stack {name} failed: {failures}")));
        }
        bail!("the stack {name} is busy: CloudFormation refuses to update it")
    }

    /// Starts an update of the stack of `operation`, which has the name `name`.
    async fn start_update(
        &self,
        operation: &Operation,
        name: &str,
        source: &TemplateSource,
        tags: &[Tag],
    ) -> Result<Start> {
        let update = self
            .client
            .update_stack()
            .stack_name(&operation.stack)
            .set_template_url(source.url())
            .set_template_body(source.body())
            .set_tags(Some(tags.to_vec()))
            .capabilities(Capability::CapabilityNamedIam)
            .retain_except_on_create(true)
            .client_request_token(&operation.token);
        match update.send().await {
            Ok(_) => Ok(Start::Begun),
            Err(error) => {
                let message = format!("cannot update the stack {name}");
                self.start_after_error(operation, error, message).await
            }
        }
    }

    /// Starts the creation of the stack of `operation`. Replaces the stack's name in `operation` by its ID.
    async fn start_creation(
        &self,
        operation: &mut Operation,
        source: &TemplateSource,
        tags: &[Tag],
        protected: bool,
    ) -> Result<Start> {
        let create = self
            .client
            .create_stack()
            .stack_name(&operation.stack)
            .set_template_url(source.url())
            .set_template_body(source.body())
            .set_tags(Some(tags.to_vec()))
            .enable_termination_protection(protected)
            .capabilities(Capability::CapabilityNamedIam)
            // Otherwise a failed creation leaves named resources behind, and the next attempt cannot create them.
            .retain_except_on_create(true)
            .client_request_token(&operation.token);
        match create.send().await {
            Ok(created) => {
                if let Some(id) = created.stack_id {
                    operation.stack = id;
                }
                Ok(Start::Begun)
            }
            Err(error) => {
                let message = format!("cannot create the stack {}", operation.stack);
                self.start_after_error(operation, error, message).await
            }
        }
    }

    /// Decides what the error of a request that starts `operation` means. The operation may run in spite of the error:
    /// if CloudFormation's response is lost, the SDK sends the request again, and CloudFormation rejects the second
    /// request because the operation of the first one runs.
    ///
    /// # Errors
    /// Fails with a [`StackFailed`] if CloudFormation refuses the operation, for example because the template is not
    /// valid. Fails with another error, with the context `message`, if it is not known whether CloudFormation accepts
    /// the operation.
    async fn start_after_error<E, R>(
        &self,
        operation: &Operation,
        error: SdkError<E, R>,
        message: String,
    ) -> Result<Start>
    where
        E: ProvideErrorMetadata,
        aws_sdk_cloudformation::Error: From<SdkError<E, R>>,
    {
        let code = error.code().unwrap_or_default().to_owned();
        let text = error.message().unwrap_or_default().to_owned();
        let is_answer = error.as_service_error().is_some();
        let error = anyhow::Error::from(aws_sdk_cloudformation::Error::from(error));
        if code.starts_with("TokenAlreadyExists") {
            return Ok(Start::Begun);
        }
        // Events appear with a delay. If CloudFormation did not respond, look several times.
        for attempt in 0..if is_answer { 1 } else { 5 } {
            if attempt > 0 {
                sleep(self.poll.first).await;
            }
            match self.has_begun(operation).await {
                Ok(true) => return Ok(Start::Begun),
                Ok(false) => {}
                // The first error is the cause.
                Err(_) => return Err(error.context(message)),
            }
        }
        if text.contains("No updates are to be performed") {
            return Ok(Start::Unchanged);
        }
        // Another operation runs, or the status that CloudFormation reported before was out of date.
        let is_busy = code.starts_with("AlreadyExists")
            || code == "OperationInProgressException"
            || text.contains(" state and can")
            || text.contains("cannot be deleted while")
            || text.starts_with("Stack ") && text.contains("does not exist");
        if is_busy && !text.contains("TerminationProtection") {
            return Ok(Start::Busy);
        }
        if [
            "ValidationError",
            "InsufficientCapabilities",
            "LimitExceeded",
        ]
        .iter()
        .any(|refusal| code.starts_with(refusal))
        {
            let reason = if text.is_empty() { NO_REASON } else { &text };
            bail!(StackFailed(format!("{message}: {reason}")));
        }
        Err(error.context(message))
    }

    /// Whether the stack's events show that CloudFormation has begun `operation`.
    async fn has_begun(&self, operation: &Operation) -> Result<bool> {
        let events = self.events_of(operation).await?;
        Ok(events.iter().any(|event| operation.owns(event)))
    }

    /// Enables or disables the termination protection of `stack`, unless it has the setting already.
    async fn protect(&self, stack: &Stack, protected: bool) -> Result<()> {
        if is_protected(stack) == protected {
            return Ok(());
        }
        let name = stack.stack_name().unwrap_or_default();
        let update = self
            .client
            .update_termination_protection()
            .stack_name(stack.stack_id().unwrap_or(name))
            .enable_termination_protection(protected);
        update
            .send()
            .await
            .map_err(aws_sdk_cloudformation::Error::from)
            .with_context(|| {
                format!("cannot change the termination protection of the stack {name}")
            })?;
        Ok(())
    }

    /// Enables or disables the termination protection of the stack `name`, as the row of the stage says. A missing
    /// stack is not an error.
    ///
    /// # Errors
    /// Fails if a request to CloudFormation fails.
    pub(crate) async fn update_protection(&self, name: &str) -> Result<()> {
        match self.find(name).await? {
            Some(stack) => self.protect(&stack, self.protected).await,
            None => Ok(()),
        }
    }

    /// Whether the termination protection of a stack of the stage is not what the row of the stage says.
    pub(crate) fn needs_protection_update(&self, stack: &Stack) -> bool {
        is_protected(stack) != self.protected
    }

    /// Waits until no operation runs on any stack of the stage. An earlier command may have been interrupted while
    /// CloudFormation executed an operation that the command had started.
    ///
    /// # Errors
    /// Fails if a request to CloudFormation fails.
    pub(crate) async fn wait_until_idle(&self) -> Result<()> {
        for (name, stack) in self.of_stage().await? {
            if stack.stack_status().is_some_and(is_running) {
                let step = Step::begin(format!("wait for the running operation of {name}"));
                self.wait_idle(&step, &name).await?;
                step.done("");
            }
        }
        Ok(())
    }

    /// Waits until no operation runs on a stack. If the status of the stack prevents updates, continues the
    /// rollback of the stack or deletes the stack. Returns `None` if the stack does not exist afterwards.
    async fn settle(&self, step: &Step, name: &str) -> Result<Option<Stack>> {
        while let Some(stack) = self.wait_idle(step, name).await? {
            match stack.stack_status() {
                // The creation or the deletion of the stack failed, so it cannot be updated.
                Some(
                    StackStatus::CreateFailed
                    | StackStatus::RollbackComplete
                    | StackStatus::RollbackFailed
                    | StackStatus::ReviewInProgress
                    | StackStatus::DeleteFailed,
                ) => {
                    self.delete(step, name).await?;
                    return Ok(None);
                }
                Some(StackStatus::UpdateRollbackFailed) => {
                    self.continue_rollback(step, name, &stack).await?;
                }
                _ => return Ok(Some(stack)),
            }
        }
        Ok(None)
    }

    /// Continues a failed rollback of an update, and waits until the rollback ends.
    async fn continue_rollback(&self, step: &Step, name: &str, stack: &Stack) -> Result<()> {
        let id = stack.stack_id().unwrap_or(name);
        let operation = Operation::new(id, self.last_event(id).await?);
        let message = format!("cannot continue the update rollback of the stack {name}");
        let rollback = self
            .client
            .continue_update_rollback()
            .stack_name(id)
            .client_request_token(&operation.token);
        if let Err(error) = rollback.send().await {
            match self
                .start_after_error(&operation, error, message.clone())
                .await?
            {
                Start::Begun => {}
                // The status was out of date: read it again.
                Start::Unchanged | Start::Busy => {
                    sleep(self.poll.first).await;
                    return Ok(());
                }
            }
        }
        if self.wait_for(step, &operation).await? == StackStatus::UpdateRollbackFailed {
            let failures = self.failures(&operation).await?;
            bail!(StackFailed(format!("{message}: {failures}")));
        }
        Ok(())
    }

    /// Disables the termination protection of a stack and deletes the stack. A missing stack is not an error.
    ///
    /// # Errors
    /// Fails if a resource of the stack cannot be deleted. The message contains the resource's logical ID.
    pub(crate) async fn delete(&self, step: &Step, name: &str) -> Result<()> {
        for _ in 0..MAX_STARTS {
            let Some(stack) = self.wait_idle(step, name).await? else {
                return Ok(());
            };
            self.protect(&stack, false).await?;
            // CloudFormation finds a deleted stack by its ID, but not by its name.
            let id = stack.stack_id().unwrap_or(name);
            let operation = Operation::new(id, self.last_event(id).await?);
            let delete = self
                .client
                .delete_stack()
                .stack_name(id)
                .client_request_token(&operation.token);
            if let Err(error) = delete.send().await {
                let message = format!("cannot delete the stack {name}");
                match self.start_after_error(&operation, error, message).await? {
                    Start::Begun => {}
                    Start::Unchanged | Start::Busy => {
                        sleep(self.poll.first).await;
                        continue;
                    }
                }
            }
            if self.wait_for(step, &operation).await? == StackStatus::DeleteComplete {
                return Ok(());
            }
            let failures = self.failures(&operation).await?;
            bail!(StackFailed(format!(
                "cannot delete the stack {name}: {failures}"
            )));
        }
        bail!("the stack {name} is busy: CloudFormation refuses to delete it")
    }

    /// Returns the changes that an update of the stack `name` to `template` would make. Reads them from a temporary
    /// change set. If the stack does not exist, or must be deleted before it can be updated, returns an addition for
    /// each resource of the template.
    ///
    /// # Errors
    /// Fails if CloudFormation cannot create the change set, for example because the template is not valid.
    pub(crate) async fn changes(&self, name: &str, template: &Template) -> Result<Vec<Change>> {
        let stack = self.find(name).await?;
        match stack.as_ref().and_then(Stack::stack_status) {
            None
            | Some(
                StackStatus::CreateFailed
                | StackStatus::RollbackComplete
                | StackStatus::RollbackFailed
                | StackStatus::ReviewInProgress
                | StackStatus::DeleteFailed
                | StackStatus::DeleteComplete,
            ) => return Ok(Change::between(&Template::default(), template)),
            // CloudFormation accepts no change set in this state.
            Some(StackStatus::UpdateRollbackFailed) => {
                return Ok(Change::between(&self.template(name).await?, template));
            }
            Some(_) => {}
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
            .capabilities(Capability::CapabilityNamedIam)
            .client_token(&change_set);
        match create.send().await {
            Ok(_) => {}
            // The response to an earlier attempt of this request was lost.
            Err(error) if error.code() == Some("AlreadyExistsException") => {}
            Err(error) => {
                return Err(aws_sdk_cloudformation::Error::from(error))
                    .with_context(|| format!("cannot create a change set of the stack {name}"));
            }
        }
        let changes = self.read_change_set(name, &change_set).await;
        // Ignore a failure, because a change set that is not deleted has no effect.
        self.client
            .delete_change_set()
            .stack_name(name)
            .change_set_name(&change_set)
            .send()
            .await
            .ok();
        changes?.map_err(|reason| {
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
        let mut polls = self.poll.start();
        loop {
            let page = self
                .client
                .describe_change_set()
                .stack_name(name)
                .change_set_name(change_set)
                .set_next_token(token.clone())
                .send()
                .await;
            let page = match page {
                Ok(page) => page,
                // A new change set is not visible at once.
                Err(error)
                    if error.code() == Some("ChangeSetNotFound")
                        && polls.elapsed() < self.poll.patience =>
                {
                    polls.wait().await;
                    continue;
                }
                Err(error) => {
                    return Err(aws_sdk_cloudformation::Error::from(error)).with_context(|| {
                        format!("cannot read the change set of the stack {name}")
                    });
                }
            };
            match page.status() {
                Some(ChangeSetStatus::CreatePending | ChangeSetStatus::CreateInProgress) => {
                    polls.wait().await;
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

    /// Waits until no operation and no cleanup runs on a stack, and returns the stack. While waiting, shows the newest
    /// event of the stack in `step`. Returns `None` if the stack does not exist.
    async fn wait_idle(&self, step: &Step, name: &str) -> Result<Option<Stack>> {
        let mut polls = self.poll.start();
        let mut since = None;
        loop {
            let Some(stack) = self.find(name).await? else {
                return Ok(None);
            };
            match stack.stack_status() {
                Some(StackStatus::DeleteComplete) => return Ok(None),
                Some(status) if is_running(status) => {}
                _ => return Ok(Some(stack)),
            }
            if since.is_none() {
                since = self.last_event(name).await?;
            }
            let events = self.events(name, since.as_deref()).await?;
            show(step, events.first());
            polls.wait().await;
        }
    }

    /// Waits until `operation` has ended, and returns the final status of the stack. Shows the newest event in `step`.
    ///
    /// The status that DescribeStacks returns may be older than the operation. So a status is final only if the newest
    /// event of the stack itself reports it too, and the events show that the operation has begun.
    async fn wait_for(&self, step: &Step, operation: &Operation) -> Result<StackStatus> {
        let mut polls = self.poll.start();
        // The time since CloudFormation last reported the stack and the operation.
        let mut unseen = self.poll.start();
        loop {
            let events = self.events_of(operation).await?;
            show(step, events.first());
            let has_begun = events.iter().any(|event| operation.owns(event));
            let reported = events
                .iter()
                .find(|event| is_stack_event(event))
                .and_then(|event| event.resource_status().map(ResourceStatus::as_str));
            let stack = self.find(&operation.stack).await?;
            match stack.and_then(|stack| stack.stack_status) {
                Some(status) if has_begun => {
                    let is_same = reported == Some(status.as_str())
                        || status == StackStatus::UpdateCompleteCleanupInProgress
                            && reported == Some(StackStatus::UpdateComplete.as_str());
                    let is_final = !is_running(&status)
                        || status == StackStatus::UpdateCompleteCleanupInProgress;
                    if is_same && is_final {
                        return Ok(status);
                    }
                    unseen = self.poll.start();
                }
                None if reported == Some(StackStatus::DeleteComplete.as_str()) => {
                    return Ok(StackStatus::DeleteComplete);
                }
                _ if unseen.elapsed() > self.poll.patience => bail!(
                    "CloudFormation accepted an operation on the stack {}, but does not report it",
                    operation.stack
                ),
                _ => {}
            }
            polls.wait().await;
        }
    }

    /// Returns a text that names each resource of a stack that failed during `operation`, and why it failed.
    async fn failures(&self, operation: &Operation) -> Result<String> {
        let events = self.events_of(operation).await?;
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
            let stack = self.find(&operation.stack).await?;
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

    /// Returns the events of the stack of `operation` since the operation was started, newest first.
    async fn events_of(&self, operation: &Operation) -> Result<Vec<StackEvent>> {
        self.events(&operation.stack, operation.since.as_deref())
            .await
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

    /// Whether a part of a REST API in the stack `name` has changed since the time `since`, in seconds since the Unix
    /// epoch. Ignores changes before the start of the stack's newest deployment of the API.
    ///
    /// # Errors
    /// Fails if the events of the stack cannot be read.
    pub(crate) async fn changed_api_since(&self, name: &str, since: i64) -> Result<bool> {
        let mut pages = self
            .client
            .describe_stack_events()
            .stack_name(name)
            .into_paginator()
            .items()
            .send();
        // The newest event is the first one.
        while let Some(event) = pages.next().await {
            let event = event
                .map_err(aws_sdk_cloudformation::Error::from)
                .with_context(|| format!("cannot read the events of the stack {name}"))?;
            if event.timestamp().is_some_and(|time| time.secs() < since) {
                break;
            }
            let kind = event.resource_type().unwrap_or_default();
            let status = event.resource_status().map_or("", ResourceStatus::as_str);
            let is_start = ["CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"].contains(&status);
            if kind == DEPLOYMENT && is_start {
                break;
            }
            let is_part = kind.starts_with("AWS::ApiGateway::")
                && kind != DEPLOYMENT
                && kind != "AWS::ApiGateway::Stage";
            if is_part && status.ends_with("_COMPLETE") {
                return Ok(true);
            }
        }
        Ok(false)
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

/// An operation on a stack, such as its creation or deletion.
struct Operation {
    /// The ID or the name of the stack.
    stack: String,
    /// The token of the request that starts the operation. The events of the operation have it too.
    token: String,
    /// The ID of the last event of the stack before the operation.
    since: Option<String>,
}

impl Operation {
    fn new(stack: &str, since: Option<String>) -> Self {
        Self {
            stack: stack.into(),
            token: Uuid::now_v7().to_string(),
            since,
        }
    }

    /// Whether `event` belongs to this operation.
    fn owns(&self, event: &StackEvent) -> bool {
        event.client_request_token() == Some(self.token.as_str())
    }
}

/// The result of a request that starts an operation on a stack.
enum Start {
    /// CloudFormation executes the operation.
    Begun,
    /// The stack already has the template.
    Unchanged,
    /// Another operation runs on the stack, or the stack has been created or deleted meanwhile.
    Busy,
}

/// The number of attempts to start an operation on a stack that is busy.
const MAX_STARTS: usize = 20;

/// How often the state of a stack is read while an operation runs on it.
#[derive(Debug, Clone, Copy)]
struct Poll {
    /// The first interval. Each interval is longer than the one before, up to `last`.
    first: Duration,
    last: Duration,
    /// How long CloudFormation may take until its responses show an operation that it has accepted.
    patience: Duration,
}

impl Poll {
    const CLOUD: Self = Self {
        first: Duration::from_secs(2),
        last: Duration::from_secs(5),
        patience: Duration::from_secs(300),
    };
    const LOCAL: Self = Self {
        first: Duration::from_millis(50),
        last: Duration::from_millis(50),
        patience: Duration::from_secs(30),
    };

    fn start(self) -> Polls {
        Polls {
            next: self.first,
            last: self.last,
            begin: Instant::now(),
        }
    }
}

/// The pauses of a loop that reads the state of a stack.
struct Polls {
    next: Duration,
    last: Duration,
    begin: Instant,
}

impl Polls {
    fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    async fn wait(&mut self) {
        sleep(self.next).await;
        self.next = (self.next * 6 / 5).min(self.last);
    }
}

/// Whether a status means that an operation runs on the stack.
fn is_running(status: &StackStatus) -> bool {
    status.as_str().ends_with("_IN_PROGRESS") && *status != StackStatus::ReviewInProgress
}

fn is_protected(stack: &Stack) -> bool {
    stack.enable_termination_protection() == Some(true)
}

/// Whether an event reports the status of a stack, and not of one of its resources.
fn is_stack_event(event: &StackEvent) -> bool {
    event.resource_type() == Some("AWS::CloudFormation::Stack")
        && event.physical_resource_id() == event.stack_id()
}

/// Shows the resource and the status of an event in `step`.
fn show(step: &Step, event: Option<&StackEvent>) {
    if let Some(event) = event {
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

/// Whether the creation of a stack has succeeded, or still runs.
pub(crate) fn is_created(stack: &Stack) -> bool {
    !matches!(
        stack.stack_status(),
        Some(
            StackStatus::CreateFailed
                | StackStatus::RollbackComplete
                | StackStatus::RollbackFailed
                | StackStatus::ReviewInProgress
        )
    )
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_smithy_types::date_time::{DateTime, Format};
    use serde_json::json;

    use super::*;
    use crate::release::fake_aws::{Answer, FakeAws, FakeStack, FakeStacks, Request};

    const NAME: &str = "scratchpad-x-dev";

    fn fake(stacks: impl IntoIterator<Item = FakeStack>) -> Arc<Mutex<FakeStacks>> {
        let mut fake = FakeStacks::default();
        fake.stacks.extend(stacks);
        Arc::new(Mutex::new(fake))
    }

    fn client(aws: &FakeAws, protected: bool) -> Stacks {
        let account = aws.account();
        let stage = "dev".parse().unwrap();
        Stacks {
            client: Client::new(account.config()),
            poll: Poll {
                first: Duration::from_millis(1),
                last: Duration::from_millis(1),
                patience: Duration::from_millis(200),
            },
            store: Store::new(&account, &stage),
            stage,
            protected,
        }
    }

    /// Updates the stack [`NAME`] to a template that it does not have yet.
    async fn update(aws: &FakeAws, protected: bool) -> Result<bool> {
        let template = serde_json::from_value(json!({"Resources": {}})).unwrap();
        let step = Step::begin("update");
        client(aws, protected).apply(&step, NAME, &template).await
    }

    async fn delete(aws: &FakeAws) -> Result<()> {
        let step = Step::begin("delete");
        client(aws, false).delete(&step, NAME).await
    }

    /// Returns a fault that loses the response to the first request for the operation `action`.
    fn lose(action: &'static str) -> impl FnMut(&Request, &mut FakeStacks) -> Option<Answer> {
        let mut is_lost = false;
        move |request, stacks| {
            if is_lost || request.action() != action {
                return None;
            }
            is_lost = true;
            stacks.answer(request);
            Some(Answer::Lost)
        }
    }

    #[tokio::test]
    async fn a_failed_creation_or_update_leaves_no_new_resources_behind() {
        let stacks = fake([]);
        let aws = FakeAws::with_stacks(&stacks, |_, _| None);
        assert!(update(&aws, false).await.unwrap());
        stacks.lock().unwrap().stacks[0].template = "other".into();
        assert!(update(&aws, false).await.unwrap());
        for action in ["CreateStack", "UpdateStack"] {
            let requests = aws.requests();
            let request = requests
                .iter()
                .find(|request| request.action() == action)
                .unwrap();
            assert_eq!(request.field("RetainExceptOnCreate"), "true", "{action}");
        }
    }

    #[tokio::test]
    async fn a_status_from_before_an_operation_is_not_its_result() {
        let stacks = fake([FakeStack::new(NAME, "UPDATE_COMPLETE")]);
        let aws = FakeAws::with_stacks(&stacks, |_, _| None);
        stacks.lock().unwrap().stale_polls = 3;
        stacks.lock().unwrap().failing.push(NAME.into());
        let error = update(&aws, false).await.unwrap_err();
        assert!(error.is::<StackFailed>(), "{error:#}");

        stacks.lock().unwrap().failing.clear();
        delete(&aws).await.unwrap();
        assert_eq!(stacks.lock().unwrap().stacks[0].status, "DELETE_COMPLETE");
    }

    #[tokio::test]
    async fn an_operation_whose_response_was_lost_is_awaited() {
        for (action, existing) in [
            ("CreateStack", None),
            ("UpdateStack", Some(FakeStack::new(NAME, "CREATE_COMPLETE"))),
        ] {
            let stacks = fake(existing);
            let aws = FakeAws::with_stacks(&stacks, lose(action));
            assert!(update(&aws, false).await.unwrap(), "{action}");
            assert_eq!(aws.count(action), 2, "the SDK repeats the request");
            let requests = aws.requests();
            let tokens: std::collections::BTreeSet<String> = requests
                .iter()
                .filter(|request| request.action() == action)
                .map(|request| request.field("ClientRequestToken"))
                .collect();
            assert_eq!(tokens.len(), 1, "both requests have the same token");
        }
        let stacks = fake([FakeStack::new(NAME, "CREATE_COMPLETE")]);
        let aws = FakeAws::with_stacks(&stacks, lose("DeleteStack"));
        delete(&aws).await.unwrap();
    }

    #[tokio::test]
    async fn a_throttled_query_is_repeated_and_is_never_a_failed_stack() {
        for (throttled, succeeds) in [(8, true), (usize::MAX, false)] {
            let stacks = fake([FakeStack::new(NAME, "CREATE_COMPLETE")]);
            let mut left = throttled;
            let mut is_updating = false;
            let aws = FakeAws::with_stacks(&stacks, move |request, _| {
                is_updating |= request.action() == "UpdateStack";
                if !is_updating || request.action() != "DescribeStacks" || left == 0 {
                    return None;
                }
                left -= 1;
                Some(Answer::error("Throttling", "Rate exceeded"))
            });
            let result = update(&aws, false).await;
            assert_eq!(result.is_ok(), succeeds, "{result:?}");
            assert!(!result.is_err_and(|error| error.is::<StackFailed>()));
        }
    }

    #[tokio::test]
    async fn expired_credentials_are_not_a_failed_stack_but_a_refused_template_is() {
        for (code, message, is_failed) in [
            ("ExpiredToken", "The security token is expired", false),
            ("AccessDenied", "not authorized", false),
            ("ValidationError", "Template format error", true),
        ] {
            let stacks = fake([FakeStack::new(NAME, "CREATE_COMPLETE")]);
            let aws = FakeAws::with_stacks(&stacks, move |request, _| {
                (request.action() == "UpdateStack").then(|| Answer::error(code, message))
            });
            let error = update(&aws, false).await.unwrap_err();
            assert_eq!(error.is::<StackFailed>(), is_failed, "{error:#}");
            assert!(format!("{error:#}").contains(message), "{error:#}");
        }
    }

    #[tokio::test]
    async fn an_update_changes_termination_protection_in_both_directions() {
        for (before, after) in [(false, true), (true, false)] {
            let mut stack = FakeStack::new(NAME, "CREATE_COMPLETE");
            stack.protected = before;
            let stacks = fake([stack]);
            let aws = FakeAws::with_stacks(&stacks, |_, _| None);
            update(&aws, after).await.unwrap();
            assert_eq!(stacks.lock().unwrap().stacks[0].protected, after);
        }
    }

    #[tokio::test]
    async fn a_rollback_that_fails_again_is_a_failed_stack() {
        let stacks = fake([FakeStack::new(NAME, "UPDATE_ROLLBACK_FAILED")]);
        stacks.lock().unwrap().failing.push(NAME.into());
        let aws = FakeAws::with_stacks(&stacks, |_, _| None);
        let error = update(&aws, false).await.unwrap_err();
        assert!(error.is::<StackFailed>(), "{error:#}");
        assert_eq!(aws.count("ContinueUpdateRollback"), 1);

        stacks.lock().unwrap().failing.clear();
        assert!(update(&aws, false).await.unwrap());
    }

    #[tokio::test]
    async fn an_update_waits_for_an_operation_that_an_interrupted_command_has_started() {
        let stacks = fake([FakeStack::new(NAME, "CREATE_COMPLETE")]);
        let aws = FakeAws::with_stacks(&stacks, |_, _| None);
        let begin = || {
            let mut stacks = stacks.lock().unwrap();
            stacks.begin_foreign(0, "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE");
        };
        begin();
        client(&aws, false).wait_until_idle().await.unwrap();
        assert_eq!(stacks.lock().unwrap().stacks[0].status, "UPDATE_COMPLETE");
        begin();
        // DescribeStacks does not show the running update yet, but UpdateStack is refused because of it.
        stacks.lock().unwrap().stale_polls = 3;
        stacks.lock().unwrap().stacks[0].template = "other".into();
        assert!(update(&aws, false).await.unwrap());
        assert!(aws.count("UpdateStack") > 1);
    }

    #[tokio::test]
    async fn a_change_of_an_api_after_its_deployment_is_found() {
        let (method, deployment) = ("AWS::ApiGateway::Method", DEPLOYMENT);
        let complete = "UPDATE_COMPLETE";
        // The deployed snapshot was created in second 20.
        for (events, changed) in [
            (
                vec![
                    (method, complete, 19),
                    (deployment, "CREATE_IN_PROGRESS", 20),
                ],
                false,
            ),
            // A removed method is deleted after the new deployment was created.
            (
                vec![
                    (deployment, "CREATE_IN_PROGRESS", 20),
                    (method, "DELETE_COMPLETE", 20),
                ],
                true,
            ),
            // The deployment was created after the last change by a request to API Gateway.
            (vec![(method, "DELETE_COMPLETE", 19)], false),
            (vec![("AWS::Lambda::Function", complete, 30)], false),
        ] {
            let mut stack = FakeStack::new(NAME, "UPDATE_COMPLETE");
            for (kind, status, time) in &events {
                stack.resource_event(kind, status, *time);
            }
            let aws = FakeAws::with_stacks(&fake([stack]), |_, _| None);
            let start = DateTime::from_str("2026-01-01T00:00:20Z", Format::DateTime).unwrap();
            let client = client(&aws, false);
            let found = client.changed_api_since(NAME, start.secs()).await;
            assert_eq!(found.unwrap(), changed, "{events:?}");
        }
    }
}
