"""A sample that is taken out was never there, and one that is taken back in was never away."""

import json
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from looptool import cli
from looptool.artifacts import ArtifactRef, Store
from looptool.campaign import Campaign, Retraction, standing
from looptool.decisions import relabel
from looptool.errors import CampaignError
from looptool.lineage import explain, find_effect, foresee, request_retraction
from looptool.records import Judgement, ProbeResult, Record, Retracted, Sample, Split
from looptool.schema import Fate
from tasks.merge import first_dataset, merge
from tests.lineage.campaign import (
    Run,
    children_of,
    datasets_digest,
    is_kept,
    judge,
    training_pool,
    verdict_of,
)
from tests.lineage.test_explain import copy_of

pytestmark = pytest.mark.timeout(580)


@pytest.fixture
def run(finished: Run, tmp_path: Path) -> Run:
    """A campaign of three iterations that a test may change."""
    return copy_of(finished, tmp_path)


def take_out(run: Run, *samples: str, deep: bool = False) -> Retraction:
    wanted = request_retraction(run.campaign, samples, with_descendants=deep, reason="unit")
    run.campaign.record_retraction(wanted)
    return wanted


def take_back(run: Run, *samples: str) -> None:
    run.campaign.record_retraction(request_retraction(run.campaign, samples, undo=True))


def fates(run: Run, ref: ArtifactRef) -> dict[str, str]:
    return {
        row.sample_id: f"{row.fate}: {row.reason}" for row in run.store.read(ref, "fates", Fate)
    }


def ids(run: Run, ref: ArtifactRef) -> set[str]:
    return {sample.sample_id for sample in run.samples(ref)}


class NeverThere:
    """The inputs of a merge, written anew without some samples."""

    def __init__(self, run: Run, gone: set[str]) -> None:
        self.run = run
        self.gone = gone

    def copy(self, ref: ArtifactRef, table: str, record: type[Record]) -> ArtifactRef:
        rows = [
            row
            for row in self.run.store.read(ref, table, record)
            if getattr(row, "sample_id") not in self.gone  # noqa: B009
        ]
        inputs = {"copy": f"{ref.digest} without {sorted(self.gone)}"}
        return self.run.write(ref.stage, 9, dict(inputs), **{table: rows})

    def samples(self, ref: ArtifactRef) -> ArtifactRef:
        return self.copy(ref, "samples", Sample)

    def merge(self, number: int, history: list[ArtifactRef]) -> ArtifactRef:
        made = self.run.parts(number, history[-1])
        return merge.fn(
            scope=self.run.scope(number),
            pool=self.samples(self.run.pool),
            history=[self.samples(ref) for ref in history],
            probes=self.copy(made["probes"], "probes", ProbeResult),
            verdicts=self.copy(made["verdicts"], "judgements", Judgement),
            expansions=self.samples(made["expansions"]),
        )


def history_of(run: Run, number: int) -> list[ArtifactRef]:
    return [record.dataset for record in run.campaign.complete()[:number]]


def test_the_next_dataset_is_as_if_a_retracted_sample_had_never_been(run: Run) -> None:
    history = history_of(run, 2)
    made = run.parts(2, history[-1])
    offered = {
        *ids(run, history[-1]), *ids(run, made["expansions"]),
        *(sample.sample_id for sample in training_pool(run)),
    }  # fmt: skip
    untouched = datasets_digest(run, run.merge(2, history))
    changed = 0
    for name in sorted(offered)[::12]:
        take_out(run, name)
        merged = run.merge(2, history)
        assert name not in ids(run, merged)
        settled = name in ids(run, history[-1]) | ids(run, made["expansions"])
        assert fates(run, merged).get(name) == ("retracted: named" if settled else None)
        if not run.merged_with[-1].restored:  # a correction that comes back has a test of its own
            never = NeverThere(run, {name}).merge(2, history)
            assert datasets_digest(run, merged) == datasets_digest(run, never)
        changed += datasets_digest(run, merged) != untouched
        take_back(run, name)
    assert changed >= 2


def test_the_same_holds_with_all_descendants(run: Run) -> None:
    history = history_of(run, 2)
    grown = run.samples(run.parts(2, history[-1])["expansions"])
    root = next(child.root_id for child in grown)
    take_out(run, root, deep=True)
    merged = run.merge(2, history)
    gone = set(run.merged_with[-1].samples)
    family = {m.sample_id for m in explain(run.campaign, root).family}
    assert {child.sample_id for child in grown if child.root_id == root} <= gone <= family
    assert len(gone) >= 3
    assert not gone & ids(run, merged)
    never = NeverThere(run, gone).merge(2, history)
    assert datasets_digest(run, merged) == datasets_digest(run, never)
    reasons = {why for name, why in fates(run, merged).items() if name in gone and name != root}
    assert reasons == {f"retracted: descendant_of {root}"}


