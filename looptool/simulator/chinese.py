"""Chinese for the scripted teacher: says asks in it, and reads what was said back into English.

The phrases are data (`chinese.toml`). What is read becomes English in the plain style, so that the
one language core understands both. Words for which the table has no Chinese stay English, as people
do with product names; values stay as they are, and in quotes where they hold Chinese themselves.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any

from looptool.simulator.ask import CHANGE, FULL, Ask, Reference, Slot
from looptool.simulator.kinds import kind_of, other_value
from looptool.simulator.lexicon import QUOTED, quote, say_value

_FULL_WIDTH = re.compile(r"[，。；？！：、]")
_HAN = re.compile(r"[\u3400-\u9fff]")
_LATIN = re.compile(r"[A-Za-z0-9]")
_PUNCTUATION = {"，": ", ", "。": ". ", "；": "; ", "：": ": ", "？": "? ", "！": ". ", "、": ", "}
_ALSO, _THEN = ". Also, ", ". After that, "
_MARKERS = {"same": "the same", "change": "change it to"}
_REFERENCES = {
    "result": " from the result",
    "first": " of the first result",
    "cheapest": " of the cheapest result",
}
_YES, _NO = "选是", "选否"
_PARTICLES = {"是": " is ", "为": " is ", "用": " use ", "和": " and ", "吧": ""}


@dataclass(frozen=True, slots=True)
class Phrases:
    """The table, and the scanner that reads it backwards."""

    table: Mapping[str, Mapping[str, Any]]
    actions: Mapping[str, str]
    """Chinese by English action, foreign ones included."""
    english: Mapping[str, str]
    """What each Chinese phrase is read as."""
    scanner: re.Pattern[str]


@cache
def load_phrases() -> Phrases:
    """The table of the package."""
    text = files("looptool.simulator").joinpath("chinese.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    actions = {
        english: chinese
        for both, said in (table["actions"] | table["foreign"]).items()
        for english, chinese in zip(both.split("|"), said.split("|"), strict=True)
    }
    english = {chinese: f" {words} " for words, chinese in table["names"].items()}
    english |= {chinese: f" {action} " for action, chinese in actions.items()}
    english |= {said: "" for phrases in table["starts"].values() for said in phrases if said}
    english |= {said: "" for phrases in table["ends"].values() for said in phrases if said}
    english |= dict.fromkeys(table["joints"]["also"], _ALSO)
    english |= dict.fromkeys(table["joints"]["then"], _THEN)
    for mode, phrases in table["modes"].items():
        english |= dict.fromkeys(phrases, f" {_MARKERS[mode]} ")
    english |= {said: _REFERENCES[which] for which, said in table["references"].items()}
    english |= dict.fromkeys(table["corrections"]["marks"], ", no wait, ")
    english |= {_YES: " yes", _NO: " no"} | _PARTICLES | _PUNCTUATION
    longest_first = sorted(english, key=len, reverse=True)
    scanner = re.compile(f"{QUOTED.pattern}|" + "|".join(map(re.escape, longest_first)))
    return Phrases(table, actions, english, scanner)


def speaks_chinese(text: str) -> bool:
    """Whether a message is Chinese: by its punctuation, since values may be of any language."""
    return _FULL_WIDTH.search(QUOTED.sub("", text)) is not None


def read_chinese(text: str) -> str:
    """The message in English, as far as the table goes; an English one comes back as it is."""
    if not speaks_chinese(text):
        return text
    phrases = load_phrases()
    read = phrases.scanner.sub(lambda m: phrases.english.get(m[0], m[0]), text)
    tidy = re.sub(r" +([,.;:?])", r"\1", re.sub(r" {2,}", " ", read)).strip()
    return re.sub(r"^is ", "it is ", tidy)


def say_chinese(asks: Sequence[Ask], style: str, rng: Random) -> str:
    """The asks as one Chinese message; `style` is one of the scripted teacher's."""
    joints = load_phrases().table["joints"]
    text = ""
    for number, ask in enumerate(asks):
        start = "" if number else rng.choice(load_phrases().table["starts"][style])
        if number:
            text += rng.choice(joints["then" if ask.dependent else "also"])
        text += _clause(ask, style, start, rng)
    ending = rng.choice(load_phrases().table["ends"].get(style, [""]))
    return f"{text}{ending}。"


