"""OpenAPI documents, the tidy and the nasty ones, become tools or recorded rejections."""

import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from looptool.config import ToolSource
from looptool.errors import ConfigError
from looptool.records import ToolSpec
from looptool.seed import collect_tools, load_openapi_tools


def document(paths: dict[str, Any], version: str = "3.1.0", **components: Any) -> dict[str, Any]:
    return {"openapi": version, "info": {}, "paths": paths, "components": components}


def only(paths: dict[str, Any], **more: Any) -> ToolSpec:
    tools, rejections = load_openapi_tools(document(paths, **more))
    assert rejections == []
    assert len(tools) == 1
    return tools[0]


def body(schema: Any, *, required: bool = True, kind: str = "application/json") -> dict[str, Any]:
    return {"requestBody": {"required": required, "content": {kind: {"schema": schema}}}}


def test_path_query_cookie_and_body_become_one_object() -> None:
    operation = {
        "operationId": "updateUser",
        "summary": "Update a user",
        "description": "Changes what is given.",
        "tags": ["users"],
        "parameters": [
            {"name": "notify", "in": "query", "schema": {"type": "boolean", "default": False}},
            {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}},
            {"name": "shop", "in": "cookie", "required": True, "schema": {"type": "string"}},
            {"name": "X-Region", "in": "header", "required": True, "schema": {"type": "string"}},
            {"name": "X-Trace", "in": "header", "schema": {"type": "string"}},
        ],
        **body(
            {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
        ),
        "responses": {"200": {"content": {"application/json": {"schema": {"type": "object"}}}}},
    }
    tool = only({"/users/{id}": {"put": operation}})
    assert tool.name == "updateUser"
    assert tool.description == "Update a user. Changes what is given."
    assert tool.domain == "users"
    assert tool.source == "openapi#PUT /users/{id}"
    assert list(tool.parameters["properties"]) == ["id", "notify", "X-Region", "shop", "name"]
    assert tool.parameters["required"] == ["id", "X-Region", "shop", "name"]
    assert tool.output == {"type": "object"}


def test_parameters_of_the_path_are_shared_and_overridden() -> None:
    shared = [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
        {"name": "lang", "in": "query", "schema": {"type": "string"}},
    ]
    own = [{"name": "lang", "in": "query", "required": True, "schema": {"enum": ["en", "fr"]}}]
    tool = only({"/x/{id}": {"parameters": shared, "get": {"parameters": own}}})
    assert tool.parameters["required"] == ["id", "lang"]
    assert tool.parameters["properties"]["lang"] == {"enum": ["en", "fr"]}


def test_a_name_in_several_places_keeps_them_apart() -> None:
    parameters = [
        {"name": "id", "in": "query", "schema": {"type": "integer"}},
        {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
    ]
    schema = {"type": "object", "properties": {"id": {"type": "boolean"}}}
    tool = only({"/x/{id}": {"post": {"parameters": parameters, **body(schema)}}})
    types = {name: schema["type"] for name, schema in tool.parameters["properties"].items()}
    assert types == {"id": "string", "id_query": "integer", "id_body": "boolean"}


def test_what_authenticates_is_left_out() -> None:
    parameters = [
        {"name": name, "in": place, "required": True, "schema": {"type": "string"}}
        for name, place in (("Authorization", "header"), ("X-Key", "header"), ("token", "query"))
    ]
    parameters.append({"name": "q", "in": "query", "schema": {"type": "string"}})
    schemes = {
        "a": {"type": "apiKey", "in": "header", "name": "x-key"},
        "b": {"type": "apiKey", "in": "query", "name": "token"},
        "c": {"type": "http", "scheme": "bearer"},
    }
    tool = only({"/x": {"get": {"parameters": parameters}}}, securitySchemes=schemes)
    assert list(tool.parameters["properties"]) == ["q"]


def test_references_are_written_out_and_recursion_is_cut() -> None:
    node = {
        "type": "object",
        "properties": {
            "label": {"$ref": "#/components/schemas/Label", "description": "What it says."},
            "child": {"$ref": "#/components/schemas/Node"},
            "children": {"type": "array", "items": {"$ref": "#/components/schemas/Node"}},
        },
    }
    tool = only(
        {"/x": {"post": body({"$ref": "#/components/schemas/Node"})}},
        schemas={"Node": node, "Label": {"type": "string", "title": "Label"}},
    )
    properties = tool.parameters["properties"]
    assert properties["label"] == {"type": "string", "description": "What it says."}
    assert properties["child"] == {"type": "object"}
    assert properties["children"] == {"type": "array", "items": {"type": "object"}}


def test_all_of_is_merged_and_nullable_translated() -> None:
    schema = {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"properties": {"b": {"type": "string", "enum": ["x"], "nullable": True}}},
            {"properties": {"c": {"type": "integer", "minimum": 0, "exclusiveMinimum": True}}},
        ],
        "required": ["b"],
    }
    tool = only({"/x": {"post": body(schema)}}, version="3.0.3")
    assert tool.parameters["required"] == ["b", "a"] or tool.parameters["required"] == ["a", "b"]
    assert tool.parameters["properties"]["b"] == {"type": ["string", "null"], "enum": ["x", None]}
    assert tool.parameters["properties"]["c"] == {"type": "integer", "exclusiveMinimum": 0}


