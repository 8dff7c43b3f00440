"""How many calls and samples the rule checks get through a second, on one core.

    python -m benchmarks.validation [--seconds 2.0]

Calls: 88% valid ones, 12% broken in one of nine ways, with the reasons of the rejected; two thirds of
the tools of the catalogue, the rest nested ones with unions, formats and references; twelve offered.
Samples: those of a small seed run with the scripted teacher. Seconds are those of the process, so
that neighbours on a shared machine do not count.
"""

import argparse
import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.rate import measure
from looptool.chat import AsgiTransport, Teacher
from looptool.config import SeedConfig, SimulatorConfig, TeacherConfig, ToolSource
from looptool.records import JsonObject, Sample, Split, ToolSpec, make_tool
from looptool.seed import collect_tools, simulate_dialogues
from looptool.simulator import create_app
from looptool.validate import check_call, check_sample

GOAL_PER_S = 20_000
CALLS = 2_000
BROKEN_RATE = 0.12
NESTED_RATE = 0.25
OFFERED = 12

Call = dict[str, Any]


def nested_tools() -> list[ToolSpec]:
    """Tools as OpenAPI documents give them: references, unions, formats, objects in arrays."""
    place = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "minLength": 2},
            "country": {"type": "string", "pattern": "^[A-Z]{2}$"},
        },
        "required": ["city"],
    }
    order = {
        "type": "object",
        "properties": {
            "items": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {
                        "sku": {"type": "string"},
                        "quantity": {"type": "integer", "minimum": 1},
                        "price": {"type": "number", "exclusiveMinimum": 0},
                    },
                    "required": ["sku", "quantity"],
                },
            },
            "ship_to": {"$ref": "#/$defs/place"},
            "on": {"type": "string", "format": "date"},
            "gift": {"type": "boolean", "default": False},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "required": ["items", "ship_to"],
        "$defs": {"place": place},
    }
    event = {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "start": {"type": "string", "format": "date-time"},
            "guests": {
                "type": "array",
                "items": {"type": "string", "format": "email"},
                "uniqueItems": True,
            },
            "repeat": {"enum": ["never", "daily", "weekly"]},
            "where": {"oneOf": [{"$ref": "#/$defs/place"}, {"type": "string"}]},
        },
        "required": ["title", "start"],
        "$defs": {"place": place},
    }
    return [
        make_tool("place_order", "Orders goods.", order),
        make_tool("add_event", "Adds an event.", event),
    ]


def invent(schema: JsonObject, root: JsonObject, rng: random.Random) -> Any:  # noqa: PLR0911
    """A value that fits the schema."""
    if "$ref" in schema:
        return invent(root["$defs"][schema["$ref"].rpartition("/")[2]], root, rng)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return invent(rng.choice(schema[key]), root, rng)
    if "enum" in schema:
        return rng.choice(schema["enum"])
    match schema.get("type"):
        case "object":
            wanted = schema.get("required", [])
            return {
                name: invent(child, root, rng)
                for name, child in schema.get("properties", {}).items()
                if name in wanted or rng.random() < 0.5
            }
        case "array":
            return [invent(schema.get("items", {}), root, rng) for _ in range(rng.randint(1, 3))]
        case "integer":
            return rng.randint(schema.get("minimum", 1), schema.get("maximum", 30))
        case "number":
            return round(rng.uniform(schema.get("minimum", 1), schema.get("maximum", 30)), 2)
        case "boolean":
            return rng.random() < 0.5
        case "null":
            return None
    texts = {
        "date": "2031-03-05",
        "date-time": "2031-03-05T15:00:00Z",
        "time": "15:00",
        "email": f"ana{rng.randint(1, 10**6)}@example.org",
        "uri": "https://example.org",
    }
    if "pattern" in schema:
        return "PT"
    return texts.get(
        schema.get("format", ""), rng.choice(["São Paulo", "Porto by night", "room 7"])
    )


