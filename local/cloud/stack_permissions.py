"""Checks that the caller of CloudFormation may create, change and delete the resources of a stack, as CloudFormation does.

CloudFormation calls other services with the permissions of its caller. ministack checks only the call of CloudFormation. For
each resource, `check` evaluates the actions that the handlers of its type need. infrastructure/test/aws-handlers.json lists
these actions. infrastructure/test/permission-exceptions.json lists the actions that a handler needs only for properties
that a resource does not have. Not checked: the actions of the handler `read`, and policies of resources.
"""

import fnmatch
import json
import pathlib
import re

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudformation, iam, tagging
from ministack.services.cloudformation import provisioners, stacks

DATA = pathlib.Path(__file__).resolve().parents[2] / "infrastructure/test"
TYPES = json.loads((DATA / "aws-handlers.json").read_text())["types"]
EXCEPTIONS = json.loads((DATA / "permission-exceptions.json").read_text())
CHANGE_RECORDS = ["route53:ChangeResourceRecordSets", "route53:GetChange", "route53:GetHostedZone"]
TYPES["AWS::Route53::RecordSet"] = {  # its schema has no handlers
    "handlers": {"create": CHANGE_RECORDS, "update": CHANGE_RECORDS, "delete": CHANGE_RECORDS},
    "tagging": [],
}
UNCHECKED = {"AWS::CDK::Metadata"}  # it calls no service

API = "arn:aws:apigateway:{region}::/restapis/{RestApiId}"
FUNCTION = "arn:aws:lambda:{region}:{account}:function:{FunctionName}"
USER_POOL = "arn:aws:cognito-idp:{region}:{account}:userpool/{UserPoolId}"
# For each type, the ARN of a resource. `name` is the resource's name or physical ID. Words in CamelCase are its properties.
ARNS = {
    "AWS::ApiGateway::Account": "arn:aws:apigateway:{region}::/account",
    "AWS::ApiGateway::Deployment": f"{API}/deployments/{{name}}",
    "AWS::ApiGateway::GatewayResponse": f"{API}/gatewayresponses/{{ResponseType}}",
    "AWS::ApiGateway::Method": f"{API}/resources/{{ResourceId}}/methods/{{HttpMethod}}",
    "AWS::ApiGateway::Resource": f"{API}/resources/{{name}}",
    "AWS::ApiGateway::RestApi": "arn:aws:apigateway:{region}::/restapis/{name}",
    "AWS::ApiGateway::Stage": f"{API}/stages/{{StageName}}",
    "AWS::CertificateManager::Certificate": "arn:aws:acm:{region}:{account}:certificate/{name}",  # part: web
    "AWS::CloudFront::Distribution": "arn:aws:cloudfront::{account}:distribution/{name}",  # part: web
    "AWS::CloudFront::Function": "arn:aws:cloudfront::{account}:function/{name}",  # part: web
    "AWS::CloudFront::OriginAccessControl": "arn:aws:cloudfront::{account}:origin-access-control/{name}",  # part: web
    "AWS::CloudFront::ResponseHeadersPolicy": "arn:aws:cloudfront::{account}:response-headers-policy/{name}",  # part: web
    "AWS::CloudWatch::Alarm": "arn:aws:cloudwatch:{region}:{account}:alarm:{name}",
    "AWS::CloudWatch::CompositeAlarm": "arn:aws:cloudwatch:{region}:{account}:alarm:{name}",
    "AWS::CloudWatch::Dashboard": "arn:aws:cloudwatch::{account}:dashboard/{name}",
    "AWS::CodeDeploy::Application": "arn:aws:codedeploy:{region}:{account}:application:{name}",
    "AWS::CodeDeploy::DeploymentGroup": "arn:aws:codedeploy:{region}:{account}:deploymentgroup:{ApplicationName}/{name}",
    "AWS::Cognito::IdentityPool": "arn:aws:cognito-identity:{region}:{account}:identitypool/{name}",
    "AWS::Cognito::IdentityPoolRoleAttachment": "arn:aws:cognito-identity:{region}:{account}:identitypool/{IdentityPoolId}",
    "AWS::Cognito::UserPool": "arn:aws:cognito-idp:{region}:{account}:userpool/{name}",
    "AWS::Cognito::UserPoolClient": USER_POOL,
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:{region}:{account}:table/{name}",
    "AWS::Events::Rule": "arn:aws:events:{region}:{account}:rule/{name}",
    "AWS::IAM::Role": "arn:aws:iam::{account}:role/{name}",
    "AWS::Lambda::Alias": f"{FUNCTION}:{{Name}}",
    "AWS::Lambda::EventInvokeConfig": FUNCTION,
    "AWS::Lambda::EventSourceMapping": "arn:aws:lambda:{region}:{account}:event-source-mapping:{name}",
    "AWS::Lambda::Function": FUNCTION,
    "AWS::Lambda::Permission": FUNCTION,
    "AWS::Lambda::Version": FUNCTION,
    "AWS::Logs::LogGroup": "arn:aws:logs:{region}:{account}:log-group:{name}",
    "AWS::Logs::QueryDefinition": "*",
    "AWS::Route53::HostedZone": "arn:aws:route53:::hostedzone/{name}",
    "AWS::Route53::RecordSet": "arn:aws:route53:::hostedzone/{HostedZoneId}",
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
    "AWS::S3::BucketPolicy": "arn:aws:s3:::{Bucket}",
    "AWS::SES::EmailIdentity": "arn:aws:ses:{region}:{account}:identity/{name}",
    "AWS::SNS::Subscription": "{TopicArn}",
    "AWS::SNS::Topic": "arn:aws:sns:{region}:{account}:{name}",
    "AWS::SQS::Queue": "arn:aws:sqs:{region}:{account}:{name}",
}
# For each type, the property with the name of a resource. AWS or CloudFormation chooses the name if there is no such
# property.
NAMES = {
    "AWS::CloudFront::Function": "Name",  # part: web
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::CompositeAlarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::CodeDeploy::Application": "ApplicationName",
    "AWS::CodeDeploy::DeploymentGroup": "DeploymentGroupName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::Events::Rule": "Name",
    "AWS::IAM::Role": "RoleName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SES::EmailIdentity": "EmailIdentity",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
}
# For each type that passes roles to a service: the property with the ARNs of the roles, and the service.
PASSED_ROLES = {
    "AWS::ApiGateway::Account": ("CloudWatchRoleArn", "apigateway.amazonaws.com"),
    "AWS::CodeDeploy::DeploymentGroup": ("ServiceRoleArn", "codedeploy.amazonaws.com"),
    "AWS::Cognito::IdentityPoolRoleAttachment": ("Roles", "cognito-identity.amazonaws.com"),
    "AWS::Lambda::Function": ("Role", "lambda.amazonaws.com"),
}
CREATES = re.compile(r":(Create(?!UserPoolClient|Deployment$|Alias)|PutCompositeAlarm$|PutDashboard$|PutMetricAlarm$|PutRule$|RequestCertificate$)")
TAGS = re.compile(r":(TagResource|TagRole|TagQueue|AddTagsToCertificate|ChangeTagsForResource|PutBucketTagging)$")


