"""What each sample of D_j earned: error seed, high perplexity, or gone (method, sections 4, 5)."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from looptool.config import MergeConfig
from looptool.decisions import relabel
from looptool.merge.hygiene import Ledger, draw
from looptool.records import Judgement, Origin, ProbeResult, Sample

PROMPT_TOO_LONG = "prompt_too_long"
"""The one probe failure that is about the sample and not about the machine."""


@dataclass(slots=True)
class Parts:
    """D_j, sorted out; every list in an order that depends on the seed alone."""

    untouched: list[Sample] = field(default_factory=list)
    """Not probed, or the probe failed for infrastructure reasons: another round as they are."""
    errors: list[Sample] = field(default_factory=list)
    """Error seeds with their right label."""
    unsolved: set[str] = field(default_factory=set)
    """Those of the error seeds that no rollout of the last epoch got right."""
    ranked: list[Sample] = field(default_factory=list)
    """Mastered and both-correct samples, highest perplexity first."""
    ppl: dict[str, float] = field(default_factory=dict)
    """Perplexity of the ranked ones; those without any are missing here and come last."""
    mastered: set[str] = field(default_factory=set)
    """Those of the ranked ones that matched their label."""


@dataclass(frozen=True, slots=True)
class Sorter:
    """Sorts D_j by what probe and judge found, and records the fate of what leaves it."""

    probes: Mapping[str, ProbeResult]
    judgements: Mapping[str, Judgement]
    config: MergeConfig
    iteration: int
    ledger: Ledger
    parts: Parts = field(default_factory=Parts)

    def sort(self, current: Iterable[Sample], random_seed: int) -> Parts:
        """The parts of D_j."""
        for sample in sorted(current, key=lambda s: draw(random_seed, "current", s.sample_id)):
            self._sort_one(sample)
        # Python's sort is stable: ties stay in drawn order.
        self.parts.ranked.sort(key=lambda s: -self.parts.ppl.get(s.sample_id, -math.inf))
        return self.parts

    def _sort_one(self, sample: Sample) -> None:
        probe = self.probes.get(sample.sample_id)
        if probe is not None and probe.failure == PROMPT_TOO_LONG:
            self.ledger.record(sample, "dropped", PROMPT_TOO_LONG)
        elif probe is None or probe.failure:
            self.parts.untouched.append(sample)
        elif probe.matched and probe.pass_rate == 1.0 and self.config.skip_solved:
            self.ledger.record(sample, "dropped", "always_solved")
        elif probe.matched:
            self.parts.mastered.add(sample.sample_id)
            self._rank(sample, probe)
        elif (judgement := self.judgements.get(sample.sample_id)) is None:
            self.ledger.record(sample, "quarantined", "not_judged_at_all")
        else:
            self._sort_mismatch(sample, probe, judgement)

    def _sort_mismatch(self, sample: Sample, probe: ProbeResult, judgement: Judgement) -> None:
        match judgement.verdict:
            case "PRED_WRONG":
                self.parts.errors.append(sample.model_copy(update={"origin": Origin.ERROR_SEED}))
                if probe.pass_rate == 0.0:
                    self.parts.unsolved.add(sample.sample_id)
            case "LABEL_WRONG" if judgement.new_label is not None:
                corrected = relabel(sample, judgement, self.iteration)
                self.parts.errors.append(corrected)
                self.ledger.record(sample, "replaced", f"label_wrong, now {corrected.sample_id}")
            case "LABEL_WRONG":
                self.ledger.record(sample, "dropped", "label_withheld")
            case "BOTH_CORRECT":
                self._rank(sample, probe)
            case "BOTH_WRONG":
                self.ledger.record(sample, "dropped", "both_wrong")
            case "unjudged":
                self.ledger.record(sample, "quarantined", "unjudged")

    def _rank(self, sample: Sample, probe: ProbeResult) -> None:
        self.parts.ranked.append(sample.model_copy(update={"origin": Origin.HIGH_PPL}))
        # An answer without calls has no ppl_call; by the whole output it can still be ranked.
        value: float | None = getattr(probe, self.config.ppl)
        value = probe.ppl_output if value is None else value
        if value is not None and not math.isnan(value):
            self.parts.ppl[sample.sample_id] = value
