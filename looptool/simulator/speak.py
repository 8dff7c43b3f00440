"""Says what a user wants, in a style: the inverse of `plan` and `extract`.

The explicit styles (plain, polite, terse) name each parameter before its value, the narrow way in which the
small base policy was taught; the others are what it has still to learn. A speaker sees only the asks: no
tools, so nothing that the need does not say.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from looptool.simulator import fillers
from looptool.simulator.ask import CHANGE, FULL, Ask, Reference, Slot
from looptool.simulator.chinese import answer_in_chinese, say_chinese
from looptool.simulator.kinds import Kind, is_unit, kind_of, other_value
from looptool.simulator.lexicon import NUMBER_WORDS, is_safe, say_value
from looptool.simulator.shapes import Leaf, Path
from looptool.simulator.toolbox import SOFT_VERBS, Tool

EXPLICIT_STYLES = ("plain", "polite", "terse")
HARD_STYLES = (
    "chatty", "value_first", "implicit", "correction", "indirect", "fragment", "story",
)  # fmt: skip
STYLES = EXPLICIT_STYLES + HARD_STYLES
_WORD_OF = {number: word for word, number in NUMBER_WORDS.items()}
_REFERENCES = {
    "": ("the {} from the result", "the {} it returns"),
    "first": ("the {} of the first result",),
    "cheapest": ("the {} of the cheapest one", "the {} of the cheapest result"),
}
Clause = Callable[[Ask, Random], str]


def make_rng(*parts: Any) -> Random:
    """A generator seeded by the digest of JSON-compatible parts."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, default=str)
    return Random(hashlib.blake2b(text.encode(), digest_size=8).digest())


def make_ask(
    tool: Tool,
    values: dict[Path, Any],
    *,
    action: int = 0,
    mode: str = FULL,
    dependent: bool = False,
) -> Ask:
    """The ask for a call of a tool with values (or References) by path."""
    order = {leaf.path: leaf for leaf in tool.leaves}
    slots = tuple(Slot(_words(order[p]), v) for p, v in values.items() if p in order)
    return Ask(tool.actions[action % len(tool.actions)], slots, mode, dependent)


def _words(leaf: Leaf) -> str:
    return leaf.words


def pick_style(style: str, rng: Random) -> str:
    """The style itself when it is one of ours; one of ours for any other word."""
    return style if style in STYLES else rng.choice(STYLES)


def speak(asks: Sequence[Ask], style: str = "plain", language: str = "en", salt: Any = 0) -> str:
    """The asks as one message of a user. Deterministic in all arguments."""
    key = [[a.action, a.mode, [[s.words, repr(s.value)] for s in a.slots]] for a in asks]
    rng = make_rng("speak", key, style, language, salt)
    style = pick_style(style, rng)
    if language.startswith("zh"):
        return say_chinese(asks, style, rng)
    clause = _CLAUSES[style]
    text = ""
    for number, ask in enumerate(asks):
        spoken = _amend(ask, style, rng) if ask.mode != FULL else clause(ask, rng)
        if not number:
            text = spoken
            continue
        joints = fillers.THEN_JOINTS if ask.dependent else fillers.ALSO_JOINTS
        joint = rng.choice(joints)
        text = text.rstrip(" .?!") + joint + _lower_first(spoken)
    return _finish(text, style, rng)


def _finish(text: str, style: str, rng: Random) -> str:
    """Small talk around a message, its first capital and its last point."""
    if style != "value_first":
        text = text[:1].upper() + text[1:]
    if text[-1:] not in ".?!":
        asking = text.lower().startswith(("could you", "would you", "can you"))
        text += "?" if style == "polite" and asking and ". " not in text else "."
    if style == "chatty":
        closing = f" {rng.choice(fillers.CLOSINGS)}" if rng.random() < 0.5 else ""
        return f"{rng.choice(fillers.PREAMBLES)} {text}{closing}"
    if style == "story":
        reason = rng.choice(fillers.REASONS)
        return f"{reason} {text}" if rng.random() < 0.6 else f"{text} {reason}"
    return text


def _lower_first(text: str) -> str:
    second = text[1:2]
    return (
        text if second.isupper() or text.startswith(("I ", "I'")) else text[:1].lower() + text[1:]
    )


