"""Draws plausible values for a JSON Schema (method, section 2: the planner invents the scenario).

By enumeration, format, bounds, the schema's own examples, and what the parameter's name says it is about.
Every set of arguments is checked against the schema before it is used; one that does not fit is drawn
again, and at last reduced to what is required.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from random import Random
from typing import Any

import jsonschema
from jsonschema.protocols import Validator

from looptool.records import canonical_json
from looptool.simulator import gazetteer
from looptool.simulator.kinds import Kind, draw_code, draw_person, kind_of
from looptool.simulator.lexicon import is_safe, split_name
from looptool.simulator.shapes import (
    MAX_DEPTH,
    Leaf,
    Path,
    Schema,
    build_arguments,
    resolve,
    type_of,
)

OPTIONAL_RATE = 0.4
MAX_OPTIONAL = 3
_RANGES = {
    "percent": (1, 100),
    "percentage": (1, 100),
    "year": (1990, 2035),
    "month": (1, 12),
    "age": (18, 90),
    "rating": (1, 5),
    "stars": (1, 5),
    "latitude": (-80, 80),
    "longitude": (-170, 170),
    "temperature": (5, 30),
    "amount": (10, 900),
    "price": (10, 900),
    "budget": (50, 2000),
    "salary": (1000, 9000),
    "minutes": (5, 180),
    "seconds": (5, 300),
    "weight": (40, 120),
    "height": (150, 200),
    "distance": (1, 300),
    "calories": (50, 900),
    "id": (100, 9999),
    "volume": (5, 95),
    "steps": (1000, 15000),
    "brightness": (5, 95),
    "limit": (2, 20),
    "number": (1, 999),
}
_CODES = {
    "language": gazetteer.LANGUAGE_CODES,
    "country": gazetteer.COUNTRY_CODES,
    "currency": gazetteer.CURRENCIES,
}
_CANDIDATES = (
    "alpha",
    "delta-7",
    "ABC",
    "AB123",
    "abc_1",
    "12345",
    "123",
    "42",
    "2031-04-02",
    "12:30",
)


def draw_arguments(leaves: tuple[Leaf, ...], parameters: Any, rng: Random) -> dict[str, Any]:
    """Arguments that satisfy the schema: all required leaves, and some optional ones."""
    values: dict[Path, Any] = {}
    for attempt in range(4):
        chosen = _choose_leaves(leaves, rng, optional=attempt < 3)
        values = {leaf.path: draw_leaf(leaf, rng) for leaf in chosen}
        arguments = build_arguments(values)
        if fits(arguments, parameters):
            return arguments
    return build_arguments(values)


def _choose_leaves(leaves: tuple[Leaf, ...], rng: Random, *, optional: bool) -> list[Leaf]:
    extra = [leaf for leaf in leaves if not leaf.required and rng.random() < OPTIONAL_RATE]
    if len(extra) > MAX_OPTIONAL:
        extra = rng.sample(extra, MAX_OPTIONAL)
    extra = [leaf for leaf in extra if leaf.type != "any"] if optional else []
    opened = {leaf.path[:-1] for leaf in extra}
    return [
        leaf
        for leaf in leaves
        if leaf.required or leaf in extra or (leaf.needed and _is_opened(leaf.path, opened))
    ]


def _is_opened(path: Path, opened: set[Path]) -> bool:
    return bool(path[:-1]) and any(other[: len(path) - 1] == path[:-1] for other in opened)


def draw_leaf(leaf: Leaf, rng: Random) -> Any:
    """One value for a leaf."""
    return draw_value(leaf.schema, leaf.words, rng)


def redraw_leaf(leaf: Leaf, old: Any, rng: Random) -> Any:
    """A value for a leaf that differs from the old one where the schema leaves a choice."""
    value = old
    for _ in range(6):
        value = draw_leaf(leaf, rng)
        if canonical_json(value) != canonical_json(old):
            break
    return value


def draw_value(
    schema: Schema, words: str, rng: Random, depth: int = 0, root: Schema | None = None
) -> Any:
    """One value for a schema of any type; `words` are the name of the parameter."""
    home = schema if root is None else root
    schema = resolve(schema, home)
    if "const" in schema:
        return schema["const"]
    choices = schema.get("enum")
    if isinstance(choices, list) and choices:
        usable = [choice for choice in choices if choice is not None]
        return rng.choice(usable or choices)
    drawers: dict[str, Callable[[], Any]] = {
        "string": lambda: _draw_string(schema, words, rng),
        "integer": lambda: _draw_integer(schema, words, rng),
        "number": lambda: _draw_number(schema, words, rng),
        "boolean": lambda: rng.random() < 0.5,
        "array": lambda: _draw_array(schema, words, rng, depth, home),
        "object": lambda: _draw_object(schema, words, rng, depth, home),
        "null": lambda: None,
    }
    return drawers.get(type_of(schema), lambda: _draw_string({}, words, rng))()


def _examples(schema: Schema) -> list[Any]:
    found = schema.get("examples")
    examples = list(found) if isinstance(found, list) else []
    if "example" in schema:
        examples.append(schema["example"])
    return examples


def _draw_string(schema: Schema, words: str, rng: Random) -> str:
    pattern = schema.get("pattern")
    examples = [text for text in _examples(schema) if isinstance(text, str) and text]
    if examples and (pattern or rng.random() < 0.3):
        return str(rng.choice(examples))
    kind = _refine(kind_of(words, str(schema.get("format", ""))), schema, words)
    text = kind(rng)
    if isinstance(pattern, str):
        text = _fit_pattern(text, pattern, rng)
    shortest, longest = _bound(schema, "minLength", 0), _bound(schema, "maxLength", 10_000)
    if len(text) > longest:
        text = text[: int(longest)].rstrip() or "x"
    return text + "x" * int(max(0, shortest - len(text)))


def _refine(kind: Kind | None, schema: Schema, words: str) -> Callable[[Random], str]:
    """The drawer of a kind, made narrower by what the description says."""
    about = str(schema.get("description", ""))
    if re.search(r"IATA", about):
        return lambda rng: rng.choice(gazetteer.AIRPORTS)
    name = kind.name if kind else ""
    coded = re.search(r"(?i)two-letter|2-letter|alpha-2|ISO[ -]?(639|3166)|\bcode\b", about) or (
        words.endswith(" code")
    )
    for subject, codes in _CODES.items():
        if coded and (name == subject or subject in words):
            return lambda rng: rng.choice(codes)
    if name == "name" and re.search(r"(?i)person|contact|customer|patient|employee|guest", about):
        return draw_person
    if kind is not None:
        return kind.draw
    if re.search(r"YYYY-MM-DD", about):
        return lambda rng: f"2031-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}"
    return lambda rng: rng.choice(gazetteer.WORDS)


def _fit_pattern(text: str, pattern: str, rng: Random) -> str:
    try:
        wanted = re.compile(pattern)
    except re.error:
        return text
    pool = [text, text.lower(), text.upper(), draw_code(rng), *_CANDIDATES]
    pool.append(f"{rng.choice('ABC')}{rng.randrange(10)}")
    pool += [str(rng.randrange(10**n, 10 ** (n + 1))) for n in range(10)]
    return next((candidate for candidate in pool if wanted.search(candidate)), text)


def _bound(schema: Schema, name: str, default: float) -> float:
    value = schema.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else default


def _range_of(schema: Schema, words: str) -> tuple[float, float]:
    usual = next((_RANGES[w] for w in reversed(words.split()) if w in _RANGES), (2, 12))
    low, high = _bound(schema, "minimum", usual[0]), _bound(schema, "maximum", usual[1])
    if "exclusiveMinimum" not in schema and max(low, usual[0]) < min(high, usual[1]):
        low, high = max(low, usual[0]), min(high, usual[1])
    if "exclusiveMinimum" in schema:
        low = max(low, _bound(schema, "exclusiveMinimum", low - 1) + 1)
    if "exclusiveMaximum" in schema:
        high = min(high, _bound(schema, "exclusiveMaximum", high + 1) - 1)
    if "minimum" in schema and "maximum" not in schema and high < low:
        high = low + 10
    if "maximum" in schema and "minimum" not in schema and high < low:
        low = high - 10
    return (low, high) if low <= high else (low, low)


def _draw_integer(schema: Schema, words: str, rng: Random) -> int:
    examples = [n for n in _examples(schema) if isinstance(n, int) and not isinstance(n, bool)]
    if examples and rng.random() < 0.2:
        return int(rng.choice(examples))
    low, high = _range_of(schema, words)
    value = rng.randint(int(-(-low // 1)), int(max(high, -(-low // 1))))
    step = _bound(schema, "multipleOf", 1)
    return value if step == 1 else int(max(step, value - value % step))


def _draw_number(schema: Schema, words: str, rng: Random) -> float | int:
    low, high = _range_of(schema, words)
    if "multipleOf" in schema or rng.random() < 0.5:
        return _draw_integer(schema, words, rng)
    value = round(rng.uniform(low, high), rng.choice((1, 2)))
    return min(max(value, low), high)


def _draw_array(schema: Schema, words: str, rng: Random, depth: int, root: Schema) -> list[Any]:
    places = schema.get("prefixItems")
    if isinstance(places, list):
        return [draw_value(place, _singular(words), rng, depth + 1, root) for place in places]
    item = resolve(schema.get("items"), root)
    fewest = int(_bound(schema, "minItems", 1))
    most = int(max(fewest, min(_bound(schema, "maxItems", 3), 3)))
    if depth >= MAX_DEPTH:
        most = fewest = int(_bound(schema, "minItems", 0))
    found: list[Any] = []
    for _ in range(4 * most):
        if len(found) >= rng.randint(min(fewest, most), most) and len(found) >= fewest:
            break
        value = draw_value(item, _singular(words), rng, depth + 1, root)
        if canonical_json(value) not in [canonical_json(other) for other in found]:
            found.append(value)
    return found


def _singular(words: str) -> str:
    return words[:-1] if words.endswith("s") and kind_of(words) is None else words


def _draw_object(
    schema: Schema, words: str, rng: Random, depth: int, root: Schema
) -> dict[str, Any]:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or depth >= 2 * MAX_DEPTH:
        return (
            {} if _bound(schema, "minProperties", 0) == 0 else {"note": rng.choice(gazetteer.TAGS)}
        )
    required = schema.get("required") if isinstance(schema.get("required"), list) else []
    found: dict[str, Any] = {}
    for name, inner in properties.items():
        if name in (required or ()) or (depth < MAX_DEPTH and rng.random() < OPTIONAL_RATE):
            found[name] = draw_value(inner, " ".join(split_name(name)), rng, depth + 1, root)
    return found


def fits(arguments: Any, parameters: Any) -> bool:
    """Whether the arguments satisfy the schema; an unusable schema forbids nothing."""
    try:
        return bool(_validator(canonical_json(parameters)).is_valid(arguments))
    except Exception:  # a broken or unresolvable schema of someone else's tool
        return True


@lru_cache(maxsize=512)
def _validator(text: str) -> Validator:
    schema = json.loads(text)
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    return kind(schema)


def draw_for_kind(kind: Kind, rng: Random) -> str:
    """A value of a kind that needs no quotes where that can be had."""
    value = kind.draw(rng)
    return value if is_safe(value) else kind.draw(rng)
