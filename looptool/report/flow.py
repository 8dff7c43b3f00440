"""A flow between columns of categories (Sankey), as a Vega specification.

Vega-Lite has no such chart; the places of nodes and ribbons are computed here, Vega draws them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from looptool.records import JsonObject
from looptool.report.svg import LIGHT

WIDTH = 380
HEIGHT = 220
"""Pixels that the largest column's counts take together."""
GAP = 5
LABEL = 13
"""Least height of a node with its label, pixels."""
NODE = 9
"""Width of a node, pixels."""
TOP = 18


@dataclass(frozen=True, slots=True)
class Link:
    """How many went from a category of one column to a category of the next."""

    column: int
    source: str
    target: str
    count: int
    colour: str
    """Class of `svg.LIGHT`."""


@dataclass(slots=True)
class _Node:
    name: str
    count: int
    x: float
    y: float = 0.0
    height: float = 0.0
    left: float = 0.0
    """Pixels already taken by ribbons that arrive."""
    right: float = 0.0


def draw_flow(
    links: Sequence[Link],
    heads: Sequence[str],
    orders: Sequence[Sequence[str]],
    colours: Mapping[str, str],
    tail: int = 90,
) -> JsonObject:
    """Ribbons as wide as their counts between the columns `heads`; nodes in the given orders.

    `tail` are the pixels for the labels of the last column.
    """
    step = (WIDTH - NODE - tail) / max(1, len(heads) - 1)
    columns = [_nodes(links, n, orders[n], n * step) for n in range(len(heads))]
    scale = HEIGHT / max(1, *(sum(n.count for n in nodes.values()) for nodes in columns))
    height = max(_place(list(nodes.values()), scale) for nodes in columns)
    rank = [{name: i for i, name in enumerate(order)} for order in orders]
    ordered = sorted(
        links, key=lambda k: (k.column, rank[k.column][k.source], rank[k.column + 1][k.target])
    )
    # A node's ribbons arrive in the order of their sources, so the lists are walked once for each end.
    ends: dict[int, float] = {}
    for link in sorted(
        links, key=lambda k: (k.column, rank[k.column + 1][k.target], rank[k.column][k.source])
    ):
        node = columns[link.column + 1][link.target]
        ends[id(link)] = node.y + node.left
        node.left += link.count * scale
    ribbons = []
    for link in ordered:
        node = columns[link.column][link.source]
        start = node.y + node.right
        node.right += link.count * scale
        target = columns[link.column + 1][link.target]
        ribbons.append(
            {
                "d": _ribbon(node.x + NODE, start, target.x, ends[id(link)], link.count * scale),
                "c": LIGHT[link.colour],
                "tip": f"{link.source} → {link.target}: {link.count}",
            }
        )
    nodes = [
        {
            "x": n.x,
            "y": n.y,
            "h": max(1.0, n.height),
            "c": LIGHT[colours.get(n.name, "grey")],
            "label": f"{n.name} {n.count}",
            "tip": f"{n.name}: {n.count}",
            "tx": n.x + NODE + 4,
        }
        for column in columns
        for n in column.values()
    ]
    titles = [{"x": number * step, "label": head} for number, head in enumerate(heads)]
    return _spec(ribbons, nodes, titles, height + 4)


def _nodes(links: Sequence[Link], column: int, order: Sequence[str], x: float) -> dict[str, _Node]:
    leaving: dict[str, int] = {}
    arriving: dict[str, int] = {}
    for link in links:
        if link.column == column:
            leaving[link.source] = leaving.get(link.source, 0) + link.count
        if link.column == column - 1:
            arriving[link.target] = arriving.get(link.target, 0) + link.count
    counts = {name: max(leaving.get(name, 0), arriving.get(name, 0)) for name in leaving | arriving}
    return {name: _Node(name, counts[name], x) for name in order if name in counts}


def _place(nodes: Sequence[_Node], scale: float) -> float:
    """Give each node its place, top down; the height that is used."""
    y = float(TOP)
    for node in nodes:
        node.height = node.count * scale
        slot = max(node.height, LABEL)
        node.y = y + (slot - node.height) / 2
        y += slot + GAP
    return y


def _ribbon(x0: float, y0: float, x1: float, y1: float, width: float) -> str:
    width, middle = max(width, 0.6), (x0 + x1) / 2
    return (
        f"M{x0:.1f},{y0:.1f}C{middle:.1f},{y0:.1f},{middle:.1f},{y1:.1f},{x1:.1f},{y1:.1f}"
        f"L{x1:.1f},{y1 + width:.1f}C{middle:.1f},{y1 + width:.1f},{middle:.1f},{y0 + width:.1f},"
        f"{x0:.1f},{y0 + width:.1f}Z"
    )


def _spec(
    ribbons: Sequence[JsonObject],
    nodes: Sequence[JsonObject],
    titles: Sequence[JsonObject],
    height: float,
) -> JsonObject:
    def field(name: str) -> JsonObject:
        return {"field": name}

    def text(data: str, place: JsonObject, colour: str) -> JsonObject:
        return {
            "type": "text",
            "aria": False,
            "from": {"data": data},
            "encode": {
                "enter": {
                    **place,
                    "baseline": {"value": "middle"},
                    "text": field("label"),
                    "fontSize": {"value": 11},
                    "fill": {"value": LIGHT[colour]},
                    "stroke": {"value": LIGHT["card"]},
                    "strokeWidth": {"value": 3},
                }
            },
        }

    return {
        "$schema": "https://vega.github.io/schema/vega/v6.json",
        "width": WIDTH,
        "height": round(height),
        "padding": 0,
        "autosize": "none",
        "data": [
            {"name": "ribbons", "values": list(ribbons)},
            {"name": "nodes", "values": list(nodes)},
            {"name": "titles", "values": list(titles)},
        ],
        "marks": [
            {
                "type": "path",
                "from": {"data": "ribbons"},
                "encode": {
                    "enter": {
                        "path": field("d"),
                        "fill": field("c"),
                        "fillOpacity": {"value": 0.42},
                        "description": field("tip"),
                    }
                },
            },
            {
                "type": "rect",
                "from": {"data": "nodes"},
                "encode": {
                    "enter": {
                        "x": field("x"),
                        "y": field("y"),
                        "width": {"value": NODE},
                        "height": field("h"),
                        "fill": field("c"),
                        "description": field("tip"),
                    }
                },
            },
            text(
                "nodes",
                {"x": field("tx"), "y": {"field": "y", "offset": {"field": "h", "mult": 0.5}}},
                "ink",
            ),
            text("titles", {"x": field("x"), "y": {"value": 7}}, "ink2"),
        ],
    }
