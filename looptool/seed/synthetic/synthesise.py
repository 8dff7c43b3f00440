"""Synthetic tools until there are as many accepted ones as asked for.

Tools are numbered, asked for with a bounded lead and judged in order of their numbers, so that the
result depends on the trees, the seed and the teacher's answers, never on which came first. One that
does not conform is a rejection, and the next number draws new paths.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from looptool.chat import Teacher
from looptool.chat.outage import raise_if_down
from looptool.config import SyntheticConfig
from looptool.errors import DataError, TeacherError, shorten
from looptool.prompts import render
from looptool.records import JsonObject, Record, Rejection, ToolSpec, as_mapping
from looptool.seed.normalise import normalise_tool
from looptool.seed.synthetic.conform import find_breaches, identity
from looptool.seed.synthetic.trees import (
    ConstraintPath,
    ContextPath,
    load_constraint_tree,
    load_context_tree,
)

STAGE = "tools"
PROMPT = "seed_tool_spec"
FIRST_VERDICT = 20
"""Tools after which a share of failures says something."""


class ToolSpecReply(BaseModel):
    """The JSON object that the prompt `seed_tool_spec` asks for."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(min_length=1)
    description: str = Field(min_length=1)
    parameters: dict[str, Any]
    returns: dict[str, Any]


class SyntheticReport(Record):
    """Counts of one run."""

    wanted: int
    accepted: int
    met: bool
    attempts: int
    """Tools asked of the teacher."""
    first_accepted: int
    """Tools accepted among the first `wanted` that were asked for."""
    rejected: dict[str, int]
    """Tools refused, by rule; the first rule counts."""
    domains: dict[str, int]
    """Accepted tools by domain."""
    constraints: dict[str, int]
    """Accepted tools by `level:choice`."""


@dataclass(frozen=True, slots=True)
class SyntheticOutcome:
    """Accepted tools in the order of their numbers, and what was refused."""

    tools: tuple[ToolSpec, ...]
    rejections: tuple[Rejection, ...]
    report: SyntheticReport


@dataclass(frozen=True, slots=True)
class _Draft:
    """One tool as it was asked for, and what came back."""

    number: int
    context: ContextPath
    constraints: ConstraintPath
    reply: ToolSpecReply | None = None
    error: TeacherError | None = None

    @property
    def source(self) -> str:
        """Where the tool comes from: both paths."""
        return f"synthetic#{self.context}|{self.constraints}"


async def synthesise_tools(
    config: SyntheticConfig,
    teacher: Teacher,
    *,
    count: int,
    random_seed: int,
    existing: Sequence[ToolSpec] = (),
) -> SyntheticOutcome:
    """`count` tools that conform and differ from each other and from the existing ones.

    Ends early, with `report.met` False, after `config.max_attempts` tools for each one wanted.
    Raises ConfigError for a tree that cannot be used, BudgetExceeded, and TeacherUnavailable or
    TeacherRefused when it is the endpoint that fails and not a tool.
    """
    contexts = load_context_tree(config.context_tree)
    shapes = load_constraint_tree(config.constraint_tree)
    run = _Run(config, count, existing)
    pending: deque[asyncio.Task[_Draft]] = deque()
    started = 0
    try:
        while not run.finished:
            lead = min(2 * teacher.config.max_concurrency, run.expected)
            while len(pending) < lead:
                rng = Random(f"{random_seed}:synthetic:{started}")
                draft = _Draft(started, contexts.draw(rng), shapes.draw(rng))
                pending.append(asyncio.create_task(_write(draft, teacher, config.model, rng)))
                started += 1
            run.take(await pending.popleft())
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    return run.outcome()


async def _write(draft: _Draft, teacher: Teacher, model: str, rng: Random) -> _Draft:
    """The draft with the teacher's tool, or with the reason why there is none."""
    path = draft.context
    messages = render(
        PROMPT,
        context={"domain": path.domain, "area": path.area, "task": path.task},
        words=list(path.words),
        constraints=draft.constraints.as_prompt(),
        nonce=f"{rng.getrandbits(32):08x}",
    )
    try:
        reply = await teacher.ask(
            messages,
            reply=ToolSpecReply,
            stage=STAGE,
            model=model or None,
            seed=rng.getrandbits(31),
        )
    except TeacherError as error:
        return _Draft(draft.number, path, draft.constraints, error=error)
    return _Draft(draft.number, path, draft.constraints, reply=reply)


