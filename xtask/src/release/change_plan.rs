//! Plans and executes the changes of a stage's stacks, phase by phase. If a stack cannot be created or updated, all
//! stacks that the plan has changed are rolled back.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow, bail};
use aws_sdk_cloudformation::types::Stack;
use futures_util::future::join_all;
use serde_json::Value;

use super::{
    api_gateway,
    change::Change,
    context::StageContext,
    stack::{StackFailed, Stacks, fingerprint, is_created},
    target::Target,
    template::{Template, Templates, phases},
};
use crate::{
    stage::STAGE,
    ui::{self, Step},
};

/// The context that is added to an error after which the state of a stack is unknown.
const UNFINISHED: &str = "the work is not finished; run the same command again to continue";

/// The names of exports that stacks keep until the importing stacks are updated. The keys are the names of the
/// exporting stacks.
type RetainedExports = BTreeMap<String, BTreeSet<String>>;

/// The stacks to create, update and delete so that a stage has the desired templates.
pub(crate) struct ChangePlan {
    /// The new templates of the stacks to create or update.
    changed: Templates,
    /// The current templates of the stacks to delete.
    removed: Templates,
    /// The current templates of the stacks to update or delete.
    current: Templates,
    /// The exports that the new template of a stack no longer has, but that other stacks import until they are updated.
    retained: RetainedExports,
    /// The names of the deployed stacks whose termination protection must change.
    protection: BTreeSet<String>,
    /// The names of all desired stacks, in the order of deployment. The stacks of one phase are deployed concurrently.
    phases: Vec<Vec<String>>,
}

impl ChangePlan {
    /// Compares the deployed stacks of a stage with the desired templates.
    ///
    /// # Errors
    /// Fails if a desired template imports a name that no stack exports, or if the plan removes an export that a stack
    /// would still import after the plan is executed.
    pub(crate) async fn compute(stage: &StageContext, desired: &Templates) -> Result<Self> {
        let deployed = stage.stacks.of_stage().await?;
        check_imports(stage, desired).await?;
        let protection = deployed
            .iter()
            .filter(|(name, stack)| {
                desired.contains_key(*name) && stage.stacks.needs_protection_update(stack)
            })
            .map(|(name, _)| name.clone())
            .collect();
        let mut changed = desired.clone();
        changed.retain(|name, template| {
            deployed.get(name).and_then(fingerprint) != template.fingerprint()
        });
        // A stack whose creation failed counts as new: it has no earlier template to which it could be rolled back.
        let current = current_templates(&stage.stacks, &deployed, |name, stack| {
            !desired.contains_key(name) || changed.contains_key(name) && is_created(stack)
        })
        .await?;
        let mut removed = current.clone();
        removed.retain(|name, _| !desired.contains_key(name));
        let retained = retained_exports(&stage.stacks, desired, &current, &removed).await?;
        Ok(Self {
            changed,
            removed,
            current,
            retained,
            protection,
            phases: phases(desired)?,
        })
    }

