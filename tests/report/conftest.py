"""A small campaign written with the library's own writer, and a browser that looks at its report."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.iterations import make_record
from looptool.artifacts import ArtifactRef, ArtifactWriter, CheckpointRef, Store
from looptool.campaign import Campaign, CampaignFile
from looptool.records import (
    AssistantMessage,
    Judgement,
    Kind,
    Label,
    Origin,
    ProbeResult,
    Record,
    Rejection,
    Sample,
    Score,
    Split,
    ToolCall,
    UserMessage,
    Vote,
    make_sample,
    make_tool,
)
from looptool.report import render_report
from looptool.schema import Fate

Tables = Mapping[str, tuple[str, Sequence[Record]]]
VERDICTS = ("PRED_WRONG", "LABEL_WRONG", "BOTH_WRONG", "unjudged")
MATCHED_OF_FIVE = 1

HOSTILE = (
    "</script><script>window.pwned=1</script><!--<script>"
    "<img src=x onerror=window.pwned=1><svg onload=window.pwned=1>"
    "\"' onmouseover=window.pwned=1 x='{{ 7*7 }}{% for x in y %}${7*7}"
    "javascript:window.pwned=1 ]]> &lt; \u202egnp.exe \u2066 \u200b \x00\x1b[31m \u2028"
)


@dataclass
class Lake:
    """A store with one campaign in the making."""

    root: Path
    name: str = "demo"
    words: str = ""
    """What every free text of it holds as well."""

    def __post_init__(self) -> None:
        self.store = Store(str(self.root))
        self.campaign = Campaign(self.store, self.name)
        settings = {"merge.ppl": "ppl_output", "judge.precision_floor": 0.85}
        body = CampaignFile(name=self.name, settings=settings).model_dump_json()
        self.store.put(self.store.path("campaigns", self.name, "campaign.json"), body.encode())

    def write(
        self,
        iteration: int,
        stage: str,
        tables: Tables,
        *,
        key: str = "k",
        inputs: Mapping[str, ArtifactRef] | None = None,
        **stats: Any,
    ) -> ArtifactRef:
        """Commit one artifact."""
        folder = self.campaign.folder(iteration)
        writer = ArtifactWriter(self.store, folder, stage, f"{key}{iteration}")
        for table, (kind, rows) in tables.items():
            writer.write(table, kind, rows)
        digests = {name: ref.digest for name, ref in (inputs or {}).items()}
        return writer.commit(digests, {}, stats)

    def sample(self, number: int, **fields: Any) -> Sample:
        """One decision; the words are in every text of it."""
        parameters = {"type": "object", "properties": {f"city{self.words}": {"type": "string"}}}
        tool = make_tool("get_weather", f"The weather. {self.words}", parameters)
        call = ToolCall(name="get_weather", arguments={"city": f"Town {number} {self.words}"})
        said = UserMessage(content=f"Weather in town {number}? {self.words}")
        known = {
            "kind": Kind.SINGLE,
            "split": Split.TRAIN,
            "tools": (tool,),
            "messages": (said, AssistantMessage(content=self.words or "Well"), said),
            "label": Label(calls=(call,)),
            "dialogue_id": f"d-{number}",
        }
        return make_sample(**(known | fields))

    def seed_phase(self, size: int = 20) -> ArtifactRef:
        """D_1 and the score of M_0."""
        samples = [self.sample(n) for n in range(size)]
        self.scores(0, 40)
        refused = Rejection(
            stage="validate", row_id="x", rule=f"ungrounded {self.words}", detail="", row={}
        )
        self.write(0, "validate", {"rejections": ("rejections", [refused])}, per_second=2.0)
        return self.write(0, "dataset", {"samples": ("samples", samples)})

    def scores(self, iteration: int, right: int) -> ArtifactRef:
        """Held-out scores, and the probes that they come from."""
        slices = ["all", "seen", "unseen", "calls", "relevance", "irrelevance", "seen/kind:single"]
        scores = [
            Score(iteration=iteration, slice=name, n=100, correct=right, accuracy=right / 100,
                  low=right / 100 - 0.1, high=right / 100 + 0.1)
            for name in slices
        ]  # fmt: skip
        probes = [self.probe(f"h-{n}", n < right) for n in range(100)]
        tables = {"scores": ("scores", scores), "probes": ("probes", probes)}
        return self.write(iteration, "evaluate", tables, report={"seconds": 60.0})

    def probe(self, sample_id: str, matched: bool, **fields: Any) -> ProbeResult:
        """What the policy answered."""
        return ProbeResult(
            sample_id=sample_id,
            output=f'<tool_call>{{"name": "get_weather"}}</tool_call> {self.words}',
            matched=matched,
            relaxed=matched,
            called=True,
            mismatch="" if matched else f"$[0].arguments.city: another value {self.words}",
            tokens=5,
            ppl_output=1.01 if matched else 1.5,
            **fields,
        )

    def round(
        self, number: int, dataset: ArtifactRef, *, until: str = "record", **judge: Any
    ) -> ArtifactRef:
        """One iteration, or its beginning up to and with the stage `until`; the last artifact."""
        samples = self.store.read(dataset, "samples", Sample)
        scores = self.scores(number, 40 + 10 * number)
        probes = [
            self.probe(s.sample_id, n % 5 == MATCHED_OF_FIVE, pass_rate=(n % 5) / 4)
            for n, s in enumerate(samples)
        ]
        probed = self.write(
            number, "probe", {"probes": ("probes", probes)}, inputs={"dataset": dataset}
        )
        if until == "probe":
            return probed
        missed = [s for s, p in zip(samples, probes, strict=True) if not p.matched]
        judged = [self.judgement(n, s) for n, s in enumerate(missed)]
        verdicts = self.write(
            number,
            "judge",
            {"judgements": ("judgements", judged)},
            inputs={"dataset": dataset, "probes": probed},
            teacher=[{"judge": {"requests": 9, "prompt_tokens": 700, "completion_tokens": 50,
                                "cost_usd": 0.5}}],
            **judge,
        )  # fmt: skip
        if until == "judge":
            return verdicts
        found = {"asked": 12, "mixed": 5, "solved": 1, "unsolved": 4, "failed": 2}
        scouted = self.write(
            number, "scout", {"rollouts": ("rollouts", [])}, report={"expansions": found}
        )
        fates = [Fate(sample_id=s.sample_id, fate="kept", reason="error_seeds") for s in samples]
        later = [s.model_copy(update={"origin": Origin.ERROR_SEED}) for s in samples]
        merged = self.write(
            number,
            "merge",
            {"samples": ("samples", later), "fates": ("fates", fates)},
            inputs={"probes": probed, "verdicts": verdicts, "scouted": scouted},
            report={"ppl_threshold": 1.02, "left_out": {"dropped: both_wrong": 3}},
        )
        if until == "merge":
            return merged
        before = self.campaign.complete()
        checkpoint = CheckpointRef(uri="file:///checkpoint", digest=f"c{number}")
        self.campaign.finish(
            make_record(
                number,
                dataset=dataset,
                merged=merged,
                checkpoint=checkpoint,
                scores=scores,
                verdicts=verdicts,
                before=before[-1] if before else None,
                summary={"table": {}, "labels_changed": 2},
            )
        )
        return merged

    def judgement(self, number: int, sample: Sample) -> Judgement:
        """A verdict with one vote."""
        verdict: Any = VERDICTS[number % 4]
        vote = Vote(
            model=f"judge {self.words}",
            label_first=True,
            verdict=verdict if verdict != "unjudged" else "unreadable",
            error_type="wrong_value",
            error_analysis=f"It says another town. {self.words}",
        )
        call = ToolCall(name="get_weather", arguments={"city": f"Elsewhere {self.words}"})
        return Judgement(
            sample_id=sample.sample_id,
            verdict=verdict,
            votes=(vote,),
            predicted=Label(calls=(call,)),
            error_type="wrong_value" if verdict != "unjudged" else "",
            new_label=Label(text="Which town?") if verdict == "LABEL_WRONG" else None,
            proposed_label=Label(text="No town.") if verdict == "BOTH_WRONG" else None,
            note=self.words,
        )

    def finished(self, rounds: int = 2, size: int = 20) -> "Lake":
        """The campaign with some complete iterations."""
        dataset = self.seed_phase(size)
        for number in range(1, rounds + 1):
            dataset = self.round(number, dataset)
        return self

    def report(self, **options: Any) -> str:
        """The page."""
        return render_report(Store(str(self.root)), self.name, **options)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A campaign that has not begun."""
    return Lake(tmp_path / "lake")


