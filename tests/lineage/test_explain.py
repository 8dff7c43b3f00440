"""From one id to everything that is known about a sample."""

import json
import os
import shutil
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from looptool import cli
from looptool.artifacts import Store
from looptool.campaign import list_campaigns
from looptool.errors import ArtifactMissing, CampaignError, DataError
from looptool.lineage import Explanation, explain, identify, open_campaign, read_timeline
from looptool.lineage.show import show_explanation
from looptool.records import Kind, Label, Origin, Rejection, Sample, Split, UserMessage, make_sample
from looptool.schema import Fate
from tests.lineage.campaign import Run, children_of, is_kept, judge, training_pool, verdict_of

pytestmark = pytest.mark.timeout(580)


def every_sample(run: Run) -> Iterator[Sample]:
    for record in run.campaign.complete():
        yield from run.samples(record.dataset)
    yield from run.samples(record.next_dataset)


def pick(run: Run, iteration: int, verdict: str) -> Sample:
    """A sample of D_j of which the judge says this."""
    dataset = run.campaign.complete()[iteration - 1].dataset
    return next(s for s in run.samples(dataset) if verdict_of(s) == verdict)


def shown(found: Explanation, width: int) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(show_explanation(found))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_every_sample_of_every_dataset_can_be_explained_and_shown(finished: Run) -> None:
    samples = {sample.sample_id: sample for sample in every_sample(finished)}
    assert len(samples) > 50
    for sample_id in sorted(samples)[::9]:
        found = explain(finished.campaign, sample_id)
        assert found.sample.label == samples[sample_id].label
        assert found.member(sample_id).datasets
        assert sample_id in shown(found, 80)


def test_the_datasets_and_origins_are_those_that_hold_it(finished: Run) -> None:
    records = finished.campaign.complete()
    held = {
        number: {s.sample_id: s.origin.value for s in finished.samples(ref)}
        for number, ref in enumerate([records[0].dataset, *(r.next_dataset for r in records)], 1)
    }
    for sample_id in sorted(held[2])[:8]:
        member = explain(finished.campaign, sample_id).member(sample_id)
        assert member.datasets == {n: d[sample_id] for n, d in held.items() if sample_id in d}


def test_a_label_change_shows_old_and_new_and_who_said_why(finished: Run) -> None:
    old = pick(finished, 1, "LABEL_WRONG")
    found = explain(finished.campaign, old.sample_id)
    (change,) = [c for c in found.changes if c.sample_id == old.sample_id]
    assert change.applied
    assert not change.retracted
    corrected = explain(finished.campaign, change.corrected_id)
    assert corrected.sample.label == change.new != change.old == old.label
    assert change in corrected.changes
    assert corrected.line[:2] == (old.sample_id, change.corrected_id)
    assert corrected.member(change.corrected_id).how == "correction"
    (judged, *_) = found.judgements
    assert judged.judgement == judge(old)
    text = shown(corrected, 200)
    assert f"{old.sample_id} -> {change.corrected_id}" in text
    assert "scripted, label first: LABEL_WRONG" in text
    assert "scripted, prediction first: LABEL_WRONG" in text
    assert "The note was asked for." in text


def test_a_withheld_change_is_shown_as_one(finished: Run) -> None:
    sample = pick(finished, 1, "withheld")
    found = explain(finished.campaign, sample.sample_id)
    (change,) = found.changes
    assert not change.applied
    assert change.note == "precision below the floor"
    assert change.difference
    text = shown(found, 200)
    assert "keeps its label; the change was withheld" in text
    assert "precision below the floor" in text


def test_children_are_those_that_were_grown_whatever_became_of_them(finished: Run) -> None:
    parent = pick(finished, 1, "PRED_WRONG")
    found = explain(finished.campaign, parent.sample_id)
    family = {m.sample_id: m for m in found.family if m.how == "expansion" and m.born_in == 1}
    grown = {child.sample_id for child in children_of(parent, 1)}
    assert grown <= set(family)
    assert all(family[name].parent_id == parent.sample_id for name in grown)
    passed = {child.sample_id for child in children_of(parent, 1) if is_kept(child)}
    assert all(family[name].datasets or family[name].last_fate for name in passed)


