"""Schemas as people and data sets write them, as JSON Schema 2020-12.

Types of other languages (`dict`, `float`, `List[int]`, `str, optional`), `required` on a property,
older drafts and OpenAPI's own words are translated; what has no meaning at all is a DataError with
its place. Left out: what a schema means. A default that its own type forbids is corrected or
dropped, and nothing else is guessed.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from looptool.errors import DataError, shorten
from looptool.records import JsonObject

MAX_DEPTH = 64
MAX_TYPE_CHARS = 300
_TYPES = {
    "object": "dict hashmap hashtable object map mapping record struct json",
    "array": "tuple list array arraylist queue stack set frozenset sequence iterable",
    "string": "str string char character text enum",
    "number": "float double number decimal numeric float32 float64",
    "integer": "int integer long short byte bigint int32 int64",
    "boolean": "bool boolean",
    "null": "null none nonetype",
}
_WORDS = {word: kind for kind, words in _TYPES.items() for word in words.split()}
_WORDS |= dict.fromkeys(("", "any", "unknown", "variant", "mixed"), "")
_FORMATS = {"date": "date", "datetime": "date-time", "timestamp": "date-time", "time": "time"}
_FORMATS |= {"uri": "uri", "url": "uri", "email": "email", "uuid": "uuid"}
_OPTIONAL = re.compile(r",?\s*\(?\boptional\b\)?\s*$", re.IGNORECASE)
_GENERICS = {"optional", "union", "literal", *_WORDS}
_GENERIC = re.compile(r"(\w+)\s*[\[(<](.*)[\])>]", re.DOTALL)

_SCHEMA = {
    "items", "additionalProperties", "not", "if", "then", "else", "contains",
    "propertyNames", "unevaluatedItems", "unevaluatedProperties",
}  # fmt: skip
_SCHEMAS = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_NUMBERS = {
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
}  # fmt: skip
_NO_PARAMETER = {
    "properties", "$ref", "additionalProperties", "not", "if", "propertyNames", *_NAMED,
}  # fmt: skip


def translate_schema(schema: Any, place: str = "") -> Any:
    """The schema in the words of 2020-12; raises DataError for a type that nobody knows."""
    return _translate(schema, (place,) if place else ())


def as_object_schema(parameters: Any) -> Any:
    """Parameters given as a list, or as a bare map of names, as an object schema; others as they
    are.

    In a bare map whatever has no default and is not called optional is required.
    """
    if isinstance(parameters, list) and parameters and all(_is_named(p) for p in parameters):
        properties = {p["name"]: {k: p[k] for k in p if k != "name"} for p in parameters}
        return {"type": "object", "properties": properties}
    if not _is_bare_map(parameters):
        return parameters
    properties = {}
    for name, schema in parameters.items():
        needed = not ("default" in schema or _says_optional(schema) or "required" in schema)
        properties[name] = {**schema, "required": True} if needed else schema
    return {"type": "object", "properties": properties}


def _is_named(parameter: Any) -> bool:
    return isinstance(parameter, dict) and isinstance(parameter.get("name"), str)


def _is_bare_map(parameters: Any) -> bool:
    return (
        isinstance(parameters, dict)
        and bool(parameters)
        and parameters.keys().isdisjoint(_NO_PARAMETER)
        and all(
            isinstance(v, dict) and {"type", "description"} & v.keys() for v in parameters.values()
        )
    )


def _says_optional(schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type")
    return bool(schema.get("optional")) or (isinstance(kind, str) and bool(_OPTIONAL.search(kind)))


def _translate(schema: Any, place: tuple[str, ...]) -> Any:
    if len(place) > 2 * MAX_DEPTH:
        raise DataError(f"nested deeper than {MAX_DEPTH} levels")
    if schema is None:
        return {}
    if isinstance(schema, str):
        return read_type(schema, place)
    if not isinstance(schema, dict):
        return schema
    plain = {key: value for key, value in schema.items() if _is_kept(key, value)}
    plain = _translate_type(plain, place)
    _translate_required(plain)
    _translate_items(plain)
    for key in _SCHEMA & plain.keys():
        if not isinstance(plain[key], bool):
            plain[key] = _translate(plain[key], (*place, key))
    for key in _SCHEMAS:
        if isinstance(plain.get(key), list):
            plain[key] = [_translate(s, (*place, key, str(n))) for n, s in enumerate(plain[key])]
    for key in _NAMED:
        if isinstance(plain.get(key), Mapping):
            named = plain[key].items()
            plain[key] = {name: _translate(inner, (*place, key, name)) for name, inner in named}
            if key == "properties":
                _keep_telling_titles(schema["properties"], plain[key])
    translate_words(plain)
    _translate_values(plain)
    return apply_nullable(plain) if plain.pop("nullable", None) is True else plain


def _is_kept(key: Any, value: Any) -> bool:
    """Without titles, what moves the base of references, and keywords that say nothing."""
    if key == "id":
        return not isinstance(value, str)
    if key in ("$schema", "$id", "optional", "title"):
        return False
    return value is not None or key in ("default", "const")


def _keep_telling_titles(given: dict[str, Any], plain: dict[str, Any]) -> None:
    """A title that only repeats the name is noise; another one describes what has no description."""
    for name, schema in plain.items():
        title = given[name].get("title") if isinstance(given[name], dict) else None
        tells = isinstance(title, str) and _letters(title) not in (_letters(name), "")
        if tells and "description" not in schema:
            schema["description"] = title


def _letters(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())


def read_type(text: str, place: tuple[str, ...] = ()) -> JsonObject:
    """The schema that a type's name stands for, in the words of Python, Java, C or data sets.

    Raises DataError for a name that nobody knows.
    """
    word = _OPTIONAL.sub("", text).strip()
    plain = word.lower()
    if plain in _WORDS:
        return {"type": _WORDS[plain]} if _WORDS[plain] else {}
    if plain in _FORMATS:
        return {"type": "string", "format": _FORMATS[plain]}
    if plain == "objectarray" or plain.endswith("[]"):
        inner = "object" if plain == "objectarray" else word[:-2]
        return {"type": "array", "items": read_type(inner, place)}
    parts = list(_split(word, "|")) if len(word) <= MAX_TYPE_CHARS else []
    if len(parts) > 1:
        return _join_types([read_type(part, place) for part in parts])
    generic = _GENERIC.fullmatch(word) if parts else None
    if generic and generic[1].lower() in _GENERICS:
        return _read_generic(generic[1].lower(), list(_split(generic[2], ",")), place)
    where = f" at {'/'.join(place)}" if place else ""
    raise DataError(f"no valid JSON Schema 2020-12{where}: unknown type {shorten(text)!r}")


def _read_generic(outer: str, inner: list[str], place: tuple[str, ...]) -> JsonObject:
    if outer == "literal":
        return {"enum": [part.strip("'\" ") for part in inner]}
    kinds = [read_type(part, place) for part in inner if part.strip() not in ("...", "")]
    if outer == "optional":
        return _join_types([*kinds, {"type": "null"}])
    if outer == "union":
        return _join_types(kinds)
    kind = read_type(outer, place)
    if kind.get("type") == "object" and kinds and kinds[-1]:
        return kind | {"additionalProperties": kinds[-1]}
    if kind.get("type") == "array" and kinds:
        several = outer == "tuple" and len(kinds) > 1
        return kind | ({"prefixItems": kinds} if several else {"items": kinds[0]})
    return kind


def _split(text: str, at: str) -> Iterator[str]:
    """The parts between separators that stand outside of brackets."""
    depth, start = 0, 0
    for number, letter in enumerate(text):
        depth += (letter in "[(<") - (letter in "])>")
        if letter == at and depth == 0:
            yield text[start:number].strip()
            start = number + 1
    yield text[start:].strip()


def _join_types(schemas: list[JsonObject]) -> JsonObject:
    """Any of the schemas: a list of types where they say nothing else."""
    if not schemas or not all(schemas):
        return {}
    if all(schema.keys() == {"type"} for schema in schemas):
        kinds = list(dict.fromkeys(kind for schema in schemas for kind in kinds_of(schema)))
        return {"type": kinds if len(kinds) > 1 else kinds[0]}
    return {"anyOf": schemas} if len(schemas) > 1 else schemas[0]


def _translate_type(plain: JsonObject, place: tuple[str, ...]) -> JsonObject:
    kind = plain.get("type")
    if isinstance(kind, str):
        read = read_type(kind, (*place, "type"))
    elif isinstance(kind, list) and kind and all(isinstance(k, str | None) for k in kind):
        read = _join_types([read_type(k or "null", (*place, "type")) for k in kind])
    else:
        return plain
    return read | {key: value for key, value in plain.items() if key != "type"}


def _translate_required(plain: JsonObject) -> None:
    """`required` and `optional` of the properties as the object's list of names."""
    own = plain.get("required")
    if _as_flag(own) is not None:
        del plain["required"]
        own = None
    properties = plain.get("properties")
    if not isinstance(properties, dict):
        if own == []:
            del plain["required"]
        return
    if isinstance(own, str) and own in properties:
        own = [own]
    inside = properties.get("required")
    if own is None and isinstance(inside, list):
        own = inside
        properties = {name: inner for name, inner in properties.items() if name != "required"}
    plain["properties"] = properties
    needed: list[Any] = own if isinstance(own, list) else []
    for name, inner in properties.items():
        said = _needs(inner) if isinstance(inner, dict) else None
        if said:
            needed = [*needed, name]
    if isinstance(own, list) or (own is None and needed):
        plain["required"] = _unique(needed)
    if plain.get("required") == []:
        del plain["required"]


