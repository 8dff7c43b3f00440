"""The file system behind a store: opened without secrets, and its errors told apart.

`s3://` takes endpoint, region, key and token from the environment (AWS_ENDPOINT_URL, AWS_REGION,
AWS_ACCESS_KEY_ID, …) or from an AWS profile, never from the URL. Botocore repeats what failed with 5xx,
SlowDown, time-outs and broken connections; what still fails after that is an error of the store.
"""

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import fsspec

from looptool.errors import ConfigError, shorten

SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""Variables whose values never appear in a message."""
CONNECT_TIMEOUT_S = 10.0


def open_filesystem(root: str, timeout_s: float, attempts: int) -> tuple[Any, str]:
    """The file system of a root and the root's path on it; ConfigError if there is none."""
    check_root(root)
    options = _s3_options(timeout_s, attempts) if root.startswith(("s3://", "s3a://")) else {}
    try:
        fs, path = fsspec.core.url_to_fs(root, **options)
    except (ValueError, ImportError, TypeError) as exc:
        raise ConfigError(
            f"store root {shorten(root)} cannot be opened ({shorten(redact(exc))}); give a folder or an "
            "fsspec URL such as s3://bucket/prefix (pip install 'looptool[s3]')"
        ) from exc
    if options:
        fs.retries = 1  # botocore has repeated it already
    return fs, str(path).rstrip("/")


def check_root(root: str) -> None:
    """Raises ConfigError, without showing it, if a root holds a user, password or query."""
    if "://" not in root:
        return
    try:
        parts = urlsplit(root)
        held = parts.username or parts.password or parts.query or parts.fragment
    except ValueError:
        held = "not a URL"
    if held:
        raise ConfigError(
            "the store's root must be a URL without user, password, query or fragment; keys come from "
            "the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN) or from an "
            "AWS profile (AWS_PROFILE)"
        )


def _s3_options(timeout_s: float, attempts: int) -> dict[str, Any]:
    return {
        # Another process may have written since: listings are always asked for.
        "use_listings_cache": False,
        "config_kwargs": {
            "connect_timeout": min(CONNECT_TIMEOUT_S, timeout_s),
            "read_timeout": timeout_s,
            "retries": {"mode": "standard", "total_max_attempts": attempts},
        },
    }


def redact(error: object) -> str:
    """The text of an error without the values of the store's keys."""
    text = str(error)
    for name in SECRETS:
        value = os.environ.get(name, "")
        if len(value) >= 4:
            text = text.replace(value, f"<{name}>")
    return text


def shown(error: BaseException) -> BaseException | None:
    """The error, to be the cause of another one; None if it, or one behind it, tells a key."""
    return None if any(redact(one) != str(one) for one in causes(error)) else error


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those behind it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def http_status(error: BaseException) -> int:
    """The HTTP status behind an error of an object store; 0 if there is none."""
    for one in causes(error):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if isinstance(status, int):
                return status
    return 0