class _Run:
    """What has been accepted and refused so far, in order."""

    def __init__(self, config: SyntheticConfig, count: int, existing: Sequence[ToolSpec]) -> None:
        self._count, self._limit = count, round(config.max_attempts * count)
        self._taken = {identity(tool) for tool in existing}
        self._tools: list[ToolSpec] = []
        self._drafts: list[_Draft] = []
        self._rejections: list[Rejection] = []
        self._errors: list[TeacherError] = []
        self._attempts = 0
        self._first = 0

    @property
    def finished(self) -> bool:
        """Whether there are enough, or no hope of it."""
        return len(self._tools) >= self._count or self._attempts >= self._limit

    @property
    def expected(self) -> int:
        """How many more are probably needed; at least 1."""
        return max(1, min(self._count - len(self._tools), self._limit - self._attempts))

    def take(self, draft: _Draft) -> None:
        """Judges one tool; raises the teacher's error when the endpoint is down."""
        self._attempts += 1
        if draft.error is not None:
            word = type(draft.error).__name__.removeprefix("Teacher").lower()
            self._reject(draft, f"teacher_{word}", str(draft.error))
            self._errors.append(draft.error)
        else:
            self._judge(draft)
        if self._errors and (self._attempts % FIRST_VERDICT == 0 or self.finished):
            raise_if_down(self._errors, self._attempts)

    def _judge(self, draft: _Draft) -> None:
        document = draft.reply.model_dump() if draft.reply is not None else {}
        if undeclared := find_undeclared(document):
            detail = f"{shorten(undeclared)} is required but not declared"
            self._reject(draft, "required_undeclared", detail)
            return
        try:
            tool = normalise_tool(document, source=draft.source, domain=draft.context.domain)
        except DataError as error:
            self._reject(draft, "bad_tool", str(error))
            return
        breaches = find_breaches(tool, draft.context, draft.constraints, self._taken)
        if breaches:
            details = "; ".join(f"{breach.rule}: {breach.detail}" for breach in breaches)
            self._reject(draft, breaches[0].rule, details)
            return
        self._tools.append(tool)
        self._drafts.append(draft)
        self._taken.add(identity(tool))
        self._first += self._attempts <= self._count

    def _reject(self, draft: _Draft, rule: str, detail: str) -> None:
        row = {
            "context": str(draft.context),
            "constraints": draft.constraints.as_prompt(),
            "tool": draft.reply.model_dump() if draft.reply is not None else None,
        }
        self._rejections.append(
            Rejection(
                stage=STAGE, row_id=f"synthetic-{draft.number}", rule=rule, detail=detail, row=row
            )
        )

    def outcome(self) -> SyntheticOutcome:
        """All of it, with counts."""
        steps = [
            f"{name}:{taken}"
            for draft in self._drafts
            for name, taken, _ in draft.constraints.steps
        ]
        report = SyntheticReport(
            wanted=self._count,
            accepted=len(self._tools),
            met=len(self._tools) >= self._count,
            attempts=self._attempts,
            first_accepted=self._first,
            rejected=_tally([rejection.rule for rejection in self._rejections]),
            domains=_tally([tool.domain for tool in self._tools]),
            constraints=_tally(steps),
        )
        return SyntheticOutcome(tuple(self._tools), tuple(self._rejections), report)


def find_undeclared(document: JsonObject) -> str:
    """The first required parameter that is not declared; empty if there is none."""
    parameters = as_mapping(document.get("parameters"))
    required = parameters.get("required")
    declared = as_mapping(parameters.get("properties"))
    names = required if isinstance(required, list) else []
    return next((str(name) for name in names if str(name) not in declared), "")


def _tally(names: Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
