"""Starts the local cloud: ministack with the patches below.

Environment variables configure it: see xtask/src/cloud.rs. The patches use internals of the ministack version that is
pinned in requirements.txt.
"""

import copy
import json
import logging
import os
import pathlib
import shutil
import socketserver
import threading
import time

from ministack import app as ministack
from ministack.core import iam_actions, iam_evaluator, persistence, router
from ministack.core.responses import get_account_id, get_region
from ministack.services import apigateway_v1, cognito, dynamodb, eventbridge, iam, lambda_svc, s3, sns, sqs, tagging
from ministack.services.cloudformation import provisioners

# These modules patch ministack when they are imported.
import crash
import faults
import function_metrics
import gateway
import monitoring_stacks
import notifications
import queue_metrics
import sms  # part: notify
import stack_permissions
import streams
import table_metrics

# Send a function's response at once. With Nagle's algorithm, it waits up to 40 ms for a delayed acknowledgement.
socketserver.StreamRequestHandler.disable_nagle_algorithm = True

# ministack saves its state only when it stops. Save it while running too, so that a kill loses only seconds.
MINIMUM_SAVE_INTERVAL = 5  # seconds
PAUSE_PER_SAVE = 20  # the pause after a save is this many times as long as the save, so saving takes at most 5 % of the time
READ_METHODS = {"GET", "HEAD", "OPTIONS"}

# ministack saves each service separately. Here, each save of all services has a separate folder, and CURRENT links to the
# latest complete one. So services that refer to each other are always loaded from the same save.
SAVES = pathlib.Path(os.environ["STATE_DIR"]) / "saves"
CURRENT = SAVES / "current"

changed = threading.Event()
saving = threading.Lock()
serve_request, load_state, save_all = ministack.app, ministack._load_persisted_state, ministack.save_all
get_services_of_ministack = ministack._build_persistence_save_dict


async def serve_and_mark_changed(scope, receive, send):
    """Serves a request. Requests that may have changed the state cause a save."""
    if scope.get("path") == crash.PATH and scope["method"] == "POST":
        crash.crash(lambda: ministack.save_all(get_services()))
    await serve_request(scope, receive, send)
    if scope.get("method", "GET") not in READ_METHODS:
        changed.set()


def use_folder(save):
    """Sets the folder from which ministack reads its state, including the functions' code, and to which it writes."""
    persistence.STATE_DIR = str(save)
    lambda_svc.CODE_BLOB_DIR = str(save / "lambda-blobs")


def with_retries(get_state):
    """Returns a function that reads a service's state, and reads it again if a request changes it meanwhile."""

    def read():
        for _ in range(20):
            try:
                return get_state()
            except RuntimeError:  # dictionary changed size during iteration
                time.sleep(0.05)
        return get_state()

    return read


def save_all_atomically(services):
    """Saves all services to a new folder, and then makes CURRENT link to it."""
    with saving:  # ministack also saves when it stops, perhaps during this save
        following = SAVES / str(time.time_ns())
        if CURRENT.exists():
            shutil.copytree(CURRENT, following, copy_function=os.link)  # unchanged files are not written again
        else:
            following.mkdir(parents=True)
        use_folder(following)
        save_all({name: with_retries(get_state) for name, get_state in services.items()})
        link = SAVES / "next"
        link.unlink(missing_ok=True)
        link.symlink_to(following.name)
        link.replace(CURRENT)
        for save in SAVES.iterdir():
            if save not in (following, CURRENT):
                shutil.rmtree(save)


def load_without_unsaved_buckets():
    """Loads the saved state. Removes the buckets that were created after it was saved.

    ministack writes objects immediately, but buckets only with the state. It loads a bucket that has objects but no
    state without a region, and creating that bucket again would fail.
    """
    load_state()
    crash.resume(persistence.load_state(crash.INVOCATIONS) or {"invocations": []}, invoke)
    buckets = s3._buckets._data
    for unsaved in [name for name, bucket in buckets.items() if bucket["region"] is None]:
        del buckets[unsaved]


def get_services():
    """Returns the functions that return the states to save, by name."""
    return crash.with_own_state(get_services_of_ministack())


def get_tables_and_streams():
    """Returns the state of DynamoDB with the stream records, which ministack does not save."""
    tables = get_tables()  # before the streams: each change in a saved table must be in the saved stream
    return tables | {"streams": copy.deepcopy(dynamodb._stream_records)}


def load_tables_and_streams(state):
    """Loads the state that get_tables_and_streams returned."""
    load_tables(state)
    dynamodb._stream_records.update(state.get("streams", {}))


