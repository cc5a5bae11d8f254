//! Templates of stacks: what they give to each other, and what they become when they are released.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// The templates of a stage's stacks, by the stacks' names.
pub(crate) type Templates = BTreeMap<String, Template>;

/// A CloudFormation template.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Template(Value);

/// The output that says what a stack was made from.
pub(crate) const FINGERPRINT: &str = "Fingerprint";

/// What a resource that holds data cannot be given another of: it is replaced. These are the properties that
/// CloudFormation's reference says so of: <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/>
pub(crate) const MADE_ONCE: [(&str, &[&str]); 3] = [
    (
        "AWS::Cognito::UserPool",
        &[
            "AliasAttributes",
            "UsernameAttributes",
            "UsernameConfiguration",
        ],
    ),
    (
        "AWS::DynamoDB::Table",
        &["ImportSourceSpecification", "KeySchema", "TableName"],
    ),
    (
        "AWS::S3::Bucket",
        &["BucketName", "BucketNamePrefix", "BucketNamespace"],
    ),
];

impl Template {
    /// A template as `cdk` or `osls` made it, rid of what differs from one run to the next: the names of the
    /// deployments of the API, which say when they were made, and where osls would put its zips.
    pub(crate) fn synthesised(template: Value) -> Self {
        let mut template = Self(template);
        // The stage's releases are in a bucket of the account.
        let theirs = [
            "ServerlessDeploymentBucket",
            "ServerlessDeploymentBucketPolicy",
        ];
        if let Some(resources) = template.section_mut("Resources") {
            resources.retain(|id, _| !theirs.contains(&id.as_str()));
        }
        if let Some(outputs) = template.section_mut("Outputs") {
            outputs.retain(|id, _| id != "ServerlessDeploymentBucketName");
        }
        for function in template.functions_mut() {
            let zip = function
                .get("Code")
                .and_then(|code| code.get("S3Key")?.as_str()?.rsplit('/').next());
            let code = json!({"S3Key": zip});
            function.insert("Code".into(), code);
        }
        // A deployment holds the API as it is by then: there has to be another whenever the API is another.
        let api: Vec<_> = template
            .resources()
            .filter(|(_, resource)| {
                kind(resource).starts_with("AWS::ApiGateway::") && kind(resource) != DEPLOYMENT
            })
            .collect();
        let api = short_hash(&api);
        template.rename(|id, resource| {
            (kind(resource) == DEPLOYMENT)
                .then(|| format!("{}{api}", id.trim_end_matches(|c: char| c.is_ascii_digit())))
        });
        template
    }

    /// The template with the code of its functions, and with what it was made from.
    pub(crate) fn released(
        &self,
        fingerprint: &str,
        code: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let mut template = self.clone();
        let mut versions = BTreeMap::new();
        let of_function: BTreeMap<String, String> = self
            .functions()
            .map(|(id, name)| (id.to_owned(), name.to_owned()))
            .collect();
        for function in template.functions_mut() {
            let name = function_name(function).and_then(&code);
            if let Some(zip) = name {
                let bucket = json!({"Fn::Sub": "scratchpad-releases-${AWS::AccountId}"});
                function.insert(
                    "Code".into(),
                    json!({"S3Bucket": bucket, "S3Key": artefact_key(&zip)}),
                );
            }
        }
        // A version never changes: other code, or another setting of the function, is another version.
        for (id, resource) in template.resources() {
            let of = resource
                .pointer("/Properties/FunctionName/Ref")
                .and_then(Value::as_str);
            if kind(resource) == "AWS::Lambda::Version"
                && let Some(of) = of
                && of_function.contains_key(of)
            {
                versions.insert(id.to_owned(), short_hash(&template.resource(of)));
            }
        }
        template.rename(|id, _| versions.get(id).map(|hash| format!("{id}{hash}")));
        if let Value::Object(template) = &mut template.0
            && let Value::Object(outputs) = template
                .entry("Outputs")
                .or_insert_with(|| Value::Object(Map::new()))
        {
            outputs.insert(FINGERPRINT.into(), json!({"Value": fingerprint}));
        }
        template
    }

