"""What people see of proposed label changes, and what follows from their decision.

Model text and tool documents are data: everything on the page is escaped, the page loads nothing and
runs nothing. Planted pairs are not shown.
"""

import html
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from looptool.errors import shorten
from looptool.records import Judgement, Label, Record, Sample, Vote, canonical_json

TABLE_ROWS = 200
"""Rows of the table in Prefect's page; the HTML page shows all."""


class Decision(Record):
    """What people decided about the proposed label changes of one round."""

    accepted: tuple[str, ...] = ()
    """Ids of samples whose label is replaced, whatever the judge's measured precision."""
    rejected: tuple[str, ...] = ()
    """Ids of samples on which the judge is overruled."""
    others: Literal["accept", "reject", "quarantine"] = "quarantine"
    """What becomes of the rest. `accept`: as the judge and its measured precision have it."""
    by: str = ""
    """Who decided, as they signed; `timeout` where nobody did."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A label change to be decided on."""

    sample: Sample
    judgement: Judgement

    @property
    def new_label(self) -> Label:
        """The label that would replace the old one."""
        if self.judgement.proposed_label is None:
            raise ValueError(f"judgement of {self.judgement.sample_id} proposes no label")
        return self.judgement.proposed_label


def list_proposals(
    samples: Mapping[str, Sample], judgements: Iterable[Judgement]
) -> list[Proposal]:
    """The proposed changes in the order of the judgements, applied ones and withheld ones."""
    return [
        Proposal(samples[judgement.sample_id], judgement)
        for judgement in judgements
        if judgement.proposed_label is not None
    ]


def apply_decision(judgements: Iterable[Judgement], decision: Decision) -> Iterator[Judgement]:
    """The judgements after the decision.

    A rejected change leaves the sample `unjudged`, as judge and people disagree; one that is left for
    later stays LABEL_WRONG without a new label. The votes and the proposal stay in every case.
    """
    accepted, rejected = set(decision.accepted), set(decision.rejected)
    signed = f" by {decision.by}" if decision.by else ""
    for judgement in judgements:
        sample_id = judgement.sample_id
        fate: str = decision.others
        if sample_id in accepted or sample_id in rejected:
            fate = "people accept" if sample_id in accepted else "reject"
        if judgement.proposed_label is None or fate == "accept":
            yield judgement
        elif fate == "people accept":
            yield judgement.model_copy(
                update={
                    "new_label": judgement.proposed_label,
                    "note": f"accepted in review{signed}",
                }
            )
        elif fate == "reject":
            note = f"replacement rejected in review{signed}"
            yield judgement.model_copy(
                update={"verdict": "unjudged", "new_label": None, "note": note}
            )
        else:
            note = "label not replaced: left open in review"
            yield judgement.model_copy(update={"new_label": None, "note": note})


def check_decision(decision: Decision, proposals: Sequence[Proposal]) -> list[str]:
    """What is wrong with a decision: ids that nothing was proposed for, or that stand on both sides."""
    known = {proposal.sample.sample_id for proposal in proposals}
    named = [*decision.accepted, *decision.rejected]
    problems = [f"no change is proposed for {shorten(i)}" for i in named if i not in known]
    both = sorted({*decision.accepted} & {*decision.rejected})
    return problems + [f"{sample_id} is both accepted and rejected" for sample_id in both]


def render_table(proposals: Sequence[Proposal]) -> str:
    """The proposals as a markdown table."""
    lines = [
        "| sample | last message | label | proposed | votes |",
        "|---|---|---|---|---|",
    ]
    for proposal in proposals[:TABLE_ROWS]:
        last = proposal.sample.messages[-1].content
        cells = (
            proposal.sample.sample_id,
            last,
            show_label(proposal.sample.label),
            show_label(proposal.new_label),
            ", ".join(vote.verdict for vote in proposal.judgement.votes),
        )
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    if len(proposals) > TABLE_ROWS:
        lines.append(f"\n{len(proposals) - TABLE_ROWS} more are on the page.")
    return "\n".join(lines)


def show_label(label: Label) -> str:
    """A label as text: its calls as JSON, or its words."""
    if not label.calls:
        return label.text
    return "\n".join(f"{call.name}({canonical_json(call.arguments)})" for call in label.calls)


def _cell(text: str) -> str:
    """Text that stays inside its cell of a markdown table, and is no markup there."""
    flat = " ".join(shorten(text, 300).split())
    escaped = html.escape(flat)
    for character in "\\`*_[]|~#!":
        escaped = escaped.replace(character, f"&#{ord(character)};")
    return escaped


def render_page(title: str, proposals: Sequence[Proposal]) -> str:
    """The proposals as one self-contained HTML page."""
    body = "\n".join(map(_render_proposal, proposals)) or "<p>No label change is proposed.</p>"
    return _PAGE.format(title=html.escape(title), style=_STYLE, count=len(proposals), body=body)


_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
article { border: 1px solid #8886; border-radius: 8px; padding: .2rem 1rem 1rem; margin: 1rem 0; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #8881; padding: .5rem; margin: .2rem 0; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: 1rem; }
h2 { font-size: 1rem; } h3 { font-size: .9rem; margin: .8rem 0 .2rem; }
"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title><style>{style}</style></head>
<body><h1>{title}</h1><p>{count} proposed label changes.</p>
{body}
</body></html>
"""


def _render_proposal(proposal: Proposal) -> str:
    sample, judgement = proposal.sample, proposal.judgement
    chat = "".join(f"<pre>{html.escape(_show_message(row))}</pre>" for row in sample.chat())
    tools = json.dumps(sample.tool_specs(), ensure_ascii=False, indent=1)
    votes = "".join(f"<li>{_render_vote(vote)}</li>" for vote in judgement.votes)
    old, new = (html.escape(show_label(label)) for label in (sample.label, proposal.new_label))
    state = "applied unless rejected" if judgement.new_label else judgement.note
    return (
        f"<article id='{html.escape(sample.sample_id)}'><h2>{html.escape(sample.sample_id)}</h2>"
        f"<p>{html.escape(state)}</p><h3>Context</h3>{chat}"
        f"<div class='pair'><div><h3>Label</h3><pre>{old}</pre></div>"
        f"<div><h3>Prediction, proposed as label</h3><pre>{new}</pre></div></div>"
        f"<h3>Votes</h3><ul>{votes}</ul>"
        f"<details><summary>Tools</summary><pre>{html.escape(tools)}</pre></details></article>"
    )


def _show_message(row: Mapping[str, object]) -> str:
    calls = row.get("tool_calls")
    shown = f"\n{json.dumps(calls, ensure_ascii=False)}" if calls else ""
    return f"{row['role']}: {row.get('content') or ''}{shown}"


def _render_vote(vote: Vote) -> str:
    order = "label first" if vote.label_first else "prediction first"
    text = f"{vote.verdict} ({vote.model}, {order}): {vote.error_analysis} {vote.right_approach}"
    return html.escape(text)
