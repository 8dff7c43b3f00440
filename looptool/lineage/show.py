"""Lineage on a terminal: everything that a model or a document wrote is shown as it is, never as markup."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from looptool.campaign import Retraction
from looptool.errors import shorten
from looptool.lineage.compare import Counts, DatasetDiff, Example
from looptool.lineage.difference import Difference, render_call, render_label
from looptool.lineage.family import Change, Explanation, Judged, Member, Probed
from looptool.lineage.retract import Consequences
from looptool.records import AssistantMessage, Sample, Vote

TEXT = 400
"""Longest message or reason that is shown; --json has all of it."""
OLD, NEW, DIM, HEAD = "red", "green", "dim", "bold"


def show_explanation(found: Explanation) -> RenderableType:
    """The whole family of a sample, from where it came from to what became of it."""
    parts = [
        _head(found),
        _section("Conversation", _conversation(found.sample)),
        _section("Tools", _tools(found.sample)),
        _section("Family", _family(found)),
        _section("Label changes", *map(_change, found.changes)),
        _section("Probes", *(_probe(probed, found) for probed in found.probes)),
        _section("Verdicts", *(_judged(judged, found) for judged in found.judgements)),
        _section("Datasets and fates", *_fates(found)),
        _section("Retractions", *map(show_retraction, found.retractions)),
    ]
    return Group(*(part for part in parts if part is not None))


def _section(title: str, *body: RenderableType) -> RenderableType | None:
    return Group(Text(), Text(title, style=HEAD), *body) if body else None


def _facts(*pairs: tuple[str, str]) -> Text:
    text = Text()
    for name, value in pairs:
        if value:
            text.append(f"{name} ", style=DIM)
            text.append(value)
            text.append("   ")
    text.rstrip()
    return text


def _head(found: Explanation) -> RenderableType:
    sample = found.sample
    member = found.member(sample.sample_id)
    lines = [
        _facts(("kind", sample.kind), ("split", sample.split), ("language", sample.language)),
        _facts(
            ("dialogue", sample.dialogue_id),
            ("persona", shorten(sample.persona)),
            ("style", sample.style),
            ("difficulty", sample.difficulty),
            ("date", sample.date),
        ),
    ]
    lines += [
        _facts(
            ("played as", f"{play.split} {play.kind} number {play.number}"),
            ("tools", play.tools),
            ("decisions cut", str(play.samples)),
        )
        for play in found.plays
    ]
    if found.rejection:
        lines.append(
            Text(f"turned away: {found.rejection.rule} ({shorten(found.rejection.detail)})", OLD)
        )
    if member.retracted:
        lines.append(Text("retracted", style=OLD))
    title = Text.assemble((sample.sample_id, HEAD), f"  {found.campaign}")
    return Panel(Group(*lines), title=title, title_align="left")


def _conversation(sample: Sample) -> RenderableType:
    table = _grid()
    for message in sample.messages:
        said = Text(shorten(message.content, TEXT))
        if isinstance(message, AssistantMessage):
            said = Text("\n").join(
                [
                    *([said] if message.content else []),
                    *(Text(render_call(call)) for call in message.calls),
                ]
            )
        table.add_row(Text(message.role, style=DIM), said)
    table.add_row(Text("label", style=HEAD), Text(render_label(sample.label), style=HEAD))
    return table


def _tools(sample: Sample) -> RenderableType:
    called = {call.name for call in sample.label.calls}
    table = _grid()
    for tool in sample.tools:
        source = tool.source or "unknown source"
        named = f" as {tool.original_name}" if tool.original_name else ""
        table.add_row(
            Text(tool.name, style=HEAD if tool.name in called else ""),
            Text(source + named, style=DIM),
        )
    return table


def _grid() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=False, max_width=26, overflow="fold")
    table.add_column(overflow="fold")
    return table


def _family(found: Explanation) -> RenderableType:
    children: dict[str, list[Member]] = {}
    known = {member.sample_id for member in found.family}
    heads = [member for member in found.family if member.parent_id not in known]
    for member in found.family:
        children.setdefault(member.parent_id, []).append(member)

    def grow(tree: Tree, member: Member) -> None:
        branch = tree.add(_member(member, found.sample.sample_id))
        for child in children.get(member.sample_id, []):
            grow(branch, child)

    trees = [Tree("", hide_root=True) for _ in heads]
    for tree, head in zip(trees, heads, strict=True):
        grow(tree, head)
    return Group(*trees)


def _member(member: Member, shown: str) -> Text:
    text = Text(member.sample_id, style=HEAD if member.sample_id == shown else "")
    text.append(f" {member.how}", style=DIM)
    if member.born_in:
        text.append(f" of iteration {member.born_in}", style=DIM)
    text.append(f" {member.kind}", style=DIM)
    if member.datasets:
        places = ", ".join(f"D_{n} ({origin})" for n, origin in sorted(member.datasets.items()))
        text.append(f"  {places}")
    if member.last_fate and not member.last_fate.startswith("kept"):
        text.append(f"  {member.last_fate}", style="yellow")
    if member.retracted:
        text.append("  retracted", style=OLD)
    first = render_label(member.label).partition("\n")[0]
    text.append(f"\n{shorten(first, 160)}", style=DIM)
    return text


def _change(change: Change) -> RenderableType:
    head = Text(f"iteration {change.iteration}: {change.sample_id} ")
    if change.applied:
        head.append(f"-> {change.corrected_id or 'a new sample'}")
    else:
        head.append("keeps its label; the change was withheld", style="yellow")
    if change.retracted:
        head.append("  taken back", style=OLD)
    lines = [head, *show_difference(change.difference)]
    if change.note:
        lines.append(Text(f"  {shorten(change.note, TEXT)}", style=DIM))
    return Group(*lines)


def show_difference(difference: Sequence[Difference]) -> Iterator[Text]:
    """A label's change, a line for what was and one for what is."""
    for one in difference:
        yield Text(f"  {one.path}", style=DIM)
        if one.old:
            yield Text(f"  - {shorten(one.old, TEXT)}", style=OLD)
        if one.new:
            yield Text(f"  + {shorten(one.new, TEXT)}", style=NEW)


