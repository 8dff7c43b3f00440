"""Tools from Python functions: `package.module` or `package.module:function`.

The signature gives names, types and defaults, the docstring the words. Importing a module runs its
code: import only what you would run. The functions themselves are never called. Left out: classes,
methods, `**kwargs`, optional parameters that JSON cannot hold, and whatever a module merely
imports. A function without a signature, or that requires what JSON cannot hold, is rejected with
the reason.
"""

import importlib
import inspect
import os
import re
import sys
import typing
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, UnionType
from typing import Any

import typing_extensions
from docstring_parser import DocstringParam, parse
from pydantic import PydanticUserError, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema

from looptool.errors import ConfigError, DataError, shorten
from looptool.records import JsonObject, Rejection, ToolSpec, canonical_json
from looptool.seed.dialects import read_type
from looptool.seed.json_file import reject
from looptool.seed.normalise import make_names_unique, normalise_tool

Function = Callable[..., Any]
_SECTION = re.compile(r"\s*(:\w|(Args|Arguments|Parameters|Params|Returns|Raises|Yields)\s*:?\s*$)")


def load_python_tools(location: str) -> tuple[list[ToolSpec], list[Rejection]]:
    """The public functions of a module (`__all__`, else those defined there), or the one named.

    The module is imported, which runs its code. Raises ConfigError when it cannot be, or has no
    such function.
    """
    name, _, wanted = location.partition(":")
    module = _import(name, location)
    functions = _public_functions(module)
    if wanted:
        found = getattr(module, wanted, None)
        if not callable(found) or inspect.isclass(found):
            known = ", ".join(functions) or "none"
            raise ConfigError(f"{name} has no function {wanted}; it has: {shorten(known)}")
        functions = {wanted: found}
    tools: list[ToolSpec] = []
    rejections: list[Rejection] = []
    for label, function in functions.items():
        try:
            tools.append(read_function(function, label, source=f"python:{name}#{label}"))
        except DataError as exc:
            row = {"module": name, "function": label}
            rejections.append(reject(f"{name}:{label}", "bad_tool", str(exc), row))
    return list(make_names_unique(tools)), rejections


def read_function(function: Function, name: str = "", *, source: str = "") -> ToolSpec:
    """One function as a tool; raises DataError when it cannot be described."""
    name = name or getattr(function, "__name__", "")
    text = inspect.getdoc(function) or ""
    described = _described_parameters(text, name)
    properties: JsonObject = {}
    required: list[str] = []
    hints = _hints(function)
    for parameter in _signature(function, name).parameters.values():
        hint = hints.get(parameter.name, parameter.annotation)
        words = described.get(parameter.name)
        schema = _read_parameter(parameter, hint, words, name)
        if schema is None:
            continue
        if words and words.description and "description" not in schema:
            schema["description"] = " ".join(words.description.split())
        properties[parameter.name] = schema
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL:
            required.append(parameter.name)
    parameters = {"type": "object", "properties": properties, "required": required}
    return normalise_tool(
        {
            "name": name,
            "description": _describe(text),
            "parameters": _collect_definitions(parameters),
            "output": _read_result(hints.get("return", inspect.Signature.empty)),
            "domain": (getattr(function, "__module__", None) or "").rpartition(".")[2].lstrip("_"),
        },
        source=source,
    )


