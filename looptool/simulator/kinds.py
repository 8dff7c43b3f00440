"""What a parameter is about, told from the words of its name: the shared knowledge of speaker and reader.

A kind says how to draw a value, with which preposition a person would add it to a sentence without
naming it ("in Paris", "on 2031-04-02"), and how to recognise it where it stands alone.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from random import Random
from typing import Any

from looptool.simulator import gazetteer as words_of
from looptool.simulator.lexicon import UNIT_WORDS

DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?![\dT])")
TIME = re.compile(r"(?<![\d:T])\d{1,2}:\d{2}(?::\d{2})?(?![\d:])")
DATETIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:\d{2})?")
EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
URI = re.compile(r"https?://[^\s,;!?\"()]*[^\s,;!?\"().:]")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
PHONE = re.compile(r"\+\d{2}-\d{3}-\d{4}")
BASE_DAY = date(2031, 1, 1)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value."""

    name: str
    heads: frozenset[str]
    """Last words of parameter names of this kind."""
    draw: Callable[[Random], str]
    preposition: str = ""
    """Introduces the value when the name is left out; empty: always name the parameter."""
    entries: frozenset[str] = frozenset()
    """Known values, by which a bare mention is recognised."""
    pattern: re.Pattern[str] | None = None
    """Form by which a bare mention is recognised."""

    def recognises(self, text: str) -> bool:
        """Whether the text alone shows that it is of this kind."""
        if self.pattern is not None:
            return self.pattern.fullmatch(text) is not None
        return text in self.entries

    @property
    def bare(self) -> bool:
        """Whether values are recognised without a name or a preposition."""
        return self.pattern is not None or bool(self.entries)


def _listed(
    name: str, heads: str, entries: Sequence[str], preposition: str = "", *, bare: bool = True
) -> Kind:
    return Kind(
        name,
        frozenset(heads.split()),
        lambda rng: rng.choice(entries),
        preposition,
        frozenset(entries) if bare else frozenset(),
    )


def _shaped(
    name: str,
    heads: str,
    draw: Callable[[Random], str],
    preposition: str = "",
    pattern: re.Pattern[str] | None = None,
) -> Kind:
    return Kind(name, frozenset(heads.split()), draw, preposition, pattern=pattern)


def draw_date(rng: Random) -> str:
    """A day within two years of 2031, ISO 8601."""
    return (BASE_DAY + timedelta(days=rng.randrange(700))).isoformat()


def draw_time(rng: Random) -> str:
    """A quarter of an hour between six and eleven at night."""
    return f"{rng.randrange(6, 23):02d}:{rng.choice((0, 15, 30, 45)):02d}"


def draw_datetime(rng: Random) -> str:
    """A moment in UTC, RFC 3339."""
    return f"{draw_date(rng)}T{draw_time(rng)}:00Z"


def draw_email(rng: Random) -> str:
    """An address at one of the companies."""
    host = rng.choice(words_of.COMPANIES).lower().replace(" ", "")
    return f"{rng.choice(words_of.FIRST_NAMES).lower()}@{host}.{rng.choice(('com', 'org', 'net'))}"


def draw_person(rng: Random) -> str:
    """First and last name."""
    return f"{rng.choice(words_of.FIRST_NAMES)} {rng.choice(words_of.LAST_NAMES)}"


def draw_uuid(rng: Random) -> str:
    """A version 4 UUID."""
    digits = f"{rng.getrandbits(128):032x}"
    parts = digits[:8], digits[8:12], "4" + digits[13:16], "8" + digits[17:20], digits[20:]
    return "-".join(parts)


def draw_code(rng: Random) -> str:
    """Two capitals and three or four digits."""
    return "".join(rng.choices("ABCDEFGHJKLMNPRSTUVWXYZ", k=2)) + str(rng.randrange(100, 9999))


def draw_uri(rng: Random) -> str:
    """A page of one of the companies."""
    host = rng.choice(words_of.COMPANIES).lower().replace(" ", "")
    return f"https://{host}.com/{rng.choice(words_of.WORDS)}"


def draw_address(rng: Random) -> str:
    """House number and street."""
    return f"{rng.randrange(1, 180)} {rng.choice(words_of.STREETS)}"


def draw_phone(rng: Random) -> str:
    """A number with its country code."""
    return f"+{rng.randrange(20, 99)}-{rng.randrange(100, 999)}-{rng.randrange(1000, 9999)}"


def _draw_zip(rng: Random) -> str:
    return str(rng.randrange(10000, 99999))


def _draw_name(rng: Random) -> str:
    return f"{rng.choice(words_of.WORDS)}-{rng.choice(words_of.WORDS)}"


