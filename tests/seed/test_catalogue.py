"""What the built-in catalogue promises to the planner and to the held-out split."""

from collections import Counter

from jsonschema import Draft202012Validator

from looptool.seed import load_catalogue
from looptool.seed.links import find_links


def test_it_holds_sixty_tools_in_twelve_domains_of_five() -> None:
    counts = Counter(tool.domain for tool in load_catalogue())
    assert len(counts) == 12
    assert set(counts.values()) == {5}


def test_names_and_descriptions_are_unique_and_descriptions_are_short_imperatives() -> None:
    tools = load_catalogue()
    assert len({tool.name for tool in tools}) == len(tools)
    assert len({tool.description for tool in tools}) == len(tools)
    for tool in tools:
        assert tool.description[0].isupper()
        assert tool.description.endswith(".")
        assert len(tool.description.split()) <= 8


def test_schemas_are_valid_and_have_at_most_five_parameters() -> None:
    for tool in load_catalogue():
        Draft202012Validator.check_schema(tool.parameters)
        assert tool.output is not None
        Draft202012Validator.check_schema(tool.output)
        assert len(tool.parameters["properties"]) <= 5


def test_types_formats_defaults_and_optional_parameters_all_occur() -> None:
    schemas = [s for tool in load_catalogue() for s in tool.parameters["properties"].values()]
    types = {schema["type"] for schema in schemas}
    assert {"string", "integer", "number", "boolean", "array"} <= types
    assert {"date", "email"} <= {schema.get("format") for schema in schemas}
    assert sum("enum" in schema for schema in schemas) >= 5
    assert sum("default" in schema for schema in schemas) >= 5
    counts = {len(tool.parameters["properties"]) for tool in load_catalogue()}
    assert {0, 1, 2, 3, 4} <= counts


def test_at_least_fifteen_results_feed_another_tool_of_the_domain() -> None:
    tools = load_catalogue()
    links = find_links(tools)
    assert len(links) >= 15
    assert len({tools[producer].domain for producer, _ in links}) >= 10