    /// What it was made from, once it is released.
    pub(crate) fn fingerprint(&self) -> Option<&str> {
        self.section("Outputs")?
            .get(FINGERPRINT)?
            .get("Value")?
            .as_str()
    }

    /// A hash of the template.
    pub(crate) fn hash(&self) -> String {
        hash(&self.0)
    }

    /// As CloudFormation takes it.
    pub(crate) fn body(&self) -> String {
        self.0.to_string()
    }

    /// The names of what the stack exports.
    pub(crate) fn exports(&self) -> impl Iterator<Item = &str> {
        let outputs = self.section("Outputs").into_iter().flat_map(Map::values);
        outputs.filter_map(|output| output.pointer("/Export/Name")?.as_str())
    }

    /// The names of what the stack imports.
    pub(crate) fn imports(&self) -> BTreeSet<&str> {
        fn found<'a>(value: &'a Value, names: &mut BTreeSet<&'a str>) {
            match value {
                Value::Object(fields) => {
                    for (name, value) in fields {
                        match (name.as_str(), value.as_str()) {
                            ("Fn::ImportValue", Some(imported)) => {
                                names.insert(imported);
                            }
                            _ => found(value, names),
                        }
                    }
                }
                Value::Array(values) => values.iter().for_each(|value| found(value, names)),
                _ => {}
            }
        }
        let mut names = BTreeSet::new();
        found(&self.0, &mut names);
        names
    }

    /// The Lambda functions in it: the resource's id, and the function's name without the stage's.
    pub(crate) fn functions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.resources().filter_map(|(id, resource)| {
            let properties = resource.get("Properties")?.as_object()?;
            (kind(resource) == FUNCTION).then_some(())?;
            Some((id, function_name(properties)?))
        })
    }

    /// The hashes of the zips that its functions run, once it is released.
    pub(crate) fn artefacts(&self) -> impl Iterator<Item = &str> {
        let functions = self
            .resources()
            .filter(|(_, resource)| kind(resource) == FUNCTION);
        functions.filter_map(|(_, function)| {
            let key = function.pointer("/Properties/Code/S3Key")?.as_str()?;
            key.strip_prefix("artefacts/functions/")?
                .strip_suffix(".zip")
        })
    }

    /// The resources that hold data, by their ids, as they are declared.
    pub(crate) fn data(&self) -> BTreeMap<&str, &Value> {
        self.resources()
            .filter(|(_, resource)| holds_data(kind(resource)))
            .collect()
    }

    /// What differs from another template: a line for each resource and output.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        for (section, what) in [("Resources", ""), ("Outputs", "output ")] {
            let none = Map::new();
            let [before, after] =
                [other, self].map(|template| template.section(section).unwrap_or(&none));
            for (id, resource) in after {
                match before.get(id) {
                    None => differences.push(format!("{what}{id} added")),
                    Some(before) if before != resource => {
                        differences.push(format!("{what}{id} changed"))
                    }
                    Some(_) => {}
                }
            }
            let gone = before.keys().filter(|id| !after.contains_key(*id));
            differences.extend(gone.map(|id| format!("{what}{id} removed")));
        }
        differences.retain(|line| !line.starts_with("output Fingerprint "));
        differences
    }

    /// This template with exports of an earlier one that it does without, and with what they are made of.
    pub(crate) fn keeping(&self, exports: &BTreeSet<&str>, earlier: &Self) -> Self {
        let mut kept = self.clone();
        let mut wanted: Vec<Value> = Vec::new();
        for (id, output) in earlier.section("Outputs").into_iter().flatten() {
            let export = output.pointer("/Export/Name").and_then(Value::as_str);
            if export.is_some_and(|name| exports.contains(name)) {
                // The new template may export another value under the same id.
                let mut id = id.clone();
                while kept
                    .section("Outputs")
                    .is_some_and(|outputs| outputs.contains_key(&id))
                {
                    id += "Kept";
                }
                wanted.push(output.clone());
                if let Some(outputs) = kept.section_mut("Outputs") {
                    outputs.insert(id, output.clone());
                }
            }
        }
        // It is not yet what it should be: whoever finds it so goes on.
        if let Some(made_from) = kept
            .section_mut("Outputs")
            .and_then(|outputs| outputs.get_mut(FINGERPRINT)?.get_mut("Value"))
        {
            *made_from = json!(format!(
                "{} and more",
                made_from.as_str().unwrap_or_default()
            ));
        }
        while let Some(value) = wanted.pop() {
            for id in references(&value) {
                if let Some(resource) = earlier.resource(&id)
                    && kept.resource(&id).is_none()
                    && let Some(resources) = kept.section_mut("Resources")
                {
                    wanted.push(resource.clone());
                    resources.insert(id, resource.clone());
                }
            }
        }
        kept
    }

    /// One resource.
    pub(crate) fn resource(&self, id: &str) -> Option<&Value> {
        self.section("Resources")?.get(id)
    }

    /// All resources, by id.
    pub(crate) fn resources(&self) -> impl Iterator<Item = (&str, &Value)> {
        let resources = self.section("Resources").into_iter().flatten();
        resources.map(|(id, resource)| (id.as_str(), resource))
    }

    fn section(&self, name: &str) -> Option<&Map<String, Value>> {
        self.0.get(name)?.as_object()
    }

    fn section_mut(&mut self, name: &str) -> Option<&mut Map<String, Value>> {
        self.0.get_mut(name)?.as_object_mut()
    }

    fn functions_mut(&mut self) -> impl Iterator<Item = &mut Map<String, Value>> {
        let resources = self
            .section_mut("Resources")
            .into_iter()
            .flat_map(Map::values_mut);
        let functions = resources.filter(|resource| kind(resource) == FUNCTION);
        functions.filter_map(|function| function.get_mut("Properties")?.as_object_mut())
    }

    /// Gives resources other ids, and all that refers to them.
    fn rename(&mut self, new: impl Fn(&str, &Value) -> Option<String>) {
        fn everywhere(value: &mut Value, names: &BTreeMap<String, String>) {
            match value {
                Value::String(text) => {
                    if let Some(name) = names.get(text) {
                        text.clone_from(name);
                    }
                }
                Value::Array(values) => {
                    values.iter_mut().for_each(|value| everywhere(value, names))
                }
                Value::Object(fields) => fields
                    .values_mut()
                    .for_each(|value| everywhere(value, names)),
                _ => {}
            }
        }
        let names: BTreeMap<String, String> = self
            .resources()
            .filter_map(|(id, resource)| Some((id.to_owned(), new(id, resource)?)))
            .collect();
        everywhere(&mut self.0, &names);
        if let Some(resources) = self.section_mut("Resources") {
            *resources = std::mem::take(resources)
                .into_iter()
                .map(|(id, resource)| (names.get(&id).cloned().unwrap_or(id), resource))
                .collect();
        }
    }
}

