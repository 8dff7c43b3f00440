"""What each stage's result depends on: the cache key is made from this table and from the inputs."""

from dataclasses import dataclass

from looptool.artifacts import AHEAD
from looptool.records import BENCHMARKS


@dataclass(frozen=True, slots=True)
class StageSpec:
    """Settings (dotted prefixes), library module and prompts of one stage."""

    settings: tuple[str, ...]
    module: str
    prompts: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    """Modules of other rooms whose functions the task hands to it."""


STAGES: dict[str, StageSpec] = {
    "tools": StageSpec(
        ("seed.sources", "seed.synthetic", "random_seed", "teacher"),
        "looptool.seed",
        ("seed_tool_spec",),
    ),
    "plan": StageSpec(("random_seed", "seed"), "looptool.seed"),
    "seed": StageSpec(
        ("random_seed", "seed", "teacher"),
        "looptool.seed",
        ("seed_plan", "seed_user", "seed_assistant", "seed_tool"),
    ),
    "pool": StageSpec(("random_seed", "seed"), "looptool.seed"),
    "validate": StageSpec(("validate", "teacher"), "looptool.validate", ("validate_review",)),
    "dataset": StageSpec(("random_seed", "merge"), "looptool.merge"),
    "train": StageSpec(("random_seed", "train"), "looptool.train"),
    "evaluate": StageSpec(("evaluate", "policy.engine", "policy.dtype"), "looptool.evaluate"),
    "probe": StageSpec(("random_seed", "probe", "policy.engine", "policy.dtype"), "looptool.probe"),
    "judge": StageSpec(
        ("random_seed", "judge", "teacher"),
        "looptool.judge",
        ("judge_compare",),
        ("looptool.validate",),
    ),
    "expand": StageSpec(
        (
            *("random_seed", "expand", "teacher", "validate.review", "validate.grounding"),
            *(
                "seed.personas",
                "seed.styles",
                "seed.people",
                "seed.tools_max",
                "seed.targets.tools",
            ),
        ),
        "looptool.expand",
        ("expand_sample", "validate_review"),
        (
            "looptool.validate",
            "looptool.seed.people",
            "looptool.seed.data",
            "looptool.seed.difficulty",
        ),
    ),
    "scout": StageSpec(
        (
            *("random_seed", "scout", "merge.dataset_size", "policy.engine", "policy.dtype"),
            *("train.temperature", "train.max_prompt_tokens", "train.max_response_tokens"),
        ),
        "looptool.scout",
    ),
    "merge": StageSpec(("random_seed", "merge"), "looptool.merge"),
    **{
        name: StageSpec(("evaluate", "policy.engine", "policy.dtype"), "looptool.suites")
        for name in BENCHMARKS
    },
}
STAGES |= {name + AHEAD: STAGES[name] for name in ("judge", "expand")}
STAGES["ahead"] = StageSpec(
    (*STAGES["probe"].settings, *STAGES["judge"].settings, *STAGES["expand"].settings),
    STAGES["judge"].module,
    (*STAGES["judge"].prompts, *STAGES["expand"].prompts),
    (STAGES["expand"].module, *STAGES["expand"].others),
)
