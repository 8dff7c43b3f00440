"""Tool schemas, compiled once into what the matching rule asks of them (R4, R6, R7).

A `Node` is one place in the arguments. Local `$ref`s are followed (cycles too), `allOf` parts are
merged, and of `anyOf` / `oneOf` the branch that takes a value's kind counts, if it is the only one:
so an optional `anyOf: [X, null]` is X. Where that is ambiguous, values are compared by the plain
rule. Left out: `if/then/else`, `patternProperties`, `dependentSchemas` and remote references; they
say when a value is valid (`validity.py`), hardly ever when two are the same. Malformed parts of a
schema count as absent here, and as a defect there.
"""

import marshal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import unquote

from looptool.errors import DataError, shorten

Schema: TypeAlias = Any
"""A JSON Schema as found: mostly a dict, but nothing is promised."""
Kind: TypeAlias = Literal["object", "array", "string"]

ABSENT: Final[Any] = object()
"""Stands for "no default"; None is JSON's null."""


@dataclass(slots=True, eq=False)
class Node:
    """What the rule needs to know of one place in the arguments; places may form cycles."""

    default: Any = ABSENT
    exact: bool = False
    """Strings come from an enum or const: compared character by character."""
    relaxable: bool = True
    """Strings have no enum, const, format or pattern: BFCL's rule makes sense for them."""
    properties: dict[str, "Node"] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    """The defaults of the keys that are not required."""
    extra: "Node" = field(init=False)
    """For keys that `properties` does not have."""
    closed: bool = False
    """Properties are declared and nothing is said of others: there are no others."""
    prefix: tuple["Node", ...] = ()
    items: "Node" = field(init=False)
    unique: bool = False

    def __post_init__(self) -> None:
        # Right as it stands for a place without any words; the compiler sets both for all others.
        self.extra = self.items = self


PLAIN: Final = Node()
"""A place of which the schema says nothing."""


class Tool:
    """One tool: its name, its parameters as given, and the node of its arguments."""

    def __init__(self, name: str, parameters: Schema) -> None:
        self.name = name
        self.parameters = parameters
        try:
            self.node = _Compiler(parameters).compile((parameters,))
        except RecursionError as error:
            raise DataError(f"the schema of tool {name} nests too deep to be compiled") from error
        self.validator: Any = None
        """Made by `validity` at the first need, and kept here."""
        self.known_faults: dict[bytes, tuple[str, ...]] = {}
        """What `validity` found, by frozen arguments."""


class ToolIndex:
    """The tools of one sample by name, compiled at the first call of each.

    Pass it in place of `tools` to save time; the tools must not change afterwards.
    """

    __slots__ = ("_specs", "_tools")

    def __init__(self, tools: Sequence[Mapping[str, Any]]) -> None:
        """Raises DataError for a tool without a name and for two tools of the same name."""
        self._specs: dict[str, Mapping[str, Any]] = {}
        self._tools: dict[str, Tool] = {}
        for spec in tools:
            name, function = _read_spec(spec)
            if name in self._specs:
                raise DataError(f"two tools are called {name}; names must be unique")
            self._specs[name] = function

    def __contains__(self, name: str) -> bool:
        return name in self._specs

    def find(self, name: str) -> Tool | None:
        """The tool of this name, or None."""
        tool = self._tools.get(name)
        if tool is None and name in self._specs:
            tool = self._tools[name] = _compile_tool(name, self._specs[name].get("parameters"))
        return tool


def index_tools(tools: ToolIndex | Sequence[Mapping[str, Any]]) -> ToolIndex:
    """The tools as an index, whatever they were."""
    return tools if type(tools) is ToolIndex else ToolIndex(tools)  # type: ignore[arg-type]