    /// Whether the stage already has the desired templates and termination protection.
    pub(crate) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty() && self.protection.is_empty()
    }

    /// The number of stacks to create, update or delete, or whose termination protection must change.
    pub(crate) fn len(&self) -> usize {
        let protection = &self.protection;
        let only_protection = protection
            .iter()
            .filter(|name| !self.changed.contains_key(*name));
        self.changed.len() + self.removed.len() + only_protection.count()
    }

    /// Whether the termination protection of the stack `name` must change.
    pub(crate) fn changes_protection(&self, name: &str) -> bool {
        self.protection.contains(name)
    }

    /// The new templates of the stacks to create or update.
    pub(crate) fn changed(&self) -> &Templates {
        &self.changed
    }

    /// The names of the stacks to delete.
    pub(crate) fn removed(&self) -> impl Iterator<Item = &str> {
        self.removed.keys().map(String::as_str)
    }

    /// The current template of a stack to update or delete. `None` if the stack is new or the plan does not change it.
    pub(crate) fn current(&self, name: &str) -> Option<&Template> {
        self.current.get(name)
    }

    /// Returns the resource changes of each changed or deleted stack, keyed by the stack's name. The changes come from
    /// CloudFormation change sets where possible, or else from a comparison of the templates.
    ///
    /// # Errors
    /// Fails if CloudFormation rejects a change set.
    pub(crate) async fn changes(
        &self,
        stage: &StageContext,
    ) -> Result<BTreeMap<String, Vec<Change>>> {
        let mut changes = BTreeMap::new();
        let exports = stage.stacks.exports().await?;
        for (name, template) in &self.changed {
            // CloudFormation cannot create a change set for a template whose imports do not exist yet.
            let imports_new = template
                .imports()
                .iter()
                .any(|import| !exports.contains_key(*import));
            let found = match self.current.get(name) {
                Some(current) if imports_new => Change::between(current, template),
                _ => stage.stacks.changes(name, template).await?,
            };
            changes.insert(name.clone(), found);
        }
        for (name, template) in &self.removed {
            let found = Change::between(template, &Template::default());
            changes.insert(name.clone(), found);
        }
        Ok(changes)
    }

    /// Checks that the plan deletes no user data. `allowed` has the logical or physical IDs of the resources whose data
    /// may be deleted.
    ///
    /// # Errors
    /// Fails if the plan would replace or delete a table, bucket, user pool or identity pool that is not in `allowed`. The message
    /// says how much data the resource holds.
    pub(crate) async fn check_data_loss(
        &self,
        stage: &StageContext,
        allowed: &[String],
    ) -> Result<()> {
        let mut losses = Vec::new();
        for (name, current) in &self.current {
            for change in self.data_changes(stage, name, current).await? {
                let label = change.label();
                let is_allowed = allowed
                    .iter()
                    .any(|allowed| *allowed == change.id || allowed == label);
                if !change.loses_data() || is_allowed {
                    continue;
                }
                // The physical ID of a resource in a stack that is deleted is not known.
                let table = current.property(&change.id, "TableName");
                let physical = table.and_then(Value::as_str).unwrap_or(label);
                if is_empty(&stage.target, &change, physical).await {
                    continue;
                }
                let content =
                    describe_content(&stage.target, &change.resource_type, physical).await;
                losses.push(format!("{name} would {change}: {content} would be lost"));
            }
        }
        if losses.is_empty() {
            return Ok(());
        }
        let remedy = if stage.target.stage.as_ref() == STAGE {
            "start without data: cargo xtask dev --fresh"
        } else {
            "name each resource with --allow-replacement"
        };
        bail!(
            "{}. Nothing was changed. To lose this data on purpose, {remedy}",
            losses.join("; ")
        )
    }

    /// Returns the changes of all resources of a stack. Returns an empty list if no resource that holds data changes.
    /// `current` is the stack's current template.
    async fn data_changes(
        &self,
        stage: &StageContext,
        name: &str,
        current: &Template,
    ) -> Result<Vec<Change>> {
        let empty = Template::default();
        let changed = self.changed.get(name);
        let after = changed.unwrap_or(&empty).data_resources();
        let is_unchanged = current
            .data_resources()
            .iter()
            .all(|(id, resource)| after.get(id) == Some(resource));
        match changed {
            _ if is_unchanged => Ok(Vec::new()),
            Some(template) => stage.stacks.changes(name, template).await,
            None => Ok(Change::between(current, &empty)),
        }
    }

    /// Creates, updates and deletes the stacks. If CloudFormation reports that a stack failed, rolls back all stacks
    /// that were changed, unless all stacks of the plan are new. If a request to AWS fails, changes nothing more,
    /// because the stacks may still be updated successfully: the next run of the command continues.
    ///
    /// # Errors
    /// Fails with a [`StackFailed`] if a stack cannot be created, updated or deleted. After a failed creation or
    /// update, the message says whether the stage was rolled back. Any other error says that the work is not finished.
    pub(crate) async fn execute(&self, stage: &StageContext) -> Result<()> {
        let (stacks, target) = (&stage.stacks, &stage.target);
        let name = &target.stage;
        let mut applied: Vec<String> = Vec::new();
        let Err(failure) = self.apply(stacks, target, &mut applied).await else {
            return self.finish(stage).await.map_err(unfinished);
        };
        if !failure.is::<StackFailed>() {
            return Err(unfinished(failure));
        }
        if self.current.is_empty() {
            return Err(failure.context(format!(
                "the stage {name} is incomplete: fix the cause and deploy the stage again"
            )));
        }
        ui::failure(&failure);
        let rolled_back = async {
            self.roll_back(stacks, target, &applied).await?;
            api_gateway::deploy_changed(stage).await
        };
        rolled_back
            .await
            .with_context(|| {
                format!(
                    "cannot roll back the stage {name}: some of its stacks have the old release and some the new one; deploy the stage again"
                )
            })?;
        Err(failure.context(format!(
            "the stage {name} was rolled back to its previous release"
        )))
    }

    /// Creates and updates the stacks, phase by phase. Adds to `applied` the name of each stack whose creation or
    /// update was started, also if it failed.
    async fn apply(
        &self,
        stacks: &Stacks,
        target: &Target,
        applied: &mut Vec<String>,
    ) -> Result<()> {
        for phase in &self.phases {
            let changed = phase
                .iter()
                .filter_map(|name| Some((name, self.changed.get(name)?)));
            let updates = changed.map(async |(name, template)| {
                (name, self.apply_one(stacks, target, name, template).await)
            });
            let mut failures = Vec::new();
            for (name, result) in join_all(updates).await {
                applied.push(name.clone());
                failures.extend(result.err());
            }
            if let Some(failure) = combined(failures) {
                return Err(failure);
            }
        }
        // All importers are updated, so the old exports can be removed.
        for name in self.retained.keys() {
            let template = self.changed.get(name).with_context(|| {
                format!(
                    "the plan has no new template for {name}, whose old exports must be removed"
                )
            })?;
            let step = Step::begin(format!(
                "remove the old exports of {}",
                short_name(name, target)
            ));
            stacks.apply(&step, name, template).await?;
            step.done("");
        }
        Ok(())
    }

    /// Creates or updates a stack. The stack keeps old exports that other stacks still import.
    async fn apply_one(
        &self,
        stacks: &Stacks,
        target: &Target,
        name: &str,
        template: &Template,
    ) -> Result<()> {
        let step = Step::begin(short_name(name, target));
        let Some((exports, current)) = self.retained.get(name).zip(self.current.get(name)) else {
            stacks.apply(&step, name, template).await?;
            step.done("");
            return Ok(());
        };
        let exports = exports.iter().map(String::as_str).collect();
        let template = template.with_exports_of(current, &exports);
        stacks.apply(&step, name, &template).await?;
        step.done("with old exports");
        Ok(())
    }

    /// Makes the changes that follow the creations and updates: updates the termination protection, deletes the stacks
    /// that are not needed any more, and deploys the REST API if its deployed snapshot is outdated.
    async fn finish(&self, stage: &StageContext) -> Result<()> {
        for name in &self.protection {
            stage.stacks.update_protection(name).await?;
        }
        for name in phases(&self.removed)?.into_iter().rev().flatten() {
            let step = Step::begin(format!("remove {}", short_name(&name, &stage.target)));
            stage.stacks.delete(&step, &name).await?;
            step.done("");
        }
        api_gateway::deploy_changed(stage).await
    }

    /// Restores the previous templates of the stacks in `applied`, in reverse order. Deletes the stacks in `applied`
    /// that did not exist before the plan was executed.
    async fn roll_back(&self, stacks: &Stacks, target: &Target, applied: &[String]) -> Result<()> {
        for name in applied.iter().rev() {
            let step = Step::begin(format!("roll back {}", short_name(name, target)));
            match self.current.get(name) {
                Some(current) => {
                    stacks.apply(&step, name, current).await?;
                }
                None => stacks.delete(&step, name).await?,
            }
            step.done("");
        }
        Ok(())
    }
}

