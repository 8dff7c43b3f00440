"""The charts of the page as SVG files, drawn by vl-convert in the colours of the round report.

They stand alone, on white, because a Markdown page has no style sheet.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from looptool.records import JsonObject
from looptool.report.charts import STYLE
from looptool.report.svg import LIGHT

WIDTH, HEIGHT = 440, 240
COLOURS = ("c1", "c3", "c2", "c6", "c5", "c8", "c7", "grey")
_STYLE: JsonObject = STYLE | {
    "background": "white",
    "axis": STYLE["axis"] | {"labelLimit": 260},
    "legend": STYLE["legend"] | {"symbolType": "stroke", "columns": 3, "labelLimit": 200},
}
Row = Mapping[str, Any]


def draw(spec: JsonObject) -> str:
    """The drawing as SVG markup."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]))


def curves(
    rows: Sequence[Row],
    x_title: str,
    y_title: str,
    *,
    percent: bool = False,
    zero: bool = False,
) -> JsonObject:
    """Lines with bands: rows of `x`, `y`, `low`, `high`, `series`, in the order of the series.

    `percent` says that x is a share, `zero` that the axis of y begins at 0.
    """
    names = list(dict.fromkeys(row["series"] for row in rows))
    ticks = sorted({row["x"] for row in rows})
    shape = ".0%" if percent else "d"
    x = {
        "field": "x",
        "type": "quantitative",
        "title": x_title,
        "scale": {"domain": [ticks[0], ticks[-1]], "nice": False, "padding": 12},
        "axis": {"values": ticks, "format": shape},
    }
    y = {
        "type": "quantitative",
        "title": y_title,
        "scale": {"zero": zero},
        "axis": {"format": ".0%", "tickCount": 6},
    }
    colour = {
        "field": "series",
        "type": "nominal",
        "sort": names,
        "scale": {"domain": names, "range": [LIGHT[c] for c in COLOURS[: len(names)]]},
    }
    bands = {
        "mark": {"type": "area", "opacity": 0.15},
        "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}},
    }
    lines = {
        "mark": {"type": "line", "strokeWidth": 2, "point": {"size": 40, "filled": True}},
        "encoding": {"y": {**y, "field": "y"}},
    }
    return _chart(rows, {"encoding": {"x": x, "color": colour}, "layer": [bands, lines]}, HEIGHT)


def dots(rows: Sequence[Row], x_title: str) -> JsonObject:
    """Differences with intervals, one below the other: rows of `name`, `y`, `low`, `high`."""
    place = {
        "field": "name",
        "type": "nominal",
        "sort": [row["name"] for row in rows],
        "title": None,
    }
    x = {"type": "quantitative", "title": x_title, "axis": {"grid": True, "format": "+.0f"}}
    zero = {
        "data": {"values": [{"x": 0}]},
        "mark": {"type": "rule", "color": LIGHT["ink2"], "strokeDash": [4, 3]},
        "encoding": {"x": {"field": "x", "type": "quantitative"}},
    }
    rule = {
        "mark": {"type": "rule", "strokeWidth": 2, "color": LIGHT["c1"]},
        "encoding": {
            "y": place,
            "x": {**x, "field": "low"},
            "x2": {"field": "high"},
        },
    }
    point = {
        "mark": {"type": "point", "filled": True, "size": 60, "color": LIGHT["c1"], "opacity": 1},
        "encoding": {"y": place, "x": {**x, "field": "y"}},
    }
    return _chart(rows, {"layer": [zero, rule, point]}, 24 + 26 * len(rows))


def _chart(rows: Sequence[Row], parts: JsonObject, height: int) -> JsonObject:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": WIDTH,
        "height": height,
        "padding": 8,
        "config": _STYLE,
        "data": {"values": list(rows)},
        **parts,
    }