def _read_spec(spec: Any) -> tuple[str, Mapping[str, Any]]:
    # Runs for every tool of every comparison: `isinstance` with Mapping is slow, so dicts go first.
    if type(spec) is dict or isinstance(spec, Mapping):
        function = spec.get("function", spec)
        if type(function) is dict or isinstance(function, Mapping):
            name = function.get("name")
            if isinstance(name, str) and name:
                return name, function
    raise DataError(f"a tool needs a name and its parameters, got {shorten(spec)}")


_COMPILED: dict[tuple[str, bytes], Tool] = {}
_MOST_COMPILED = 4096


def _compile_tool(name: str, parameters: Schema) -> Tool:
    """The tool from a cache keyed by content: identities are reused, and schemas may change."""
    frozen = freeze(parameters)
    if frozen is None:
        return Tool(name, parameters)
    key = name, frozen
    tool = _COMPILED.get(key)
    if tool is None:
        # From the copy: what its owner changes later must not change under the old key.
        tool = Tool(name, marshal.loads(frozen) or {})  # noqa: S302  (our own bytes)
        if len(_COMPILED) >= _MOST_COMPILED:
            _COMPILED.clear()
        _COMPILED[key] = tool
    return tool


def freeze(value: Any) -> bytes | None:
    """A hashable copy that tells 1, 1.0 and True apart; None for what is not plain JSON.

    marshal is five times as fast as json here and takes integers of any length; its format 2 has no
    back references, so that equal values give equal bytes.
    """
    try:
        return marshal.dumps(value, 2)
    except ValueError:
        return None


class _Compiler:
    """Compiles the places of one tool's parameters, each set of schemas once."""

    def __init__(self, root: Schema) -> None:
        self.root = root
        self.nodes: dict[tuple[int, ...], Node] = {}

    def compile(self, schemas: Iterable[Schema]) -> Node:
        """The node of a place to which all these schemas apply."""
        unique = list({id(s): s for s in schemas if isinstance(s, Mapping)}.values())
        key = tuple(map(id, unique))
        if key in self.nodes:
            return self.nodes[key]
        # Registered before it is filled: a recursive schema finds itself here.
        node = self.nodes[key] = Node()
        objects = self._collect(unique, "object")
        strings = self._collect(unique, "string", every=True)
        certain = self._conjunction(unique)
        node.default = next((part["default"] for part in certain if "default" in part), ABSENT)
        node.exact = any(self._is_exact(schema) for schema in unique)
        node.relaxable = not any(
            part.keys() & {"enum", "const", "format", "pattern"} for part in strings
        )
        self._fill_object(node, objects, self._collect(unique, "object", every=True))
        self._fill_array(node, self._collect(unique, "array"))
        return node

    def _fill_object(self, node: Node, parts: list[Schema], every: list[Schema]) -> None:
        declared: dict[str, list[Schema]] = {}
        for part in parts:
            for key, schema in _mapping(part.get("properties")).items():
                declared.setdefault(key, []).append(schema)
        required = {key for part in parts for key in _strings(part.get("required"))}
        extra = [part["additionalProperties"] for part in parts if "additionalProperties" in part]
        node.properties = {key: self.compile(schemas) for key, schemas in declared.items()}
        node.defaults = {
            key: child.default
            for key, child in node.properties.items()
            if key not in required and child.default is not ABSENT
        }
        node.extra = self.compile(extra) if extra else PLAIN
        node.closed = bool(declared) and len(parts) == len(every) and not _is_open(every)

    def _fill_array(self, node: Node, parts: list[Schema]) -> None:
        node.unique = any(part.get("uniqueItems") is True for part in parts)
        items = [part["items"] for part in parts if isinstance(part.get("items"), Mapping)]
        node.items = self.compile(items) if items else PLAIN
        for part in parts:
            # Older drafts write the list under `items`.
            prefix = part.get("prefixItems", part.get("items"))
            if isinstance(prefix, list) and not node.prefix:
                node.prefix = tuple(self.compile((schema,)) for schema in prefix)

    def _conjunction(self, schemas: Iterable[Schema]) -> list[Schema]:
        """The schemas and all that they refer to or combine by `allOf`, nearest first."""
        found: dict[int, Schema] = {}
        waiting = list(schemas)
        for schema in waiting:
            if isinstance(schema, Mapping) and id(schema) not in found:
                found[id(schema)] = schema
                waiting += self._conjuncts(schema)
        return list(found.values())

    def _collect(self, schemas: Iterable[Schema], kind: Kind, every: bool = False) -> list[Schema]:
        """The schemas that apply to values of this kind, by reference and combination too.

        Of several branches that take the kind none applies for sure, unless `every` asks for all.
        """
        found: dict[int, Schema] = {}
        waiting = list(schemas)
        for schema in waiting:
            if not isinstance(schema, Mapping) or id(schema) in found:
                continue
            found[id(schema)] = schema
            waiting += self._conjuncts(schema)
            for branches in _alternatives(schema):
                taken = [branch for branch in branches if self._takes(branch, kind)]
                waiting += taken if every or len(taken) == 1 else []
        return list(found.values())

    def _conjuncts(self, schema: Schema) -> Iterator[Schema]:
        if isinstance(schema.get("$ref"), str):
            yield self._resolve(schema["$ref"])
        if isinstance(schema.get("allOf"), list):
            yield from schema["allOf"]

    def _resolve(self, reference: str) -> Schema:
        """The local schema that `#/a/b` points at, or None."""
        head, *steps = unquote(reference).split("/")
        schema = self.root if head == "#" else None
        for step in steps:
            key = step.replace("~1", "/").replace("~0", "~")
            schema = schema.get(key) if isinstance(schema, Mapping) else None
        return schema

    def _takes(self, branch: Schema, kind: Kind) -> bool:
        """Whether such a value may satisfy the branch, by types, enums and telling keywords."""
        if not isinstance(branch, Mapping):
            return branch is True
        return all(_allows(part, kind) for part in self._conjunction((branch,)))

    def _is_exact(self, schema: Schema, trail: frozenset[int] = frozenset()) -> bool:
        """Whether every string that may stand here is listed, be it as a `oneOf` of constants."""
        if not isinstance(schema, Mapping) or id(schema) in trail:
            return False
        if "enum" in schema or "const" in schema:
            return True
        trail = trail | {id(schema)}
        if any(self._is_exact(part, trail) for part in self._conjuncts(schema)):
            return True
        for branches in _alternatives(schema):
            strings = [branch for branch in branches if self._takes(branch, "string")]
            if strings and all(self._is_exact(branch, trail) for branch in strings):
                return True
        return False


