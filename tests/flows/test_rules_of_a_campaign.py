"""What needs no server: when a campaign stops, what is wrong with its input, settings from a shell."""

from pathlib import Path

import pytest

from benchmarks.iterations import make_record
from looptool.artifacts import ArtifactRef, CheckpointRef
from looptool.campaign import IterationRecord
from looptool.config import StopConfig, parse_config
from looptool.errors import ConfigError, DataError
from tasks.profiles import read_override
from tasks.record import check_inputs, should_stop


def records(*accuracies: float) -> list[IterationRecord]:
    ref = ArtifactRef(stage="s", uri="u", key="k", digest="d", rows={})
    policy = CheckpointRef(uri="u", digest="d")
    return [
        make_record(
            number,
            dataset=ref,
            merged=ref,
            checkpoint=policy,
            scores=ref,
            verdicts=ref,
            summary={"accuracy": {"all": accuracy}},
        )
        for number, accuracy in enumerate(accuracies, start=1)
    ]


def test_a_campaign_goes_on_while_accuracy_rises() -> None:
    assert should_stop(records(0.5, 0.6, 0.7), StopConfig(plateau_rounds=2)) == ""


def test_a_campaign_stops_after_the_configured_rounds_without_a_new_best() -> None:
    rule = StopConfig(plateau_rounds=2)
    assert should_stop(records(0.7, 0.6), rule) == ""
    assert "70.0%" in should_stop(records(0.7, 0.6, 0.65), rule)


def test_a_gain_below_the_configured_one_is_no_progress() -> None:
    assert should_stop(records(0.5, 0.505), StopConfig(plateau_rounds=1, min_gain=0.01))
    assert not should_stop(records(0.5, 0.52), StopConfig(plateau_rounds=1, min_gain=0.01))


def test_a_missing_model_folder_is_found_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no model there"):
        check_inputs(parse_config({"policy": {"base": str(tmp_path)}}))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("{nope", ConfigError, "not JSON"),
        ("[]", ConfigError, "no tools"),
        ('[{"type": "function", "function": {"parameters": {}}}]', DataError, "no name"),
    ],
)
def test_a_bad_tool_file_is_found_before_any_work(
    text: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "tools.json"
    file.write_text(text)
    source = {"format": "json", "location": str(file)}
    config = parse_config({"seed": {"sources": [source]}})
    with pytest.raises(error, match=message):
        check_inputs(config)
    check_inputs(config, tools=False)  # a campaign that has its tools no longer needs the file


def test_settings_from_a_shell_are_json_or_text() -> None:
    assert read_override("judge.votes=3") == ("judge.votes", 3)
    assert read_override("store.root=s3://b/p?x=1") == ("store.root", "s3://b/p?x=1")
    with pytest.raises(ConfigError, match="key=value"):
        read_override("judge.votes")
