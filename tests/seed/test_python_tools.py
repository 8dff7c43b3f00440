"""Python functions become tools by their signatures, type hints and docstrings."""

import datetime
import enum
import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

from looptool.config import ToolSource
from looptool.errors import ConfigError, DataError
from looptool.seed import collect_tools, load_python_tools, read_function


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Place(TypedDict):
    city: str
    zone: NotRequired[int]


@dataclass
class Point:
    x: float
    tags: list[str]


class Node(BaseModel):
    name: str
    children: list["Node"] = []


def schema_of(hint: Any, default: Any = ...) -> Any:
    """The schema of the only parameter of a function with this type hint."""

    def function(value): ...  # type: ignore[no-untyped-def]

    function.__annotations__ = {"value": hint}
    function.__defaults__ = None if default is ... else (default,)
    return read_function(function).parameters["properties"]["value"]


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (Any, {}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (set[str], {"type": "array", "items": {"type": "string"}, "uniqueItems": True}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Colour, {"type": "string", "enum": ["red", "blue"]}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (datetime.datetime, {"type": "string", "format": "date-time"}),
        (datetime.date, {"type": "string", "format": "date"}),
        (Path, {"type": "string", "format": "path"}),
        (UUID, {"type": "string", "format": "uuid"}),
        (Annotated[int, Field(ge=1, description="How many.")],
         {"type": "integer", "minimum": 1, "description": "How many."}),
    ],
)  # fmt: skip
def test_type_hints_become_schemas(hint: Any, schema: dict[str, Any]) -> None:
    assert schema_of(hint) == schema


def test_tuples_have_their_length_and_types() -> None:
    valid = Draft202012Validator(schema_of(tuple[int, str])).is_valid
    assert valid([1, "a"])
    assert not valid(["a", 1])
    assert not valid([1])


@pytest.mark.parametrize("hint", [Place, list[Place], dict[str, Place | None]])
def test_typed_dicts_are_read_wherever_they_stand(hint: Any) -> None:
    text = str(schema_of(hint))
    assert "'required': ['city']" in text or "$ref" in text


def test_typed_dicts_dataclasses_and_models_become_objects() -> None:
    def function(place: Place, point: Point, node: Node, maybe: Point | None = None) -> Node: ...

    tool = read_function(function)
    valid = Draft202012Validator(tool.parameters).is_valid
    good = {"place": {"city": "Oslo"}, "point": {"x": 1, "tags": []}, "node": {"name": "n"}}
    assert valid(good)
    assert valid(good | {"node": {"name": "n", "children": [{"name": "m", "children": []}]}})
    assert not valid(good | {"node": {"name": "n", "children": [{"name": 5}]}})
    assert not valid(good | {"place": {"zone": 1}})
    assert not valid(good | {"maybe": {"x": "far"}})
    assert tool.output is not None
    Draft202012Validator(tool.output).validate({"name": "n", "children": []})


def test_defaults_make_parameters_optional_and_are_kept_as_json() -> None:
    def function(
        a: int,
        b: Colour = Colour.RED,
        c: datetime.date = datetime.date(2031, 1, 5),
        d: tuple[int, ...] = (1, 2),
        e: object = object(),
        _cache: dict[str, int] = {},  # noqa: B006
    ) -> None: ...

    found = read_function(function).parameters
    defaults = {name: schema.get("default") for name, schema in found["properties"].items()}
    assert found["required"] == ["a"]
    assert defaults == {"a": None, "b": "red", "c": "2031-01-05", "d": [1, 2], "e": None}
    assert "default" not in found["properties"]["e"]


def test_untyped_parameters_take_the_type_of_their_default() -> None:
    def function(a, b=1, c=0.5, d="x", e=True, f=None, g=(1,), h={}): ...  # type: ignore[no-untyped-def] # noqa: B006

    found = read_function(function).parameters["properties"]
    kinds = {name: schema.get("type") for name, schema in found.items()}
    assert kinds == {
        "a": None, "b": "integer", "c": "number", "d": "string",
        "e": "boolean", "f": None, "g": "array", "h": "object",
    }  # fmt: skip


def google(x, y=2):  # type: ignore[no-untyped-def]
    """Add two numbers,
    slowly.

    More about it.

    Args:
        x (float): The first
            number.
        y: The second.

    Returns:
        The sum.
    """


