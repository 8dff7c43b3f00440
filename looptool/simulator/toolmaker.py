"""The tool designer: a tool in the shape that the prompt asks for, from the words of its task.

It understands the choices of the built-in constraint tree by their names; of another tree it makes
what it can. A share of its tools breaks one of the constraints, as a model's would.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from looptool.records import JsonObject, as_mapping
from looptool.simulator.toolbox import VERB_CLASS

_VERBS = ("get", "find", "check", "show", "list", "create", "update", "request")
_TAILS = ("for a customer", "of the user", "for a given day", "in one step", "on request")
_TEXTS = """city|City to look in.
country|Country, by its name.
start date|First day.|date
end date|Last day.|date
customer name|Name of the customer.
email|E-mail address for the confirmation.|email
note|Remark for the staff.
reference id|Id of an earlier request.
category|Kind of entry.
language|Language of the answer.
currency|Currency, three letters.
address|Street and house number.
provider|Company that offers it.
phone|Phone number for questions.
title|Title of the entry.
time|Time of day, HH:MM."""
_NUMBERS = """days|Number of days.|1|30
limit|Most results to return.|1|50
max price|Highest price.|1|5000
min rating|Lowest rating.|1|5
radius|Distance from the place in kilometers.|1|200
page|Page of the results.|1|99
quantity|How many.|1|20
people|Number of people.|1|12"""
_SWITCHES = """urgent|Whether it is urgent.
verbose|Whether to tell all details.
refundable|Only what can be cancelled.
notify|Whether to send a message when done.
archived|Whether to include old entries.
nearby|Whether to look in the neighbourhood too."""
_LISTS = """tags|Labels to file it under.
features|What it must offer.
excluded names|Names to leave out."""
_FIELDS = ("status", "summary", "price", "count")
_SHARED = {"string": _TEXTS, "number": _NUMBERS, "boolean": _SWITCHES, "list": _LISTS}
Naming = Callable[[Sequence[str]], str]
Schema = JsonObject


def _camel(words: Sequence[str]) -> str:
    return words[0] + "".join(word.capitalize() for word in words[1:])


_NAMINGS: dict[str, Naming] = {
    "simple": "".join,
    "snake_case": "_".join,
    "camelCase": _camel,
    "kebab-case": "-".join,
}
_COUNTS = {"none": (0, 0), "few": (1, 3), "several": (4, 6), "many": (7, 10)}


def make_tool(
    context: Mapping[str, Any],
    words: Sequence[str],
    constraints: Sequence[Mapping[str, Any]],
    rng: Random,
    nonconforming_rate: float = 0.0,
) -> JsonObject:
    """The reply of the toolmaker role."""
    chosen = {str(c.get("level")): str(c.get("choice")) for c in map(as_mapping, constraints)}
    maker = _Maker(context, words, chosen, rng)
    tool = maker.make()
    if rng.random() < nonconforming_rate:
        tool = maker.spoil(tool)
    return tool


class _Maker:
    """One tool in the making."""

    def __init__(
        self,
        context: Mapping[str, Any],
        words: Sequence[str],
        chosen: Mapping[str, str],
        rng: Random,
    ) -> None:
        self._task = re.findall(r"[a-z0-9]+", str(context.get("task") or "entry").lower())
        self._area = str(context.get("area") or "this field").lower()
        self._words = [str(word) for word in words] or self._task
        self._chosen = chosen
        self._name: Naming = _NAMINGS.get(chosen.get("naming", ""), "_".join)
        self._rng = rng

    def make(self) -> JsonObject:
        """A tool that keeps to every constraint."""
        verb, noun = self._action()
        name = self._name([verb, *noun])
        parameters = self._parameters()
        properties = {self._name(words.split()): schema for words, schema in parameters.items()}
        asked = [name for name, schema in properties.items() if schema["type"] != "boolean"]
        required = asked[: self._rng.randint(1, 3)]
        return {
            "name": name,
            "description": self._describe(verb, noun, name, properties),
            "parameters": {"type": "object", "properties": properties, "required": required},
            "returns": self._returns(),
        }

    def _action(self) -> tuple[str, list[str]]:
        """The verb and what it is done to."""
        verbs = [word for word in self._task if word in VERB_CLASS]
        noun = [word for word in self._task if word not in verbs] or self._task
        verb = verbs[-1] if verbs and self._rng.random() < 0.5 else self._rng.choice(_VERBS)
        return verb, noun

    def _parameters(self) -> dict[str, Schema]:
        """Parameters by their words, the ones that the types ask for first."""
        least, most = _COUNTS.get(self._chosen.get("parameters", ""), (1, 4))
        count = self._rng.randint(least, most)
        if not count:
            return {}
        wanted = self._chosen.get("types", "").rpartition(".")[2]
        pool = self._pool()
        found: dict[str, Schema] = dict(self._pick(wanted) if wanted else [])
        names = [name for name in self._rng.sample(list(pool), len(pool)) if name not in found]
        found.update((name, pool[name]) for name in names[: count - len(found)])
        shuffled = self._rng.sample(list(found), len(found))
        return {name: found[name] for name in shuffled}

    def _pick(self, kind: str) -> list[tuple[str, Schema]]:
        if kind == "tuple":
            return [("price range", self._tuple())]
        if kind == "object":
            return [("contact", self._object())]
        rows = _SHARED.get(kind, _TEXTS).split("\n")
        return [_read_row(kind, self._rng.choice(rows))]

    def _pool(self) -> dict[str, Schema]:
        rows = [(kind, row) for kind in ("string", "number", "boolean")
                for row in _SHARED[kind].split("\n")]  # fmt: skip
        return dict(_read_row(kind, row) for kind, row in rows)

    def _tuple(self) -> Schema:
        return {
            "type": "array",
            "description": "Lowest and highest price.",
            "prefixItems": [{"type": "number"}, {"type": "number"}],
            "minItems": 2,
            "maxItems": 2,
        }

    def _object(self) -> Schema:
        return {
            "type": "object",
            "description": "Who to ask when something is unclear.",
            "properties": {
                self._name(["name"]): {"type": "string", "description": "First and last name."},
                self._name(["phone"]): {"type": "string", "description": "Phone number."},
            },
            "required": [self._name(["name"])],
        }

    def _returns(self) -> Schema:
        fields: JsonObject = {self._name([self._words[0].split()[0], "id"]): {"type": "string"}}
        for field in self._rng.sample(_FIELDS, 2):
            kind = "number" if field in ("price", "count") else "string"
            fields[self._name([field])] = {"type": kind}
        row = {"type": "object", "properties": fields, "required": list(fields)}
        match self._chosen.get("output"):
            case "text":
                return {"type": "string", "description": "The answer in words."}
            case "list":
                return {"type": "array", "items": row}
        return row

    def _describe(
        self, verb: str, noun: Sequence[str], name: str, properties: Mapping[str, Schema]
    ) -> str:
        first = f"{verb.capitalize()} the {' '.join(noun)} {self._rng.choice(_TAILS)}."
        match self._chosen.get("description"):
            case "detailed":
                about = " or ".join(self._words[:2])
                return (
                    f"{first} Use it when somebody asks about {about} in {self._area} and wants a "
                    "reliable answer at once, with the details that the service knows."
                )
            case "with_example":
                given = ", ".join(list(properties)[:2])
                return f"{first} Example: {name}({given})."
        return first

    def spoil(self, tool: JsonObject) -> JsonObject:
        """The tool with one constraint broken."""
        makers = [
            self._misname,
            self._miscount,
            self._mistype,
            self._misreturn,
            self._misdescribe,
            self._stray,
            self._undescribe,
            self._require_more,
        ]
        return self._rng.choice(makers)(tool)

    def _misname(self, tool: JsonObject) -> JsonObject:
        return {**tool, "name": re.sub(r"[^A-Za-z0-9]", "", str(tool["name"])).upper() + "_X"}

    def _miscount(self, tool: JsonObject) -> JsonObject:
        extra = {self._name([word]): {"type": "string", "description": "Another detail."}
                 for word in "one two three four five six seven eight nine ten eleven".split()}  # fmt: skip
        return _with_properties(tool, {**tool["parameters"]["properties"], **extra})

    def _mistype(self, tool: JsonObject) -> JsonObject:
        odd = {"type": "array", "description": "Rows.", "items": {"type": "array", "items": {}}}
        wrong = {"type": "null", "description": "Nothing."}
        simple = self._chosen.get("types", "").startswith("simple")
        properties = dict.fromkeys(tool["parameters"]["properties"], odd if simple else wrong)
        return _with_properties(tool, properties)

    def _misreturn(self, tool: JsonObject) -> JsonObject:
        return {**tool, "returns": {"type": "boolean"}}

    def _misdescribe(self, tool: JsonObject) -> JsonObject:
        task = " ".join(self._task)
        if self._chosen.get("description") == "terse":
            return {**tool, "description": f"{tool['description']} It does {task} for you, "
                    "for everybody else who asks and for whoever comes after them."}  # fmt: skip
        return {**tool, "description": f"Does {task}."}

    def _stray(self, tool: JsonObject) -> JsonObject:
        words = self._name(["process", "entry"])
        text = re.sub(r"\b[A-Z][a-z]+ the .*? (?=for|of|in|on)", "Process it ", tool["description"])
        for word in {*self._task, *self._words}:
            text = re.sub(rf"(?i){re.escape(word[:4])}\w*", "matter", text)
        return {**tool, "name": words, "description": text.replace(str(tool["name"]), words)}

    def _undescribe(self, tool: JsonObject) -> JsonObject:
        properties = {name: {k: v for k, v in schema.items() if k != "description"}
                      for name, schema in tool["parameters"]["properties"].items()}  # fmt: skip
        return _with_properties(tool, properties)

    def _require_more(self, tool: JsonObject) -> JsonObject:
        parameters = tool["parameters"]
        return {**tool, "parameters": {**parameters, "required": [*parameters["required"], "key"]}}


def _read_row(kind: str, row: str) -> tuple[str, Schema]:
    words, description, *rest = row.split("|")
    schema: Schema = {"type": kind, "description": description}
    if kind == "number":
        schema |= {"type": "integer", "minimum": int(rest[0]), "maximum": int(rest[1])}
    elif kind == "list":
        schema |= {"type": "array", "items": {"type": "string"}, "minItems": 1}
    elif rest:
        schema["format"] = rest[0]
    return words, schema


def _with_properties(tool: JsonObject, properties: JsonObject) -> JsonObject:
    return {**tool, "parameters": {**tool["parameters"], "properties": properties}}
