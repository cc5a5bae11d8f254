//! One CloudFormation stack: made what a template says, shown what that would change, and removed.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use aws_sdk_cloudformation::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::{
        Capability, ChangeAction, ChangeSetStatus, ChangeSetType, Replacement, ResourceChange,
        ResourceStatus, Stack, StackEvent, StackStatus, Tag,
    },
};
use tokio::time::sleep;
use uuid::Uuid;

use super::{
    account::Target,
    store::Store,
    template::{FINGERPRINT, MADE_ONCE, Template, holds_data},
};
use crate::ui::Step;

/// The tag by which a stack is known for one of a stage.
pub(crate) const STAGE_TAG: &str = "scratchpad:stage";

/// The stacks of an account, and how they are changed.
#[derive(Debug, Clone)]
pub(crate) struct Stacks {
    client: Client,
    /// How often is looked whether something has been done.
    pause: Duration,
}

/// What a change set says of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// `add`, `modify`, `replace`, `perhaps replace` or `remove`.
    pub(crate) action: &'static str,
    /// The resource's id in the template.
    pub(crate) id: String,
    /// Its name in the account, if it has one yet.
    pub(crate) name: Option<String>,
    /// What it is.
    pub(crate) kind: String,
    /// What is another about it.
    pub(crate) properties: Vec<String>,
}

impl Change {
    fn of(change: &ResourceChange) -> Self {
        let targets = change.details().iter().filter_map(|detail| detail.target());
        let mut properties: Vec<String> = targets
            .filter_map(|target| {
                Some(
                    target
                        .name()
                        .or(target.attribute().map(|of| of.as_str()))?
                        .to_owned(),
                )
            })
            .collect();
        properties.dedup();
        let kind = change.resource_type().unwrap_or_default();
        let made_once = MADE_ONCE.iter().find(|(known, _)| *known == kind);
        let made_anew = made_once.is_some_and(|(_, once)| {
            properties
                .iter()
                .any(|property| once.contains(&property.as_str()))
        });
        Self {
            action: match (change.action(), change.replacement()) {
                (Some(ChangeAction::Add), _) => "add",
                (Some(ChangeAction::Remove), _) => "remove",
                (_, Some(Replacement::True)) => "replace",
                _ if made_anew => "replace",
                // Of what holds data is known which changes replace it.
                (_, Some(Replacement::Conditional)) if made_once.is_none() => "perhaps replace",
                _ => "modify",
            },
            id: change.logical_resource_id().unwrap_or_default().into(),
            name: change.physical_resource_id().map(Into::into),
            kind: kind.into(),
            properties,
        }
    }

    /// Whether data goes with it.
    pub(crate) fn loses_data(&self) -> bool {
        holds_data(&self.kind) && !["add", "modify"].contains(&self.action)
    }
}

impl Stacks {
    /// The stacks of the target's account.
    pub(crate) fn of(target: &Target) -> Self {
        let pause = Duration::from_millis(if target.account.is_local() { 50 } else { 2000 });
        Self {
            client: Client::new(target.account.config()),
            pause,
        }
    }

