"""The values that cross a boundary: LLM replies, Parquet rows, Prefect results.

All are frozen pydantic models that refuse unknown fields. A sample never changes: a corrected label is
a new sample with `parent_id`. Bad data is a record (`Rejection`), not an exception. Free-form JSON
(schemas, arguments) is a plain dict here and a canonical JSON string in Parquet (`looptool.schema`).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

JsonObject = dict[str, Any]
"""A JSON object as Python holds it."""


class Record(BaseModel):
    """Base of every boundary value: frozen, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def canonical_json(value: object) -> str:
    """Compact JSON with sorted keys, UTF-8 characters as they are; raises ValueError on NaN."""
    return json.dumps(
        value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )


def draw(random_seed: int, *parts: object) -> str:
    """A key to sort by: random by the seed, and the same whatever the order of the rows."""
    return hashlib.sha256(canonical_json([random_seed, *parts]).encode()).hexdigest()


def content_id(prefix: str, *values: object) -> str:
    """A stable id `<prefix>-<16 hex digits>` of JSON-compatible values."""
    text = canonical_json(list(values))
    return f"{prefix}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


class Kind(StrEnum):
    """What kind of decision the assistant had to make at one turn."""

    SINGLE = "single"
    """One call answers the user's first request."""
    PARALLEL = "parallel"
    """Two or more independent calls in one answer."""
    MULTI_STEP = "multi_step"
    """A call that needs the result of an earlier one in the same user turn."""
    MULTI_TURN = "multi_turn"
    """A call in a later user turn (also the call after a clarification)."""
    CLARIFY = "clarify"
    """A required value is missing: ask, do not call."""
    NO_TOOL = "no_tool"
    """No tool fits: say so, do not call (irrelevance)."""
    RETRY = "retry"
    """A call after a tool answered with an error."""
    SUMMARY = "summary"
    """All results are there: answer the user in text."""


CALL_KINDS = frozenset({Kind.SINGLE, Kind.PARALLEL, Kind.MULTI_STEP, Kind.MULTI_TURN, Kind.RETRY})
"""Kinds whose label holds calls (relevance); the others have a text label (irrelevance)."""


class Split(StrEnum):
    """Which part of the data a dialogue, and every sample made from it, belongs to."""

    TRAIN = "train"
    HELDOUT_SEEN = "heldout_seen"
    """Never trained on; its tools do occur in training."""
    HELDOUT_UNSEEN = "heldout_unseen"
    """Never trained on; none of its tools occurs in training."""


Difficulty = Literal["", "easy", "medium", "hard"]
"""Near misses (tools of the domain in focus) among the distractors: none, some, all; empty: unknown."""


class Origin(StrEnum):
    """How a sample came into a dataset D_j (method, section 7)."""

    SEED = "seed"
    ERROR_SEED = "error_seed"
    EXPANSION = "expansion"
    HIGH_PPL = "high_ppl"


