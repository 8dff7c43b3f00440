"""The scripted teacher: an OpenAI-compatible ASGI app for machines without an LLM.

It reads our rendered prompts and answers them by rules, as planner, user, assistant, tool, reviewer, judge
and expander (method, sections 2, 5 and 6). It knows only what the prompt says. The paper has one 32B model in
these roles; this is what the laptop run, the tests and the fault tests talk to through the production client.

    app ── reading ──> roles ──> planner, talker, understand, backend, critic, expander
    speak (asks -> words) and plan, extract (words -> asks) are inverse by construction; `noise` spoils
"""

from looptool.simulator.app import create_app, serve

__all__ = ["create_app", "serve"]
