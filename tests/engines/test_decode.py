"""Decoding many rows at once changes nothing for any of them, and sampling follows the model."""

import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.engines


@pytest.mark.parametrize("attention", ["sdpa", "eager"])  # keys shared by the rollouts, or repeated
def test_rows_that_leave_the_batch_do_not_disturb_the_others(
    tiny_model: Path, attention: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from looptool.engines import decode as module
    from looptool.engines.decode import decode

    shared: list[int] = []

    class Seen(module.SharedPrompts):
        def select(self, keep: torch.Tensor) -> None:
            shared.append(len(keep))
            super().select(keep)

    monkeypatch.setattr(module, "SharedPrompts", Seen)
    model = AutoModelForCausalLM.from_pretrained(
        tiny_model, dtype=torch.float32, attn_implementation=attention
    ).eval()
    generator = torch.Generator().manual_seed(1)
    prompts = [torch.randint(5, 900, (n,), generator=generator).tolist() for n in (9, 30, 14, 3)]
    free = decode(model, prompts, max_new_tokens=40, end_ids=[-5], pad_id=0)
    # Tokens that the prompts reach at different times end their rows from here on.
    ends = [free[0].token_ids[3], free[2].token_ids[20], free[3].token_ids[35]]
    alone = [decode(model, [p], max_new_tokens=40, end_ids=ends, pad_id=0)[0] for p in prompts]
    together = decode(model, prompts, max_new_tokens=40, end_ids=ends, pad_id=0, repeats=12)
    assert len(together) == 48
    for i, one in enumerate(together):
        assert one.token_ids == alone[i // 12].token_ids
        assert one.ended == alone[i // 12].ended
        assert one.logprobs == pytest.approx(alone[i // 12].logprobs, abs=1e-4)
    assert len({len(one.token_ids) for one in alone}) > 1
    assert model.config._attn_implementation == attention
    assert bool(shared) == (attention == "sdpa")


def test_tokens_are_drawn_with_the_probabilities_of_the_model_at_the_temperature() -> None:
    import torch

    from looptool.engines.decode import _choose

    torch.manual_seed(0)
    logits = torch.tensor([2.0, float("-inf"), 0.0, 1.0])
    drawn = _choose(logits.repeat(20_000, 1), 2.0)
    shares = torch.bincount(drawn, minlength=4) / 20_000
    assert shares.tolist() == pytest.approx((logits / 2.0).softmax(-1).tolist(), abs=0.01)
    assert shares[1] == 0


def test_sharing_the_keys_of_a_group_changes_no_answer(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from looptool.engines.attention import GROUPED, share_grouped_keys
    from looptool.engines.decode import pad_left, positions

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    assert model.config.num_attention_heads > model.config.num_key_value_heads
    ids, mask = pad_left([[7, 8, 9], list(range(5, 40))], 0)
    found = {}
    for setting in ("0", "1"):
        monkeypatch.setenv(GROUPED, setting)
        model.zero_grad()
        logits = model(input_ids=ids, attention_mask=mask, position_ids=positions(mask)).logits
        logits[:, -1].logsumexp(-1).sum().backward()
        gradient = model.get_input_embeddings().weight.grad
        found[setting] = logits[:, -1].detach(), gradient.clone()
    for copied, shared in zip(found["0"], found["1"], strict=True):
        torch.testing.assert_close(shared, copied, atol=1e-5, rtol=1e-4)
    monkeypatch.setenv(GROUPED, "0")
    share_grouped_keys()
    assert os.environ[GROUPED] == "0"
    monkeypatch.delenv(GROUPED)
    share_grouped_keys()
    assert torch.cuda.is_available() or os.environ.pop(GROUPED) == "1"
