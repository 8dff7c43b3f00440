"""What the endpoint sends back, read strictly; and the shape that it is asked for.

A reply is one JSON object, alone. Tolerated around it: a `<think>` part before it and one ```json
fence, because models add them whatever they are told. Everything else is malformed: a reply that
has to be repaired has lost its meaning.
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from looptool.errors import shorten

M = TypeVar("M", bound=BaseModel)
FENCE = re.compile(r"```(?:json|JSON)?\s*\n(.*?)\n?\s*```", re.DOTALL)
FORMATS = ("json_schema", "json_object", "none")
"""Ways to ask for JSON, best first."""


class Refusal(ValueError):
    """The endpoint answered that it will not answer."""


@dataclass(frozen=True, slots=True)
class Completion:
    """The part of a chat completion that we use."""

    text: str
    finish_reason: str
    refusal: str
    prompt_tokens: int | None
    completion_tokens: int | None


def read_completion(body: bytes) -> Completion:
    """Reads a chat.completion document; raises ValueError when it is none."""
    try:
        document = json.loads(body)
        choice = document["choices"][0]
        message = choice["message"]
        text = message.get("content") or ""
        refusal = message.get("refusal") or ""
        usage = document.get("usage") or {}
        prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
        reason = choice.get("finish_reason") or ""
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as exc:
        start = shorten(body[:200].decode("utf-8", "replace"))
        raise ValueError(f"not a chat completion: {start}") from exc
    if not isinstance(text, str):
        raise ValueError(f"the content of the message is no text: {shorten(text)}")
    return Completion(text, str(reason), str(refusal), _count(prompt), _count(completion))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 and not isinstance(value, bool) else None


def check_completion(completion: Completion) -> None:
    """Raises Refusal or ValueError for an answer that was declined, cut or empty."""
    if completion.refusal or completion.finish_reason == "content_filter":
        raise Refusal(f"declined: {shorten(completion.refusal or 'content filter')}")
    if completion.finish_reason == "length":
        raise ValueError("the reply reached max_tokens before its end; raise teacher.max_tokens")
    if not completion.text.strip():
        raise ValueError("the reply is empty")


def parse_json_reply(text: str, reply: type[M]) -> M:
    """The JSON object of a reply as `reply`; raises ValueError with the reason."""
    inner = _strip_wrapping(text)
    try:
        json.loads(inner, object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant)
    except RecursionError as exc:
        raise ValueError("the reply is nested too deeply") from exc
    except ValueError as exc:
        raise ValueError(f"not one JSON object ({exc}): {shorten(inner)}") from exc
    try:
        return reply.model_validate_json(inner, strict=True)
    except ValidationError as exc:
        problem = exc.errors(include_url=False)[0]
        place = ".".join(str(part) for part in problem["loc"]) or "the reply"
        raise ValueError(f"{place}: {problem['msg']}: {shorten(inner)}") from exc
    except UnicodeEncodeError as exc:
        raise ValueError("the reply holds characters that are no Unicode text") from exc


def _strip_wrapping(text: str) -> str:
    text = text.strip()
    if not text.startswith(("{", "```")) and "</think>" in text:
        # Some chat templates open the <think> part in the prompt, so only its end is in the reply.
        text = text.partition("</think>")[2].strip()
    match = FENCE.fullmatch(text)
    return match[1].strip() if match else text


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key occurs twice")
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


@lru_cache(maxsize=64)
def schema_format(reply: type[BaseModel]) -> dict[str, Any]:
    """The `response_format` that asks for `reply` by JSON Schema.

    `strict` only where the schema allows it: free-form objects (the arguments of a call) cannot be
    written in the strict dialect, which wants every property named.
    """
    schema = reply.model_json_schema()
    strict = _make_strict(schema)
    name = re.sub(r"\W", "_", reply.__name__).strip("_")[:64]
    return {
        "type": "json_schema",
        "json_schema": {
            "name": name or "reply",
            "schema": schema if strict else reply.model_json_schema(),
            "strict": strict,
        },
    }


def _make_strict(schema: Any) -> bool:
    """Rewrites the schema in place to the strict dialect; False if it cannot be said in it."""
    if not isinstance(schema, dict):
        return False
    for key in ("default", "title", "format", "minLength", "maxLength"):
        schema.pop(key, None)
    children = [schema[key] for key in ("items",) if key in schema]
    children += [child for key in ("anyOf", "prefixItems") for child in schema.get(key, [])]
    children += schema.get("$defs", {}).values()
    if schema.get("type") == "object":
        properties = schema.get("properties")
        if not properties or schema.get("additionalProperties"):
            return False
        schema["required"] = list(properties)
        schema["additionalProperties"] = False
        children += properties.values()
    elif not any(key in schema for key in ("type", "anyOf", "$ref", "enum", "const")):
        return False
    return all(_make_strict(child) for child in children)
