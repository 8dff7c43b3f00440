"""Shell, path, template, HTML and SQL metacharacters go through every stage as data, whoever wrote them.

The tools' documents are full of them, the teacher adds them to all that it says, the policy answers with them.
The stages are the tasks themselves; only training and answering are written by hand.
"""

import dataclasses
import json
import re
import threading
import time
from collections.abc import Iterator, MutableMapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet as pq
import pytest
import uvicorn

from benchmarks.crash_round import CAMPAIGN, POLICIES, run_round
from looptool.artifacts import ArtifactRef, CheckpointRef, Store
from looptool.campaign import Campaign
from looptool.config import LoopConfig, SimulatorConfig, ToolSource, parse_config
from looptool.engines import Generation
from looptool.engines.grading import grade
from looptool.records import Judgement, ProbeResult, Record, Rejection, Sample, ToolSpec
from looptool.schema import Fate
from looptool.seed import collect_tools
from looptool.seed.normalise import NAME
from looptool.simulator import create_app
from tasks.report import publish_report
from tasks.scope import Scope, Stage

pytestmark = pytest.mark.timeout(580)

RESULT = "8642039"
"""What 1234577*7 is: if it is anywhere, something was evaluated."""
SHELL = "$(touch pwned) `touch pwned`; touch pwned && touch pwned | tee pwned > pwned"
PATHS = "../../../pwned /tmp/pwned-by-looptool ..\\pwned file:///tmp/pwned-by-looptool"
TEMPLATE = "{{ 1234577*7 }} {% print(1234577*7) %} ${1234577*7} #{1234577*7} <%= 1234577*7 %> {0.x} %(x)s %n"
HTML = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1> ' onmouseover=pwned()"
SQL = "'; DROP TABLE samples; -- \" OR 1=1 /*"
ATTACKS = (SHELL, PATHS, TEMPLATE, HTML, SQL)
HOSTILE = " ".join(ATTACKS)
PLACE = re.compile(
    r"campaigns/noise/(campaign\.json|spending/\w+\.json|iterations/\d{4}/"
    r"(iteration\.json|report\.html|accuracy\.png|[a-z]+/[0-9a-f]{24}/([a-z]+\.[0-9a-f]{16}/|receipts/)?[a-z0-9.-]+))"
)
"""Where an object of a lake may lie."""
R = TypeVar("R", bound=Record)


def write_tools(file: Path) -> None:
    """Tools of the catalogue whose every free text says all of it, with a parameter of such values."""
    documents = []
    for number, tool in enumerate(
        collect_tools([ToolSource(location="catalogue", limit=40)]).tools
    ):
        parameters = json.loads(json.dumps(tool.parameters))
        for schema in parameters["properties"].values():
            schema["description"] = f"{schema.get('description', '')} {HOSTILE}"
        parameters["properties"]["mode"] = {
            "type": "string",
            "enum": list(ATTACKS),
            "default": SHELL,
        }
        documents.append(
            {
                "name": f"{tool.name}; {ATTACKS[number % 5]}",
                "description": f"{tool.description} {HOSTILE}",
                "parameters": parameters,
                "domain": f"{tool.domain}/{PATHS}",
            }
        )
    file.write_text(json.dumps(documents))