class ToolSpec(Record):
    """One tool, its parameters as valid JSON Schema 2020-12."""

    tool_id: str
    """Content id of name, description and parameters."""
    name: str
    """As the model sees it: 1-64 characters of [a-zA-Z0-9_-]."""
    description: str = ""
    parameters: JsonObject
    """JSON Schema of the arguments, `type: object`."""
    output: JsonObject | None = None
    """JSON Schema of the result, where known."""
    domain: str = ""
    """Top-level topic, for balance and reports."""
    source: str = ""
    """Where the tool came from: `catalogue`, a file or URL, with the place inside it."""
    original_name: str = ""
    """The name before it was made fit for chat endpoints; empty if unchanged."""

    def as_openai(self) -> JsonObject:
        """The tool in the OpenAI `tools=` shape."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": self.parameters,
            },
        }


def make_tool(name: str, description: str, parameters: JsonObject, **fields: Any) -> ToolSpec:
    """A ToolSpec with its content id filled in."""
    tool_id = content_id("tool", name, description, parameters)
    return ToolSpec(
        tool_id=tool_id, name=name, description=description, parameters=parameters, **fields
    )


class ToolCall(Record):
    """One call of a tool."""

    name: str
    arguments: JsonObject = Field(default_factory=dict)


class SystemMessage(Record):
    """Instructions before the first turn."""

    role: Literal["system"] = "system"
    content: str


class UserMessage(Record):
    """What the user says."""

    role: Literal["user"] = "user"
    content: str


class AssistantMessage(Record):
    """What the assistant answers: text, calls, or both."""

    role: Literal["assistant"] = "assistant"
    content: str = ""
    calls: tuple[ToolCall, ...] = ()


class ToolMessage(Record):
    """The result of one call; results follow their calls in order."""

    role: Literal["tool"] = "tool"
    name: str
    content: str
    """JSON text of the result, `{"error": …}` for a failure."""


Message = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]


def messages_as_openai(messages: Sequence[Message]) -> list[JsonObject]:
    """Messages in the OpenAI chat shape, with call ids made from their positions."""
    rows: list[JsonObject] = []
    pending: list[str] = []
    for number, message in enumerate(messages):
        if isinstance(message, AssistantMessage):
            pending = [f"call_{number}_{i}" for i in range(len(message.calls))]
            row: JsonObject = {"role": "assistant", "content": message.content}
            if message.calls:
                row["tool_calls"] = [
                    {
                        "id": call_id,
                        "type": "function",
                        "function": {"name": call.name, "arguments": call.arguments},
                    }
                    for call_id, call in zip(pending, message.calls, strict=True)
                ]
            rows.append(row)
        elif isinstance(message, ToolMessage):
            call_id = pending.pop(0) if pending else f"call_{number}"
            rows.append(
                {
                    "role": "tool",
                    "tool_call_id": call_id,
                    "name": message.name,
                    "content": message.content,
                }
            )
        else:
            rows.append({"role": message.role, "content": message.content})
    return rows


class Dialogue(Record):
    """A simulated conversation over a set of tools (method, section 2)."""

    dialogue_id: str
    kind: Kind
    """The kind that the planner was asked for."""
    split: Split
    language: str = "en"
    persona: str = ""
    style: str = ""
    date: str = ""
    """The day on which the dialogue takes place, ISO 8601; empty if it does not matter."""
    difficulty: Difficulty = ""
    """How many of the distractors are near misses of the tools in focus: `easy`, `medium` or `hard`."""
    tools: tuple[ToolSpec, ...]
    messages: tuple[Message, ...]
    marked_turns: tuple[int, ...] = ()
    """Indices of assistant messages on which the teacher disagreed with itself: never labels."""


class Cast(Record):
    """One dialogue that a plan asks for."""

    split: Split
    kind: Kind
    """The kind that the planner is asked for."""
    tools: str = ""
    """Range of the number of tools in context, e.g. `3-5`; empty: as configured."""
    difficulty: Difficulty = ""
    """The difficulty wanted; empty: any."""
    number: int
    """Counts the dialogues of this sort over all rounds; what happens in them is drawn from it."""


class Play(Record):
    """What became of one planned dialogue."""

    split: Split
    kind: Kind
    tools: str
    difficulty: Difficulty
    number: int
    dialogue_id: str
    """Empty if it broke off."""
    samples: int
    """Decisions cut from it."""
    marked_turns: int
    """Assistant turns on which the teacher disagreed with itself."""
    rule: str
    """Why it gave no sample, e.g. `teacher_malformed`; empty if it did."""


class Coverage(Record):
    """How often one tool occurs in the samples of one kind and split."""

    tool: str
    kind: Kind
    split: Split
    called: int
    """Samples whose label calls it."""
    offered: int
    """Samples with it in context."""


class Label(Record):
    """The expected answer of one decision: calls, or text when `calls` is empty."""

    calls: tuple[ToolCall, ...] = ()
    text: str = ""

    def as_calls(self) -> list[JsonObject]:
        """The calls as `{"name", "arguments"}` mappings, the shape of `looptool.calls`."""
        return [{"name": c.name, "arguments": c.arguments} for c in self.calls]


class Sample(Record):
    """One assistant decision: (tools, context) -> label."""

    sample_id: str
    """Content id of tools, context, label and parent."""
    kind: Kind
    split: Split
    origin: Origin = Origin.SEED
    """Why it is in the dataset that holds it; the other fields never change."""
    tools: tuple[ToolSpec, ...]
    messages: tuple[Message, ...]
    """The context up to the decision; the last one is a user or tool message."""
    label: Label
    ordered: bool = False
    """Whether the calls of the label must come in this order."""
    date: str = ""
    persona: str = ""
    style: str = ""
    language: str = "en"
    difficulty: Difficulty = ""
    """How many of the distractors are near misses: `easy` none, `medium` some, `hard` all."""
    dialogue_id: str
    """The dialogue it was cut from (an expansion: its own conversation)."""
    parent_id: str = ""
    """The sample that this one corrects or grew from; empty for seeds."""
    root_id: str = ""
    """The seed sample at the head of the family; empty for seeds."""
    born_in: int = 0
    """Iteration in which it was made; 0 is the seed phase."""

    def tool_specs(self) -> list[JsonObject]:
        """The tools in the OpenAI shape."""
        return [tool.as_openai() for tool in self.tools]

    def chat(self) -> list[JsonObject]:
        """The context in the OpenAI chat shape."""
        return messages_as_openai(self.messages)


def make_sample(**fields: Any) -> Sample:
    """A Sample with its content id filled in from tools, context, label and parent."""
    draft = Sample(sample_id="", **fields)
    sample_id = content_id(
        "s",
        [tool.tool_id for tool in draft.tools],
        [m.model_dump(mode="json") for m in draft.messages],
        draft.label.model_dump(mode="json"),
        draft.parent_id,
    )
    return draft.model_copy(update={"sample_id": sample_id})


class Rejection(Record):
    """A row that was not accepted, with its reason; nothing is dropped in silence."""

    stage: str
    row_id: str
    rule: str
    """Name of the rule that it broke, e.g. `unknown_tool`."""
    detail: str
    row: JsonObject
    """The whole rejected row."""


class ProbeResult(Record):
    """Greedy answer of M_j on one sample (GCP, method section 4)."""

    sample_id: str
    output: str
    """The raw decoded text, special tokens removed."""
    matched: bool
    """Strict match with the label (`looptool.calls`)."""
    relaxed: bool
    """The recorded-only lenient verdict."""
    called: bool
    """Whether the answer holds at least one well-formed call."""
    parse_error: str = ""
    mismatch: str = ""
    """Path and reason of the first difference; empty when matched."""
    tokens: int
    """Number of generated tokens."""
    truncated: bool = False
    """Generation ended at the token limit."""
    ppl_output: float | None
    """exp of the mean negative log-probability of the generated tokens; >= 1."""
    ppl_call: float | None = None
    """The same over the tokens of `<tool_call>` blocks alone; None without calls."""
    ppl_label: float | None = None
    """The same over the label rendered as an answer; None when not asked for."""
    pass_rate: float | None = None
    """Share of right rollouts in training, 0..1; None when unknown."""
    failure: str = ""
    """Typed infrastructure failure; when set, nothing else here may be used."""


Verdict4 = Literal["PRED_WRONG", "LABEL_WRONG", "BOTH_CORRECT", "BOTH_WRONG"]


class Vote(Record):
    """One reply of one judge for one order of the two answers."""

    model: str
    label_first: bool
    verdict: Verdict4 | Literal["unreadable"]
    error_type: str = ""
    error_analysis: str = ""
    right_approach: str = ""


class Judgement(Record):
    """What the judge found about one mismatch (JGLV, method section 5)."""

    sample_id: str
    verdict: Verdict4 | Literal["unjudged"]
    votes: tuple[Vote, ...]
    predicted: Label
    """The policy's answer that was compared with the label."""
    error_type: str = ""
    error_analysis: str = ""
    right_approach: str = ""
    new_label: Label | None = None
    """The label that replaces the old one; None when nothing is replaced."""
    proposed_label: Label | None = None
    """What would replace the label by the verdict LABEL_WRONG, once it has passed the rule checks;
    withheld where `new_label` is None."""
    marked: bool = False
    """The prediction matches the label by the relaxed rule alone: they may differ in writing only."""
    sound: bool = True
    """Whether the prediction passes the rule checks; one that does not cannot be right."""
    note: str = ""
    """Why a replacement was withheld, or why it is unjudged."""