def invoke(function, event):
    """Invokes a function asynchronously, for SNS and EventBridge.

    Retries as Lambda does. Then sends the event to the function's on-failure destination.
    """
    record, settings, _ = lambda_svc._get_func_record_for_ref(function)
    if record and settings:
        crash.register(record, function, event)
        lambda_svc.invoke_async_with_retry(lambda_svc._execution_record_for_config(record, settings), event)


def deliver_sns_message(function, message, topic, subscription, *_):
    """Invokes a function that subscribes to an SNS topic."""
    record = {"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": subscription}
    invoke(function, {"Records": [record | {"Sns": json.loads(message)}]})


def extract_arns_of_parameters(service, method, path, headers, body, *rest):
    """Returns the ARN that a request needs permission for. For GetParameters, returns one ARN per name, separated by spaces.

    ministack itself finds no ARN in the list of names that GetParameters takes.
    """
    bodies = [body]
    if service == "ssm" and (names := json.loads(body).get("Names")):
        bodies = [json.dumps({"Name": name}) for name in names]
    return " ".join(extract_resource_arn(service, method, path, headers, body, *rest) for body in bodies)


def check_each_parameter(check):
    """Returns a function that calls `check` for each ARN of extract_arns_of_parameters. Returns the first denial."""

    def check_all(key, action, service, region, arn="*", context=None, **options):
        arn, context = options.pop("resource_arn", arn), options.pop("service_context", context)
        arns = arn.split(" ") if service == "ssm" else [arn]
        denials = (check(key, action, service, region, arn, context, **options) for arn in arns)
        return next(filter(None, denials), None)

    return check_all


def get_s3_condition_keys(action, query, path="", headers=None):
    """Returns the condition keys of a request to S3 as ministack does, and adds the conditional headers of a write."""
    keys = get_condition_keys(action, query, path, headers)
    if action == "s3:PutObject":
        keys |= {f"s3:{name}": headers[name] for name in ("if-match", "if-none-match") if (headers or {}).get(name)}
    return keys


async def handle_s3_request(method, path, headers, body, query, *rest, internal=False, **options):
    """Handles a request as ministack does, but returns 403 instead of 404 if the caller may not list the bucket, as S3 does."""
    response = await handle_request_to_s3(method, path, headers, body, query, *rest, internal=internal, **options)
    bucket, _, key = path.lstrip("/").partition("/")
    if response[0] == 404 and key and method in ("GET", "HEAD") and ministack.AUTH and not internal:
        caller, region = router.extract_access_key_id(headers, query), os.environ["MINISTACK_REGION"]
        if enforce(caller, "s3:ListBucket", "s3", region, f"arn:aws:s3:::{bucket}"):
            return s3._error("AccessDenied", "Access Denied", 403, path)
    return response


def get_all_condition_keys(service, action, body, params):
    """Returns the condition keys of a request as ministack does. Adds the tags of new APIs and pools, and the permissions
    boundary of the role in the request.
    """
    keys = get_tag_condition_keys(service, action, body, params)
    if service in ("apigateway", "cognito-identity", "cognito-idp") and body[:1] == b"{":
        request = json.loads(body)
        for tags in (request.get(name) or {} for name in ("tags", "IdentityPoolTags", "UserPoolTags")):
            keys |= {f"aws:requesttag/{key}".lower(): value for key, value in tags.items()}
    name, boundary = (iam._p(params, key) for key in ("RoleName", "PermissionsBoundary"))
    if service == "iam" and (boundary := boundary or (iam._roles.get(name) or {}).get("PermissionsBoundary")):
        keys["iam:PermissionsBoundary"] = boundary
    return keys


def record_and_enforce(key, action, service, region, arn="*", context=None, **options):
    """Checks the permission for a call as ministack does, and appends each call of a role to $RECORDED_CALLS."""
    arn = options.pop("resource_arn", arn)
    context = options.pop("service_context", context) or {}
    principal = iam_evaluator.caller_arn()
    if ":assumed-role/" in principal:
        named_by_aws = service in ("apigateway", "cloudfront", "cognito-identity", "cognito-idp")
        tags = (tagging.resource_tags(arn) if named_by_aws else None) or {}
        tags = {f"aws:resourcetag/{key}": value for key, value in tags.items() if not key.startswith("aws:")}
        call = {"principal": principal, "action": action, "resource": arn, "keys": {**context, **tags}}
        with open(os.environ["RECORDED_CALLS"], "a") as file:
            file.write(json.dumps(call, default=str) + "\n")
    return enforce(key, action, service, region, resource_arn=arn, service_context=context)