def _named(slot: Slot, rng: Random, *, spoken: bool = False) -> str:
    """`city Paris`, or the reference in words."""
    if isinstance(slot.value, Reference):
        return rng.choice(_REFERENCES[slot.value.which]).format(slot.words)
    return f"{slot.words} {say_value(slot.value, spoken_booleans=spoken)}"


def _join(parts: Sequence[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return ", ".join(parts[:-1]) + " and " + parts[-1]


def _plain(ask: Ask, rng: Random) -> str:
    slots = _join([_named(slot, rng) for slot in ask.slots])
    return f"{ask.action} with {slots}" if slots else ask.action


def _polite(ask: Ask, rng: Random) -> str:
    slots = ", ".join(_named(slot, rng) for slot in ask.slots)
    wanted = f"{ask.action} for {slots}" if slots else ask.action
    return f"{rng.choice(fillers.POLITE)} {wanted}"


def _terse(ask: Ask, rng: Random) -> str:
    slots = ", ".join(_named(slot, rng) for slot in ask.slots)
    return f"{ask.action}: {slots}" if slots else ask.action


def _chatty(ask: Ask, rng: Random) -> str:
    start = f"{rng.choice(fillers.WISHES)} {_soften(ask.action, rng)}"
    slots = _join([_named(slot, rng, spoken=True) for slot in ask.slots])
    return f"{start}? {rng.choice(fillers.CHATTY_LINKS)} {slots}" if slots else f"{start}?"


def _soften(action: str, rng: Random) -> str:
    """Another everyday verb for looking something up."""
    verb, _, rest = action.partition(" ")
    if verb not in SOFT_VERBS or len(rest.split()) < 2:
        return action
    return f"{rng.choice(('show me', 'tell me', 'give me', 'get', 'check'))} {rest}"


def _counted(slot: Slot) -> bool:
    """Whether "3 days" can stand for "days 3"."""
    number = isinstance(slot.value, int | float) and not isinstance(slot.value, bool)
    return number and slot.value > 1 and is_unit(slot.words)


def _value_first(ask: Ask, rng: Random) -> str:
    kinds = [kind_of(slot.words) for slot in ask.slots]
    parts = []
    for slot, kind in zip(ask.slots, kinds, strict=True):
        if _counted(slot):
            parts.append(f"{slot.value} {slot.words}")
        elif _stands_alone(slot, kind, kinds):
            parts.append(str(slot.value))
        else:
            parts.append(_named(slot, rng, spoken=True))
    values = ", ".join(parts)
    return f"{values} - {_soften(ask.action, rng)}" if values else ask.action


def _stands_alone(slot: Slot, kind: Kind | None, kinds: Sequence[Kind | None]) -> bool:
    """Whether a value without its name still shows where it belongs."""
    if kind is None or not isinstance(slot.value, str) or not is_safe(slot.value):
        return False
    same = [other for other in kinds if other and _overlap(kind, other)]
    return kind.bare and kind.recognises(slot.value) and len(same) == 1


def _overlap(left: Kind, right: Kind) -> bool:
    if left.name == right.name:
        return True
    if {left.name, right.name} <= {"code", "uuid"} or not (left.entries and right.entries):
        return False
    return bool(left.entries & right.entries)


def _implicit(ask: Ask, rng: Random) -> str:
    kinds = [kind_of(slot.words) for slot in ask.slots]
    phrases: list[str] = []
    named: list[str] = []
    for slot, kind in zip(ask.slots, kinds, strict=True):
        phrase = _phrase(slot, kind, kinds, rng)
        (phrases if phrase else named).append(phrase or _named(slot, rng, spoken=True))
    text = " ".join([ask.action, *phrases])
    return f"{text}, with {_join(named)}" if named else text


def _phrase(slot: Slot, kind: Kind | None, kinds: Sequence[Kind | None], rng: Random) -> str:
    """The value with its preposition and without its name; "" where that would be unclear."""
    if _counted(slot):
        number = slot.value
        word = _WORD_OF.get(number) if isinstance(number, int) and rng.random() < 0.3 else None
        start = "for the next" if slot.words in ("days", "hours", "weeks", "months") else "for"
        return f"{start} {word or number} {slot.words}"
    if kind is None or not kind.preposition or not isinstance(slot.value, str):
        return ""
    same = [k for k in kinds if k and (k.preposition == kind.preposition or _overlap(k, kind))]
    unlike = kind.name not in ("origin", "destination")
    if sum(1 for k in same if k.name == kind.name) > 1 or (len(same) > 1 and unlike):
        return ""
    odd_start = not slot.value[:1].isalpha() and kind.name not in ("address", "phone")
    if not kind.recognises(slot.value) if kind.pattern is not None else odd_start:
        return ""
    return f"{kind.preposition} {say_value(slot.value)}"


def _correction(ask: Ask, rng: Random) -> str:
    """One value is first said wrong; the last mention counts."""
    wrong = {
        n: other
        for n, slot in enumerate(ask.slots)
        if (other := other_value(kind_of(slot.words), slot.value, rng)) is not None
    }
    chosen = rng.choice(sorted(wrong)) if wrong else -1
    parts = []
    for n, slot in enumerate(ask.slots):
        if n != chosen:
            parts.append(_named(slot, rng))
            continue
        mark = rng.choice(("no wait", "sorry", "I mean", "no, make that"))
        parts.append(f"{slot.words} {say_value(wrong[n])}, {mark}, {say_value(slot.value)}")
    return f"{ask.action} for {', '.join(parts)}" if parts else ask.action


def _indirect(ask: Ask, rng: Random) -> str:
    start = f"{rng.choice(fillers.WONDERS)} {ask.action}"
    parts = []
    for slot in ask.slots:
        value = say_value(slot.value) if not isinstance(slot.value, Reference) else ""
        parts.append(
            f"the {slot.words} would be {value}" if value else f"using {_named(slot, rng)}"
        )
    slots = _join(parts)
    return f"{start}. {slots[:1].upper()}{slots[1:]}" if slots else start


def _fragment(ask: Ask, rng: Random) -> str:
    verb, _, rest = ask.action.partition(" ")
    bare = rest if verb in SOFT_VERBS and len(rest.split()) > 2 else ask.action
    for article in ("the ", "a ", "an "):
        bare = bare.removeprefix(article)
    parts = [bare, *(_named(slot, rng) for slot in ask.slots)]
    return ". ".join(part[:1].upper() + part[1:] for part in parts)


def _story(ask: Ask, rng: Random) -> str:
    return f"So please {_plain(ask, rng)}" if rng.random() < 0.5 else _polite(ask, rng)


def _amend(ask: Ask, style: str, rng: Random) -> str:
    """A follow-up that builds on the call before it."""
    explicit = style in EXPLICIT_STYLES
    parts = []
    kinds = [kind_of(slot.words) for slot in ask.slots]
    alone = False
    for slot, kind in zip(ask.slots, kinds, strict=True):
        if not explicit and _counted(slot):
            parts.append(f"{slot.value} {slot.words}")
        elif not explicit and _stands_alone(slot, kind, kinds):
            parts.append(str(slot.value))
            alone = True
        else:
            parts.append(_named(slot, rng))
    values = _join(parts)
    if ask.mode == CHANGE:
        return f"{rng.choice(('now change it to', 'make it', 'actually, change it to'))} {values}"
    start = rng.choice(("the same", "do the same", "same again"))
    return f"{start} {'for' if alone else 'with'} {values}" if values else start


def speak_answer(slots: Sequence[Slot], style: str, language: str = "en", salt: Any = 0) -> str:
    """The answer to a clarification question."""
    key = [[slot.words, repr(slot.value)] for slot in slots]
    rng = make_rng("answer", key, style, language, salt)
    if language.startswith("zh"):
        return answer_in_chinese(slots, rng)
    first = slots[0]
    short = style not in EXPLICIT_STYLES and len(slots) == 1 and isinstance(first.value, str)
    if short and is_safe(first.value):
        return rng.choice(("{}.", "It's {}.", "{} please.")).format(first.value)
    form = rng.choice(("the {} is {}", "use {} {}"))
    text = _join([form.format(slot.words, say_value(slot.value)) for slot in slots])
    return text[:1].upper() + text[1:] + "."


_CLAUSES: dict[str, Clause] = {
    "plain": _plain,
    "polite": _polite,
    "terse": _terse,
    "chatty": _chatty,
    "value_first": _value_first,
    "implicit": _implicit,
    "correction": _correction,
    "indirect": _indirect,
    "fragment": _fragment,
    "story": _story,
}