class Spiteful:
    """The scripted teacher, which adds the texts to all that it says in words."""

    said = 0

    def __init__(self) -> None:
        self.app: Any = create_app(SimulatorConfig())

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """One ASGI request."""

        async def pass_on(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.body" and message.get("body"):
                message["body"] = self._spoil(message["body"])
            elif message["type"] == "http.response.start":
                message["headers"] = [h for h in message["headers"] if h[0] != b"content-length"]
            await send(message)

        await self.app(scope, receive, pass_on)

    def _spoil(self, body: bytes) -> bytes:
        document = json.loads(body)
        if "choices" not in document:
            return body
        message = document["choices"][0]["message"]
        message["content"] = json.dumps(
            add_words(json.loads(message["content"])), ensure_ascii=False
        )
        self.said += 1
        return json.dumps(document).encode()


def add_words(value: Any, key: str = "") -> Any:
    """The reply with the texts behind every word in it; values of calls, names and verdicts stay."""
    if isinstance(value, list):
        return [add_words(item, key) for item in value]
    if isinstance(value, dict):
        return {
            name: inner if name in ("tool_calls", "result") else add_words(inner, name)
            for name, inner in value.items()
        }
    wordy = ("content", "request", "error_analysis", "right_approach", "reason", "error")
    return f"{value} {HOSTILE}" if key in wordy and isinstance(value, str) and value else value


@pytest.fixture(scope="module")
def teacher() -> Iterator[str]:
    """Its address."""
    settings = uvicorn.Config(
        Spiteful(), host="127.0.0.1", port=0, log_level="critical", access_log=False, lifespan="off"
    )
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    server.should_exit = True
    thread.join()


CALL = json.dumps({"name": SHELL, "arguments": {PATHS: TEMPLATE, "mode": SQL}})
TEXTS = (HOSTILE, f"<tool_call>\n{CALL}\n</tool_call>", f"<tool_call>{HOSTILE}</tool_call>")
"""What a policy says that has learned nothing else: words, a call with such values, a torn one."""


def answer(sample: Sample, number: int) -> ProbeResult:
    """One of them."""
    text = TEXTS[number % 3]
    generation = Generation(
        text=text, token_ids=(1,), token_logprobs=(-0.1,), token_ends=(len(text),)
    )
    return grade(sample, generation)


def write_probes(
    scope: Scope, checkpoint: CheckpointRef, dataset: ArtifactRef, trained: ArtifactRef
) -> ArtifactRef:
    """The probe's artifact, of answers as above."""
    stage = Stage("probe", scope, {"policy": checkpoint, "dataset": dataset, "trained": trained})
    samples = stage.store.read(dataset, "samples", Sample)
    stage.writer.write("probes", "probes", [answer(s, n) for n, s in enumerate(samples)])
    return stage.commit({"mismatched": len(samples)})


@dataclasses.dataclass
class Outcome:
    """A round on hostile texts."""

    config: LoopConfig
    page: str
    folder: Path

    @property
    def store(self) -> Store:
        return Store(self.config.store.root)

    def artifacts(self, iteration: int, stage: str) -> list[ArtifactRef]:
        """Those of a stage, one of each round in the seed phase."""
        pattern = f"campaigns/{CAMPAIGN}/iterations/{iteration:04d}/{stage}/*"
        found = [self.store.ref(f.as_uri()) for f in Path(self.config.store.root).glob(pattern)]
        return [ref for ref in found if ref]

    def read(self, ref: ArtifactRef, table: str, record: type[R]) -> list[R]:
        return self.store.read(ref, table, record)

    def rows(self, iteration: int, stage: str, table: str, record: type[R]) -> list[R]:
        """The rows of a stage that has one artifact."""
        (ref,) = self.artifacts(iteration, stage)
        return self.read(ref, table, record)


@pytest.fixture(scope="module")
def outcome(teacher: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    folder = tmp_path_factory.mktemp("hostile")
    write_tools(folder / "tools.json")
    config = parse_config(
        {
            "store": {"root": str(folder / "lake")},
            "teacher": {"base_url": teacher, "attempts": 2},
            "seed": {
                "sources": [{"format": "json", "location": str(folder / "tools.json")}],
                "train_samples": 12, "heldout_samples": 4, "heldout_unseen_samples": 2,
                "tools_min": 3, "tools_max": 3, "turns_max": 2, "rounds_max": 3,
            },
            "expand": {"per_seed": 2, "max_seeds": 4},
            "merge": {"dataset_size": 12},
        }
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        (folder / "work").mkdir()
        patch.chdir(folder / "work")
        patch.setenv("LOOPTOOL_CACHE", str(folder / "cache"))
        policy = dataclasses.replace(POLICIES["hand-made"], probe=write_probes)
        Campaign(Store(config.store.root), CAMPAIGN).adopt(config)
        run_round(config, policy)
        uri = publish_report(Scope(campaign=CAMPAIGN, iteration=1, config=config))
        yield Outcome(config, Path(Store(config.store.root).strip(uri)).read_text(), folder)


def test_nothing_of_it_is_run_and_no_file_is_made_outside_of_its_place(outcome: Outcome) -> None:
    lake = outcome.folder / "lake"
    stored = [f.relative_to(lake).as_posix() for f in lake.rglob("*") if f.is_file()]
    assert len(stored) > 40
    assert [path for path in stored if not PLACE.fullmatch(path)] == []
    assert list((outcome.folder / "work").iterdir()) == []
    places = {path.name for path in outcome.folder.iterdir()}
    assert places == {"tools.json", "lake", "cache", "work"}
    assert not list(outcome.folder.rglob("*pwned*"))
    assert not list(Path("/tmp").glob("pwned*"))
    assert not Path("/pwned").exists()


def test_no_template_is_evaluated_anywhere(outcome: Outcome) -> None:
    assert RESULT not in outcome.page
    for file in (outcome.folder / "lake").rglob("*.parquet"):
        rows = json.dumps(pq.read_table(file).to_pylist(), default=str)
        assert RESULT not in rows, file


def test_the_tools_say_what_they_said(outcome: Outcome) -> None:
    tools = outcome.rows(0, "tools", "tools", ToolSpec)
    assert len(tools) == 40
    assert {tool.original_name.rpartition("; ")[0] != "" for tool in tools} == {True}
    for tool in tools:
        assert NAME.fullmatch(tool.name)
        assert tool.description.endswith(HOSTILE)
        assert tool.parameters["properties"]["mode"]["enum"] == list(ATTACKS)
        assert tool.domain.endswith(PATHS)


def test_no_row_is_lost_between_the_stages(outcome: Outcome) -> None:
    played = [
        row for ref in outcome.artifacts(0, "seed") for row in outcome.read(ref, "samples", Sample)
    ]
    checked = outcome.artifacts(0, "validate")
    kept = [row for ref in checked for row in outcome.read(ref, "samples", Sample)]
    refused = [row for ref in checked for row in outcome.read(ref, "rejections", Rejection)]
    names = [sample.sample_id for sample in played]
    assert sorted(names) == sorted([s.sample_id for s in kept] + [r.row_id for r in refused])
    dataset = {s.sample_id for s in outcome.rows(0, "dataset", "samples", Sample)}
    assert {p.sample_id for p in outcome.rows(1, "probe", "probes", ProbeResult)} == dataset
    assert {j.sample_id for j in outcome.rows(1, "judge", "judgements", Judgement)} == dataset
    grown = outcome.rows(1, "expand", "samples", Sample)
    assert len(grown) == len(outcome.rows(1, "validate", "samples", Sample)) > 0
    fates = [fate.sample_id for fate in outcome.rows(1, "merge", "fates", Fate)]
    assert sorted(fates) == sorted([*dataset, *(sample.sample_id for sample in grown)])


def test_what_teacher_and_policy_said_stands_in_the_artifacts_letter_by_letter(
    outcome: Outcome,
) -> None:
    merged = outcome.rows(1, "merge", "samples", Sample)
    assert merged
    for sample in merged:
        said = [message.content for message in sample.messages if message.role == "user"]
        assert all(text.endswith(HOSTILE) for text in said)
    outputs = {probe.output for probe in outcome.rows(1, "probe", "probes", ProbeResult)}
    assert outputs == set(TEXTS)
    judged = outcome.rows(1, "judge", "judgements", Judgement)
    assert any(row.error_analysis.endswith(HOSTILE) for row in judged)


class Tags(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_report_shows_it_and_runs_none_of_it(outcome: Outcome) -> None:
    tags = Tags(outcome.page).found
    assert [attrs.get("type") for tag, attrs in tags if tag == "script"] == [
        "application/json",
        None,
    ]
    assert [attrs for tag, attrs in tags if tag in ("img", "iframe", "object", "base")] == []
    assert [name for _, attrs in tags for name in attrs if name.startswith("on")] == []
    payload = outcome.page.split('id="data">')[1].split("</script>", maxsplit=1)[0]
    shown = json.loads(payload)
    assert HOSTILE in json.dumps(shown, ensure_ascii=False).encode().decode("unicode_escape")