class Planted(Record):
    """A pair whose verdict was known before the judge saw it; it measures the judge, never the data."""

    sample_id: str
    """Of the pair; no dataset holds it."""
    source_id: str
    """The sample of D_j that it was made from."""
    truth: Verdict4
    label_change: str
    """What was done to the label: a name of `looptool.judge.corrupt`, `reworded`, or empty."""
    predicted_change: str
    """What was done to the right answer to make the prediction; empty if nothing."""
    label: Label
    predicted: Label
    verdict: Verdict4 | Literal["unjudged"]
    votes: tuple[Vote, ...]
    note: str = ""
    """Why it is unjudged."""


class Retracted(Record):
    """What the retractions of a campaign change in the inputs of one merge; empty where nothing."""

    samples: dict[str, str] = {}
    """Samples that are left out, with why: `named`, or `descendant_of <id>`."""
    unchanged: tuple[str, ...] = ()
    """Samples of D_j whose correction is left out: they go on with the label that they have."""
    restored: tuple[str, ...] = ()
    """Samples of earlier datasets that come back in place of their retracted corrections in D_j."""

    @property
    def digest(self) -> str:
        """Digest of what is changed, not of who asked for it, when and in what words."""
        return content_id("x", self.model_dump(mode="json"))


class StepMetrics(Record):
    """One optimiser step of GRPO."""

    step: int
    loss: float
    reward_mean: float
    reward_std: float
    zero_variance_rate: float
    """Share of groups whose rollouts all got the same reward: they carry no signal."""
    response_tokens_mean: float
    truncated_rate: float
    entropy: float | None = None
    seconds: float
    clip_rate: float | None = None
    """Share of tokens whose probability ratio was clipped."""
    parse_error_rate: float | None = None
    """Share of rollouts that cannot be read as an answer."""
    pass_any_rate: float | None = None
    """Share of groups with at least one right rollout (pass@k, k the group size)."""
    masked: int = 0
    """Rollouts left out of the batch because they failed for infrastructure reasons."""


