"""What may not enter a dataset: held-out samples, their contexts, and repetitions."""

import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from looptool.config import MergeConfig
from looptool.errors import DataError
from looptool.records import (
    AssistantMessage,
    Message,
    Sample,
    Split,
    ToolCall,
    ToolMessage,
    canonical_json,
)
from looptool.schema import Fate


class Ledger:
    """The fate of every sample that was looked at, in the order of the decisions."""

    def __init__(self) -> None:
        self.fates: list[Fate] = []

    def record(self, sample: Sample, fate: str, reason: str) -> None:
        """Writes down what became of the sample."""
        self.fates.append(Fate(sample_id=sample.sample_id, fate=fate, reason=reason))


class Quota:
    """Places for samples that call and for those that do not.

    Both the lower and the upper bound of the share without calls are upper bounds here: what calls
    must leave the lower one free, as far as there are samples for it.
    """

    def __init__(self, config: MergeConfig, offered: Iterable[Sample]) -> None:
        size = config.dataset_size
        without = sum(not sample.label.calls for sample in offered)
        self._left = {
            True: size - min(math.ceil(size * config.no_call_rate_min), without),
            False: math.floor(size * config.no_call_rate_max),
        }

    def has_room(self, sample: Sample) -> bool:
        """Whether one more of its sort fits."""
        return self._left[bool(sample.label.calls)] > 0

    def take(self, sample: Sample) -> None:
        """Gives one of the places away."""
        self._left[bool(sample.label.calls)] -= 1


class Gate:
    """Lets each sample in once, and none whose context is a held-out one."""

    def __init__(self, heldout: Iterable[Sample], ledger: Ledger) -> None:
        self._heldout = {hash_context(sample.messages): sample.sample_id for sample in heldout}
        self._admitted: dict[str, str] = {}
        self._seen: set[str] = set()
        self._ledger = ledger

    def admit(
        self, samples: Iterable[Sample], count: int, reason: str, quota: Quota
    ) -> list[Sample]:
        """The first `count` that may enter, with their fates; those after them are not looked at.

        A sample that was looked at before, or for whose sort the quota is used up, is passed over.
        """
        entered: list[Sample] = []
        for sample in samples:
            if len(entered) >= count:
                break
            if quota.has_room(sample) and self._may_enter(sample):
                entered.append(sample)
                quota.take(sample)
                self._ledger.record(sample, "kept", reason)
        return entered

    def _may_enter(self, sample: Sample) -> bool:
        if sample.sample_id in self._seen:
            return False
        self._seen.add(sample.sample_id)
        twin = self._heldout.get(hash_context(sample.messages))
        if twin is not None:
            self._ledger.record(sample, "dropped", f"heldout_context of {twin}")
            return False
        key = _content_key(sample)
        if key in self._admitted:
            self._ledger.record(sample, "duplicate", f"of {self._admitted[key]}")
            return False
        self._admitted[key] = sample.sample_id
        return True


def require_training(samples: Iterable[Sample], what: str) -> None:
    """Raises DataError if a held-out sample is among them: these are never trained on."""
    for sample in samples:
        if sample.split is not Split.TRAIN:
            raise DataError(
                f"{what}: sample {sample.sample_id} belongs to {sample.split}; "
                "only training samples may be merged, so check the split of the seed stage"
            )


def hash_context(messages: Sequence[Message]) -> str:
    """Hash of what was said, blind to case, punctuation, blanks and the tools on offer."""
    parts: list[Any] = []
    for message in messages:
        parts.append([message.role, _plain(message.content)])
        if isinstance(message, AssistantMessage):
            parts.append(_sorted_calls(message.calls))
        elif isinstance(message, ToolMessage):
            parts.append(message.name)
    return hashlib.sha256(canonical_json(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _content_key(sample: Sample) -> str:
    """Same tools, context and calls; other words in a label without calls are no difference."""
    return canonical_json(
        [
            sorted(tool.tool_id for tool in sample.tools),
            [message.model_dump(mode="json") for message in sample.messages],
            _sorted_calls(sample.label.calls),
        ]
    )


def _sorted_calls(calls: Sequence[ToolCall]) -> list[str]:
    return sorted(canonical_json([call.name, call.arguments]) for call in calls)


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.sub(r"[\W_]+", " ", folded).split())


def draw(random_seed: int, *parts: object) -> str:
    """A key to sort by: random by the seed, and the same whatever the order of the rows."""
    return hashlib.sha256(canonical_json([random_seed, *parts]).encode()).hexdigest()
