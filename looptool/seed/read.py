"""Documents from a file or a URL, with the errors that a person can act on."""

import json
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import httpx2
import yaml

from looptool.errors import ConfigError, shorten

TIMEOUT_S = 30.0
MAX_BYTES = 64 * 2**20
MAX_YAML_CHARS = 16 * 2**20
"""YAML is read some fifty times slower than JSON."""
MAX_YAML_VALUES = 5_000_000


def is_url(location: str) -> bool:
    """Whether the location is fetched over HTTP."""
    return location.startswith(("http://", "https://"))


def read_text(location: str, timeout_s: float = TIMEOUT_S) -> str:
    """The text behind a path or URL; raises ConfigError when there is none, or far too much."""
    if not location:
        raise ConfigError("a tool source has no location; give a file or a URL")
    if is_url(location):
        return _fetch(location, timeout_s)
    try:
        with Path(location).open("rb") as file:
            body = file.read(MAX_BYTES + 1)
        return _decode(body, location)
    except OSError as exc:
        raise ConfigError(f"tool source {location} cannot be read ({exc.strerror})") from exc
    except ValueError as exc:  # a path with a null byte
        raise ConfigError(f"tool source {shorten(location)} is no path: {exc}") from exc


def _decode(body: bytes | bytearray, shown: str) -> str:
    if len(body) > MAX_BYTES:
        raise ConfigError(f"tool source {shown} is larger than {MAX_BYTES >> 20} MiB")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"tool source {shown} is no UTF-8 text") from exc


def show_location(location: str) -> str:
    """The location without what may be secret in a URL: user, password, query."""
    if not is_url(location):
        return location
    parts = urlsplit(location)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _fetch(url: str, timeout_s: float) -> str:
    shown = show_location(url)
    # httpx2 limits each wait; a server that sends a byte now and then needs a deadline.
    deadline = monotonic() + timeout_s
    try:
        with (
            httpx2.Client(timeout=timeout_s, follow_redirects=True) as client,
            client.stream("GET", url) as response,
        ):
            if response.status_code != 200:
                raise ConfigError(f"tool source {shown} answered HTTP {response.status_code}")
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if monotonic() > deadline:
                    raise httpx2.ReadTimeout("it sends too slowly")
                if len(body) > MAX_BYTES:
                    break
        return _decode(body, shown)
    except httpx2.TimeoutException as exc:
        raise ConfigError(f"tool source {shown} gave no answer within {timeout_s:g} s") from exc
    except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
        reason = f"{type(exc).__name__}: {exc}"
        raise ConfigError(f"tool source {shown} cannot be fetched ({shorten(reason)})") from exc


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as JSON understands it: `on` is a word, 2031-01-01 is text."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag != "tag:yaml.org,2002:timestamp"
        and (tag != "tag:yaml.org,2002:bool" or first in "tTfF")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: str, shown: str) -> Any:
    """The document with text as keys; raises ConfigError when it is no YAML."""
    if len(text) > MAX_YAML_CHARS:
        limit = MAX_YAML_CHARS >> 20
        raise ConfigError(f"{shown} is YAML of more than {limit} MiB; convert it to JSON")
    try:
        return _text_keys(yaml.load(text, _Loader), {})[0]  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise ConfigError(f"{shown} is neither JSON nor YAML: {shorten(exc)}") from exc


def _text_keys(value: Any, known: dict[int, tuple[Any, int]]) -> tuple[Any, int]:
    """A copy, and how many values it holds with what anchors share counted each time.

    Response codes are numbers in YAML. What an anchor shares stays shared, up to a size at which
    whoever walks the document would never end; a loop is an error.
    """
    if not isinstance(value, dict | list):
        return value, 1
    if id(value) in known:
        if known[id(value)][1] == 0:
            raise ValueError("an anchor contains itself")
        return known[id(value)]
    known[id(value)] = None, 0
    copy: Any
    if isinstance(value, dict):
        parts = {str(key): _text_keys(inner, known) for key, inner in value.items()}
        copy = {key: part[0] for key, part in parts.items()}
        size = 1 + sum(part[1] for part in parts.values())
    else:
        items = [_text_keys(inner, known) for inner in value]
        copy = [item[0] for item in items]
        size = 1 + sum(item[1] for item in items)
    if size > MAX_YAML_VALUES:
        raise ValueError(f"its anchors multiply to more than {MAX_YAML_VALUES:,} values")
    known[id(value)] = copy, size
    return known[id(value)]


def parse_document(text: str, shown: str) -> Any:
    """The value of a JSON text, or of a YAML one; raises ConfigError when it is neither."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        if text.lstrip()[:1] in ("{", "[") and len(text) > MAX_YAML_CHARS:
            raise ConfigError(f"{shown} is not JSON: {shorten(exc)}") from exc
        return parse_yaml(text, shown)


def as_object(value: Any, what: str) -> Mapping[str, Any]:
    """The value as a JSON object; raises ConfigError."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{what} must be a JSON object, got {shorten(value)}")
    return value
