"""What was mastered and dropped is probed again, so that forgetting shows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from looptool.artifacts import ArtifactWriter, Store
from looptool.config import MergeConfig, ProbeConfig
from looptool.engines import Engine, EngineInfo, Generation, Limits, Prompt
from looptool.engines.grading import grade, render_label
from looptool.merge import MergeInputs, merge_round
from looptool.probe import ReprobeReport, draw_retired, reprobe
from looptool.records import (
    Judgement,
    Label,
    ProbeResult,
    Sample,
)
from looptool.schema import Fate
from tests.rows import decision

NAMES = ("easy", "solved", "hard", "wrong", "fine")
PERPLEXITY = {"easy": 1.0, "solved": 1.0, "hard": 9.0, "wrong": 2.0, "fine": 2.0}


SAMPLES = {name: decision(name) for name in NAMES}


def _right(sample: Sample, ppl: float = 1.0) -> Generation:
    text = render_label(sample) or ""
    return Generation(text, (1,), (-ppl,), (len(text),))


def _probed(name: str, sample: Sample) -> ProbeResult:
    if name in ("wrong", "fine"):
        return grade(sample, Generation("No.", (1,), (-1.0,), (3,)))
    return grade(sample, _right(sample, PERPLEXITY[name]), 1.0 if name == "solved" else 0.9)


def _judged(sample: Sample, verdict: str) -> Judgement:
    row: dict[str, Any] = {"sample_id": sample.sample_id, "verdict": verdict, "votes": ()}
    return Judgement.model_validate(row | {"predicted": Label(), "new_label": None})


@pytest.fixture(scope="module")
def fates() -> Sequence[Fate]:
    """What the merge makes of D_1: two samples are mastered and dropped."""
    outcome = merge_round(
        MergeInputs(
            pool=(),
            current=list(SAMPLES.values()),
            probes=[_probed(name, sample) for name, sample in SAMPLES.items()],
            judgements=[
                _judged(SAMPLES["wrong"], "PRED_WRONG"),
                _judged(SAMPLES["fine"], "BOTH_CORRECT"),
            ],
            expansions=(),
            heldout=(),
            iteration=1,
        ),
        MergeConfig(dataset_size=2, new_seed_rates=(0.0,), skip_solved=True),
        1,
    )
    return outcome.fates


def _draw(fates: Sequence[Fate], count: int = 9, iteration: int = 2, seed: int = 1) -> list[str]:
    found = draw_retired(
        [list(SAMPLES.values()), [SAMPLES["wrong"]]],
        [fates],
        count,
        random_seed=seed,
        iteration=iteration,
    )
    return [sample.dialogue_id for sample in found]


def test_only_what_was_mastered_and_dropped_is_drawn(fates: Sequence[Fate]) -> None:
    assert sorted(_draw(fates)) == ["easy", "solved"]


def test_a_sample_that_came_back_is_not_drawn(fates: Sequence[Fate]) -> None:
    first = list(SAMPLES.values())
    back = draw_retired([first, [SAMPLES["easy"]]], [fates], 9, random_seed=1, iteration=2)
    assert [sample.dialogue_id for sample in back] == ["solved"]


def test_the_first_round_has_nothing_to_forget() -> None:
    assert draw_retired([list(SAMPLES.values())], [], 9, random_seed=1, iteration=1) == []


def test_the_draw_is_bounded_and_depends_on_seed_and_round_alone() -> None:
    samples = [decision(f"number {n}") for n in range(40)]
    gone = [Fate(sample_id=s.sample_id, fate="dropped", reason="low_ppl") for s in samples]

    def draw(rows: list[Sample], seed: int, iteration: int) -> list[str]:
        found = draw_retired([rows, []], [gone], 10, random_seed=seed, iteration=iteration)
        return [sample.sample_id for sample in found]

    once = draw(samples, 1, 2)
    assert len(set(once)) == 10
    assert draw(samples[::-1], 1, 2) == once
    assert draw(samples, 2, 2) != once
    assert draw(samples, 1, 3) != once


class Forgetful:
    """An engine that knows all samples but one, and cannot be asked another."""

    def __init__(self, forgotten: str, unasked: str) -> None:
        self.known = {str(s.chat()): s for s in SAMPLES.values()}
        self.forgotten, self.unasked = forgotten, unasked
        self.asked = 0

    def generate(
        self, prompts: Sequence[Prompt], limits: Limits, *, label_texts: Any = None, **_more: Any
    ) -> list[Generation]:
        assert label_texts is None
        self.asked += len(prompts)
        return [self._answer(self.known[str(p.messages)]) for p in prompts]

    def _answer(self, sample: Sample) -> Generation:
        if sample.dialogue_id == self.unasked:
            return Generation(failure="engine_died")
        if sample.dialogue_id == self.forgotten:
            return Generation("No.", (1,), (-1.0,), (3,))
        return _right(sample)

    def info(self) -> EngineInfo:
        return EngineInfo("forgetful", "")

    def close(self) -> None:
        pass


def _reprobe(folder: Path, engine: Forgetful, samples: Sequence[Sample]) -> ReprobeReport:
    @contextmanager
    def opened() -> Iterator[Engine]:
        yield engine

    writer = ArtifactWriter(Store(str(folder)), "campaign", "probe", "key")
    results, report = reprobe(samples, ProbeConfig(), writer, opened)
    assert [r.sample_id for r in results] == [s.sample_id for s in samples]
    return report


def test_what_no_longer_matches_is_forgotten_and_failures_count_for_nothing(
    tmp_path: Path,
) -> None:
    samples = [SAMPLES[name] for name in ("easy", "solved", "hard")]
    engine = Forgetful("solved", "hard")
    assert _reprobe(tmp_path, engine, samples) == ReprobeReport(asked=2, forgotten=1)
    assert engine.asked == 3
    again = Forgetful("", "")
    assert _reprobe(tmp_path, again, samples) == ReprobeReport(asked=2, forgotten=1)
    assert again.asked == 0


def test_without_retired_samples_no_engine_is_opened(tmp_path: Path) -> None:
    writer = ArtifactWriter(Store(str(tmp_path)), "campaign", "probe", "key")

    def refuse() -> Any:
        raise AssertionError("opened for nothing")

    assert reprobe([], ProbeConfig(), writer, refuse) == ([], ReprobeReport(0, 0))
