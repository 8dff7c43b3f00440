"""What the fuzzers check holds for all inputs that they start from, and for the first mutations of them."""

import json
import sys
from pathlib import Path
from random import Random

import pytest

from fuzz.__main__ import main
from fuzz.mutate import mutate_json, mutate_text
from fuzz.run import change
from fuzz.targets import TARGETS

FEW = {"manifests": 20, "python": 60}
"""Mutations of targets that take longer than the others."""


@pytest.mark.parametrize("name", TARGETS)
def test_the_laws_hold_for_the_seeds_and_for_mutations_of_them(name: str) -> None:
    target = TARGETS[name]
    seeds = list(dict.fromkeys(target.seeds()))
    assert len(seeds) >= 5
    for seed in seeds[:: max(1, len(seeds) // 60)]:
        target.check(seed)
    rng = Random(name)
    for number in range(FEW.get(name, 150)):
        changed = change(rng.choice(seeds), number, target.is_json)
        if changed is not None:
            target.check(changed)


def test_the_same_seed_gives_the_same_mutation_and_leaves_the_original_alone() -> None:
    document = {"a": [1, {"b": "c"}], "d": None}
    before = json.dumps(document)
    changed = [mutate_json(Random(n), document) for n in range(200)]
    assert [mutate_json(Random(n), document) for n in range(200)] == changed
    assert json.dumps(document) == before
    assert len({json.dumps(value, sort_keys=True) for value in changed}) > 100
    texts = [mutate_text(Random(n), "<think>x</think>", ["other"]) for n in range(200)]
    assert [mutate_text(Random(n), "<think>x</think>", ["other"]) for n in range(200)] == texts
    assert len(set(texts)) > 100


def run_fuzz(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The command, in this process."""
    monkeypatch.setattr(sys, "argv", ["fuzz", *arguments])
    return main()


def test_a_finding_is_replayed_without_a_fuzzer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finding = tmp_path / "crash-1"
    finding.write_bytes(b"<tool_call>\xff")
    assert run_fuzz(monkeypatch, "parser", "--replay", str(finding)) == 0
    assert "nothing was found" in capsys.readouterr().out
    for arguments, said in ((["--replay", str(finding)], "the one target"), (["x"], "parser, ")):
        with pytest.raises(SystemExit):
            run_fuzz(monkeypatch, *arguments)
        assert said in capsys.readouterr().err


@pytest.mark.slow
def test_the_fuzzer_learns_and_says_what_it_has_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("atheris", reason="pip install 'looptool[fuzz]'")
    monkeypatch.setattr("fuzz.__main__.STATE", tmp_path)
    out = tmp_path / "results.json"
    assert run_fuzz(monkeypatch, "parser", "--seconds", "5", "--out", str(out)) == 0
    (row,) = json.loads(out.read_text())
    assert row["inputs"] > 100
    assert row["edges"] > 50
    assert row["findings"] == []
