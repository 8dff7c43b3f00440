"""What holds for any seed and any plan: nothing repeats needlessly, the trap stays, no unseen tool enters."""

from collections import Counter
from random import Random
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from looptool.expand import (
    TOOL_CHANGES,
    ErrorSeed,
    Family,
    Variety,
    error_seeds,
    find_difficulty,
    load_variety,
    plan_variations,
    spread,
    tools_of,
)
from looptool.records import (
    Difficulty,
    Judgement,
    Kind,
    Label,
    Sample,
    Split,
    ToolCall,
    ToolSpec,
    UserMessage,
    make_sample,
    make_tool,
)
from looptool.seed.difficulty import name_difficulty

calmly = settings(max_examples=25, deadline=None)
"""Machines that are busy with something else are slow, and not wrong."""
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"q": {"type": "string"}}}
DOMAINS = ("air", "sea", "land")


def tool(number: int, name: str = "tool") -> ToolSpec:
    return make_tool(f"{name}_{number}", "Does it.", SCHEMA, domain=DOMAINS[number % 3])


def name_of(spec: ToolSpec) -> str:
    return spec.name


SEEN = [tool(n) for n in range(12)]
UNSEEN = [tool(n, "secret") for n in range(6)]


def call(spec: ToolSpec) -> Label:
    return Label(calls=(ToolCall(name=spec.name, arguments={"q": "x"}),))


def make(tools: list[ToolSpec], label: Label, **changes: Any) -> Sample:
    fields: dict[str, Any] = {
        "kind": Kind.SINGLE if label.calls else Kind.CLARIFY,
        "split": Split.TRAIN,
        "tools": tuple(tools),
        "messages": (UserMessage(content="Do it."),),
        "label": label,
        "persona": "p0",
        "style": "s0",
        "dialogue_id": "d",
    }
    return make_sample(**(fields | changes))


def fail(sample: Sample, predicted: Label, analysis: str = "") -> ErrorSeed:
    judgement = Judgement(
        sample_id=sample.sample_id,
        verdict="PRED_WRONG",
        votes=(),
        predicted=predicted,
        error_analysis=analysis,
    )
    return error_seeds({sample.sample_id: sample}, [judgement], 1)[0]


@st.composite
def seeds(draw: st.DrawFn) -> ErrorSeed:
    tools = draw(st.lists(st.sampled_from(SEEN), min_size=1, max_size=6, unique_by=name_of))
    right = draw(st.sampled_from(tools))
    wrong = draw(st.sampled_from(tools))
    asks = draw(st.booleans())
    difficulty = draw(st.sampled_from(get_args(Difficulty)))
    label = Label(text="Which one?") if asks else call(right)
    text = draw(st.text(min_size=1, max_size=5))
    sample = make(tools, label, difficulty=difficulty, messages=(UserMessage(content=text),))
    return fail(sample, call(wrong))


names = st.lists(st.text("abc", min_size=1, max_size=2), max_size=7, unique=True)
varieties = st.builds(
    Variety,
    personas=names,
    styles=names,
    scenarios=names,
    values=names,
    tools=st.lists(st.sampled_from(SEEN), unique_by=name_of),
    tools_max=st.integers(0, 8),
)


