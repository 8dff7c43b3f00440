"""`looptool decontaminate`: an index from a folder, and what it finds in a table of samples."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
from typer.testing import CliRunner

from looptool.cli import app
from looptool.records import Kind, Label, Sample, Split, UserMessage, make_sample
from looptool.schema import to_table

PROMPT = "please find out who painted the ceiling of the chapel in the old town hall"


def sample(text: str) -> Sample:
    return make_sample(
        kind=Kind.NO_TOOL,
        split=Split.TRAIN,
        tools=(),
        messages=(UserMessage(content=text),),
        label=Label(text="I cannot."),
        dialogue_id=f"d-{text}",
    )


def test_an_index_is_built_and_a_table_checked_against_it(tmp_path: Path) -> None:
    bench, index, data = tmp_path / "bench.json", tmp_path / "b.index", tmp_path / "s.parquet"
    bench.write_text(json.dumps([{"id": "q-7", "prompt": PROMPT}]), "utf-8")
    copied, clean = sample(PROMPT.upper()), sample("what is new")
    pq.write_table(to_table("samples", [copied, clean]), data)
    run = CliRunner()
    built = run.invoke(app, ["decontaminate", "index", str(bench), "-o", str(index)])
    assert built.exit_code == 0, built.output
    assert "1 entries of bench" in re.sub(r"\s+", " ", built.output)
    command = ["decontaminate", "check", str(data), "--index", str(index)]
    found = run.invoke(app, [*command, "--json"])
    assert found.exit_code == 1
    rows = json.loads(found.stdout)
    assert {(row["sample_id"], row["entry"]) for row in rows} == {(copied.sample_id, "q-7")}
    assert "2 samples, 1 to drop, 0 flagged" in run.invoke(app, command).output
    pq.write_table(to_table("samples", [clean]), data)
    assert run.invoke(app, command).exit_code == 0


def test_a_missing_index_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    command = ["decontaminate", "check", "x.parquet", "--index", str(tmp_path / "none")]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 1
    assert "looptool decontaminate index" in re.sub(r"\s+", " ", refused.output)
