"""The shortcuts of our trainer change no number, and the reward sees what the model said."""

from pathlib import Path
from typing import Any

import pytest

from looptool.calls import render_calls

pytestmark = pytest.mark.engines


def _batch(tokenizer: Any) -> tuple[Any, Any, int]:
    """Three prompts of different length, 2, 1 and 2 rollouts each, as TRL pads them."""
    import torch

    pad, length, kept = tokenizer.pad_token_id, 12, 5
    generator = torch.Generator().manual_seed(0)
    prompts = [torch.randint(5, 900, (n,), generator=generator) for n in (12, 7, 4)]
    ids, mask = [], []
    for which, size in ((0, 5), (1, 3), (0, 1), (2, 4), (2, 5)):
        prompt, answer = prompts[which], torch.randint(5, 900, (size,), generator=generator)
        left, right = length - len(prompt), kept - size
        blank = (torch.full((left,), pad), torch.full((right,), pad))
        ids.append(torch.cat([blank[0], prompt, answer, blank[1]]))
        ones = torch.ones(len(prompt) + size, dtype=torch.long)
        mask.append(torch.cat([torch.zeros(left).long(), ones, torch.zeros(right).long()]))
    return torch.stack(ids), torch.stack(mask), kept


def test_the_pass_by_length_gives_the_logits_and_gradients_of_whole_rows(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from looptool.engines.decode import positions
    from looptool.train import forward

    monkeypatch.setattr(forward, "PAD_MULTIPLE", 2)
    monkeypatch.setattr(forward, "PROMPTS_AT_ONCE", 2)

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).train()
    ids, mask, kept = _batch(tokenizer)
    real = mask[:, -kept:].bool()

    def run(logits: Any) -> tuple[Any, list[Any]]:
        model.zero_grad()
        chosen = logits.log_softmax(-1).gather(-1, ids[:, -kept:, None])[..., 0][real]
        (chosen * torch.linspace(-1, 1, len(chosen))).sum().backward()
        return chosen.detach(), [p.grad.clone() for p in model.parameters()]

    whole = model(input_ids=ids, attention_mask=mask, position_ids=positions(mask)).logits
    expected, expected_grads = run(whole[:, -kept - 1 : -1])
    logits = torch.zeros(len(ids), kept, whole.size(-1))
    lengths = set()
    for rows, some in forward.forward_by_length(model, ids, mask, ids.size(1) - kept):
        logits[rows, : some.size(1)] = some
        lengths.add(some.size(1))
    found, found_grads = run(logits)
    assert len(lengths) > 1
    assert torch.allclose(found, expected, atol=1e-4)
    for mine, theirs in zip(found_grads, expected_grads, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-4 * float(theirs.abs().max() + 1))


def test_only_groups_without_any_advantage_are_left_out_of_the_loss() -> None:
    import torch

    from looptool.train.grpo import find_signal_rows, keep_rows

    prompts = torch.arange(8).repeat_interleave(2)[:, None]  # 8 groups of 2
    advantages = torch.zeros(16)
    advantages[4], advantages[5], advantages[14], advantages[15] = 1.0, -1.0, 0.7, 0.0
    rows = find_signal_rows(prompts, advantages)
    assert {4, 5, 14, 15} <= set(rows.tolist())
    assert len(rows) == 8  # 4 groups: 2 with an advantage and 2 to round up
    assert rows.tolist() == sorted(rows.tolist())
    batch = {"prompt_ids": prompts, "advantages": advantages, "num_items_in_batch": torch.tensor(9)}
    kept = keep_rows(batch, rows)
    assert kept["advantages"].tolist() == advantages[rows].tolist()
    assert kept["num_items_in_batch"].item() == 9


def test_silent_batches_keep_something_to_go_through_the_optimiser() -> None:
    import torch

    from looptool.train.grpo import find_signal_rows

    rows = find_signal_rows(torch.arange(8).repeat_interleave(2)[:, None], torch.zeros(16))
    assert len(rows) == 8


def test_the_reward_scores_decoded_tool_calls(tiny_model: Path) -> None:
    import json

    from transformers import AutoTokenizer

    from looptool.train.trl_job import Reward

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    call = {"name": "ping", "arguments": {"host": "a"}}
    tool = {
        "type": "function",
        "function": {
            "name": "ping",
            "description": "",
            "parameters": {"type": "object", "properties": {"host": {"type": "string"}}},
        },
    }
    truth = json.dumps({"calls": [call], "tools": [tool], "ordered": False, "name_map": None})
    ids = tokenizer(render_calls([call]) + tokenizer.eos_token, add_special_tokens=False)
    text = tokenizer.batch_decode([ids["input_ids"]], skip_special_tokens=True)[0]
    reward = Reward()
    said = [text, "Sorry.", "<tool_call>{", text]
    visits = [0, 0, 0, 1]
    assert reward([""] * 4, said, [truth] * 4, ["s"] * 4, visits) == [1.0, 0.0, 0.0, 1.0]
    # Only the latest visit counts.
    assert reward.rows() == [{"sample_id": "s", "rollouts": 1, "passed": 1, "parse_errors": 0}]


def test_a_broken_label_is_masked_and_not_scored_zero() -> None:
    import json

    from looptool.train.trl_job import Reward

    truth = json.dumps({"calls": [{"name": "nope", "arguments": {}}], "tools": []})
    assert Reward()([""], ["x"], [truth], ["s"], [0]) == [None]
