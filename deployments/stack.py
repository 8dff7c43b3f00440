"""A Prefect server and one worker on this machine: start, deploy, stop.

    python -m deployments.stack up       a lasting server with a worker; the UI stays open
    python -m deployments.stack down     stop them
    python -m deployments.stack status   say whether they run
    python -m deployments.stack guard    stop them when standard input ends

Everything lives below `.looptool/` of the checkout (Prefect's database and results, logs, process ids),
so the user's own Prefect profile is never touched. Every process carries a mark in its environment, by
which all of them are found and stopped.
"""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from deployments.api import api_url, connect, post

HOME = Path(__file__).resolve().parent.parent
STATE = Path(os.environ.get("LOOPTOOL_STATE", HOME / ".looptool")).resolve()
LOGS = STATE / "logs"
PREFECT = (sys.executable, "-m", "prefect")
POOL = "local"
MARK = "LOOPTOOL_STACK"
"""Environment variable by which every process of the stack is found again."""
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 15.0


CHILDREN: dict[str, subprocess.Popen[bytes]] = {}
"""What this process has started, to be reaped when it is stopped."""


class StackError(Exception):
    """The local Prefect stack could not be started or used."""


def environment(port: int) -> dict[str, str]:
    """Environment of every process of the stack."""
    return os.environ | {
        MARK: str(STATE),
        "PREFECT_HOME": str(STATE / "prefect"),
        "PREFECT_API_URL": api_url(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_DATABASE_TIMEOUT": "30",  # SQLite locks for seconds on a busy machine
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
    }


def healthy(port: int) -> bool:
    """Whether a Prefect server answers on the port."""
    try:
        return httpx.get(f"{api_url(port)}/health", timeout=2.0).status_code == 200
    except httpx.HTTPError:
        return False


def free_port(wanted: int) -> int:
    """The wanted port if nothing listens there, else any free one."""
    for port in (wanted, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                listener.bind(("127.0.0.1", port))
                return int(listener.getsockname()[1])
    raise StackError("no free TCP port on 127.0.0.1")


def spawn(name: str, command: tuple[str, ...], port: int) -> subprocess.Popen[bytes]:
    """Start a process of the stack in its own group."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=HOME,
            env=environment(port),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (STATE / f"{name}.pid").write_text(f"{process.pid} {port}\n")
    CHILDREN[name] = process
    return process


def read_pid(name: str) -> tuple[int, int] | None:
    """Process id and port that were noted for a process of the stack, if it still runs."""
    try:
        pid, port = (int(n) for n in (STATE / f"{name}.pid").read_text().split())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return (pid, port) if b"prefect" in command else None


def stop(name: str) -> bool:
    """Stop a process of the stack with its whole group; False if it does not run."""
    noted = read_pid(name)
    if noted is None:
        (STATE / f"{name}.pid").unlink(missing_ok=True)
        return False
    pid = noted[0]
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while time.monotonic() < deadline and read_pid(name):
            if name in CHILDREN:
                CHILDREN[name].poll()
            time.sleep(0.1)
        if read_pid(name) is None:
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    if name in CHILDREN:
        CHILDREN.pop(name).wait()
    (STATE / f"{name}.pid").unlink(missing_ok=True)
    return True


def tail(name: str, lines: int = 15) -> str:
    """The end of a process's log."""
    with contextlib.suppress(OSError):
        return "\n".join((LOGS / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])
    return "(no log)"


def wait_healthy(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers; StackError with its log otherwise."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if healthy(port):
            return
        if process.poll() is not None:
            raise StackError(f"the Prefect server ended at once:\n{tail('server')}")
        time.sleep(0.3)
    raise StackError(
        f"no answer from the Prefect server in {START_TIMEOUT_S:.0f} s:\n{tail('server')}"
    )


def run_module(port: int, module: str, *arguments: str) -> str:
    """Run a Python module against the server to its end; StackError with its output if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=HOME,
        env=environment(port),
        capture_output=True,
        text=True,
        check=False,
        timeout=START_TIMEOUT_S,
    )
    if done.returncode != 0:
        command = " ".join([module, *arguments])
        raise StackError(f"{command} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def start(wanted_port: int, say: Callable[[str], None] = print, store_root: str = "") -> int:
    """Start server and worker, apply prefect.yaml, and return the port.

    A server of this checkout that already runs is used as it is. With the root of a remote store, results
    of tasks are kept there.
    """
    results = ("--store", store_root) if store_root else ()
    running = read_pid("server")
    if running and healthy(running[1]) and read_pid("worker"):
        return running[1]
    stop_all()
    port = free_port(wanted_port)
    say("starting the Prefect server …")
    command = (*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port))
    wait_healthy(port, spawn("server", command, port))
    say("starting a worker, setting up and applying prefect.yaml …")
    worker = ("worker", "start", "--pool", POOL, "--type", "process", "--name", "looptool")
    spawn("worker", (*PREFECT, *worker), port)
    run_module(port, "deployments.setup", *results)
    release_stale_runs(port)
    return port


def release_stale_runs(port: int) -> None:
    """Mark runs of an earlier, killed server as crashed: they would hold their deployment's slot."""
    body = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}}
    with connect(port) as client:
        for run in post(client, "/flow_runs/filter", body):
            state = {
                "type": "CRASHED",
                "message": "The process that ran it was killed; run it again to resume.",
            }
            post(client, f"/flow_runs/{run['id']}/set_state", {"state": state, "force": True})


def stop_all() -> bool:
    """Stop worker and server with all that they started; False if nothing ran."""
    stopped = [stop("worker"), bool(sweep()), stop("server")]
    return any(stopped)


def sweep() -> int:
    """Kill what a worker left behind: flow runs lead sessions of their own and outlive it."""
    mark = f"{MARK}={STATE}".encode()
    server = read_pid("server")
    killed = 0
    for process in Path("/proc").glob("[0-9]*"):
        pid = int(process.name)
        with contextlib.suppress(OSError):
            marked = mark in (process / "environ").read_bytes().split(b"\0")
            if marked and pid != os.getpid() and not (server and os.getpgid(pid) == server[0]):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    return killed


@contextlib.contextmanager
def running_stack(
    wanted_port: int, say: Callable[[str], None] = print, store_root: str = ""
) -> Iterator[int]:
    """A stack for the time of a block: one that ran before goes on running, a new one is stopped."""
    if read_pid("server") and read_pid("worker"):
        yield start(wanted_port, say, store_root)
        return
    guard = start_guard()
    try:
        yield start(wanted_port, say, store_root)
    finally:
        stop_all()
        guard.kill()
        guard.communicate()


def start_guard() -> subprocess.Popen[bytes]:
    """A process that stops the stack when this one dies, however it dies: its input ends then."""
    return subprocess.Popen(
        [sys.executable, "-m", "deployments.stack", "guard"],
        cwd=HOME,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def main() -> int:
    """Command line of the module."""
    parser = argparse.ArgumentParser(prog="python -m deployments.stack", description=__doc__)
    parser.add_argument("action", choices=("up", "down", "status", "guard"))
    parser.add_argument("--port", type=int, default=4200)
    parser.add_argument("--store", default="", metavar="ROOT", help="keep results of tasks there")
    options = parser.parse_args()
    try:
        if options.action == "up":
            port = start(options.port, store_root=options.store)
            print(f"Prefect UI: http://127.0.0.1:{port}   (stop with: make down)")
            print("Run an iteration: prefect deployment run looptool/iterate -p campaign=nightly")
            print(f"with PREFECT_API_URL={api_url(port)}")
        elif options.action == "guard":
            sys.stdin.read()
            stop_all()
        elif options.action == "down":
            print("stopped" if stop_all() else "nothing was running")
        else:
            noted = read_pid("server")
            print(f"running on port {noted[1]}" if noted else "not running")
    except StackError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
