"""Prompt files: find, render strictly, digest.

A prompt is `prompts/<stage>_<what>.j2`: a system part and a user part, divided by a line
`=== user ===`. Values enter as JSON through `tojson`, which escapes `<`, `>`, `&` and quotes, so that no
tool document and no model text can forge the tags that mark where data begins and ends.
"""

import functools
import hashlib
from pathlib import Path
from typing import Any

import jinja2

from looptool.errors import ConfigError

SEPARATOR = "=== user ===\n"


@functools.cache
def prompt_folder() -> Path:
    """The folder of the prompt files: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parent
    for folder in (package.parent / "prompts", package / "_prompts"):
        if (folder / "judge_compare.j2").is_file():
            return folder
    raise ConfigError(f"no prompt files beside {package}; reinstall looptool or restore prompts/")


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(prompt_folder()),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - prompts are plain text; data goes through tojson
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "sort_keys": False}
    return environment


def render(name: str, **variables: Any) -> list[dict[str, str]]:
    """The prompt as a system and a user message.

    Raises ConfigError for an unknown prompt, an undefined variable or a missing separator.
    """
    try:
        text = _environment().get_template(f"{name}.j2").render(**variables)
    except jinja2.TemplateNotFound as exc:
        raise ConfigError(f"no prompt {name}.j2 in {prompt_folder()}") from exc
    except jinja2.UndefinedError as exc:
        raise ConfigError(f"prompt {name}.j2: {exc.message}") from exc
    except TypeError as exc:  # what tojson says of an undefined variable
        raise ConfigError(f"prompt {name}.j2: a variable is undefined or no JSON ({exc})") from exc
    system, found, user = text.partition(SEPARATOR)
    if not found:
        raise ConfigError(f"prompt {name}.j2 has no line {SEPARATOR.strip()!r}")
    return [
        {"role": "system", "content": system.strip()},
        {"role": "user", "content": user.strip()},
    ]


def digest(name: str) -> str:
    """sha256 of the prompt file: part of the cache key of the stages that use it."""
    return hashlib.sha256((prompt_folder() / f"{name}.j2").read_bytes()).hexdigest()


def prompt_names() -> tuple[str, ...]:
    """Names of all prompts, sorted."""
    return tuple(sorted(file.stem for file in prompt_folder().glob("*.j2")))
