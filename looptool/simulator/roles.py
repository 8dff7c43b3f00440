"""The eight roles: a prompt read by `reading` in, the JSON object that the prompt asks for out."""

from collections.abc import Callable

from looptool.records import JsonObject, as_mapping
from looptool.simulator.backend import answer_call
from looptool.simulator.chinese import speaks_chinese
from looptool.simulator.critic import VERDICTS, as_answer, judge, review
from looptool.simulator.expander import Expander
from looptool.simulator.noise import Noise
from looptool.simulator.planner import Planner
from looptool.simulator.reading import Prompt, UnreadablePrompt
from looptool.simulator.speak import make_rng
from looptool.simulator.talker import say_next
from looptool.simulator.toolmaker import make_tool
from looptool.simulator.understand import decide

Role = Callable[[Prompt, Noise], JsonObject]


def answer_prompt(prompt: Prompt, noise: Noise) -> JsonObject:
    """The reply to a prompt; raises UnreadablePrompt."""
    role = ROLES.get(prompt.role)
    if role is None:
        known = ", ".join(ROLES)
        raise UnreadablePrompt(
            f"role {prompt.role!r} is unknown; the scripted teacher plays {known}"
        )
    return role(prompt, noise)


def _plan(prompt: Prompt, noise: Noise) -> JsonObject:
    try:
        turns = int(prompt.text("turns"))
    except ValueError as exc:
        raise UnreadablePrompt("section <turns> is not a number") from exc
    rng = make_rng("plan", noise.seed, prompt.key, prompt.seed)
    style, language = prompt.text("style", ""), prompt.text("language", "en")
    planner = Planner(prompt.toolbox(), style, language, rng)
    needs = planner.plan(prompt.text("kind").strip(), max(1, min(turns, 50)))
    return {"needs": [need.as_reply() for need in needs]}


def _say(prompt: Prompt, noise: Noise) -> JsonObject:
    style, language = prompt.text("style", ""), prompt.text("language", "en")
    return {"content": say_next(prompt.json("need"), prompt.conversation(), style, language)}


def _assist(prompt: Prompt, noise: Noise) -> JsonObject:
    box, conversation = prompt.toolbox(), prompt.conversation()
    try:
        decision = decide(box, conversation)
    except ValueError as exc:
        raise UnreadablePrompt(str(exc)) from exc
    if prompt.expert:
        return decision.as_answer()
    return noise.distort_answer(box, decision, conversation)


def _serve_tool(prompt: Prompt, noise: Noise) -> JsonObject:
    call = as_mapping(prompt.json("call"))
    call = as_mapping(call.get("function", call))
    try:
        return answer_call(
            prompt.json("tool"), call, prompt.conversation(), prompt.text("fault", "")
        )
    except ValueError as exc:
        raise UnreadablePrompt(f"section <tool>: {exc}") from exc


def _review(prompt: Prompt, noise: Noise) -> JsonObject:
    reply = review(prompt.toolbox(), prompt.conversation())
    if prompt.expert:
        return reply
    return noise.distort_review(reply, f"{prompt.key}/{prompt.seed}")


def _judge(prompt: Prompt, noise: Noise) -> JsonObject:
    answers = as_answer(prompt.json("answer_a")), as_answer(prompt.json("answer_b"))
    try:
        reply = judge(prompt.toolbox(), prompt.conversation(), *answers)
    except ValueError as exc:
        raise UnreadablePrompt(str(exc)) from exc
    if prompt.expert:
        return reply
    return noise.distort_verdict(reply, f"{prompt.key}/{prompt.seed}", VERDICTS)


def _expand(prompt: Prompt, noise: Noise) -> JsonObject:
    rng = make_rng("expand", noise.seed, prompt.key, prompt.seed)
    style = prompt.text("style", "")
    conversation = prompt.conversation()
    if not any(message.get("role") == "user" for message in conversation):
        raise UnreadablePrompt("the conversation has no user message")
    right = as_answer(prompt.json("right_answer"))
    said = [str(m.get("content") or "") for m in conversation if m.get("role") == "user"]
    language = "zh" if any(map(speaks_chinese, said)) else "en"
    return Expander(prompt.toolbox(), conversation, right, style, language, rng).expand()


def _make_tool(prompt: Prompt, noise: Noise) -> JsonObject:
    context, words = as_mapping(prompt.json("context")), prompt.json("words")
    constraints = prompt.json("constraints")
    if not isinstance(words, list) or not isinstance(constraints, list):
        raise UnreadablePrompt("sections <words> and <constraints> must be lists")
    rng = make_rng("toolmaker", noise.seed, prompt.key, prompt.seed)
    rate = 0.0 if prompt.expert else noise.rates.nonconforming_rate
    return make_tool(context, words, constraints, rng, rate)


ROLES: dict[str, Role] = {
    "planner": _plan,
    "user": _say,
    "assistant": _assist,
    "tool": _serve_tool,
    "reviewer": _review,
    "judge": _judge,
    "expander": _expand,
    "toolmaker": _make_tool,
}
