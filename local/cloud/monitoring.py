"""The CloudWatch of the local cloud: keeps the metrics, evaluates the alarms after each minute, and answers queries.

Replaces the metrics and the evaluation of ministack, whose alarms read a metric whatever its dimensions are. SCRATCHPAD_MINUTE_MS
is the number of milliseconds that a minute of this CloudWatch lasts, so that tests see hours in seconds. Periods and time
ranges scale with it, values do not. The metrics are only in memory: after a restart, they are empty.
"""

import logging
import os
import threading
import time

from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudwatch, eventbridge

from alarms import ALARM, Evaluator, Queries
from metrics import Store

MINUTE = int(os.environ.get("SCRATCHPAD_MINUTE_MS", "60000")) / 1000  # seconds
DELAY = min(1, MINUTE / 4)  # the time after a minute in which its last values arrive, in seconds
MAX_LATE = 5  # minutes
MAX_HISTORY = 1000  # entries of the history of alarms
MAX_DATAPOINTS = 100_800  # per query: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html

store, evaluator = Store(), Evaluator()
collectors = []  # functions that record the values that a service measures once per minute


def minute_of(seconds):
    """Returns the minute at a time in seconds since 1970."""
    return int(seconds // MINUTE)


def record(namespace, name, value, dimensions, at=None):
    """Records a value of a metric. `at` is in seconds since 1970, and now if it is missing."""
    store.add(namespace, name, dimensions, minute_of(at or time.time()), value)


def record_for_ministack(namespace, name, value, unit="None", dimensions=None):
    """Records a value that a service of ministack measured."""
    record(namespace, name, value, dimensions or {})


def store_datum(namespace, name, dimensions, at, unit, value, values, counts, statistics):
    """Records a value of PutMetricData."""
    if statistics:
        values, counts = [float(statistics["Sum"]) / float(statistics["SampleCount"])], [statistics["SampleCount"]]
    values = [value or 0] if values is None else values
    for one, count in zip(values, counts or [1] * len(values), strict=True):
        store.add(namespace, name, dimensions, minute_of(at), one, count)


def is_composite(alarm):
    """Whether an alarm is a composite one."""
    return "AlarmRule" in alarm


def all_alarms():
    """Returns all alarms by name."""
    return dict(cloudwatch._alarms.items()) | dict(cloudwatch._composite_alarms.items())


def evaluate(minute, since=float("-inf")):
    """Evaluates all alarms after the minute before `minute`, and performs their actions. The first metrics are from `since`."""
    alarms = all_alarms()
    evaluator.states = {name: alarm["StateValue"] for name, alarm in alarms.items()}  # SetAlarmState can change a state too
    changes, acting = evaluator.evaluate(alarms, store, minute, since)
    for name, old, new, reason in changes:
        alarm = alarms[name]
        now = int(time.time())
        alarm |= {"StateValue": new, "StateReason": reason, "StateUpdatedTimestamp": now, "StateTransitionedTimestamp": now}
        cloudwatch._record_history(name, old, new, reason, "CompositeAlarm" if is_composite(alarm) else "MetricAlarm")
    for name, suppression in evaluator.suppressions.items():
        if is_composite(alarms[name]):
            alarms[name]["ActionsSuppressedBy"] = suppression.by
    for name in acting:
        alarm = alarms[name]
        old = next((old for changed, old, _, _ in changes if changed == name), "OK" if alarm["StateValue"] == ALARM else ALARM)
        cloudwatch._dispatch_alarm_actions(alarm, old, alarm["StateValue"], alarm["StateReason"])
    del cloudwatch._history_entries()[:-MAX_HISTORY]


def watch():
    """Evaluates the alarms after each minute. Never returns."""
    since = minute_of(time.time())
    while True:
        minute = minute_of(time.time()) + 1
        time.sleep(max(0, minute * MINUTE + DELAY - time.time()))
        if minute_of(time.time()) > minute + MAX_LATE:  # the machine slept
            since = minute_of(time.time())
        try:
            for collect in collectors:
                collect((minute - 0.5) * MINUTE)
            evaluate(minute, since)
            store.compact(minute)
        except Exception:
            logging.exception("cannot evaluate the alarms")


def get_metric_data(parameters, data, is_cbor, is_json=False):
    """GetMetricData, with metric math."""
    data = data if is_cbor or is_json else from_form(parameters)
    queries = data["MetricDataQueries"]
    start, end = (cloudwatch._parse_ts(data[name]) for name in ("StartTime", "EndTime"))
    queried, results = Queries(queries, store), []
    try:
        for query in queries:
            if str(query.get("ReturnData", True)).lower() == "true":
                results.append(data_of(query, queried, start, end, data.get("ScanBy")))
    except ValueError as error:
        return cloudwatch._error("ValidationError", str(error), 400, use_json=is_json, use_cbor=is_cbor)
    if is_cbor:
        results = [cloudwatch._cbor_metric_data_result(result) for result in results]
    return respond("GetMetricData", {"MetricDataResults": results, "Messages": []}, is_cbor, is_json)


def data_of(query, queried, start, end, order):
    """Returns the result of one query of GetMetricData. Raises ValueError if CloudWatch rejects the query."""
    period = queried.period(query["Id"])
    minutes = max(period // 60, 1)
    first = minute_of(start) // minutes * minutes
    length = max(-(-(minute_of(end) - first) // minutes), 1)
    if length > MAX_DATAPOINTS:
        raise ValueError(f"the query {query['Id']} has more than {MAX_DATAPOINTS} datapoints")
    points = queried.series(query["Id"], first + minutes * length, period, length)
    found = [((first + minutes * index) * MINUTE, point) for index, point in enumerate(points) if point is not None]
    if order != "TimestampAscending":
        found.reverse()
    name = query.get("MetricStat", {}).get("Metric", {}).get("MetricName")
    return {
        "Id": query["Id"],
        "Label": query.get("Label") or name or query["Id"],
        "Timestamps": [cloudwatch._ts_iso(at) for at, _ in found],
        "Values": [point for _, point in found],
        "StatusCode": "Complete",
    }


def get_metric_statistics(parameters, data, is_cbor, is_json=False):
    """GetMetricStatistics."""
    data = data if is_cbor or is_json else from_form(parameters)
    metric = {name: data.get(name) for name in ("Namespace", "MetricName", "Dimensions")}
    start, end = (cloudwatch._parse_ts(data[name]) for name in ("StartTime", "EndTime"))
    datapoints = {}
    for kind in ("Statistics", "ExtendedStatistics"):
        for name in data.get(kind) or []:
            query = {"Id": "m", "MetricStat": {"Metric": metric, "Stat": name, "Period": data["Period"]}}
            found = data_of(query, Queries([query], store), start, end, None)
            for at, value in zip(found["Timestamps"], found["Values"], strict=True):
                point = datapoints.setdefault(at, {"Timestamp": at, "Unit": "None"})
                (point if kind == "Statistics" else point.setdefault(kind, {}))[name] = value
    points = [cloudwatch._cbor_datapoint(point) if is_cbor else point for point in datapoints.values()]
    return respond("GetMetricStatistics", {"Label": metric["MetricName"], "Datapoints": points}, is_cbor, is_json)


def list_metrics(parameters, data, is_cbor, is_json=False):
    """ListMetrics."""
    data = data if is_cbor or is_json else from_form(parameters)
    wanted = {(filter["Name"], filter.get("Value")) for filter in data.get("Dimensions") or []}
    found = [
        {
            "Namespace": namespace,
            "MetricName": name,
            "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions],
        }
        for namespace, name, dimensions in list(store.metrics)
        if data.get("Namespace") in (None, namespace)
        and data.get("MetricName") in (None, name)
        and all((key, value) in dimensions if value else key in dict(dimensions) for key, value in wanted)
    ]
    return respond("ListMetrics", {"Metrics": found}, is_cbor, is_json)


def from_form(parameters):
    """Returns the input of an operation of the Query protocol, in which `A.member.1.B` is a member of the first item of A."""
    tree = {}
    for key, value in parameters.items():
        node = tree
        *path, last = key.split(".")
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value[0] if isinstance(value, list) else value
    return without_members(tree)


def without_members(node):
    """Replaces each `{"member": {"1": …}}` by a list."""
    if not isinstance(node, dict):
        return node
    if node.keys() == {"member"}:
        return [without_members(item) for _, item in sorted(node["member"].items(), key=lambda entry: int(entry[0]))]
    return {key: without_members(value) for key, value in node.items()}


def respond(operation, result, is_cbor, is_json):
    """Returns the response to an operation in the protocol of the request."""
    if is_cbor:
        return cloudwatch._cbor_ok(result)
    if is_json:
        return cloudwatch._json_ok(result)
    return cloudwatch._xml(200, f"{operation}Response", f"<{operation}Result>{to_xml(result)}</{operation}Result>")


def to_xml(value):
    """Returns the XML elements of a result."""
    if isinstance(value, dict):
        return "".join(f"<{name}>{to_xml(item)}</{name}>" for name, item in value.items())
    if isinstance(value, list):
        return "".join(f"<member>{to_xml(item)}</member>" for item in value)
    return cloudwatch._xml_escape(str(value))


def alarm_arn(name):
    """Returns the ARN of an alarm."""
    return f"arn:aws:cloudwatch:{get_region()}:{get_account_id()}:alarm:{name}"


def scaled_rate(expression):
    """Returns the interval of a schedule in seconds, as ministack does, scaled like the minutes of metrics."""
    seconds = parse_rate(expression)
    return seconds and seconds * MINUTE / 60


cloudwatch._evict_old_metrics = lambda: None
cloudwatch.record_metric, cloudwatch._store_datum = record_for_ministack, store_datum
cloudwatch._evaluate_alarm = cloudwatch._evaluate_parent_alarms = lambda *_: None
cloudwatch._evaluate_all_alarms = lambda: None
cloudwatch._get_metric_data, cloudwatch._get_metric_statistics = get_metric_data, get_metric_statistics
cloudwatch._list_metrics = list_metrics
parse_rate, eventbridge._parse_rate_seconds = eventbridge._parse_rate_seconds, scaled_rate
eventbridge._SCHEDULER_TICK_INTERVAL = min(eventbridge._SCHEDULER_TICK_INTERVAL, MINUTE)
threading.Thread(target=watch, daemon=True).start()
