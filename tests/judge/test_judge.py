"""A verdict counts only if every order and enough votes agree; nothing else becomes one of the four."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from looptool.config import JudgeConfig
from looptool.decisions import relabel
from looptool.errors import TeacherRefused
from looptool.judge import JudgeOutcome, decide_verdict, judge_mismatches, read_prediction
from looptool.records import (
    Judgement,
    Kind,
    Label,
    Origin,
    ProbeResult,
    Split,
    ToolCall,
    ToolMessage,
    UserMessage,
    Vote,
    make_sample,
    make_tool,
)

DIM = make_tool(
    "dim",
    "Dims a lamp.",
    {
        "type": "object",
        "properties": {"room": {"type": "string"}, "level": {"type": "integer"}},
        "required": ["room", "level"],
    },
)


def call(room: str, level: int) -> ToolCall:
    return ToolCall(name="dim", arguments={"room": room, "level": level})


SAMPLE = make_sample(
    kind=Kind.SINGLE,
    split=Split.TRAIN,
    tools=(DIM,),
    messages=(UserMessage(content="Dim the hall to 30."),),
    label=Label(calls=(call("hall", 30),)),
    dialogue_id="d-1",
)
RIGHT = '<tool_call>{"name": "dim", "arguments": {"room": "hall", "level": 30}}</tool_call>'
WRONG = '<tool_call>{"name": "dim", "arguments": {"room": "hall", "level": 3}}</tool_call>'


def probe(output: str, **changes: Any) -> ProbeResult:
    fields: dict[str, Any] = {
        "sample_id": SAMPLE.sample_id,
        "output": output,
        "matched": False,
        "relaxed": False,
        "called": True,
        "tokens": 9,
        "ppl_output": 1.2,
    }
    return ProbeResult(**(fields | changes))


def reply(verdict: str, **changes: str) -> dict[str, str]:
    return {
        "error_analysis": "The level is wrong.",
        "right_approach": "Take the level that was said.",
        "error_type": "wrong_value",
        "verdict": verdict,
    } | changes


def says_wrong(level: int) -> Callable[[Any], dict[str, str]]:
    """A judge for whom the answer with this level is wrong, wherever it stands."""

    def answer(prompt: Any) -> dict[str, str]:
        first = prompt.json_of("answer_a")["tool_calls"]
        return reply(
            "A_WRONG" if first and first[0]["arguments"]["level"] == level else "B_WRONG",
            error_analysis=f"Seen in vote {prompt.text_of('vote')}.",
        )

    return answer


def judge(server: Any, output: str = WRONG, **config: Any) -> tuple[Judgement, JudgeOutcome]:
    problems = config.pop("problems", [])
    outcome: JudgeOutcome = server.ask(
        lambda teacher: judge_mismatches(
            [(SAMPLE, probe(output))],
            JudgeConfig(**config),
            teacher,
            rule_check=lambda sample, label: problems,
        )
    )
    return outcome.judgements[0], outcome


def test_both_orders_are_asked_and_mapped_back(endpoint: Callable[..., Any]) -> None:
    server = endpoint(says_wrong(3))
    judgement, outcome = judge(server)
    assert judgement.verdict == "PRED_WRONG"
    assert [(v.label_first, v.verdict) for v in judgement.votes] == [
        (True, "PRED_WRONG"),
        (False, "PRED_WRONG"),
    ]
    assert judgement.predicted == Label(calls=(call("hall", 3),))
    assert judgement.error_type == "wrong_value"
    assert judgement.right_approach == "Take the level that was said."
    assert outcome.report.by_verdict == {"PRED_WRONG": 1}
    seen = [p.json_of("answer_a")["tool_calls"][0]["arguments"]["level"] for p in server.prompts]
    assert sorted(seen) == [3, 30]


def test_a_wrong_label_is_replaced_by_the_prediction(endpoint: Callable[..., Any]) -> None:
    judgement, outcome = judge(endpoint(says_wrong(30)))
    assert judgement.verdict == "LABEL_WRONG"
    assert judgement.new_label == judgement.predicted
    assert outcome.report.labels_replaced == 1


def test_a_wrong_label_may_be_replaced_by_words(endpoint: Callable[..., Any]) -> None:
    def label_wrong(prompt: Any) -> dict[str, str]:
        return reply("A_WRONG" if prompt.json_of("answer_a")["tool_calls"] else "B_WRONG")

    judgement, _ = judge(endpoint(label_wrong), "Which lamp do you mean?")
    assert judgement.new_label == Label(text="Which lamp do you mean?")


def test_replacing_can_be_switched_off(endpoint: Callable[..., Any]) -> None:
    judgement, outcome = judge(endpoint(says_wrong(30)), replace_labels=False)
    assert (judgement.verdict, judgement.new_label) == ("LABEL_WRONG", None)
    assert "replace_labels" in judgement.note
    assert outcome.report.labels_withheld == 1


def test_a_judge_that_always_prefers_one_place_is_overruled(endpoint: Callable[..., Any]) -> None:
    judgement, outcome = judge(endpoint(lambda _: reply("B_WRONG")))
    assert judgement.verdict == "unjudged"
    assert "disagree" in judgement.note
    assert outcome.report.order_flips == outcome.report.disagreements == 1
    alone, _ = judge(endpoint(lambda _: reply("B_WRONG")), both_orders=False)
    assert alone.verdict == "PRED_WRONG"


@pytest.mark.parametrize("verdict", ["BOTH_CORRECT", "LABEL_WRONG"])
@pytest.mark.parametrize(
    ("output", "problems"),
    [("<tool_call>{oops</tool_call>", []), ("  ", []), (WRONG, ["wrong_type at level"])],
)
def test_a_prediction_that_breaks_the_rules_cannot_be_right(
    endpoint: Callable[..., Any], verdict: str, output: str, problems: list[str]
) -> None:
    right = json.loads(RIGHT[11:-12])["arguments"]

    def answer(prompt: Any) -> dict[str, str]:
        if verdict == "BOTH_CORRECT":
            return reply(verdict)
        calls = prompt.json_of("answer_a")["tool_calls"]
        return reply("A_WRONG" if calls and calls[0]["arguments"] == right else "B_WRONG")

    judgement, outcome = judge(endpoint(answer), output, problems=problems)
    assert (judgement.verdict, judgement.new_label) == ("unjudged", None)
    assert judgement.note.startswith(f"{verdict} set aside")
    assert outcome.report.downgraded == 1


def test_a_prediction_that_breaks_the_rules_can_be_wrong(endpoint: Callable[..., Any]) -> None:
    def answer(prompt: Any) -> dict[str, str]:
        return reply("B_WRONG" if prompt.json_of("answer_a")["tool_calls"] else "A_WRONG")

    judgement, _ = judge(endpoint(answer), "<tool_call>{oops</tool_call>")
    assert judgement.verdict == "PRED_WRONG"
    assert judgement.predicted == Label(text="<tool_call>{oops</tool_call>")


def test_unreadable_votes_are_left_out_and_each_order_needs_one(
    endpoint: Callable[..., Any],
) -> None:
    def first_vote_fails(prompt: Any) -> object:
        return "hm" if prompt.text_of("vote") == "1" else says_wrong(3)(prompt)

    judgement, outcome = judge(endpoint(first_vote_fails), votes=2)
    assert judgement.verdict == "PRED_WRONG"
    assert judgement.error_analysis == "Seen in vote 2."
    assert outcome.report.unreadable_votes == 2

    def one_order_fails(prompt: Any) -> object:
        label_first = prompt.json_of("answer_a")["tool_calls"][0]["arguments"]["level"] == 30
        return "hm" if label_first else says_wrong(3)(prompt)

    judgement, _ = judge(endpoint(one_order_fails), votes=2)
    assert judgement.verdict == "unjudged"
    assert "one of the two orders" in judgement.note


@pytest.mark.parametrize("garbage", ["A", reply("PRED_WRONG"), {"verdict": "A_WRONG"}])
def test_a_verdict_outside_the_four_is_no_vote(
    endpoint: Callable[..., Any], garbage: object
) -> None:
    judgement, _ = judge(endpoint(lambda _: garbage))
    assert (judgement.verdict, judgement.note) == ("unjudged", "no readable vote")
    assert all(vote.verdict == "unreadable" for vote in judgement.votes)


def test_an_unknown_error_type_does_not_spoil_a_vote(endpoint: Callable[..., Any]) -> None:
    judgement, _ = judge(endpoint(lambda p: says_wrong(3)(p) | {"error_type": "typo"}))
    assert (judgement.verdict, judgement.error_type) == ("PRED_WRONG", "other")


def test_votes_differ_in_prompt_and_seed(endpoint: Callable[..., Any]) -> None:
    server = endpoint(says_wrong(3))
    judge(server, votes=3)
    asked = [(p.text_of("vote"), p.request["seed"]) for p in server.prompts]
    assert sorted(asked) == [(str(n), n) for n in (1, 1, 2, 2, 3, 3)]


def test_an_endpoint_that_refuses_everything_is_an_error(endpoint: Callable[..., Any]) -> None:
    with pytest.raises(TeacherRefused):
        judge(endpoint(lambda _: PlainTextResponse("who are you?", status_code=401)))


@pytest.mark.parametrize(
    "changes", [{"matched": True}, {"failure": "out_of_memory"}, {"sample_id": "s-other"}]
)
def test_only_mismatches_are_judged(endpoint: Callable[..., Any], changes: dict[str, Any]) -> None:
    pairs = [(SAMPLE, probe(WRONG, **changes))]
    with pytest.raises(ValueError, match="no mismatch"):
        endpoint(says_wrong(3)).ask(
            lambda teacher: judge_mismatches(
                pairs, JudgeConfig(), teacher, rule_check=lambda sample, label: []
            )
        )


def votes(*verdicts: str) -> list[Vote]:
    """Votes in turn for label first and prediction first."""
    return [
        Vote.model_validate({"model": "m", "label_first": n % 2 == 0, "verdict": verdict})
        for n, verdict in enumerate(verdicts)
    ]


P, L, X = "PRED_WRONG", "LABEL_WRONG", "unreadable"


@pytest.mark.parametrize(
    ("cast", "verdict"),
    [
        ([P, P], P),
        ([P, L], None),
        ([P, X], None),
        ([X, X], None),
        ([P, P, P, L], P),
        ([P, P, L, X], None),
        ([P, P, L, L], None),
        ([P, L, P, L, P, P], None),
        ([P, P, P, P, L, P], P),
        ([P, L, P, X, P, X], None),
    ],
)
def test_votes_must_be_unanimous_or_have_more_than_two_thirds(
    cast: list[str], verdict: str | None
) -> None:
    assert decide_verdict(votes(*cast), JudgeConfig())[0] == verdict


def test_a_prediction_is_read_as_calls_text_or_trouble() -> None:
    assert read_prediction(probe(f"<think>x</think>{RIGHT}")) == (SAMPLE.label, "")
    text_arguments = (
        '<tool_call>{"name": "dim", "arguments": "{\\"room\\": \\"hall\\"}"}</tool_call>'
    )
    assert read_prediction(probe(text_arguments))[0].calls[0].arguments == {"room": "hall"}
    assert read_prediction(probe("No lamp there.")) == (Label(text="No lamp there."), "")
    assert "parsed" in read_prediction(probe("<tool_call>{</tool_call>"))[1]
    assert "empty" in read_prediction(probe(""))[1]


def judged(new_label: Label | None) -> Judgement:
    return Judgement(
        sample_id=SAMPLE.sample_id,
        verdict="LABEL_WRONG",
        votes=(),
        predicted=new_label or Label(),
        new_label=new_label,
    )


def test_a_relabelled_sample_is_a_new_one_that_knows_its_parent() -> None:
    child = relabel(SAMPLE, judged(Label(calls=(call("hall", 3),))), 2)
    assert child.sample_id != SAMPLE.sample_id
    assert (child.parent_id, child.root_id) == (SAMPLE.sample_id, SAMPLE.sample_id)
    assert (child.origin, child.born_in, child.kind) == (Origin.ERROR_SEED, 2, Kind.SINGLE)
    assert (child.messages, child.split) == (SAMPLE.messages, SAMPLE.split)
    grandchild = relabel(
        child, judged(SAMPLE.label).model_copy(update={"sample_id": child.sample_id}), 3
    )
    assert (grandchild.parent_id, grandchild.root_id) == (child.sample_id, SAMPLE.sample_id)


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        (Label(text="Which room?"), Kind.CLARIFY),
        (Label(text="I cannot do that."), Kind.NO_TOOL),
        (Label(calls=(call("hall", 3), call("den", 3))), Kind.PARALLEL),
    ],
)
def test_the_kind_follows_the_new_label(label: Label, kind: Kind) -> None:
    assert relabel(SAMPLE, judged(label), 1).kind is kind


def test_a_call_that_replaces_words_gets_the_kind_of_its_place() -> None:
    messages = (*SAMPLE.messages, ToolMessage(name="dim", content='{"error": "busy"}'))
    summary = SAMPLE.model_copy(
        update={"messages": messages, "kind": Kind.SUMMARY, "label": Label(text="It failed.")}
    )
    assert relabel(summary, judged(SAMPLE.label), 1).kind is Kind.RETRY


def test_relabelling_needs_a_label_for_this_very_sample() -> None:
    with pytest.raises(ValueError, match="holds no label"):
        relabel(SAMPLE, judged(None), 1)


def test_votes_go_round_the_models_in_each_order(endpoint: Callable[..., Any]) -> None:
    server = endpoint(says_wrong(3))
    judgement, _ = judge(server, votes=3, models=("a", "b"))
    cast = [(v.label_first, v.model) for v in judgement.votes]
    assert cast == [(first, name) for first in (True, False) for name in ("a", "b", "a")]
    assert sorted(p.request["model"] for p in server.prompts) == ["a", "a", "a", "a", "b", "b"]


def test_more_models_than_votes_are_an_error() -> None:
    with pytest.raises(ValueError, match="never be asked"):
        JudgeConfig(votes=1, models=("a", "b"))


def test_a_pair_that_matches_by_the_relaxed_rule_is_judged_and_marked(
    endpoint: Callable[..., Any],
) -> None:
    outcome = endpoint(says_wrong(3)).ask(
        lambda teacher: judge_mismatches(
            [(SAMPLE, probe(WRONG, relaxed=True)), (SAMPLE, probe(WRONG))],
            JudgeConfig(),
            teacher,
            rule_check=lambda sample, label: [],
        )
    )
    assert [judgement.marked for judgement in outcome.judgements] == [True, False]
    assert outcome.report.marked == 1


@pytest.mark.parametrize(
    ("config", "cast", "verdict"),
    [
        ({"agreement_rate": 0.5}, [P, P, P, L, L], P),
        ({"agreement_rate": 0.5, "margin": 2}, [P, P, P, L, L], None),
        ({"agreement_rate": 0.5, "margin": 2}, [P, P, P, P, L, L], P),
        ({"agreement_rate": 0.9}, [P, P, P, P, L, P], None),
        ({"both_orders": False}, [P], P),
        ({"margin": 2}, [P, X], None),
    ],
)
def test_agreement_and_margin_are_configured(
    config: dict[str, Any], cast: list[str], verdict: str | None
) -> None:
    assert decide_verdict(votes(*cast), JudgeConfig(**config))[0] == verdict


def test_the_new_sample_leads_back_to_the_old_label_the_votes_and_the_reasons(
    endpoint: Callable[..., Any],
) -> None:
    judgement, _ = judge(endpoint(says_wrong(30)))
    child = relabel(SAMPLE, judgement, 2)
    assert child.label == judgement.proposed_label != SAMPLE.label
    assert (child.parent_id, child.born_in) == (judgement.sample_id, 2)
    assert all(vote.error_analysis and vote.right_approach for vote in judgement.votes)
