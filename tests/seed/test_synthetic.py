"""Synthetic tools by the dual tree: two paths in, tools that keep to both of them out."""

import asyncio
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

from looptool.chat import AsgiTransport, Teacher
from looptool.config import NoiseConfig, SimulatorConfig, SyntheticConfig, TeacherConfig
from looptool.errors import ConfigError, TeacherRefused
from looptool.records import ToolSpec
from looptool.seed.normalise import normalise_tool
from looptool.seed.synthetic import (
    CONFORMITY_RULES,
    ConstraintPath,
    ContextPath,
    SyntheticOutcome,
    find_breaches,
    load_constraint_tree,
    load_context_tree,
    synthesise_tools,
)
from looptool.seed.synthetic.conform import identity, kind_of_parameter
from looptool.simulator import create_app

HOTELS = ContextPath("Travel", "Accommodation", "Hotel search", ("room", "stay"))


def synthesise(
    count: int = 40,
    *,
    noise: NoiseConfig | None = None,
    seed: int = 0,
    existing: tuple[ToolSpec, ...] = (),
    app: Any = None,
    teacher: dict[str, Any] | None = None,
    **config: Any,
) -> SyntheticOutcome:
    settings = TeacherConfig(**{"attempts": 6, **(teacher or {})})
    scripted = app or create_app(SimulatorConfig(noise=noise or NoiseConfig()))

    async def run() -> SyntheticOutcome:
        async with Teacher(settings, AsgiTransport(scripted)) as client:
            return await synthesise_tools(
                SyntheticConfig(**config),
                client,
                count=count,
                random_seed=seed,
                existing=existing,
            )

    return asyncio.run(run())


def shape(**wanted: str) -> ConstraintPath:
    """The first drawn path that makes these choices."""
    tree = load_constraint_tree()
    paths = (tree.draw(Random(n)) for n in range(20_000))
    return next(
        path for path in paths if wanted.items() <= {name: c for name, c, _ in path.steps}.items()
    )


SNAKE = shape(
    naming="snake_case",
    parameters="few",
    types="simple.string",
    output="object",
    description="terse",
)


def hotel_tool(**changes: Any) -> ToolSpec:
    """A tool that keeps to HOTELS and SNAKE, with changes."""
    document = {
        "name": "search_hotels",
        "description": "Search for hotels in a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "City."},
                "max_price": {"type": "number", "description": "Highest price."},
            },
            "required": ["city"],
        },
        "returns": {"type": "object", "properties": {"hotel_id": {"type": "string"}}},
    }
    return normalise_tool({**document, **changes})


def with_properties(**properties: Any) -> dict[str, Any]:
    described = {
        name: {"description": "What it is.", **schema} for name, schema in properties.items()
    }
    return {"parameters": {"type": "object", "properties": described}}


def test_the_context_tree_has_twenty_domains_and_three_levels() -> None:
    tree = load_context_tree()
    assert len(tree.domains) >= 20
    assert all(len(areas) >= 2 for areas in tree.domains.values())
    assert len({(p.domain, p.area, p.task) for p in tree.paths}) == len(tree.paths) >= 100
    assert all(path.words for path in tree.paths)


def test_the_constraint_tree_has_the_branches_of_the_method() -> None:
    levels = {level.name: level.choices for level in load_constraint_tree().levels}
    assert set(levels["naming"]) == {"simple", "snake_case", "camelCase", "kebab-case"}
    assert len(levels["parameters"]) == 4
    assert set(levels["types"]["simple"].choices) == {"string", "number", "boolean"}
    assert set(levels["types"]["complex"].choices) == {"list", "object", "tuple"}
    assert set(levels["output"]) == {"text", "object", "list"}
    assert set(levels["description"]) == {"terse", "detailed", "with_example"}


def test_every_branch_is_drawn_and_types_are_skipped_without_parameters() -> None:
    tree = load_constraint_tree()
    drawn = [{level: taken for level, taken, _ in tree.draw(Random(n)).steps} for n in range(300)]
    assert {path["naming"] for path in drawn} == set(tree.levels[0].choices)
    assert all(("types" in path) == (path["parameters"] != "none") for path in drawn)
    assert len({path.get("types") for path in drawn}) == 7


