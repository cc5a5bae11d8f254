"""Crashes of the local cloud that lose no acknowledged write.

`POST /_local/crash` saves the state of all services and then kills the local cloud and all functions with SIGKILL, in one step
of the event loop. So no request that has a response is missing in the saved state, as if each write had been durable: DynamoDB
loses no acknowledged write either. A kill at another moment would lose the writes since the last save, which no AWS service
does. Requests and invocations in progress end without a response.

The state includes the asynchronous invocations that are not finished. The next start invokes these functions again: Lambda
keeps an event until the function has processed it, too. The state also includes how far the functions have read the streams of
tables, so that a start does not invoke them with all records again.
"""

import os
import signal
import socket
import threading
import time

from ministack.core import persistence
from ministack.core.arn import parse_arn
from ministack.core.responses import AccountRegionScopedDict
from ministack.services import dynamodb, lambda_svc

PATH = "/_local/crash"
INVOCATIONS, POSITIONS = "pending_invocations", "stream_positions"  # the names of the files with the state

pending = {}  # the function and the event of each unfinished asynchronous invocation, by the identity of the event


def register(record, function, event):
    """Registers an asynchronous invocation until its function has succeeded or its on-failure destination has the event."""
    settings = record.get("event_invoke_config") or record.get("event_invoke_configs", {}).get("$LATEST") or {}
    if (settings.get("DestinationConfig") or {}).get("OnFailure"):  # without one, nothing keeps the event either
        pending[id(event)] = (function, event)


def execute(func, event):
    """Invokes a function once as ministack does."""
    result = execute_function(func, event)
    if not result.get("error"):
        pending.pop(id(event), None)
    return result


def route_failure(target, name, event, result):
    """Sends an event that the function could not process to the on-failure destination, as ministack does."""
    route_async_failure(target, name, event, result)
    pending.pop(id(event), None)


def with_own_state(services):
    """Adds the state of this module to the functions that return the state of each service.

    The positions are read first: a record may be read again, but none may be skipped. The invocations are read last: a function
    that has read a record may have caused an invocation.
    """
    return {POSITIONS: get_positions} | services | {INVOCATIONS: get_pending}


def get_pending():
    """Returns the asynchronous invocations that are not finished."""
    return {"invocations": [list(invocation) for invocation in list(pending.values())]}


def get_positions():
    """Returns the number of stored records that each function has read from the stream of a table."""
    positions = AccountRegionScopedDict()
    for account, region, mapping in lambda_svc._iter_all_esms():
        position = lambda_svc._dynamodb_stream_positions.get_scoped(account, region, mapping["UUID"])
        if position is not None:
            table, _ = lambda_svc._dynamodb_stream_table_from_arn_spec(parse_arn(mapping["EventSourceArn"]))
            start = dynamodb.stream_start_position(table, account_id=account, region=region)
            positions.set_scoped(account, region, mapping["UUID"], position - start)
    return {"read": positions}


def restore_positions(store, _):
    """Restores the saved positions in streams of tables. ministack saves positions that may be later than the saved records."""
    state = persistence.load_state(POSITIONS)
    if state and store is lambda_svc._dynamodb_stream_positions:
        store.update(state["read"])


def resume(state, invoke):
    """Starts the invocations of the saved state again, once the local cloud serves requests."""

    def wait_and_invoke():
        address = ("127.0.0.1", int(os.environ["GATEWAY_PORT"]))
        while True:
            try:
                socket.create_connection(address, timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        for function, event in state["invocations"]:
            invoke(function, event)

    threading.Thread(target=wait_and_invoke, daemon=True).start()


def crash(save):
    """Saves the state, and kills this process and the functions, which are in the same process group."""
    save()
    os.killpg(os.getpgrp(), signal.SIGKILL)


execute_function, lambda_svc._execute_function = lambda_svc._execute_function, execute
route_async_failure, lambda_svc._route_async_failure = lambda_svc._route_async_failure, route_failure
lambda_svc._restore_esm_positions = restore_positions