const DEPLOYMENT: &str = "AWS::ApiGateway::Deployment";
const FUNCTION: &str = "AWS::Lambda::Function";

/// The type of a resource.
pub(crate) fn kind(resource: &Value) -> &str {
    resource
        .get("Type")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Whether resources of a type hold what cannot be made again.
pub(crate) fn holds_data(kind: &str) -> bool {
    MADE_ONCE.iter().any(|(known, _)| *known == kind)
}

/// Where a function's zip is in the account's bucket.
pub(crate) fn artefact_key(hash: &str) -> String {
    format!("artefacts/functions/{hash}.zip")
}

/// The name of a function's crate, by the zip that its manifest names.
fn function_name(properties: &Map<String, Value>) -> Option<&str> {
    properties
        .get("Code")?
        .get("S3Key")?
        .as_str()?
        .strip_suffix(".zip")
}

/// The ids that a value refers to.
fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| match (name.as_str(), value) {
                ("Ref" | "DependsOn", Value::String(id)) => vec![id.clone()],
                ("DependsOn", Value::Array(ids)) => ids
                    .iter()
                    .filter_map(|id| Some(id.as_str()?.to_owned()))
                    .collect(),
                ("Fn::GetAtt", Value::Array(path)) => path
                    .first()
                    .and_then(Value::as_str)
                    .map(str::to_owned)
                    .into_iter()
                    .collect(),
                ("Fn::GetAtt", Value::String(path)) => path
                    .split('.')
                    .next()
                    .map(str::to_owned)
                    .into_iter()
                    .collect(),
                ("Fn::Sub", Value::String(text)) => text
                    .split("${")
                    .skip(1)
                    .filter_map(|rest| Some(rest.split_once('}')?.0.split('.').next()?.to_owned()))
                    .collect(),
                _ => references(value),
            })
            .collect(),
        Value::Array(values) => values.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// A hash of a value as JSON.
