"""What could enter the next dataset is answered a few times, and the outcome is counted."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from looptool.artifacts import ArtifactWriter, Store
from looptool.config import ScoutConfig, TrainConfig
from looptool.engines import Engine, EngineInfo, Generation, Limits, Prompt, Sampling
from looptool.engines.grading import render_label
from looptool.errors import EngineError
from looptool.records import Origin, RolloutStat, Sample
from looptool.scout import (
    Candidates,
    Scouted,
    choose_candidates,
    scout_parts,
    side_by_side,
)
from tests.rows import decision

TRAINING = TrainConfig(temperature=1.3, max_prompt_tokens=70, max_response_tokens=9)


def grown(parent: str, number: int) -> Sample:
    return decision(f"{parent} {number}", origin=Origin.EXPANSION, parent_id=parent)


class Dice:
    """An engine that is right as often as a sample's text says."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.known = {str(sample.chat()): sample for sample in samples}
        self.asked: list[tuple[Sampling, Limits, int]] = []

    def sample(
        self, prompts: Sequence[Prompt], limits: Limits, sampling: Sampling, **_more: Any
    ) -> list[tuple[Generation, ...]]:
        self.asked.append((sampling, limits, len(prompts)))
        return [self._answer(self.known[str(p.messages)], sampling) for p in prompts]

    def _answer(self, sample: Sample, sampling: Sampling) -> tuple[Generation, ...]:
        if sample.dialogue_id == "long":
            return (Generation(failure="prompt_too_long"),)
        right = int(sample.dialogue_id[0])
        texts = [render_label(sample) or ""] * right + ["<tool_call>{</tool_call>"] * 9
        return tuple(Generation(text) for text in texts[: sampling.answers])

    def info(self) -> EngineInfo:
        return EngineInfo("dice", "")

    def close(self) -> None:
        pass


def scout(folder: Path, engine: Dice, samples: Candidates, at_once: int = 1, **config: Any) -> Any:
    @contextmanager
    def opened() -> Iterator[Engine]:
        yield engine

    writer = ArtifactWriter(Store(str(folder)), "campaign", "scout", "key")
    settings = ScoutConfig(**({"answers": 3} | config))
    return scout_parts(samples, settings, TRAINING, writer, opened, random_seed=4, at_once=at_once)


def test_answers_are_drawn_as_in_training_and_the_right_ones_counted(tmp_path: Path) -> None:
    candidates = Candidates(
        expansions=[decision("2", origin=Origin.EXPANSION)],
        waiting=[decision("2 again"), decision("0 again")],
        new_seeds=[decision(text) for text in ("0", "1", "3", "long")],
    )
    engine = Dice(candidates.all())
    rows, report = scout(tmp_path, engine, candidates)
    assert [row.sample_id for row in rows] == [sample.sample_id for sample in candidates.all()]
    assert [row.passed for row in rows] == [2, 2, 0, 0, 1, 3, 0]
    assert [row.rollouts for row in rows] == [3, 3, 3, 3, 3, 3, 0]
    assert [row.parse_errors for row in rows] == [1, 1, 3, 3, 2, 0, 0]
    assert report.expansions == Scouted(asked=1, mixed=1, solved=0, unsolved=0, failed=0)
    assert report.waiting == Scouted(asked=2, mixed=1, solved=0, unsolved=1, failed=0)
    assert report.new_seeds == Scouted(asked=4, mixed=1, solved=1, unsolved=1, failed=1)
    assert report.answers == 18
    ((sampling, limits, _),) = engine.asked
    assert (sampling.answers, sampling.temperature) == (3, 1.3)
    assert (limits.max_new_tokens, limits.max_prompt_tokens) == (9, 70)