def test_probes_come_with_their_figures(finished: Run) -> None:
    sample = pick(finished, 2, "PRED_WRONG")
    found = explain(finished.campaign, sample.sample_id)
    probed = [p.result for p in found.probes if p.iteration == 2]
    assert probed[0].sample_id == sample.sample_id
    assert probed[0].ppl_output is not None
    text = shown(found, 200)
    assert f"PPL of output {probed[0].ppl_output:.3g}" in text
    assert "rollouts right 50%" in text
    assert "arguments.note: not expected" in text


def test_the_dialogue_and_the_sources_of_the_tools_are_named(finished: Run) -> None:
    seed = training_pool(finished)[0]
    found = explain(finished.campaign, seed.sample_id)
    assert [play.dialogue_id for play in found.plays] == [seed.dialogue_id]
    text = shown(found, 200)
    assert seed.persona[:40] in text
    for tool in seed.tools:
        assert tool.name in text
    assert "catalogue" in text


def test_a_sample_that_validation_turned_away_is_explained_too(finished: Run) -> None:
    rejected = [
        row
        for one in read_timeline(finished.campaign).rounds
        if one.checked
        for row in finished.store.read(one.checked, "rejections", Rejection)
    ]
    found = explain(finished.campaign, rejected[0].row_id)
    assert found.rejection == rejected[0]
    assert not found.member(found.sample.sample_id).datasets
    assert "turned away: ungrounded_value" in shown(found, 200)


def test_a_correction_that_no_dataset_took_in_can_be_explained(finished: Run) -> None:
    rounds = read_timeline(finished.campaign).rounds
    stored = {sample.sample_id for sample in every_sample(finished)}
    lost = [
        fate.sample_id
        for one in rounds
        if one.next_dataset
        for fate in finished.store.read(one.next_dataset, "fates", Fate)
        if fate.sample_id not in stored
    ]
    for sample_id in lost[:5]:
        assert explain(finished.campaign, sample_id).sample.sample_id == sample_id


@pytest.mark.parametrize("width", [36, 160])
def test_nothing_runs_over_the_edge_of_a_terminal(finished: Run, width: int) -> None:
    found = explain(finished.campaign, pick(finished, 2, "LABEL_WRONG").sample_id)
    assert max(len(line.rstrip()) for line in shown(found, width).splitlines()) <= width


def test_what_a_model_wrote_is_no_markup(finished: Run) -> None:
    found = explain(finished.campaign, pick(finished, 1, "PRED_WRONG").sample_id)
    assert "Read [b]all[/b] of the request." in shown(found, 200)


def test_a_unique_beginning_is_enough_and_an_ambiguous_one_is_named(finished: Run) -> None:
    timeline = read_timeline(finished.campaign)
    wanted = pick(finished, 1, "PRED_WRONG").sample_id
    assert identify(timeline, wanted) == wanted
    assert identify(timeline, wanted[:-3]) == wanted
    assert identify(timeline, wanted.removeprefix("s-")) == wanted
    with pytest.raises(DataError, match=r"'s-' begins \d+ ids \(s-.*; give more of it"):
        identify(timeline, "s-")


def test_an_unknown_id_is_answered_with_the_nearest_ones(finished: Run) -> None:
    timeline = read_timeline(finished.campaign)
    known = pick(finished, 1, "PRED_WRONG").sample_id
    for wrong in (known[:-1] + "x", "s-x" + known[3:], known[:8] + "x" + known[9:]):
        with pytest.raises(DataError, match=f"no sample '{wrong}'.*{known}"):
            identify(timeline, wrong)
    with pytest.raises(DataError, match="no id is like it"):
        identify(timeline, "nothing-of-the-kind")


def test_an_unknown_campaign_is_answered_with_those_that_there_are(finished: Run) -> None:
    assert list_campaigns(finished.store) == [finished.name]
    assert open_campaign(finished.store, None).name == finished.name
    with pytest.raises(CampaignError, match=f"no campaign nix .* there are: {finished.name}"):
        open_campaign(finished.store, "nix")


