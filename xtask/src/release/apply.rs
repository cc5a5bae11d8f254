//! A stage made what a release says: phase by phase, and as a whole or not at all.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow, bail};
use aws_sdk_cloudformation::types::Stack;
use futures_util::future::join_all;

use super::{
    account::Target,
    stack::{Change, Stacks, fingerprint_of, stage_of},
    store::Store,
    template::{Template, Templates, holds_data, kind, phases},
};
use crate::{
    stage::STAGE,
    ui::{self, Step},
};

/// What has to be done to make a stage what a release says.
pub(crate) struct Work {
    /// The stacks that are not what they should be, as they should be.
    changed: Templates,
    /// The stacks that should not be, as they are.
    gone: Templates,
    /// What the stacks that are changed or should not be are now.
    earlier: Templates,
    /// Exports that are done without, by the stack that has them, and imported until the importers have moved.
    kept: BTreeMap<String, BTreeSet<String>>,
    /// The order of all.
    phases: Vec<Vec<String>>,
}

/// The stacks of a stage that are deployed.
///
/// # Errors
/// When they cannot be listed.
pub(crate) async fn deployed(stacks: &Stacks, target: &Target) -> Result<BTreeMap<String, Stack>> {
    let mut deployed = stacks.all().await?;
    deployed.retain(|_, stack| stage_of(stack) == Some(target.stage.as_ref()));
    Ok(deployed)
}

