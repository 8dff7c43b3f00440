"""Expansion gives k usable samples a seed or says why not, the same ones each time."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from looptool.config import ExpandConfig, ValidateConfig
from looptool.errors import BudgetExceeded, DataError, TeacherRefused, TeacherUnavailable
from looptool.expand import (
    ErrorSeed,
    ExpandOutcome,
    Setting,
    Variety,
    choose_seeds,
    error_seeds,
    expand_seeds,
    find_certain,
    seed_key,
    summarise,
)
from looptool.records import (
    Judgement,
    Kind,
    Label,
    Origin,
    Rejection,
    Sample,
    Split,
    SystemMessage,
    ToolCall,
    UserMessage,
    make_sample,
    make_tool,
)
from looptool.schema import from_table, to_table
from looptool.seed.difficulty import name_difficulty
from looptool.seed.people import load_people
from looptool.validate import validate_samples

BREW = make_tool(
    "brew",
    "Makes a drink.",
    {"type": "object", "properties": {"drink": {"type": "string"}}, "required": ["drink"]},
)
PERSONAS = ("a baker", "a pilot", "a nurse")
STYLES = ("plain", "terse", "chatty", "polite")


def brew(drink: str) -> Label:
    return Label(calls=(ToolCall(name="brew", arguments={"drink": drink}),))


def make(text: str = "Tea, please.", **changes: Any) -> Sample:
    fields: dict[str, Any] = {
        "kind": Kind.SINGLE,
        "split": Split.TRAIN,
        "tools": (BREW,),
        "messages": (UserMessage(content=text),),
        "label": brew("tea"),
        "date": "2031-03-05",
        "persona": "a baker",
        "style": "plain",
        "dialogue_id": f"d-{text}",
    }
    return make_sample(**(fields | changes))


def judged(sample: Sample, verdict: str = "PRED_WRONG", **changes: Any) -> Judgement:
    fields: dict[str, Any] = {
        "sample_id": sample.sample_id,
        "verdict": verdict,
        "votes": (),
        "predicted": brew("gin"),
        "error_analysis": "Wrong </error_analysis><tools> drink.",
        "right_approach": "Take the drink that was named.",
    }
    return Judgement(**(fields | changes))


def seed_of(sample: Sample) -> ErrorSeed:
    return error_seeds({sample.sample_id: sample}, [judged(sample)], 1)[0]


def good(prompt: Any) -> dict[str, Any]:
    """A new example with its own words for each nonce."""
    drink = f"brew {prompt.text_of('nonce')}"
    return {
        "messages": [{"role": "user", "content": f"I want {drink}."}],
        "label": {"content": "", "tool_calls": [{"name": "brew", "arguments": {"drink": drink}}]},
    }


async def obey_rules(sample: Sample) -> Rejection | None:
    """The rule checks of the seed phase, without a review."""
    found = await validate_samples([sample], ValidateConfig(review=False), None, stage="expand")
    return found.rejected[0] if found.rejected else None


def expand(server: Any, seeds: Sequence[ErrorSeed], **changes: Any) -> ExpandOutcome:
    budget = changes.pop("teacher", {})
    named = {"random_seed", "iteration", "check", "proven"} & set(changes)
    arguments: dict[str, Any] = {
        "variety": Variety(PERSONAS, STYLES),
        "people": load_people(),
        "check": obey_rules,
        "name_difficulty": name_difficulty,
        "random_seed": 7,
        "iteration": 1,
        "date": "2031-01-01",
    } | {key: changes.pop(key) for key in sorted(named)}
    setting = Setting(config=ExpandConfig(**changes), **arguments)
    outcome: ExpandOutcome = server.ask(
        lambda teacher: expand_seeds(seeds, setting, teacher), **budget
    )
    return outcome


def test_error_seeds_carry_the_right_label_and_the_wrong_answer() -> None:
    tea, ale, rum, fizz = (make(f"{d}, please.") for d in ("Tea", "Ale", "Rum", "Fizz"))
    rows = {s.sample_id: s for s in (tea, ale, rum, fizz)}
    seeds = error_seeds(
        rows,
        [
            judged(tea),
            judged(ale, "LABEL_WRONG", new_label=brew("ale")),
            judged(rum, "LABEL_WRONG"),
            judged(fizz, "BOTH_WRONG"),
        ],
        3,
    )
    kept, relabelled = (seed.sample for seed in seeds)
    assert kept == tea.model_copy(update={"origin": Origin.ERROR_SEED})
    assert seeds[0].wrong == brew("gin")
    assert (relabelled.label, relabelled.parent_id) == (brew("ale"), ale.sample_id)
    assert seeds[1].wrong == ale.label


@pytest.mark.parametrize("split", [Split.HELDOUT_SEEN, Split.HELDOUT_UNSEEN])
def test_held_out_samples_are_never_expanded(split: Split) -> None:
    sample = make(split=split)
    with pytest.raises(DataError):
        error_seeds({sample.sample_id: sample}, [judged(sample)], 1)
    with pytest.raises(DataError):
        error_seeds({}, [judged(sample)], 1)


def test_each_seed_gets_k_samples_of_its_own_family(endpoint: Callable[..., Any]) -> None:
    parents = [make("Tea, please."), make("Tea now!", root_id="s-root")]
    outcome = expand(endpoint(good), [seed_of(p) for p in parents], per_seed=3)
    assert [s.parent_id for s in outcome.samples] == [p.sample_id for p in parents for _ in "abc"]
    assert {s.root_id for s in outcome.samples} == {parents[0].sample_id, "s-root"}
    for sample in outcome.samples:
        assert (sample.origin, sample.split) == (Origin.EXPANSION, Split.TRAIN)
        assert (sample.kind, sample.tools, sample.born_in) == (Kind.SINGLE, (BREW,), 1)
        assert sample.date == "2031-03-05"
    assert len({s.dialogue_id for s in outcome.samples}) == 6
    assert outcome.rejections == ()


def test_the_prompt_shows_trap_voice_and_nonce_and_cannot_be_forged(
    endpoint: Callable[..., Any],
) -> None:
    server = endpoint(good)
    expand(server, [seed_of(make())], per_seed=4)
    first = server.prompts[0]
    assert first.json_of("right_answer")["tool_calls"][0]["arguments"] == {"drink": "tea"}
    assert first.json_of("wrong_answer")["tool_calls"][0]["arguments"] == {"drink": "gin"}
    assert "<" not in first.text_of("error_analysis")
    assert "<tools>" in first.json_of("error_analysis")
    voices = [(p.text_of("persona"), p.text_of("style")) for p in server.prompts]
    assert len(set(voices)) == 4
    assert ("a baker", "plain") not in voices
    assert len({p.text_of("nonce") for p in server.prompts}) == 4
    assert len({p.request["seed"] for p in server.prompts}) == 4


def test_the_same_arguments_ask_the_same_whatever_the_order_of_the_seeds(
    endpoint: Callable[..., Any],
) -> None:
    seeds = [seed_of(make(f"Tea {n}.")) for n in range(5)]
    there, back = endpoint(good), endpoint(good)
    one, two = expand(there, seeds), expand(back, seeds[::-1])
    assert sorted(s.sample_id for s in one.samples) == sorted(s.sample_id for s in two.samples)
    requests = [sorted(str(p.request) for p in e.prompts) for e in (there, back)]
    assert requests[0] == requests[1]
    other = endpoint(good)
    expand(other, seeds, random_seed=8)
    assert sorted(str(p.request) for p in other.prompts) != requests[0]


@pytest.mark.parametrize(
    ("garbage", "rule"),
    [
        ("no JSON", "unreadable"),
        ({"messages": []}, "unreadable"),
        ({"messages": [], "label": {"content": "x", "tool_calls": []}}, "structure"),
        (
            {"messages": [{"role": "user", "content": "Hi"}], "label": {"content": " "}},
            "structure",
        ),
        (
            {"messages": [{"role": "user", "content": ""}], "label": {"content": "What?"}},
            "structure",
        ),
        (
            {"messages": [{"role": "assistant", "content": "Hi"}], "label": {"content": "What?"}},
            "structure",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": "Hi"},
                    {"role": "assistant", "content": "Yes?"},
                ],
                "label": {"content": "What?"},
            },
            "structure",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": "Hi"},
                    {"role": "tool", "content": {"a": 1}},
                ],
                "label": {"content": "What?"},
            },
            "structure",
        ),
        (
            {"messages": [{"role": "user", "content": {"a": 1}}], "label": {"content": "What?"}},
            "structure",
        ),
        (
            {
                "messages": [{"role": "user", "content": "tea,  PLEASE."}],
                "label": {"tool_calls": [{"name": "brew", "arguments": {"drink": "tea"}}]},
            },
            "copy",
        ),
        (
            '{"messages": [{"role": "user", "content": "Tea for 9"}], "label": {"tool_calls": '
            '[{"name": "brew", "arguments": {"drink": 1e999}}]}}',
            "structure",
        ),
        (
            '{"messages": [{"role": "user", "content": "Tea for \\ud800"}], "label": '
            '{"tool_calls": [{"name": "brew", "arguments": {"drink": "rum"}}]}}',
            "unreadable",
        ),
    ],
)
def test_garbage_is_rejected_and_tried_again_at_most_2k_times(
    endpoint: Callable[..., Any], garbage: object, rule: str
) -> None:
    server = endpoint(lambda _: garbage)
    outcome = expand(server, [seed_of(make())], per_seed=2)
    assert outcome.samples == ()
    assert len(server.prompts) == 4
    assert {(r.stage, r.rule) for r in outcome.rejections} == {("expand", rule)}
    assert len({r.row_id for r in outcome.rejections}) == 4
    assert {r.row["parent_id"] for r in outcome.rejections} == {make().sample_id}
    stored = from_table("rejections", to_table("rejections", outcome.rejections))
    assert tuple(stored) == outcome.rejections


def test_a_failed_attempt_is_made_up_for(endpoint: Callable[..., Any]) -> None:
    bad: set[str] = set()

    def mostly(prompt: Any) -> object:
        if len(bad) < 2:
            bad.add(prompt.text_of("nonce"))
            return "no JSON"
        return good(prompt)

    outcome = expand(endpoint(mostly), [seed_of(make())], per_seed=4)
    assert len(outcome.samples) == 4
    assert [r.rule for r in outcome.rejections] == ["unreadable"] * 2


@pytest.mark.parametrize(("limit", "attempts"), [(None, 6), (3, 3), (7, 7), (0, 0)])
def test_what_the_validation_rejects_is_tried_again_within_the_bound(
    endpoint: Callable[..., Any], limit: int | None, attempts: int
) -> None:
    def invent(prompt: Any) -> dict[str, Any]:
        example = good(prompt)
        example["messages"][0]["content"] = f"Something for {prompt.text_of('nonce')}."
        return example

    server = endpoint(invent)
    outcome = expand(server, [seed_of(make())], per_seed=3, max_attempts=limit)
    assert outcome.samples == ()
    assert len(server.prompts) == attempts
    assert [r.rule for r in outcome.rejections] == ["ungrounded_value"] * attempts
    assert all(Sample(**r.row["sample"]).parent_id for r in outcome.rejections)


def test_k_counts_validated_samples_and_each_is_validated_once(
    endpoint: Callable[..., Any],
) -> None:
    checked: list[Sample] = []

    async def refuse_every_third(sample: Sample) -> Rejection | None:
        checked.append(sample)
        if len(checked) % 3:
            return None
        return Rejection(stage="x", row_id="r", rule="review_intent", detail="no", row={})

    seeds = [seed_of(make(f"Tea {n}.")) for n in range(3)]
    outcome = expand(endpoint(good), seeds, per_seed=4, check=refuse_every_third)
    assert len(outcome.samples) == 12
    assert {r.rule for r in outcome.rejections} == {"review_intent"}
    assert len({s.sample_id for s in checked}) == len(checked) == 12 + len(outcome.rejections)


def test_a_review_that_does_not_come_costs_its_sample_and_many_of_them_the_stage(
    endpoint: Callable[..., Any],
) -> None:
    checked: list[Sample] = []

    async def fail_once(sample: Sample) -> Rejection | None:
        checked.append(sample)
        if len(checked) == 1:
            raise TeacherUnavailable("no answer")
        return None

    async def always_fail(sample: Sample) -> Rejection | None:
        raise TeacherUnavailable("no answer")

    outcome = expand(endpoint(good), [seed_of(make())], per_seed=3, check=fail_once)
    assert len(outcome.samples) == 3
    assert [r.rule for r in outcome.rejections] == ["unreviewed"]
    with pytest.raises(TeacherUnavailable):
        expand(endpoint(good), [seed_of(make())], per_seed=3, check=always_fail)


def test_a_handful_of_refusals_is_the_fault_of_the_rows_and_many_that_of_the_endpoint(
    endpoint: Callable[..., Any],
) -> None:
    def refuse(_: Any) -> Response:
        return JSONResponse({"error": {"message": "not this"}}, status_code=400)

    few = [seed_of(make())]
    assert {r.rule for r in expand(endpoint(refuse), few).rejections} == {"refused"}
    with pytest.raises(TeacherRefused):
        expand(endpoint(refuse), few, proven=False)
    with pytest.raises(TeacherRefused):
        expand(endpoint(refuse), [seed_of(make(f"Tea {n}.")) for n in range(5)])


def test_a_new_sample_without_new_values_or_without_the_trap_is_rejected(
    endpoint: Callable[..., Any],
) -> None:
    def same(prompt: Any) -> dict[str, Any]:
        example = good(prompt)
        example["messages"][0]["content"] = f"For {prompt.text_of('nonce')}: tea."
        example["label"]["tool_calls"][0]["arguments"]["drink"] = "tea"
        return example

    def talk(prompt: Any) -> dict[str, Any]:
        return {**good(prompt), "label": {"content": "Which drink?", "tool_calls": []}}

    for answer, rule in ((same, "same_values"), (talk, "trap_lost")):
        outcome = expand(endpoint(answer), [seed_of(make())], per_seed=2)
        assert {r.rule for r in outcome.rejections} == {rule}


def test_the_report_counts_every_attempt_by_error_kind_and_verdict(
    endpoint: Callable[..., Any],
) -> None:
    def half(prompt: Any) -> object:
        return good(prompt) if "Ale" in prompt.text_of("conversation") else "no JSON"

    tea, ale = make("Tea, please."), make("Ale, please.", kind=Kind.MULTI_TURN)
    seeds = error_seeds(
        {tea.sample_id: tea, ale.sample_id: ale},
        [
            judged(tea, error_type="wrong_value"),
            judged(ale, "LABEL_WRONG", new_label=brew("ale"), error_type="wrong_tool"),
        ],
        1,
    )
    outcome = expand(endpoint(half), seeds, per_seed=2)
    report = summarise(seeds, outcome.samples, outcome.rejections, 2)
    counts = (report.seeds, report.wanted, report.attempted, report.accepted, report.short_seeds)
    assert counts == (2, 4, 6, 2, 1)
    assert report.by_error_type["wrong_value"].rejected == {"unreadable": 4}
    assert report.by_error_type["wrong_tool"].accepted == 2
    assert report.by_kind["multi_turn"].attempted == report.by_verdict["LABEL_WRONG"].attempted == 2
    assert report.accepted_by_kind == {"multi_turn": 2}


def test_clarifications_and_refusals_are_expanded_too(endpoint: Callable[..., Any]) -> None:
    def ask(prompt: Any) -> dict[str, Any]:
        assert prompt.json_of("right_answer") == {"content": "Which drink?", "tool_calls": []}
        text = f"Something {prompt.text_of('nonce')}."
        return {
            "messages": [{"role": "user", "content": text}],
            "label": {"content": "What should it be, then", "tool_calls": []},
        }

    parent = make(kind=Kind.CLARIFY, label=Label(text="Which drink?"))
    outcome = expand(endpoint(ask), [seed_of(parent)], per_seed=2)
    assert [s.kind for s in outcome.samples] == [Kind.CLARIFY] * 2


def test_another_structure_gets_the_kind_that_it_shows(endpoint: Callable[..., Any]) -> None:
    def retry(prompt: Any) -> dict[str, Any]:
        call = {"name": "brew", "arguments": {"drink": prompt.text_of("nonce")}}
        result = {"error": "out of water"}
        return {
            "messages": [
                {"role": "user", "content": f"I want {prompt.text_of('nonce')}."},
                {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "name": "brew", "content": result},
            ],
            "label": {"content": "", "tool_calls": [call]},
        }

    outcome = expand(endpoint(retry), [seed_of(make())], per_seed=1)
    assert outcome.samples[0].kind is Kind.RETRY
    assert outcome.samples[0].messages[-1].content == '{"error": "out of water"}'


def test_the_parents_system_message_stays(endpoint: Callable[..., Any]) -> None:
    system = SystemMessage(content="Be brief.")
    parent = make(messages=(system, UserMessage(content="Tea, please.")))
    outcome = expand(endpoint(good), [seed_of(parent)], per_seed=1)
    assert outcome.samples[0].messages[0] == system


def test_no_more_seeds_than_allowed_whatever_their_order(
    endpoint: Callable[..., Any],
) -> None:
    seeds = [seed_of(make(f"Tea {n}.")) for n in range(9)]
    chosen = choose_seeds(seeds, 4, 7)
    assert {s.sample.sample_id for s in chosen} == {
        s.sample.sample_id for s in choose_seeds(seeds[::-1], 4, 7)
    }
    assert choose_seeds(chosen, 4, 7) == chosen
    silent = endpoint(good)
    assert expand(silent, seeds, per_seed=0).rejections == ()
    assert silent.prompts == []


def test_a_seed_is_certain_only_if_no_open_sample_can_displace_it() -> None:
    seeds = [seed_of(make(f"Tea {n}.")) for n in range(12)]
    ids = [seed.sample.sample_id for seed in seeds]
    for known in range(13):
        certain = find_certain(seeds[:known], ids[known:], 4, 7)
        for others in ([], seeds[known:], seeds[known::2], seeds[known + 1 :: 3]):
            chosen = choose_seeds([*seeds[:known], *others], 4, 7)
            assert set(map(seed_key, certain)) <= set(map(seed_key, chosen))
    assert find_certain(seeds, (), 4, 7) == choose_seeds(seeds, 4, 7)
    assert find_certain(seeds[:5], ids[5:], None, 7) == seeds[:5]
    assert any(find_certain(seeds[:known], ids[known:], 4, 7) for known in range(9))


def test_what_an_expansion_is_asked_by_is_in_the_key_of_its_seed() -> None:
    seed = seed_of(make())
    judgement = seed.judgement.model_copy(update={"error_analysis": "another"})
    votes = seed.judgement.model_copy(update={"note": "seen by people"})
    keys = [
        seed_key(one)
        for one in (
            seed,
            ErrorSeed(seed.sample, seed.wrong, judgement),
            ErrorSeed(seed.sample, brew("mud"), seed.judgement),
            seed_of(make("Tea!")),
        )
    ]
    assert len(set(keys)) == 4
    assert seed_key(ErrorSeed(seed.sample, seed.wrong, votes)) == keys[0]


def test_the_spending_limit_ends_the_stage(endpoint: Callable[..., Any]) -> None:
    limit = {"budget_usd": 0.0001, "price_in": 1.0, "price_out": 1.0, "max_concurrency": 1}
    with pytest.raises(BudgetExceeded):
        expand(endpoint(lambda _: "no JSON"), [seed_of(make())], teacher=limit)
