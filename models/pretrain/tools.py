"""Random tools and random values: what a context offers and what a user can say about it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models.pretrain import words

Json = Any

PIECES = (*words.SYLLABLES, *words.NOUNS, *words.PHRASE_WORDS)


@dataclass(frozen=True, slots=True)
class Value:
    """One argument value: as the call holds it and as a user says it."""

    json: Json
    spoken: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a tool."""

    name: str
    """As the schema spells it: `start_date` or `startDate`."""
    spoken: str
    """As a user says it: `start date`."""
    kind: str
    """Which values fit: a key of `words.PARAMETERS`."""
    schema: dict[str, Json]
    required: bool


@dataclass(frozen=True, slots=True)
class Tool:
    """A random tool with what a user may call it."""

    name: str
    meaning: tuple[int, str]
    """(verb cluster, noun): two tools of one context never share it."""
    intents: tuple[str, ...]
    """What a user may call it: the words of its name, then those of its description."""
    description: str
    parameters: tuple[Parameter, ...]

    def build_spec(self) -> dict[str, Json]:
        """The tool in OpenAI's function format."""
        schema = {
            "type": "object",
            "properties": {p.name: p.schema for p in self.parameters},
            "required": [p.name for p in self.parameters if p.required],
        }
        function = {"name": self.name, "description": self.description, "parameters": schema}
        return {"type": "function", "function": function}


def draw_pseudo_word(rng: random.Random) -> str:
    """Two or three syllables that are no word."""
    return "".join(rng.choice(words.SYLLABLES) for _ in range(rng.choice((2, 2, 3))))


def draw_made_up(rng: random.Random) -> str:
    """One to three pieces of words in a row: nothing to know by heart, only to copy."""
    return "".join(rng.choice(PIECES) for _ in range(rng.choice((1, 1, 2, 2, 3))))


def draw_noun(rng: random.Random) -> str:
    """A noun, one in three of them made up."""
    return draw_made_up(rng) if rng.random() < 0.35 else rng.choice(words.NOUNS)


def _draw_date(rng: random.Random) -> str:
    return f"{rng.randint(2024, 2028)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def _draw_id(rng: random.Random) -> str:
    letters = "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(rng.choice((1, 2, 3))))
    return f"{letters}{rng.choice(('-', ''))}{rng.randint(10, 9999)}"


def _draw_name(rng: random.Random) -> str:
    first = rng.choice(words.FIRST_NAMES)
    if rng.random() < 0.12:
        first = draw_pseudo_word(rng).capitalize()
    return first if rng.random() < 0.5 else f"{first} {rng.choice(words.LAST_NAMES)}"


def _draw_email(rng: random.Random) -> str:
    host = rng.choice(("mail", "post", "example", draw_pseudo_word(rng)))
    return f"{rng.choice(words.FIRST_NAMES).lower()}@{host}.{rng.choice(('com', 'org', 'net'))}"


def _draw_word(rng: random.Random) -> str:
    pool: Callable[[], str] = rng.choice(
        (
            lambda: rng.choice(words.NOUNS),
            lambda: draw_made_up(rng),
            lambda: rng.choice(words.PHRASE_WORDS),
        )
    )
    text = " ".join(pool() for _ in range(rng.choice((1, 1, 1, 2))))
    return text.title() if rng.random() < 0.3 else text


def _draw_text(rng: random.Random) -> str:
    text = " ".join(rng.choice(words.PHRASE_WORDS) for _ in range(rng.choice((1, 2, 2, 3, 4))))
    return text.capitalize() if rng.random() < 0.4 else text


def _draw_city(rng: random.Random) -> str:
    return draw_pseudo_word(rng).capitalize() if rng.random() < 0.25 else rng.choice(words.CITIES)


def _draw_integer(rng: random.Random) -> Value:
    number = rng.choice((rng.randint(1, 9), rng.randint(1, 30), rng.randint(1, 2500)))
    return Value(number, str(number))


STRINGS: dict[str, Callable[[random.Random], str]] = {
    "city": _draw_city,
    "date": _draw_date,
    "time": lambda rng: f"{rng.randint(0, 23):02d}:{rng.choice((0, 15, 30, 45)):02d}",
    "name": _draw_name,
    "email": _draw_email,
    "id": _draw_id,
    "digits": lambda rng: str(rng.randint(100, 99999)),
    "text": _draw_text,
    "word": _draw_word,
}


