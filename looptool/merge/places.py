"""The places of a dataset, and who is given them (method, section 7).

**Size rule.** Every D_j has `dataset_size` samples. Places are given in this order, each part at
most what is left: samples whose probe failed for infrastructure reasons (as they are); all error
seeds; the top `high_ppl_rate` of the mastered and both-correct samples; unused seeds by the round's
rate; expansions, one for each error seed in turn, then a second one, and so on. So too many
expansions are cut evenly over their seeds, and unused seeds, which can wait, give way before
anything that cannot. Places that stay empty are filled with further seeds of mixed outcome, then with
the next mastered samples by perplexity, then with other unused seeds; what is still missing is
reported as `short_by`. With `shares` each part has at most its share instead. Samples whose label
calls nothing have at most `no_call_rate_max` of the places, those that call at most what
`no_call_rate_min` leaves: the paper's models learn to abstain (relevance 77.8 -> 61.1). The order of
the result is a seeded shuffle, the same whatever the order of the input.

**Signal.** A group of rollouts that are all right or all wrong teaches nothing in GRPO. Seeds and
expansions that scouting (`looptool.scout`) found of mixed outcome come first in their part;
expansions that it found always right have no place, and such seeds only what nothing else fills. Of
what was not scouted, training tells: error seeds that no rollout solved, their expansions, and those
that scouting found never right come after the others of their part and have at most
`unsolved_rate_max` of the places together.

**Waiting.** Error seeds and expansions that find no place are not lost: a policy that never solves
them today may do so sometimes in a later round. They wait beside the dataset, `waiting_max` of them at
most, are scouted again, and enter after the new expansions once their outcome is mixed.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from looptool.config import MergeConfig
from looptool.merge.hygiene import Gate, Ledger, Quota, Rows, shuffle_rows
from looptool.merge.keys import ORIGINS, Facts
from looptool.merge.select import ALL_RIGHT, MIXED, NONE_RIGHT, UNKNOWN, Parts, count_selected
from looptool.merge.write import UNCHANGED
from looptool.records import Origin

Part = Literal["error_seeds", "expansions", "high_ppl", "new_seeds"]
"""What `merge.shares` can name."""


def deal_in_turn(facts: Facts, random_seed: int) -> Rows:
    """One expansion of each error seed, then a second one of each, …: cutting the end is fair."""
    rows = shuffle_rows(facts, facts.rows_of("expansions"), random_seed, "expansions")
    families = pl.DataFrame({"row": rows, "parent": facts.column("parent")[rows]})
    dealt = families.with_row_index("place").with_columns(
        turn=pl.int_range(pl.len()).over("parent"), family=pl.col("place").min().over("parent")
    )
    return dealt.sort("turn", "family")["row"].to_numpy().astype(np.int64)


class Builder:
    """Fills the places of a dataset part by part."""

    def __init__(
        self,
        config: MergeConfig,
        gate: Gate,
        facts: Facts,
        parts: Parts,
        outcomes: NDArray[np.int8],
        offered: Mapping[str, Rows],
    ) -> None:
        """`outcomes`: what scouting says of each row, as `find_outcomes` gives it."""
        self._config = config
        self._gate = gate
        self._facts = facts
        self._parts = parts
        self._outcomes = outcomes
        calls = facts.column("calls")
        without = sum(int((~calls[rows]).sum()) for rows in offered.values())
        self._quota = Quota(config, without)
        self.offered = {part: len(rows) for part, rows in offered.items()}
        self.places: dict[str, int] = {}
        self._taken: dict[str, Rows] = {}
        self.waiting = np.zeros(0, np.int64)
        """Rows that found no place and wait for a later round, the newest first."""
        self.origins = np.full(facts.size, UNCHANGED, np.uint8)
        """Code of the origin that each row enters with; UNCHANGED for its own."""

    def fill(self, new: Rows, grown: Rows, waiting: Rows, new_places: int) -> None:
        """Gives each part its places, in the order of the size rule."""
        parts, ids = self._parts, self._facts.column("id")
        without_signal = ids[parts.unsolved]
        unsolved = np.isin(ids[parts.errors], without_signal)
        seed, likely, unlikely = self._outcomes[new], *self._sort_grown(grown)
        few = round(self._config.unsolved_rate_max * self._config.dataset_size)
        self._set_origin(parts.errors, Origin.ERROR_SEED)
        self._set_origin(parts.ranked, Origin.HIGH_PPL)
        self._set_origin(new, Origin.SEED)

        self.add("untouched", parts.untouched)
        room = self._cap("error_seeds", None)
        room = _less(room, self.add("error_seeds", parts.errors[~unsolved], room))
        few -= self.add("unsolved_error_seeds", parts.errors[unsolved], _least(few, room))
        self._add_ranked()
        hopeful = np.concatenate([new[seed == MIXED], new[seed == UNKNOWN]])
        self.add("new_seeds", hopeful, self._cap("new_seeds", new_places))
        room = self._cap("expansions", None)
        room = _less(room, self.add("expansions", likely, room))
        back = waiting[self._outcomes[waiting] == MIXED]
        room = _less(room, self.add("returned", back, room))
        self.add("unsolved_expansions", unlikely, _least(few, room))
        self.add("filled_mixed_seeds", new[seed == MIXED])
        self.add("filled_high_ppl", parts.ranked)
        self.add("filled_new_seeds", np.concatenate([hopeful, new[seed == NONE_RIGHT], new]))

    def _sort_grown(self, grown: Rows) -> tuple[Rows, Rows]:
        """Expansions that are likely to carry signal, and those that are not; the always right are neither."""
        outcome = self._outcomes[grown]
        hard = np.isin(
            self._facts.column("parent")[grown], self._facts.column("id")[self._parts.unsolved]
        )
        likely = [grown[outcome == MIXED], grown[(outcome == UNKNOWN) & ~hard]]
        unlikely = [grown[(outcome == UNKNOWN) & hard], grown[outcome == NONE_RIGHT]]
        return np.concatenate(likely), np.concatenate(unlikely)

    def _add_ranked(self) -> None:
        """The samples chosen among the mastered and both-correct ones."""
        ranked = self._parts.ranked
        chosen = count_selected(self._parts, self._config)
        if chosen is None:
            count = round(self._config.high_ppl_rate * len(ranked))
        else:
            ranked, count = ranked[:chosen], chosen
        self.add("high_ppl", ranked, _least(count, self._cap("high_ppl", None)))

    def _cap(self, part: Part, scheduled: int | None) -> int | None:
        """Most places of a part: its share, or without shares what is scheduled; None: all."""
        shares = self._config.shares
        return round(shares.get(part, 0.0) * self._config.dataset_size) if shares else scheduled

    def _set_origin(self, rows: Rows, origin: Origin) -> None:
        self.origins[rows] = ORIGINS.index(origin)

    def add(self, part: str, rows: Rows, count: int | None = None) -> int:
        """Gives the part at most `count` of the places that are left; how many it took."""
        room = self._config.dataset_size - sum(map(len, self._taken.values()))
        wanted = room if count is None else min(room, count)
        if count is not None:
            self.places[part] = count
        self._taken[part] = self._gate.admit(rows, wanted, part, self._quota)
        return len(self._taken[part])

    def counts(self) -> dict[str, int]:
        """How many places each part took."""
        return {part: len(rows) for part, rows in self._taken.items()}

    def entered(self) -> Rows:
        """All rows of the dataset."""
        return np.concatenate([*self._taken.values(), np.zeros(0, np.int64)])

    def easiest(self, *names: str) -> float | None:
        """The value of the easiest ranked row that some parts took; None if none has a value."""
        parts = self._parts
        rows = np.concatenate([self._taken.get(name, np.zeros(0, np.int64)) for name in names])
        values = parts.value[np.isin(parts.ranked, rows) & ~np.isnan(parts.value)]
        if not len(values):
            return None
        return float(values.max() if self._config.ppl == "pass_rate" else values.min())

    def record_leavers(self, grown: Rows, waiting: Rows, ledger: Ledger) -> None:
        """Writes down why what was offered and not looked at, or not let in, is gone or waits."""
        parts, ids = self._parts, self._facts.column("id")
        settled = np.isin(ids, ids[np.array(ledger.rows, np.int64)])
        mastered = np.isin(parts.ranked, parts.mastered)
        for row, known in zip(parts.ranked.tolist(), mastered.tolist(), strict=True):
            if not settled[row]:
                ledger.record(row, "dropped", "low_ppl" if known else "both_correct_low_ppl")
        rest = np.concatenate([parts.untouched, parts.errors, grown, waiting])
        rest = rest[~settled[rest]]
        room = round(self._config.waiting_max * self._config.dataset_size)
        stay: list[int] = []
        for row, reason in zip(rest.tolist(), self._reasons(rest), strict=True):
            if reason == "always_right":
                ledger.record(row, "dropped", reason)
            elif len(stay) >= room:
                ledger.record(row, "dropped", reason if not room else f"waiting_max, {reason}")
            else:
                ledger.record(row, "waiting", reason)
                stay.append(row)
        self.waiting = np.array(stay, np.int64)

    def _reasons(self, rows: Rows) -> list[str]:
        """Why each of these found no place."""
        facts, outcomes = self._facts, self._outcomes[rows]
        ids, hard = facts.column("id"), facts.column("id")[self._parts.unsolved]
        never = np.isin(ids[rows], hard) | np.isin(facts.column("parent")[rows], hard)
        never = (never & (outcomes != MIXED)) | (outcomes == NONE_RIGHT)
        calls = facts.column("calls")[rows]
        crowded = ~calls & (not self._quota.has_room(False))
        texts = np.select(
            [outcomes == ALL_RIGHT, never, crowded],
            ["always_right", "never_solved", "no_call_share"],
            "no_place_left",
        )
        return [str(text) for text in texts]


def _least(*counts: int | None) -> int | None:
    """The smallest; None is no bound."""
    return min((count for count in counts if count is not None), default=None)


def _less(room: int | None, taken: int) -> int | None:
    return None if room is None else room - taken