def numpy(x, y=2):  # type: ignore[no-untyped-def]
    """Add two numbers,
    slowly.

    Parameters
    ----------
    x : float
        The first
        number.
    y : int, optional
        The second.
    """


def rest(x, y=2):  # type: ignore[no-untyped-def]
    """Add two numbers,
    slowly.

    :param x: The first
        number.
    :type x: float
    :param int y: The second.
    :returns: The sum.
    """


@pytest.mark.parametrize("function", [google, numpy, rest])
def test_the_three_styles_of_docstrings_say_the_same(function: Callable[..., Any]) -> None:
    tool = read_function(function)
    assert tool.description == "Add two numbers, slowly."
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "x": {"type": "number", "description": "The first number."},
            "y": {"type": "integer", "description": "The second.", "default": 2},
        },
        "required": ["x"],
    }


def test_a_docstring_that_its_parser_fails_on_is_a_reason() -> None:
    def odd(text: str) -> None:
        """Say it.

        : :
        """

    with pytest.raises(DataError, match="the docstring of odd cannot be read"):
        read_function(odd)


def test_variable_arguments_are_a_list_and_keywords_are_left_out() -> None:
    def function(*values: int, scale: float = 1.0, **options: str) -> None: ...

    found = read_function(function).parameters
    assert found["properties"] == {
        "values": {"type": "array", "items": {"type": "integer"}},
        "scale": {"type": "number", "default": 1.0},
    }
    assert "required" not in found


def test_what_json_cannot_hold_is_left_out_if_optional_and_else_refused() -> None:
    def fine(x: int, key: Callable[[int], int] | None = None) -> None: ...

    def bad(key: Callable[[int], int]) -> None: ...

    assert list(read_function(fine).parameters["properties"]) == ["x"]
    with pytest.raises(DataError, match=r"the parameter key of bad takes .*JSON cannot hold"):
        read_function(bad)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, in which tests write modules."""
    monkeypatch.chdir(tmp_path)
    known = set(sys.modules)
    importlib.invalidate_caches()
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def test_the_public_functions_that_a_module_defines_are_taken(folder: Path) -> None:
    (folder / "my_tools_a.py").write_text(
        "from textwrap import dedent\nfrom typing import Callable\n"
        "class Thing: ...\nNUMBER = 5\n"
        "def shown(x: int) -> int: 'Show.'\n"
        "async def later(x: int) -> int: 'Wait.'\n"
        "def unusable(f: Callable[[], int]): ...\n"
        "def _hidden(): ...\n"
    )
    tools, rejections = load_python_tools("my_tools_a")
    assert [(t.name, t.description) for t in tools] == [("shown", "Show."), ("later", "Wait.")]
    assert tools[0].source == "python:my_tools_a#shown"
    assert [(r.row_id, r.rule) for r in rejections] == [("my_tools_a:unusable", "bad_tool")]
    assert [t.name for t in load_python_tools("my_tools_a:_hidden")[0]] == ["_hidden"]


def test_all_decides_where_there_is_one(folder: Path) -> None:
    package = folder / "my_tools_b"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text(
        "from textwrap import dedent\n__all__ = ['dedent', 'gone', 'NUMBER']\nNUMBER = 5\n"
        "def other(): ...\n"
    )
    source = ToolSource(location="my_tools_b.inner")
    assert [tool.name for tool in collect_tools([source]).tools] == ["dedent"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def (", "SyntaxError"),
        ("import nowhere_at_all", "ModuleNotFoundError"),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(folder: Path, code: str, words: str) -> None:
    (folder / "my_tools_c.py").write_text(code)
    with pytest.raises(ConfigError, match=f"my_tools_c cannot be imported .*{words}"):
        load_python_tools("my_tools_c")


def test_a_function_that_is_not_there_is_named_with_those_that_are() -> None:
    for place in ("textwrap:nope", "textwrap:TextWrapper"):
        with pytest.raises(ConfigError, match=r"textwrap has no function .*dedent"):
            load_python_tools(place)


@pytest.mark.parametrize(
    ("module", "least"), [("statistics", 15), ("textwrap", 5), ("calendar", 10), ("math", 40)]
)
def test_modules_of_the_standard_library_give_tools(module: str, least: int) -> None:
    tools, rejections = load_python_tools(module)
    assert len(tools) >= least
    assert all("signature" in rejection.detail for rejection in rejections)
    for tool in tools:
        Draft202012Validator.check_schema(tool.parameters)
