"""From a Vega or Vega-Lite specification to an SVG that may stand in the page.

Drawn when the page is written, by vl-convert: the page needs no chart code. Only drawing elements and
attributes are kept; colours become classes, so that the style sheet's two themes apply to them.
"""

import xml.etree.ElementTree as ET
from typing import Any

from looptool.errors import ConfigError
from looptool.records import JsonObject
from looptool.report.text import clean_text

LIGHT = {
    "c1": "#2a78d6",
    "c2": "#1baf7a",
    "c3": "#eda100",
    "c4": "#008300",
    "c5": "#4a3aa7",
    "c6": "#e34948",
    "c7": "#e87ba4",
    "c8": "#eb6834",
    "s1": "#9ec5f4",
    "s2": "#5598e7",
    "s3": "#1c5cab",
    "grey": "#898781",
    "ink": "#0b0b0b",
    "ink2": "#52514e",
    "grid": "#e1e0d9",
    "base": "#c3c2b7",
    "card": "#fefefd",
}
"""Colours of the light theme by class; the dark ones stand in the style sheet."""
_CLASS = {value: name for name, value in LIGHT.items()}
_ELEMENTS = {"svg", "g", "path", "line", "rect", "text", "tspan", "circle"}
_ATTRIBUTES = set(
    "width height viewBox transform d x y x1 y1 x2 y2 dx dy r cx cy fill stroke opacity "
    "fill-opacity stroke-opacity stroke-width stroke-dasharray stroke-linecap stroke-linejoin "
    "stroke-miterlimit text-anchor font-size font-weight dominant-baseline display".split()
)
_NO_TITLE = ("axis", "legend", "title", "container", "line mark", "area mark")


def draw_svg(spec: JsonObject, title: str) -> str:
    """The chart as SVG markup; the description of each mark becomes its tool tip.

    Raises ConfigError if the chart library is not installed, ValueError for a wrong specification.
    """
    vl = _converter()
    convert = vl.vega_to_svg if "marks" in spec else vl.vegalite_to_svg
    return clean_svg(convert(spec, allowed_base_urls=[]), title)


def draw_png(spec: JsonObject) -> bytes:
    """A Vega-Lite chart on the light card as PNG, two pixels a point; raises like `draw_svg`."""
    spec = spec | {"background": LIGHT["card"], "padding": 12}
    return bytes(_converter().vegalite_to_png(spec, scale=2, allowed_base_urls=[]))


def _converter() -> Any:
    try:
        import vl_convert
    except ImportError as exc:
        raise ConfigError(
            "the report's charts need vl-convert-python; run: pip install 'looptool[report]'"
        ) from exc
    return vl_convert


def clean_svg(markup: str, title: str) -> str:
    """The drawing without whatever is not a drawing, as markup for an HTML page."""
    root = _copy(ET.fromstring(markup))  # noqa: S314 - our own drawing, without a document type
    root.set("role", "img")
    root.set("aria-label", clean_text(title, 200))
    return ET.tostring(root, encoding="unicode")


def _copy(element: ET.Element) -> ET.Element:
    made = ET.Element(_name(element))  # HTML knows an <svg> without its namespace
    classes = []
    for name, value in element.attrib.items():
        colour = _CLASS.get(value.lower()) if name in ("fill", "stroke") else None
        if colour:
            classes.append(f"{name[0]}-{colour}")
        elif name in _ATTRIBUTES and "url(" not in value:
            made.set(name, value)
    if classes:
        made.set("class", " ".join(classes))
    made.text = element.text
    if tip := _tip(element):
        ET.SubElement(made, "title").text = clean_text(tip, 300)
    for child in element:
        if _name(child) in _ELEMENTS and child.get("display") != "none":
            made.append(_copy(child))
    return made


def _tip(element: ET.Element) -> str:
    what = element.get("aria-roledescription", "container")
    return "" if any(word in what for word in _NO_TITLE) else element.get("aria-label", "")


def _name(element: ET.Element) -> str:
    tag: Any = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""