def _clause(ask: Ask, style: str, start: str, rng: Random) -> str:
    table = load_phrases().table
    if ask.mode == FULL:
        action = load_phrases().actions.get(ask.action) or f" {ask.action} "
    else:
        action = rng.choice(table["modes"]["change" if ask.mode == CHANGE else "same"])
    wrong = _wrong_values(ask, rng) if style == "correction" else {}
    linked = style not in ("terse", "fragment")
    slots = [
        _slot(slot, rng, linked=linked, wrong=wrong.get(n)) for n, slot in enumerate(ask.slots)
    ]
    if not slots:
        return f"{start}{action}".strip()
    if style == "fragment":
        return "。".join([f"{start}{action}".strip(), *slots])
    if style == "value_first" and ask.mode == FULL:
        return f"{'，'.join(slots)}，{start}{action}".strip()
    return f"{start}{action}{'：' if style == 'terse' else '，'}{'，'.join(slots)}".strip()


def _wrong_values(ask: Ask, rng: Random) -> dict[int, Any]:
    """One slot by number, with the value that is first said for it."""
    found = {
        n: other
        for n, slot in enumerate(ask.slots)
        if (other := other_value(kind_of(slot.words), slot.value, rng)) is not None
    }
    chosen = rng.choice(sorted(found)) if found else -1
    return {chosen: found[chosen]} if found else {}


def _slot(slot: Slot, rng: Random, *, linked: bool, wrong: Any = None) -> str:
    """`城市是 Paris`; without its link `城市 Paris`."""
    table = load_phrases().table
    name = name_in_chinese(slot.words)
    if isinstance(slot.value, Reference):
        return f"{name}{table['references'][slot.value.which or 'result']}"
    if isinstance(slot.value, bool):
        return f"{name}{_YES if slot.value else _NO}"
    value = _say(slot.value)
    if wrong is not None:
        return f"{name}是 {_say(wrong)}{rng.choice(table['corrections']['marks'])} {value}"
    return f"{name}是 {value}" if linked else f"{name} {value}"


def _say(value: Any) -> str:
    """A value in a Chinese sentence: quoted where it would run into the words around it."""
    if isinstance(value, str):
        return quote(value) if _HAN.search(value) or _FULL_WIDTH.search(value) else say_value(value)
    if isinstance(value, list) and len(value) > 1 and all(isinstance(v, str) for v in value):
        return "、".join(map(quote, value[:-1])) + f" 和 {quote(value[-1])}"
    return say_value(value)


def name_in_chinese(words: str) -> str:
    """A parameter's or field's words in Chinese; English ones stand apart from what surrounds
    them."""
    return str(load_phrases().table["names"].get(words) or f" {words} ")


def answer_in_chinese(slots: Sequence[Slot], rng: Random) -> str:
    """The answer to a question about these values."""
    answers = load_phrases().table["answers"]
    first = slots[0].value
    if len(slots) == 1 and not isinstance(first, bool) and rng.random() < 0.6:
        return str(rng.choice(answers["bare"])).format(_say(first))
    return "，".join(_slot(slot, rng, linked=True).strip() for slot in slots) + "。"


def reply_in_chinese(kind: str, key: str, about: str = "") -> str:
    """One of the assistant's phrases: ask, refuse, give_up, found, done, unclear, stuck.

    The same `key` always has the same one.
    """
    texts = load_phrases().table["replies"][kind]
    return str(texts[sum(key.encode("utf-8", "replace")) % len(texts)]).format(about.strip())


def fact_in_chinese(words: str, value: Any) -> str:
    """`温度是 21`."""
    said = "是" if value is True else "否" if value is False else str(value)
    return f"{name_in_chinese(words).strip()}是 {said}"
