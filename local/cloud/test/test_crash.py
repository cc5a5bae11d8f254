import os
import signal
import socket
import subprocess
import sys
import threading
import unittest
from unittest import mock

from ministack.services import dynamodb, lambda_svc

import crash

QUEUE = "arn:aws:sqs:us-east-1:000000000000:queue"
RECORD = {"event_invoke_config": {"DestinationConfig": {"OnFailure": {"Destination": QUEUE}}}}


def invocations():
    """Returns the unfinished invocations in the state."""
    return crash.get_pending()["invocations"]


class Crash(unittest.TestCase):
    def setUp(self):
        crash.pending.clear()

    def test_an_invocation_is_in_the_state_until_the_function_succeeds(self):
        event = {"number": 1}
        crash.register(RECORD, "function", event)
        for result, expected in [({"error": True}, [["function", event]]), ({"body": {}}, [])]:
            with mock.patch.object(crash, "execute_function", return_value=result):
                crash.execute({}, event)
            self.assertEqual(invocations(), expected)

    def test_an_invocation_is_in_the_state_until_its_destination_has_the_event(self):
        event = {"number": 2}
        crash.register(RECORD, "function", event)
        with mock.patch.object(crash, "route_async_failure", side_effect=lambda *_: self.assertEqual(len(invocations()), 1)):
            crash.route_failure("queue", "function", event, {})
        self.assertEqual(invocations(), [])

    def test_an_invocation_without_a_destination_is_not_kept(self):
        crash.register({"event_invoke_config": None, "event_invoke_configs": {}}, "function", {})
        self.assertEqual(invocations(), [])

    def test_the_next_start_invokes_the_functions_again_when_it_serves_requests(self):
        invoked, done = [], threading.Event()

        def invoke(*invocation):
            invoked.append(invocation)
            done.set()

        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            with mock.patch.dict(os.environ, GATEWAY_PORT=str(server.getsockname()[1])):
                crash.resume({"invocations": [["function", {"number": 3}]]}, invoke)
                self.assertEqual(invoked, [])
                server.listen()
                self.assertTrue(done.wait(10))
        self.assertEqual(invoked, [("function", {"number": 3})])

    def test_functions_read_a_stream_where_they_had_stopped(self):
        table, mapping = "arn:aws:dynamodb:us-east-1:000000000000:table/Items/stream/now", "mapping"
        scope = ("000000000000", "us-east-1", mapping)
        positions = lambda_svc._dynamodb_stream_positions._data
        esms = {scope: {"UUID": mapping, "EventSourceArn": table}}
        with mock.patch.object(lambda_svc._esms, "_data", esms), mock.patch.dict(positions, {scope: 7}):
            # Three records have expired. A new process counts the other ones from zero.
            with mock.patch.object(dynamodb, "stream_start_position", return_value=3):
                saved = crash.get_positions()
            positions.clear()
            with mock.patch.object(crash.persistence, "load_state", return_value=saved):
                crash.restore_positions(lambda_svc._kinesis_positions, {})
                self.assertEqual(positions, {})
                crash.restore_positions(lambda_svc._dynamodb_stream_positions, {})
            self.assertEqual(positions, {scope: 4})

    def test_positions_are_saved_first_and_invocations_last(self):
        saved = crash.with_own_state({"dynamodb": None})
        self.assertEqual(list(saved), ["stream_positions", "dynamodb", "pending_invocations"])

    def test_a_crash_saves_the_state_before_it_kills_the_process_group(self):
        code = "import crash; crash.crash(lambda: print('saved', flush=True)); print('alive')"
        folder = os.path.dirname(crash.__file__)
        killed = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, start_new_session=True)
        self.assertEqual((killed.returncode, killed.stdout), (-signal.SIGKILL, b"saved\n"))
