"""Personas, styles and languages: data that profiles name and prompts describe.

The built-in ones are `data/people.toml`; a file of one's own adds to them or replaces entries. A
name that no file holds is taken as the user's own words, so that a profile can say `a diver` at
once. The paper only says that there are many styles.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from looptool.errors import ConfigError, shorten

ALL = "all"
"""In a profile's list: every entry of the file."""
_TABLES = ("personas", "styles", "languages")


@dataclass(frozen=True, slots=True)
class Language:
    """A language that users speak."""

    code: str
    name: str
    notes: str = ""
    """What the teacher must know to speak it; empty for English, the language of the prompts."""


@dataclass(frozen=True, slots=True)
class People:
    """Texts by name."""

    personas: Mapping[str, str]
    styles: Mapping[str, str]
    languages: Mapping[str, Language]

    def persona(self, name: str) -> str:
        """Who this is, in words."""
        return self.personas.get(name, name)

    def style(self, name: str) -> str:
        """How this style sounds; empty when the name itself is all there is to say."""
        return self.styles.get(name, "")

    def language(self, code: str) -> Language:
        """The language; one that is not in the file is described by the name given."""
        return self.languages.get(code) or Language(code, code, f"Natural, spoken {code}.")

    def choose_personas(self, names: Sequence[str]) -> tuple[str, ...]:
        """The names of a profile with `all` replaced by every name there is."""
        return _choose(names, tuple(self.personas))

    def choose_styles(self, names: Sequence[str]) -> tuple[str, ...]:
        """The same for styles."""
        return _choose(names, tuple(self.styles))

    def choose_languages(self, codes: Sequence[str]) -> tuple[str, ...]:
        """The same for languages."""
        return _choose(codes, tuple(self.languages))


def _choose(names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    chosen = [one for name in names for one in (known if name == ALL else (name,))]
    return tuple(dict.fromkeys(chosen))


@cache
def load_people(path: str = "") -> People:
    """The built-in people with those of the file at `path` laid over them.

    Raises ConfigError with the place for a file that cannot be read.
    """
    built_in = files("looptool.seed").joinpath("data/people.toml").read_text(encoding="utf-8")
    tables = _parse(built_in, "the built-in people")
    if path:
        try:
            own = _parse(Path(path).read_text(encoding="utf-8"), path)
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "no UTF-8 text"
            raise ConfigError(f"seed.people = {path} cannot be read ({reason})") from exc
        tables = {name: {**tables[name], **own[name]} for name in _TABLES}
    languages = {
        code: Language(code, entry["name"], entry.get("notes", ""))
        for code, entry in tables["languages"].items()
    }
    return People(tables["personas"], tables["styles"], languages)


def _parse(text: str, where: str) -> dict[str, dict[str, Any]]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{where} is not valid TOML: {exc}") from exc
    if unknown := sorted(set(document) - set(_TABLES)):
        raise ConfigError(f"{where}: unknown table {unknown[0]}; there are {', '.join(_TABLES)}")
    tables = {name: document.get(name, {}) for name in _TABLES}
    for table, entries in tables.items():
        if not isinstance(entries, dict):
            raise ConfigError(f"{where}: {table} must be a table")
        for name, entry in entries.items():
            _check_entry(table, name, entry, where)
    return tables


def _check_entry(table: str, name: str, entry: Any, where: str) -> None:
    if table != "languages":
        if not isinstance(entry, str) or not entry.strip():
            raise ConfigError(f"{where}: {table}.{name} must be a text, got {shorten(entry)}")
        return
    fields = entry if isinstance(entry, dict) else {}
    fits = set(fields) <= {"name", "notes"} and all(isinstance(v, str) for v in fields.values())
    if not fits or not fields.get("name"):
        raise ConfigError(
            f"{where}: languages.{name} must be a table with `name` and `notes`, got "
            f"{shorten(entry)}"
        )
