"""The charts of the report as Vega-Lite specifications: width 340, colours of `svg.LIGHT`.

Every text in them that comes from the data is a value, never an expression.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from looptool.records import JsonObject
from looptool.report.svg import LIGHT

WIDTH = 340
SMALL = 168
"""Width of a chart of which two fit side by side on a phone, in pixels."""
_FIT = {"type": "fit", "contains": "padding"}
STYLE: JsonObject = {
    "background": None,
    "view": {"stroke": None},
    "axis": {
        "labelColor": LIGHT["ink2"],
        "titleColor": LIGHT["ink2"],
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "gridColor": LIGHT["grid"],
        "domainColor": LIGHT["base"],
        "tickColor": LIGHT["base"],
        "labelLimit": 140,
    },
    "axisX": {"grid": False, "labelAngle": 0},
    "axisY": {"domain": False, "ticks": False},
    "legend": {
        "labelColor": LIGHT["ink2"],
        "labelFontSize": 11,
        "title": None,
        "orient": "top",
        "symbolType": "square",
        "symbolSize": 90,
        "symbolOpacity": 1,
        "columns": 4,
        "labelLimit": 110,
        "columnPadding": 8,
        "rowPadding": 2,
    },
}

Row = Mapping[str, Any]


def _chart(
    values: Sequence[Row],
    height: int,
    width: int = WIDTH,
    left: int = 2,
    right: int = 4,
    **parts: Any,
) -> JsonObject:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": width,
        "height": height,
        "autosize": _FIT,
        "padding": {"left": left, "right": right, "top": 2, "bottom": 2},
        "config": STYLE,
        "data": {"values": list(values)},
        **parts,
    }


def _colour(names: Sequence[str], colours: Sequence[str], legend: bool = True) -> JsonObject:
    scale = {"domain": list(names), "range": [LIGHT[c] for c in colours]}
    shown = {} if legend else {"legend": None}
    return {"field": "series", "type": "nominal", "scale": scale, **shown}


def draw_shares(
    rows: Sequence[Row], colours: Mapping[str, str], *, small: bool = False, prefix: str = "M"
) -> JsonObject:
    """Shares over rounds, with intervals: rows of `x`, `at` (x, shifted), `y`, `low`, `high`,
    `series`, `tip`, `dashed`. `prefix` stands before the numbers of the x axis."""
    names = [name for name in colours if any(row["series"] == name for row in rows)]
    ticks = sorted({row["x"] for row in rows})
    x = {
        "field": "at",
        "type": "quantitative",
        "title": None,
        "scale": {"domain": [ticks[0] - 0.35, ticks[-1] + 0.35], "nice": False},
        "axis": {
            "values": ticks[:: 1 + len(ticks) // (6 if small else 12)],
            "labelExpr": f"'{prefix}' + datum.value",
            "ticks": False,
        },
    }
    y = {
        "type": "quantitative",
        "title": None,
        "scale": {"domain": [0, 1]},
        "axis": {"format": ".0%", "tickCount": 3 if small else 5},
    }
    tone = _colour(names, [colours[name] for name in names], legend=not small)
    return _chart(
        rows,
        height=120 if small else 240,
        width=SMALL if small else WIDTH,
        encoding={"x": x, "color": tone, "description": {"field": "tip"}},
        layer=[
            {
                "mark": {"type": "rule", "strokeWidth": 1.5, "opacity": 0.55},
                "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "line", "strokeWidth": 2},
                "encoding": {
                    "y": {**y, "field": "y"},
                    "strokeDash": {
                        "field": "dashed",
                        "type": "nominal",
                        "scale": {"domain": [False, True], "range": [[1, 0], [5, 4]]},
                        "legend": None,
                    },
                },
            },
            {
                "mark": {
                    "type": "point",
                    "filled": True,
                    "size": 34 if small else 55,
                    "opacity": 1,
                },
                "encoding": {"y": {**y, "field": "y"}},
            },
        ],
    )


def draw_stack(
    rows: Sequence[Row], colours: Mapping[str, str], order: Sequence[str], title: str
) -> JsonObject:
    """Stacked columns: rows of `x`, `y`, `series`, `tip`; `order` is that of x."""
    present = {row["series"] for row in rows}
    names = [name for name in colours if name in present]
    ranked = [{**row, "rank": names.index(row["series"])} for row in rows]
    return _chart(
        ranked,
        height=240,
        mark={"type": "bar", "stroke": LIGHT["card"], "strokeWidth": 1},
        encoding={
            "x": {
                "field": "x",
                "type": "ordinal",
                "title": None,
                "sort": list(order),
                "scale": {"paddingInner": 0.45, "paddingOuter": 0.3},
                "axis": {"ticks": False},
            },
            "y": {
                "field": "y",
                "type": "quantitative",
                "title": title or None,
                "axis": {"tickCount": 5, "format": "~s"},
            },
            "color": _colour(names, [colours[name] for name in names]),
            "order": {"field": "rank", "type": "quantitative"},
            "description": {"field": "tip"},
        },
    )


def draw_groups(
    rows: Sequence[Row], colours: Mapping[str, str], order: Sequence[str]
) -> JsonObject:
    """Grouped bars, lying: rows of `name`, `y`, `series`, `tip`; `order` is that of the names."""
    names = [name for name in colours if any(row["series"] == name for row in rows)]
    tone = _colour(names, [colours[name] for name in names])
    tone["legend"] = {"columns": 2}  # the plot is narrow, its labels take half of the chart
    return _chart(
        rows,
        height=max(90, 40 + len(order) * (10 + 11 * len(names))),
        left=14,  # the reader's font may be wider than the one that the labels are measured in
        mark={"type": "bar", "cornerRadiusEnd": 2},
        encoding={
            "y": {
                "field": "name",
                "type": "nominal",
                "title": None,
                "sort": list(order),
                "scale": {"paddingInner": 0.25},
                "axis": {"labelLimit": 160},
            },
            "yOffset": {"field": "series", "sort": names},
            "x": {
                "field": "y",
                "type": "quantitative",
                "title": None,
                "axis": {"grid": True, "tickCount": 4, "format": "~s", "domain": False},
            },
            "color": tone,
            "description": {"field": "tip"},
        },
    )


def draw_columns(
    rows: Sequence[Row], colours: Mapping[str, str], order: Sequence[str], title: str
) -> JsonObject:
    """Grouped columns: rows of `x`, `y`, `series`, `tip`; `order` is that of x."""
    names = [name for name in colours if any(row["series"] == name for row in rows)]
    return _chart(
        rows,
        height=220,
        mark={"type": "bar", "cornerRadiusEnd": 2},
        encoding={
            "x": {
                "field": "x",
                "type": "ordinal",
                "title": title or None,
                "sort": list(order),
                "axis": {"ticks": False, "labelOverlap": False},
            },
            "xOffset": {"field": "series", "sort": names},
            "y": {
                "field": "y",
                "type": "quantitative",
                "title": None,
                "axis": {"tickCount": 5, "format": "~s"},
            },
            "color": _colour(names, [colours[name] for name in names]),
            "description": {"field": "tip"},
        },
    )


def draw_perplexities(
    rows: Sequence[Row], colours: Mapping[str, str], threshold: float | None
) -> JsonObject:
    """A histogram over the perplexity minus 1, logarithmic: rows of `low`, `high` (the bin),
    `base`, `top` (counts, stacked), `series`, `tip`.

    `threshold` is a perplexity that is marked.
    """
    present = {row["series"] for row in rows}
    names = [name for name in colours if name in present]
    x = {
        "type": "quantitative",
        "scale": {"type": "log", "domain": [1e-4, 1e1], "nice": False, "clamp": True},
        "title": None,
        "axis": {
            "values": [1e-4, 1e-3, 1e-2, 1e-1, 1, 10],
            "labelExpr": "format(1 + datum.value, '~r')",
            "labelFlush": True,
        },
    }
    bars = {
        "mark": {"type": "rect", "stroke": LIGHT["card"], "strokeWidth": 1},
        "encoding": {
            "x": {**x, "field": "low"},
            "x2": {"field": "high"},
            "y": {
                "field": "base",
                "type": "quantitative",
                "title": None,
                "scale": {"zero": True},
                "axis": {"tickCount": 4},
            },
            "y2": {"field": "top"},
            "color": _colour(names, [colours[name] for name in names]),
            "description": {"field": "tip"},
        },
    }
    mark = (
        {
            "data": {"values": [{"low": threshold - 1, "tip": f"kept above {threshold:.4f}"}]},
            "mark": {
                "type": "rule",
                "strokeDash": [4, 3],
                "strokeWidth": 1.5,
                "color": LIGHT["ink"],
            },
            "encoding": {"x": {**x, "field": "low"}, "description": {"field": "tip"}},
        }
        if threshold is not None and threshold > 1
        else None
    )
    return _chart(rows, height=200, layer=[bars, mark] if mark else [bars])


def draw_matrix(rows: Sequence[Row], order: Sequence[str], across: Sequence[str]) -> JsonObject:
    """A matrix of counts: rows of `truth`, `said`, `n`, `share` (of the truth's row), `tip`."""
    place: JsonObject = {
        "y": {
            "field": "truth",
            "type": "nominal",
            "sort": list(order),
            "title": None,
            "axis": {"domain": False},
        },
        "x": {
            "field": "said",
            "type": "nominal",
            "sort": list(across),
            "title": None,
            "axis": {
                "orient": "top",
                "labelAngle": -30,
                "labelLimit": 110,
                "domain": False,
                "ticks": False,
                "labelAlign": "left",
            },
        },
        "description": {"field": "tip"},
    }
    return _chart(
        rows,
        height=70 + 38 * len(order),
        right=18,
        encoding=place,
        layer=[
            {
                "mark": {"type": "rect", "fill": LIGHT["c1"], "stroke": LIGHT["card"]},
                "encoding": {
                    "fillOpacity": {
                        "field": "share",
                        "type": "quantitative",
                        "scale": {"domain": [0, 1], "range": [0.06, 0.75]},
                        "legend": None,
                    }
                },
            },
            {
                "mark": {"type": "text", "color": LIGHT["ink"], "fontSize": 12},
                "encoding": {"text": {"field": "n"}},
            },
        ],
    )