def test_finished_parts_are_kept_and_parts_draw_different_numbers(tmp_path: Path) -> None:
    samples = Candidates(new_seeds=[decision(f"{n} apples") for n in range(5)])
    engine = Dice(samples.all())
    first, _ = scout(tmp_path, engine, samples, shard_size=2)
    assert [count for _, _, count in engine.asked] == [2, 2, 1]
    assert len({sampling.seed for sampling, _, _ in engine.asked}) == 3
    again = Dice(samples.all())
    assert scout(tmp_path, again, samples, shard_size=2)[0] == first
    assert again.asked == []


def test_parts_side_by_side_give_the_rows_of_one_after_the_other(tmp_path: Path) -> None:
    samples = Candidates(new_seeds=[decision(f"{n % 4} apples of {n}") for n in range(11)])
    engine = Dice(samples.all())
    expected, _ = scout(tmp_path / "alone", engine, samples, shard_size=2)
    beside = Dice(samples.all())
    found, report = scout(tmp_path / "beside", beside, samples, at_once=3, shard_size=2)
    assert found == expected
    assert report.answers == 33
    assert sorted(s.seed for s, _, _ in beside.asked) == sorted(s.seed for s, _, _ in engine.asked)


def test_two_parts_are_answered_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=30)
    found = dict(side_by_side(lambda n: (n, meeting.wait())[0], range(4), 2))
    assert found == {0: 0, 1: 1, 2: 2, 3: 3}


def test_a_part_that_fails_ends_the_scouting_and_keeps_what_the_others_found() -> None:
    together = threading.Barrier(2, timeout=30)
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number < 2:
            together.wait()
        if number == 0:
            raise EngineError("out of memory")
        time.sleep(0.2)
        return number

    kept: list[int] = []

    def keep_all() -> None:
        for number, _ in side_by_side(work, range(6), 2):
            kept.append(number)

    with pytest.raises(EngineError, match="out of memory"):
        keep_all()
    assert 1 in kept
    assert len(begun) < 6
    assert set(kept) == set(begun) - {0}


def test_nothing_to_scout_leaves_an_empty_table_and_opens_no_engine(tmp_path: Path) -> None:
    writer = ArtifactWriter(Store(str(tmp_path)), "campaign", "scout", "key")

    def refuse() -> Any:
        raise AssertionError("opened for nothing")

    rows, report = scout_parts(Candidates(), ScoutConfig(), TRAINING, writer, refuse, random_seed=1)
    assert (rows, report.answers) == ([], 0)
    ref = writer.commit({}, {}, {})
    assert list(writer.store.read(ref, "rollouts", RolloutStat)) == []


def test_candidates_are_dealt_evenly_over_the_error_seeds_whatever_their_order() -> None:
    expansions = [grown(parent, n) for parent in ("a", "b", "c") for n in range(4)]
    waiting = [decision(f"waiting {n}") for n in range(9)]
    unused = [decision(f"seed {n}") for n in range(30)]
    config = ScoutConfig(expansions=0.7, waiting=0.3, new_seeds=0.5)

    def choose(step: int = 1, **seeds: int) -> list[str]:
        offered = Candidates(expansions[::step], waiting[::step], unused[::step])
        chosen = choose_candidates(
            offered, config, 10, **({"random_seed": 1, "iteration": 2} | seeds)
        )
        return [sample.dialogue_id for sample in chosen.all()]

    once = choose()
    words = [name.split()[0] for name in once]
    assert sorted(words[:3]) == sorted(words[3:6]) == ["a", "b", "c"]
    assert words[7:] == ["waiting"] * 3 + ["seed"] * 5
    assert choose(-1) == once
    assert choose(iteration=3) != once
    assert choose(random_seed=2) != once


@pytest.mark.parametrize(
    "off", [{"answers": 0}, {"expansions": 0.0, "waiting": 0.0, "new_seeds": 0.0}]
)
def test_scouting_can_be_switched_off(off: dict[str, Any]) -> None:
    samples = [decision("x")]
    offered = Candidates(samples, samples, samples)
    chosen = choose_candidates(offered, ScoutConfig(**off), 10, random_seed=1, iteration=1)
    assert not chosen.all()
