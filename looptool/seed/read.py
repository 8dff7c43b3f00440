"""Text from a file or a URL, with the errors that a person can act on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import yaml

from looptool.errors import ConfigError, shorten

TIMEOUT_S = 30.0
MAX_BYTES = 64 * 2**20


def is_url(location: str) -> bool:
    """Whether the location is fetched over HTTP."""
    return location.startswith(("http://", "https://"))


def read_text(location: str) -> str:
    """The text behind a path or URL; raises ConfigError when there is none."""
    if not location:
        raise ConfigError("a tool source has no location; give a file or a URL")
    if is_url(location):
        return _fetch(location)
    try:
        return Path(location).read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise ConfigError(f"tool source {location} cannot be read ({exc.strerror})") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"tool source {location} is no UTF-8 text") from exc


def show_location(location: str) -> str:
    """The location without what may be secret in a URL: user, password, query."""
    if not is_url(location):
        return location
    parts = urlsplit(location)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _fetch(url: str) -> str:
    shown = show_location(url)
    try:
        with (
            httpx2.Client(timeout=TIMEOUT_S, follow_redirects=True) as client,
            client.stream("GET", url) as response,
        ):
            if response.status_code != 200:
                raise ConfigError(f"tool source {shown} answered HTTP {response.status_code}")
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ConfigError(f"tool source {shown} is larger than {MAX_BYTES >> 20} MiB")
        return body.decode("utf-8-sig")
    except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
        reason = f"{type(exc).__name__}: {exc}"
        raise ConfigError(f"tool source {shown} cannot be fetched ({shorten(reason)})") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"tool source {shown} is no UTF-8 text") from exc


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
    try:
        return _text_keys(yaml.load(text, _Loader), {})  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise ConfigError(f"{shown} is neither JSON nor YAML: {shorten(exc)}") from exc


def _text_keys(value: Any, known: dict[int, Any]) -> Any:
    """Response codes are numbers in YAML. What an anchor shares stays shared; a loop is an
    error."""
    if not isinstance(value, dict | list):
        return value
    if id(value) in known:
        if known[id(value)] is None:
            raise ValueError("an anchor contains itself")
        return known[id(value)]
    known[id(value)] = None
    copy: Any
    if isinstance(value, dict):
        copy = {str(key): _text_keys(inner, known) for key, inner in value.items()}
    else:
        copy = [_text_keys(inner, known) for inner in value]
    known[id(value)] = copy
    return copy


def as_object(value: Any, what: str) -> Mapping[str, Any]:
    """The value as a JSON object; raises ConfigError."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{what} must be a JSON object, got {shorten(value)}")
    return value