impl Work {
    /// Finds out what has to be done.
    ///
    /// # Errors
    /// When it cannot be done: an import that nobody exports, or an export that others go on importing.
    pub(crate) async fn plan(stacks: &Stacks, target: &Target, wanted: &Templates) -> Result<Self> {
        let deployed = deployed(stacks, target).await?;
        let all = stacks.exports().await?;
        let offered: BTreeSet<&str> = wanted
            .values()
            .flat_map(Template::exports)
            .chain(all.keys().map(String::as_str))
            .collect();
        let imported = wanted.values().flat_map(Template::imports);
        let missing: BTreeSet<&str> = imported.filter(|name| !offered.contains(name)).collect();
        if !missing.is_empty() {
            bail!(
                "nobody exports what {} would import: {}. A stage that links to another stage's infrastructure comes after it",
                target.stage,
                missing.into_iter().collect::<Vec<_>>().join(", ")
            );
        }
        let mut changed = wanted.clone();
        changed.retain(|name, template| {
            deployed.get(name).and_then(fingerprint_of) != template.fingerprint()
        });
        let mut earlier = Templates::new();
        let mut gone = Templates::new();
        for name in deployed.keys() {
            let known = wanted.contains_key(name);
            if !known || changed.contains_key(name) {
                let template = stacks.template(name).await?;
                if !known {
                    gone.insert(name.clone(), template.clone());
                }
                earlier.insert(name.clone(), template);
            }
        }
        let mut kept: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, template) in &earlier {
            let still: BTreeSet<&str> = wanted
                .get(name)
                .into_iter()
                .flat_map(Template::exports)
                .collect();
            for export in template.exports().filter(|export| !still.contains(export)) {
                for importer in stacks.importers(export).await? {
                    let moves = match wanted.get(&importer) {
                        Some(importer) => !importer.imports().contains(export),
                        None => gone.contains_key(&importer),
                    };
                    if !moves {
                        bail!(
                            "{name} would not export {export} any more, which {importer} imports: change {importer} first, or with it"
                        );
                    }
                    if wanted.contains_key(name) {
                        kept.entry(name.clone())
                            .or_default()
                            .insert(export.to_owned());
                    }
                }
            }
        }
        Ok(Self {
            changed,
            gone,
            earlier,
            kept,
            phases: phases(wanted)?,
        })
    }

    /// Whether the stage is what it should be.
    pub(crate) fn is_nothing(&self) -> bool {
        self.changed.is_empty() && self.gone.is_empty()
    }

    /// The stacks that would be changed, and as what they should be.
    pub(crate) fn changed(&self) -> &Templates {
        &self.changed
    }

    /// The stacks that would be removed.
    pub(crate) fn gone(&self) -> impl Iterator<Item = &str> {
        self.gone.keys().map(String::as_str)
    }

    /// What a stack is now.
    pub(crate) fn earlier(&self, name: &str) -> Option<&Template> {
        self.earlier.get(name)
    }

    /// What the changes of each stack are, by CloudFormation's own change sets.
    ///
    /// # Errors
    /// When CloudFormation does not say.
    pub(crate) async fn changes(
        &self,
        stacks: &Stacks,
        store: &Store,
        target: &Target,
    ) -> Result<BTreeMap<String, Vec<Change>>> {
        let mut changes = BTreeMap::new();
        let exported = stacks.exports().await?;
        for (name, template) in &self.changed {
            // CloudFormation looks at no template that imports what will come with this release alone.
            let early = template
                .imports()
                .iter()
                .any(|import| !exported.contains_key(*import));
            let found = match self.earlier.get(name) {
                Some(earlier) if early => by_template(earlier, template),
                _ => stacks.changes(name, template, store, target).await?,
            };
            changes.insert(name.clone(), found);
        }
        for (name, template) in &self.gone {
            changes.insert(name.clone(), by_template(template, &Template::default()));
        }
        Ok(changes)
    }

    /// Makes sure that no data is lost, but what is named as allowed.
    ///
    /// # Errors
    /// Names each table, bucket and user pool that would be replaced or removed, and what is in it.
    pub(crate) async fn guard(
        &self,
        stacks: &Stacks,
        store: &Store,
        target: &Target,
        allowed: &[String],
    ) -> Result<()> {
        let mut losses = Vec::new();
        for (name, earlier) in &self.earlier {
            let none = Template::default();
            let template = self.changed.get(name).unwrap_or(&none);
            let after = template.data();
            if earlier
                .data()
                .iter()
                .all(|(id, resource)| after.get(id) == Some(resource))
            {
                continue;
            }
            let changes = match self.changed.contains_key(name) {
                true => stacks.changes(name, template, store, target).await?,
                false => by_template(earlier, &none),
            };
            for change in changes.iter().filter(|change| change.loses_data()) {
                let called = change.name.as_deref().unwrap_or(&change.id);
                if !allowed
                    .iter()
                    .any(|allowed| *allowed == change.id || allowed == called)
                {
                    let content = content(target, &change.kind, called).await;
                    losses.push(format!("{name} would {change}: {content} would be lost"));
                }
            }
        }
        if !losses.is_empty() {
            let how = if target.stage.as_ref() == STAGE {
                "begin with no data, by cargo xtask dev --fresh"
            } else {
                "name each with --allow-replacement"
            };
            bail!(
                "{}. Nothing was changed. If that is what you want, {how}",
                losses.join("; ")
            );
        }
        Ok(())
    }

    /// Does it. If a stack fails, those that are done go back to what they were.
    ///
    /// # Errors
    /// Says what failed, and what the stage is now.
    pub(crate) async fn run(&self, stacks: &Stacks, store: &Store, target: &Target) -> Result<()> {
        let mut done: Vec<String> = Vec::new();
        let result = self.forward(stacks, store, target, &mut done).await;
        let Err(failure) = result else {
            return self.sweep(stacks, target).await;
        };
        if self.earlier.is_empty() {
            return Err(failure.context(format!(
                "{} is not whole yet: deploy it again once this is mended",
                target.stage
            )));
        }
        ui::failure(&failure);
        let back = self.back(stacks, store, target, &done).await;
        back.with_context(|| {
            format!(
                "{} could not go back, and is neither the old nor the new release: deploy it again",
                target.stage
            )
        })?;
        Err(anyhow!(
            "{} runs what it ran before: {failure:#}",
            target.stage
        ))
    }

    async fn forward(
        &self,
        stacks: &Stacks,
        store: &Store,
        target: &Target,
        done: &mut Vec<String>,
    ) -> Result<()> {
        for phase in &self.phases {
            let work = phase
                .iter()
                .filter_map(|name| Some((name, self.changed.get(name)?)));
            let work = work.map(async |(name, template)| {
                let step = Step::begin(short(name, target));
                let kept = self.kept.get(name).zip(self.earlier.get(name));
                let result = match kept {
                    Some((exports, earlier)) => {
                        let exports = exports.iter().map(String::as_str).collect();
                        stacks
                            .apply(
                                &step,
                                name,
                                &template.keeping(&exports, earlier),
                                store,
                                target,
                            )
                            .await
                    }
                    None => stacks.apply(&step, name, template, store, target).await,
                };
                (
                    name,
                    result.map(|_| {
                        step.done(if kept.is_some() {
                            "with its old exports"
                        } else {
                            ""
                        })
                    }),
                )
            });
            let mut failed = Vec::new();
            for (name, result) in join_all(work).await {
                done.push(name.clone());
                failed.extend(result.err());
            }
            let mut failed = failed.into_iter();
            if let Some(first) = failed.next() {
                return Err(failed.fold(first, |all, next| anyhow!("{all:#}; {next:#}")));
            }
        }
        for name in self.kept.keys() {
            let template = self
                .changed
                .get(name)
                .context("what keeps exports is changed")?;
            let step = Step::begin(format!("{} without its old exports", short(name, target)));
            stacks.apply(&step, name, template, store, target).await?;
            step.done("");
        }
        Ok(())
    }

    /// Removes the stacks that should not be. Nothing needs them any more.
    async fn sweep(&self, stacks: &Stacks, target: &Target) -> Result<()> {
        for name in phases(&self.gone)?.into_iter().rev().flatten() {
            let step = Step::begin(format!("remove {}", short(&name, target)));
            stacks.delete(&step, &name).await?;
            step.done("");
        }
        Ok(())
    }

    /// Makes what was changed what it was before, in the other order.
    async fn back(
        &self,
        stacks: &Stacks,
        store: &Store,
        target: &Target,
        done: &[String],
    ) -> Result<()> {
        for name in done.iter().rev() {
            let step = Step::begin(format!("{} goes back", short(name, target)));
            match self.earlier.get(name) {
                Some(earlier) => {
                    stacks.apply(&step, name, earlier, store, target).await?;
                }
                None => stacks.delete(&step, name).await?,
            }
            step.done("");
        }
        Ok(())
    }
}

