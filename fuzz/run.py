"""libFuzzer on one target: coverage of our modules and of the pure Python ones that they lean on.

    python -m fuzz.run TARGET SECONDS FOLDER SEED      what `python -m fuzz` starts for each target

Modules are instrumented when they are imported, so nothing of them may be imported before. Half of the
mutations of a JSON target change the document by its structure (`fuzz.mutate`); the others are libFuzzer's own.
"""

import importlib
import json
import sys
from pathlib import Path
from random import Random
from typing import Any

from fuzz.mutate import mutate_json, mutate_text

INSTRUMENTED = ["looptool", "jsonschema", "referencing", "tomllib", "json", "docstring_parser"]
TIMEOUT_S = 30
"""An input that takes longer is a finding."""
MEMORY_MIB = 3072
MAX_BYTES = 8192


def fuzz(name: str, seconds: int, folder: Path, random_seed: int) -> None:
    """Fuzz a target for so long; ends the process, with a status that is not 0 after a finding."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        targets = importlib.import_module("fuzz.targets")
    target = targets.TARGETS[name]

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        changed = change(data, seed, target.is_json)
        if changed is not None and len(changed) <= max_size:
            return changed
        return bytes(atheris.Mutate(data, max_size))

    arguments = [
        f"fuzz-{name}",
        f"-max_total_time={seconds}",
        f"-artifact_prefix={folder}/",
        f"-timeout={TIMEOUT_S}",
        f"-rss_limit_mb={MEMORY_MIB}",
        f"-max_len={MAX_BYTES}",
        f"-seed={random_seed}",
        "-print_final_stats=1",
        "-verbosity=1",
        str(folder / "corpus"),
    ]
    atheris.Setup(arguments, target.check, custom_mutator=mutate)
    atheris.Fuzz()


def change(data: bytes, seed: int, is_json: bool) -> bytes | None:
    """A change that knows the form of the input; None to leave it to libFuzzer."""
    rng = Random(seed)
    if rng.random() < 0.5:
        return None
    text = data.decode("utf-8", "surrogateescape")
    if not is_json:
        return mutate_text(rng, text).encode("utf-8", "replace")
    try:
        document: Any = mutate_json(rng, json.loads(text))
        return json.dumps(document).encode()
    except (ValueError, RecursionError):
        return None


if __name__ == "__main__":
    fuzz(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
