"""`python -m fuzz`: run targets for a while, or one input again.

    python -m fuzz --seconds 600                       every target for ten minutes, one after another
    python -m fuzz parser matcher --seconds 60         these two
    python -m fuzz parser --replay FILE                one input, without a fuzzer: what a finding was

Needs `pip install 'looptool[fuzz]'` (atheris; Linux or macOS, Python 3.11 to 3.13), a replay does not. What was
learned is kept in .looptool/fuzz/<target>/corpus for the next time; a finding is a file crash-…, timeout-… or
oom-… beside it. The exit status is 1 after a finding.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from fuzz.targets import TARGETS

STATE = Path(os.environ.get("LOOPTOOL_STATE", ".looptool")) / "fuzz"
FINDINGS = ("crash-*", "timeout-*", "oom-*", "leak-*")


@dataclass(frozen=True)
class Outcome:
    """One target's run."""

    target: str
    seconds: float
    inputs: int
    """Executions."""
    edges: int
    """Coverage at the end, as libFuzzer counts it."""
    corpus: int
    """Inputs kept because they reached something new."""
    findings: tuple[str, ...]
    """Files that bring them back."""


def run_target(name: str, seconds: int, random_seed: int) -> Outcome:
    """One target in a process of its own."""
    folder = STATE / name
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in TARGETS[name].seeds():
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)  # a file's name
    before = set(find_findings(folder))
    command = [sys.executable, "-m", "fuzz.run", name, str(seconds), str(folder), str(random_seed)]
    log = folder / "log.txt"
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a folder of our own in it
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=memory) as scratch, log.open("wb") as out:
        environment = os.environ | {"TMPDIR": scratch}
        status = subprocess.run(command, stdout=out, stderr=out, env=environment, check=False)
    took = time.monotonic() - began
    text = log.read_text("utf-8", "replace")
    new = tuple(str(path) for path in find_findings(folder) if path not in before)
    if status.returncode and not new:
        raise SystemExit(f"fuzz {name}: ended with {status.returncode}; see {log}:\n{text[-2000:]}")
    coverage = re.findall(r" cov: (\d+) .* corp: (\d+)/", text) or [("0", "0")]
    inputs = re.findall(r"number_of_executed_units: (\d+)|^#(\d+)\s", text, re.MULTILINE)
    count = max((int(a or b) for a, b in inputs), default=0)
    edges, kept = map(int, coverage[-1])
    return Outcome(name, round(took, 1), count, edges, kept, new)


def find_findings(folder: Path) -> list[Path]:
    """The files that libFuzzer has written of findings."""
    return sorted(path for pattern in FINDINGS for path in folder.glob(pattern))


def report(outcome: Outcome) -> None:
    """One line, and how to replay what was found."""
    print(
        f"{outcome.target:<12} {outcome.inputs:>10,} inputs in {outcome.seconds:.0f} s, "
        f"coverage {outcome.edges}, corpus {outcome.corpus}, findings {len(outcome.findings)}",
        flush=True,
    )
    for finding in outcome.findings:
        print(f"  replay: python -m fuzz {outcome.target} --replay {finding}", flush=True)


def main() -> int:
    """Command line of the module."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("--random-seed", type=int, default=1)
    parser.add_argument("--replay", type=Path, default=None, help="run this input and stop")
    parser.add_argument("--out", type=Path, default=None, help="write the figures as JSON")
    options = parser.parse_args()
    if unknown := set(options.targets) - TARGETS.keys():
        parser.error(f"unknown target {min(unknown)}; there are {', '.join(TARGETS)}")
    if options.replay is not None:
        if len(options.targets) != 1:
            parser.error("--replay needs the one target that the input is for")
        TARGETS[options.targets[0]].check(options.replay.read_bytes())
        print("nothing was found with this input")
        return 0
    outcomes: list[Outcome] = []
    for name in options.targets or TARGETS:
        outcomes.append(run_target(name, options.seconds, options.random_seed))
        report(outcomes[-1])
        if options.out:
            options.out.write_text(json.dumps([asdict(o) for o in outcomes], indent=1) + "\n")
    return 1 if any(outcome.findings for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