pub(crate) fn hash(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).unwrap_or_default();
    Sha256::digest(json)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Enough of a hash to tell apart what is of one kind.
pub(crate) fn short_hash(value: &impl Serialize) -> String {
    hash(value).chars().take(12).collect()
}

/// The stacks in phases: each is in a later one than those that export what it imports. What none of them exports
/// is there already.
///
/// # Errors
/// Names the stacks that import from each other in a circle.
pub(crate) fn phases(templates: &Templates) -> Result<Vec<Vec<String>>> {
    let exporters: BTreeMap<&str, &str> = templates
        .iter()
        .flat_map(|(stack, template)| template.exports().map(move |name| (name, stack.as_str())))
        .collect();
    let mut needs: BTreeMap<&str, BTreeSet<&str>> = templates
        .iter()
        .map(|(stack, template)| {
            let imported = template.imports().into_iter();
            let from = imported.filter_map(|name| exporters.get(name).copied());
            (
                stack.as_str(),
                from.filter(|other| other != stack).collect(),
            )
        })
        .collect();
    let mut phases = Vec::new();
    while !needs.is_empty() {
        let ready = needs.iter().filter(|(_, needs)| needs.is_empty());
        let phase: Vec<&str> = ready.map(|(stack, _)| *stack).collect();
        if phase.is_empty() {
            let circle: Vec<_> = needs.into_keys().collect();
            bail!("these stacks import from each other: {}", circle.join(", "));
        }
        needs.retain(|stack, _| !phase.contains(stack));
        for needs in needs.values_mut() {
            needs.retain(|stack| !phase.contains(stack));
        }
        phases.push(phase.into_iter().map(str::to_owned).collect());
    }
    Ok(phases)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(exports: &[&str], imports: &[&str]) -> Template {
        let outputs = exports.iter().map(|name| {
            (
                (*name).to_owned(),
                json!({"Value": {"Ref": name}, "Export": {"Name": name}}),
            )
        });
        let resources = imports
            .iter()
            .map(|name| ((*name).to_owned(), json!({"Fn::ImportValue": name})));
        Template(json!({
            "Outputs": outputs.collect::<Map<_, _>>(),
            "Resources": resources.collect::<Map<_, _>>(),
        }))
    }

    #[test]
    fn what_is_imported_is_deployed_before_and_what_can_be_at_once_is() {
        let stacks = BTreeMap::from([
            ("a".to_owned(), template(&[], &["Topic", "Table"])),
            ("b".to_owned(), template(&["Topic"], &["Api"])),
            ("c".to_owned(), template(&["Api"], &["Table"])),
            ("d".to_owned(), template(&[], &["Api"])),
        ]);
        assert_eq!(
            phases(&stacks).unwrap(),
            [vec!["c"], vec!["b", "d"], vec!["a"]]
        );
    }

    #[test]
    fn a_circle_is_named() {
        let stacks = BTreeMap::from([
            ("a".to_owned(), template(&["A"], &["B"])),
            ("b".to_owned(), template(&["B"], &["A"])),
            ("c".to_owned(), template(&[], &[])),
        ]);
        let error = phases(&stacks).unwrap_err().to_string();
        assert!(error.ends_with("a, b"), "{error}");
    }

    fn made_by_osls(when: &str, path: &str) -> Template {
        Template::synthesised(json!({
            "Resources": {
                "ServerlessDeploymentBucket": {"Type": "AWS::S3::Bucket"},
                format!("ApiGatewayDeployment{when}"): {"Type": DEPLOYMENT, "DependsOn": ["Method"]},
                "Method": {"Type": "AWS::ApiGateway::Method", "Properties": {"Path": path}},
                "Plan": {"Type": "X", "Properties": {"Of": {"Ref": format!("ApiGatewayDeployment{when}")}}},
                "GetLambdaFunction": {"Type": FUNCTION, "Properties": {"Code": {"S3Key": format!("serverless/{when}/get.zip")}}},
                "GetVersion": {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "GetLambdaFunction"}}},
                "GetAlias": {"Type": "Y", "Properties": {"Of": {"Fn::GetAtt": ["GetVersion", "Version"]}}},
            },
            "Outputs": {"ServerlessDeploymentBucketName": {"Value": {"Ref": "ServerlessDeploymentBucket"}}},
        }))
    }

    #[test]
    fn the_same_manifests_make_the_same_template_whenever_they_do() {
        assert_eq!(made_by_osls("1763", "/a"), made_by_osls("1764", "/a"));
        let [before, after] = ["/a", "/b"].map(|path| made_by_osls("1763", path));
        let deployment = |template: &Template| {
            template
                .resources()
                .find(|(_, resource)| kind(resource) == DEPLOYMENT)
                .unwrap()
                .0
                .to_owned()
        };
        assert_ne!(
            deployment(&before),
            deployment(&after),
            "the API is another"
        );
        assert_eq!(
            after
                .resource("Plan")
                .unwrap()
                .pointer("/Properties/Of/Ref")
                .unwrap(),
            &deployment(&after)
        );
        assert!(before.data().is_empty(), "the bucket of osls is left out");
    }

    #[test]
    fn other_code_is_another_version_and_all_else_stays() {
        let template = made_by_osls("1763", "/a");
        let [one, same, other] =
            ["1", "1", "2"].map(|zip| template.released("f", |_| Some(zip.into())));
        assert_eq!(one, same);
        let changed = other.differences(&one);
        assert_eq!(changed.len(), 4, "{changed:?}");
        assert!(changed.contains(&"GetLambdaFunction changed".to_owned()));
        assert!(changed.contains(&"GetAlias changed".to_owned()));
        assert_eq!(
            changed
                .iter()
                .filter(|line| line.starts_with("GetVersion"))
                .count(),
            2
        );
    }

    #[test]
    fn an_export_that_is_kept_keeps_what_it_is_made_of() {
        let earlier = Template(json!({
            "Resources": {
                "Old": {"Type": "T", "Properties": {"Role": {"Fn::GetAtt": ["Role", "Arn"]}}},
                "Role": {"Type": "R"},
                "Unused": {"Type": "U"},
            },
            "Outputs": {"Name": {"Value": {"Fn::Sub": "${Old}-x"}, "Export": {"Name": "OldName"}}},
        }));
        let new = Template(json!({
            "Resources": {"New": {"Type": "T"}},
            "Outputs": {
                "Name": {"Value": {"Ref": "New"}, "Export": {"Name": "NewName"}},
                FINGERPRINT: {"Value": "new"},
            },
        }));
        let kept = new.keeping(&BTreeSet::from(["OldName"]), &earlier);
        assert_eq!(
            kept.exports().collect::<BTreeSet<_>>(),
            BTreeSet::from(["NewName", "OldName"])
        );
        let ids: Vec<_> = kept.resources().map(|(id, _)| id).collect();
        assert_eq!(ids, ["New", "Old", "Role"]);
        assert_ne!(
            kept.fingerprint(),
            new.fingerprint(),
            "it is on the way yet"
        );
    }
}
