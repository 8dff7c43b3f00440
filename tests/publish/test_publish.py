"""What is published can be read by others, says where it comes from, and is whole or not there."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from benchmarks.iterations import make_record
from looptool.artifacts import ArtifactRef, ArtifactWriter, CheckpointRef, Store
from looptool.calls import compute_score
from looptool.campaign import Campaign, Standing
from looptool.cli import app
from looptool.config import LoopConfig
from looptool.errors import CampaignError, ConfigError
from looptool.publish import publish, upload
from looptool.publish.formats import as_swift, as_trl
from looptool.records import (
    AssistantMessage,
    Kind,
    Label,
    Record,
    Sample,
    Score,
    Split,
    ToolCall,
    ToolMessage,
    UserMessage,
    make_sample,
    make_tool,
)
from looptool.schema import from_table
from looptool.train.verl.rows import unpack_prompt, unpack_tools

TOOL = make_tool("find", "Find", {"type": "object", "properties": {"q": {"type": "string"}}})


def call(text: str) -> ToolCall:
    return ToolCall(name="find", arguments={"q": text})


def sample(number: int, label: Label) -> Sample:
    return make_sample(
        kind=Kind.MULTI_STEP,
        split=Split.TRAIN,
        tools=(TOOL,),
        messages=(
            UserMessage(content=f"Suche Ä und B, Nummer {number} </script>"),
            AssistantMessage(content="", calls=(call("Ä"), call("B"))),
            ToolMessage(name="find", content='{"n": 1}'),
            ToolMessage(name="find", content='{"n": 2}'),
        ),
        label=label,
        dialogue_id=f"d{number}",
    )


SAMPLES = [sample(0, Label(calls=(call("C"),))), sample(1, Label(text="1 and 2."))]


def test_a_trl_row_is_prompt_and_completion_and_its_own_answer_is_right() -> None:
    row = as_trl(SAMPLES[0])
    assert [m["role"] for m in row["prompt"]] == ["user", "assistant", "tool", "tool"]
    (answer,) = row["completion"]
    (made,) = answer["tool_calls"]
    text = f"<tool_call>{json.dumps(made['function'])}</tool_call>"
    assert compute_score("looptool", text, row["ground_truth"], None)["score"] == 1.0


def test_a_swift_row_has_a_message_for_every_call_and_result() -> None:
    row = as_swift(SAMPLES[0])
    roles = [message["role"] for message in row["messages"]]
    assert roles == ["user", *["tool_call"] * 2, *["tool_response"] * 2, "tool_call"]
    assert json.loads(row["messages"][1]["content"]) == {"name": "find", "arguments": {"q": "Ä"}}
    assert json.loads(row["tools"]) == SAMPLES[0].tool_specs()
    assert as_swift(SAMPLES[1])["messages"][-1] == {"role": "assistant", "content": "1 and 2."}


def commit(store: Store, stage: str, rows: dict[str, list[Record]], **stats: Any) -> ArtifactRef:
    writer = ArtifactWriter(store, "campaigns/c/iterations/0001", stage, stage)
    for table, records in rows.items():
        writer.write(table, table, records)
    return writer.commit({}, {}, stats)


def score(iteration: int, correct: int) -> Score:
    return Score(
        iteration=iteration,
        slice="all",
        n=10,
        correct=correct,
        accuracy=correct / 10,
        low=0.0,
        high=1.0,
    )


def make_campaign(root: Path, *, promoted: bool = True) -> Campaign:
    """One complete iteration with a checkpoint of two files."""
    store = Store(str(root / "lake"))
    campaign = Campaign(store, "c")
    campaign.adopt(LoopConfig())
    folder = root / "weights"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "qwen3"}')
    (folder / "model.safetensors").write_bytes(b"weights")
    writer = ArtifactWriter(store, "campaigns/c/iterations/0001", "train", "train")
    writer.write_files("checkpoint", folder)
    trained = writer.commit({}, {}, {})
    policy = CheckpointRef(uri=trained.uri, digest=trained.digest)
    base = Standing(
        iteration=0,
        checkpoint=CheckpointRef(uri="file:///somewhere/base", digest="b"),
        scores=commit(store, "scores0", {"scores": [score(0, 3)]}),
    )
    scores = commit(store, "scores1", {"scores": [score(1, 6)]})
    origins = {"seed": 2}
    data = commit(
        store, "dataset", {"samples": list(SAMPLES)}, by_origin=origins, by_kind={"multi_step": 2}
    )
    campaign.finish(
        make_record(
            1,
            dataset=data,
            merged=data,
            checkpoint=policy,
            scores=scores,
            verdicts=data,
            start=base,
            promoted=promoted,
        )
    )
    return campaign


def test_the_folders_hold_the_model_and_the_data_in_every_format(tmp_path: Path) -> None:
    done = publish(make_campaign(tmp_path), tmp_path / "out")
    assert (done.iteration, done.samples) == (1, 2)
    assert (done.model / "model.safetensors").read_bytes() == b"weights"
    card = (done.model / "README.md").read_text()
    assert "| all | 10 | 30.0% (0.0-100.0) | 60.0% (0.0-100.0) |" in card
    assert "nano-base trained to call tools" in card
    assert str(tmp_path) not in card
    data = pq.read_table(done.dataset / "samples.parquet")
    assert list(from_table("samples", data)) == SAMPLES
    (first, _) = pq.read_table(done.dataset / "verl" / "train.parquet").to_pylist()
    assert unpack_prompt(first["prompt"]) == SAMPLES[0].chat()
    assert unpack_tools(first["extra_info"]) == SAMPLES[0].tool_specs()
    for name in ("trl", "swift"):
        lines = (done.dataset / name / "train.jsonl").read_text().splitlines()
        assert [json.loads(line)["sample_id"] for line in lines] == [s.sample_id for s in SAMPLES]
    assert "| seed | 2 |" in (done.dataset / "README.md").read_text()


def test_nothing_is_overwritten_and_nothing_half_done_stays(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        publish(campaign, out)
    (out / "mine").unlink()
    checkpoint = tmp_path / "lake" / "campaigns" / "c" / "iterations" / "0001" / "train" / "train"
    (checkpoint / "manifest.json").rename(tmp_path / "away.json")
    with pytest.raises(CampaignError, match="gone from the store"):
        publish(campaign, out)
    assert {path.name for path in tmp_path.iterdir()} == {"lake", "weights", "out", "away.json"}
    assert list(out.iterdir()) == []


def test_a_campaign_whose_policy_was_not_promoted_says_so(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path, promoted=False)
    with pytest.raises(CampaignError, match="better than the base model"):
        publish(campaign, tmp_path / "out")
    assert publish(campaign, tmp_path / "out", iteration=1).iteration == 1
    with pytest.raises(CampaignError, match="iterations 1 to 1, not 2"):
        publish(campaign, tmp_path / "other", iteration=2)


def test_the_command_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_campaign(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    runner = CliRunner()
    done = runner.invoke(app, ["publish", "c", "-o", "out", "--json"])
    assert json.loads(done.stdout)["samples"] == "2"
    missing = runner.invoke(app, ["publish", "other", "-o", "new"])
    assert missing.exit_code == 1
    assert "campaign other has no complete iteration" in missing.stderr
    with pytest.raises(ConfigError, match="HF_TOKEN"):
        upload(tmp_path / "out" / "model", "me/model", "model")
