"""The teacher reviews conversations step by step (method, section 2: fit, consistency, intent).

Samples of one dialogue share most of their messages, so the longest of them is reviewed once and
its verdicts serve the shorter ones whose context and label it repeats. A step that the reviewer did
not judge is `unreviewed`: silence is never a pass.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from looptool.chat import Teacher, gather_bounded
from looptool.chat.outage import raise_if_down
from looptool.errors import TeacherError, shorten
from looptool.prompts import render
from looptool.records import (
    AssistantMessage,
    Dialogue,
    Label,
    Message,
    Sample,
    ToolSpec,
    messages_as_openai,
)
from looptool.validate.calls import Violation

REVIEW_RULES = (
    "review_contextual_fit",
    "review_logical_consistency",
    "review_intent",
    "unreviewed",
)
"""What a review can reject a row for."""

STAGE = "validate"


class StepReview(BaseModel):
    """The reviewer's word on one assistant message."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    index: int
    contextual_fit: bool
    logical_consistency: bool
    intent: bool
    reason: str = ""

    def failed_rules(self) -> list[str]:
        """The rules that the step fails, in the order of `REVIEW_RULES`."""
        passed = (self.contextual_fit, self.logical_consistency, self.intent)
        return [rule for rule, ok in zip(REVIEW_RULES, passed, strict=False) if not ok]


class ReviewReply(BaseModel):
    """The JSON object that the prompt `validate_review` asks for."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    steps: list[StepReview]


@dataclass(frozen=True, slots=True)
class Conversation:
    """One thing to review: messages up to and with the assistant's last."""

    tools: tuple[ToolSpec, ...]
    messages: tuple[Message, ...]
    date: str

    def covers(self, sample: Sample) -> bool:
        """Whether the sample's context and label are the beginning of this conversation."""
        length = len(sample.messages)
        return (
            length < len(self.messages)
            and self.date == sample.date
            and [t.tool_id for t in self.tools] == [t.tool_id for t in sample.tools]
            and self.messages[:length] == sample.messages
            and self.messages[length] == as_message(sample.label)
        )


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What came back for one conversation."""

    steps: Mapping[int, tuple[StepReview, ...]]
    """By index of the message; a reviewer may judge a step twice, and then both count."""
    trouble: str = ""
    """Why there is no readable review."""

    def judge(self, steps: Iterable[int]) -> Violation | None:
        """The first failed step, else the first that nobody judged, else None."""
        missing: list[int] = []
        for index in steps:
            if index not in self.steps:
                missing.append(index)
            for review in self.steps.get(index, ()):
                if rules := review.failed_rules():
                    return Violation(rules[0], f"messages[{index}]", shorten(review.reason, 300))
        if not missing:
            return None
        detail = self.trouble or "the review leaves this step out"
        return Violation("unreviewed", f"messages[{missing[0]}]", detail)


def as_message(label: Label) -> AssistantMessage:
    """The label as the assistant's next message."""
    return AssistantMessage(content=label.text, calls=label.calls)


async def review_samples(
    samples: Sequence[Sample], teacher: Teacher
) -> tuple[list[Violation | None], int]:
    """What the review found against each sample, in order, and how many conversations it read.

    A sample fails with its own step or with an earlier one of its context.
    """
    conversations, place = group_conversations(samples)
    verdicts = await _review_all(conversations, teacher)
    found = [
        verdicts[place[number]].judge([*_assistant_steps(sample.messages), len(sample.messages)])
        for number, sample in enumerate(samples)
    ]
    return found, len(conversations)


async def review_dialogues(
    dialogues: Sequence[Dialogue], teacher: Teacher
) -> list[Violation | None]:
    """What the review found against each dialogue, in their order."""
    conversations = [Conversation(d.tools, d.messages, d.date) for d in dialogues]
    verdicts = await _review_all(conversations, teacher)
    return [
        verdict.judge(_assistant_steps(dialogue.messages))
        for verdict, dialogue in zip(verdicts, dialogues, strict=True)
    ]


def group_conversations(samples: Sequence[Sample]) -> tuple[list[Conversation], list[int]]:
    """The conversations to review, and for each sample the position of the one that covers it."""
    members: dict[str, list[int]] = defaultdict(list)
    for number, sample in enumerate(samples):
        members[sample.dialogue_id].append(number)
    conversations: list[Conversation] = []
    place = [-1] * len(samples)
    for numbers in members.values():
        start = len(conversations)
        for number in sorted(numbers, key=lambda n: (-len(samples[n].messages), n)):
            sample = samples[number]
            known = range(start, len(conversations))
            place[number] = next((k for k in known if conversations[k].covers(sample)), -1)
            if place[number] < 0:
                place[number] = len(conversations)
                messages = (*sample.messages, as_message(sample.label))
                conversations.append(Conversation(sample.tools, messages, sample.date))
    return conversations, place


def _assistant_steps(messages: Sequence[Message]) -> list[int]:
    return [n for n, message in enumerate(messages) if isinstance(message, AssistantMessage)]


async def _review_all(conversations: Sequence[Conversation], teacher: Teacher) -> list[Verdicts]:
    found = await gather_bounded([_review(c, teacher) for c in conversations])
    raise_if_down([error for _, error in found if error], len(found))
    return [verdicts for verdicts, _ in found]


async def _review(
    conversation: Conversation, teacher: Teacher
) -> tuple[Verdicts, TeacherError | None]:
    messages = render(
        "validate_review",
        tools=[tool.as_openai() for tool in conversation.tools],
        conversation=messages_as_openai(conversation.messages),
        date=conversation.date,
    )
    try:
        reply = await teacher.ask(messages, reply=ReviewReply, stage=STAGE, temperature=0.0, seed=0)
    except TeacherError as error:
        return Verdicts({}, f"no readable review: {shorten(error, 300)}"), error
    steps: dict[int, list[StepReview]] = defaultdict(list)
    for step in reply.steps:
        steps[step.index].append(step)
    return Verdicts({index: tuple(reviews) for index, reviews in steps.items()}), None
