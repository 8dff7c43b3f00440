"""JSON Schema as plain functions: the fast path for calls that break no rule, which most do not.

jsonschema stays the reference: it checks the schema itself, it words every violation, and it decides
alone wherever a schema says something that is not compiled here. What is compiled gives the same
verdict; `tests/validate/test_accept.py` holds the two against each other.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from looptool.patterns import compile_pattern
from looptool.records import JsonObject

Accept = Callable[[Any], bool]
"""Whether a JSON value satisfies a schema; raises Unsure where only the reference knows."""


class Unsure(Exception):
    """The value needs the reference validator."""


class _NotCompiled(Exception):
    """The schema needs the reference validator."""


def compile_schema(schema: JsonObject, formats: FormatChecker) -> Accept | None:
    """The schema as a function; None when it says something that is left to the reference."""
    try:
        return _Compiler(schema, formats).compile(schema)
    except _NotCompiled:
        return None


def _is_integer(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: dict[str, Accept] = {
    "string": lambda value: isinstance(value, str),
    "integer": _is_integer,
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_COMPILED = frozenset(
    "type enum const properties required additionalProperties items minItems maxItems uniqueItems "
    "minimum maximum exclusiveMinimum exclusiveMaximum minLength maxLength pattern format "
    "minProperties maxProperties anyOf oneOf allOf not $ref".split()
)
_LEFT_OUT = (frozenset(Draft202012Validator.VALIDATORS) - _COMPILED) | {
    "$id",
    "$schema",
    "$anchor",
    "$dynamicAnchor",
}
_LOCAL = re.compile(r"#/(\$defs|definitions)/([\w.-]+)")


class _Compiler:
    def __init__(self, root: JsonObject, formats: FormatChecker) -> None:
        self._root = root
        self._formats = formats
        self._referred: dict[str, Accept | None] = {}

    def compile(self, schema: Any) -> Accept:
        """One function that applies every keyword."""
        if isinstance(schema, bool):
            return lambda _: schema
        if not isinstance(schema, dict) or not _LEFT_OUT.isdisjoint(schema):
            raise _NotCompiled
        checks = [
            check
            for check in (
                self._type(schema),
                self._choice(schema),
                self._number(schema),
                self._text(schema),
                self._array(schema),
                self._object(schema),
                *self._combined(schema),
            )
            if check is not None
        ]
        match checks:
            case []:
                return lambda _: True
            case [only]:
                return only
            case [first, second]:
                return lambda value: first(value) and second(value)
        return lambda value: all(check(value) for check in checks)

    def _type(self, schema: Mapping[str, Any]) -> Accept | None:
        if "type" not in schema:
            return None
        wanted = schema["type"]
        if isinstance(wanted, str):
            return _TYPES[wanted]
        tests = [_TYPES[name] for name in wanted]
        return lambda value: any(test(value) for test in tests)

    def _choice(self, schema: Mapping[str, Any]) -> Accept | None:
        if "enum" not in schema and "const" not in schema:
            return None
        if "enum" in schema and "const" in schema:
            raise _NotCompiled
        options = schema["enum"] if "enum" in schema else [schema["const"]]
        texts = frozenset(option for option in options if isinstance(option, str))
        only_texts = len(texts) == len(options)

        def check(value: Any) -> bool:
            if isinstance(value, str):
                return value in texts
            if only_texts:
                return False
            raise Unsure  # 1, 1.0 and true: the reference knows which are the same

        return check

    def _number(self, schema: Mapping[str, Any]) -> Accept | None:
        low, high = schema.get("minimum"), schema.get("maximum")
        above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        if low is None and high is None and above is None and below is None:
            return None
        return lambda value: (
            not _is_number(value)
            or (
                (low is None or value >= low)
                and (high is None or value <= high)
                and (above is None or value > above)
                and (below is None or value < below)
            )
        )

    def _text(self, schema: Mapping[str, Any]) -> Accept | None:
        shortest, longest = schema.get("minLength", 0), schema.get("maxLength")
        form: str = schema.get("format", "")
        conforms = self._formats.conforms if form in self._formats.checkers else None
        try:
            found = compile_pattern(schema["pattern"]) if "pattern" in schema else None
        except re.error as exc:
            raise _NotCompiled from exc
        if not shortest and longest is None and found is None and conforms is None:
            return None
        return lambda value: (
            not isinstance(value, str)
            or (
                len(value) >= shortest
                and (longest is None or len(value) <= longest)
                and (found is None or found(value))
                and (conforms is None or conforms(value, form))
            )
        )

    def _array(self, schema: Mapping[str, Any]) -> Accept | None:
        fewest, most = schema.get("minItems", 0), schema.get("maxItems")
        unique = schema.get("uniqueItems", False)
        item = self.compile(schema["items"]) if "items" in schema else None
        if not fewest and most is None and not unique and item is None:
            return None

        def check(value: Any) -> bool:
            if not isinstance(value, list):
                return True
            if len(value) < fewest or (most is not None and len(value) > most):
                return False
            if unique and len(value) > 1:
                if not all(isinstance(child, str) for child in value):
                    raise Unsure
                if len(set(value)) < len(value):
                    return False
            return item is None or all(item(child) for child in value)

        return check

    def _object(self, schema: Mapping[str, Any]) -> Accept | None:
        declared = {name: self.compile(s) for name, s in schema.get("properties", {}).items()}
        required = tuple(schema.get("required", ()))
        fewest, most = schema.get("minProperties", 0), schema.get("maxProperties")
        others = self.compile(schema.get("additionalProperties", True))
        anything = schema.get("additionalProperties", True) is True
        if not declared and not required and not fewest and most is None and anything:
            return None

        def check(value: Any) -> bool:
            if not isinstance(value, dict):
                return True
            if len(value) < fewest or (most is not None and len(value) > most):
                return False
            for name in required:
                if name not in value:
                    return False
            return all(declared.get(key, others)(child) for key, child in value.items())

        return check

    def _combined(self, schema: Mapping[str, Any]) -> list[Accept]:
        checks: list[Accept] = []
        for key, fits in (
            ("allOf", lambda count, of: count == of),
            ("anyOf", lambda count, of: count > 0),
            ("oneOf", lambda count, of: count == 1),
        ):
            if key in schema:
                checks.append(_counting([self.compile(child) for child in schema[key]], fits))
        if "not" in schema:
            refused = self.compile(schema["not"])
            checks.append(lambda value: not refused(value))
        if "$ref" in schema:
            checks.append(self._refer(schema["$ref"]))
        return checks

    def _refer(self, reference: str) -> Accept:
        """The schema behind a local reference, which may refer to itself."""
        found = _LOCAL.fullmatch(reference)
        target = self._root.get(found[1], {}).get(found[2]) if found else None
        if target is None:
            raise _NotCompiled
        if reference not in self._referred:
            self._referred[reference] = None
            self._referred[reference] = self.compile(target)
        known = self._referred[reference]
        if known is not None:
            return known

        def later(value: Any) -> bool:
            accept = self._referred[reference]
            if accept is None:
                raise Unsure
            return accept(value)

        return later


def _counting(branches: list[Accept], fits: Callable[[int, int], bool]) -> Accept:
    return lambda value: fits(sum(branch(value) for branch in branches), len(branches))