def spoil(call: Call, tool: ToolSpec, rng: random.Random) -> Call:
    """The call with one fault."""
    arguments = dict(call["arguments"])
    names = list(tool.parameters.get("properties", {}))
    required = [name for name in tool.parameters.get("required", []) if name in arguments]
    some = rng.choice(names) if names else "x"
    match rng.randrange(9):
        case 0:
            return {"name": call["name"] + "_v2", "arguments": arguments}
        case 1:
            return {"name": call["name"], "arguments": str(arguments)}
        case 2 if required:
            del arguments[rng.choice(required)]
        case 3:
            arguments["colour"] = "red"
        case 4:
            arguments[some] = {"value": arguments.get(some)}
        case 5:
            arguments[some] = True if some in required else [True]
        case 6:
            arguments |= dict.fromkeys(required)
        case 7:
            arguments[some] = ["", -1e9]
        case _:
            arguments[some] = float("nan")
    return {"name": call["name"], "arguments": arguments}


def build_calls(tools: Sequence[ToolSpec], rng: random.Random) -> list[tuple[Call, list[ToolSpec]]]:
    """Calls, each with the tools that it may choose from."""
    flat, nested = [t for t in tools if "$defs" not in t.parameters], nested_tools()
    calls: list[tuple[Call, list[ToolSpec]]] = []
    while len(calls) < CALLS:
        offered = [*rng.sample(flat, OFFERED - len(nested)), *nested]
        rng.shuffle(offered)
        tool = rng.choice(nested if rng.random() < NESTED_RATE else offered)
        call = {"name": tool.name, "arguments": invent(tool.parameters, tool.parameters, rng)}
        if check_call(call, offered):
            continue  # what is invented may break a rule; only what is meant to be broken is
        if len(calls) % 100 < 100 * BROKEN_RATE:
            while not check_call(call, offered):
                call = spoil(call, tool, rng)
        calls.append((call, offered))
    rng.shuffle(calls)
    return calls


async def build_samples(tools: Sequence[ToolSpec]) -> list[Sample]:
    """Samples of a small seed run."""
    config = SeedConfig(tools_min=8, tools_max=12, self_consistency=False)
    app = create_app(SimulatorConfig())
    async with Teacher(TeacherConfig(), AsgiTransport(app)) as teacher:
        made = await simulate_dialogues(
            config, tools, teacher, split=Split.TRAIN, target_samples=300, random_seed=0
        )
    return list(made.samples)


def main() -> None:
    """Measures everything and says whether the goal is met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each line measures")
    seconds = parser.parse_args().seconds
    tools = [*collect_tools([ToolSource(format="catalogue")]).tools, *nested_tools()]
    calls = build_calls(tools, random.Random(0))
    checked = [check_call(call, offered) for call, offered in calls]
    broken = [pair for pair, found in zip(calls, checked, strict=True) if found]
    nested = [pair for pair in calls if pair[0]["name"] in ("place_order", "add_event")]
    valid = [pair for pair, found in zip(calls, checked, strict=True) if not found]
    rules = Counter(violation.rule for found in checked for violation in found)
    print(f"{len(calls)} calls of {len(tools)} tools, {len(nested)} of them of nested ones")
    print(f"{len(broken)} are broken: {dict(rules)}")
    goal = measure("check_call, all", lambda pair: check_call(*pair), calls, seconds)
    measure("check_call, valid ones", lambda pair: check_call(*pair), valid, seconds)
    measure("check_call, broken ones", lambda pair: check_call(*pair), broken, seconds)
    measure("check_call, nested tools", lambda pair: check_call(*pair), nested, seconds)
    samples = asyncio.run(build_samples(tools))
    turns = sum(len(sample.messages) for sample in samples) / len(samples)
    print(f"{len(samples)} samples of {turns:.1f} messages and some ten tools")
    measure("check_sample, all rules", check_sample, samples, seconds)
    measure(
        "check_sample, without grounding",
        lambda sample: check_sample(sample, grounding=False),
        samples,
        seconds,
    )
    print(f"goal of {GOAL_PER_S:,} calls /s {'met' if goal >= GOAL_PER_S else 'MISSED'}")


if __name__ == "__main__":
    main()
