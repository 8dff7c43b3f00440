"""The four roles of a simulated conversation, each a prompt and the shape of its reply.

Planner, user, assistant and tool are the same endpoint under different prompts
(`prompts/seed_*.j2`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from looptool.calls import calls_match
from looptool.chat import Teacher
from looptool.config import FaultConfig, ToolBackendConfig
from looptool.prompts import render
from looptool.records import (
    AssistantMessage,
    JsonObject,
    Kind,
    Message,
    ToolCall,
    ToolSpec,
    canonical_json,
    messages_as_openai,
)
from looptool.seed.people import People, load_people

if TYPE_CHECKING:
    from looptool.seed.backends import ToolServers

STAGE = "seed"
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
NeedType = Literal["single", "parallel", "multi_step", "clarify", "no_tool"]


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Need(_Reply):
    """One thing that the user wants."""

    type: NeedType
    request: Words
    withheld: str = ""


class PlanReply(_Reply):
    """What the planner answers."""

    needs: tuple[Need, ...] = Field(min_length=1)


class UserReply(_Reply):
    """What the user says."""

    content: Words


class CallReply(_Reply):
    """One call of the assistant."""

    name: str = Field(min_length=1)
    arguments: dict[str, Any] = Field(default_factory=dict)


class AssistantReply(_Reply):
    """What the assistant answers: text, calls, or both, but not nothing."""

    content: str = ""
    tool_calls: tuple[CallReply, ...] = ()

    @model_validator(mode="after")
    def _says_something(self) -> "AssistantReply":
        if not self.tool_calls and not self.content.strip():
            raise ValueError("the answer has neither text nor calls")
        return self

    def as_message(self) -> AssistantMessage:
        """The answer as a message of the conversation."""
        calls = tuple(ToolCall(name=c.name, arguments=c.arguments) for c in self.tool_calls)
        return AssistantMessage(content=self.content.strip(), calls=calls)


class ToolReply(_Reply):
    """What a tool answers."""

    result: Any = None
    error: str | None = None

    @model_validator(mode="after")
    def _answers(self) -> "ToolReply":
        if not self.error and "result" not in self.model_fields_set:
            raise ValueError("the answer has neither a result nor an error")
        return self

    def as_json(self) -> str:
        """The content of the tool's message."""
        return canonical_json({"error": self.error} if self.error else self.result)


R = TypeVar("R", bound=_Reply)


def spec_with_result(tool: ToolSpec) -> JsonObject:
    """The tool in the OpenAI shape, with `returns` where its result is known: for planner and
    tool."""
    spec = tool.as_openai()
    if tool.output:
        spec["function"]["returns"] = tool.output
    return spec


def same_answer(left: AssistantMessage, right: AssistantMessage, tools: list[JsonObject]) -> bool:
    """Whether two answers to one question agree: the same calls, or words from both.

    Words are not compared. Calls that are equal but break their schema agree as well: the rules of
    validation reject them later, with the reason.
    """
    first, second = ([c.model_dump() for c in m.calls] for m in (left, right))
    if not first or not second:
        return not first and not second
    return canonical_json(first) == canonical_json(second) or calls_match(first, second, tools)


@dataclass(frozen=True, slots=True)
class Scene:
    """What all roles of one dialogue know, and the teacher that plays them."""

    teacher: Teacher
    model: str
    kind: Kind
    tools: tuple[ToolSpec, ...]
    turns: int
    persona: str
    style: str
    language: str
    date: str
    nonce: str
    seed: int
    """Seeds of the single requests are drawn from it, so that a repeated run asks the same."""
    people: People = field(default_factory=load_people)
    """What the names of persona, style and language stand for."""
    faults: FaultConfig = field(default_factory=FaultConfig)
    tool_backend: ToolBackendConfig = field(default_factory=ToolBackendConfig)
    servers: "ToolServers | None" = None
    """Real servers that answer for their tools; None: the teacher plays all of them."""

    async def plan(self) -> tuple[Need, ...]:
        """The user's needs, as many as there are turns at most."""
        reply = await self._ask(
            "seed_plan",
            PlanReply,
            0,
            tools=[spec_with_result(tool) for tool in self.tools],
            kind=self.kind.value,
            turns=self.turns,
            persona=self.people.persona(self.persona),
            style=self.style,
            **self._language(),
            nonce=self.nonce,
        )
        return reply.needs[: self.turns]

    async def speak(self, need: Need, messages: Sequence[Message]) -> str:
        """The user's next message."""
        reply = await self._ask(
            "seed_user",
            UserReply,
            len(messages),
            need=need.model_dump(),
            conversation=messages_as_openai(messages),
            persona=self.people.persona(self.persona),
            style=self.style,
            style_notes=self.people.style(self.style),
            **self._language(),
        )
        return reply.content

    async def answer(self, messages: Sequence[Message], *, draw: int) -> AssistantMessage:
        """The assistant's next step; another `draw` is an independent opinion."""
        reply = await self._ask(
            "seed_assistant",
            AssistantReply,
            len(messages) + 101 * draw,
            tools=[tool.as_openai() for tool in self.tools],
            conversation=messages_as_openai(messages),
            **self._language(),
        )
        return reply.as_message()

    async def play_tool(
        self,
        tool: ToolSpec,
        call: ToolCall,
        messages: Sequence[Message],
        *,
        fault: str = "",
        attempt: int = 0,
        problem: str = "",
    ) -> ToolReply:
        """What the tool answers to a call; a later `attempt` hears what was wrong before."""
        return await self._ask(
            "seed_tool",
            ToolReply,
            len(messages) + 10_007 * attempt,
            tool=spec_with_result(tool),
            call=call.model_dump(),
            conversation=messages_as_openai(messages),
            fault=fault,
            problem=problem,
        )

    def _language(self) -> JsonObject:
        """What the prompts say about the language."""
        spoken = self.people.language(self.language)
        return {
            "language": spoken.code,
            "language_name": spoken.name,
            "language_notes": spoken.notes,
        }

    async def _ask(self, prompt: str, reply: type[R], step: int, **variables: Any) -> R:
        return await self.teacher.ask(
            render(prompt, date=self.date, **variables),
            reply=reply,
            stage=STAGE,
            model=self.model or None,
            seed=(self.seed + step) % 2**31,
        )
