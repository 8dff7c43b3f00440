"""One iteration in short: a page of markdown, and the curve of accuracy as a picture.

The page is for the orchestrator's UI, which shows markdown; the whole is in the HTML report.
"""

import base64
from collections import Counter
from collections.abc import Iterator, Sequence

import polars as pl

from looptool.artifacts import Store
from looptool.errors import CampaignError
from looptool.records import JsonObject, Origin, as_mapping
from looptool.report.accuracy import SIDES, accuracy_lines, read_scores
from looptool.report.charts import draw_shares
from looptool.report.costs import costs_of
from looptool.report.data import scouted_rows
from looptool.report.lake import Found, Lake
from looptool.report.svg import draw_png
from looptool.report.text import clean_text

SLICES = ("all", "seen", "unseen", "relevance", "irrelevance")
_SAMPLE = {"origin": pl.String}
_JUDGEMENT = {"verdict": pl.String, "new_label": pl.String, "proposed_label": pl.String}
_ESCAPED = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_[]<>|#!"})


def render_brief(store: Store, campaign: str, iteration: int, curve: bytes = b"") -> str:
    """Accuracy, data, verdicts and costs of a complete iteration as markdown.

    `curve` is the picture of `draw_accuracy`, shown within the page. Raises CampaignError if there is
    no such campaign or iteration.
    """
    lake = Lake(store, campaign)
    if not lake.is_complete(iteration):
        raise CampaignError(f"iteration {iteration} of campaign {campaign} is not complete")
    parts = (_outcome, _accuracy, _data, _verdicts, _costs, _places)
    lines = [f"# {_text(campaign)} · iteration {iteration}"]
    for part in parts:
        lines += ["", *part(lake, iteration)]
        if part is _accuracy and curve:
            lines += ["", f"![accuracy by checkpoint]({_data_uri(curve)})"]
    return "\n".join(lines)


def draw_accuracy(store: Store, campaign: str) -> bytes:
    """Held-out accuracy of every checkpoint, all, seen and unseen tools, with intervals, as PNG.

    Raises CampaignError if there is nothing to draw, ConfigError without the chart library.
    """
    scores = read_scores(Lake(store, campaign))
    if not scores:
        raise CampaignError(f"no checkpoint of campaign {campaign} has been evaluated")
    lines = accuracy_lines(scores, {side: side for side in SIDES if side != "static"})
    return draw_png(draw_shares(lines, SIDES))


def _outcome(lake: Lake, iteration: int) -> Iterator[str]:
    record = lake.records[iteration - 1]
    scores = read_scores(lake)
    after = scores.get(iteration, {}).get("all")
    before = scores.get(record.start.iteration, {}).get("all")
    moved = ""
    if after and before:
        gain = 100 * (after["accuracy"] - before["accuracy"])
        moved = (
            f" Held-out accuracy **{100 * after['accuracy']:.1f} %**, {gain:+.1f} points over "
            f"M{record.start.iteration}."
        )
    why = f" {_text(record.promotion.reason)}." if record.promotion.reason else ""
    if record.promotion.promoted:
        yield f"**M{iteration} is promoted:** the next round starts from it.{moved}{why}"
    else:
        yield (
            f"**M{iteration} is not promoted:** the next round starts from "
            f"M{record.promotion.against}.{moved}{why}"
        )


def _accuracy(lake: Lake, iteration: int) -> Iterator[str]:
    scores = read_scores(lake)
    start = lake.records[iteration - 1].start.iteration
    before, after = scores.get(start, {}), scores.get(iteration, {})
    yield "## Accuracy, held out"
    yield ""
    rows = []
    for name in (name for name in SLICES if name in after):
        old, new = before.get(name), after[name]
        rows.append(
            (
                name,
                f"{100 * old['accuracy']:.1f}" if old else "–",
                f"**{100 * new['accuracy']:.1f}**",
                f"{100 * (new['accuracy'] - old['accuracy']):+.1f}" if old else "–",
                f"{100 * new['low']:.0f}–{100 * new['high']:.0f}",
                f"{new['n']:.0f}",
            )
        )
    heads = ("%", f"M{start}", f"M{iteration}", "change", "95 % interval", "samples")
    yield from _table(heads, rows)
    if "relevance" in after:
        yield ""
        yield "Relevance: a call was due and one was made. Irrelevance: none was due and none was made."


