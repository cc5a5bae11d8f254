"""Faults that tests cause: $STATE_DIR/faults.json, which is read at each request.

`throttledTables` has the names of tables that refuse all requests for items, as a table does whose throughput is exceeded.
`delayMs` has the number of milliseconds by which the requests to a table are delayed, by the table's name.
"""

import asyncio
import json
import os
import pathlib

from ministack.core.responses import error_response_json
from ministack.services import dynamodb

from monitoring import record

FILE = pathlib.Path(os.environ["STATE_DIR"]) / "faults.json"
READS = {"BatchGetItem", "GetItem", "Query", "Scan", "TransactGetItems"}
WRITES = {"BatchWriteItem", "DeleteItem", "PutItem", "TransactWriteItems", "UpdateItem"}
MESSAGE = "The level of configured provisioned throughput for the table was exceeded."


def read_faults():
    """Returns the content of the file. There are no faults if it does not exist."""
    try:
        return json.loads(FILE.read_text())
    except FileNotFoundError:
        return {}


def tables_of(request):
    """Yields the tables in a request for items."""
    if "TableName" in request:
        yield request["TableName"]
    yield from request.get("RequestItems") or []
    for item in request.get("TransactItems") or []:
        for operation in item.values():
            yield operation["TableName"]


async def handle_request(method, path, headers, body, query):
    """Handles a request to DynamoDB as ministack does, with the faults."""
    operation = headers.get("x-amz-target", "").split(".")[-1]
    faults = read_faults() if operation in READS | WRITES else None
    if faults:
        tables = {table.split("/")[-1] for table in tables_of(json.loads(body))}
        if throttled := tables & set(faults.get("throttledTables", [])):
            for table in throttled:
                name = "ReadThrottleEvents" if operation in READS else "WriteThrottleEvents"
                record("AWS/DynamoDB", name, 1, {"TableName": table})
            return error_response_json("ProvisionedThroughputExceededException", MESSAGE, 400)
        await asyncio.sleep(max((faults.get("delayMs", {}).get(table, 0) for table in tables), default=0) / 1000)
    return await handle(method, path, headers, body, query)


handle, dynamodb.handle_request = dynamodb.handle_request, handle_request