def test_the_first_dataset_is_drawn_as_if_the_seed_had_never_been(run: Run) -> None:
    seed = sorted(ids(run, run.dataset()))[0]
    take_out(run, seed)
    drawn = run.dataset()
    never = first_dataset.fn(scope=run.scope(0), pool=NeverThere(run, {seed}).samples(run.pool))
    assert seed not in ids(run, drawn)
    assert datasets_digest(run, drawn) == datasets_digest(run, never)


def test_undo_finds_the_very_artifacts_of_before_and_the_chain_is_whole_again(run: Run) -> None:
    before = run.campaign.complete()
    name = sorted(ids(run, before[0].next_dataset) - ids(run, before[0].dataset))[0]
    take_out(run, name, deep=True)
    remade = run.iterate(1)
    assert remade.next_dataset.key != before[0].next_dataset.key
    assert remade.dataset.digest == before[0].dataset.digest  # so nothing is trained again
    assert run.campaign.complete() == [remade]
    take_back(run, name)
    assert run.iterate(1).next_dataset == before[0].next_dataset
    assert [r.next_dataset for r in run.campaign.complete()] == [r.next_dataset for r in before]


def test_retracting_what_no_input_holds_changes_no_key(run: Run) -> None:
    history = history_of(run, 1)
    before = run.merge(1, history)
    later = ids(run, run.campaign.complete()[2].next_dataset) - ids(run, before)
    born_later = sorted(
        s.sample_id
        for s in run.samples(run.campaign.complete()[2].next_dataset)
        if s.sample_id in later and s.born_in > 1
    )
    take_out(run, born_later[0])
    assert run.merge(1, history) == before
    assert run.merged_with[-1] == Retracted()


def test_retracting_again_finds_the_same_artifact(run: Run) -> None:
    history = history_of(run, 1)
    name = sorted(ids(run, history[-1]))[0]
    take_out(run, name)
    once = run.merge(1, history)
    take_back(run, name)
    take_out(run, name)
    assert run.merge(1, history) == once


def corrected(run: Run, iteration: int) -> tuple[Sample, str]:
    """A sample of D_j and the id of its correction in D_{j+1}."""
    record = run.campaign.complete()[iteration - 1]
    after = ids(run, record.next_dataset)
    for sample in run.samples(record.dataset):
        found = judge(sample)
        if found and found.new_label:
            new = relabel(sample, found, iteration).sample_id
            if new in after:
                return sample, new
    raise AssertionError("no correction")


def test_retracting_a_correction_leaves_the_old_label_where_it_was_made(run: Run) -> None:
    old, new = corrected(run, 1)
    assert fates(run, run.campaign.complete()[0].next_dataset)[old.sample_id].startswith("replaced")
    take_out(run, new)
    merged = run.merge(1, history_of(run, 1))
    assert run.merged_with[-1].unchanged == (old.sample_id,)
    held = {sample.sample_id: sample for sample in run.samples(merged)}
    assert new not in held
    assert held[old.sample_id].label == old.label
    assert fates(run, merged)[new] == "retracted: named"
    assert fates(run, merged)[old.sample_id].startswith("kept")


def test_retracting_a_correction_later_brings_the_old_label_back(run: Run) -> None:
    old, new = corrected(run, 1)
    take_out(run, new)
    merged = run.merge(2, history_of(run, 2))
    assert run.merged_with[-1].restored == (old.sample_id,)
    held = {sample.sample_id: sample for sample in run.samples(merged)}
    assert held[old.sample_id].label == old.label
    assert new not in held


def test_when_the_old_label_is_retracted_as_well_neither_comes_back(run: Run) -> None:
    old, new = corrected(run, 1)
    take_out(run, new, old.sample_id)
    merged = run.merge(2, history_of(run, 2))
    assert run.merged_with[-1].restored == ()
    assert not {old.sample_id, new} & ids(run, merged)


def test_without_descendants_they_stay(run: Run) -> None:
    record = run.campaign.complete()[0]
    parent = next(s for s in run.samples(record.dataset) if verdict_of(s) == "PRED_WRONG")
    children = {child.sample_id for child in children_of(parent, 1) if is_kept(child)}
    take_out(run, parent.sample_id)
    run.merge(1, history_of(run, 1))
    gone = set(run.merged_with[-1].samples)
    assert parent.sample_id in gone
    assert not children & gone


