"""Which tool's result holds what another one needs: the material of dependent calls."""

from collections.abc import Sequence
from itertools import groupby

from looptool.records import JsonObject, ToolSpec, as_mapping

MAX_FEEDS = 12
"""A field that more tools need than this (`name`, `id` of a large API) links nothing in
particular."""


def result_fields(schema: JsonObject | None) -> set[str]:
    """Names of the fields of a result, or of the rows of a result that is a list."""
    plain = as_mapping(schema)
    if isinstance(plain.get("items"), dict):
        plain = plain["items"]
    return set(as_mapping(plain.get("properties")))


def find_links(tools: Sequence[ToolSpec]) -> list[tuple[int, int]]:
    """(producer, consumer) by index: a field of one is a required parameter of the other.

    Within a domain only, in order of the tools.
    """
    takers: dict[tuple[str, str], list[int]] = {}
    for number, tool in enumerate(tools):
        for name in tool.parameters.get("required", []):
            takers.setdefault((tool.domain, name), []).append(number)
    links = {
        (number, taker)
        for number, tool in enumerate(tools)
        for name in result_fields(tool.output)
        for taker in takers.get((tool.domain, name), [])
        if taker != number and len(takers[tool.domain, name]) <= MAX_FEEDS
    }
    return sorted(links)


def group_partners(tools: Sequence[ToolSpec]) -> list[list[int]]:
    """The tools by index, those that feed each other together; groups in order of their first
    tool."""
    leader = list(range(len(tools)))

    def find(number: int) -> int:
        while leader[number] != number:
            number = leader[number]
        return number

    for producer, consumer in find_links(tools):
        first, second = sorted((find(producer), find(consumer)))
        leader[second] = first
    order = sorted(range(len(tools)), key=find)
    return [list(group) for _, group in groupby(order, key=find)]