def _needs(schema: Mapping[str, Any]) -> bool | None:
    """What a property says of itself; None where it says nothing."""
    needed = _as_flag(schema.get("required"))
    optional = _as_flag(schema.get("optional"))
    if needed is None and optional is not None:
        return not optional
    return needed


def _as_flag(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _unique(names: list[Any]) -> list[Any]:
    return [name for number, name in enumerate(names) if name not in names[:number]]


def _translate_items(plain: JsonObject) -> None:
    """Lists of items are called `prefixItems` since 2020-12; an array says what it holds."""
    others = plain.pop("additionalItems", None)
    if isinstance(plain.get("items"), list):
        plain["prefixItems"] = plain.pop("items")
        if others is not None:
            plain["items"] = others
    if plain.get("prefixItems") == []:
        del plain["prefixItems"]
    if "array" not in kinds_of(plain):
        return
    values, inner = plain.get("enum"), plain.get("items", {})
    whole = isinstance(values, list) and any(isinstance(value, list | None) for value in values)
    if values and not whole and isinstance(inner, dict | str):
        inner = read_type(inner) if isinstance(inner, str) else inner
        plain["items"] = {**inner, "enum": plain.pop("enum")}
    if "prefixItems" not in plain:
        plain.setdefault("items", {})


def translate_words(plain: JsonObject) -> None:
    """Older drafts' and OpenAPI's keywords: boolean bounds, `example`, named `examples`, and
    numbers that stand in quotes."""
    for bound, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if plain.get(bound) is True and limit in plain:
            plain[bound] = plain.pop(limit)
        elif isinstance(plain.get(bound), bool):
            del plain[bound]
    for key in _NUMBERS & plain.keys():
        if isinstance(plain[key], str):
            plain[key] = _read_number(plain[key], plain[key])
    if isinstance(plain.get("uniqueItems"), str):
        plain["uniqueItems"] = _as_flag(plain["uniqueItems"])
    if "example" in plain:
        example = plain.pop("example")
        plain.setdefault("examples", [example])
    if "examples" in plain:
        plain["examples"] = read_examples(plain["examples"])
        if not plain["examples"]:
            del plain["examples"]


def read_examples(examples: Any) -> list[Any]:
    """A list of examples from a list, from one value, or from OpenAPI's map of named ones."""
    if isinstance(examples, dict):
        values = (e.get("value") for e in examples.values() if isinstance(e, dict))
        return [value for value in values if value is not None]
    return examples if isinstance(examples, list) else [examples]


def apply_nullable(schema: JsonObject) -> JsonObject:
    """The schema, or null."""
    kinds = kinds_of(schema)
    if not schema or "null" in kinds:
        return schema
    if not kinds:
        return {"anyOf": [schema, {"type": "null"}]}
    nullable = {**schema, "type": [*kinds, "null"]}
    if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
        nullable["enum"] = [*schema["enum"], None]
    return nullable


def kinds_of(schema: Mapping[str, Any]) -> list[str]:
    """The types that a schema names itself."""
    kind = schema.get("type")
    if isinstance(kind, str):
        return [kind]
    return [k for k in kind if isinstance(k, str)] if isinstance(kind, list) else []


def _translate_values(plain: JsonObject) -> None:
    """Enums and defaults of the declared type: null makes the type nullable, the rest is read as
    that type, and a default that cannot be is dropped."""
    kinds = kinds_of(plain)
    values = plain.get("enum")
    if isinstance(values, list) and kinds:
        values = plain["enum"] = [_coerce(value, kinds, value) for value in values]
    if "default" not in plain:
        return
    default = _coerce(plain["default"], kinds, _MISSING) if kinds else plain["default"]
    if default is None and kinds and "null" not in kinds:
        plain.update(apply_nullable(plain))
    elif default is _MISSING or (isinstance(values, list) and not _is_among(default, values)):
        del plain["default"]
        return
    plain["default"] = default


_MISSING = object()


def _coerce(value: Any, kinds: list[str], otherwise: Any) -> Any:
    """The value if it is of one of the types, or what its text means as one; null stays null."""
    if value is None or any(_is_a(value, kind) for kind in kinds):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and "string" in kinds:
        return str(value)
    if not isinstance(value, str):
        return otherwise
    text = value.strip()
    if text in ("None", "null"):
        return None
    read = {"true": True, "false": False}.get(text.lower(), _MISSING)
    if read is _MISSING:
        read = _read_number(text, _MISSING)
    if text in ("[]", "{}"):
        read = [] if text == "[]" else {}
    return read if any(_is_a(read, kind) for kind in kinds) else otherwise


def _is_a(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    kinds: dict[str, Any] = {"string": str, "number": int | float, "object": dict, "array": list}
    return kind in kinds and isinstance(value, kinds[kind])


def _is_among(value: Any, values: list[Any]) -> bool:
    return any(
        value == other and isinstance(value, bool) == isinstance(other, bool) for other in values
    )


def _read_number(text: str, otherwise: Any) -> Any:
    if re.fullmatch(r"[-+]?\d{1,300}", text.strip()):
        return int(text)
    try:
        number = float(text)
    except ValueError:
        return otherwise
    return number if math.isfinite(number) else otherwise