def _draw_number(rng: random.Random) -> Value:
    number = rng.choice(
        (rng.randint(5, 900), rng.randint(10, 9999) / 100, rng.randint(5, 500) / 10)
    )
    spoken = str(number)
    return Value(number, f"${spoken}" if rng.random() < 0.15 else spoken)


def _draw_list(rng: random.Random) -> Value:
    draw = STRINGS[rng.choice(("word", "name", "city", "word"))]
    items = [draw(rng) for _ in range(rng.choice((1, 2, 2, 3)))]
    if len(items) > 1 and rng.random() < 0.7:
        return Value(items, ", ".join(items[:-1]) + " and " + items[-1])
    return Value(items, ", ".join(items))


COMPOUND: dict[str, Callable[[random.Random], Value]] = {
    "integer": _draw_integer,
    "number": _draw_number,
    "list": _draw_list,
}


def draw_value(rng: random.Random, parameter: Parameter) -> Value:
    """A value that fits the parameter's schema and is not its default."""
    for _ in range(20):
        value = _draw_candidate(rng, parameter)
        if "default" not in parameter.schema or value.json != parameter.schema["default"]:
            break
    return value


def _draw_candidate(rng: random.Random, parameter: Parameter) -> Value:
    kind = parameter.kind
    if kind == "enum":
        option = rng.choice(parameter.schema["enum"])
        return Value(option, option)
    if kind == "boolean":
        flag = rng.random() < 0.5
        pair = rng.choice((("true", "false"), ("true", "false"), ("yes", "no"), ("on", "off")))
        return Value(flag, pair[0] if flag else pair[1])
    if kind in COMPOUND:
        return COMPOUND[kind](rng)
    text = STRINGS[kind](rng)
    if kind in ("text", "word") and rng.random() < (0.35 if kind == "text" else 0.1):
        quote = rng.choice(('"', '"', "'"))
        return Value(text, f"{quote}{text}{quote}")
    return Value(text, text)


def spell(parts: list[str], style: str) -> str:
    """Joins words in a naming style: snake, camel or kebab."""
    if style == "camel":
        return parts[0] + "".join(part.capitalize() for part in parts[1:])
    return ("-" if style == "kebab" else "_").join(parts)


def _draw_schema(rng: random.Random, kind: str, required: bool) -> dict[str, Json]:
    if kind == "enum":
        options = rng.sample(words.OPTIONS, rng.choice((2, 2, 3, 3, 4)))
        schema: dict[str, Json] = {"type": "string", "enum": options}
    elif kind == "list":
        schema = {"type": "array", "items": {"type": "string"}}
    else:
        schema = {"type": kind if kind in ("integer", "number", "boolean") else "string"}
    if not required and kind in ("enum", "integer", "boolean") and rng.random() < 0.4:
        drawn = draw_value(rng, Parameter("", "", kind, schema, required))
        schema["default"] = drawn.json
    return schema


DRILL_KINDS = ("integer", "id", "date", "email", "name", "word", "word", "text", "city")
KINDS = tuple(words.PARAMETERS)
KIND_WEIGHTS = (12, 12, 7, 10, 4, 9, 3, 11, 12, 15, 8, 5, 9, 4)


def draw_parameter(
    rng: random.Random, style: str, taken: set[str], required: bool, kind: str | None = None
) -> Parameter:
    """One parameter whose spoken name is not in `taken` (added to it)."""
    kind = kind or rng.choices(KINDS, KIND_WEIGHTS)[0]
    for _ in range(50):
        spoken = rng.choice(words.PARAMETERS[kind])
        if rng.random() < 0.4:
            spoken = draw_noun(rng)
            if rng.random() < 0.3:
                spoken = f"{rng.choice(words.ADJECTIVES)} {spoken}"
        if spoken not in taken:
            break
    taken.add(spoken)
    name = spell(spoken.split(), "camel" if style == "camel" else "snake")
    return Parameter(name, spoken, kind, _draw_schema(rng, kind, required), required)


