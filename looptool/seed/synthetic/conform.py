"""Does a tool keep to the two paths that it was asked for, and does it hold together?

Only what can be measured is checked. Whether a description is any good is not; that its words are
about the task, and that it has the length and the parts asked for, is.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from looptool.errors import shorten
from looptool.records import JsonObject, ToolSpec, as_mapping
from looptool.seed.synthetic.trees import Choice, ConstraintPath, ContextPath

CONFORMITY_RULES = (
    "naming",
    "parameter_count",
    "parameter_types",
    "output_format",
    "description_style",
    "off_topic",
    "undescribed_parameter",
    "duplicate_tool",
)
"""What a well-formed tool can be refused for. Before these come `teacher_…` (no readable reply),
`required_undeclared` and `bad_tool` (no valid JSON Schema)."""
_LITTLE = frozenset("a an and at by for from in of on or the to with".split())
_UNION = ("anyOf", "oneOf")


@dataclass(frozen=True, slots=True)
class Breach:
    """A broken rule and what was seen."""

    rule: str
    detail: str


def find_breaches(
    tool: ToolSpec,
    context: ContextPath,
    constraints: ConstraintPath,
    taken: Collection[tuple[str, frozenset[str]]] = (),
) -> list[Breach]:
    """Every rule that the tool breaks, in the order of `CONFORMITY_RULES`.

    `taken` holds the `identity` of each tool that is there already.
    """
    found = [breach for rules in constraints.rules for breach in _check_shape(tool, rules)]
    found += _check_coherence(tool, context)
    if identity(tool) in taken:
        names = ", ".join(sorted(identity(tool)[1])) or "no parameters"
        found.append(Breach("duplicate_tool", f"there is already a {tool.name} with {names}"))
    return sorted(found, key=lambda breach: CONFORMITY_RULES.index(breach.rule))


def identity(tool: ToolSpec) -> tuple[str, frozenset[str]]:
    """By what two tools count as the same: the name without case and separators, and the names
    of the parameters."""
    name = re.sub(r"[^a-z0-9]", "", (tool.original_name or tool.name).lower())
    return name, frozenset(_properties(tool.parameters))


def _check_shape(tool: ToolSpec, rules: Choice) -> Iterator[Breach]:
    yield from _check_names(tool, rules)
    properties = _properties(tool.parameters)
    count, least, most = len(properties), rules.least or 0, rules.most
    if count < least or (most is not None and count > most):
        bounds = f"{least} to {most}" if most is not None else f"{least} or more"
        yield Breach("parameter_count", f"{count} parameters where {bounds} were asked for")
    yield from _check_types(tool, rules)
    if rules.output is not None and _result_type(tool.output) != rules.output:
        seen = _result_type(tool.output) or "nothing"
        yield Breach("output_format", f"it returns {seen} where {rules.output} was asked for")
    yield from _check_description(tool.description, rules)


def _check_names(tool: ToolSpec, rules: Choice) -> Iterator[Breach]:
    name = tool.original_name or tool.name
    if rules.tool_name is not None and not re.fullmatch(rules.tool_name, name):
        yield Breach("naming", f"the tool's name {shorten(name)} is not of the form asked for")
    if rules.parameter_name is not None:
        for one in _properties(tool.parameters):
            if not re.fullmatch(rules.parameter_name, one):
                yield Breach("naming", f"the parameter {shorten(one)} is not of the form asked for")


def _check_types(tool: ToolSpec, rules: Choice) -> Iterator[Breach]:
    kinds = {
        name: kind_of_parameter(schema, tool.parameters)
        for name, schema in _properties(tool.parameters).items()
    }
    for name, kind in kinds.items():
        if rules.only and kind not in rules.only:
            wanted = ", ".join(rules.only)
            yield Breach("parameter_types", f"{shorten(name)} is {kind}, not one of {wanted}")
    if rules.some and not set(rules.some) & set(kinds.values()):
        wanted = " or ".join(rules.some)
        yield Breach("parameter_types", f"no parameter is a {wanted}")


def _check_description(text: str, rules: Choice) -> Iterator[Breach]:
    count, most = len(text.split()), rules.most_words
    if count < (rules.fewest_words or 0) or (most is not None and count > most):
        bounds = f"at most {most}" if most is not None else f"at least {rules.fewest_words}"
        yield Breach("description_style", f"{count} words where {bounds} were asked for")
    if rules.contains is not None and not re.search(rules.contains, text):
        yield Breach("description_style", f"{rules.contains!r} is not found in it")


def _check_coherence(tool: ToolSpec, context: ContextPath) -> Iterator[Breach]:
    wanted = {stem for text in (context.task, *context.words) for stem in _stems(text)}
    said = _squeeze(f"{tool.original_name or tool.name} {tool.description}")
    if not any(stem in said for stem in wanted):
        yield Breach("off_topic", f"no word of it is about {context.task}")
    for name, schema in _properties(tool.parameters).items():
        if not str(as_mapping(schema).get("description") or "").strip():
            yield Breach("undescribed_parameter", f"{shorten(name)} has no description")


def _stems(text: str) -> Iterator[str]:
    """The words that carry meaning, without the endings of plurals and verbs."""
    for word in re.findall(r"[^\W_]+", text.lower()):
        if word not in _LITTLE:
            yield re.sub(r"(?:ies|ing|es|s|y|e)$", "", word) if len(word) > 4 else word


def _squeeze(text: str) -> str:
    """Names and words alike as one string of letters: `searchHotels` holds `hotel`."""
    return re.sub(r"[\W_]+", "", text.lower())


def kind_of_parameter(schema: Any, root: JsonObject) -> str:
    """string, number, boolean, list, object, tuple; `other` for what is none of them.

    A union counts as its first branch that is not null.
    """
    node = as_mapping(schema)
    reference = node.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        node = as_mapping(as_mapping(root.get("$defs")).get(reference.removeprefix("#/$defs/")))
    for union in _UNION:
        if isinstance(node.get(union), list):
            branches = [as_mapping(branch) for branch in node[union]]
            node = next((b for b in branches if b.get("type") != "null"), {})
    declared = _type_of(node)
    if declared == "array":
        return "tuple" if isinstance(node.get("prefixItems"), list) else "list"
    return {"integer": "number"}.get(declared, declared) or "other"


def _type_of(schema: Mapping[str, Any]) -> str:
    declared = schema.get("type")
    if isinstance(declared, list):
        declared = next((one for one in declared if one != "null"), "")
    if not declared and isinstance(schema.get("enum"), list):
        return "string" if all(isinstance(value, str) for value in schema["enum"]) else ""
    return declared if isinstance(declared, str) else ""


def _result_type(output: JsonObject | None) -> str:
    return _type_of(as_mapping(output))


def _properties(parameters: JsonObject) -> Mapping[str, Any]:
    return as_mapping(parameters.get("properties"))