def test_without_a_name_the_campaign_must_be_the_only_one(finished: Run, tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match=r"say which campaign: --campaign NAME; .*: none"):
        open_campaign(Store(str(tmp_path)), None)
    copy = tmp_path / "lake" / "campaigns"
    for name in ("a", "b"):
        (copy / name).mkdir(parents=True)
        shutil.copy(finished.store.path("campaigns", finished.name, "campaign.json"), copy / name)
    with pytest.raises(CampaignError, match=r"say which campaign.*: a, b"):
        open_campaign(Store(str(tmp_path / "lake")), None)


def test_an_iteration_under_way_is_shown_as_far_as_it_is(finished: Run, tmp_path: Path) -> None:
    run = copy_of(finished, tmp_path)
    for number in (2, 3):
        os.unlink(run.store.path(run.campaign.folder(number), "iteration.json"))
    sample = pick(finished, 2, "PRED_WRONG")
    found = explain(run.campaign, sample.sample_id)
    assert {p.iteration for p in found.probes} >= {2}
    assert [j.judgement for j in found.judgements if j.iteration == 2] == [judge(sample)]
    assert max(found.member(sample.sample_id).datasets) <= 3


def test_a_part_that_is_gone_is_an_error_that_says_what_to_do(
    finished: Run, tmp_path: Path
) -> None:
    run = copy_of(finished, tmp_path)
    for part in Path(run.store.path(run.campaign.folder(1), "probe")).rglob("*.parquet"):
        part.unlink()
    with pytest.raises(ArtifactMissing, match=r"probes-00000\..*parquet is gone; run"):
        explain(run.campaign, pick(finished, 1, "matched").sample_id)


def test_the_command_prints_the_family_or_json(finished: Run) -> None:
    sample = pick(finished, 1, "LABEL_WRONG")
    root = ["--root", finished.config.store.root]
    result = CliRunner().invoke(cli.app, ["explain", sample.sample_id, "--json", *root])
    assert result.exit_code == 0, result.output
    read = Explanation.model_validate(json.loads(result.stdout))
    assert read == explain(finished.campaign, sample.sample_id)
    result = CliRunner().invoke(cli.app, ["explain", "s-nothing", *root])
    assert result.exit_code == 1
    assert "no sample" in result.output


def copy_of(run: Run, folder: Path) -> Run:
    """The campaign on a store of its own."""
    root = folder / "lake"
    shutil.copytree(run.config.store.root, root)
    config = run.config.model_copy(
        update={"store": run.config.store.model_copy(update={"root": str(root)})}
    )
    moved = run.pool.model_copy(
        update={"uri": run.pool.uri.replace(run.config.store.root, str(root))}
    )
    for file in root.rglob("iteration.json"):
        file.write_text(file.read_text().replace(run.config.store.root, str(root)))
    return Run(config, moved)


def test_a_family_without_a_known_parent_is_still_a_tree(finished: Run, tmp_path: Path) -> None:
    run = copy_of(finished, tmp_path)
    orphan = make_sample(
        kind=Kind.NO_TOOL,
        split=Split.TRAIN,
        origin=Origin.EXPANSION,
        tools=(),
        messages=(UserMessage(content="Sing."),),
        label=Label(text="I cannot."),
        dialogue_id="d-orphan",
        parent_id="s-0000000000000000",
        root_id="s-1111111111111111",
        born_in=4,
    )
    dataset = run.campaign.complete()[-1].next_dataset
    probes = run.write("probe", 4, {"dataset": dataset}, probes=[])
    verdicts = run.write("judge", 4, {"dataset": dataset, "probes": probes}, judgements=[])
    run.write("expand", 4, {"dataset": dataset, "verdicts": verdicts}, samples=[orphan])
    found = explain(run.campaign, orphan.sample_id)
    assert [member.sample_id for member in found.family] == [orphan.sample_id]
    assert orphan.sample_id in shown(found, 80)
