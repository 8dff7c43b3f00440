"""Jobs for the child process tests: run as a module, ask by `op`."""

import os
import subprocess
import sys
import time
from typing import Any

from looptool.engines.worker import Emit, serve
from looptool.errors import DataError


def handle(request: dict[str, Any], emit: Emit) -> dict[str, Any]:
    match request["op"]:
        case "count":
            for i in range(request["to"]):
                emit({"i": i})
            print("noise on stdout")
            return {"pid": os.getpid()}
        case "echo":
            return {"value": request["value"]}
        case "raise":
            raise ValueError("no such thing")
        case "refuse":
            raise DataError("row 3 is broken")
        case "crash":
            print("the last words", file=sys.stderr)
            os.abort()
        case "sleep":
            grandchild = subprocess.Popen(["sleep", "60"])
            emit({"pid": os.getpid(), "grandchild": grandchild.pid})
            time.sleep(60)
    return {}


if __name__ == "__main__":
    serve(handle)