def has_property(value, name):
    """Whether a property has this name, at any depth."""
    if isinstance(value, dict):
        return name in value or any(has_property(item, name) for item in value.values())
    return isinstance(value, list) and any(has_property(item, name) for item in value)


def is_unneeded(action, kind, operation, properties):
    """Whether an exception says that a handler does not need the action for these properties."""
    return any(
        fnmatch.fnmatchcase(kind, exception["type"])
        and any(fnmatch.fnmatchcase(action.lower(), pattern.lower()) for pattern in exception["actions"].split())
        and operation in exception.get("operations", [operation])
        and not any(has_property(properties, name) for name in exception.get("without", []))
        for exception in EXCEPTIONS
    )


def tags_in(properties):
    """Returns the tags in the properties of a resource. They include the tags of its stack."""
    tags = {}
    for name, value in properties.items():
        if name.endswith("Tags"):
            pairs = value.items() if isinstance(value, dict) else ((tag["Key"], tag["Value"]) for tag in value)
            tags |= {key: text for key, text in pairs if not key.startswith("aws:")}
    return tags


def tags_of(stack):
    """Returns the tags of a stack. Its resources have them too."""
    return {tag["Key"]: tag["Value"] for tag in (cloudformation._stacks.get(stack) or {}).get("Tags", [])}


def arns_of(kind, properties, name):
    """Returns the ARNs of a resource, or of the resources to which it belongs."""
    account, region = get_account_id(), get_region()
    if kind == "AWS::SNS::TopicPolicy":
        return properties["Topics"]
    if kind == "AWS::SQS::QueuePolicy":
        return [f"arn:aws:sqs:{region}:{account}:{url.split('/')[-1]}" for url in properties["Queues"]]
    if kind == "AWS::IAM::Policy":
        return [f"arn:aws:iam::{account}:role/{role}" for role in properties.get("Roles", [])]
    known = {"account": account, "region": region, "name": name}
    if "FunctionName" in properties or kind == "AWS::Lambda::Function":
        known["FunctionName"] = properties.get("FunctionName", name).split(":function:")[-1].split(":")[0]
    return [ARNS[kind].format_map({**properties, **known})]


