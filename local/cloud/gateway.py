"""The metrics and the access log of API Gateway."""

import contextvars
import hashlib
import re
import time

from ministack.core.responses import new_uuid
from ministack.services import apigateway_v1, cloudwatch_logs, lambda_svc
from ministack.services.cloudformation import provisioners

from monitoring import record

VARIABLE = re.compile(r"\$context\.([\w.]+)")

current = contextvars.ContextVar("current", default=None)  # the context of the request that is handled, with its variables


async def handle_request(api, stage_name, method, path, headers, body, query, account, region):
    """Handles a request to a stage of an API as ministack does. Records its metrics, and writes a line to the access log."""
    started = time.time()
    context = {"requestId": new_uuid(), "xrayTraceId": None, "integrationStatus": None, "integrationLatency": None}
    request = {
        "api_id": api,
        "stage_name": stage_name,
        "stage": None,
        "headers": headers or {},
        "query_params": query or {},
        "path_params": {},
        "resource_path": "",
        "request_id": context["requestId"],
    }
    token = current.set(context)
    try:
        response = await apigateway_v1._execute_in_scope(
            request, api, stage_name, method, path, headers, body, query, account, region
        )
    finally:
        current.reset(token)
    error = None
    if isinstance(response, apigateway_v1._GatewayError):
        error, response = response.response_type, apigateway_v1._gateway_error_response(response, request)
    # Clients get the ID that the function and the access log have.
    response[1]["x-amzn-requestid"] = context["requestId"]
    if request["stage"] is not None:
        status, latency = response[0], (time.time() - started) * 1000
        dimensions = {"ApiName": apigateway_v1._rest_apis[api]["name"], "Stage": stage_name}
        values = {
            "Count": 1,
            "4XXError": int(400 <= status < 500),
            "5XXError": int(status >= 500),
            "Latency": latency,
            "IntegrationLatency": context["integrationLatency"],
        }
        for name, value in values.items():
            if value is not None:
                record("AWS/ApiGateway", name, value, dimensions)
        context |= {
            "apiId": api,
            "stage": stage_name,
            "httpMethod": method,
            "path": f"/{stage_name}{path}",
            "resourcePath": request["resource_path"] or None,
            "protocol": "HTTP/1.1",
            "requestTimeEpoch": int(started * 1000),
            "status": status,
            "responseLatency": round(latency),
            "responseLength": len(response[2] or b""),
            "extendedRequestId": context["requestId"],
            "error.responseType": error,
        }
        write_access_log(request["stage"], context)
    return response


def write_access_log(stage, context):
    """Writes a line to the access log of a stage, if it has one."""
    settings = stage.get("accessLogSettings") or {}
    group = cloudwatch_logs._log_groups.get((settings.get("destinationArn") or "").partition(":log-group:")[2].removesuffix(":*"))
    if group is None:
        return
    line = VARIABLE.sub(lambda match: text_of(context.get(match[1])), settings["format"])
    now = int(time.time() * 1000)
    name = hashlib.md5(stage["stageName"].encode()).hexdigest()
    stream = group["streams"].setdefault(
        name,
        {
            "events": [],
            "uploadSequenceToken": "1",
            "creationTime": now,
            "firstEventTimestamp": None,
            "lastEventTimestamp": None,
            "lastIngestionTime": None,
        },
    )
    cloudwatch_logs._append_log_events(stream, [{"timestamp": now, "message": line, "ingestionTime": now}])


def text_of(variable):
    """Returns a variable of the access log as text. API Gateway writes - for a variable without a value."""
    return "-" if variable is None else str(variable)


def id_of_request():
    """Returns the ID of the request that is handled, so that the function gets the same ID as the access log.

    If no request is handled, returns a new ID.
    """
    context = current.get()
    return context["requestId"] if context else new_uuid()


async def call_function(*arguments, **options):
    """Invokes the function of a route as ministack does, and notes its latency and status."""
    started = time.time()
    result, error = await call(*arguments, **options)
    if context := current.get():
        context["integrationLatency"] = round((time.time() - started) * 1000)
        context["integrationStatus"] = 200 if result and not result.get("error") else 502
    return result, error


def trace_of_invocation(*arguments, **options):
    """Returns the trace header of an invocation as ministack does, and notes the ID of the trace."""
    header = make_trace(*arguments, **options)
    if header and (context := current.get()):
        context["xrayTraceId"] = header.split(";")[0].removeprefix("Root=")
    return header


def write_logs(function, invocation, *arguments, **options):
    """Writes the logs of an invocation as ministack does, and notes the ID of the invocation."""
    if context := current.get():
        context["awsEndpointRequestId"] = invocation
    write(function, invocation, *arguments, **options)


def with_access_log(change):
    """Returns a function that creates or updates the stage of an API, and also sets its access log."""

    def change_stage(*arguments):
        result = change(*arguments)
        properties = next(argument for argument in reversed(arguments) if isinstance(argument, dict))
        settings = properties.get("AccessLogSetting") or {}
        stage = apigateway_v1._stages_v1[properties["RestApiId"]][properties["StageName"]]
        stage["accessLogSettings"] = {
            name: settings[property]
            for name, property in (("destinationArn", "DestinationArn"), ("format", "Format"))
            if property in settings
        }
        return result

    return change_stage


apigateway_v1._handle_execute_in_scope, apigateway_v1.new_uuid = handle_request, id_of_request
call, apigateway_v1._call_lambda_raw = apigateway_v1._call_lambda_raw, call_function
write, lambda_svc._emit_lambda_logs = lambda_svc._emit_lambda_logs, write_logs
make_trace, lambda_svc._xray_trace_id_for_invocation = lambda_svc._xray_trace_id_for_invocation, trace_of_invocation
stages = provisioners._RESOURCE_HANDLERS["AWS::ApiGateway::Stage"]
stages["create"], stages["update"] = with_access_log(stages["create"]), with_access_log(stages["update"])
