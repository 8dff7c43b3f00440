"""Documents and servers as they really are: huge, odd, broken, hanging or hostile."""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from looptool.config import ToolSource
from looptool.errors import ConfigError
from looptool.seed import collect_tools, load_openapi_tools
from looptool.seed.read import MAX_BYTES

TEXT = {"type": "string"}


def document(paths: dict[str, Any], **components: Any) -> dict[str, Any]:
    return {"openapi": "3.1.0", "info": {}, "paths": paths, "components": components}


def body(schema: Any) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


def test_a_thousand_operations_with_shared_schemas_take_seconds() -> None:
    address = {"type": "object", "properties": {f"line{n}": TEXT for n in range(10)}}
    person = {"type": "object", "properties": {"at": {"$ref": "#/components/schemas/Address"}}}
    paths = {
        f"/things{n}/{{id}}": {
            "put": {
                "operationId": f"op{n}",
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": TEXT}],
                **body({"$ref": "#/components/schemas/Person"}),
            }
        }
        for n in range(1000)
    }
    began = time.process_time()
    tools, rejections = load_openapi_tools(
        document(paths, schemas={"Address": address, "Person": person})
    )
    assert time.process_time() - began < 10
    assert len(tools) == 1000
    assert rejections == []
    assert list(tools[-1].parameters["properties"]) == ["id", "at"]


def test_references_that_go_round_in_every_way_end() -> None:
    schemas = {
        "Self": {"$ref": "#/components/schemas/Self"},
        "Ping": {"allOf": [{"$ref": "#/components/schemas/Pong"}]},
        "Pong": {"allOf": [{"$ref": "#/components/schemas/Ping"}], "properties": {"n": TEXT}},
        "Tree": {"properties": {"kids": {"additionalProperties": {"$ref": "#/components/schemas/Tree"}}}},
        "Either": {"oneOf": [TEXT, {"type": "array", "items": {"$ref": "#/components/schemas/Either"}}]},
    }  # fmt: skip
    paths = {
        f"/{name}": {"post": body({"$ref": f"#/components/schemas/{name}"})} for name in schemas
    }
    tools, rejections = load_openapi_tools(document(paths, schemas=schemas))
    assert {tool.name for tool in tools} >= {"post_Tree", "post_Either", "post_Pong"}
    assert {rejection.row_id for rejection in rejections} <= {"POST /Self", "POST /Ping"}
    for tool in tools:
        Draft202012Validator(tool.parameters).is_valid(
            {"kids": {"a": {"kids": {}}}, "body": [["x"]]}
        )


def test_what_is_required_without_being_a_name_is_passed_over() -> None:
    hidden = {"type": "string", "readOnly": True}
    schema = {"properties": {"id": hidden, "name": TEXT}, "required": [["id", {}], "name"]}
    (tool,) = load_openapi_tools(document({"/a": {"post": body(schema)}}))[0]
    assert tool.parameters["required"] == ["name"]


def test_missing_ids_same_ids_and_unicode_names_stay_apart_and_traceable() -> None:
    paths = {
        "/a": {"get": {}, "post": {"operationId": ""}, "put": {"operationId": 5}},
        "/b": {"get": {"operationId": "list"}},
        "/c": {"get": {"operationId": "list"}},
        "/d": {"get": {"operationId": "天気を取得"}},
        "/e": {"get": {"operationId": "получить"}},
        "/f": {"get": {"operationId": "😀"}},
        "/{ключ}": {"get": {"parameters": [{"name": "ключ", "in": "path", "required": True, "schema": TEXT}]}},
    }  # fmt: skip
    tools, rejections = load_openapi_tools(document(paths))
    assert rejections == []
    assert len({tool.name for tool in tools}) == len(tools) == 9
    assert len({(tool.original_name, tool.source) for tool in tools}) == 9
    assert {"天気を取得", "получить", "😀"} <= {tool.original_name for tool in tools}
    assert tools[-1].parameters["required"] == ["ключ"]


