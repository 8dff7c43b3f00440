"""The teacher: one OpenAI-compatible async client for every stage that asks an LLM.

    Teacher.ask ── queue ── pace ── patience ── deadline ──> endpoint ──> strict reply ──> model

`client` the teacher itself · `endpoints` several addresses and who is served next · `pacing` how
many requests one may have · `patience` what is tried again · `faults` what went wrong, by type ·
`replies` what comes back, and the shape asked for · `usage` tokens, money, failures · `wire` HTTP at
little cost · `transport` ASGI applications in process · `bounded` many jobs at once. There is no
provider layer: vLLM, SGLang, hosted endpoints and the scripted teacher all speak the same protocol.
"""

from looptool.chat.bounded import gather_bounded, run_bounded
from looptool.chat.client import Teacher
from looptool.chat.transport import AsgiTransport
from looptool.chat.usage import StageUsage

__all__ = ["AsgiTransport", "StageUsage", "Teacher", "gather_bounded", "run_bounded"]
