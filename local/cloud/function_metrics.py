"""The metrics of functions: those that Lambda measures, and those in the logs of functions.

ministack records metrics only for calls of the API Invoke.
"""

import json
import time

from ministack.services import lambda_svc

from monitoring import record


def measure(function, event):
    """Invokes a function as ministack does, and records the metrics of Lambda."""
    config = function.get("config") or function
    if lambda_svc._function_config_scope_mismatch(config):
        return execute(function, event)  # calls this function again
    started = time.monotonic()
    result = execute(function, event)
    duration = (time.monotonic() - started) * 1000
    is_throttled = bool(result.get("throttle"))
    values = {"Throttles": int(is_throttled)}
    if not is_throttled:
        values |= {"Invocations": 1, "Errors": int(bool(result.get("error"))), "Duration": duration}
    for name, value in values.items():
        record("AWS/Lambda", name, value, {"FunctionName": config["FunctionName"]})
    return result


def write_logs(function, request, text, *arguments, **options):
    """Writes the logs of an invocation as ministack does, and records the metrics in them."""
    for line in (text or "").splitlines():
        if line.startswith("{") and '"_aws"' in line:
            record_embedded(line)
    write(function, request, text, *arguments, **options)


def record_embedded(line):
    """Records the metrics in a line in the embedded metric format. CloudWatch ignores a malformed line, too.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    try:
        values = json.loads(line)
        for directive in values["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                dimensions = {name: str(values[name]) for name in names}
                for metric in directive["Metrics"]:
                    found = values.get(metric["Name"])
                    # The value counts for the minute in which it arrives: a minute that was evaluated is not evaluated again.
                    for value in found if isinstance(found, list) else [] if found is None else [found]:
                        record(directive["Namespace"], metric["Name"], value, dimensions)
    except (KeyError, TypeError, ValueError):
        pass


execute, lambda_svc._execute_function = lambda_svc._execute_function, measure
lambda_svc._emit_lambda_metrics = lambda *_, **__: None
write, lambda_svc._emit_lambda_logs = lambda_svc._emit_lambda_logs, write_logs