def _of(sample_id: str, found: Explanation) -> str:
    """Names the sample where it is another one of the line."""
    return "" if sample_id == found.sample.sample_id else f" of {sample_id}"


def _probe(probed: Probed, found: Explanation) -> RenderableType:
    result = probed.result
    head = Text(f"M_{probed.iteration}{_of(result.sample_id, found)}: ")
    if result.failure:
        head.append(f"failed: {result.failure}", style="yellow")
        return head
    head.append("matched" if result.matched else "not matched", NEW if result.matched else OLD)
    if result.relaxed and not result.matched:
        head.append(" (by the relaxed rule it is)")
    figures = _facts(
        ("  PPL of output", _number(result.ppl_output)),
        ("call", _number(result.ppl_call)),
        ("label", _number(result.ppl_label)),
        ("rollouts right", "" if result.pass_rate is None else f"{result.pass_rate:.0%}"),
        ("tokens", str(result.tokens)),
    )
    lines: list[RenderableType] = [head, figures]
    if result.mismatch:
        lines.append(Text(f"  {shorten(result.mismatch, TEXT)}", style="yellow"))
    lines.append(Text(f"  {shorten(result.output, TEXT)}"))
    return Group(*lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _judged(judged: Judged, found: Explanation) -> RenderableType:
    judgement = judged.judgement
    head = Text(f"iteration {judged.iteration}{_of(judgement.sample_id, found)}: ")
    head.append(judgement.verdict, style=HEAD)
    if judgement.error_type:
        head.append(f" ({judgement.error_type})")
    lines: list[RenderableType] = [head]
    if judgement.note:
        lines.append(Text(f"  {shorten(judgement.note, TEXT)}", style="yellow"))
    said = Text("  compared with: ", style=DIM)
    said.append(shorten(render_label(judgement.predicted), TEXT), style="default")
    lines.append(said)
    lines += [_vote(vote) for vote in judgement.votes]
    return Group(*lines)


def _vote(vote: Vote) -> RenderableType:
    order = "label first" if vote.label_first else "prediction first"
    lines = [Text(f"  {vote.model}, {order}: {vote.verdict}")]
    for reason in (vote.error_analysis, vote.right_approach):
        if reason:
            lines.append(Text(f"    {shorten(reason, TEXT)}", style=DIM))
    return Group(*lines)


def _fates(found: Explanation) -> Iterator[Text]:
    """By dataset: who of the line is in it, and who left, or never entered, and why."""
    lines: list[tuple[int, Text]] = []
    for sample_id in found.line:
        for number, origin in found.member(sample_id).datasets.items():
            lines.append((number, Text(f"D_{number}{_of(sample_id, found)}: in it as {origin}")))
    for settled in found.fates:
        fate = settled.fate
        if fate.fate != "kept":
            text = Text(f"D_{settled.makes}{_of(fate.sample_id, found)}: not in it, ")
            text.append(f"{fate.fate}: {shorten(fate.reason, TEXT)}", style="yellow")
            lines.append((settled.makes, text))
    for _, text in sorted(lines, key=lambda line: line[0]):
        yield text


def show_retraction(retraction: Retraction) -> Text:
    """Who took what out (or back in), when and why; one line."""
    deep = " with descendants" if retraction.with_descendants else ""
    what = "taken back in" if retraction.undoes else f"taken out{deep}"
    text = Text(f"{retraction.retraction_id}: {', '.join(retraction.samples)} {what}")
    text.append(f" by {retraction.by}, {retraction.made_at[:19]} UTC", style=DIM)
    if retraction.reason:
        text.append(f": {shorten(retraction.reason, TEXT)}")
    return text


def show_consequences(retraction: Retraction, effect: Consequences) -> RenderableType:
    """What a retraction or an undo means for the campaign."""
    undo = bool(retraction.undoes)
    more = len(effect.samples) - len(set(retraction.samples) & set(effect.samples))
    lines = [show_retraction(retraction)]
    if more:
        lines.append(Text(f"with {more} {'descendant' if more == 1 else 'descendants'}"))
    held = ", ".join(f"D_{n}: {count}" for n, count in sorted(effect.datasets.items()))
    lines.append(Text(f"datasets that hold them now: {held or 'none'}"))
    verb = "may hold them again" if undo else "leaves them out"
    made = effect.next_iteration
    lines.append(Text(f"The next iteration ({made}) {verb} when it makes D_{made + 1}."))
    if effect.restores:
        fate = (
            "the correction holds again"
            if undo
            else "the old label stands where the correction did"
        )
        lines.append(Text(f"{', '.join(effect.restores)}: {fate}."))
    if effect.again_from and not undo:
        cost = (
            "D_1 changes, so it trains again"
            if effect.trains_again
            else "its training and verdicts are found, only its merge runs"
        )
        lines.append(
            Text(
                f"To make the datasets so far without them, run iteration {effect.again_from} again "
                f"({cost}); the iterations after it are then made anew."
            )
        )
    return Group(*lines)


def show_diff(diff: DatasetDiff) -> RenderableType:
    """The comparison of two datasets."""
    names = f"D_{diff.before}", f"D_{diff.after}"
    title = Text.assemble(
        (f"{names[0]} -> {names[1]}", HEAD), f"  {diff.campaign}: {diff.size_before} -> ",
        str(diff.size_after), " samples",
    )  # fmt: skip
    parts: list[RenderableType | None] = [title, _counts("all", {"all": diff.total})]
    parts += [_counts("kind", diff.by_kind), _counts("origin", diff.by_origin)]
    if diff.left_why:
        table = _grid()
        for why, count in sorted(diff.left_why.items(), key=lambda item: -item[1]):
            table.add_row(Text(str(count)), Text(why))
        parts.append(_section("Why they left", table))
    for group in ("changed", "entered", "left"):
        shown = [_example(one) for one in diff.examples if one.group == group]
        parts.append(_section(f"Examples that {_VERBS[group]}", *shown))
    return Group(*(part for part in parts if part is not None))


_VERBS = {"changed": "changed their label", "entered": "entered", "left": "left"}


def _counts(heading: str, rows: dict[str, Counts]) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(heading, overflow="fold", min_width=10)
    for name in Counts.model_fields:
        table.add_column(name, justify="right")
    for name, counts in rows.items():
        table.add_row(Text(name), *(str(value) for value in counts.model_dump().values()))
    return table


def _example(example: Example) -> RenderableType:
    head = Text(f"{example.sample_id} {example.kind}", style=HEAD)
    head.append(f"  {example.why}", style=DIM)
    body = (
        list(show_difference(example.difference))
        if example.difference
        else [Text(f"  {shorten(render_label(example.label), TEXT)}")]
    )
    return Group(head, Text(f"  {shorten(example.asked, 200)}", style=DIM), *body)