def test_descendants_are_found_over_a_correction_that_no_dataset_took_in(run: Run) -> None:
    record = run.campaign.complete()[1]
    for sample in run.samples(record.dataset):
        found = judge(sample)
        children = [c for c in children_of(sample, 2) if is_kept(c)]
        if found and found.new_label and children:
            break
    take_out(run, sample.sample_id, deep=True)
    effect = find_effect(
        run.campaign,
        pool=run.pool,
        history=history_of(run, 2),
        verdicts=run.parts(2, record.dataset)["verdicts"],
        expansions=run.parts(2, record.dataset)["expansions"],
    )
    assert {child.sample_id for child in children} <= set(effect.samples)


def test_a_retraction_is_recorded_with_who_when_and_why_and_never_replaced(run: Run) -> None:
    name = training_pool(run)[0].sample_id
    wanted = take_out(run, name)
    (kept,) = run.campaign.retractions()
    assert kept == wanted
    assert (kept.reason, kept.samples) == ("unit", (name,))
    assert kept.by
    assert kept.made_at.endswith("+00:00")
    with pytest.raises(CampaignError, match="exists already"):
        run.campaign.record_retraction(wanted.model_copy(update={"reason": "another"}))
    assert run.campaign.retractions() == [wanted]


def test_many_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    campaign = Campaign(Store(str(tmp_path)), "c")
    wanted = [request_retraction(campaign, [f"s-{n}"]) for n in range(12)]
    threads = [threading.Thread(target=campaign.record_retraction, args=[w]) for w in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert standing(campaign.retractions()).keys() == {f"s-{n}" for n in range(12)}


def test_an_undo_holds_whatever_the_clocks_said() -> None:
    out = Retraction(retraction_id="r-1", samples=("a", "b"), by="x", made_at="2026-02-02")
    back = Retraction(
        retraction_id="r-2", samples=("a",), by="x", made_at="2026-01-01", undoes=("r-1",)
    )
    for order in ([out, back], [back, out]):
        assert standing(order) == {"b": (out,)}
    again = out.model_copy(update={"retraction_id": "r-3", "samples": ("a",)})
    assert standing([again, back, out]).keys() == {"a", "b"}


def test_what_is_not_retracted_cannot_be_undone(run: Run) -> None:
    one, other = (sample.sample_id for sample in training_pool(run)[:2])
    take_out(run, one)
    with pytest.raises(CampaignError, match=f"{other}: not retracted by name.*{one}"):
        request_retraction(run.campaign, [other], undo=True)


def test_a_held_out_sample_cannot_be_retracted(run: Run) -> None:
    heldout = next(s for s in run.samples(run.pool) if s.split is not Split.TRAIN)
    with pytest.raises(CampaignError, match=r"held-out sample.*nothing to retract"):
        request_retraction(run.campaign, [heldout.sample_id])


def test_the_consequences_say_what_to_run_again(run: Run) -> None:
    records = run.campaign.complete()
    seed = sorted(ids(run, records[0].dataset))[0]
    effect = foresee(run.campaign, request_retraction(run.campaign, [seed]))
    assert (effect.again_from, effect.trains_again) == (1, True)
    _, new = corrected(run, 2)
    effect = foresee(run.campaign, request_retraction(run.campaign, [new]))
    assert (effect.again_from, effect.trains_again, effect.next_iteration) == (2, False, 4)
    assert effect.datasets[3] == 1
    assert len(effect.restores) == 1


def test_the_command_takes_out_shows_and_takes_back(run: Run) -> None:
    _, new = corrected(run, 1)
    root = ["--root", run.config.store.root]
    call = CliRunner().invoke
    said = call(cli.app, ["retract", new[:12], "--with-descendants", "--reason", "unit", *root])
    assert said.exit_code == 0, said.output
    assert "the old label stands where the correction did" in " ".join(said.output.split())
    assert explain(run.campaign, new).member(new).retracted
    assert explain(run.campaign, new).changes[0].retracted
    listed = json.loads(call(cli.app, ["retract", "--json", *root]).stdout)
    assert [row["samples"] for row in listed] == [[new]]
    assert call(cli.app, ["retract", new, "--undo", *root]).exit_code == 0
    assert not explain(run.campaign, new).member(new).retracted
    said = call(cli.app, ["retract", new, "--undo", *root])
    assert said.exit_code == 1
    assert "not retracted by name" in said.output