CODE = re.compile(r"[A-Z]{2}\d{3,4}")
KINDS: tuple[Kind, ...] = (
    _listed("origin", "origin from source departure", words_of.CITIES, "from"),
    _listed("destination", "destination to arrival dropoff", words_of.CITIES, "to"),
    _listed(
        "city", "city town location place region destinations area venue", words_of.CITIES, "in"
    ),
    _listed("country", "country nation", words_of.COUNTRIES, "in"),
    _shaped("date", "date day deadline birthday checkin checkout", draw_date, "on", DATE),
    _shaped("time", "time hour clock", draw_time, "at", TIME),
    _shaped("datetime", "datetime timestamp", draw_datetime, "at", DATETIME),
    _shaped("email", "email mail", draw_email, "to", EMAIL),
    _shaped("phone", "phone telephone mobile", draw_phone, "at", PHONE),
    _shaped("uri", "url uri link website webpage homepage", draw_uri, "at", URI),
    _shaped("uuid", "uuid guid", draw_uuid, pattern=UUID),
    _shaped("code", "id code reference identifier key sku isbn", draw_code, pattern=CODE),
    _shaped("zip", "zip zipcode postcode", _draw_zip),
    _shaped("address", "address street", draw_address, "at"),
    _shaped(
        "person",
        "person passenger guest recipient contact employee patient customer author attendee assignee"
        " sender doctor owner artist actor director player traveler organizer invitee",
        draw_person,
        "for",
    ),
    _listed(
        "people", "participants attendees guests recipients members invitees", words_of.FIRST_NAMES
    ),
    _listed("firstname", "firstname forename", words_of.FIRST_NAMES),
    _listed("lastname", "lastname surname", words_of.LAST_NAMES),
    _listed(
        "title",
        "title subject event summary headline task reminder label",
        words_of.TITLES,
        "called",
    ),
    _listed(
        "work",
        "movie film song book album track show series game playlist",
        words_of.WORKS,
        "called",
    ),
    _listed(
        "message",
        "message text body content note notes description comment comments reason memo"
        " details feedback instructions",
        words_of.MESSAGES,
        "saying",
    ),
    _listed(
        "topic",
        "query topic keyword keywords search term q question interest phrase about",
        words_of.TOPICS,
        "about",
    ),
    _listed("language", "language lang", words_of.LANGUAGES, "in"),
    _listed("currency", "currency", words_of.CURRENCIES, "in"),
    _listed("airport", "airport iata", words_of.AIRPORTS, "at"),
    _listed("symbol", "symbol ticker stock", words_of.SYMBOLS, "for"),
    _listed("color", "color colour", words_of.COLORS, "in"),
    _listed("genre", "genre", words_of.GENRES),
    _listed(
        "company",
        "company organization organisation brand employer vendor supplier",
        words_of.COMPANIES,
        "at",
    ),
    _listed("road", "road route highway", words_of.STREETS),
    _listed("product", "product item article goods", words_of.PRODUCTS),
    _listed("food", "dish food meal recipe", words_of.FOODS),
    _listed("ingredient", "ingredient ingredients", words_of.INGREDIENTS),
    _listed("cuisine", "cuisine", words_of.CUISINES),
    _listed("exercise", "exercise sport activity workout", words_of.EXERCISES),
    _listed("medicine", "medicine medication drug", words_of.MEDICINES),
    _listed("room", "room", words_of.ROOMS, "in"),
    _listed("hotel", "hotel", words_of.HOTELS, "at"),
    _listed("restaurant", "restaurant cafe bar", words_of.RESTAURANTS, "at"),
    _listed(
        "condition", "condition conditions weather forecast sky", words_of.CONDITIONS, bare=False
    ),
    _listed("status", "status state phase result outcome", words_of.STATUSES, bare=False),
    _listed("department", "department team division", words_of.DEPARTMENTS),
    _listed("club", "club", words_of.TEAMS),
    _listed("breed", "breed pet animal species", words_of.BREEDS),
    _listed("username", "username user login handle nickname account", words_of.USERNAMES),
    _listed("file", "file filename path document attachment", words_of.FILES),
    _listed("tag", "tag tags category categories topics labels list folder", words_of.TAGS),
    _shaped("name", "name names", _draw_name),
)
_BY_HEAD = {head: kind for kind in reversed(KINDS) for head in kind.heads}
BY_NAME = {kind.name: kind for kind in KINDS}
_NAMED = {
    "first": "firstname",
    "last": "lastname",
    "family": "lastname",
    "user": "username",
    "file": "file",
    "full": "person",
    "display": "person",
}
_FORMATS = {
    "date": "date",
    "time": "time",
    "date-time": "datetime",
    "email": "email",
    "uri": "uri",
    "url": "uri",
    "uuid": "uuid",
}


@lru_cache(maxsize=4096)
def kind_of(name: str, form: str = "") -> Kind | None:
    """The kind of a parameter from its words and, where given, the `format` of its schema."""
    if form in _FORMATS:
        return BY_NAME[_FORMATS[form]]
    words = name.lower().split()
    if not words:
        return None
    last = words[-1]
    if last in ("name", "names") and len(words) > 1:
        owner = BY_NAME.get(_NAMED.get(words[-2], "")) or _BY_HEAD.get(words[-2])
        return owner or BY_NAME["name"]
    if last in ("city", "airport", "station") and len(words) > 1:
        travels = words[-2] in ("origin", "destination", "from", "to")
        return kind_of(words[-2]) if travels else _BY_HEAD.get(last)
    return _BY_HEAD.get(last)


def is_unit(words: str) -> bool:
    """Whether a number can stand before these words: "3 days"."""
    return words.rsplit(" ", maxsplit=1)[-1] in UNIT_WORDS and len(words.split(" ")) == 1


def find_bare(kind: Kind, text: str) -> tuple[str, int, int] | None:
    """The first mention in the text that shows by itself to be of this kind: value, start, end."""
    if kind.pattern is not None:
        match = kind.pattern.search(text)
        return (match[0], match.start(), match.end()) if match else None
    match = _entries_pattern(kind.name).search(text) if kind.entries else None
    return (match[0], match.start(), match.end()) if match else None


@lru_cache(maxsize=128)
def _entries_pattern(name: str) -> re.Pattern[str]:
    entries = sorted(BY_NAME[name].entries, key=len, reverse=True)
    return re.compile(r"(?<![\w-])(?:" + "|".join(map(re.escape, entries)) + r")(?![\w-])")


def other_value(kind: Kind | None, value: Any, rng: Random) -> Any:
    """Another value of the same kind and type, for corrections; None when there is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value + rng.randrange(1, 4)
    if kind is None or not isinstance(value, str):
        return None
    for _ in range(5):
        other = kind.draw(rng)
        if other != value:
            return other
    return None