def _import(name: str, location: str) -> ModuleType:
    try:
        with _working_folder_first(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    # A module may do anything when it is imported, `sys.exit` too.
    except (Exception, SystemExit) as exc:
        reason = f"{type(exc).__name__}: {exc}"
        raise ConfigError(f"tool source {location} cannot be imported ({shorten(reason)})") from exc


@contextmanager
def _working_folder_first() -> Iterator[None]:
    """Modules beside the user are found, as `python -m` finds them."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def _public_functions(module: ModuleType) -> dict[str, Function]:
    names = getattr(module, "__all__", None)
    chosen: dict[str, Any]
    if isinstance(names, list | tuple):
        chosen = {name: getattr(module, name, None) for name in names if isinstance(name, str)}
    else:
        chosen = {
            name: value
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
        }
    return {name: value for name, value in chosen.items() if _is_function(value)}


def _is_function(value: Any) -> bool:
    """Functions of Python and of C, and bound methods that modules offer as functions."""
    wrapped = inspect.unwrap(value) if callable(value) and not inspect.isclass(value) else None
    return inspect.isroutine(wrapped) or inspect.isroutine(value)


def _signature(function: Function, name: str) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (ValueError, TypeError) as exc:
        raise DataError(f"the signature of {name} cannot be read ({shorten(exc)})") from exc


def _hints(function: Function) -> dict[str, Any]:
    """Resolved annotations; the raw ones stand where a name cannot be resolved."""
    try:
        return typing.get_type_hints(inspect.unwrap(function), include_extras=True)
    except Exception:  # an annotation is code and may raise anything
        return {}


def _read_parameter(
    parameter: inspect.Parameter, hint: Any, words: DocstringParam | None, name: str
) -> JsonObject | None:
    """The schema of one parameter; None for one that a caller need not, or cannot, give."""
    optional = parameter.default is not parameter.empty
    private = optional and parameter.name.startswith("_")
    if parameter.kind is parameter.VAR_KEYWORD or private:
        return None
    try:
        schema = _read_type(parameter, hint, words, name)
    except DataError:
        if optional:
            return None
        raise
    if parameter.kind is parameter.VAR_POSITIONAL:
        return {"type": "array", "items": schema}
    default = _as_json(parameter.default) if optional else _NO_JSON
    if default is not _NO_JSON and "default" not in schema:
        schema["default"] = default
    return schema


def _read_type(
    parameter: inspect.Parameter, hint: Any, words: DocstringParam | None, name: str
) -> JsonObject:
    """By the annotation, else by the docstring, else by the default; {} allows everything."""
    if hint is not parameter.empty and not isinstance(hint, str):
        return _schema_of(hint, parameter.name, name)
    for said in (hint, words.type_name if words else None):
        if isinstance(said, str):
            try:
                return read_type(said)
            except DataError:
                continue
    return {} if parameter.default is parameter.empty else _guess(parameter.default)


def _schema_of(hint: Any, parameter: str, name: str) -> JsonObject:
    """The schema of a type; raises DataError for one whose values are not JSON."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            schema = TypeAdapter(_modern(hint)).json_schema()
    except (PydanticUserError, PydanticInvalidForJsonSchema) as exc:
        shown = getattr(hint, "__name__", None) or str(hint)
        raise DataError(
            f"the parameter {parameter} of {name} takes {shorten(shown)}, which JSON cannot hold"
        ) from exc
    except Exception as exc:
        raise DataError(f"the type of {parameter} of {name} is unusable ({shorten(exc)})") from exc
    schema.pop("title", None)  # the name of a class
    return schema


def _modern(hint: Any) -> Any:
    """The type with every `typing.TypedDict` as the one that pydantic takes before Python 3.12."""
    if typing.is_typeddict(hint):
        fields = typing.get_type_hints(hint, include_extras=True)
        make: Any = typing_extensions.TypedDict
        return make(hint.__name__, {k: _modern(v) for k, v in fields.items()}, total=hint.__total__)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if not arguments or origin in (typing.Literal, Callable):
        return hint
    if origin is typing.Annotated:
        return typing.Annotated[(_modern(arguments[0]), *arguments[1:])]
    inner = tuple(_modern(argument) for argument in arguments)
    if origin in (typing.Union, UnionType):
        return typing.Union[inner]  # noqa: UP007 - made of a tuple
    return hint if inner == arguments else typing.cast("Any", origin)[inner]


_NO_JSON = object()


def _as_json(value: Any) -> Any:
    """The default as JSON, or `_NO_JSON` for what is not (a sentinel, a function)."""
    if value is inspect.Parameter.empty or isinstance(value, type) or callable(value):
        return _NO_JSON
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            plain = TypeAdapter(type(value)).dump_python(value, mode="json")
        canonical_json(plain)
    except Exception:  # a default may be of any class, with any behaviour
        return _NO_JSON
    return plain


def _guess(default: Any) -> JsonObject:
    """The type of an untyped parameter, read off its default; None tells nothing."""
    if default is None or callable(default):
        return {}
    guessed = {bool: "boolean", int: "integer", float: "number", str: "string"}
    if type(default) in guessed:
        # A whole number as a default rarely forbids fractions, but True is never 1.
        return {"type": guessed[type(default)]}
    if isinstance(default, list | tuple | set | frozenset):
        return {"type": "array", "items": {}}
    return {"type": "object"} if isinstance(default, dict) else {}


def _collect_definitions(parameters: JsonObject) -> JsonObject:
    """The parameters with the `$defs` of every property in one place, where references look."""
    definitions: JsonObject = {}
    for schema in parameters["properties"].values():
        for name, definition in schema.pop("$defs", {}).items():
            if definitions.setdefault(name, definition) != definition:
                raise DataError(f"two different types of its parameters are called {name}")
    return {**parameters, "$defs": definitions} if definitions else parameters


def _read_result(hint: Any) -> JsonObject | None:
    if hint in (inspect.Signature.empty, None, type(None), Any) or isinstance(hint, str):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adapter: Any = TypeAdapter(_modern(hint))
            schema: JsonObject = adapter.json_schema(mode="serialization")
    except Exception:  # results need no schema
        return None
    return schema or None


def _described_parameters(text: str, name: str) -> dict[str, DocstringParam]:
    """What the docstring says of each parameter, in Google's, NumPy's or reST's style."""
    try:
        found = parse(text).params
    except Exception as exc:  # its parser also fails in ways of its own: `: :` is an IndexError
        raise DataError(f"the docstring of {name} cannot be read ({shorten(exc)})") from exc
    # NumPy's style may describe several at once: `x, y : float`.
    return {
        single.strip().lstrip("*"): param for param in found for single in param.arg_name.split(",")
    }


def _describe(text: str) -> str:
    """The first paragraph, up to the first section."""
    lines: list[str] = []
    for line in text.strip().splitlines():
        if not line.strip() or _SECTION.match(line):
            break
        lines.append(line)
    return " ".join(" ".join(lines).split())
