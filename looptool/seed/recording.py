"""Calls of real tools with their answers, one JSON line each, so that a run can be repeated
without the server.

A line is written before the answer is used, and a line that was cut by a kill is dropped when the
file is opened again: repeating a run repeats at most the calls that were in flight.
"""

from collections import defaultdict
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from looptool.errors import ConfigError, shorten
from looptool.records import JsonObject, canonical_json


def question_of(server: str, tool: str, arguments: JsonObject) -> str:
    """The key under which equal calls are found."""
    return canonical_json([server, tool, arguments])


class RecordedCall(BaseModel):
    """One call of a dialogue and what the server answered."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dialogue: str
    """The nonce of the dialogue."""
    number: int
    """How often the dialogue had made the very same call before."""
    server: str
    tool: str
    """As the server names it."""
    arguments: JsonObject
    content: str
    """JSON text of the result."""
    failed: bool

    @property
    def question(self) -> str:
        """What was asked, whoever asked it."""
        return question_of(self.server, self.tool, self.arguments)

    @property
    def key(self) -> tuple[str, int, str]:
        """The place of the call in the run."""
        return self.dialogue, self.number, self.question


class Recording:
    """The recorded calls of one file; it is created with the first call."""

    def __init__(self, path: str | Path) -> None:
        """Reads what is there; raises ConfigError for a file that is no recording."""
        self.path = Path(path)
        self._calls: dict[tuple[str, int, str], RecordedCall] = {}
        self._asked: dict[str, list[RecordedCall]] = defaultdict(list)
        self._cut_at: int | None = None
        for call in self._read():
            self._take(call)

    def __len__(self) -> int:
        return len(self._calls)

    def find(self, dialogue: str, number: int, question: str) -> RecordedCall | None:
        """The answer to this call of this dialogue."""
        return self._calls.get((dialogue, number, question))

    def find_elsewhere(self, number: int, question: str) -> RecordedCall | None:
        """The answer that another dialogue got: for a replay whose dialogues are not the same."""
        answers = self._asked.get(question)
        return answers[min(number, len(answers) - 1)] if answers else None

    def add(self, call: RecordedCall) -> None:
        """Writes the call down; raises ConfigError where that is impossible."""
        line = call.model_dump_json() + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                if self._cut_at is not None:
                    file.truncate(self._cut_at)
                    self._cut_at = None
                file.write(line.encode("utf-8"))
        except OSError as exc:
            raise ConfigError(
                f"seed.tool_backend.recording = {self.path} cannot be written ({exc.strerror})"
            ) from exc
        self._take(call)

    def _take(self, call: RecordedCall) -> None:
        self._calls[call.key] = call
        self._asked[call.question].append(call)

    def _read(self) -> list[RecordedCall]:
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise ConfigError(
                f"seed.tool_backend.recording = {self.path} cannot be read ({exc.strerror})"
            ) from exc
        whole = raw.rfind(b"\n") + 1
        self._cut_at = whole if whole < len(raw) else None
        lines = raw[:whole].split(b"\n")[:-1]
        return [self._parse(line, number) for number, line in enumerate(lines, 1)]

    def _parse(self, line: bytes, number: int) -> RecordedCall:
        try:
            return RecordedCall.model_validate_json(line)
        except ValidationError as exc:
            problem = exc.errors(include_url=False)[0]
            raise ConfigError(
                f"{self.path}, line {number}, is no recorded call: {shorten(problem['msg'])}"
            ) from exc