/// Adds [`UNFINISHED`] to the message of an error, unless the error is a [`StackFailed`].
fn unfinished(error: anyhow::Error) -> anyhow::Error {
    if error.is::<StackFailed>() {
        error
    } else {
        error.context(UNFINISHED)
    }
}

/// Returns one error for the failures of several stacks. It is a [`StackFailed`] if one of them is.
fn combined(failures: Vec<anyhow::Error>) -> Option<anyhow::Error> {
    let has_failed_stack = failures.iter().any(|failure| failure.is::<StackFailed>());
    let all: Vec<String> = failures
        .iter()
        .map(|failure| format!("{failure:#}"))
        .collect();
    let all = all.join("; ");
    (!failures.is_empty()).then(|| {
        if has_failed_stack {
            StackFailed(all).into()
        } else {
            anyhow!(all)
        }
    })
}

/// Checks that each import of the desired templates is an export of a desired template or of a deployed stack.
async fn check_imports(stage: &StageContext, desired: &Templates) -> Result<()> {
    let deployed = stage.stacks.exports().await?;
    let exports: BTreeSet<&str> = desired
        .values()
        .flat_map(Template::exports)
        .chain(deployed.keys().map(String::as_str))
        .collect();
    let imports = desired.values().flat_map(Template::imports);
    let missing: BTreeSet<&str> = imports.filter(|name| !exports.contains(name)).collect();
    if !missing.is_empty() {
        bail!(
            "the stage {} has imports that no stack exports: {}. If the stage uses the infrastructure of another stage, deploy that other stage first",
            stage.target.stage,
            missing.into_iter().collect::<Vec<_>>().join(", ")
        );
    }
    Ok(())
}