    /// All stacks, by name.
    ///
    /// # Errors
    /// When they cannot be listed.
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
                .context("the stacks cannot be listed")?;
            stacks.extend(stack.stack_name.clone().map(|name| (name, stack)));
        }
        Ok(stacks)
    }

    /// The template that a stack was last made from.
    ///
    /// # Errors
    /// When CloudFormation does not give it.
    pub(crate) async fn template(&self, name: &str) -> Result<Template> {
        let template = self.client.get_template().stack_name(name).send().await;
        let template = template.map_err(aws_sdk_cloudformation::Error::from);
        let template =
            template.with_context(|| format!("the template of {name} cannot be read"))?;
        serde_json::from_str(template.template_body().unwrap_or_default())
            .with_context(|| format!("the template of {name} is not one of ours"))
    }

    /// The resources of a stack: type, name in the account.
    ///
    /// # Errors
    /// When they cannot be listed.
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
            let resource =
                resource.with_context(|| format!("the resources of {name} cannot be listed"))?;
            resources.extend(resource.resource_type.zip(resource.physical_resource_id));
        }
        Ok(resources)
    }

    /// The stacks that import what is exported under a name.
    ///
    /// # Errors
    /// When CloudFormation does not say.
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
                // So it says when there are none.
                Err(error)
                    if error.message().is_some_and(|why| {
                        why.contains("is not imported") || why.contains("does not exist")
                    }) =>
                {
                    break;
                }
                Err(error) => {
                    return Err(aws_sdk_cloudformation::Error::from(error))
                        .with_context(|| format!("who imports {export} cannot be listed"));
                }
            }
        }
        Ok(stacks)
    }

    /// What the stacks export, by name.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub(crate) async fn exports(&self) -> Result<BTreeMap<String, String>> {
        let mut exports = BTreeMap::new();
        let mut pages = self.client.list_exports().into_paginator().items().send();
        while let Some(export) = pages.next().await {
            let export = export
                .map_err(aws_sdk_cloudformation::Error::from)
                .context("the exports cannot be listed")?;
            exports.extend(export.name.zip(export.value));
        }
        Ok(exports)
    }

    /// Makes a stack what a template says. Returns whether there was anything to do.
    ///
    /// # Errors
    /// Names the resources that failed, and why. The stack is then as it was before, if it was.
    pub(crate) async fn apply(
        &self,
        step: &Step,
        name: &str,
        template: &Template,
        store: &Store,
        target: &Target,
    ) -> Result<bool> {
        let url = store.template_url(template).await?;
        let tags = [(STAGE_TAG, target.stage.to_string())];
        self.apply_from(step, name, From::Url(&url), &tags, target.row.protected)
            .await
    }

    /// As [`Stacks::apply`], for a template that comes before the bucket for templates.
    ///
    /// # Errors
    /// The same.
    pub(crate) async fn apply_body(
        &self,
        step: &Step,
        name: &str,
        template: &Template,
    ) -> Result<bool> {
        self.apply_from(step, name, From::Body(&template.body()), &[], false)
            .await
    }

    async fn apply_from(
        &self,
        step: &Step,
        name: &str,
        from: From<'_>,
        tags: &[(&str, String)],
        protected: bool,
    ) -> Result<bool> {
        let before = self.settled(step, name).await?;
        let known = self.last_event(name).await?;
        let tags = tags
            .iter()
            .map(|(key, value)| Tag::builder().key(*key).value(value).build())
            .collect();
        let token = Uuid::now_v7().to_string();
        let (url, body) = from.parts();
        if before.is_some() {
            let update = self
                .client
                .update_stack()
                .stack_name(name)
                .set_template_url(url)
                .set_template_body(body)
                .set_tags(Some(tags))
                .capabilities(Capability::CapabilityNamedIam)
                .client_request_token(token);
            match update.send().await {
                Err(error) if says(&error, "No updates are to be performed") => return Ok(false),
                result => {
                    result
                        .map_err(aws_sdk_cloudformation::Error::from)
                        .with_context(|| format!("{name} cannot be updated"))?;
                }
            }
        } else {
            let create = self
                .client
                .create_stack()
                .stack_name(name)
                .set_template_url(url)
                .set_template_body(body)
                .set_tags(Some(tags))
                .enable_termination_protection(protected)
                .capabilities(Capability::CapabilityNamedIam)
                .client_request_token(token);
            create
                .send()
                .await
                .map_err(aws_sdk_cloudformation::Error::from)
                .with_context(|| format!("{name} cannot be created"))?;
        }
        let status = self.watch(step, name, known.as_deref()).await?;
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
        bail!(
            "{name} failed: {}",
            self.failures(name, known.as_deref()).await?
        )
    }

    /// Waits until nobody changes the stack, and rids it of what an earlier failure left, so that it can be
    /// updated, or created when there is none.
    async fn settled(&self, step: &Step, name: &str) -> Result<Option<Stack>> {
        loop {
            let known = self.last_event(name).await?;
            match self.watch(step, name, known.as_deref()).await? {
                None => return Ok(None),
                // These never had what they should have had, and take no update.
                Some(
                    StackStatus::CreateFailed
                    | StackStatus::RollbackComplete
                    | StackStatus::RollbackFailed
                    | StackStatus::ReviewInProgress
                    | StackStatus::DeleteFailed,
                ) => self.delete(step, name).await?,
                // It is what it should be, but takes no update until what it replaced is gone.
                Some(StackStatus::UpdateCompleteCleanupInProgress) => sleep(self.pause).await,
                Some(StackStatus::UpdateRollbackFailed) => {
                    let again = self
                        .client
                        .continue_update_rollback()
                        .stack_name(name)
                        .send()
                        .await;
                    again
                        .map_err(aws_sdk_cloudformation::Error::from)
                        .with_context(|| format!("{name} cannot go back to what it was"))?;
                    sleep(self.pause).await;
                }
                Some(_) => return self.one(name).await,
            }
        }
    }

    /// Removes a stack.
    ///
    /// # Errors
    /// Names the resources that stay, and why.
    pub(crate) async fn delete(&self, step: &Step, name: &str) -> Result<()> {
        let known = self.last_event(name).await?;
        let Some(stack) = self.one(name).await? else {
            return Ok(());
        };
        // By its id it is found when it is gone.
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
                .with_context(|| format!("{name} stays protected"))?;
        }
        let delete = self.client.delete_stack().stack_name(&id).send().await;
        delete
            .map_err(aws_sdk_cloudformation::Error::from)
            .with_context(|| format!("{name} cannot be removed"))?;
        match self.watch(step, &id, known.as_deref()).await? {
            None | Some(StackStatus::DeleteComplete) => Ok(()),
            Some(_) => bail!(
                "{name} cannot be removed: {}",
                self.failures(&id, known.as_deref()).await?
            ),
        }
    }

    /// What making a stack what a template says would change.
    ///
    /// # Errors
    /// When CloudFormation does not say.
    pub(crate) async fn changes(
        &self,
        name: &str,
        template: &Template,
        store: &Store,
        target: &Target,
    ) -> Result<Vec<Change>> {
        let exists = self
            .one(name)
            .await?
            .is_some_and(|stack| stack.stack_status != Some(StackStatus::ReviewInProgress));
        if !exists {
            let added = template.resources().map(|(id, resource)| Change {
                action: "add",
                id: id.into(),
                name: None,
                kind: super::template::kind(resource).into(),
                properties: Vec::new(),
            });
            return Ok(added.collect());
        }
        let set = format!("scratchpad-{}", Uuid::now_v7());
        let create = self
            .client
            .create_change_set()
            .stack_name(name)
            .change_set_name(&set)
            .change_set_type(ChangeSetType::Update)
            .template_url(store.template_url(template).await?)
            .tags(
                Tag::builder()
                    .key(STAGE_TAG)
                    .value(target.stage.to_string())
                    .build(),
            )
            .capabilities(Capability::CapabilityNamedIam);
        create
            .send()
            .await
            .map_err(aws_sdk_cloudformation::Error::from)
            .with_context(|| format!("what would change in {name} cannot be asked"))?;
        let mut changes = Vec::new();
        let mut token = None;
        let outcome = loop {
            let described = self
                .client
                .describe_change_set()
                .stack_name(name)
                .change_set_name(&set)
                .set_next_token(token.clone())
                .send()
                .await;
            let described = described
                .map_err(aws_sdk_cloudformation::Error::from)
                .with_context(|| format!("what would change in {name} cannot be read"))?;
            match described.status() {
                Some(ChangeSetStatus::CreatePending | ChangeSetStatus::CreateInProgress) => {
                    sleep(self.pause).await;
                    continue;
                }
                Some(ChangeSetStatus::Failed) => {
                    let why = described
                        .status_reason()
                        .unwrap_or("CloudFormation does not say why")
                        .to_owned();
                    let nothing =
                        why.contains("didn't contain changes") || why.contains("No updates");
                    break if nothing { Ok(()) } else { Err(why) };
                }
                _ => {}
            }
            let found = described
                .changes()
                .iter()
                .filter_map(|change| change.resource_change());
            changes.extend(found.map(Change::of));
            token = described.next_token().map(Into::into);
            if token.is_none() {
                break Ok(());
            }
        };
        // It has said what it had to say.
        self.client
            .delete_change_set()
            .stack_name(name)
            .change_set_name(&set)
            .send()
            .await
            .ok();
        match outcome {
            Ok(()) => Ok(changes),
            Err(why) => bail!("{name} cannot be changed so: {why}"),
        }
    }

    /// Waits until nothing is being done to a stack any more. None when it is gone.
    async fn watch(
        &self,
        step: &Step,
        name: &str,
        known: Option<&str>,
    ) -> Result<Option<StackStatus>> {
        loop {
            let status = self.one(name).await?.and_then(|stack| stack.stack_status);
            let Some(status) = status else {
                return Ok(None);
            };
            let busy = status.as_str().ends_with("_IN_PROGRESS")
                && !matches!(
                    status,
                    StackStatus::ReviewInProgress | StackStatus::UpdateCompleteCleanupInProgress
                );
            if !busy {
                return Ok((status != StackStatus::DeleteComplete).then_some(status));
            }
            if let Some(event) = self.events(name, known).await?.first() {
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
            sleep(self.pause).await;
        }
    }

    /// Which resources failed since an event, and why.
    async fn failures(&self, name: &str, known: Option<&str>) -> Result<String> {
        let events = self.events(name, known).await?;
        let new = events.iter().rev();
        let failed = new.filter(|event| {
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
                    event
                        .resource_status_reason()
                        .unwrap_or("CloudFormation does not say why")
                )
            })
            // What was under way besides tells nothing.
            .filter(|reason| {
                !reason.ends_with("Resource creation cancelled")
                    && !reason.ends_with("Resource update cancelled")
            })
            .collect();
        reasons.dedup();
        if reasons.is_empty() {
            let stack = self.one(name).await?;
            let reason = stack.and_then(|stack| stack.stack_status_reason);
            reasons.push(reason.unwrap_or_else(|| "CloudFormation does not say why".into()));
        }
        Ok(reasons.join("; "))
    }

    /// The last that has happened to a stack.
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
            Err(error) if says(&error, "does not exist") => Ok(None),
            Err(error) => Err(aws_sdk_cloudformation::Error::from(error))
                .with_context(|| format!("the events of {name} cannot be read")),
        }
    }

    /// What has happened to a stack since an event, the newest first.
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
                Err(error) if says(&error, "does not exist") => break,
                Err(error) => {
                    return Err(aws_sdk_cloudformation::Error::from(error))
                        .with_context(|| format!("the events of {name} cannot be read"));
                }
            }
        }
        Ok(events)
    }

    /// One stack, if there is one.
    ///
    /// # Errors
    /// When CloudFormation does not say.
    pub(crate) async fn one(&self, name: &str) -> Result<Option<Stack>> {
        match self.client.describe_stacks().stack_name(name).send().await {
            Ok(stacks) => Ok(stacks.stacks.unwrap_or_default().into_iter().next()),
            Err(error) if says(&error, "does not exist") => Ok(None),
            Err(error) => Err(aws_sdk_cloudformation::Error::from(error))
                .with_context(|| format!("{name} cannot be looked at")),
        }
    }
}

/// Where CloudFormation takes a template from.
enum From<'a> {
    Url(&'a str),
    Body(&'a str),
}

impl From<'_> {
    fn parts(&self) -> (Option<String>, Option<String>) {
        match self {
            Self::Url(url) => (Some((*url).into()), None),
            Self::Body(body) => (None, Some((*body).into())),
        }
    }
}

fn says<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>, what: &str) -> bool {
    error
        .as_service_error()
        .and_then(ProvideErrorMetadata::message)
        .is_some_and(|message| message.contains(what))
}

/// The stage that a stack is of.
pub(crate) fn stage_of(stack: &Stack) -> Option<&str> {
    stack
        .tags()
        .iter()
        .find(|tag| tag.key() == Some(STAGE_TAG))?
        .value()
}

/// What a stack was made from, if it was made to the end.
pub(crate) fn fingerprint_of(stack: &Stack) -> Option<&str> {
    let whole = matches!(
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
    whole.then(|| output.output_value())?
}
