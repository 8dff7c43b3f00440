"""Regular expressions of foreign schemas, searched for in bounded time.

A pattern is data, and one such as `(a+)+$` keeps Python's `re` busy for ever. What is simple enough goes to
`re`, as jsonschema has it; a repeated group, or many repetitions, go to the engine of jsonschema_rs, which
takes time in proportion to the text (patterns that look around or refer back: up to a limit, and then they do
not match). Its `\\d` and `\\w` are ASCII, as JSON Schema's are. What neither takes is an `re.error`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache
from importlib import import_module
from typing import Any

_GROUP_AGAIN = re.compile(r"\)\s*[*+{]")
_REPEATED = re.compile(r"[*+]|\{\d*,\d*\}")
_MOST_REPEATED = 2
"""Repetitions side by side cost the length of the text to that power."""


def search_pattern(pattern: str, text: str) -> bool:
    """Whether the pattern is found anywhere in the text; re.error for one that cannot be used."""
    return compile_pattern(pattern)(text)


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """The same as a function; re.error for a pattern that cannot be used."""
    found = re.compile(pattern)
    if not _GROUP_AGAIN.search(pattern) and len(_REPEATED.findall(pattern)) <= _MOST_REPEATED:
        return lambda text: found.search(text) is not None
    library = import_module("jsonschema_rs")
    try:
        validator = library.Draft202012Validator({"pattern": pattern})
    except ValueError as exc:  # its ValidationError is one
        raise re.error("it repeats groups, in a form that only Python knows", pattern) from exc

    def search(text: str) -> bool:
        return bool(validator.is_valid(text))

    return search


@cache
def bounded_validator() -> Any:
    """jsonschema's validator of draft 2020-12 with this search; imported at the first need."""
    validators = import_module("jsonschema").validators
    base = import_module("jsonschema").Draft202012Validator
    error = import_module("jsonschema").ValidationError
    additional = base.VALIDATORS["additionalProperties"]

    def check_pattern(
        validator: Any, pattern: str, instance: Any, schema: Any
    ) -> Iterator[Exception]:
        if validator.is_type(instance, "string") and not search_pattern(pattern, instance):
            yield error(f"{instance!r} does not match {pattern!r}")

    def check_pattern_properties(
        validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any
    ) -> Iterator[Exception]:
        for pattern, below in patterns.items() if validator.is_type(instance, "object") else ():
            for key, value in instance.items():
                if search_pattern(pattern, key):
                    yield from validator.descend(value, below, path=key, schema_path=pattern)

    def check_additional(
        validator: Any, allowed: Any, instance: Any, schema: Any
    ) -> Iterator[Exception]:
        patterns = schema.get("patternProperties", {})
        if patterns and validator.is_type(instance, "object"):
            schema = {key: value for key, value in schema.items() if key != "patternProperties"}
            instance = {
                key: value
                for key, value in instance.items()
                if not any(search_pattern(pattern, key) for pattern in patterns)
            }
        yield from additional(validator, allowed, instance, schema)

    bounded = validators.extend(
        base,
        {
            "pattern": check_pattern,
            "patternProperties": check_pattern_properties,
            "additionalProperties": check_additional,
        },
    )
    # A part that names its own `$schema` would be handed to another class.
    bounded.evolve = import_module("attrs").evolve
    return bounded