def targets(action, kind, operation, properties, arns):
    """Yields each ARN on which an action of a handler is checked, with the condition keys for this ARN."""
    service, name = action.split(":")
    if action == "iam:PassRole":
        property, receiver = PASSED_ROLES[kind]
        roles = properties.get(property) or []
        for role in roles.values() if isinstance(roles, dict) else [roles]:
            yield role, {"iam:PassedToService": receiver}
    elif action in ("iam:AttachRolePolicy", "iam:DetachRolePolicy"):
        for policy in properties.get("ManagedPolicyArns", []):
            yield arns[0], {"iam:PolicyARN": policy}
    elif action == "iam:CreateServiceLinkedRole":
        receiver = "email.cognito-idp.amazonaws.com"
        role = f"role/aws-service-role/{receiver}/AWSServiceRoleForAmazonCognitoIdpEmailService"
        yield f"arn:aws:iam::{get_account_id()}:{role}", {"iam:AWSServiceName": receiver}
    elif service == "s3" and kind == "AWS::Lambda::Function":
        yield f"arn:aws:s3:::{properties['Code']['S3Bucket']}/{properties['Code']['S3Key']}", {}
    elif action == "route53:GetChange":
        yield "arn:aws:route53:::change/assigned", {}
    # part: web {
    elif service == "route53" and kind == "AWS::CertificateManager::Certificate":
        for option in properties.get("DomainValidationOptions", []):
            record = f"_0.{properties['DomainName']}"
            yield f"arn:aws:route53:::hostedzone/{option['HostedZoneId']}", records(record)
    # part: web }
    elif action == "route53:ChangeResourceRecordSets":
        yield arns[0], records(properties["Name"])
    # part: web {
    elif service == "acm":
        yield arns[0], {"acm:DomainNames": [properties["DomainName"]]}
    # part: web }
    elif kind == "AWS::ApiGateway::RestApi" and (name == "POST" or (name == "UpdateRestApiPolicy" and operation == "create")):
        yield arns[0].rpartition("/")[0], {}
    elif service == "apigateway" and kind.endswith(("RestApi", "Stage", "Deployment")) and name in ("PUT", "DELETE"):
        if name == "PUT" or operation == "update":
            yield f"arn:aws:apigateway:{get_region()}::/tags/{arns[0].replace('/', '%2F')}", {}
        else:
            yield arns[0], {}
    elif kind == "AWS::Lambda::EventSourceMapping":
        function = f"arn:aws:lambda:{get_region()}:{get_account_id()}:function:"
        yield arns[0], {"lambda:FunctionArn": function + properties["FunctionName"].split(":function:")[-1]}
    elif service == "codedeploy" and kind == "AWS::CodeDeploy::DeploymentGroup":
        part = {"GetApplication": "application", "GetDeploymentConfig": "deploymentconfig"}.get(name)
        end = properties["ApplicationName" if part == "application" else "DeploymentConfigName"] if part else ""
        yield f"arn:aws:codedeploy:{get_region()}:{get_account_id()}:{part}:{end}" if part else arns[0], {}
    else:
        for arn in arns:
            yield arn, {}


def records(name):
    """Returns the condition keys for a change of the DNS record with this name."""
    return {"route53:ChangeResourceRecordSetsNormalizedRecordNames": [name.rstrip(".").lower()]}


def boundaries(action, kind, properties, before, name):
    """Returns the condition key for the permissions boundary that the action sets, or else that the role has."""
    role = properties.get("Roles", [name])[0] if kind == "AWS::IAM::Policy" else name
    known = iam._roles.get(role) or {}
    is_new = before is None and kind == "AWS::IAM::Role"
    sets = is_new or action == "iam:PutRolePermissionsBoundary"
    boundary = properties.get("PermissionsBoundary") if sets else known.get("PermissionsBoundary")
    return {"iam:PermissionsBoundary": boundary} if boundary else {}


