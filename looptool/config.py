"""The configuration of a campaign: one frozen model per stage, read from a TOML profile.

Defaults are the paper's values where it gives one (method, sections 2-7). A section is also the part of
a stage's cache key that the user controls, so that changing `[judge]` re-runs the judge and what comes
after it, and nothing before. Secrets are never here: a profile names the environment variable.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from looptool.errors import ConfigError, shorten
from looptool.records import BenchmarkName, Kind


class Section(BaseModel):
    """Base of every section: frozen, no unknown keys, docstrings as descriptions."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True
    )


class NoiseConfig(Section):
    """Faults of the scripted teacher; rates are shares 0..1, drawn from a seed and the request."""

    wrong_label_rate: float = Field(0.0, ge=0, le=1)
    """Assistant turns with a wrong answer. Systematic: asked again, it errs again."""
    wrong_verdict_rate: float = Field(0.0, ge=0, le=1)
    """Judge replies with one of the three other verdicts."""
    wrong_review_rate: float = Field(0.0, ge=0, le=1)
    """Reviews that pass a bad step or fail a good one."""
    malformed_rate: float = Field(0.0, ge=0, le=1)
    """Replies that are not the JSON asked for; a repeated request may succeed."""
    nonconforming_rate: float = Field(0.0, ge=0, le=1)
    """Synthetic tools that break one of the constraints they were asked for."""
    http_error_rate: float = Field(0.0, ge=0, le=1)
    """Requests answered 429 or 503 with Retry-After."""
    cut_rate: float = Field(0.0, ge=0, le=1)
    """Connections cut in the middle of the answer."""
    slow_rate: float = Field(0.0, ge=0, le=1)
    """Requests answered only after `slow_s`."""
    slow_s: float = Field(1.0, ge=0)
    """Delay of a slow answer, seconds."""
    latency_s: float = Field(0.0, ge=0)
    """Delay of every answer, seconds."""


class SimulatorConfig(Section):
    """The scripted teacher that stands in for an LLM on machines without one."""

    seed: int = 0
    """Seed of its noise and of its choices."""
    noise: NoiseConfig = NoiseConfig()


def _check_endpoint(url: str) -> None:
    """Raises what is wrong with the address of an endpoint, without showing one that holds a key."""
    try:
        parts = urlsplit(url)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
    except ValueError:
        raise PydanticCustomError("withheld", "not a URL") from None
    if parts.username or parts.password or parts.query or parts.fragment:
        raise PydanticCustomError(
            "withheld",
            "the URL of an endpoint must hold no user, password, query or fragment; keys come from "
            "the environment variable that teacher.api_key_env names",
        )
    if wrong:
        raise ValueError("expected `simulator` or a URL such as http://127.0.0.1:8000/v1")


