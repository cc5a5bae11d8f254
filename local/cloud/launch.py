"""Starts the local cloud: ministack, settled by its environment (see xtask), with the two changes below."""

import logging
import socketserver
import threading
import time

from ministack import app as ministack

# A function's answer goes out at once, instead of 40 ms later with the next acknowledgement.
socketserver.StreamRequestHandler.disable_nagle_algorithm = True

# ministack saves its state when asked to stop. Save it while running too, so that a kill loses seconds, not everything.
SHORTEST_INTERVAL = 5  # seconds
REST_PER_SAVE = 20  # saving takes at most a twentieth of the time
READS = {"GET", "HEAD", "OPTIONS"}

changed = threading.Event()
saving = threading.Lock()
serve, save_all = ministack.app, ministack.save_all


async def serve_and_note_changes(scope, receive, send):
    await serve(scope, receive, send)
    if scope.get("method", "GET") not in READS:
        changed.set()


def save_one_at_a_time(services):
    with saving:  # the last save, on stopping, may meet one of ours
        save_all(services)


def keep_saving():
    while changed.wait():
        changed.clear()
        began = time.monotonic()
        try:
            ministack.save_all(ministack._build_persistence_save_dict())
        except Exception:
            logging.exception("The state could not be saved; trying again after the next change")
        time.sleep(max(SHORTEST_INTERVAL, REST_PER_SAVE * (time.monotonic() - began)))


ministack.app, ministack.save_all = serve_and_note_changes, save_one_at_a_time
logging.getLogger("persistence").setLevel(logging.WARNING)  # or it logs a line per service and save
threading.Thread(target=keep_saving, daemon=True).start()
ministack.main()
