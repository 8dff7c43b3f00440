"""The tool: a result that fits its specification, the arguments of the call and earlier results."""

import json
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from looptool.records import JsonObject, as_mapping
from looptool.simulator.kinds import draw_code
from looptool.simulator.lexicon import split_name
from looptool.simulator.shapes import Schema, resolve, type_of
from looptool.simulator.speak import make_rng
from looptool.simulator.toolbox import VERB_CLASS, build_tool
from looptool.simulator.values import draw_value, fits

MAX_FIELDS = 5
MAX_ECHOES = 2


def answer_call(
    spec: Any, call: Mapping[str, Any], conversation: Sequence[Mapping[str, Any]], fault: str
) -> JsonObject:
    """The reply of the tool role. The same call always has the same result."""
    if fault.strip():
        return {"error": fault.strip()}
    tool = build_tool(spec)
    arguments = as_mapping(call.get("arguments"))
    rng = make_rng("tool", tool.name, arguments)
    known = {**_earlier_facts(arguments, conversation), **_flatten(arguments)}
    if isinstance(tool.returns, Mapping) and tool.returns:
        return {"result": _draw_fitting(tool.returns, known, rng)}
    return {"result": _guess_result(tool.name, arguments, rng)}


def _draw_fitting(root: Schema, known: JsonObject, rng: Random) -> Any:
    """A result that satisfies the schema, if one can be drawn: with what is known, or without."""
    first = _draw_result(resolve(root, root), root, known, rng)
    if fits(first, root):
        return first
    second = _draw_result(resolve(root, root), root, {}, rng)
    if fits(second, root):
        return second
    third = draw_value(root, "value", rng, 0, root)
    return third if fits(third, root) else first


def _flatten(arguments: Mapping[str, Any]) -> JsonObject:
    flat: JsonObject = {}
    for name, value in arguments.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value))
        flat[name] = value
    return flat


def _earlier_facts(
    arguments: Mapping[str, Any], conversation: Sequence[Mapping[str, Any]]
) -> JsonObject:
    """What earlier results said about the thing that this call names by its id."""
    wanted = {
        value
        for value in arguments.values()
        if isinstance(value, str) and any(map(str.isdigit, value))
    }
    facts: JsonObject = {}
    for message in conversation if wanted else ():
        if message.get("role") != "tool":
            continue
        try:
            result = json.loads(str(message.get("content")))
        except ValueError:
            continue
        for row in _objects_in(result):
            if any(isinstance(v, str) and v in wanted for v in row.values()):
                facts.update({k: v for k, v in row.items() if not isinstance(v, list | dict)})
    return facts


def _objects_in(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        for inner in value.values():
            yield from _objects_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _objects_in(inner)


def _draw_result(
    schema: Schema, root: Schema, known: JsonObject, rng: Random, depth: int = 0
) -> Any:
    kind = type_of(schema)
    if kind == "object" and isinstance(schema.get("properties"), Mapping) and depth < 3:
        return _draw_fields(schema, root, known, rng, depth)
    if kind == "array" and depth < 3 and "prefixItems" not in schema:
        item = resolve(schema.get("items"), root)
        count = rng.randint(2, 3) if type_of(item) == "object" else rng.randint(1, 3)
        return [_draw_result(item, root, known, rng, depth + 1) for _ in range(count)]
    return draw_value(schema, "value", rng, depth, root)


def _draw_fields(
    schema: Schema, root: Schema, known: JsonObject, rng: Random, depth: int
) -> JsonObject:
    required = schema.get("required")
    names = (
        [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    )
    found: JsonObject = {}
    for name, raw in schema["properties"].items():
        if name not in names and len(found) >= MAX_FIELDS:
            continue
        inner = resolve(raw, root)
        if (
            name in known
            and _has_type(known[name], type_of(inner))
            and not (depth and "id" in name)
        ):
            found[name] = known[name]
        elif type_of(inner) in ("object", "array"):
            found[name] = _draw_result(inner, root, known, rng, depth + 1)
        else:
            found[name] = draw_value(inner, " ".join(split_name(name)), rng, depth, root)
    return found


def _has_type(value: Any, kind: str) -> bool:
    kinds: dict[str, type | tuple[type, ...]] = {
        "string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list,
        "object": dict,
    }  # fmt: skip
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, kinds.get(kind, object))


def _guess_result(name: str, arguments: Mapping[str, Any], rng: Random) -> JsonObject:
    """A result for a tool that does not say what it returns."""
    words = split_name(name)
    result: JsonObject = {}
    if VERB_CLASS.get(words[0]) in ("create", "book", "send"):
        result["id"] = draw_code(rng)
    echoed = [(k, v) for k, v in arguments.items() if isinstance(v, str | int | float)]
    result.update(echoed[:MAX_ECHOES])
    result.setdefault("status", rng.choice(("ok", "done", "confirmed")))
    return result
