"""Expansion gives k usable samples a seed or says why not, the same ones each time."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from looptool.config import ExpandConfig
from looptool.errors import BudgetExceeded, DataError
from looptool.expand import (
    ErrorSeed,
    ExpandOutcome,
    choose_seeds,
    error_seeds,
    expand_seeds,
    plan_voices,
)
from looptool.records import (
    Judgement,
    Kind,
    Label,
    Origin,
    Sample,
    Split,
    SystemMessage,
    ToolCall,
    UserMessage,
    make_sample,
    make_tool,
)

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


def expand(server: Any, seeds: Sequence[ErrorSeed], **changes: Any) -> ExpandOutcome:
    budget = changes.pop("teacher", {})
    arguments: dict[str, Any] = {
        "random_seed": 7,
        "iteration": 1,
        "personas": PERSONAS,
        "styles": STYLES,
        "date": "2031-01-01",
    } | {key: changes.pop(key) for key in ("random_seed", "iteration") if key in changes}
    outcome: ExpandOutcome = server.ask(
        lambda teacher: expand_seeds(seeds, ExpandConfig(**changes), teacher, **arguments),
        **budget,
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
    assert outcome.report.accepted == outcome.report.attempts == 6
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
            {"messages": [{"role": "user", "content": "Tea, please."}], "label": {"content": "?"}},
            "copy",
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
    assert outcome.report.short_seeds == 1


def test_a_failed_attempt_is_made_up_for(endpoint: Callable[..., Any]) -> None:
    bad: set[str] = set()

    def mostly(prompt: Any) -> object:
        if len(bad) < 2:
            bad.add(prompt.text_of("nonce"))
            return "no JSON"
        return good(prompt)

    outcome = expand(endpoint(mostly), [seed_of(make())], per_seed=4)
    assert len(outcome.samples) == 4
    assert outcome.report.attempts == 6
    assert outcome.report.rejected_by_rule == {"unreadable": 2}


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
    assert outcome.report.accepted_by_kind == {"clarify": 2}


def test_another_structure_gets_the_kind_that_it_shows(endpoint: Callable[..., Any]) -> None:
    def retry(prompt: Any) -> dict[str, Any]:
        call = {"name": "brew", "arguments": {"drink": prompt.text_of("nonce")}}
        return {
            "messages": [
                {"role": "user", "content": f"I want {prompt.text_of('nonce')}."},
                {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "name": "brew", "content": {"error": "out of water"}},
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


def test_no_more_seeds_than_allowed_whatever_their_order(endpoint: Callable[..., Any]) -> None:
    seeds = [seed_of(make(f"Tea {n}.")) for n in range(9)]
    chosen = choose_seeds(seeds, 4, 7)
    assert {s.sample.sample_id for s in chosen} == {
        s.sample.sample_id for s in choose_seeds(seeds[::-1], 4, 7)
    }
    assert choose_seeds(chosen, 4, 7) == chosen
    assert expand(endpoint(good), seeds, max_seeds=4, per_seed=1).report.seeds == 4
    assert expand(endpoint(good), seeds, per_seed=0).report.attempts == 0


def test_the_spending_limit_ends_the_stage(endpoint: Callable[..., Any]) -> None:
    limit = {"budget_usd": 0.0001, "price_in": 1.0, "price_out": 1.0, "max_concurrency": 1}
    with pytest.raises(BudgetExceeded):
        expand(endpoint(lambda _: "no JSON"), [seed_of(make())], teacher=limit)


def test_voices_are_spread_evenly_over_many_seeds() -> None:
    parents = [make(f"Tea {n}.", persona="", style="") for n in range(300)]
    voices = Counter(v for p in parents for v in plan_voices(PERSONAS, STYLES, p, 4, 1))
    assert len(voices) == 12
    assert max(voices.values()) < 1.5 * min(voices.values())
    assert plan_voices((), (), make(), 2, 1) == [("a baker", "plain")] * 2
    same = plan_voices("abc", "xyz", parents[0], 9, 1)
    assert len(set(same)) == 9
