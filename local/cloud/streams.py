"""Streams of DynamoDB tables as Lambda reads them: partial failures of batches, and the ages of records.

ministack ignores ReportBatchItemFailures of a mapping to a stream: it would skip the records that a function could not process.
"""

import contextvars
import time

from ministack.core.arn import parse_arn
from ministack.services import dynamodb, lambda_svc

from monitoring import collectors, record

is_polling = contextvars.ContextVar("is_polling", default=False)


def poll():
    """Invokes the functions that read streams, as ministack does."""
    token = is_polling.set(True)
    try:
        return poll_streams()
    finally:
        is_polling.reset(token)


def execute_batch(function, event):
    """Invokes a function as ministack does. A batch with failures fails, so that the function gets it again.

    Lambda would send it only from the first record that failed on.
    """
    result = execute(function, event)
    if not is_polling.get():
        return result
    record_age(function, max(map(age_of, event["Records"][-1:])))
    body = result.get("body")
    if isinstance(body, dict) and body.get("batchItemFailures"):
        return result | {"error": True}
    return result


def record_age(function, age, at=None):
    """Records the metric IteratorAge of a function."""
    name = function if isinstance(function, str) else (function.get("config") or function)["FunctionName"]
    record("AWS/Lambda", "IteratorAge", age, {"FunctionName": name}, at)


def age_of(stream_record):
    """Returns the age of a record of a stream in milliseconds."""
    return max(0, (time.time() - float(stream_record["dynamodb"]["ApproximateCreationDateTime"])) * 1000)


def collect_ages(at):
    """Records the age of the oldest record that each function has not processed. A function that fails does not advance."""
    for account, region, mapping in lambda_svc._iter_all_esms():
        source = parse_arn(mapping.get("EventSourceArn", ""))
        table = lambda_svc._dynamodb_stream_table_from_arn_spec(source) if source.service == "dynamodb" else None
        position = lambda_svc._dynamodb_stream_positions.get(mapping["UUID"])
        if table and position is not None:
            [name, _] = table
            position = max(position, dynamodb.stream_start_position(name, account_id=account, region=region))
            for oldest in dynamodb.stream_records_since(name, position, 1, account_id=account, region=region):
                record_age(mapping["FunctionName"], age_of(oldest), at)


poll_streams, lambda_svc._poll_dynamodb_streams = lambda_svc._poll_dynamodb_streams, poll
execute, lambda_svc._execute_function = lambda_svc._execute_function, execute_batch
collectors.append(collect_ages)
