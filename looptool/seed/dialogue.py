"""One conversation, played from its plan by the four roles (method, section 2).

An assistant turn on which the teacher disagrees with itself is marked and ends the conversation:
what would follow rests on a step that may be wrong, and what came before is still good.
"""

from random import Random

from looptool.errors import TeacherError
from looptool.records import (
    AssistantMessage,
    Dialogue,
    Message,
    Split,
    ToolMessage,
    UserMessage,
    content_id,
)
from looptool.seed.agents import Need, Scene, same_answer
from looptool.seed.backends import ToolDesk

MAX_STEPS = 4
"""Assistant messages in one user turn, at most."""


class Conversation:
    """The conversation so far; `play` runs it to its end."""

    def __init__(self, scene: Scene, rng: Random, *, twice: bool, max_messages: int) -> None:
        self.scene = scene
        self.messages: list[Message] = []
        self.marked: list[int] = []
        self.needs: tuple[Need, ...] = ()
        self._specs = [tool.as_openai() for tool in scene.tools]
        self._twice = twice
        self._max_messages = max_messages
        self._desk = ToolDesk(scene, rng)

    async def play(self) -> None:
        """Plans, and goes through the needs one after the other; raises TeacherError,
        DataError and ConfigError."""
        self.needs = await self.scene.plan()
        for need in self.needs:
            if self.marked or len(self.messages) + 4 > self._max_messages:
                return
            await self._play_turn(need)

    async def _play_turn(self, need: Need) -> None:
        self.messages.append(UserMessage(content=await self.scene.speak(need, self.messages)))
        withheld = need.withheld if need.type == "clarify" else ""
        for _ in range(MAX_STEPS):
            answer = await self._decide()
            self.messages.append(answer)
            if self.marked:
                return
            if answer.calls:
                await self._run_tools(answer)
            elif withheld and isinstance(self.messages[-2], UserMessage):
                said = await self.scene.speak(need, self.messages)
                self.messages.append(UserMessage(content=said))
                withheld = ""
            else:
                return
        # The last result stays unanswered: a loop of calls, which no sample should teach to end.

    async def _decide(self) -> AssistantMessage:
        """The assistant's answer; marked when no two of three agree."""
        first = await self.scene.answer(self.messages, draw=0)
        if not self._twice:
            return first
        second = await self.scene.answer(self.messages, draw=1)
        if same_answer(first, second, self._specs):
            return first
        third = await self.scene.answer(self.messages, draw=2)
        for candidate in (first, second):
            if same_answer(candidate, third, self._specs):
                return candidate
        self.marked.append(len(self.messages))
        return first

    async def _run_tools(self, answer: AssistantMessage) -> None:
        for call in answer.calls:
            content = await self._desk.answer(call, self.messages)
            self.messages.append(ToolMessage(name=call.name, content=content))

    def as_dialogue(self, split: Split) -> Dialogue:
        """The record of the conversation, its id made from its content."""
        scene = self.scene
        messages = [message.model_dump(mode="json") for message in self.messages]
        tools = [tool.tool_id for tool in scene.tools]
        return Dialogue(
            dialogue_id=content_id("d", tools, messages, scene.kind, split),
            kind=scene.kind,
            split=split,
            language=scene.language,
            persona=scene.persona,
            style=scene.style,
            date=scene.date,
            tools=scene.tools,
            messages=tuple(self.messages),
            marked_turns=tuple(self.marked),
        )


def name_of_failure(error: TeacherError) -> str:
    """The rule under which a failed dialogue is recorded: `teacher_unavailable`, …"""
    word = type(error).__name__.removeprefix("Teacher").lower()
    return f"teacher_{word}"
