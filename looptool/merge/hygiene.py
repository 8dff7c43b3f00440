"""What may not enter a dataset: held-out contexts, repetitions, and overlaps with benchmarks."""

import hashlib
import math
from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from looptool.config import MergeConfig
from looptool.merge.keys import Facts
from looptool.merge.near import NearIndex, Sketches
from looptool.ngrams import U64
from looptool.records import canonical_json
from looptool.schema import table_of

FATES_A_BATCH = 100_000
HELDOUT, MEMBER = 1, 2
Rows = NDArray[np.int64]


@dataclass(slots=True)
class Ledger:
    """The fate of every sample that was looked at, in the order of the decisions."""

    rows: "array[int]" = field(default_factory=lambda: array("q"))
    _codes: "array[int]" = field(default_factory=lambda: array("l"))
    _others: "array[int]" = field(default_factory=lambda: array("q"))
    _scores: "array[float]" = field(default_factory=lambda: array("f"))
    _texts: dict[tuple[str, str], int] = field(default_factory=dict)

    def record(self, row: int, fate: str, reason: str, other: int = -1, score: float = 0.0) -> None:
        """Writes down what became of a row; `{other}` and `{score}` in the reason are filled in."""
        self.rows.append(row)
        self._codes.append(self._texts.setdefault((fate, reason), len(self._texts)))
        self._others.append(other)
        self._scores.append(score)

    def count_left(self) -> dict[str, int]:
        """Samples that did not go on, by fate and the first word of the reason."""
        names = list(self._texts)
        counts: Counter[str] = Counter()
        for code, number in Counter(self._codes).items():
            fate, reason = names[code]
            if fate != "kept":
                counts[f"{fate}: {_short_reason(fate, reason)}"] += number
        return dict(sorted(counts.items()))

    def tables(self, ids: pa.ChunkedArray) -> Iterator[pa.Table]:
        """The fates as tables of kind `fates`, in order."""
        schema, names = table_of("fates").arrow, list(self._texts)
        for start in range(0, len(self.rows), FATES_A_BATCH) or [0]:
            part = slice(start, start + FATES_A_BATCH)
            others = np.array(self._others[part], np.int64)
            named = pc.take(ids, pa.array(others, mask=others < 0)).to_pylist()
            codes, scores = self._codes[part], self._scores[part]
            reasons = [
                names[code][1].format(other=other, score=f"{score:.3f}")
                if other
                else names[code][1]
                for code, other, score in zip(codes, named, scores, strict=True)
            ]
            columns = [
                pc.take(ids, pa.array(self.rows[part], pa.int64())).cast(pa.string()),
                pa.array([names[code][0] for code in codes], pa.string()),
                pa.array(reasons, pa.string()),
            ]
            yield pa.table(columns, schema=schema)


def _short_reason(fate: str, reason: str) -> str:
    """The reason without the id of the other sample in it."""
    if fate != "duplicate":
        return reason.split(" ", maxsplit=1)[0].rstrip(",")
    earlier = "earlier round" if "earlier round" in reason else ""
    if reason.startswith("near"):
        return f"near {earlier}".rstrip()
    return earlier or "same content"


class Quota:
    """Places for samples that call and for those that do not.

    Both the lower and the upper bound of the share without calls are upper bounds here: what calls
    must leave the lower one free, as far as there are samples for it.
    """

    def __init__(self, config: MergeConfig, without: int) -> None:
        size = config.dataset_size
        self._left = {
            True: size - min(math.ceil(size * config.no_call_rate_min), without),
            False: math.floor(size * config.no_call_rate_max),
        }

    def has_room(self, calls: bool) -> bool:
        """Whether one more of its sort fits."""
        return self._left[calls] > 0

    def take(self, calls: bool) -> None:
        """Gives one of the places away."""
        self._left[calls] -= 1


