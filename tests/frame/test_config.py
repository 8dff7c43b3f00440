"""A profile is checked before any work starts, and says what to do."""

from pathlib import Path

import pytest

from looptool.config import LoopConfig, load_profile, parse_config
from looptool.errors import ConfigError
from tasks.profiles import FOLDER, resolve_profile


@pytest.mark.parametrize("profile", sorted(p.stem for p in FOLDER.glob("*.toml")))
def test_every_profile_of_the_repository_is_valid(profile: str) -> None:
    assert isinstance(resolve_profile(profile), LoopConfig)


def test_defaults_are_the_papers_values() -> None:
    config = parse_config({})
    assert (config.train.batch_size, config.train.group_size, config.train.epochs) == (128, 16, 2)
    assert (config.train.learning_rate, config.train.clip_high) == (1e-6, 0.28)
    assert (config.expand.per_seed, config.expand.temperature, config.expand.top_p) == (4, 1.0, 0.9)
    assert config.merge.dataset_size == 18304


def test_an_unknown_profile_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="laptop"):
        resolve_profile("no-such-profile")


def test_a_misspelt_key_gets_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"judge\.vots.*did you mean votes"):
        parse_config({"judge": {"vots": 2}})


def test_a_misspelt_section_gets_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean judge"):
        parse_config({"jugde": {"votes": 2}})


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"train\.batch_size = 0.*merge\.dataset_size"):
        parse_config({"train": {"batch_size": 0}, "merge": {"dataset_size": "many"}})


def test_broken_toml_names_the_place(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text("[judge\nvotes = 1")
    with pytest.raises(ConfigError, match="line 1"):
        load_profile(file)


@pytest.mark.parametrize(
    "text", ["random_seed = " + "9" * 5000, "a = " + "[" * 20000, "a = '\x00'"]
)
def test_toml_that_python_itself_cannot_read_is_an_error_of_the_profile(
    text: str, tmp_path: Path
) -> None:
    file = tmp_path / "odd.toml"
    file.write_bytes(text.encode())
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_profile(file)


def test_overrides_are_laid_over_the_profile(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text("[judge]\nvotes = 1\n")
    config = load_profile(
        file, {"judge.votes": 3, "judge": {"both_orders": False}, "random_seed": 7}
    )
    assert (config.judge.votes, config.judge.both_orders, config.random_seed) == (3, False, 7)


def test_a_wrong_override_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text("")
    with pytest.raises(ConfigError, match="unknown key judge"):
        load_profile(file, {"judge.nothing": 1})


def test_the_section_named_validate_is_read_under_that_name() -> None:
    assert parse_config({"validate": {"review": False}}).validate_.review is False
