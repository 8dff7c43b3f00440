"""The places of nodes and ribbons in a flow."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from looptool.report.flow import HEIGHT, WIDTH, Link, draw_flow

COUNTS = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), st.integers(1, 900), min_size=1
)


def _draw(counts: dict[tuple[str, str], int]) -> tuple[list[dict], list[dict], int]:
    links = [Link(0, a, b, n, "c1") for (a, b), n in counts.items()]
    spec = draw_flow(links, ["from", "to"], ["abc", "xyz"], {})
    ribbons, nodes, _ = (data["values"] for data in spec["data"])
    return ribbons, nodes, spec["height"]


@given(COUNTS)
def test_every_node_says_how_many_it_holds(counts: dict[tuple[str, str], int]) -> None:
    _, nodes, _ = _draw(counts)
    found = dict(node["label"].split() for node in nodes)
    for name, said in found.items():
        assert int(said) == sum(n for pair, n in counts.items() if name in pair)


@given(COUNTS)
def test_nodes_and_labels_neither_overlap_nor_leave_the_chart(
    counts: dict[tuple[str, str], int],
) -> None:
    _, nodes, height = _draw(counts)
    for column in {node["x"] for node in nodes}:
        middles = [n["y"] + n["h"] / 2 for n in nodes if n["x"] == column]
        assert all(b - a >= 12.9 for a, b in pairwise(middles))
        assert max(middles) < height
    assert all(0 <= node["x"] < WIDTH for node in nodes)


@given(COUNTS)
def test_ribbons_are_as_wide_as_their_counts(counts: dict[tuple[str, str], int]) -> None:
    ribbons, _, _ = _draw(counts)
    total = sum(counts.values())
    for ribbon in ribbons:
        count = int(ribbon["tip"].rsplit(": ", 1)[1])
        top, bottom = re.findall(r"[ML]?([-\d.]+),([-\d.]+)", ribbon["d"])[3:5]
        width = float(bottom[1]) - float(top[1])
        assert abs(width - max(0.6, count * HEIGHT / total)) < 0.11