def _data(lake: Lake, iteration: int) -> Iterator[str]:
    both = {
        f"D{n}": Counter(lake.read(lake.dataset(n), "samples", _SAMPLE)["origin"].drop_nulls())
        for n in (iteration, iteration + 1)
    }
    yield "## Data"
    yield ""
    rows = [
        (str(origin).replace("_", " "), *(str(counts[origin]) for counts in both.values()))
        for origin in Origin
    ]
    totals = ("**all**", *(f"**{counts.total()}**" for counts in both.values()))
    yield from _table(
        ("samples", f"D{iteration}, trained on", f"D{iteration + 1}, next"), [*rows, totals]
    )
    for _, title, asked, mixed, *_ in scouted_rows(lake, iteration):
        yield ""
        yield f"Of {asked} {title} that were scouted M{iteration} gets {mixed} right sometimes."


def _verdicts(lake: Lake, iteration: int) -> Iterator[str]:
    found = lake.stage(iteration, "judge")
    frame = lake.read(found, "judgements", _JUDGEMENT)
    yield "## Verdicts"
    yield ""
    yield f"{frame.height} answers differed from their label."
    if frame.height:
        counts = Counter(frame["verdict"].drop_nulls())
        rows = [(_code(name), str(n), f"{100 * n / frame.height:.0f} %")
                for name, n in counts.most_common()]  # fmt: skip
        yield ""
        yield from _table(("verdict", "samples", "share"), rows)
        changed = frame["new_label"].count()
        proposed = frame["proposed_label"].count()
        yield ""
        yield f"Labels changed: {changed} of {proposed} proposed."
    memory = as_mapping(_stats(lake.stage(iteration, "probe")).get("reprobes"))
    if memory.get("asked"):
        yield ""
        yield f"Forgotten: {memory['forgotten']} of {memory['asked']} samples that were mastered before."
    trust = _stats(found).get("judge_trust_reason")
    if trust:
        yield ""
        yield f"Judge: {_text(trust)}."


def _costs(lake: Lake, iteration: int) -> Iterator[str]:
    costs = list(costs_of(lake, iteration))
    yield "## Costs"
    yield ""
    rows = [
        (
            cost.stage,
            "–" if cost.seconds is None else f"{cost.seconds:,.0f}",
            f"{cost.rows:,}",
            f"{cost.requests:,}" if cost.requests else "–",
            f"{cost.prompt_tokens + cost.completion_tokens:,}",
            f"{cost.usd:.2f}" if cost.usd else "–",
        )
        for cost in costs
    ]
    yield from _table(("stage", "seconds", "rows", "requests", "tokens", "US$"), rows)


def _places(lake: Lake, iteration: int) -> Iterator[str]:
    record = lake.records[iteration - 1]
    yield "## Where it is"
    yield ""
    yield f"- Every sample, vote and chart: {_code(f'looptool report {lake.name}')}"
    yield f"- Next dataset: {_code(record.next_dataset.uri)}"
    yield f"- M{iteration}: {_code(record.checkpoint.uri)}"


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _stats(found: Found | None) -> JsonObject:
    return found.stats if found else {}


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|---|{'---:|' * (len(heads) - 1)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _text(value: object) -> str:
    """Text of the data as one line of markdown without markup of its own."""
    return " ".join(clean_text(value, 300).split()).translate(_ESCAPED)


def _code(value: object) -> str:
    """Text of the data as code."""
    return f"`{' '.join(clean_text(value, 300).replace('`', chr(39)).split())}`"
