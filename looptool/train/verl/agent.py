"""The rollout of one prompt: veRL's single-turn agent loop over the row's own messages and tools.

veRL takes tools for a prompt from one file for all rows, meant to be executed. Here every row has
its own, and they are only shown: the chat template gets them as `tools=`, exactly as the probe
renders the same sample. Runs in veRL's agent loop workers.
"""

from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

from looptool.errors import DataError
from looptool.train.verl.rows import unpack_prompt, unpack_tools

NAME = "looptool"
"""Under which the loop is registered, `rollout.agent.default_agent_loop`."""


class ToolPromptAgentLoop(SingleTurnAgentLoop):  # type: ignore[misc]
    """One answer to one prompt with tools; the object lives for one rollout."""

    _tools: list[dict[str, Any]] | None = None

    async def run(
        self, sampling_params: dict[str, Any], priority: int = 0, **row: Any
    ) -> AgentLoopOutput:
        """Sample one answer; raises DataError for a prompt that does not fit, never cuts it."""
        self._tools = unpack_tools(row["extra_info"]) or None
        row["raw_prompt"] = unpack_prompt(row["raw_prompt"])
        return await super().run(sampling_params, priority, **row)

    async def ct_build_initial_tokens(
        self, messages: list[dict[str, Any]], **options: Any
    ) -> list[int]:
        """Token ids of the prompt by the model's chat template."""
        token_ids: list[int] = await super().ct_build_initial_tokens(
            messages, **{**options, "tools": self._tools}
        )
        return token_ids

    def _cap_text_prompt_length(self, prompt_ids: list[int]) -> list[int]:
        # veRL would cut the beginning away, and with it the tools.
        limit = self.rollout_config.prompt_length
        if len(prompt_ids) > limit:
            raise DataError(f"a prompt of {len(prompt_ids)} tokens got past the limit of {limit}")
        return prompt_ids