def test_read_only_fields_are_not_asked_for_and_write_only_ones_not_answered() -> None:
    schema = {
        "type": "object",
        "required": ["id", "name", "secret"],
        "properties": {
            "id": {"type": "string", "readOnly": True},
            "name": {"type": "string"},
            "secret": {"type": "string", "writeOnly": True},
        },
    }
    responses = {"201": {"content": {"application/json": {"schema": schema}}}}
    tool = only({"/x": {"post": {**body(schema), "responses": responses}}})
    assert tool.parameters["required"] == ["name", "secret"]
    assert tool.output is not None
    assert set(tool.output["properties"]) == {"id", "name"}
    assert tool.output["required"] == ["id", "name"]


@pytest.mark.parametrize(
    "schema",
    [{"type": "array", "items": {"type": "string"}}, {"oneOf": [{"type": "string"}]}, {"type": "object"}],
)  # fmt: skip
def test_a_body_that_is_no_plain_object_is_one_argument(schema: Any) -> None:
    tool = only({"/x": {"post": body(schema)}})
    assert tool.parameters["properties"] == {"body": schema}
    assert tool.parameters["required"] == ["body"]


def test_an_optional_body_requires_nothing_and_an_empty_one_is_nothing() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    assert "required" not in only({"/x": {"post": body(schema, required=False)}}).parameters
    tool = only({"/x": {"post": body({}, required=False)}})
    assert tool.parameters == {"type": "object", "properties": {}}


def test_a_body_that_is_no_json_is_a_rejection() -> None:
    upload = body({"type": "string"}, kind="application/octet-stream")
    tools, rejections = load_openapi_tools(document({"/up": {"post": upload}, "/x": {"get": {}}}))
    assert [tool.name for tool in tools] == ["get_x"]
    assert [(r.row_id, r.rule) for r in rejections] == [("POST /up", "bad_tool")]


def test_names_come_from_the_path_where_there_is_no_id_and_never_collide() -> None:
    paths = {
        "/a/{id}": {"get": {}, "delete": {}},
        "/a/id": {"get": {}},
        "/b": {"get": {"operationId": "list.all"}, "post": {"operationId": "list_all"}},
        "/ü": {"get": {"operationId": "über größe"}},
        "/日本": {"get": {"operationId": "天気"}},
        "/c": {"get": {"operationId": "x" * 90}, "put": {"operationId": "x" * 91}},
    }
    tools, rejections = load_openapi_tools(document(paths))
    names = [tool.name for tool in tools]
    assert rejections == []
    assert len(set(names)) == len(names) == 9
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names)
    assert names[:3] == ["get_a_id", "delete_a_id", "get_a_id_2"]
    assert {"list_all", "list_all_2", "tool"} <= set(names)


def test_deprecated_operations_and_broken_references_are_recorded() -> None:
    paths = {
        "/old": {"get": {"deprecated": True}},
        "/lost": {"post": body({"$ref": "#/components/schemas/Nowhere"})},
        "/away": {"post": body({"$ref": "other.yaml#/Thing"})},
        "/loop": {"get": {"parameters": [{"$ref": "#/components/parameters/A"}]}},
        "/item": {"$ref": "#/components/pathItems/None"},
        "/odd": {"get": {"parameters": [{"name": "x", "in": "query", "schema": {"type": "file"}}]}},
        "/fine": {"get": {}},
    }
    parameters = {"A": {"$ref": "#/components/parameters/A"}}
    tools, rejections = load_openapi_tools(document(paths, parameters=parameters))
    assert [tool.name for tool in tools] == ["get_fine"]
    rules = {r.row_id: r.rule for r in rejections}
    assert rules["GET /old"] == "deprecated"
    assert set(rules) == {"GET /old", "POST /lost", "POST /away", "GET /loop", "/item", "GET /odd"}


def test_a_schema_that_explodes_is_a_rejection() -> None:
    schemas: dict[str, Any] = {"S0": {"type": "string"}}
    for n in range(1, 20):
        pair = {name: {"$ref": f"#/components/schemas/S{n - 1}"} for name in ("a", "b")}
        schemas[f"S{n}"] = {"type": "object", "properties": pair}
    paths = {"/x": {"post": body({"$ref": "#/components/schemas/S19"})}}
    tools, rejections = load_openapi_tools(document(paths, schemas=schemas))
    assert tools == []
    assert "too many" in rejections[0].detail


