"""Crashes of the local cloud that lose no acknowledged write.

`POST /_local/crash` saves the state of all services and then kills the local cloud and all functions with SIGKILL, in one step
of the event loop. So no request that has a response is missing in the saved state, as if each write had been durable: DynamoDB
loses no acknowledged write either. A kill at another moment would lose the writes since the last save, which no AWS service
does. Requests and invocations in progress end without a response.

The state includes the asynchronous invocations that are not finished. The next start invokes these functions again: Lambda
keeps an event until the function has processed it, too.
"""

import os
import signal
import socket
import threading
import time

from ministack.services import lambda_svc

PATH = "/_local/crash"
STATE = "pending_invocations"

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


def get_pending():
    """Returns the state of this module."""
    return {"invocations": [list(invocation) for invocation in list(pending.values())]}


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