def test_operations_of_one_api_with_the_same_name_are_no_duplicates(tmp_path: Path) -> None:
    paths = {path: {"get": {"operationId": "list"}} for path in ("/a", "/b")}
    file = tmp_path / "api.json"
    file.write_text(json.dumps(document(paths)))
    found = collect_tools([ToolSource(location=str(file))])
    assert [tool.name for tool in found.tools] == ["list", "list_2"]
    again = collect_tools([ToolSource(location=str(file))] * 2)
    assert len(again.tools) == 2
    assert [twin.why for twin in again.duplicates] == ["content", "content"]


def test_arrays_and_empty_schemas_as_bodies_and_parameters_are_tools() -> None:
    paths = {
        "/array": {"post": body({"type": "array", "items": TEXT})},
        "/empty": {"post": body({})},
        "/nothing": {"post": {"requestBody": {"content": {"application/json": {}}}}},
        "/bare": {"get": {"parameters": [{"name": "q", "in": "query"}]}},
        "/maybe": {"post": body({"anyOf": [{"type": "object", "properties": {"x": TEXT}}, {"type": "null"}]})},
    }  # fmt: skip
    tools, rejections = load_openapi_tools(document(paths))
    assert rejections == []
    assert [tool.parameters["properties"] for tool in tools] == [
        {"body": {"type": "array", "items": TEXT}},
        {"body": {}},
        {},
        {"q": {}},
        {"x": TEXT},
    ]


def test_optional_headers_and_cookies_are_parameters_but_not_those_of_the_transport() -> None:
    names = [
        "X-Tenant",
        "X-Request-ID",
        "traceparent",
        "If-Match",
        "x-acme-api-version",
        "X-API-Key",
    ]
    parameters = [{"name": name, "in": "header", "schema": TEXT} for name in names]
    parameters += [{"name": "theme", "in": "cookie", "schema": TEXT}]
    (tool,) = load_openapi_tools(document({"/x": {"get": {"parameters": parameters}}}))[0]
    assert list(tool.parameters["properties"]) == ["X-Tenant", "theme"]


def test_examples_beside_schemas_are_kept() -> None:
    media = {
        "schema": {"type": "object", "properties": {"city": TEXT}},
        "example": {"city": "Oslo"},
    }
    operation = {
        "parameters": [
            {"name": "q", "in": "query", "schema": TEXT, "examples": {"a": {"value": "tea"}}}
        ],
        "requestBody": {"content": {"application/json": media}},
    }
    (tool,) = load_openapi_tools(document({"/x": {"post": operation}}))[0]
    assert tool.parameters["properties"] == {
        "q": {**TEXT, "examples": ["tea"]},
        "city": {**TEXT, "examples": ["Oslo"]},
    }


def test_tags_paths_and_deprecation_choose_operations(tmp_path: Path) -> None:
    paths = {
        "/flows": {"get": {"tags": ["flows"]}},
        "/flows/{id}": {"get": {"tags": ["flows", "one"], "deprecated": True}},
        "/flowers": {"get": {"tags": ["garden"]}},
    }
    file = tmp_path / "api.json"
    file.write_text(json.dumps(document(paths)))

    def names(**choice: Any) -> list[str]:
        found = collect_tools([ToolSource(location=str(file), **choice)])
        return [tool.source.rpartition(" ")[2] for tool in found.tools]

    assert names() == ["/flows", "/flowers"]
    assert names(include_deprecated=True) == list(paths)
    assert names(tags=("one", "garden"), include_deprecated=True) == ["/flows/{id}", "/flowers"]
    assert names(paths=("/flows",), include_deprecated=True) == ["/flows", "/flows/{id}"]
    assert names(paths=("/flow*",)) == ["/flows", "/flowers"]
    with pytest.raises(ConfigError, match="its tags are: flows, garden, one"):
        names(tags=("birds",))
    with pytest.raises(ConfigError, match="use include"):
        collect_tools([ToolSource(location="textwrap", tags=("flows",))])


