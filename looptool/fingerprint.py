"""Which code a stage runs: a digest over a module and all of looptool that it imports.

Prefect's own TASK_SOURCE policy does not see library code, so a changed helper would leave a stale
cache hit. Imports are read from the syntax tree (those inside functions too), nothing is executed.
"""

import ast
import functools
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
_PARSING = threading.Lock()
"""Python 3.11 counts the depth of a syntax tree for all threads together and raises when two parse at once."""


@functools.cache
def code_digest(module: str) -> str:
    """sha256 over the sources of `module` (dotted, below looptool) and its imports inside looptool.

    A package counts with all files below it, data files included.
    """
    digest = hashlib.sha256()
    for file in sorted(_closure(module)):
        digest.update(file.relative_to(PACKAGE).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _closure(module: str) -> set[Path]:
    seen: set[Path] = set()
    waiting = list(_files_of(module))
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        if file.suffix == ".py":
            for name in _imports(file):
                waiting.extend(_files_of(name))
    return seen


def _files_of(module: str) -> Iterator[Path]:
    parts = module.split(".")[1:]
    path = PACKAGE.joinpath(*parts)
    if not parts:
        return
    if path.with_suffix(".py").is_file():
        yield path.with_suffix(".py")
    elif path.is_dir():
        yield from (p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    elif len(parts) > 1:
        yield from _files_of(".".join(["looptool", *parts[:-1]]))


def _imports(file: Path) -> Iterator[str]:
    with _PARSING:
        tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("looptool"):
            for alias in node.names:
                yield f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("looptool."):
                    yield alias.name