/// A stack's name without what all have.
pub(crate) fn short<'a>(name: &'a str, target: &Target) -> &'a str {
    let name = name.strip_prefix("scratchpad-").unwrap_or(name);
    name.strip_suffix(target.stage.as_ref())
        .map_or(name, |name| name.trim_end_matches('-'))
}

/// What the templates alone say of a change.
fn by_template(before: &Template, after: &Template) -> Vec<Change> {
    let change = |action, id: &str, resource| Change {
        action,
        id: id.into(),
        name: None,
        kind: kind(resource).into(),
        properties: Vec::new(),
    };
    let mut changes = Vec::new();
    for (id, resource) in after.resources() {
        match before.resource(id) {
            None => changes.push(change("add", id, resource)),
            // A template does not say which changes need another resource.
            Some(before) if before != resource && holds_data(kind(resource)) => {
                changes.push(change("perhaps replace", id, resource));
            }
            Some(before) if before != resource => changes.push(change("modify", id, resource)),
            Some(_) => {}
        }
    }
    let removed = before
        .resources()
        .filter(|(id, _)| after.resource(id).is_none());
    changes.extend(removed.map(|(id, resource)| change("remove", id, resource)));
    changes
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {} ({}",
            self.action,
            self.name.as_deref().unwrap_or(&self.id),
            self.kind
        )?;
        if !self.properties.is_empty() {
            write!(f, ": {}", self.properties.join(", "))?;
        }
        f.write_str(")")
    }
}

/// What is in a table, a bucket or a user pool, in words.
async fn content(target: &Target, kind: &str, name: &str) -> String {
    match kind {
        "AWS::DynamoDB::Table" => {
            let table = aws_sdk_dynamodb::Client::new(target.account.config())
                .describe_table()
                .table_name(name)
                .send()
                .await;
            match table.ok().and_then(|table| table.table?.item_count) {
                Some(items) => format!("its {items} items"),
                None => "its items".into(),
            }
        }
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
        _ => "its users".into(),
    }
}