class RolloutStat(Record):
    """Rollouts of one sample over its last epoch: a free measure of difficulty."""

    sample_id: str
    rollouts: int
    passed: int
    parse_errors: int


class Score(Record):
    """Accuracy of one checkpoint on one slice of the held-out set."""

    iteration: int
    slice: str
    """`all`, `seen`, `unseen`, `relevance`, `irrelevance`, `kind:<kind>`, or `seen/kind:<kind>` …"""
    n: int
    correct: int
    accuracy: float
    low: float
    """Lower end of the 95% Wilson interval."""
    high: float


BenchmarkName = Literal["bfcl_v3", "bfcl_v4", "acebench"]
BENCHMARKS: tuple[BenchmarkName, ...] = get_args(BenchmarkName)
"""Published benchmarks that a policy can be measured on; each is a stage of that name."""


class BenchmarkItem(Record):
    """One item of a published benchmark: the policy's answer and what two rules say of it."""

    benchmark: BenchmarkName
    category: str
    item_id: str
    official: bool | None
    """The benchmark's own verdict; null where the request failed."""
    strict: bool | None
    """The verdict of our matching rule; null where the request failed, or where it cannot be said."""
    called: bool
    """Whether the answer holds a call."""
    error: str = ""
    """Why there is no answer: a failed request counts as neither right nor wrong."""
    official_note: str = ""
    """The benchmark's kind of error."""
    strict_note: str = ""
    """What our rule objects to, or why it cannot decide."""
    answer: str
    """As the benchmark's harness keeps it: text, or JSON text of the calls."""


class BenchmarkScore(Record):
    """Accuracy on one category of a published benchmark, by both rules."""

    benchmark: BenchmarkName
    version: str
    """Of the harness, or the commit of the clone."""
    category: str
    n: int
    """Items asked."""
    available: int
    """Items that the category has."""
    errors: int
    """Of them, failed requests; they are in none of the rates below."""
    official: float | None
    """Share that the benchmark calls right."""
    official_low: float | None
    """Lower end of the 95% Wilson interval."""
    official_high: float | None
    reported: float | None
    """The accuracy that the harness itself prints: failed requests are in it, mostly as wrong."""
    decided: int
    """Items on which our rule has a verdict."""
    strict: float | None
    """Share of them that our rule calls right."""
    strict_low: float | None
    """Lower end of the 95% Wilson interval."""
    strict_high: float | None
    only_official: int
    """Items that are right officially and wrong by our rule."""
    only_strict: int
    """Items that are right by our rule and wrong officially."""


class SliceChange(Record):
    """How one slice of the held-out set changed between two policies that answered the same samples."""

    slice: str
    n: int
    lost: int
    """Samples that only the earlier policy answered right."""
    won: int
    """Samples that only the later one answered right."""
    p_fall: float
    """Probability that an equally good policy loses at least so many of those that differ."""

    @property
    def points(self) -> float:
        """Change of the accuracy, percentage points."""
        return 100 * (self.won - self.lost) / max(1, self.n)


class Promotion(Record):
    """Whether a policy became the one that the next round starts from."""

    promoted: bool
    against: int
    """Iteration of the best policy before it; 0 is the base model."""
    changes: tuple[SliceChange, ...]
    reason: str
    """Which slices fell significantly; empty if none."""


def as_mapping(value: object) -> Mapping[str, Any]:
    """The value as a JSON object, or an empty one: for reading untrusted replies."""
    return value if isinstance(value, Mapping) else {}
