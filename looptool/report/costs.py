"""What was refused, and what it all cost in tokens, time and money."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from looptool.errors import LoopToolError
from looptool.records import JsonObject, as_mapping
from looptool.report.charts import draw_groups, draw_stack
from looptool.report.data import round_colours
from looptool.report.lake import Found, Lake
from looptool.report.sections import Cell, Figure, Grid, Section, count_table
from looptool.report.text import clean_text

STAGES = {
    "seed": "c1",
    "validate": "c2",
    "train": "c5",
    "evaluate": "c3",
    "probe": "c8",
    "judge": "c6",
    "expand": "c4",
    "scout": "c7",
}
RULES_SHOWN = 12
OVERLAPS = 100
"""Most overlaps with benchmarks in the page."""
_UNITS = {"seed": "dialogues", "validate": "samples_in", "judge": "judgements", "expand": "samples"}
"""What `per_second` of a stage counts: a figure of its statistics, or one of its tables."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one stage took in one iteration."""

    iteration: int
    stage: str
    rows: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    usd: float
    seconds: float | None


def show_rejections(lake: Lake) -> Section:
    """Rejected rows by stage and rule, by iteration."""
    section = Section(
        "rejections",
        "What was refused",
        "Nothing is dropped in silence: every refused row is kept with the rule that it broke. Round 0 "
        'is the seed phase. "Left out" are samples that were fit but not taken into the next dataset.',
    )
    numbers = (0, *lake.rounds)
    refused = {f"round {n}": found for n in numbers if (found := _rejected(lake, n))}
    left = {f"round {n}": found for n in numbers if (found := _left_out(lake, n))}
    if not refused and not left:
        section.remarks.append("Nothing was refused, or no round has got that far.")
    if refused:
        section.figures.append(_refused(refused, lake))
    if left:
        table = count_table("Left out of the next dataset", "reason", left, total=False)
        section.grids.append(Grid(table.title, table.columns, table.rows, beside=len(left) < 4))
    section.grids += _overlaps(lake)
    return section


def _refused(counts: Mapping[str, Counter[str]], lake: Lake) -> Figure:
    colours = {"round 0": "grey"} | {f"round {n}": c for n, c in round_colours(lake).items()}
    shown = {name: counts[name] for name in colours if name in counts}
    order = [name for name, _ in sum(shown.values(), Counter()).most_common(RULES_SHOWN)]
    bars = [
        {"name": rule, "y": found[rule], "series": name, "tip": f"{rule}, {name}: {found[rule]}"}
        for name, found in shown.items()
        for rule in order
    ]
    title = "Refused, by stage and rule"
    return Figure(title, draw_groups(bars, colours, order), count_table(title, "rule", counts))


def _overlaps(lake: Lake) -> Iterator[Grid]:
    """What the datasets had in common with benchmarks, with the evidence."""
    names = ("benchmark", "entry", "rule", "action", "evidence", "sample_id")
    rows: list[Sequence[Cell]] = []
    for number in (0, *lake.rounds):
        merged = lake.stage(number, "merge" if number else "dataset")
        found = lake.read(merged, "contaminated", dict.fromkeys(names, pl.String))
        rows += [[number, *(clean_text(v or "", 120) for v in row)] for row in found.iter_rows()]
    if rows:
        title = f"Overlaps with benchmarks ({min(len(rows), OVERLAPS):,} of {len(rows):,})"
        yield Grid(title, ["round", *names], rows[:OVERLAPS])