def draw_tool(
    rng: random.Random,
    cluster: int | None = None,
    noun: str | None = None,
    max_parameters: int = 5,
    with_parameter: Parameter | None = None,
    easy: bool = False,
) -> Tool:
    """A random tool; `with_parameter` is put among its required parameters.

    An easy one has a noun of one word, few parameters and mostly no description.
    """
    style = rng.choice(("snake", "snake", "snake", "snake" if easy else "camel", "kebab"))
    cluster = rng.randrange(len(words.VERBS)) if cluster is None else cluster
    if noun is None:
        noun = draw_noun(rng)
        if not easy and rng.random() < 0.25:
            noun = f"{rng.choice((*words.ADJECTIVES, *words.NOUNS))} {noun}"
    verb, other = rng.choice(words.VERBS[cluster]), rng.choice(words.VERBS[cluster])
    article = rng.choice(("", "a ", "the "))
    tail, spoken_tail = "", ""
    if not easy and rng.random() < 0.3:  # add_song_to_playlist
        link, place = rng.choice(words.LINKS), rng.choice(words.NOUNS)
        tail, spoken_tail = f" {link} {place}", f" {link} {rng.choice(('a ', 'the ', ''))}{place}"
    extra = rng.choice(words.EXTRAS) if not easy and not tail and rng.random() < 0.25 else ""
    about = f"{other} {article}{noun}{spoken_tail} {extra}".strip()
    taken = {with_parameter.spoken} if with_parameter else set()
    count = min(rng.choices((0, 1, 2, 3, 4, 5), (4, 24, 32, 24, 11, 5))[0], max_parameters)
    parameters = [
        draw_parameter(rng, style, taken, required=index == 0 or rng.random() < 0.55)
        for index in range(count)
    ]
    if parameters and not easy and rng.random() < 0.35 and f"{noun} id" not in taken:
        own = f"{noun} id"  # play_song(song_id): a name that begins like its tool's
        parameters[0] = Parameter(spell(own.split(), "snake"), own, "id", {"type": "string"}, True)
    if with_parameter:
        parameters = [*parameters[:3], with_parameter]
        rng.shuffle(parameters)
    parameters.sort(key=lambda parameter: not parameter.required)
    intents: tuple[str, ...] = (
        f"{verb} {noun}{tail}",
        f"{verb} {rng.choice(('the', 'a', 'my'))} {noun}{spoken_tail}",
    )
    description = ""
    if not easy or rng.random() < 0.3:
        intents = (*intents, about)
        description = about[0].upper() + about[1:] + rng.choice(("", "."))
    return Tool(
        name=spell(f"{verb} {noun}{tail}".split(), style),
        meaning=(cluster, noun),
        intents=intents,
        description=description,
        parameters=tuple(parameters),
    )


def draw_drill_tool(rng: random.Random) -> Tool:
    """A tool of made-up words with one to three required parameters of simple types."""
    verb = draw_made_up(rng) if rng.random() < 0.5 else rng.choice(rng.choice(words.VERBS))
    noun = draw_made_up(rng)
    parameters: dict[str, Parameter] = {}
    for _ in range(rng.choice((1, 1, 2, 2, 3))):
        kind = rng.choice(DRILL_KINDS)
        spoken = draw_made_up(rng) if rng.random() < 0.6 else rng.choice(words.PARAMETERS[kind])
        name = spell(spoken.split(), "snake")
        schema = {"type": "integer" if kind == "integer" else "string"}
        parameters[name] = Parameter(name, spoken, kind, schema, True)
    name = spell(
        f"{verb} {noun}".split(), rng.choice(("snake", "snake", "snake", "kebab", "camel"))
    )
    intents = (f"{verb} {noun}", f"{verb} a {noun}", f"{verb} the {noun}")
    return Tool(name, (0, noun), intents, "", tuple(parameters.values()))


def draw_tools(
    rng: random.Random, targets: list[Tool], count: int, easy: bool = False
) -> list[Tool]:
    """`targets` and near misses of them (same verb or same noun), shuffled, `count` in all."""
    most = 2 if easy else 5
    tools = list(targets)
    names = {tool.name for tool in tools}
    meanings = {tool.meaning for tool in tools}
    while len(tools) < count:
        near, roll = rng.choice(targets), rng.random()
        if roll < 0.3:
            drawn = draw_tool(rng, near.meaning[0], None, most, easy=easy)
        elif roll < 0.6:
            drawn = draw_tool(rng, None, near.meaning[1], most, easy=easy)
        else:
            drawn = draw_tool(rng, None, None, most, easy=easy)
        if drawn.meaning not in meanings and drawn.name not in names:
            tools.append(drawn)
            names.add(drawn.name)
            meanings.add(drawn.meaning)
    rng.shuffle(tools)
    return tools
