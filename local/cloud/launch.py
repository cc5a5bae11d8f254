"""Starts the local cloud: ministack, settled by its environment (see xtask), with the changes below."""

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
from ministack.core import iam_actions, persistence
from ministack.services import dynamodb, eventbridge, lambda_svc, s3, sns

# A function's answer goes out at once, instead of 40 ms later with the next acknowledgement.
socketserver.StreamRequestHandler.disable_nagle_algorithm = True

# ministack saves its state when asked to stop. Save it while running too, so that a kill loses seconds, not everything.
SHORTEST_INTERVAL = 5  # seconds
REST_PER_SAVE = 20  # saving takes at most a twentieth of the time
READS = {"GET", "HEAD", "OPTIONS"}

# ministack saves service by service. Each save is a folder of its own here, and counts once it is complete: services
# that refer to each other are never loaded from two different moments.
SAVES = pathlib.Path(os.environ["STATE_DIR"]) / "saves"
CURRENT = SAVES / "current"

changed = threading.Event()
saving = threading.Lock()
serve, load, save_all = ministack.app, ministack._load_persisted_state, ministack.save_all


async def serve_and_note_changes(scope, receive, send):
    await serve(scope, receive, send)
    if scope.get("method", "GET") not in READS:
        changed.set()


def use(save):
    """Where ministack reads and writes its state, the functions' code included."""
    persistence.STATE_DIR = str(save)
    lambda_svc.CODE_BLOB_DIR = str(save / "lambda-blobs")


def at_rest(get_state):
    """Reads the state of a service again when a request has changed it in the middle."""

    def read():
        for _ in range(20):
            try:
                return get_state()
            except RuntimeError:  # dictionary changed size during iteration
                time.sleep(0.05)
        return get_state()

    return read


def save_as_one(services):
    with saving:  # the last save, on stopping, may meet one of ours
        following = SAVES / str(time.time_ns())
        if CURRENT.exists():
            shutil.copytree(CURRENT, following, copy_function=os.link)  # what has not changed is not written again
        else:
            following.mkdir(parents=True)
        use(following)
        save_all({name: at_rest(get_state) for name, get_state in services.items()})
        link = SAVES / "next"
        link.unlink(missing_ok=True)
        link.symlink_to(following.name)
        link.replace(CURRENT)
        for save in SAVES.iterdir():
            if save not in (following, CURRENT):
                shutil.rmtree(save)


def load_as_saved():
    """Objects are written at once, buckets with the state: one that the save does not know would stand in the way."""
    load()
    buckets = s3._buckets._data
    for unknown in [name for name, bucket in buckets.items() if bucket["region"] is None]:
        del buckets[unknown]


def tables_and_streams():
    tables = get_tables()  # first: what is in a table must be in its stream
    return tables | {"streams": copy.deepcopy(dynamodb._stream_records)}


def load_tables_and_streams(state):
    load_tables(state)
    dynamodb._stream_records.update(state.get("streams", {}))


def invoke(function, event):
    """What comes by SNS or EventBridge is tried as often as Lambda does, and then goes where failures go."""
    record, settings, _ = lambda_svc._get_func_record_for_ref(function)
    if record and settings:
        lambda_svc.invoke_async_with_retry(lambda_svc._execution_record_for_config(record, settings), event)


def deliver(function, message, topic, subscription, *_):
    record = {"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": subscription}
    invoke(function, {"Records": [record | {"Sns": json.loads(message)}]})


def resource_of(service, method, path, headers, body, *rest):
    """Leave to read one parameter is enough to read it by GetParameters, which takes a list."""
    if service == "ssm" and len(names := json.loads(body).get("Names", [])) == 1:
        body = json.dumps({"Name": names[0]})
    return extract_resource_arn(service, method, path, headers, body, *rest)


def keep_saving():
    while changed.wait():
        changed.clear()
        began = time.monotonic()
        try:
            ministack.save_all(ministack._build_persistence_save_dict())
        except Exception:
            logging.exception("The state could not be saved; trying again after the next change")
        time.sleep(max(SHORTEST_INTERVAL, REST_PER_SAVE * (time.monotonic() - began)))


use(CURRENT)
ministack.app, ministack.save_all = serve_and_note_changes, save_as_one
ministack._load_persisted_state = load_as_saved
get_tables, load_tables = dynamodb.get_state, dynamodb.load_persisted_state
dynamodb.get_state, dynamodb.load_persisted_state = tables_and_streams, load_tables_and_streams
# Streams are read again from their beginning: what functions were at when the cloud ended, it has forgotten.
lambda_svc._restore_esm_positions = lambda *_: None
extract_resource_arn, iam_actions.extract_resource_arn = iam_actions.extract_resource_arn, resource_of
sns._deliver_to_lambda = deliver
eventbridge._dispatch_to_lambda = lambda function, event: invoke(function, json.loads(event))
logging.getLogger("persistence").setLevel(logging.WARNING)  # or it logs a line per service and save
threading.Thread(target=keep_saving, daemon=True).start()
ministack.main()