def test_the_same_seed_draws_the_same_paths_and_the_trees_are_independent() -> None:
    context, constraints = load_context_tree(), load_constraint_tree()
    pairs = [(str(context.draw(rng)), str(constraints.draw(rng))) for rng in map(Random, range(40))]
    again = [(str(context.draw(rng)), str(constraints.draw(rng))) for rng in map(Random, range(40))]
    assert pairs == again
    assert len(set(pairs)) == 40


def test_a_tool_that_keeps_to_both_paths_breaks_no_rule() -> None:
    assert find_breaches(hotel_tool(), HOTELS, SNAKE) == []


BROKEN = {
    "naming": {"name": "searchHotels"},
    "parameter_count": with_properties(
        a={"type": "string"}, b={"type": "string"}, c={"type": "string"}, d={"type": "string"}
    ),
    "parameter_types": with_properties(
        city={"type": "string"}, tags={"type": "array", "items": {"type": "string"}}
    ),
    "output_format": {"returns": {"type": "array", "items": {"type": "string"}}},
    "description_style": {"description": "Search for hotels. " + "It is good. " * 5},
    "off_topic": {"name": "run_report", "description": "Run a report."},
    "undescribed_parameter": {
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}
    },
}


@pytest.mark.parametrize("rule", BROKEN)
def test_each_rule_is_broken_alone(rule: str) -> None:
    breaches = find_breaches(hotel_tool(**BROKEN[rule]), HOTELS, SNAKE)
    assert [breach.rule for breach in breaches] == [rule]
    assert breaches[0].detail


def test_a_tool_with_the_name_and_the_properties_of_another_is_a_duplicate() -> None:
    taken = {identity(hotel_tool(name="searchHotels", description="Another text."))}
    rules = [breach.rule for breach in find_breaches(hotel_tool(), HOTELS, SNAKE, taken)]
    assert rules == ["duplicate_tool"]
    assert {*BROKEN, *rules} == set(CONFORMITY_RULES)


@pytest.mark.parametrize(
    ("naming", "good", "bad"),
    [
        ("simple", "hotelsearch", "hotel_search"),
        ("snake_case", "hotel_search", "hotelsearch"),
        ("camelCase", "hotelSearch", "HotelSearch"),
        ("kebab-case", "hotel-search", "hotel_search"),
    ],
)
def test_naming_conventions_are_told_apart(naming: str, good: str, bad: str) -> None:
    path = shape(naming=naming, parameters="none", output="object", description="terse")
    assert find_breaches(hotel_tool(name=good, parameters={}), HOTELS, path) == []
    rules = {b.rule for b in find_breaches(hotel_tool(name=bad, parameters={}), HOTELS, path)}
    assert rules == {"naming"}


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, "string"),
        ({"enum": ["a", "b"]}, "string"),
        ({"type": "integer"}, "number"),
        ({"type": ["boolean", "null"]}, "boolean"),
        ({"anyOf": [{"type": "null"}, {"type": "number"}]}, "number"),
        ({"type": "array", "items": {"type": "string"}}, "list"),
        ({"type": "array", "prefixItems": [{"type": "number"}]}, "tuple"),
        ({"$ref": "#/$defs/place"}, "object"),
        ({}, "other"),
    ],
)
def test_kinds_of_parameters_are_read_off_their_schemas(schema: Any, kind: str) -> None:
    root = {"$defs": {"place": {"type": "object", "properties": {}}}}
    assert kind_of_parameter(schema, root) == kind


def test_as_many_tools_as_asked_for_are_accepted_and_say_where_they_come_from() -> None:
    outcome = synthesise(60)
    assert outcome.report.met
    assert len(outcome.tools) == outcome.report.accepted == 60
    assert len({identity(tool) for tool in outcome.tools}) == 60
    domains = load_context_tree().domains
    for tool in outcome.tools:
        path, _, constraints = tool.source.removeprefix("synthetic#").partition("|")
        assert tool.source.startswith("synthetic#")
        assert path.split(" > ")[0] == tool.domain
        assert tool.domain in domains
        assert re.search(r"naming:\S+ / parameters:\S+", constraints)


def test_what_was_drawn_is_what_came_out() -> None:
    bounds = {"none": (0, 0), "few": (1, 3), "several": (4, 6), "many": (7, 10)}
    for tool in synthesise(80).tools:
        chosen = dict(part.split(":") for part in tool.source.partition("|")[2].split(" / "))
        low, high = bounds[chosen["parameters"]]
        assert low <= len(tool.parameters["properties"]) <= high
        assert tool.output is not None
        wanted = {"text": "string", "object": "object", "list": "array"}
        assert tool.output["type"] == wanted[chosen["output"]]
        if chosen["naming"] == "snake_case":
            assert tool.name == tool.name.lower()
            assert "-" not in tool.name


