"""The probe grades every sample once and accounts for all of them."""

from collections.abc import Sequence
from typing import Any

from looptool.config import ProbeConfig
from looptool.engines import EngineInfo, Generation, Limits, Prompt
from looptool.probe import probe_samples
from looptool.records import (
    Kind,
    RolloutStat,
)
from tests.rows import decision


class Parrot:
    """An engine that says what the last message asks for."""

    def __init__(self) -> None:
        self.labels: list[str | None] | None = None

    def generate(
        self, prompts: Sequence[Prompt], limits: Limits, *, label_texts: Any = None, **_more: Any
    ) -> list[Generation]:
        self.labels = label_texts
        return [self._answer(p.messages[-1]["content"]) for p in prompts]

    def _answer(self, text: str) -> Generation:
        if text == "long":
            return Generation(failure="prompt_too_long")
        logprobs = (-1.0,) if self.labels else None
        return Generation(text, (1,), (-0.5,), (len(text),), label_logprobs=logprobs)

    def info(self) -> EngineInfo:
        return EngineInfo("parrot", "")

    def close(self) -> None:
        pass


CALL = '<tool_call>\n{"name": "ping", "arguments": {}}\n</tool_call>'
SAMPLES = [
    decision(text, Kind.NO_TOOL) for text in ("sorry", CALL, "long", "<tool_call>{</tool_call>")
]


def test_results_come_in_order_and_the_report_adds_up() -> None:
    results, report = probe_samples(SAMPLES, ProbeConfig(), Parrot())
    assert [r.sample_id for r in results] == [s.sample_id for s in SAMPLES]
    assert [r.matched for r in results] == [True, False, False, False]
    assert (report.samples, report.matched, report.mismatched) == (4, 1, 2)
    assert report.failures == {"prompt_too_long": 1}
    assert report.parse_errors == 1
    assert results[0].ppl_label is not None


def test_pass_rates_of_the_rollouts_are_joined_where_known() -> None:
    stats = [
        RolloutStat(sample_id=SAMPLES[1].sample_id, rollouts=8, passed=2, parse_errors=0),
        RolloutStat(sample_id="elsewhere", rollouts=8, passed=8, parse_errors=0),
    ]
    results, _ = probe_samples(SAMPLES, ProbeConfig(), Parrot(), rollouts=stats)
    assert [r.pass_rate for r in results] == [None, 0.25, None, None]


def test_label_perplexity_is_only_asked_for_when_configured() -> None:
    engine = Parrot()
    results, _ = probe_samples(SAMPLES, ProbeConfig(label_ppl=False), engine)
    assert engine.labels is None
    assert results[0].ppl_label is None


def test_no_samples_are_no_work() -> None:
    results, report = probe_samples([], ProbeConfig(), Parrot())
    assert results == []
    assert report.samples == 0