class TeacherConfig(Section):
    """The model that writes dialogues, reviews, judges and expands."""

    base_url: str | tuple[str, ...] = "simulator"
    """`simulator` for the scripted teacher in process, or the URL of an OpenAI-compatible endpoint; a
    list of URLs when several serve the same model."""
    model: str = "scripted"
    """Model name sent with each request (`scripted` and `scripted-expert` for the simulator)."""
    api_key_env: str = "LOOPTOOL_TEACHER_API_KEY"
    """Name of the environment variable that holds the key; the key itself is never configuration."""
    max_concurrency: int = Field(32, ge=1)
    """Requests in flight at once, at most, at each endpoint."""
    timeout_s: float = Field(120.0, gt=0)
    """Deadline of one attempt, seconds."""
    deadline_s: float | None = Field(None, gt=0)
    """Deadline of a call with all its attempts and pauses, seconds; None: attempts and patience decide."""
    attempts: int = Field(6, ge=1)
    """Tries per request that is answered badly, too late or with an error of its own; 1: no second try,
    whatever happens."""
    patience_s: float = Field(7200.0, ge=0)
    """How long a call waits for an endpoint that limits rates or is away, seconds."""
    max_tokens: int = Field(2048, ge=1)
    """Longest reply, tokens."""
    temperature: float = Field(0.6, ge=0)
    """Sampling temperature of generation [released code: 0.6]."""
    top_p: float = Field(0.95, gt=0, le=1)
    price_in: float = Field(0.0, ge=0)
    """US dollars per million prompt tokens."""
    price_out: float = Field(0.0, ge=0)
    """US dollars per million completion tokens."""
    budget_usd: float | None = Field(None, ge=0)
    """Spending limit of the campaign; None: no limit."""
    simulator: SimulatorConfig = SimulatorConfig()

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z_]\w*", value, re.ASCII):
            raise PydanticCustomError(
                "withheld", "expected the name of an environment variable, never the key itself"
            )
        return value

    @field_validator("base_url")
    @classmethod
    def _are_addresses(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        urls = (value,) if isinstance(value, str) else value
        if value == "simulator":
            return value
        if not urls or len(set(urls)) != len(urls):
            raise ValueError("expected one URL or a list of different ones")
        for url in urls:
            _check_endpoint(url)
        return value


class ToolSource(Section):
    """One place that tools come from."""

    format: Literal["auto", "catalogue", "json", "openapi", "mcp", "python", "parquet"] = "auto"
    """`auto` looks at the location and what is there; without a location it is the built-in `catalogue`."""
    location: str = ""
    """File path, URL, `mcp:COMMAND ARGS`, `mcp+http://…` or `package.module[:function]` (it is imported)."""
    command: tuple[str, ...] = ()
    """Program and arguments of an MCP server over stdio, in place of a location; never run by a shell."""
    env: tuple[str, ...] = ()
    """Names of the environment variables that the command gets; their values are never configuration."""
    token_env: str = ""
    """Name of the environment variable with the bearer token of an MCP server over HTTP."""
    timeout_s: float = Field(30.0, gt=0)
    """Longest wait for a URL or an MCP server, seconds."""
    tags: tuple[str, ...] = ()
    """Only operations of an OpenAPI document with one of these tags; empty: all."""
    paths: tuple[str, ...] = ()
    """Only operations at or below one of these paths, or that match one as a glob; empty: all."""
    include_deprecated: bool = False
    """Whether operations that an OpenAPI document marks as deprecated become tools too."""
    include: tuple[str, ...] = ()
    """Only tools whose name or path contains one of these; empty: all."""
    limit: int | None = Field(None, ge=1)
    """At most so many tools, the first ones."""

    @model_validator(mode="after")
    def _one_place(self) -> "ToolSource":
        if self.command and self.location:
            raise ValueError("a tool source has a location or a command, not both")
        if self.command and self.format not in ("auto", "mcp"):
            raise ValueError(f"a command starts an MCP server, so format cannot be {self.format}")
        return self


class FaultConfig(Section):
    """Which errors tools answer with. Weights are whole numbers; 0 leaves a fault out.

    A dialogue of kind `retry` always has one passing fault (time-out, 429, 5xx) at its first call.
    """

    rate: float = Field(0.0, ge=0, le=1)
    """Share of the dialogues of the other kinds whose first call meets a fault as well."""
    timeout: int = Field(1, ge=0)
    too_many_requests: int = Field(1, ge=0)
    server_error: int = Field(1, ge=0)
    not_found: int = Field(0, ge=0)
    changed_schema: int = Field(0, ge=0)
    """A result with a field renamed or missing, as after an update of the service."""


class ToolBackendConfig(Section):
    """Who answers the calls of a dialogue."""

    kind: Literal["simulated", "mcp"] = "simulated"
    """`simulated`: the teacher plays every tool. `mcp`: tools from MCP servers are really called."""
    attempts: int = Field(3, ge=1)
    """Answers asked of the teacher per call, until one fits the output schema and the dialogue."""
    calls: Literal["live", "record", "replay"] = "record"
    """Real calls: always made; made once and then read back; or only read back."""
    recording: str = "tool_calls.jsonl"
    """JSON Lines file of the real calls, for `record` and `replay`."""


class SyntheticConfig(Section):
    """Tools made up by the teacher along the dual tree (method, section 2)."""

    count: int = Field(0, ge=0)
    """Accepted tools wanted; 0 makes none."""
    context_tree: str = ""
    """TOML file of what tools are about; empty: the built-in one."""
    constraint_tree: str = ""
    """TOML file of what shape tools have; empty: the built-in one."""
    max_attempts: float = Field(3.0, ge=1)
    """Tools asked for per tool wanted, at most, before the count is reported as unmet."""
    model: str = ""
    """Model that writes the tools; empty: the teacher's."""


class TargetConfig(Section):
    """What the accepted samples of each split are like, beside their kinds; empty: as they come."""

    tools: dict[str, float] = {}
    """Relative weight of ranges of the number of tools in context, e.g. `{"3-5" = 1, "6-10" = 2}`; they
    replace tools_min and tools_max."""
    difficulty: dict[Literal["easy", "medium", "hard"], float] = {}
    """Relative weight by near misses (tools of the domain in focus) among the distractors: none, about
    half, all."""

    @model_validator(mode="after")
    def _weights_make_sense(self) -> "TargetConfig":
        for name, weights in (("tools", self.tools), ("difficulty", self.difficulty)):
            if weights:
                _check_weights(name, weights.values())
        last = 0
        for low, high in sorted(map(read_range, self.tools)):
            if low <= last:
                raise ValueError(f"tools: two ranges hold {low}")
            last = high
        return self


def read_range(text: str) -> tuple[int, int]:
    """`3-5` as (3, 5) and `7` as (7, 7); raises ValueError for anything else."""
    low, dash, high = text.partition("-")
    if not low.isdecimal() or not (high.isdecimal() if dash else True):
        raise ValueError(f"tools: {shorten(text)!r} is no range of counts such as 3-5")
    first, last = int(low), int(high or low)
    if not 1 <= first <= last:
        raise ValueError(f"tools: {shorten(text)!r} is an empty range")
    return first, last


def _check_weights(name: str, weights: Iterable[float]) -> None:
    listed = list(weights)
    if min(listed, default=0.0) < 0 or max(listed, default=0.0) <= 0:
        raise ValueError(f"{name} needs at least one weight above 0, and none below")


class SeedConfig(Section):
    """Tools in, dialogues out (method, section 2)."""

    sources: tuple[ToolSource, ...] = (ToolSource(),)
    train_samples: int = Field(28160, ge=1)
    """Accepted training samples in all (Dseed); later rounds draw on what the first did not use."""
    heldout_samples: int = Field(1000, ge=0)
    """Accepted held-out samples over seen tools; never trained on."""
    heldout_unseen_samples: int = Field(500, ge=0)
    """Accepted held-out samples over unseen tools."""
    unseen_tool_rate: float = Field(0.2, ge=0, lt=1)
    """Share of the tools kept out of training entirely."""
    heldout_model: str = ""
    """Model that writes the held-out dialogues; empty: the teacher's model."""
    kinds: dict[Kind, float] = {
        Kind.SINGLE: 0.25,
        Kind.PARALLEL: 0.12,
        Kind.MULTI_STEP: 0.12,
        Kind.MULTI_TURN: 0.25,
        Kind.CLARIFY: 0.08,
        Kind.NO_TOOL: 0.08,
        Kind.RETRY: 0.05,
        Kind.SUMMARY: 0.05,
    }
    """Relative weight of each kind among the accepted samples of a split."""
    targets: TargetConfig = TargetConfig()
    tools_min: int = Field(20, ge=1)
    """Fewest tools in a dialogue [released code: 20-30]."""
    tools_max: int = Field(30, ge=1)
    """Most tools in a dialogue."""
    turns_max: int = Field(4, ge=1)
    """Most user needs in a multi-turn dialogue."""
    self_consistency: bool = True
    """Ask each assistant turn twice, a third time on disagreement; no majority marks the turn."""
    styles: tuple[str, ...] = ("plain", "polite", "terse", "chatty")
    """Speaking styles of the user, drawn evenly: names of `people`, or own words."""
    personas: tuple[str, ...] = ("a busy professional", "a student", "a retired teacher")
    """Who the user is: names of `people`, or own words; `all` stands for everyone there."""
    languages: tuple[str, ...] = ("en",)
    """Codes of `people`, or names of languages."""
    people: str = ""
    """TOML file of own personas, styles and languages, beside the built-in ones."""
    faults: FaultConfig = FaultConfig()
    tool_backend: ToolBackendConfig = ToolBackendConfig()
    synthetic: SyntheticConfig = SyntheticConfig()
    rounds_max: int = Field(6, ge=1)
    """Rounds of dialogues and their validation, at most; each plays what the ones before left missing."""
    max_attempts: float = Field(3.0, ge=1)
    """Dialogues started per dialogue needed, at most, before a target is reported as unmet."""
    shard_size: int = Field(64, ge=2)
    """Dialogues under way or not yet stored, at most: what a killed run repeats. A part holds half of
    them, so less than twice `teacher.max_concurrency` leaves the endpoint idle at times."""

    @model_validator(mode="after")
    def _makes_sense(self) -> "SeedConfig":
        _check_weights("kinds", self.kinds.values())
        if self.tools_min > self.tools_max:
            raise ValueError(f"tools_min {self.tools_min} is above tools_max {self.tools_max}")
        return self


class ValidateConfig(Section):
    """Rule checks and LLM review (method, section 2)."""

    review: bool = True
    """Ask the teacher to review each dialogue; a failed review drops it."""
    grounding: bool = True
    """Every argument value must be found in the context, be a default or be implied by an enum."""
    shard_size: int = Field(256, ge=2)
    """Dialogues under review or not yet stored, at most: what a killed run repeats; a part holds half."""


class TrainConfig(Section):
    """GRPO (method, section 3)."""

    trainer: Literal["trl", "verl"] = "trl"
    """`trl`: one process, for machines without a GPU; `verl`: veRL on Ray."""
    batch_size: int = Field(128, ge=1)
    """Prompts per optimiser step."""
    epochs: int = Field(2, ge=1)
    """Passes over D_j per iteration."""
    max_steps: int | None = Field(None, ge=1)
    """Stop after so many optimiser steps; None: what the epochs give."""
    group_size: int = Field(16, ge=2)
    """Rollouts per prompt."""
    learning_rate: float = Field(1e-6, gt=0)
    clip_low: float = Field(0.2, gt=0)
    clip_high: float = Field(0.28, gt=0)
    kl_coef: float = Field(0.0, ge=0)
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature of rollouts."""
    max_prompt_tokens: int = Field(4096, ge=16)
    """Longer prompts are left out of training, counted and listed."""
    max_response_tokens: int = Field(1024, ge=8)
    bf16: bool = True
    timeout_s: float = Field(86400.0, gt=0)
    """Deadline of the training process, seconds."""
    threads: int | None = Field(None, ge=1)
    """CPU threads of the TRL trainer; None: all cores."""
    mini_batch_size: int | None = Field(None, ge=1)
    """veRL: prompts per optimiser step within a batch; None: the whole batch, as in the paper."""
    verl_config: str = "one_gpu"
    """veRL: the overlay of the hardware, a name in `verl_configs/` or a path to a YAML file."""
    verl_overrides: dict[str, Any] = {}
    """veRL: settings that have the last word, by veRL's dotted names."""
    python: str = ""
    """veRL: interpreter with veRL and Ray, on this machine for checks and a local cluster, and on the
    cluster for the job; empty: `.venv-engines/bin/python` if it is there, else this one."""
    ray_address: str = ""
    """veRL: Jobs API of a Ray cluster, e.g. `http://head:8265`; empty: start one on this machine."""
    ray_token_env: str = "RAY_AUTH_TOKEN"  # noqa: S105 - a name, not a token
    """veRL: environment variable that holds the cluster's token."""
    save_steps: int = Field(20, ge=1)
    """veRL: steps between checkpoints from which a retry resumes."""
    keep_checkpoints: int = Field(2, ge=1)
    """veRL: how many of them are kept; none survives the end of the training."""
    stall_timeout_s: float = Field(3600.0, gt=0)
    """veRL: longest time without a finished step, the start included, before the run counts as hung."""


class PolicyConfig(Section):
    """The model that is trained."""

    base: str = "models/nano-base"
    """Folder of the base checkpoint M_0, in Hugging Face format."""
    engine: Literal["transformers", "vllm", "endpoint"] = "transformers"
    """Inference engine of probe and evaluation; `vllm` and its environment: `make engines`."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Numbers that probe and evaluation calculate in; an endpoint decides for itself."""
    python: str = ""
    """Interpreter of the environment that has the engines; empty: this one, or .venv-engines."""
    endpoint: str = ""
    """Base URL of a vLLM server that serves this very checkpoint, for engine `endpoint`."""
    api_key_env: str = "LOOPTOOL_POLICY_API_KEY"
    """Name of the environment variable that holds the endpoint's key."""
    ray_address: str = ""
    """Existing Ray cluster (`auto`, `host:port`, `ray://host:port`); empty: a local one if needed."""
    gpu_memory_rate: float = Field(0.9, gt=0, le=1)
    """Share of each GPU's memory that vLLM takes while it probes."""
    cache_gib: float | None = Field(None, gt=0)
    """Size of vLLM's key-value cache, GiB; None: what is left of its share, 1 on a CPU."""
    threads: int | None = Field(None, ge=1)
    """CPU threads of each engine; None: all cores."""
    processes: int = Field(1, ge=1)
    """Engines that may answer at the same time, each with its own copy of the model. With 2 the held-out
    evaluation runs beside training and the other stages, and scouting asks both. Engine `vllm` is always
    one, which takes the machine; it has `probe.replicas` instead."""
    restarts: int = Field(2, ge=0)
    """How often an engine that died is started again within one part of the work."""
    timeout_s: float = Field(3600.0, gt=0)
    """Deadline of one part, and of the engine's start, seconds."""

    @property
    def at_once(self) -> int:
        """`processes`, decided."""
        return 1 if self.engine == "vllm" else self.processes


class ProbeConfig(Section):
    """Greedy capability probing (GCP; method, section 4)."""

    batch_size: int = Field(64, ge=1)
    max_new_tokens: int = Field(1024, ge=1)
    max_prompt_tokens: int = Field(8192, ge=16)
    """Longer prompts are recorded as failures of type `prompt_too_long`, never cut."""
    label_ppl: bool = True
    """Also compute the perplexity of the label."""
    shard_size: int = Field(512, ge=1)
    """Rows per part; a part is committed when whole."""
    reprobe_samples: int = Field(256, ge=0)
    """At most so many samples that were mastered and dropped in earlier rounds are probed again."""
    replicas: int = Field(1, ge=1)
    """vLLM engines side by side, as Ray actors; evaluation uses the same ones."""
    tensor_parallel: int = Field(1, ge=1)
    """GPUs of each replica."""


class GateConfig(Section):
    """People between the judge and the data: the run pauses until they have decided."""

    mode: Literal["off", "pause"] = "off"
    """`pause`: a round with proposed label changes waits for a review of them."""
    timeout_s: int = Field(86400, ge=1)
    """Longest wait, seconds."""
    on_timeout: Literal["accept", "reject", "quarantine"] = "quarantine"
    """What becomes of changes that nobody decided on. `accept`: as the judge and its measured precision
    have it; `reject`: the judge is overruled, the sample is unjudged; `quarantine`: left for later."""


class JudgeConfig(Section):
    """Judgement-guided label verification (JGLV; method, section 5)."""

    models: tuple[str, ...] = ()
    """Judge models; the votes of each order go round them. Empty: the teacher's model."""
    both_orders: bool = True
    """Ask with the label first and with the prediction first."""
    votes: int = Field(1, ge=1)
    """Votes per order; at least one for each model."""
    agreement_rate: float = Field(2 / 3, ge=0.5, lt=1)
    """A verdict needs more than this share of the readable votes: of one or two all, by default."""
    margin: int = Field(1, ge=1)
    """Votes by which a verdict must lead the next one, at least."""
    planted_rate: float = Field(0.1, ge=0, le=1)
    """Pairs with a known verdict among the judged, per mismatch; they measure the judge."""
    planted_min: int = Field(300, ge=0)
    """Fewest such pairs in a round that judges at all: of a hundred the interval says little."""
    precision_floor: float = Field(0.8, ge=0, le=1)
    """Labels are replaced only while the lower bound of the measured precision of LABEL_WRONG is at or
    above this; 0 replaces them unmeasured."""
    replace_labels: bool = True
    """Whether LABEL_WRONG replaces the label (off: the sample is left out)."""
    temperature: float = Field(0.0, ge=0)
    shard_size: int = Field(256, ge=2)
    """Mismatches under way or not yet stored, at most: what a killed run repeats; a part holds half."""
    gate: GateConfig = GateConfig()

    @model_validator(mode="after")
    def _asks_every_model(self) -> "JudgeConfig":
        if len(self.models) > self.votes:
            raise ValueError(
                f"votes {self.votes} for {len(self.models)} models: some would never be asked"
            )
        return self


class ExpandConfig(Section):
    """Error-driven data expansion (EDDE; method, section 6)."""

    per_seed: int = Field(4, ge=0)
    """Validated new samples per error seed, k [paper: 4, before validation]."""
    max_attempts: int | None = Field(None, ge=0)
    """Attempts on one error seed, at most; None: 2k."""
    max_seeds: int | None = Field(None, ge=0)
    """At most so many error seeds are expanded; None: all."""
    scenarios: tuple[str, ...] = ()
    """Where new samples take place, in own words, gone through evenly; empty: the built-in ones."""
    vary_tools: bool = True
    """Whether distractors are exchanged for other tools of the training side, and one added."""
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(0.9, gt=0, le=1)
    shard_size: int = Field(128, ge=2)
    """Error seeds under way or not yet stored, at most: what a killed run repeats; a part holds half."""


class ScoutConfig(Section):
    """Answers drawn from M_j to what could enter D_{j+1}: does a group of rollouts carry signal?"""

    answers: int = Field(8, ge=0)
    """Answers to each candidate, at the temperature of training; 0 scouts nothing [paper: 0]."""
    expansions: float = Field(1.0, ge=0)
    """Validated expansions that are scouted, at most, as a multiple of `merge.dataset_size`."""
    waiting: float = Field(0.5, ge=0)
    """Samples that earlier rounds left waiting, scouted again, at most, as a multiple of
    `merge.dataset_size`."""
    new_seeds: float = Field(0.5, ge=0)
    """Unused seeds that are scouted, at most, as a multiple of `merge.dataset_size`."""
    batch_size: int = Field(16, ge=1)
    """Candidates at once."""
    shard_size: int = Field(512, ge=1)
    """Candidates per part; a part is committed when whole."""


class MergeConfig(Section):
    """The next dataset (method, section 7)."""

    dataset_size: int = Field(18304, ge=1)
    """Samples in every D_j."""
    shares: dict[Literal["error_seeds", "expansions", "high_ppl", "new_seeds"], float] = {}
    """Most places of each part, as shares of the dataset; a part that is not named gets only places that
    stay empty. Without any the paper's schedule holds: all error seeds, and the rates below."""
    selection: Literal["top_fraction", "quantile", "threshold"] = "top_fraction"
    """How the mastered and both-correct samples worth another round are chosen."""
    high_ppl_rate: float = Field(0.25, ge=0, le=1)
    """`top_fraction`: share of the mastered and both-correct samples kept, the hardest."""
    high_ppl_quantile: float = Field(0.75, ge=0, le=1)
    """`quantile`: those at or beyond this quantile of difficulty are kept."""
    high_ppl_threshold: float | None = Field(None, ge=0)
    """`threshold`: kept at this perplexity or above, at this pass rate or below."""
    ppl: Literal["ppl_output", "ppl_call", "ppl_label", "pass_rate"] = "ppl_output"
    """What says how hard a sample is: a perplexity, or the pass rate of the rollouts."""
    new_seed_rates: tuple[float, ...] = (4 / 13, 2 / 13, 1 / 13)
    """Share of unused seeds in D_2, D_3, …; the last one goes on being halved [paper: table 7]."""
    no_call_rate_min: float = Field(0.05, ge=0, le=1)
    """Least share of samples whose label calls nothing (clarification, no tool, summary)."""
    no_call_rate_max: float = Field(0.35, ge=0, le=1)
    """Largest such share: a policy that is paid too often for not calling learns to abstain."""
    unsolved_rate_max: float = Field(0.1, ge=0, le=1)
    """Largest share of error seeds none of whose rollouts was right, and of their expansions: in GRPO a
    group without one right answer teaches nothing [paper: no limit, 1.0]."""
    waiting_max: float = Field(4.0, ge=0)
    """Samples that found no place and wait for a later round, at most, as a multiple of `dataset_size`;
    the newest stay. One comes back when scouting finds it of mixed outcome [paper: 0]."""
    skip_solved: bool = True
    """Leave out mastered samples all of whose rollouts were right: no signal either [paper: false]."""

    near_duplicate_similarity: float | None = Field(0.9, gt=0, le=1)
    """Jaccard similarity of contexts (runs of three words) from which two samples that ask for the same
    functions are near duplicates; None: only equal ones are."""
    decontaminate: tuple[str, ...] = ()
    """Files of benchmark indexes; samples that overlap with a benchmark are left out."""

    @model_validator(mode="after")
    def _choices_complete(self) -> "MergeConfig":
        if sum(self.shares.values()) > 1 + 1e-9 or min(self.shares.values(), default=0.0) < 0:
            raise ValueError(f"shares {self.shares} must be 0..1 and add up to 1 at most")
        if self.selection == "threshold" and self.high_ppl_threshold is None:
            raise ValueError("selection threshold needs high_ppl_threshold")
        return self

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "MergeConfig":
        if self.no_call_rate_min > self.no_call_rate_max:
            raise ValueError(
                f"no_call_rate_min {self.no_call_rate_min} is above "
                f"no_call_rate_max {self.no_call_rate_max}"
            )
        return self


class EvaluateConfig(Section):
    """Accuracy on the held-out set."""

    batch_size: int = Field(64, ge=1)
    max_new_tokens: int = Field(1024, ge=1)
    max_prompt_tokens: int = Field(8192, ge=16)


class BfclConfig(Section):
    """One version of the Berkeley Function-Calling Leaderboard, in an environment of its own."""

    categories: tuple[str, ...] = ()
    """Categories to run; empty: all that can be run without a network."""
    limit: int | None = Field(None, ge=1)
    """At most so many items of each category, always the same ones; None: all."""
    python: str = ""
    """Interpreter that has bfcl-eval; empty: `.venv-bfcl-v3` or `.venv-bfcl-v4` (`make bfcl`)."""


class AceBenchConfig(Section):
    """ACEBench, from a clone that the user has made."""

    clone: str = ""
    """Folder of the clone."""
    commit: str = ""
    """Commit that must be checked out there, all 40 digits; scores of different ones do not compare."""
    language: Literal["en", "zh"] = "en"
    categories: tuple[str, ...] = ()
    """Categories to run, such as `normal_atom_bool`; empty: all but those that need a second model."""
    limit: int | None = Field(None, ge=1)
    """At most so many items of each category, always the same ones; None: all."""
    python: str = ""
    """Interpreter that has openai, pandas, openpyxl and tqdm; empty: that of BFCL v4."""


class BenchmarksConfig(Section):
    """Published benchmarks, run by `looptool-evaluate` and never as part of an iteration."""

    suites: tuple[BenchmarkName, ...] = ()
    """Benchmarks to run where the run names none; empty: the held-out set alone."""
    threads: int = Field(16, ge=1)
    """Requests in flight at once."""
    request_timeout_s: float = Field(600.0, gt=0)
    """Longest wait for one answer, seconds."""
    timeout_s: float = Field(14400.0, gt=0)
    """Longest time for one category, seconds."""
    memory_gib: float = Field(8.0, gt=0)
    """Most memory that a benchmark's process may ask for."""
    require_isolation: bool = False
    """Refuse to run where the benchmark's process cannot be cut off from the network."""
    tool_parser: str = "hermes"
    """`vllm serve --tool-call-parser` for engine `vllm`; must fit the model's way of calling."""
    bfcl_v3: BfclConfig = BfclConfig()
    bfcl_v4: BfclConfig = BfclConfig()
    acebench: AceBenchConfig = AceBenchConfig()


class PromotionConfig(Section):
    """When M_j becomes the policy that the next round starts from."""

    enabled: bool = True
    """Off: every M_j does, as in the paper; what fell is still recorded."""
    slices: tuple[str, ...] = ("all", "relevance", "irrelevance")
    """Slices of the held-out set that may not fall."""
    significance: float = Field(0.025, gt=0, lt=0.5)
    """A fall counts if an equally good policy would lose so many samples with less probability."""


class StopConfig(Section):
    """When a campaign of several iterations ends early."""

    plateau_rounds: int = Field(2, ge=1)
    """Stop after so many iterations without a new best held-out accuracy."""
    min_gain: float = Field(0.0, ge=0)
    """Gain over the best accuracy that counts as progress, 0..1."""


class StoreConfig(Section):
    """Where artifacts live."""

    root: str = "lake"
    """Any fsspec URL: a local folder or `s3://bucket/prefix`. Endpoint and keys come from the environment
    or an AWS profile."""
    timeout_s: float = Field(60.0, gt=0)
    """Longest wait for one answer of an object store, seconds."""
    attempts: int = Field(8, ge=1)
    """Tries per request that an object store answers with 5xx, SlowDown or not at all."""
    single_writer: bool = False
    """Use a store that does not enforce conditional writes, one run at a time: a lease keeps others out."""
    lease_s: float = Field(300.0, gt=0)
    """Length of that lease, seconds: how long a killed run keeps the next one waiting."""

    @field_validator("root")
    @classmethod
    def _holds_no_key(cls, value: str) -> str:
        if "://" in value and re.search(r"[@?#]", value.split("://", 1)[1]):
            raise PydanticCustomError(
                "withheld",
                "the URL of a store must hold no user, password, query or fragment; keys come from the "
                "environment (AWS_ACCESS_KEY_ID, …) or an AWS profile",
            )
        return value


class LoopConfig(Section):
    """A whole profile."""

    random_seed: int = 0
    """Seed of every random choice of the pipeline."""
    streaming: bool | None = None
    """Whether mismatches are judged and expanded while the probe still works. None: if the teacher is an
    endpoint; the scripted one would take the policy's cores."""
    store: StoreConfig = StoreConfig()
    teacher: TeacherConfig = TeacherConfig()
    policy: PolicyConfig = PolicyConfig()
    seed: SeedConfig = SeedConfig()
    validate_: ValidateConfig = Field(ValidateConfig(), alias="validate")
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    probe: ProbeConfig = ProbeConfig()
    judge: JudgeConfig = JudgeConfig()
    expand: ExpandConfig = ExpandConfig()
    scout: ScoutConfig = ScoutConfig()
    merge: MergeConfig = MergeConfig()
    benchmarks: BenchmarksConfig = BenchmarksConfig()
    promotion: PromotionConfig = PromotionConfig()
    stop: StopConfig = StopConfig()

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    @property
    def streams(self) -> bool:
        """`streaming`, decided."""
        return self.teacher.base_url != "simulator" if self.streaming is None else self.streaming


def load_profile(path: str | Path, overrides: Mapping[str, Any] | None = None) -> LoopConfig:
    """Read a TOML profile and lay `overrides` (nested, or with dotted keys) over it.

    Raises ConfigError with the offending key and the nearest valid one.
    """
    file = Path(path)
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as exc:
        found = ", ".join(sorted(p.stem for p in file.parent.glob("*.toml"))) or "none"
        raise ConfigError(
            f"profile {file} cannot be read ({exc.strerror}); profiles there: {found}"
        ) from exc
    except (ValueError, RecursionError) as exc:  # also an integer beyond Python's digit limit
        raise ConfigError(f"profile {shorten(file)} is not valid TOML: {exc}") from exc
    for key, value in (overrides or {}).items():
        _lay_over(raw, key.split("."), value)
    return parse_config(raw, where=str(file))


def parse_config(raw: Mapping[str, Any], where: str = "configuration") -> LoopConfig:
    """Validate a nested mapping; raises ConfigError naming every wrong key and value."""
    try:
        return LoopConfig.model_validate(raw)
    except ValidationError as exc:
        problems = [_describe(dict(error)) for error in exc.errors()]
        raise ConfigError(f"{where}: " + "; ".join(problems)) from exc


def _lay_over(raw: dict[str, Any], path: list[str], value: Any) -> None:
    if len(path) > 1:
        child = raw.setdefault(path[0], {})
        if not isinstance(child, dict):
            raise ConfigError(f"override {'.'.join(path)}: {path[0]} is not a section")
        _lay_over(child, path[1:], value)
    elif isinstance(value, Mapping) and isinstance(raw.get(path[0]), dict):
        for key, inner in value.items():
            _lay_over(raw[path[0]], key.split("."), inner)
    else:
        raw[path[0]] = value


def _describe(error: dict[str, Any]) -> str:
    loc = [str(part) for part in error["loc"]]
    key = ".".join(loc)
    if error["type"] == "withheld":  # the value may be a key
        return f"{key}: {error['msg']}"
    if error["type"] != "extra_forbidden":
        return f"{key} = {shorten(error.get('input'))}: {error['msg']}"
    known = _keys_beside(loc)
    near = difflib.get_close_matches(loc[-1], known, n=1)
    hint = f"did you mean {near[0]}?" if near else "valid keys: " + ", ".join(known)
    return f"unknown key {key} ({hint})"


def _keys_beside(loc: list[str]) -> list[str]:
    model: Any = LoopConfig
    for part in loc[:-1]:
        field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        model = getattr(field, "annotation", None)
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return []
    return sorted(f.alias or name for name, f in model.model_fields.items())
