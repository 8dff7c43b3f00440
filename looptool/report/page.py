"""The page: sections, drawn charts and sample data put into one HTML file.

It asks for nothing from anywhere: style and script are in it, and a content security policy names
their digests, so that a browser runs no other script whatever a text says. Jinja2 escapes every text.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import looptool
from looptool.artifacts import Store
from looptool.errors import ConfigError, shorten
from looptool.report.accuracy import read_scores, show_accuracy, show_movement
from looptool.report.benchmarks import show_benchmarks
from looptool.report.costs import show_costs, show_rejections
from looptool.report.data import show_composition, show_difficulty
from looptool.report.judge import show_judge
from looptool.report.lake import Lake
from looptool.report.samples import BYTES, ROWS, outcomes_in, read_browser
from looptool.report.sections import Cell, Figure, Section, percent
from looptool.report.svg import draw_svg
from looptool.report.text import clean_text, script_json
from looptool.report.verdicts import show_errors, show_flow

FILTERS = ("round", "kind", "origin", "outcome", "fate")


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure with its chart as markup; empty if it could not be drawn."""

    figure: Figure
    svg: Markup


def render_report(store: Store, campaign: str, *, static: str = "", rows: int = ROWS) -> str:
    """The report of a campaign as HTML.

    `static` names a campaign trained on data that stood still: its accuracy is drawn as a dashed
    line; `<campaign>-static` is taken if there is one. Parts without data say so. Raises
    CampaignError if there is no such campaign, ConfigError without the chart library.
    """
    lake = Lake(store, campaign)
    sections = [_section(build) for build in _builders(lake, _static(store, campaign, static))]
    drawings = {s.name: [_draw(f, lake) for f in s.figures] for s in sections}
    browser = read_browser(lake, rows, BYTES)
    environment = Environment(
        loader=PackageLoader("looptool.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _cell
    style, script = _asset("report.css"), _asset("report.js")
    return environment.get_template("report.html.j2").render(
        campaign=clean_text(campaign, 80),
        figures=_headline(lake),
        sections=sections,
        drawings=drawings,
        browser=browser,
        filters={name: list(outcomes_in(browser.rows, name)) for name in FILTERS},
        payload=Markup(script_json(browser.payload())),  # noqa: S704 - escaped by script_json
        style=Markup(style),  # noqa: S704 - a file of ours
        script=Markup(script),  # noqa: S704 - a file of ours
        policy=_policy(style, script),
        notes=[clean_text(note, 400) for note in lake.notes],
        version=looptool.__version__,
    )


def _builders(lake: Lake, static: Lake | None) -> Sequence[Callable[[], Section]]:
    return (
        lambda: show_accuracy(lake, static),
        lambda: show_movement(lake),
        lambda: show_benchmarks(lake),
        lambda: show_composition(lake),
        lambda: show_difficulty(lake),
        lambda: show_flow(lake),
        lambda: show_judge(lake),
        lambda: show_errors(lake),
        lambda: show_rejections(lake),
        lambda: show_costs(lake),
    )


def _static(store: Store, campaign: str, named: str) -> Lake | None:
    """The campaign to compare with; without a name the one beside it, if there is one."""
    if named:
        return Lake(store, named)
    beside = f"{campaign}-static"
    there = store.get(store.path("campaigns", beside, "campaign.json")) is not None
    return Lake(store, beside) if there else None


def _section(build: Callable[[], Section]) -> Section:
    """A section; one that fails says so, and the rest of the page stands."""
    try:
        return build()
    except Exception as exc:  # what an older or newer version wrote may have any shape
        name = build.__qualname__
        failed = Section(f"failed-{id(build)}", "A part that could not be made", "")
        failed.remarks.append(f"{type(exc).__name__} in {name}: {clean_text(exc, 300)}")
        return failed


def _draw(figure: Figure, lake: Lake) -> Drawing:
    try:
        return Drawing(figure, Markup(draw_svg(figure.spec, figure.title)))  # noqa: S704 - cleaned
    except ConfigError:
        raise
    except Exception as exc:  # of the drawing library; the table below has the figures
        lake.note(f"the chart {figure.title!r} could not be drawn: {shorten(exc, 200)}")
        return Drawing(figure, Markup(""))


def _headline(lake: Lake) -> Sequence[tuple[str, str]]:
    """The few figures to see first, each with its name."""
    done = len(lake.records)
    open_rounds = [str(number) for number in lake.rounds if not lake.is_complete(number)]
    tiles = [("rounds complete", str(done))]
    if open_rounds:
        tiles.append(("round under way", ", ".join(open_rounds)))
    scores = read_scores(lake)
    for side in ("all", "seen", "unseen"):
        course = [slices[side]["accuracy"] for slices in scores.values() if side in slices]
        if course:
            first = f"{percent(course[0])} → " if len(course) > 1 else ""
            name = "right, all" if side == "all" else f"right, {side} tools"
            tiles.append((name, f"{first}{percent(course[-1])}"))
    changed = [r.summary.get("labels_changed") for r in lake.records]
    if changed:
        known = [n for n in changed if isinstance(n, int)]
        tiles.append(("labels changed", str(sum(known))))
    return tiles


def _cell(value: Cell) -> str:
    """A figure of a table as text."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else clean_text(value, 200)


def _asset(name: str) -> str:
    return files("looptool.report").joinpath(name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    """Nothing is loaded from anywhere, and no other style or script than ours applies."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return (
        f"default-src 'none'; style-src 'sha256-{digest(style)}'; "
        f"script-src 'sha256-{digest(script)}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
