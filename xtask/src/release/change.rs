//! The change that a stack update makes to one resource.

use std::fmt;

use aws_sdk_cloudformation::types::{ChangeAction, Replacement, ResourceChange};
use serde_json::Value;

use super::template::{REPLACING_PROPERTIES, Template, holds_data, resource_type};

/// What a stack update does to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Creates the resource.
    Add,
    /// Updates the resource in place.
    Modify,
    /// Creates a new resource and deletes the old resource.
    Replace,
    /// Updates or replaces the resource. CloudFormation decides during the update.
    MaybeReplace,
    /// Deletes the resource.
    Remove,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "add",
            Self::Modify => "modify",
            Self::Replace => "replace",
            Self::MaybeReplace => "maybe replace",
            Self::Remove => "remove",
        })
    }
}

/// The change that a stack update makes to one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// What the update does to the resource.
    pub(crate) action: Action,
    /// The resource's logical ID.
    pub(crate) id: String,
    /// The resource's physical ID. `None` if the resource does not exist yet or its physical ID is not known.
    pub(crate) name: Option<String>,
    /// The resource's type, such as `AWS::S3::Bucket`.
    pub(crate) resource_type: String,
    /// The names of the properties that change. Empty if the names are not known.
    pub(crate) properties: Vec<String>,
}

impl Change {
    /// Converts a resource change of a CloudFormation change set.
    pub(crate) fn from_change_set(change: &ResourceChange) -> Self {
        let targets = change.details().iter().filter_map(|detail| detail.target());
        let mut properties: Vec<String> = targets
            .filter_map(|target| {
                let attribute = target.attribute().map(|attribute| attribute.as_str());
                Some(target.name().or(attribute)?.to_owned())
            })
            .collect();
        properties.dedup();
        let kind = change.resource_type().unwrap_or_default();
        let replacing = REPLACING_PROPERTIES
            .iter()
            .find(|(known, _)| *known == kind);
        let is_replaced = replacing.is_some_and(|(_, replacing)| {
            properties
                .iter()
                .any(|property| replacing.contains(&property.as_str()))
        });
        Self {
            action: match (change.action(), change.replacement()) {
                (Some(ChangeAction::Add), _) => Action::Add,
                (Some(ChangeAction::Remove), _) => Action::Remove,
                (_, Some(Replacement::True)) => Action::Replace,
                _ if is_replaced => Action::Replace,
                // For types in REPLACING_PROPERTIES, the condition above has already decided.
                (_, Some(Replacement::Conditional)) if replacing.is_none() => Action::MaybeReplace,
                _ => Action::Modify,
            },
            id: change.logical_resource_id().unwrap_or_default().into(),
            name: change.physical_resource_id().map(Into::into),
            resource_type: kind.into(),
            properties,
        }
    }

    /// Returns the resource changes of an update from the template `before` to the template `after`. Does not call
    /// CloudFormation, so the changes have no physical IDs and no property names.
    pub(crate) fn between(before: &Template, after: &Template) -> Vec<Self> {
        let mut changes = Vec::new();
        for (id, resource) in after.resources() {
            match before.resource(id) {
                None => changes.push(Self::of(Action::Add, id, resource)),
                // A template does not say which changes replace a resource.
                Some(before) if before != resource && holds_data(resource_type(resource)) => {
                    changes.push(Self::of(Action::MaybeReplace, id, resource));
                }
                Some(before) if before != resource => {
                    changes.push(Self::of(Action::Modify, id, resource));
                }
                Some(_) => {}
            }
        }
        let removed = before
            .resources()
            .filter(|(id, _)| after.resource(id).is_none());
        changes.extend(removed.map(|(id, resource)| Self::of(Action::Remove, id, resource)));
        changes
    }

    fn of(action: Action, id: &str, resource: &Value) -> Self {
        Self {
            action,
            id: id.into(),
            name: None,
            resource_type: resource_type(resource).into(),
            properties: Vec::new(),
        }
    }

    /// The resource's physical ID, or its logical ID if the physical ID is not known.
    pub(crate) fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id)
    }

    /// Whether the change deletes user data, or might do so: the replacement or removal of a table, bucket,
    /// user pool or identity pool.
    pub(crate) fn loses_data(&self) -> bool {
        holds_data(&self.resource_type) && !matches!(self.action, Action::Add | Action::Modify)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} ({}",
            self.action,
            self.label(),
            self.resource_type
        )?;
        if !self.properties.is_empty() {
            write!(f, ": {}", self.properties.join(", "))?;
        }
        f.write_str(")")
    }
}