_PYTHON_TYPES: Final[dict[Kind, type]] = {"object": dict, "array": list, "string": str}
_TELLING: Final[dict[str, Kind]] = {
    "properties": "object",
    "items": "array",
    "prefixItems": "array",
    "pattern": "string",
}


def _allows(schema: Schema, kind: Kind) -> bool:
    """Whether this schema's own words, combinations aside, leave room for the kind."""
    declared = schema.get("type")
    if isinstance(declared, str):
        return declared == kind
    if isinstance(declared, list):
        return kind in declared
    if "const" in schema:
        return isinstance(schema["const"], _PYTHON_TYPES[kind])
    if isinstance(schema.get("enum"), list):
        return any(isinstance(value, _PYTHON_TYPES[kind]) for value in schema["enum"])
    told = {kind_told for keyword, kind_told in _TELLING.items() if keyword in schema}
    return not told or kind in told


def _alternatives(schema: Schema) -> Iterator[list[Schema]]:
    for keyword in ("anyOf", "oneOf"):
        if isinstance(schema.get(keyword), list):
            yield schema[keyword]


def _is_open(parts: list[Schema]) -> bool:
    """Whether any part speaks of keys that `properties` does not name."""
    words = {"additionalProperties", "patternProperties", "unevaluatedProperties"}
    words |= {"if", "then", "else", "dependentSchemas", "not", "propertyNames"}
    return any(part.keys() & words for part in parts)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _strings(value: Any) -> list[str]:
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []
