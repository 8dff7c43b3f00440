"""The tool designer answers its prompt, and errs in a share of its tools."""

from typing import Any

from looptool.config import NoiseConfig
from tests.simulator.conftest import Endpoint

CONTEXT = {"domain": "Travel", "area": "Accommodation", "task": "Hotel search"}
CONSTRAINTS = [
    {"level": "naming", "choice": "camelCase", "rule": ""},
    {"level": "parameters", "choice": "several", "rule": ""},
    {"level": "types", "choice": "complex.tuple", "rule": ""},
    {"level": "output", "choice": "list", "rule": ""},
    {"level": "description", "choice": "with_example", "rule": ""},
]


def make(endpoint: Endpoint, nonce: int = 0, constraints: Any = CONSTRAINTS, **options: Any) -> Any:
    return endpoint.ask(
        "seed_tool_spec",
        context=CONTEXT,
        words=["hotel", "room"],
        constraints=constraints,
        nonce=str(nonce),
        **options,
    )


def test_the_tool_has_the_shape_that_the_prompt_asks_for(quiet: Endpoint) -> None:
    for nonce in range(20):
        found = make(quiet, nonce)
        properties = found["parameters"]["properties"]
        assert found["name"][0].islower()
        assert not set("_- ") & set("".join([found["name"], *properties]))
        assert 4 <= len(properties) <= 6
        assert any("prefixItems" in schema for schema in properties.values())
        assert set(found["parameters"]["required"]) <= set(properties)
        assert found["returns"]["type"] == "array"
        assert "Example:" in found["description"]
        assert "hotel" in (found["name"] + found["description"]).lower()


def test_another_nonce_is_another_tool_and_the_same_one_is_the_same(quiet: Endpoint) -> None:
    found = [make(quiet, nonce) for nonce in range(10)]
    assert found[0] == make(quiet, 0)
    assert len({str(one) for one in found}) >= 8


def test_a_tree_that_it_does_not_know_still_gives_a_tool(quiet: Endpoint) -> None:
    found = make(quiet, constraints=[{"level": "mood", "choice": "solemn", "rule": "Be solemn."}])
    assert found["name"]
    assert found["parameters"]["type"] == "object"


def test_a_share_of_the_tools_breaks_a_constraint_unless_an_expert_makes_them() -> None:
    noisy, calm = Endpoint(NoiseConfig(nonconforming_rate=0.5)), Endpoint()
    spoiled = sum(make(noisy, n) != make(calm, n) for n in range(60))
    assert 15 <= spoiled <= 45
    expert = [make(noisy, n, model="scripted-expert") for n in range(20)]
    assert expert == [make(calm, n) for n in range(20)]
