//! CloudFormation templates. This module normalizes synthesized templates, writes the S3 keys of function zips into
//! templates, finds the exports and imports of a template, and orders stacks for a deployment.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    hash::{sha256, short_json_hash},
    table::StageName,
};

/// The templates of a stage or of an account. The keys are the stacks' names.
pub(crate) type Templates = BTreeMap<String, Template>;

/// A CloudFormation template as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Template(Value);

/// The logical ID of a template's output whose value is a hash of the template and of the sources of its functions. A
/// stack needs no update if this output already has the value that the new template has.
pub(crate) const FINGERPRINT: &str = "Fingerprint";

/// The types of resources that hold user data. Each type has a list of the properties whose change makes CloudFormation
/// replace the resource ("Update requires: Replacement"):
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/>
pub(crate) const REPLACING_PROPERTIES: [(&str, &[&str]); 4] = [
    // The IDs of a pool's identities are the owners of all notes. No property replaces the pool.
    ("AWS::Cognito::IdentityPool", &[]),
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
    /// Normalizes a template that `cdk` or `osls` wrote, so that the same inputs always give the same template. Removes
    /// the deployment bucket of osls, and the timestamps in the S3 keys of zips and in the logical IDs of API
    /// deployments.
    pub(crate) fn synthesized(template: Value) -> Self {
        let mut template = Self(template);
        // The zips are in the account's bucket of releases, so the deployment bucket is not needed.
        let deployment_bucket = [
            "ServerlessDeploymentBucket",
            "ServerlessDeploymentBucketPolicy",
        ];
        if let Some(resources) = template.section_mut("Resources") {
            resources.retain(|id, _| !deployment_bucket.contains(&id.as_str()));
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
        // An API deployment is a snapshot of the API, so a changed API needs a new deployment with another logical ID.
        let api: Vec<_> = template
            .resources()
            .filter(|(_, resource)| {
                let kind = resource_type(resource);
                kind.starts_with("AWS::ApiGateway::") && kind != DEPLOYMENT
            })
            .collect();
        let api = short_json_hash(&api);
        template.rename(|id, resource| {
            (resource_type(resource) == DEPLOYMENT)
                .then(|| format!("{}{api}", id.trim_end_matches(|c: char| c.is_ascii_digit())))
        });
        template
    }

    /// Returns a copy of the template in which each function has the S3 key of its zip, and the output [`FINGERPRINT`]
    /// has the value `fingerprint`. `zip` returns the S3 key of the zip of a function: see [`function_key`]. If it
    /// returns `None`, the code of the function is not changed.
    pub(crate) fn with_code(
        &self,
        fingerprint: &str,
        zip: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let mut template = self.clone();
        let mut versions = BTreeMap::new();
        let functions: BTreeSet<&str> = self.functions().map(|(id, _)| id).collect();
        for function in template.functions_mut() {
            if let Some(key) = function_name(function).and_then(&zip) {
                let bucket = json!({"Fn::Sub": "scratchpad-releases-${AWS::AccountId}"});
                function.insert("Code".into(), json!({"S3Bucket": bucket, "S3Key": key}));
            }
        }
        // A Lambda version is immutable, so changed code or configuration of a function needs a new version. Lambda
        // refuses a new version if only other properties have changed.
        for (id, resource) in template.resources() {
            let function = resource
                .pointer("/Properties/FunctionName/Ref")
                .and_then(Value::as_str);
            if resource_type(resource) == "AWS::Lambda::Version"
                && let Some(function) = function
                && functions.contains(function)
            {
                let locked: BTreeMap<&str, Option<&Value>> = VERSION_LOCKED
                    .iter()
                    .map(|name| (*name, template.property(function, name)))
                    .collect();
                let hash = short_json_hash(&locked);
                versions.insert(id.to_owned(), hash);
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

    /// Returns the value of the output [`FINGERPRINT`]. `None` if the template does not have this output.
    pub(crate) fn fingerprint(&self) -> Option<&str> {
        self.section("Outputs")?
            .get(FINGERPRINT)?
            .get("Value")?
            .as_str()
    }

    /// The SHA-256 hash of [`Template::body`].
    pub(crate) fn hash(&self) -> String {
        sha256(self.body())
    }

    /// Returns the template as JSON text.
    pub(crate) fn body(&self) -> String {
        self.0.to_string()
    }

    /// Returns the names of the exports that the template declares.
    pub(crate) fn exports(&self) -> impl Iterator<Item = &str> {
        let outputs = self.section("Outputs").into_iter().flat_map(Map::values);
        outputs.filter_map(|output| output.pointer("/Export/Name")?.as_str())
    }

    /// Returns the names of the exports of other stacks that the template imports.
    pub(crate) fn imports(&self) -> BTreeSet<&str> {
        fn collect<'a>(value: &'a Value, names: &mut BTreeSet<&'a str>) {
            match value {
                Value::Object(fields) => {
                    for (name, value) in fields {
                        match (name.as_str(), value.as_str()) {
                            ("Fn::ImportValue", Some(imported)) => {
                                names.insert(imported);
                            }
                            _ => collect(value, names),
                        }
                    }
                }
                Value::Array(values) => values.iter().for_each(|value| collect(value, names)),
                _ => {}
            }
        }
        let mut names = BTreeSet::new();
        collect(&self.0, &mut names);
        names
    }

    /// Returns the logical ID of each Lambda function in a synthesized template, and the name of the function's crate.
    pub(crate) fn functions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.resources().filter_map(|(id, resource)| {
            let properties = resource.get("Properties")?.as_object()?;
            (resource_type(resource) == FUNCTION).then_some(())?;
            Some((id, function_name(properties)?))
        })
    }

    /// Returns the S3 keys of the function zips in a template that [`Template::with_code`] returned.
    pub(crate) fn zip_keys(&self) -> impl Iterator<Item = &str> {
        let functions = self
            .resources()
            .filter(|(_, resource)| resource_type(resource) == FUNCTION);
        functions.filter_map(|(_, function)| function.pointer("/Properties/Code/S3Key")?.as_str())
    }

    /// Returns the hashes of the function zips in a template that [`Template::with_code`] returned.
    pub(crate) fn artifacts(&self) -> impl Iterator<Item = &str> {
        self.zip_keys().filter_map(|key| {
            let (_, name) = key.split_once('/')?;
            name.strip_prefix(FUNCTIONS_PREFIX)?.strip_suffix(".zip")
        })
    }

    /// Returns the declarations of the resources that hold user data. The keys are the resources' logical IDs.
    pub(crate) fn data_resources(&self) -> BTreeMap<&str, &Value> {
        self.resources()
            .filter(|(_, resource)| holds_data(resource_type(resource)))
            .collect()
    }

    /// Returns one line of text for each resource and output that was added, changed or removed since the template
    /// `earlier`. Ignores the output [`FINGERPRINT`].
    pub(crate) fn differences(&self, earlier: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        for (section, label) in [("Resources", ""), ("Outputs", "output ")] {
            let none = Map::new();
            let [before, after] =
                [earlier, self].map(|template| template.section(section).unwrap_or(&none));
            for (id, resource) in after {
                match before.get(id) {
                    None => differences.push(format!("{label}{id} added")),
                    Some(before) if before != resource => {
                        differences.push(format!("{label}{id} changed"))
                    }
                    Some(_) => {}
                }
            }
            let removed = before.keys().filter(|id| !after.contains_key(*id));
            differences.extend(removed.map(|id| format!("{label}{id} removed")));
        }
        let fingerprint = format!("output {FINGERPRINT} ");
        differences.retain(|line| !line.starts_with(&fingerprint));
        differences
    }

    /// Returns a copy of this template to which the given exports of the template `earlier` are added, together with
    /// the resources that these exports refer to. Other stacks can then import the old exports until these stacks are
    /// updated.
    pub(crate) fn with_exports_of(&self, earlier: &Self, exports: &BTreeSet<&str>) -> Self {
        let mut merged = self.clone();
        let mut values: Vec<Value> = Vec::new();
        for (id, output) in earlier.section("Outputs").into_iter().flatten() {
            let export = output.pointer("/Export/Name").and_then(Value::as_str);
            if export.is_some_and(|name| exports.contains(name))
                && let Some(outputs) = merged.section_mut("Outputs")
            {
                // The new template may use the same logical ID for another export.
                let mut id = id.clone();
                while outputs.contains_key(&id) {
                    id += "Kept";
                }
                values.push(output.clone());
                outputs.insert(id, output.clone());
            }
        }
        // Change the fingerprint, because this is not the final template of the stack: if the deploy is interrupted, a
        // later deploy must find a difference and continue.
        if let Some(fingerprint) = merged
            .section_mut("Outputs")
            .and_then(|outputs| outputs.get_mut(FINGERPRINT)?.get_mut("Value"))
        {
            let text = fingerprint.as_str().unwrap_or_default();
            *fingerprint = json!(format!("{text} with old exports"));
        }
        while let Some(value) = values.pop() {
            for id in references(&value) {
                if let Some(resource) = earlier.resource(&id)
                    && merged.resource(&id).is_none()
                    && let Some(resources) = merged.section_mut("Resources")
                {
                    values.push(resource.clone());
                    resources.insert(id, resource.clone());
                }
            }
        }
        merged
    }

    /// Returns the declaration of the resource with the logical ID `id`. `None` if the template has no such resource.
    pub(crate) fn resource(&self, id: &str) -> Option<&Value> {
        self.section("Resources")?.get(id)
    }

    /// Returns the property `name` of the resource with the logical ID `id`.
    pub(crate) fn property(&self, id: &str, name: &str) -> Option<&Value> {
        self.resource(id)?.get("Properties")?.get(name)
    }

    /// Returns the logical ID and the declaration of each resource.
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
        let functions = resources.filter(|resource| resource_type(resource) == FUNCTION);
        functions.filter_map(|function| function.get_mut("Properties")?.as_object_mut())
    }

    /// Changes the logical IDs of resources, and all references to these resources. `new_id` returns the new ID of a
    /// resource, or `None` if the ID does not change.
    fn rename(&mut self, new_id: impl Fn(&str, &Value) -> Option<String>) {
        fn replace(value: &mut Value, names: &BTreeMap<String, String>) {
            match value {
                Value::String(text) => {
                    if let Some(name) = names.get(text) {
                        text.clone_from(name);
                    }
                }
                Value::Array(values) => values.iter_mut().for_each(|value| replace(value, names)),
                Value::Object(fields) => {
                    fields.values_mut().for_each(|value| replace(value, names))
                }
                _ => {}
            }
        }
        let names: BTreeMap<String, String> = self
            .resources()
            .filter_map(|(id, resource)| Some((id.to_owned(), new_id(id, resource)?)))
            .collect();
        replace(&mut self.0, &names);
        if let Some(resources) = self.section_mut("Resources") {
            *resources = std::mem::take(resources)
                .into_iter()
                .map(|(id, resource)| (names.get(&id).cloned().unwrap_or(id), resource))
                .collect();
        }
    }
}

/// The properties of a function that are part of its versions. The list is the one of the CDK, which also lists the
/// other properties (CodeSigningConfigArn, ReservedConcurrentExecutions, Tags, TenancyConfig):
/// <https://github.com/aws/aws-cdk/blob/main/packages/aws-cdk-lib/aws-lambda/lib/function-hash.ts>
const VERSION_LOCKED: [&str; 27] = [
    "Architectures",
    "CapacityProviderConfig",
    "Code",
    "DeadLetterConfig",
    "Description",
    "DurableConfig",
    "Environment",
    "EphemeralStorage",
    "FileSystemConfigs",
    "FunctionName",
    "FunctionScalingConfig",
    "Handler",
    "ImageConfig",
    "KmsKeyArn",
    "Layers",
    "LoggingConfig",
    "MemorySize",
    "PackageType",
    "PublishToLatestPublished",
    "RecursiveLoop",
    "Role",
    "Runtime",
    "RuntimeManagementConfig",
    "SnapStart",
    "Timeout",
    "TracingConfig",
    "VpcConfig",
];

/// The type of a deployment of a REST API: a snapshot of the API, which a stage of the API serves.
pub(crate) const DEPLOYMENT: &str = "AWS::ApiGateway::Deployment";
const FUNCTION: &str = "AWS::Lambda::Function";

/// The part of the S3 keys of function zips between the name of the stage and the hash, in the account's bucket of
/// releases.
pub(crate) const FUNCTIONS_PREFIX: &str = "artifacts/functions/";

/// Returns the S3 key, in the account's bucket of releases, of the function zip of `stage` with the hash `artifact`.
pub(crate) fn function_key(stage: &StageName, artifact: &str) -> String {
    format!("{stage}/{FUNCTIONS_PREFIX}{artifact}.zip")
}

/// Returns the type in the declaration of a resource, such as `AWS::S3::Bucket`. Empty if the declaration has no type.
pub(crate) fn resource_type(resource: &Value) -> &str {
    resource
        .get("Type")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Whether the deletion of a resource with the type `resource_type` deletes user data.
pub(crate) fn holds_data(resource_type: &str) -> bool {
    REPLACING_PROPERTIES
        .iter()
        .any(|(known, _)| *known == resource_type)
}

/// Returns the name of a function's crate. `properties` are the properties of the function in a synthesized template,
/// where the zip has the name of the crate.
fn function_name(properties: &Map<String, Value>) -> Option<&str> {
    properties
        .get("Code")?
        .get("S3Key")?
        .as_str()?
        .strip_suffix(".zip")
}

/// Returns the logical IDs of the resources that a part of a template refers to.
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

/// Groups stacks into phases, so that each stack is in a later phase than the stacks whose exports it imports. The
/// stacks of one phase can be deployed concurrently. Ignores imports from stacks that are not in `templates`.
///
/// # Errors
/// Fails if stacks import from each other in a cycle. The message lists the stacks of the
/// cycle and the stacks that depend on them.
pub(crate) fn phases(templates: &Templates) -> Result<Vec<Vec<String>>> {
    let exporters: BTreeMap<&str, &str> = templates
        .iter()
        .flat_map(|(stack, template)| template.exports().map(move |name| (name, stack.as_str())))
        .collect();
    let mut needs: BTreeMap<&str, BTreeSet<&str>> = templates
        .iter()
        .map(|(stack, template)| {
            let imports = template.imports().into_iter();
            let others = imports.filter_map(|name| exporters.get(name).copied());
            (
                stack.as_str(),
                others.filter(|other| other != stack).collect(),
            )
        })
        .collect();
    let mut phases = Vec::new();
    while !needs.is_empty() {
        let ready = needs.iter().filter(|(_, needs)| needs.is_empty());
        let phase: Vec<&str> = ready.map(|(stack, _)| *stack).collect();
        if phase.is_empty() {
            let cycle: Vec<_> = needs.into_keys().collect();
            bail!(
                "cannot order the stacks, because they import from each other in a cycle: {}",
                cycle.join(", ")
            );
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
    fn a_stack_is_in_a_later_phase_than_the_stacks_it_imports_from() {
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
    fn an_import_cycle_is_an_error_that_lists_the_stacks_of_the_cycle() {
        let stacks = BTreeMap::from([
            ("a".to_owned(), template(&["A"], &["B"])),
            ("b".to_owned(), template(&["B"], &["A"])),
            ("c".to_owned(), template(&[], &[])),
        ]);
        let error = phases(&stacks).unwrap_err().to_string();
        assert!(error.ends_with("a, b"), "{error}");
    }

    fn osls_template(timestamp: &str, path: &str) -> Template {
        Template::synthesized(json!({
            "Resources": {
                "ServerlessDeploymentBucket": {"Type": "AWS::S3::Bucket"},
                format!("ApiGatewayDeployment{timestamp}"): {"Type": DEPLOYMENT, "DependsOn": ["Method"]},
                "Method": {"Type": "AWS::ApiGateway::Method", "Properties": {"Path": path}},
                "Plan": {"Type": "X", "Properties": {"Of": {"Ref": format!("ApiGatewayDeployment{timestamp}")}}},
                "GetLambdaFunction": {"Type": FUNCTION, "Properties": {"Code": {"S3Key": format!("serverless/{timestamp}/get.zip")}}},
                "GetVersion": {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "GetLambdaFunction"}}},
                "GetAlias": {"Type": "Y", "Properties": {"Of": {"Fn::GetAtt": ["GetVersion", "Version"]}}},
            },
            "Outputs": {"ServerlessDeploymentBucketName": {"Value": {"Ref": "ServerlessDeploymentBucket"}}},
        }))
    }

    #[test]
    fn a_synthesized_template_depends_only_on_the_manifests_and_not_on_the_time() {
        assert_eq!(osls_template("1763", "/a"), osls_template("1764", "/a"));
        let [before, after] = ["/a", "/b"].map(|path| osls_template("1763", path));
        let deployment = |template: &Template| {
            template
                .resources()
                .find(|(_, resource)| resource_type(resource) == DEPLOYMENT)
                .unwrap()
                .0
                .to_owned()
        };
        assert_ne!(
            deployment(&before),
            deployment(&after),
            "the API has changed"
        );
        assert_eq!(
            after
                .resource("Plan")
                .unwrap()
                .pointer("/Properties/Of/Ref")
                .unwrap(),
            &deployment(&after)
        );
        assert!(
            before.data_resources().is_empty(),
            "the deployment bucket of osls is removed"
        );
    }

    #[test]
    fn changed_code_changes_only_the_function_its_version_and_its_alias() {
        let template = osls_template("1763", "/a");
        let [one, same, other] =
            ["1", "1", "2"].map(|zip| template.with_code("f", |_| Some(zip.into())));
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
    fn a_change_that_a_version_does_not_contain_makes_no_new_version() {
        let template = |properties: Value, depends: &str| {
            let mut properties = properties;
            properties["Code"] = json!({"S3Key": "serverless/1/get.zip"});
            Template::synthesized(json!({"Resources": {
                "Get": {"Type": FUNCTION, "Properties": properties, "DependsOn": [depends]},
                "GetVersion": {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "Get"}}},
            }}))
            .with_code("f", |_| Some("1".into()))
        };
        let version = |template: &Template| {
            let mut ids = template.resources().map(|(id, _)| id.to_owned());
            ids.find(|id| id.starts_with("GetVersion")).unwrap()
        };
        let before = version(&template(json!({"Timeout": 1}), "A"));
        let others = json!({"Timeout": 1, "Tags": [], "ReservedConcurrentExecutions": 1});
        assert_eq!(version(&template(others, "B")), before);
        assert_ne!(version(&template(json!({"Timeout": 2}), "A")), before);
    }

    #[test]
    fn an_identity_pool_holds_user_data() {
        assert!(holds_data("AWS::Cognito::IdentityPool"));
    }

    #[test]
    fn an_export_of_the_earlier_template_is_kept_with_the_resources_that_it_refers_to() {
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
        let merged = new.with_exports_of(&earlier, &BTreeSet::from(["OldName"]));
        assert_eq!(
            merged.exports().collect::<BTreeSet<_>>(),
            BTreeSet::from(["NewName", "OldName"])
        );
        let ids: Vec<_> = merged.resources().map(|(id, _)| id).collect();
        assert_eq!(ids, ["New", "Old", "Role"]);
        assert_ne!(
            merged.fingerprint(),
            new.fingerprint(),
            "the deploy is not finished"
        );
    }
}