@calmly
@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=5),
    st.integers(0, 90),
    st.integers(0, 9),
)
def test_no_entry_and_no_leading_pair_comes_again_before_all_were_used(
    sizes: list[int], count: int, number: int
) -> None:
    lists = [[str(n) for n in range(size)] for size in sizes]
    rows = spread(lists, count, Random(number))
    assert len(rows) == count
    for place, size in enumerate(sizes):
        first = [row[place] for row in rows[:size]]
        assert len(set(first)) == len(first)
    pairs = Counter(row[:2] for row in rows)
    used = max(pairs.values(), default=0)
    assert used <= -(-count // (sizes[0] * sizes[1]))


@calmly
@given(seeds(), varieties, st.integers(0, 12), st.integers(0, 5))
def test_a_plan_keeps_the_trap_and_takes_tools_from_the_pool_alone(
    seed: ErrorSeed, variety: Variety, count: int, number: int
) -> None:
    parent = seed.sample
    plan = plan_variations(seed, variety, count, number)
    assert len(plan) == count
    trap = {c.name for c in (*parent.label.calls, *seed.wrong.calls)}
    known = {t.tool_id for t in (*parent.tools, *variety.tools)}
    for variation in plan:
        here = [t.name for t in variation.tools]
        assert len(set(here)) == len(here)
        assert trap <= set(here)
        assert {t.tool_id for t in variation.tools} <= known
        assert len(parent.tools) <= len(here) <= max(len(parent.tools), variety.tools_max)
        if not parent.label.calls:
            assert {t.name for t in parent.tools} <= set(here)
        assert variation.persona != parent.persona or not set(variety.personas) - {"p0"}
        assert variation.style != parent.style or not set(variety.styles) - {"s0"}


@calmly
@given(seeds(), varieties, st.integers(0, 12), st.integers(1, 5))
def test_a_longer_plan_begins_with_the_shorter_one(
    seed: ErrorSeed, variety: Variety, count: int, more: int
) -> None:
    longer = plan_variations(seed, variety, count + more, 3)
    assert longer[:1] == plan_variations(seed, variety, 1, 3)
    assert longer[:count] == plan_variations(seed, variety, count, 3)


@calmly
@given(seeds(), st.integers(0, 5))
def test_exchanged_tools_leave_the_difficulty_as_it_is(seed: ErrorSeed, number: int) -> None:
    parent = seed.sample
    named = find_difficulty(parent, name_difficulty)
    honest = parent.model_copy(update={"difficulty": named})
    plan = plan_variations(
        ErrorSeed(honest, seed.wrong, seed.judgement),
        Variety(tools=SEEN, tools_max=7),
        8,
        number,
    )
    for variation in plan:
        child = honest.model_copy(update={"tools": variation.tools})
        assert find_difficulty(child, name_difficulty) == named


@calmly
@given(st.lists(st.tuples(st.sampled_from(SEEN + UNSEEN), st.sampled_from(Split)), max_size=20))
def test_the_pool_holds_tools_of_training_samples_alone_in_an_order_of_its_own(
    rows: list[tuple[ToolSpec, Split]],
) -> None:
    samples = [make([spec], call(spec), split=split) for spec, split in rows]
    pool = tools_of(samples)
    assert {t.name for t in pool} == {t.name for t, split in rows if split is Split.TRAIN}
    assert pool == tools_of(samples[::-1])


def test_unseen_tools_never_enter() -> None:
    train = [make(SEEN[n : n + 4], call(SEEN[n])) for n in range(9)]
    heldout = [make([spec], call(spec), split=Split.HELDOUT_UNSEEN) for spec in UNSEEN]
    variety = Variety(tools=tools_of([*train, *heldout]), tools_max=6)
    used = {
        found.name
        for sample in train
        for variation in plan_variations(fail(sample, call(SEEN[0])), variety, 8, 1)
        for found in variation.tools
    }
    assert used == {spec.name for spec in SEEN}


def test_tools_vary_over_the_attempts_and_a_tool_that_the_judge_names_stays() -> None:
    sample = make(SEEN[:5], call(SEEN[0]))
    variety = Variety(tools=SEEN, tools_max=6)
    plan = plan_variations(fail(sample, call(SEEN[1])), variety, 8, 1)
    sets = [frozenset(t.name for t in variation.tools) for variation in plan]
    own = frozenset(t.name for t in sample.tools)
    assert len(TOOL_CHANGES) == 4
    assert sum(found == own for found in sets) == 2
    assert sum(len(found) == 6 for found in sets) == 4
    assert all(own - found for found in sets if len(found) == 5 and found != own)
    named = fail(sample, call(SEEN[1]), "It took tool_2, tool_3 or tool_4.")
    for variation in plan_variations(named, variety, 8, 1):
        assert own <= {t.name for t in variation.tools}


@calmly
@given(st.permutations(range(6)))
def test_the_plan_of_a_seed_depends_on_no_other(order: list[int]) -> None:
    variety = Variety("abc", "xyz", *load_variety(), tools=SEEN, tools_max=6)
    parents = [make(SEEN[n : n + 4], call(SEEN[n])) for n in range(6)]
    alone = [plan_variations(fail(p, call(SEEN[0])), variety, 8, 1) for p in parents]
    mixed = {n: plan_variations(fail(parents[n], call(SEEN[0])), variety, 8, 1) for n in order}
    assert [mixed[n] for n in range(6)] == alone


def test_choices_are_spread_evenly_over_many_seeds() -> None:
    variety = Variety("abc", "wxyz", *load_variety())
    parents = [
        make(SEEN[:3], call(SEEN[0]), messages=(UserMessage(content=f"Do {n}."),))
        for n in range(150)
    ]
    plans = [plan_variations(fail(p, call(SEEN[1])), variety, 4, 1) for p in parents]
    voices = Counter((v.persona, v.style) for plan in plans for v in plan)
    assert len(voices) == 12
    assert max(voices.values()) < 2 * min(voices.values())
    places = Counter(v.scenario for plan in plans for v in plan)
    assert len(places) == len(load_variety()[0])
    assert max(places.values()) < 2 * min(places.values())


def test_without_any_choice_the_parents_voice_stays() -> None:
    seed = fail(make(SEEN[:1], call(SEEN[0])), Label(text="What?"))
    plan = plan_variations(seed, Variety(), 2, 1)
    assert {(v.persona, v.style, v.scenario, v.values) for v in plan} == {("p0", "s0", "", "")}
    assert all(v.tools == seed.sample.tools for v in plan)


@calmly
@given(st.lists(st.text("aB é", min_size=1, max_size=3), min_size=1, max_size=12))
def test_a_family_holds_each_context_once_whatever_its_case_and_blanks(texts: list[str]) -> None:
    parent = make(SEEN[:1], Label(text="What?"))
    family = Family(parent)
    admitted = [
        text
        for text in texts
        if family.admit(
            parent.model_copy(update={"messages": (UserMessage(content=f"Please {text}!"),)})
        )
        is None
    ]
    folded = {" ".join(f"please {text}!".casefold().split()) for text in texts}
    assert len(admitted) == len(folded)
    assert family.admit(parent) is not None