def test_odd_shapes_never_raise() -> None:
    odd: list[Any] = [None, 5, "x", [], {}, [None], {"a": None}, True]
    for value in odd:
        for key in ("parameters", "requestBody", "responses", "tags", "operationId", "summary"):
            load_openapi_tools(document({"/x": {"get": {key: value}}}))
        load_openapi_tools(document({"/x": value}))
        load_openapi_tools(document({"/x": {"post": body(value)}}))
        load_openapi_tools(document({"/x": {"post": body({"properties": {"y": value}})}}))


def test_yaml_with_anchors_and_unquoted_dates_words_and_codes_is_read(tmp_path: Path) -> None:
    file = tmp_path / "api.yaml"
    file.write_text(
        """
openapi: 3.0.0
x-shared: &shared
  type: string
  enum: [on, off, no]
  default: on
paths:
  /switch:
    post:
      parameters:
        - {name: state, in: query, schema: *shared}
        - {name: day, in: query, schema: {type: string, example: 2031-01-05}}
        - {name: wet, in: query, schema: {type: boolean, default: true}}
      responses:
        200: {content: {application/json: {schema: *shared}}}
"""
    )
    (tool,) = load_openapi_tools(file)[0]
    assert tool.parameters["properties"]["state"]["enum"] == ["on", "off", "no"]
    assert tool.parameters["properties"]["day"]["examples"] == ["2031-01-05"]
    assert tool.parameters["properties"]["wet"]["default"] is True
    assert tool.output is not None


def test_anchors_that_multiply_and_those_that_loop_are_refused(tmp_path: Path) -> None:
    levels = ["a0: &a0 {type: string}"]
    for n in range(1, 30):
        pair = f"{{l: *a{n - 1}, r: *a{n - 1}}}"
        levels.append(f"a{n}: &a{n} {{type: object, properties: {pair}}}")
    paths = (
        "paths:\n  /x:\n    post:\n      requestBody:\n        required: true\n"
        "        content: {application/json: {schema: *a29}}\n"
    )
    file = tmp_path / "bomb.yaml"
    file.write_text("openapi: 3.1.0\n" + "\n".join(levels) + "\n" + paths)
    with pytest.raises(ConfigError, match="anchors multiply"):
        load_openapi_tools(file)
    file.write_text("openapi: 3.1.0\nx: &x [*x]\npaths: {/a: {get: {}}}\n")
    with pytest.raises(ConfigError, match="contains itself"):
        load_openapi_tools(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "neither JSON nor YAML"),
        ("just words", "must be a JSON object"),
        ("{}", "OpenAPI 3"),
        ('{"swagger": "2.0"}', "swagger 2.0"),
        ('{"openapi": "3.0.0"}', "no paths"),
        ('{"openapi": "3.0.0", "paths": []}', "no paths"),
        ('{"openapi": "3.0.0", "paths": [1]}', "paths"),
        ("a: !!python/object/apply:os.system [x]", "neither JSON nor YAML"),
    ],
)
def test_what_is_no_openapi_document_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "api.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_openapi_tools(file)


@pytest.fixture
def server() -> Iterator[str]:
    good = json.dumps(document({"/x": {"get": {}}})).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path.startswith("/good")
            self.send_response(200 if found else 503)
            self.end_headers()
            self.wfile.write(good if found else b"busy")

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def test_documents_come_over_http_too(server: str) -> None:
    found = collect_tools([ToolSource(format="openapi", location=f"{server}/good?key=secret")])
    assert [tool.name for tool in found.tools] == ["get_x"]
    assert found.tools[0].source == f"{server}/good#GET /x"


def test_http_errors_and_dead_hosts_are_clear_and_keep_secrets(server: str) -> None:
    place = server.replace("//", "//user:secret@")
    with pytest.raises(ConfigError, match="HTTP 503") as caught:
        load_openapi_tools(f"{place}/bad?key=secret")
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be fetched"):
        load_openapi_tools("http://127.0.0.1:9/openapi.json")


def test_include_looks_at_paths_as_well(tmp_path: Path) -> None:
    paths = {"/flows/{id}": {"get": {"operationId": "a"}}, "/runs": {"get": {"operationId": "b"}}}
    file = tmp_path / "api.yaml"
    file.write_text(yaml.safe_dump(document(paths)))
    source = ToolSource(format="openapi", location=str(file), include=("/flows",))
    assert [tool.name for tool in collect_tools([source]).tools] == ["a"]


def test_the_document_of_a_prefect_server_gives_tools_without_an_exception() -> None:
    server = pytest.importorskip("prefect.server.api.server")
    tools, rejections = load_openapi_tools(server.create_app().openapi())
    assert len(tools) > 150
    assert {rejection.rule for rejection in rejections} <= {"deprecated"}
    for tool in tools:
        Draft202012Validator(tool.parameters).is_valid({})
        assert len(tool.name) <= 64
