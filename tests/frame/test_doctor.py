"""`looptool doctor` says what is here, what a profile misses, and what to do about it."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from looptool.cli import app
from looptool.doctor import PACKAGES, Diagnosis, Machine, diagnose, look_at_machine

BASE = Path(__file__).parents[2] / "models" / "nano-base"


@pytest.fixture
def diagnosis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Diagnose":
    monkeypatch.chdir(tmp_path)
    return Diagnose(tmp_path)


class Diagnose:
    """Judges a profile that is written for the test."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "mine.toml"

    def __call__(self, text: str) -> Diagnosis:
        self.path.write_text(text)
        return diagnose([self.path])

    def problems(self, text: str) -> dict[str, str]:
        """What is wrong -> what to do."""
        return {p.what: p.fix for p in self(text).profiles[0].problems}


def test_every_package_of_this_environment_is_named_with_its_version(diagnosis: Diagnose) -> None:
    found = {group.name: group for group in diagnosis("").groups}
    assert set(found) == {*PACKAGES, "engines"}
    assert found["core"].complete
    assert found["core"].versions["looptool"]
    assert found["core"].python == sys.executable


def test_the_machine_has_cores_and_memory() -> None:
    machine = look_at_machine()
    assert isinstance(machine, Machine)
    assert machine.cores >= 1
    assert machine.memory_gib > 0.1


def test_a_profile_of_what_is_installed_has_no_problems(diagnosis: Diagnose) -> None:
    pytest.importorskip("trl")
    assert diagnosis.problems(f'[policy]\nbase = "{BASE}"') == {}


def test_a_missing_base_checkpoint_is_a_problem(diagnosis: Diagnose) -> None:
    found = diagnosis.problems('[policy]\nbase = "nowhere"')
    assert [fix for what, fix in found.items() if "nowhere does not exist" in what] == [
        "download the base checkpoint into that folder"
    ]


def test_an_interpreter_without_vllm_is_a_problem_with_the_command_that_helps(
    diagnosis: Diagnose, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    found = diagnosis.problems(
        f'[policy]\nbase = "{BASE}"\nengine = "vllm"\npython = "{python}"\n[probe]\nreplicas = 2'
    )
    assert found[f"vllm, ray not in {python}"] == "make engines"


def test_a_probe_over_more_gpus_than_there_are_is_a_problem_unless_a_cluster_is_named(
    diagnosis: Diagnose,
) -> None:
    profile = f'[probe]\ntensor_parallel = 512\n[policy]\nbase = "{BASE}"\nengine = "vllm"\n'
    assert any("wants 512 GPUs" in what for what in diagnosis.problems(profile))
    there = diagnosis.problems(profile + 'ray_address = "ray://head:10001"')
    assert not any("GPUs" in what for what in there)


def test_a_teacher_that_does_not_answer_is_a_problem(diagnosis: Diagnose) -> None:
    found = diagnosis.problems('[teacher]\nbase_url = "http://127.0.0.1:9/v1"')
    assert any("127.0.0.1:9/v1 does not answer" in what for what in found)


def test_a_profile_with_a_wrong_key_is_judged_by_its_error(diagnosis: Diagnose) -> None:
    (what,) = diagnosis.problems("[policy]\nbsae = 1")
    assert "unknown key policy.bsae (did you mean base?)" in what


def test_the_command_prints_json_and_its_status_tells_whether_the_profile_runs(
    diagnosis: Diagnose,
) -> None:
    diagnosis.path.write_text('[policy]\nbase = "nowhere"')
    run = CliRunner().invoke(app, ["doctor", "--json", str(diagnosis.path)])
    assert run.exit_code == 1
    (check,) = json.loads(run.stdout)["profiles"]
    assert check["name"] == "mine"
    assert check["problems"]
    shown = CliRunner().invoke(app, ["doctor", str(diagnosis.path)])
    assert "mine" in shown.stdout
    assert "no" in shown.stdout
