"""The child's side of `looptool.engines.process`: read requests, answer, die with the parent."""

import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from looptool.errors import LoopToolError

JsonObject = dict[str, Any]
Emit = Callable[[JsonObject], None]
Handler = Callable[[JsonObject, Emit], JsonObject]


def serve(handle: Handler) -> None:
    """Answer requests with `handle(request, emit)` until the parent is gone; never returns."""
    out = os.fdopen(int(os.environ["LOOPTOOL_RESULT_FD"]), "w", encoding="utf-8")
    requests: queue.SimpleQueue[JsonObject] = queue.SimpleQueue()
    threading.Thread(target=_read_requests, args=(requests,), daemon=True).start()

    def send(event: str, **fields: Any) -> None:
        out.write(json.dumps({"event": event, **fields}) + "\n")
        out.flush()

    while True:
        request = requests.get()
        try:
            result = handle(request, lambda value: send("progress", value=value))
        except LoopToolError as exc:
            send("error", type=type(exc).__name__, message=str(exc))
        except Exception as exc:
            text = f"{type(exc).__name__}: {exc}"
            send("error", type="", message=text, traceback=traceback.format_exc()[-2000:])
        else:
            send("result", value=result)


def _read_requests(requests: "queue.SimpleQueue[JsonObject]") -> None:
    for line in sys.stdin:
        requests.put(json.loads(line))
    os.killpg(os.getpgid(0), signal.SIGKILL)
