"""Which interpreter has the engines: vLLM, veRL and Ray live in an environment of their own.

`make engines` makes `.venv-engines` beside the core. A child of that interpreter does the work, so
the caller needs none of those packages.
"""

import importlib.util
import sys
from pathlib import Path

import looptool
from looptool.errors import ConfigError

ENGINES_ENV = Path(".venv-engines")
"""Where `make engines` puts the environment, below the checkout."""


def find_python(package: str, configured: str = "") -> Path:
    """The interpreter that has `package`: the configured one, this one, or the engines' own.

    Raises ConfigError, with the command that makes the environment.
    """
    if configured:
        # Not resolved: an environment's interpreter is a link whose place says which one it is.
        python = Path(configured).expanduser().absolute()
        if not python.is_file():
            raise ConfigError(
                f"policy.python = {configured}: no such file; give the path of an interpreter "
                f"that has {package}, or leave it empty and run `make engines`"
            )
        return python
    if importlib.util.find_spec(package) is not None:
        return Path(sys.executable)
    for python in engines_pythons():
        if python.is_file():
            return python
    raise ConfigError(
        f"{package} is not installed here and there is no {ENGINES_ENV}; run `make engines`, "
        "or set policy.python to an interpreter that has it"
    )


def engines_pythons() -> list[Path]:
    """Where the engines' interpreter is looked for: below this folder, then below the checkout."""
    folders = (Path.cwd(), Path(looptool.__file__).resolve().parent.parent)
    return [folder / ENGINES_ENV / "bin" / "python" for folder in dict.fromkeys(folders)]