def test_a_yaml_bomb_is_refused_in_no_time(tmp_path: Path) -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for last, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{last}'] * 10)}]")
    file = tmp_path / "bomb.yaml"
    file.write_text(
        "openapi: 3.0.0\n" + "\n".join(lines) + "\npaths: {/x: {get: {operationId: *i}}}\n"
    )
    began = time.process_time()
    with pytest.raises(ConfigError, match="anchors multiply"):
        load_openapi_tools(file)
    file.write_text("\n".join(lines) + "\ntools: [*i]\n")
    with pytest.raises(ConfigError, match="anchors multiply"):
        collect_tools([ToolSource(location=str(file))])
    assert time.process_time() - began < 5


def test_a_file_of_fifty_megabytes_is_read_and_a_larger_one_refused(tmp_path: Path) -> None:
    paths = {"/x": {"get": {"operationId": "only", "x-padding": "p" * (50 << 20)}}}
    file = tmp_path / "huge.json"
    file.write_text(json.dumps(document(paths)))
    assert [tool.name for tool in collect_tools([ToolSource(location=str(file))]).tools] == ["only"]
    with file.open("ab") as grown:
        grown.truncate(MAX_BYTES + 1)
    with pytest.raises(ConfigError, match="larger than 64 MiB"):
        collect_tools([ToolSource(location=str(file))])


def test_yaml_of_fifty_megabytes_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "huge.yaml"
    file.write_text("openapi: 3.1.0\n" + "# padding\n" * (5 << 20))
    began = time.process_time()
    with pytest.raises(ConfigError, match="convert it to JSON"):
        collect_tools([ToolSource(location=str(file))])
    assert time.process_time() - began < 5


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the path says."""

    stop = threading.Event()

    def do_GET(self) -> None:
        known = {
            "/good": self.answer_well,
            "/hang": self.stop.wait,
            "/drip": self.drip,
            "/moved": lambda: self.redirect("/good"),
            "/round": lambda: self.redirect("/round"),
            "/file": lambda: self.redirect("file:///etc/passwd"),
            "/flood": self.flood,
        }
        known.get(self.path.partition("?")[0], lambda: self.send_error(404))()

    def answer_well(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(document({"/x": {"get": {}}})).encode())

    def redirect(self, target: str) -> None:
        self.send_response(307)
        self.send_header("Location", target)
        self.end_headers()

    def drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        while not self.stop.wait(0.1):
            self.wfile.write(b" ")

    def flood(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range((MAX_BYTES >> 20) + 2):
            self.wfile.write(b" " * (1 << 20))

    def handle(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # the reader hangs up, as it should
            super().handle()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        Handler.stop.set()
        listening.shutdown()
        thread.join()


def test_redirects_are_followed_and_the_format_is_found_without_an_ending(server: str) -> None:
    found = collect_tools([ToolSource(location=f"{server}/moved")])
    assert [tool.name for tool in found.tools] == ["get_x"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/hang", "gave no answer within 1 s"),
        ("/drip", "gave no answer within 1 s"),
        ("/round", "TooManyRedirects"),
        ("/file", "cannot be fetched"),
        ("/gone", "HTTP 404"),
        ("/flood", "larger than 64 MiB|no answer within"),
    ],
)
def test_a_server_that_misbehaves_is_one_clear_error(server: str, path: str, words: str) -> None:
    timeout_s = 30 if path == "/flood" else 1
    source = ToolSource(location=f"{server}{path}?key=secret", timeout_s=timeout_s)
    began = time.monotonic()
    with pytest.raises(ConfigError, match=words) as caught:
        collect_tools([source])
    assert time.monotonic() - began < 60
    assert "secret" not in str(caught.value)