def _rejected(lake: Lake, number: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    columns = {"stage": pl.String, "rule": pl.String}
    stages = ("tools", "seed", "validate", "pool", "expand")
    for stage in stages:
        several = stage in ("seed", "validate") and number == 0
        made = lake.all_of(0, stage) if several else [lake.stage(number, stage)]
        for found in made:
            for rule in lake.read(found, "rejections", columns)["rule"].fill_null("not said"):
                counts[f"{stage}: {clean_text(rule, 60)}"] += 1
    return counts


def _left_out(lake: Lake, number: int) -> Counter[str]:
    merged = lake.stage(number, "merge" if number else "dataset")
    report = as_mapping(merged.stats.get("report")) if merged else {}
    left = as_mapping(report.get("left_out")).items()
    return Counter({clean_text(reason, 60): n for reason, n in left if isinstance(n, int)})


def show_costs(lake: Lake) -> Section:
    """Money, tokens and time by stage and iteration."""
    section = Section(
        "costs",
        "Cost, tokens, time",
        "What each stage took. Tokens are those of the teacher (prompt and completion) and, in "
        "training, those that the policy generated. Times are those of the run that finished a stage; "
        "parts that an earlier, interrupted run had made are not in them.",
    )
    costs = [cost for number in (0, *lake.rounds) for cost in costs_of(lake, number)]
    if not costs:
        section.remarks.append("No stage has been finished yet.")
        return section
    order = [f"round {number}" for number in sorted({cost.iteration for cost in costs})][-6:]
    section.figures += [
        _stack(costs, order, "Minutes by stage", lambda c: (c.seconds or 0.0) / 60),
        _stack(
            costs,
            order,
            "Tokens by stage",
            lambda c: float(c.prompt_tokens + c.completion_tokens),
        ),
    ]
    if any(cost.usd for cost in costs):
        section.figures.append(_stack(costs, order, "US$ by stage", lambda c: c.usd))
    rows: list[Sequence[Cell]] = [
        [
            c.iteration,
            c.stage,
            c.rows,
            c.requests,
            c.prompt_tokens,
            c.completion_tokens,
            f"{c.usd:.2f}",
            None if c.seconds is None else f"{c.seconds:.1f}",
        ]
        for c in costs
    ]
    heads = ["round", "stage", "rows", "requests", "prompt tokens", "completion tokens", "US$", "s"]
    section.grids.append(Grid("By round and stage", heads, rows))
    try:
        spent = lake.campaign.spent_usd()
    except LoopToolError as exc:
        lake.note(f"spending: {exc}")
    else:
        section.remarks.append(
            f"The teacher has cost US$ {spent:.2f} in all, unfinished stages included."
        )
    return section


def _stack(
    costs: Sequence[Cost], order: Sequence[str], title: str, figure: Callable[[Cost], float]
) -> Figure:
    rows = []
    for cost in costs:
        name, value = f"round {cost.iteration}", figure(cost)
        if value and name in order:
            tip = f"{name}, {cost.stage}: {value:,.1f}"
            rows.append({"x": name, "y": value, "series": cost.stage, "tip": tip})
    return Figure(title, draw_stack(rows, STAGES, order, ""))


def costs_of(lake: Lake, number: int) -> Iterator[Cost]:
    """The costs of every stage of one iteration; those of the seed phase under 0."""
    for stage in STAGES:
        several = number == 0 and stage in ("seed", "validate")
        found = lake.all_of(0, stage) if several else [lake.stage(number, stage)]
        made = [item for item in found if item is not None]
        if made:
            yield _sum(number, stage, made)


def _sum(number: int, stage: str, made: Sequence[Found]) -> Cost:
    usage: Counter[str] = Counter()
    usd = 0.0
    for found in made:
        for part in _usages(found.stats.get("teacher")):
            usd += _number(part.get("cost_usd"))
            for key in ("requests", "prompt_tokens", "completion_tokens"):
                usage[key] += int(_number(part.get(key)))
        report = found.stats.get("report")
        if isinstance(report, dict):
            usage["completion_tokens"] += int(_number(report.get("generated_tokens")))
    seconds = [_seconds(found) for found in made]
    known = [value for value in seconds if value is not None]
    return Cost(
        iteration=number,
        stage=stage,
        rows=sum(sum(found.manifest.rows().values()) for found in made),
        requests=usage["requests"],
        prompt_tokens=usage["prompt_tokens"],
        completion_tokens=usage["completion_tokens"],
        usd=usd,
        seconds=sum(known) if known else None,
    )


def _usages(teacher: object) -> Iterator[Mapping[str, object]]:
    """The accounts by stage, whether the stage kept one or one a part."""
    if isinstance(teacher, list):
        for part in teacher:
            yield from _usages(part)
    elif isinstance(teacher, dict):
        yield from (value for value in teacher.values() if isinstance(value, dict))


def _seconds(found: Found) -> float | None:
    """What the stage took, as it says itself or as its speed tells."""
    stats: JsonObject = found.stats
    report = stats.get("report")
    inner: JsonObject = report if isinstance(report, dict) else {}
    for place in (stats, inner):
        if isinstance(place.get("seconds"), int | float):
            return float(place["seconds"])
    speed, unit = _number(stats.get("per_second")), _UNITS.get(found.manifest.stage, "")
    done = _number(stats.get(unit) or inner.get(unit)) or found.rows(unit)
    return done / speed if speed > 0 and done else None


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
