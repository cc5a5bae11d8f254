"""The types of CloudFormation for monitoring that ministack lacks: alarms with metric math, composite alarms, and saved queries."""

import asyncio
import json
import time

from ministack.core.responses import json_response, new_uuid
from ministack.services import cloudwatch, cloudwatch_logs
from ministack.services.cloudformation import provisioners

from alarms import Rule, evaluate_metric_alarm, name_of, ordered
from metrics import Store
from monitoring import alarm_arn, all_alarms

READS_AGAIN = 20  # how often a request that reads logs is repeated

saved_queries = {}  # the saved queries of CloudWatch Logs Insights, by ID


def alarm_record(name, properties):
    """Returns the record of a metric alarm, as ministack does. Also accepts metric math, and rejects what CloudWatch rejects."""
    metrics = properties.get("Metrics")
    if metrics:
        properties = {**properties, "Metrics": None, "MetricName": "-", "Namespace": "-"}
    record = make_record(name, properties)
    if metrics:
        record = {key: value for key, value in record.items() if key not in METRIC_PROPERTIES} | {"Metrics": metrics}
    evaluate_metric_alarm(record, Store(), 0)  # raises ValueError for an unknown statistic, operator, query or function
    return record


METRIC_PROPERTIES = {"Namespace", "MetricName", "Dimensions", "Statistic", "ExtendedStatistic", "Period", "Unit"}
STATE_PROPERTIES = ("StateValue", "StateReason", "StateUpdatedTimestamp", "StateTransitionedTimestamp")


def put_composite_alarm(name, properties):
    """Creates or updates a composite alarm. An existing alarm keeps its state.

    CloudWatch rejects a rule with an alarm that does not exist.
    """
    others = Rule(properties["AlarmRule"]).alarms
    others += [name_of(properties["ActionsSuppressor"])] if "ActionsSuppressor" in properties else []
    if missing := set(others) - all_alarms().keys():
        raise ValueError(f"the composite alarm {name} refers to alarms that do not exist: {sorted(missing)}")
    now = int(time.time())
    existing = cloudwatch._composite_alarms.get(name) or {}
    cloudwatch._composite_alarms[name] = {
        "AlarmDescription": "",
        "ActionsEnabled": True,
        "AlarmActions": [],
        "OKActions": [],
        "InsufficientDataActions": [],
        "StateValue": "INSUFFICIENT_DATA",
        "StateReason": "Unchecked: Initial alarm creation",
        "StateUpdatedTimestamp": now,
        **{key: existing[key] for key in STATE_PROPERTIES if key in existing},
        **{key: value for key, value in properties.items() if key != "Tags"},
        "AlarmName": name,
        "AlarmArn": alarm_arn(name),
        "AlarmConfigurationUpdatedTimestamp": now,
    }
    cloudwatch.cloudformation_set_metric_alarm_tags(name, properties.get("Tags") or [])
    return name, {"Arn": alarm_arn(name)}


def create_composite_alarm(logical_id, properties, stack):
    name = properties.get("AlarmName") or provisioners._physical_name(stack, logical_id, max_len=255)
    return put_composite_alarm(name, properties)


def update_composite_alarm(name, before, properties, stack):
    if properties.get("AlarmName", name) != name:
        raise ValueError("a composite alarm cannot be renamed")
    return put_composite_alarm(name, properties)


def delete_composite_alarm(name, properties):
    cloudwatch._composite_alarms.pop(name, None)
    cloudwatch._resource_tags.pop(alarm_arn(name), None)


def create_saved_query(logical_id, properties, stack):
    return update_saved_query(new_uuid(), None, properties, stack)


def update_saved_query(id, before, properties, stack):
    saved_queries[id] = {
        "queryDefinitionId": id,
        "name": properties["Name"],
        "queryString": properties["QueryString"],
        "logGroupNames": properties.get("LogGroupNames") or [],
        "lastModified": int(time.time() * 1000),
    }
    return id, {"QueryDefinitionId": id}


def delete_saved_query(id, properties):
    saved_queries.pop(id, None)


async def handle_request_to_logs(method, path, headers, body, query):
    """Handles a request to CloudWatch Logs as ministack does, and DescribeQueryDefinitions.

    Reads again if a function starts a log stream meanwhile: ministack iterates over the streams without a copy.
    """
    if headers.get("x-amz-target", "").endswith(".DescribeQueryDefinitions"):
        prefix = json.loads(body or b"{}").get("queryDefinitionNamePrefix", "")
        found = [query for query in saved_queries.values() if query["name"].startswith(prefix)]
        return json_response({"queryDefinitions": found})
    operation = headers.get("x-amz-target", "").split(".")[-1]
    for _ in range(READS_AGAIN if operation.startswith(("Describe", "Get", "Filter")) else 0):
        try:
            return await handle_request(method, path, headers, body, query)
        except RuntimeError:  # dictionary changed size during iteration
            await asyncio.sleep(0.01)
    return await handle_request(method, path, headers, body, query)


def get_state():
    """Returns the state of CloudWatch with the saved queries."""
    return get_alarms() | {"saved_queries": dict(saved_queries)}


def load_state(state):
    """Loads the state that get_state returned."""
    load_alarms(state)
    saved_queries.update((state or {}).get("saved_queries", {}))


make_record, provisioners._cw_metric_alarm_record = provisioners._cw_metric_alarm_record, alarm_record
handle_request, cloudwatch_logs.handle_request = cloudwatch_logs.handle_request, handle_request_to_logs
get_alarms, cloudwatch.get_state = cloudwatch.get_state, get_state
load_alarms, cloudwatch.load_persisted_state = cloudwatch.load_persisted_state, load_state
provisioners._STACK_TAG_PROPERTY["AWS::CloudWatch::CompositeAlarm"] = ("Tags", "list")
provisioners._RESOURCE_HANDLERS |= {
    "AWS::CloudWatch::CompositeAlarm": {
        "create": create_composite_alarm,
        "update": update_composite_alarm,
        "delete": delete_composite_alarm,
    },
    "AWS::Logs::QueryDefinition": {
        "create": create_saved_query,
        "update": update_saved_query,
        "delete": delete_saved_query,
    },
}
