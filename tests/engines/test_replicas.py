"""Replicas on Ray answer in order, and a portion whose replica died is redone."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from looptool.engines import EngineOptions, Generation
from looptool.engines.client import ChildEngine
from looptool.errors import ConfigError
from looptool.records import Sample

pytestmark = [pytest.mark.engines, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
BASE = HERE.parents[1] / "models" / "nano-base"
Answers = Callable[..., list[Generation]]


def _replicas() -> dict[int, int]:
    """Process id of each replica, and of the raylet (that is, the node) that runs it."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
            status = (folder / "stat").read_text()
        except OSError:
            continue
        if title.startswith(b"ray::Replica"):
            found[int(folder.name)] = int(status.rsplit(")", 1)[1].split()[1])
    return found


@pytest.fixture(scope="module")
def two_nodes(engines_python: Path) -> Iterator[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE.parents[1]),
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
    }
    cluster = subprocess.Popen(
        [str(engines_python), str(HERE / "two_nodes.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert cluster.stdout is not None
    assert cluster.stdin is not None
    lines = iter(cluster.stdout.readline, "")
    yield next(line.strip() for line in lines if line.startswith(("127.", "1", "2")))
    cluster.stdin.close()
    cluster.wait(timeout=60)
    cluster.stdout.close()


def _open(python: Path, replicas: int, address: str = "") -> ChildEngine:
    options = EngineOptions(
        python=str(python),
        replicas=replicas,
        ray_address=address,
        threads=1,
        cache_gib=0.25,
        context_tokens=1024,
        timeout_s=400,
    )
    return ChildEngine("vllm", BASE, options)


def test_two_replicas_on_two_nodes_answer_and_draw_in_order_and_a_dead_one_is_replaced(
    two_nodes: str,
    engines_python: Path,
    samples: list[Sample],
    ask: Answers,
    check_equal: Callable[[list[Generation]], None],
    check_drawn: Callable[..., None],
) -> None:
    engine = _open(engines_python, 2, two_nodes)
    try:
        places = _replicas()
        assert len(places) == 2
        assert len(set(places.values())) == 2
        check_equal(ask(engine, samples))
        check_drawn(engine)
        victim = sorted(places)[0]
        seen: list[tuple[int, int]] = []

        def kill(done: int, total: int) -> None:
            seen.append((done, total))
            if len(seen) == 1:
                os.kill(victim, signal.SIGKILL)

        long = samples * 6
        found = ask(engine, long, on_progress=kill)
        for start in range(0, len(long), len(samples)):
            check_equal(found[start : start + len(samples)])
        assert seen[-1] == (len(long), len(long))
        now = _replicas()
        assert len(now) == 2
        assert victim not in now
    finally:
        engine.close()
    deadline = time.monotonic() + 30
    while _replicas() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _replicas()


def test_more_replicas_than_the_cluster_can_hold_are_refused_at_once(
    two_nodes: str, engines_python: Path
) -> None:
    with pytest.raises(ConfigError, match=r"9 replicas need 9 CPUs.*has 2"):
        _open(engines_python, 9, two_nodes)