/// Returns the current templates of the deployed stacks for which `is_wanted` returns true.
async fn current_templates(
    stacks: &Stacks,
    deployed: &BTreeMap<String, Stack>,
    is_wanted: impl Fn(&str, &Stack) -> bool,
) -> Result<Templates> {
    let mut current = Templates::new();
    for (name, _) in deployed
        .iter()
        .filter(|(name, stack)| is_wanted(name, stack))
    {
        current.insert(name.clone(), stacks.template(name).await?);
    }
    Ok(current)
}

/// Returns the exports that the desired templates no longer have, but that other stacks import until the plan updates
/// or deletes the importing stacks. Fails if a stack would still import such an export after the plan is executed.
async fn retained_exports(
    stacks: &Stacks,
    desired: &Templates,
    current: &Templates,
    removed: &Templates,
) -> Result<RetainedExports> {
    let mut retained = RetainedExports::new();
    for (name, template) in current {
        let new = desired.get(name);
        let exports: BTreeSet<&str> = new.into_iter().flat_map(Template::exports).collect();
        for export in template.exports().filter(|name| !exports.contains(name)) {
            for importer in stacks.importers(export).await? {
                let stops_importing = match desired.get(&importer) {
                    Some(importer) => !importer.imports().contains(export),
                    None => removed.contains_key(&importer),
                };
                if !stops_importing {
                    bail!(
                        "cannot remove the export {export} of the stack {name}, because the stack {importer} imports it: change {importer} first, or in the same deploy"
                    );
                }
                if new.is_some() {
                    let exports = retained.entry(name.clone()).or_default();
                    exports.insert(export.to_owned());
                }
            }
        }
    }
    Ok(retained)
}

/// Returns a stack's name without the prefix `scratchpad-` and without the stage at the end: `notes-api` for
/// `scratchpad-notes-api-dev`.
pub(crate) fn short_name<'a>(name: &'a str, target: &Target) -> &'a str {
    let name = name.strip_prefix("scratchpad-").unwrap_or(name);
    name.strip_suffix(target.stage.as_ref())
        .map_or(name, |name| name.trim_end_matches('-'))
}

/// Whether a change deletes an empty table of the stage `local`. In AWS, the number of items is known only approximately.
async fn is_empty(target: &Target, change: &Change, name: &str) -> bool {
    target.stage.as_ref() == STAGE
        && change.resource_type == "AWS::DynamoDB::Table"
        && item_count(target, name).await == Some(0)
}

/// Returns the number of items of a table. `None` if the table cannot be described.
async fn item_count(target: &Target, table: &str) -> Option<i64> {
    let client = aws_sdk_dynamodb::Client::new(target.account.config());
    let described = client.describe_table().table_name(table).send().await;
    described.ok()?.table?.item_count
}