def test_nonconforming_tools_are_rejected_by_rule_and_replaced() -> None:
    outcome = synthesise(100, noise=NoiseConfig(nonconforming_rate=0.3, malformed_rate=0.05))
    report = outcome.report
    assert report.met
    assert report.attempts == 100 + len(outcome.rejections)
    assert sum(report.rejected.values()) == len(outcome.rejections) >= 20
    assert len(report.rejected) >= 6
    assert set(report.rejected) <= {*CONFORMITY_RULES, "required_undeclared", "bad_tool"}
    for rejection in outcome.rejections:
        assert rejection.stage == "tools"
        assert rejection.row["tool"]["name"]
        assert rejection.row["constraints"]


def test_the_result_does_not_depend_on_concurrency() -> None:
    noise = NoiseConfig(nonconforming_rate=0.2)
    one = synthesise(30, noise=noise, teacher={"max_concurrency": 1})
    many = synthesise(30, noise=noise, teacher={"max_concurrency": 32})
    assert one == many
    assert {t.tool_id for t in one.tools} != {t.tool_id for t in synthesise(30, seed=1).tools}


def test_tools_that_are_there_already_are_not_made_again() -> None:
    first = synthesise(20).tools
    second = synthesise(20, existing=first)
    assert not {identity(t) for t in first} & {identity(t) for t in second.tools}
    assert second.report.rejected["duplicate_tool"] >= 20


def test_the_search_ends_when_hardly_any_tool_conforms() -> None:
    outcome = synthesise(10, noise=NoiseConfig(nonconforming_rate=1.0), max_attempts=2.0)
    assert not outcome.report.met
    assert outcome.report.attempts == 20
    assert outcome.report.accepted == len(outcome.tools) < 10


def test_an_endpoint_that_says_no_is_an_exception() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    with pytest.raises(TeacherRefused):
        synthesise(5, app=app)


def test_trees_of_ones_own_are_used(tmp_path: Path) -> None:
    context, constraints = tmp_path / "context.toml", tmp_path / "constraints.toml"
    context.write_text('["Space"."Orbit"]\n"Satellite tracking" = ["satellite"]\n')
    constraints.write_text(
        '[[levels]]\nname = "parameters"\n[levels.choices.few]\nsay = "One to three."\n'
        "least = 1\nmost = 3\n"
    )
    outcome = synthesise(5, context_tree=str(context), constraint_tree=str(constraints))
    assert outcome.report.domains == {"Space": 5}
    assert outcome.report.constraints == {"parameters:few": 5}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "empty"),
        ("Travel = 3", "Travel"),
        ('["Travel"."Rail"]\n"Tickets" = "ticket"', "Travel.Rail.Tickets"),
        ('["Travel"."Rail"]', "Travel.Rail"),
        ("[Travel", "TOML"),
    ],
)
def test_a_broken_context_tree_is_refused_with_the_place(
    tmp_path: Path, text: str, place: str
) -> None:
    file = tmp_path / "tree.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(place)):
        load_context_tree(str(file))


LEVEL = '[[levels]]\nname = "naming"\n[levels.choices.one]\n'


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "levels"),
        ('[[levels]]\nname = "naming"', "levels.0.choices"),
        (LEVEL, "levels.0.choices.one.say"),
        (LEVEL + 'say = "x"\ntool_name = "("', "levels.0.choices.one.tool_name"),
        (LEVEL + 'say = "x"\nleast = 3\nmost = 1', "levels.0.choices.one"),
        (LEVEL + 'say = "x"\nsome = ["strings"]', "levels.0.choices.one.some"),
        (LEVEL + 'say = "x"\nskips = ["types"]', "naming.one skips types"),
        (LEVEL + 'say = "x"\ncolour = "red"', "levels.0.choices.one.colour"),
    ],
)
def test_a_broken_constraint_tree_is_refused_with_the_place(
    tmp_path: Path, text: str, place: str
) -> None:
    file = tmp_path / "tree.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(place)):
        load_constraint_tree(str(file))


def test_a_tree_that_is_not_there_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        load_context_tree("nowhere.toml")