def only_new_queue(create_queue):
    """Returns a function that creates a queue of a stack, and fails if the queue exists, as CloudFormation does."""

    def create(logical_id, properties, stack):
        name = properties.get("QueueName")
        if name and sqs._queue_url_for_account(get_account_id(), name) in sqs._queues:
            raise ValueError(f"the queue {name} already exists")
        return create_queue(logical_id, properties, stack)

    return create


def with_boundary(change_role):
    """Returns a function that creates or updates a role of a stack, and also sets its permissions boundary."""

    def change(*arguments, **options):
        properties = next(argument for argument in reversed(arguments) if isinstance(argument, dict))
        boundary = properties.get("PermissionsBoundary")
        if boundary and boundary not in iam._policies:
            raise ValueError(f"the permissions boundary {boundary} does not exist: run cargo xtask bootstrap")
        name, attributes = change_role(*arguments, **options)
        iam._roles[name]["PermissionsBoundary"] = boundary
        return name, attributes

    return change


def get_tags_of_identity_pools():
    """Returns the ARNs of the identity pools, and their tags."""
    for pool in cognito._identity_pools.values():
        arn = f"arn:aws:cognito-identity:{get_region()}:{get_account_id()}:identitypool/{pool['IdentityPoolId']}"
        yield arn, [{"Key": key, "Value": value} for key, value in pool["IdentityPoolTags"].items()]


def get_tags_of_apis():
    """Returns the ARNs of the APIs, and their tags."""
    for arn, tags in apigateway_v1._v1_tags.items():
        yield arn, [{"Key": key, "Value": value} for key, value in tags.items()]


def get_tags_or_those_of_the_api(arn):
    """Returns the tags of a resource, as ministack does. A part of an API inherits the API's tags."""
    before, separator, parts = arn.partition("::/restapis/")
    return get_tags(before + separator + parts.split("/")[0])


def write_logs_of_existing_function(function, *arguments, **options):
    """Writes the logs of an invocation, unless the function was deleted meanwhile.

    AWS cannot write them then, because the role of the function is deleted too. ministack would recreate the log group.
    """
    if (function.get("config") or function).get("FunctionName") in lambda_svc._functions:
        write_logs(function, *arguments, **options)


def save_after_changes():
    """Saves the state of all services whenever it has changed. Never returns."""
    while changed.wait():
        changed.clear()
        started = time.monotonic()
        try:
            ministack.save_all(get_services())
        except Exception:
            logging.exception("cannot save the state; the next change causes another attempt")
        time.sleep(max(MINIMUM_SAVE_INTERVAL, PAUSE_PER_SAVE * (time.monotonic() - started)))


use_folder(CURRENT)
ministack.app, ministack.save_all = serve_and_mark_changed, save_all_atomically
ministack._build_persistence_save_dict = get_services
ministack._load_persisted_state = load_without_unsaved_buckets
get_tables, load_tables = dynamodb.get_state, dynamodb.load_persisted_state
dynamodb.get_state, dynamodb.load_persisted_state = get_tables_and_streams, load_tables_and_streams
write_logs, lambda_svc._emit_lambda_logs = lambda_svc._emit_lambda_logs, write_logs_of_existing_function
extract_resource_arn, iam_actions.extract_resource_arn = (
    iam_actions.extract_resource_arn,
    extract_arns_of_parameters,
)
get_condition_keys, iam_actions.s3_service_context = iam_actions.s3_service_context, get_s3_condition_keys
get_tag_condition_keys, iam_actions.request_tag_context = iam_actions.request_tag_context, get_all_condition_keys
get_tags, tagging.resource_tags = tagging.resource_tags, get_tags_or_those_of_the_api
tagging._RESOURCE_TAG_COLLECTORS |= {
    "apigateway": get_tags_of_apis,
    "cloudfront": tagging._collect_cloudfront, # part: web
    "cognito-identity": get_tags_of_identity_pools,
    "cognito-idp": tagging._collect_cognito,
}
enforce = iam_evaluator.enforce
iam_evaluator.enforce = check_each_parameter(record_and_enforce if "RECORDED_CALLS" in os.environ else enforce)
queues = provisioners._RESOURCE_HANDLERS["AWS::SQS::Queue"]
queues["create"] = only_new_queue(queues["create"])
roles = provisioners._RESOURCE_HANDLERS["AWS::IAM::Role"]
roles["create"], roles["update"] = with_boundary(roles["create"]), with_boundary(roles["update"])
handle_request_to_s3, s3.handle_request = s3.handle_request, handle_s3_request
sns._deliver_to_lambda = deliver_sns_message
eventbridge._dispatch_to_lambda = lambda function, event: invoke(function, json.loads(event))
logging.getLogger("persistence").setLevel(logging.WARNING)  # otherwise it logs a line for each service at each save
threading.Thread(target=save_after_changes, daemon=True).start()
ministack.main()