/// Returns a text that says how much data a table, a bucket or a user pool holds, such as "its 3 items".
async fn describe_content(target: &Target, resource_type: &str, name: &str) -> String {
    match resource_type {
        "AWS::DynamoDB::Table" => match item_count(target, name).await {
            Some(items) => format!("its {items} items"),
            None => "its items".into(),
        },
        "AWS::S3::Bucket" => {
            let objects = target
                .account
                .s3()
                .list_objects_v2()
                .bucket(name)
                .send()
                .await;
            match objects.ok() {
                Some(page) if page.is_truncated() == Some(true) => {
                    "its more than 1000 files".into()
                }
                Some(page) => format!("its {} files", page.key_count().unwrap_or_default()),
                None => "its files".into(),
            }
        }
        "AWS::Cognito::IdentityPool" => {
            "the IDs of its identities, which own all notes and other items,".into()
        }
        _ => "its users".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;
    use crate::release::fake_aws::{Answer, FakeAws, FakeStack, FakeStacks};

    const NAMES: [&str; 2] = ["scratchpad-a-dev", "scratchpad-b-dev"];

    fn templates() -> Templates {
        let template = || serde_json::from_value(json!({"Resources": {"R": {}}})).unwrap();
        let named = NAMES.map(|name| (name.to_owned(), template()));
        named.into_iter().collect()
    }

    /// Returns the stacks of a stage. Their templates differ from [`templates`], because they have no fingerprint.
    fn stacks() -> Arc<Mutex<FakeStacks>> {
        let mut stacks = FakeStacks::default();
        stacks.stacks = NAMES
            .map(|name| FakeStack::new(name, "CREATE_COMPLETE"))
            .into();
        Arc::new(Mutex::new(stacks))
    }

    async fn execute(aws: &FakeAws) -> Result<()> {
        let stage = aws.stage().await;
        let mut changes = ChangePlan::compute(&stage, &templates()).await?;
        // The templates have no fingerprints, so `compute` finds no changes.
        changes.changed = templates();
        for name in NAMES {
            changes.current.insert(name.into(), Template::default());
        }
        changes.execute(&stage).await
    }

    #[tokio::test]
    async fn a_failed_stack_rolls_the_stage_back_but_a_failed_request_does_not() {
        let failing = stacks();
        failing.lock().unwrap().failing.push(NAMES[1].into());
        let mut updates = 0;
        let aws = FakeAws::with_stacks(&failing, move |request, stacks| {
            updates += u32::from(request.action() == "UpdateStack");
            // The rollback succeeds.
            if updates > 2 {
                stacks.failing.clear();
            }
            None
        });
        let error = execute(&aws).await.unwrap_err();
        assert!(error.is::<StackFailed>(), "{error:#}");
        assert!(
            format!("{error:#}").contains("was rolled back"),
            "{error:#}"
        );
        assert_eq!(aws.count("UpdateStack"), 4);

        let mut is_updating = false;
        let aws = FakeAws::with_stacks(&stacks(), move |request, _| {
            is_updating |= request.action() == "UpdateStack";
            let is_query = request.action() == "DescribeStackEvents";
            (is_updating && is_query).then(|| Answer::error("ExpiredToken", "expired"))
        });
        let error = execute(&aws).await.unwrap_err();
        assert!(!error.is::<StackFailed>(), "{error:#}");
        let message = format!("{error:#}");
        assert!(message.contains("run the same command again"), "{message}");
        assert!(message.contains("expired"), "{message}");
        assert!(!message.contains("roll"), "{message}");
    }

    #[tokio::test]
    async fn a_stack_whose_creation_failed_is_new() {
        let stacks = stacks();
        stacks.lock().unwrap().stacks[0].status = "ROLLBACK_COMPLETE".into();
        let aws = FakeAws::with_stacks(&stacks, |_, _| None);
        let mut desired = templates();
        for template in desired.values_mut() {
            *template = template.with_code("new", |_| None);
        }
        let changes = ChangePlan::compute(&aws.stage().await, &desired).await;
        let changes = changes.unwrap();
        assert!(changes.current(NAMES[0]).is_none());
        assert!(changes.current(NAMES[1]).is_some());
    }

    #[tokio::test]
    async fn a_changed_row_changes_the_termination_protection_of_unchanged_stacks() {
        let stacks = stacks();
        let aws = FakeAws::with_stacks(&stacks, |_, _| None);
        let mut stage = aws.stage().await;
        for protected in [true, false] {
            stage.target.row.protected = protected;
            let stage = StageContext::new(&stage.workspace, stage.target.clone());
            let changes = ChangePlan::compute(&stage, &templates()).await.unwrap();
            assert!(changes.changed.is_empty());
            assert!(!changes.is_empty());
            assert_eq!(changes.len(), 2);
            changes.execute(&stage).await.unwrap();
            let changed = stacks.lock().unwrap();
            assert!(
                changed
                    .stacks
                    .iter()
                    .all(|stack| stack.protected == protected)
            );
        }
    }
}
