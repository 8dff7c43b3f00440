"""The closed-class words of the scripted teacher: what may stand around a value, and what may not.

`speak` quotes any value that `is_safe` refuses; `extract` ends an unquoted value where these words or
punctuation begin. Both sides use this one module, so that they are inverse by construction.
"""

import re
from typing import Any

from looptool.records import canonical_json

STOP_WORDS = frozenset(
    """a an the and or but with for in on at to from by of as about into via per than if so
    called named titled saying under using containing is are be being was would should will must can could
    no wait sorry actually please thanks thank then also separately it its it's i i'd me my you your that
    this these those not instead rather next same make change do get set there whether which what when
    where who how need want like one worth starting returns result""".split()
)
NUMBER_WORDS = dict(
    zip(
        "one two three four five six seven eight nine ten eleven twelve".split(),
        range(1, 13),
        strict=True,
    )
)
UNIT_WORDS = frozenset(
    """days nights guests people persons passengers adults children minutes hours weeks months years rooms
    seats tickets copies servings items steps pages results kilometers kilometres miles meters calories
    pieces units bedrooms rounds sets""".split()
)
TOKEN = re.compile(r"[\w+#@/$€~°][^\s,;!?\"“”()\x00，。；]*")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w])(?!\.\d)")
QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"')
CONNECTOR = re.compile(
    r"\s*(?:[:=]|(?:is|are|as|of|to be|being|would be|should be|will be|must be|set to|是|为)(?![\w]))?\s*",
    re.IGNORECASE,
)
CORRECTION = re.compile(
    r"\s*(?:[,;.]|--?|—)?\s*(?:no,? wait|oh,? sorry|sorry|wait|scratch that|i mean|actually|or rather|no)"
    r"(?:,? (?:no|sorry|i mean|make (?:that|it)|actually))?,?\s+(?:it's\s+|it is\s+)?",
    re.IGNORECASE,
)
REFERENCE = re.compile(
    r"\s*(?:(?:that|which)\s+)?(?:(?:the\s+)?(?:one\s+)?(?:that\s+)?)?"
    r"(?:(?:it|this|that|the\s+first\s+step)\s+returns|you\s+get\s+back|"
    r"(?:from|in|of)\s+(?:that|the|its)\s+(?:(?P<which>first|cheapest)\s+)?(?:result|one|answer|option)s?)",
    re.IGNORECASE,
)


def is_safe(text: str) -> bool:
    """Whether a string can stand in a sentence without quotes and be found again as it is."""
    tokens = text.split(" ")
    if not text or len(tokens) > 4:
        return False
    for token in tokens:
        match = TOKEN.fullmatch(token)
        if match is None or token[-1] in ".:)-'" or token.lower() in STOP_WORDS:
            return False
        if token[-1] in "…。、":
            return False
    return text.lower() not in ("none", "null")


def quote(text: str) -> str:
    """The string as JSON text: the one quoting that is always read back."""
    return canonical_json(text)


def say_scalar(value: Any, *, spoken_booleans: bool = False) -> str:
    """A value as it stands in a user's sentence."""
    if isinstance(value, bool):
        yes, no = ("yes", "no") if spoken_booleans else ("true", "false")
        return yes if value else no
    if isinstance(value, str):
        return value if is_safe(value) else quote(value)
    return canonical_json(value)


def say_value(value: Any, *, spoken_booleans: bool = False) -> str:
    """Scalars plainly, lists as `"a", "b" and "c"`, everything else as JSON text."""
    scalars = isinstance(value, list) and value and all(_is_scalar(item) for item in value)
    if not scalars:
        if isinstance(value, list | dict):
            return canonical_json(value)
        return say_scalar(value, spoken_booleans=spoken_booleans)
    if len(value) == 1:
        return say_scalar(value[0])
    items = [quote(item) if isinstance(item, str) else canonical_json(item) for item in value]
    return ", ".join(items[:-1]) + " and " + items[-1]


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def split_name(name: str) -> list[str]:
    """The lower-case words of an identifier in snake, kebab, camel or dotted case."""
    spaced = re.sub(r"([a-z0-9])([A-Z])|([A-Z]+)([A-Z][a-z])", r"\1\3 \2\4", name)
    words = [word.lower() for word in re.findall(r"[^\W_]+", spaced)]
    return words or [name.lower()]


def stem(word: str) -> str:
    """A crude stem: plural and verb endings cut."""
    for ending in ("ies", "ing", "es", "ed", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word.rstrip("e") if len(word) > 4 else word