class Gate:
    """Lets each sample in once, and none that is held out, repeated or part of a benchmark."""

    def __init__(
        self,
        facts: Facts,
        ledger: Ledger,
        sketches: Sketches | None = None,
        contaminated: Mapping[int, str] | None = None,
    ) -> None:
        self._facts = facts
        self._ledger = ledger
        self._contaminated = contaminated or {}
        self._standing = standing(facts).data
        idents = np.unique(facts.column("id"), return_inverse=True)[1].astype(np.int32)
        contents = np.unique(facts.column("content"), return_inverse=True)[1].astype(np.int32)
        self._ident = idents.data
        self._content = contents.data
        self._calls = facts.column("calls").data
        self._context = facts.column("context")
        self._seen = bytearray(int(idents.max(initial=-1)) + 1)
        self._admitted = _nobody(contents).data
        self._heldout: dict[int, int] = {}
        for row in facts.spans.get("heldout", ()):
            self._heldout[int(self._context[row])] = row
        earlier = _nobody(contents)
        rows = facts.rows_of("earlier", "current")[::-1]
        earlier[contents[rows]] = rows  # of several rows the first one stays
        self._earlier = earlier.data
        self._near = _Near(facts, sketches) if sketches is not None else None

    def admit(self, rows: Rows, count: int, reason: str, quota: Quota) -> Rows:
        """The first `count` that may enter, with their fates; those after them are not looked at.

        A sample that was looked at before, or for whose sort the quota is used up, is passed over.
        """
        entered = array("q")
        for row in rows.tolist():
            if len(entered) >= count:
                break
            if quota.has_room(self._calls[row]) and self._may_enter(row):
                entered.append(row)
                quota.take(self._calls[row])
                self._ledger.record(row, "kept", reason)
        return np.array(entered, np.int64)

    def has_looked_at(self, row: int) -> bool:
        """Whether a sample with this id was decided on."""
        return bool(self._seen[self._ident[row]])

    def _may_enter(self, row: int) -> bool:
        ident = self._ident[row]
        if self._seen[ident]:
            return False
        self._seen[ident] = 1
        refused = self._find_reason(row)
        if refused is not None:
            self._ledger.record(row, *refused)
            return False
        self._admitted[self._content[row]] = row
        if self._near is not None:
            self._near.admit(row)
        return True

    def _find_reason(self, row: int) -> tuple[str, str, int, float] | None:
        """Why the row may not enter: fate, reason, the other row and the similarity."""
        twin = self._heldout.get(int(self._context[row]))
        if twin is not None:
            return "dropped", "heldout_context of {other}", twin, 1.0
        twin = self._admitted[self._content[row]]
        if twin >= 0:
            return "duplicate", "of {other}", twin, 1.0
        # A sample that stays from D_j is no repetition of itself.
        twin = self._earlier[self._content[row]]
        if twin >= 0 and self._standing[row] != MEMBER:
            return "duplicate", "of {other} in an earlier round", twin, 1.0
        if row in self._contaminated:
            return "dropped", f"contaminated, {_braces(self._contaminated[row])}", -1, 0.0
        if self._near is not None:
            return self._near.find_reason(row)
        return None


class _Near:
    """Which rows count as near duplicates of which."""

    def __init__(self, facts: Facts, sketches: Sketches) -> None:
        self._sketches = sketches
        self._index = NearIndex(sketches)
        self._dialogue, self._decision = facts.column("dialogue"), facts.column("decision")
        self._standing = standing(facts).data
        self._known = bytearray(facts.size)
        self._admitted = bytearray(facts.size)
        rows = facts.rows_of("heldout", "earlier", "current")
        for row in rows[sketches.company[rows]].tolist():
            self._add(row)

    def _add(self, row: int) -> None:
        if not self._known[row] and self._sketches.company[row]:
            self._known[row] = 1
            self._index.add(row)

    def admit(self, row: int) -> None:
        """From now on the row is part of the new dataset."""
        self._add(row)
        self._admitted[row] = 1

    def find_reason(self, row: int) -> tuple[str, str, int, float] | None:
        """The first row that this one nearly repeats; a member of D_j only repeats what is in already."""
        if not self._sketches.company[row]:
            return None
        for other in self._index.candidates(row):
            if not self._competes(row, other) or not self._sketches.may_be_near(row, other):
                continue
            score = self._sketches.compare(row, other)
            if score < self._sketches.similarity:
                continue
            if self._standing[other] == HELDOUT:
                return "dropped", "near_heldout_context of {other}, {score}", other, score
            where = "" if self._admitted[other] else " in an earlier round"
            return "duplicate", f"near {{other}}{where}, {{score}}", other, score
        return None

    def _competes(self, row: int, other: int) -> bool:
        if self._standing[other] == HELDOUT:
            return True
        if other == row or self._dialogue[row] == self._dialogue[other]:
            return False
        if self._decision[row] != self._decision[other]:
            return False
        return self._standing[row] != MEMBER or bool(self._admitted[other])


def standing(facts: Facts) -> NDArray[np.uint8]:
    """What each row is: HELDOUT, MEMBER (of D_j, corrected or not, or waiting since it was), or neither."""
    flags = np.zeros(facts.size, np.uint8)
    flags[facts.rows_of("heldout")] = HELDOUT
    flags[facts.rows_of("current", "corrected")] = MEMBER
    ids, waiting = facts.column("id"), facts.rows_of("waiting")
    known = ids[facts.rows_of("earlier", "current")]
    flags[waiting[np.isin(ids[waiting], known)]] = MEMBER
    return flags


def _nobody(contents: NDArray[np.int32]) -> Rows:
    return np.full(int(contents.max(initial=-1)) + 1, -1, np.int64)


def _braces(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def draw_all(random_seed: int, parts: Sequence[object], ids: Collection[str]) -> U64:
    """The first 64 bits of `draw(random_seed, *parts, id)` for many ids."""
    start = canonical_json([random_seed, *parts])[:-1] + ","
    texts = (f"{start}{encode_basestring(name)}]".encode() for name in ids)
    digests = b"".join(hashlib.sha256(text).digest()[:8] for text in texts)
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def shuffle_rows(facts: Facts, rows: Rows, random_seed: int, *parts: object) -> Rows:
    """The rows in drawn order."""
    ids, keys = facts.ids(), [np.zeros(0, np.uint64)]
    for start in range(0, len(rows), FATES_A_BATCH):
        some = pc.take(ids, pa.array(rows[start : start + FATES_A_BATCH]))
        keys.append(draw_all(random_seed, parts, some.to_pylist()))
    return rows[np.argsort(np.concatenate(keys), kind="stable")]