def check(operation, kind, properties, stack, logical_id, physical_id=None, before=None):
    """Raises an error if the caller lacks a permission to create, update or delete a resource of a stack."""
    key = iam_evaluator._verified_key.get()
    principal = iam_evaluator.resolve_principal(key, get_account_id()) if key else None
    if principal is None or getattr(principal, "policies", None) is None or kind in UNCHECKED:
        return  # the AWS account's owner or the local cloud itself, who may do everything, or an unchecked type
    handlers = TYPES.get(kind)
    if handlers is None:
        raise ValueError(f"the local cloud cannot check the permissions of {principal.arn} for resources of type {kind}")
    name = properties.get(NAMES.get(kind)) or physical_id or f"{stack}-{logical_id}-assigned"
    arns, tags = arns_of(kind, properties, name), tags_in(properties)
    actions = list(handlers["handlers"].get(operation, []))
    actions += handlers["tagging"] if operation == "update" else []
    removes_boundary = before and before.get("PermissionsBoundary") and not properties.get("PermissionsBoundary")
    if kind == "AWS::IAM::Role" and operation == "update":
        actions = [action for action in actions if removes_boundary is None or not action.endswith("RolePermissionsBoundary")]
        actions += ["iam:DeleteRolePermissionsBoundary"] if removes_boundary else ["iam:PutRolePermissionsBoundary"]
    for action in dict.fromkeys(actions):
        if action != "iam:DeleteRolePermissionsBoundary" and is_unneeded(action, kind, operation, properties):
            continue
        for arn, keys in targets(action, kind, operation, properties, arns):
            creates = CREATES.search(action) or arn.endswith("::/restapis")
            sets_tags = TAGS.search(action) or (action == "apigateway:PUT" and "/tags/" in arn)
            if tags and (creates or sets_tags):
                keys |= {f"aws:RequestTag/{key}": value for key, value in tags.items()}
                keys["aws:TagKeys"] = list(tags)
            elif removed := set(tags_in(before or {})) - set(tags):
                keys["aws:TagKeys"] = list(removed)
            existing = tagging.resource_tags(arn)
            if existing is None and handlers["tagging"] and not creates and (operation != "create" or not sets_tags):
                existing = tags_in(before or {}) or tags or tags_of(stack)
            keys |= {f"aws:ResourceTag/{key}": value for key, value in (existing or {}).items()}
            if action.startswith("iam:") and action != "iam:PassRole":
                keys |= boundaries(action, kind, properties, before if operation == "update" else None, name)
            require(principal, action, arn, keys)


def require(principal, action, arn, keys):
    """Raises an error if the principal has no permission for the action on the resource."""
    context = iam_evaluator.EvalContext(
        principal_arn=principal.arn,
        principal_type=principal.type,
        principal_account=principal.account,
        action=action,
        resource_arn=arn,
        region=get_region(),
        service_context={"aws:tagkeys": None, **{key.lower(): value for key, value in keys.items()}},
        principal_keys=principal.keys,
    )
    decision = iam_evaluator.evaluate(context, principal.policies, *principal.limits).decision
    if decision == "Allow":
        return
    reason = "with an explicit deny in an identity-based policy"
    if decision != "Deny":
        reason = f"because no identity-based policy allows the {action} action"
    raise PermissionError(f"User: {principal.arn} is not authorized to perform: {action} on resource: {arn} {reason}")


def create_with_check(kind, logical_id, properties, stack):
    """Creates a resource of a stack if the caller may."""
    check("create", kind, properties, stack, logical_id)
    return create_resource(kind, logical_id, properties, stack)


def update_with_check(kind, physical_id, before, properties, stack, logical_id=None, attributes=None):
    """Updates a resource of a stack if the caller may."""
    if before != properties:
        check("update", kind, properties, stack, logical_id, physical_id, before)
    return update_resource(kind, physical_id, before, properties, stack, logical_id, attributes)


def replace_with_check(kind, physical_id, before, properties, stack, logical_id):
    """Replaces a resource of a stack if the caller may create the new one."""
    check("create", kind, properties, stack, logical_id)
    return replace_resource(kind, physical_id, before, properties, stack, logical_id)


def delete_with_check(kind, physical_id, properties, stack=None, logical_id=None):
    """Deletes a resource of a stack if the caller may."""
    check("delete", kind, properties, stack, logical_id, physical_id)
    return delete_resource(kind, physical_id, properties, stack, logical_id)


create_resource, stacks._provision_resource = stacks._provision_resource, create_with_check
update_resource, stacks._update_resource = stacks._update_resource, update_with_check
delete_resource, stacks._delete_resource = stacks._delete_resource, delete_with_check
replace_resource, provisioners._replace_resource = provisioners._replace_resource, replace_with_check
