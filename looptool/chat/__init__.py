"""The teacher: one OpenAI-compatible async client for every stage that asks an LLM.

    Teacher.ask ── pacing ── retries ── deadline ──> endpoint ──> strict reply ──> pydantic model

`client` the teacher itself · `replies` what comes back, and the shape asked for · `usage` tokens,
money, failures · `pacing` concurrency that gives way to an overloaded endpoint · `transport` ASGI
applications in process · `bounded` many jobs at once. There is no provider layer: vLLM, SGLang,
hosted endpoints and the scripted teacher all speak the same protocol.
"""

from looptool.chat.bounded import gather_bounded, run_bounded
from looptool.chat.client import Teacher
from looptool.chat.transport import AsgiTransport
from looptool.chat.usage import StageUsage

__all__ = ["AsgiTransport", "StageUsage", "Teacher", "gather_bounded", "run_bounded"]
