"""What the teacher cost: requests, tokens, money and failures of one stage."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class StageUsage:
    """Running totals of one stage; a failed attempt that was answered is paid as well."""

    requests: int = 0
    """Attempts sent to the endpoint."""
    answers: int = 0
    """Replies that were accepted."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: int = 0
    """Replies without usage figures: their tokens are estimated from the text."""
    cost_usd: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)
    """Failed attempts by type: rate_limited, server_error, timeout, connection, malformed,
    refused."""

    def count_failure(self, kind: str) -> None:
        """Adds one failed attempt."""
        self.failures[kind] = self.failures.get(kind, 0) + 1

    def add(self, other: "StageUsage") -> None:
        """Adds the totals of another stage or process."""
        self.requests += other.requests
        self.answers += other.answers
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.estimated += other.estimated
        self.cost_usd += other.cost_usd
        for kind, count in other.failures.items():
            self.failures[kind] = self.failures.get(kind, 0) + count

    def as_json(self) -> dict[str, Any]:
        """The totals as a JSON object, for manifests."""
        return asdict(self)