@pytest.fixture(scope="session")
def two_rounds(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a campaign with two complete rounds of 20 samples."""
    return Lake(tmp_path_factory.mktemp("plain") / "lake").finished().report()


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a campaign in which every text is hostile and long."""
    root = tmp_path_factory.mktemp("hostile") / "lake"
    return Lake(root, words=HOSTILE + "W" * 9_000).finished(rounds=1, size=60).report()


@dataclass
class Visit:
    """A page in the browser, and what it said and asked for."""

    page: Any
    console: list[str]
    requests: list[str]
    dialogs: list[str]


@pytest.fixture
def visit(chromium: Any, tmp_path: Path) -> Iterator[Callable[..., Visit]]:
    """Opens a report."""
    contexts = []

    def open_page(html: str, width: int = 1200, scheme: str = "light") -> Visit:
        file = tmp_path / "report.html"
        file.write_text(html, "utf-8")
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        seen = Visit(page, [], [], [])
        page.on("console", lambda message: seen.console.append(message.text))
        page.on("pageerror", lambda error: seen.console.append(str(error)))
        page.on("request", lambda request: seen.requests.append(request.url))
        page.on("dialog", lambda dialog: (seen.dialogs.append(dialog.message), dialog.dismiss()))
        page.goto(file.as_uri())
        return seen

    yield open_page
    for context in contexts:
        context.close()
