"""The context tree (what a tool is about) and the constraint tree (what shape it has), from TOML.

A path is drawn from each independently: at every level one branch, all equally likely. A file that
cannot be used is refused with the place in it, before anything is asked of the teacher.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from looptool.errors import ConfigError, shorten
from looptool.records import JsonObject

ParameterKind = Literal["string", "number", "boolean", "list", "object", "tuple"]


@dataclass(frozen=True, slots=True)
class ContextPath:
    """What one tool is about."""

    domain: str
    area: str
    task: str
    words: tuple[str, ...]
    """Words of which the tool must hold one, beside those of the task."""

    def __str__(self) -> str:
        return f"{self.domain} > {self.area} > {self.task}"


@dataclass(frozen=True, slots=True)
class ContextTree:
    """Tasks by area by domain."""

    domains: Mapping[str, Mapping[str, tuple[ContextPath, ...]]]

    @property
    def paths(self) -> tuple[ContextPath, ...]:
        """All paths from root to leaf, in order of the file."""
        return tuple(p for areas in self.domains.values() for area in areas.values() for p in area)

    def draw(self, rng: Random) -> ContextPath:
        """One path: a domain, an area of it, a task of that."""
        areas = self.domains[rng.choice(list(self.domains))]
        return rng.choice(areas[rng.choice(list(areas))])


class Choice(BaseModel):
    """One branch of a level: what the teacher reads, and the rules that the tool is checked by."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    say: str = Field(min_length=1)
    tool_name: str | None = None
    """Regular expression of the tool's whole name."""
    parameter_name: str | None = None
    """Regular expression of each parameter's whole name."""
    least: int | None = Field(None, ge=0)
    most: int | None = Field(None, ge=0)
    """Number of parameters."""
    only: tuple[ParameterKind, ...] = ()
    """Kinds that every parameter must be of."""
    some: tuple[ParameterKind, ...] = ()
    """Kinds of which one parameter at least must be."""
    output: Literal["string", "number", "boolean", "object", "array"] | None = None
    fewest_words: int | None = Field(None, ge=0)
    most_words: int | None = Field(None, ge=1)
    contains: str | None = None
    """Regular expression that must be found in the description."""
    skips: tuple[str, ...] = ()
    """Levels that make no sense after this choice."""
    choices: dict[str, "Choice"] = {}
    """Branches below this one."""

    @field_validator("tool_name", "parameter_name", "contains")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except (re.error, RecursionError) as exc:
            raise ValueError(f"no usable regular expression: {exc}") from exc
        return pattern

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "Choice":
        for low, high in ((self.least, self.most), (self.fewest_words, self.most_words)):
            if low is not None and high is not None and low > high:
                raise ValueError(f"the lower bound {low} is above the upper bound {high}")
        return self


class Level(BaseModel):
    """One decision about the shape."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    choices: dict[str, Choice] = Field(min_length=1)


class _Tree(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: tuple[Level, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class ConstraintPath:
    """The shape of one tool: for each level its name, the branches taken, and their rules."""

    steps: tuple[tuple[str, str, tuple[Choice, ...]], ...]

    def __str__(self) -> str:
        return " / ".join(f"{name}:{taken}" for name, taken, _ in self.steps)

    @property
    def rules(self) -> tuple[Choice, ...]:
        """Every choice on the path."""
        return tuple(choice for _, _, choices in self.steps for choice in choices)

    def as_prompt(self) -> list[JsonObject]:
        """The path as the prompt shows it."""
        return [
            {"level": name, "choice": taken, "rule": " ".join(choice.say for choice in choices)}
            for name, taken, choices in self.steps
        ]


@dataclass(frozen=True, slots=True)
class ConstraintTree:
    """Levels in order."""

    levels: tuple[Level, ...]

    def draw(self, rng: Random) -> ConstraintPath:
        """One path: a choice at each level that no earlier choice has skipped."""
        steps: list[tuple[str, str, tuple[Choice, ...]]] = []
        skipped: set[str] = set()
        for level in self.levels:
            if level.name in skipped:
                continue
            names: list[str] = []
            taken: list[Choice] = []
            offered = level.choices
            while offered:
                names.append(rng.choice(list(offered)))
                taken.append(offered[names[-1]])
                offered = taken[-1].choices
            skipped.update(name for choice in taken for name in choice.skips)
            steps.append((level.name, ".".join(names), tuple(taken)))
        return ConstraintPath(tuple(steps))


def load_context_tree(path: str = "") -> ContextTree:
    """The tree of a file, or the built-in one; raises ConfigError with the place."""
    document, where = _read(path, "context_tree")
    domains: dict[str, dict[str, tuple[ContextPath, ...]]] = {}
    for domain, areas in document.items():
        found: dict[str, tuple[ContextPath, ...]] = {}
        for area, tasks in _table(areas, f"{where}: {domain}").items():
            place = f"{where}: {domain}.{area}"
            rows = _table(tasks, place).items()
            found[area] = tuple(
                ContextPath(domain, area, task, _words(words, f"{place}.{task}"))
                for task, words in rows
            )
        domains[domain] = found
    if not domains:
        raise ConfigError(f"{where} is empty; it needs domains with areas with tasks")
    return ContextTree(domains)


def _table(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not value:
        raise ConfigError(f"{place} must be a table with entries, got {shorten(value)}")
    return value


def _words(value: Any, place: str) -> tuple[str, ...]:
    fits = isinstance(value, list) and all(isinstance(word, str) and word for word in value)
    if not fits:
        raise ConfigError(f"{place} must be a list of words, got {shorten(value)}")
    return tuple(value)


def load_constraint_tree(path: str = "") -> ConstraintTree:
    """The tree of a file, or the built-in one; raises ConfigError with the place."""
    document, where = _read(path, "constraint_tree")
    try:
        tree = _Tree.model_validate(document)
    except ValidationError as exc:
        problem = exc.errors(include_url=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise ConfigError(
            f"{where}: {place} = {shorten(problem['input'])}: {problem['msg']}"
        ) from exc
    names = [level.name for level in tree.levels]
    for level in tree.levels:
        _check_skips(level.choices, names, f"{where}: {level.name}")
    if len(set(names)) < len(names):
        raise ConfigError(f"{where}: a level occurs twice in {', '.join(names)}")
    return ConstraintTree(tree.levels)


def _check_skips(choices: Mapping[str, Choice], levels: list[str], place: str) -> None:
    for name, choice in choices.items():
        if unknown := [skipped for skipped in choice.skips if skipped not in levels]:
            known = ", ".join(levels)
            raise ConfigError(f"{place}.{name} skips {unknown[0]}; the levels are {known}")
        _check_skips(choice.choices, levels, f"{place}.{name}")


def _read(path: str, name: str) -> tuple[dict[str, Any], str]:
    """The document and what to call it in messages."""
    if not path:
        built_in = files("looptool.seed.synthetic").joinpath(f"{name}.toml")
        return tomllib.loads(built_in.read_text(encoding="utf-8")), f"the built-in {name}"
    where = f"seed.synthetic.{name} = {path}"
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8")), where
    except OSError as exc:
        raise ConfigError(f"{where} cannot be read ({exc.strerror})") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{where} is not valid TOML: {exc}") from exc
