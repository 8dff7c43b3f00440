"""Who answers a call: a simulated tool that keeps its word, a fault, or a real server."""

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from looptool.chat import AsgiTransport, Teacher
from looptool.config import (
    FaultConfig,
    SeedConfig,
    SimulatorConfig,
    TeacherConfig,
    ToolBackendConfig,
    ToolSource,
)
from looptool.errors import ConfigError
from looptool.records import Kind, Split, ToolCall, ToolMessage, ToolSpec, make_tool
from looptool.seed import load_catalogue
from looptool.seed.agents import Scene
from looptool.seed.backends import CallNotRecorded, ToolDesk, open_servers
from looptool.seed.dialogue import Conversation
from looptool.seed.faults import FAULTS, change_shape, draw_fault
from looptool.seed.mcp_tools import as_mcp_server, load_mcp_tools
from looptool.seed.memory import changes_something
from looptool.seed.recording import RecordedCall, Recording
from looptool.simulator import create_app

ORDER = {
    "type": "object",
    "properties": {"order_id": {"type": "string"}, "status": {"type": "string"}},
    "required": ["order_id", "status"],
}
BY_ID = {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}
GET = make_tool("get_order", "Get an order.", BY_ID, output=ORDER)
LIST = make_tool(
    "list_orders",
    "List all orders.",
    {"type": "object", "properties": {}},
    output={"type": "array", "items": ORDER},
)
CANCEL = make_tool("cancel_order", "Cancel an order.", BY_ID, output=ORDER)
TOOLS = (GET, LIST, CANCEL)
OPEN = {"order_id": "A1", "status": "open"}
SHIPPED = {"order_id": "A1", "status": "shipped"}
A1 = {"order_id": "A1"}


class Replies:
    """An endpoint that gives these replies of the tool role one after the other, and notes what it
    was asked."""

    def __init__(self, *replies: Any) -> None:
        self.replies = list(replies)
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(json.loads((await receive())["body"]))
        content = json.dumps(self.replies[len(self.asked) - 1])
        choice = {"index": 0, "message": {"content": content}, "finish_reason": "stop"}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send(
            {"type": "http.response.body", "body": json.dumps({"choices": [choice]}).encode()}
        )

    def prompt(self, number: int) -> str:
        return str(self.asked[number]["messages"][0]["content"])


def result(value: Any) -> dict[str, Any]:
    return {"result": value}


def answer(
    endpoint: Any,
    *calls: tuple[ToolSpec, dict[str, Any]],
    kind: Kind = Kind.SINGLE,
    attempts: int = 3,
    faults: FaultConfig | None = None,
    seed: int = 0,
) -> list[Any]:
    """The results of the calls of one dialogue, in their order."""

    async def run() -> list[Any]:
        async with Teacher(TeacherConfig(attempts=1), AsgiTransport(endpoint)) as teacher:
            desk = ToolDesk(
                make_scene(
                    teacher,
                    kind=kind,
                    faults=faults or FaultConfig(),
                    tool_backend=ToolBackendConfig(attempts=attempts),
                ),
                Random(seed),
            )
            made = [ToolCall(name=tool.name, arguments=given) for tool, given in calls]
            return [json.loads(await desk.answer(call, ())) for call in made]

    return asyncio.run(run())


def make_scene(
    teacher: Teacher, *, kind: Kind = Kind.SINGLE, tools: Any = TOOLS, **fields: Any
) -> Scene:
    return Scene(
        teacher=teacher,
        model="",
        kind=kind,
        tools=tools,
        turns=1,
        persona="",
        style="plain",
        language="en",
        date="2031-02-03",
        nonce=fields.pop("nonce", "00"),
        seed=7,
        **fields,
    )


def test_a_result_that_breaks_the_output_schema_is_asked_for_again() -> None:
    endpoint = Replies(result({"order_id": "A1"}), result(OPEN))
    assert answer(endpoint, (GET, A1)) == [OPEN]
    assert endpoint.asked[0]["seed"] != endpoint.asked[1]["seed"]
    assert "could not be used" in endpoint.prompt(1)
    assert "'status' is a required property" in endpoint.asked[1]["messages"][1]["content"].replace(
        "\\u0027", "'"
    )


def test_a_result_that_never_fits_becomes_a_typed_error() -> None:
    endpoint = Replies(*[result(3)] * 2)
    found = answer(endpoint, (GET, A1), attempts=2)[0]
    assert found["code"] == "bad_result"
    assert "does not fit the output schema" in found["error"]
    assert len(endpoint.asked) == 2


def test_without_an_output_schema_any_result_will_do() -> None:
    bare = make_tool("get_order", "Get an order.", BY_ID)
    endpoint = Replies(result([None, 3]))

    async def run() -> str:
        async with Teacher(TeacherConfig(attempts=1), AsgiTransport(endpoint)) as teacher:
            desk = ToolDesk(make_scene(teacher, tools=(bare,)), Random(0))
            return await desk.answer(ToolCall(name="get_order"), ())

    assert json.loads(asyncio.run(run())) == [None, 3]


def test_the_same_reading_call_is_answered_from_memory() -> None:
    endpoint = Replies(result(OPEN), result({"order_id": "B2", "status": "open"}))
    found = answer(endpoint, (GET, A1), (GET, {"order_id": "B2"}), (GET, A1))
    assert found[0] == found[2] == OPEN
    assert len(endpoint.asked) == 2


def test_a_changing_call_makes_earlier_results_old() -> None:
    gone = {"order_id": "A1", "status": "cancelled"}
    endpoint = Replies(result(OPEN), result(gone), result(gone))
    assert answer(endpoint, (GET, A1), (CANCEL, A1), (GET, A1)) == [OPEN, gone, gone]


def test_what_was_told_about_an_id_is_not_told_otherwise() -> None:
    endpoint = Replies(result([OPEN]), result(SHIPPED), result(OPEN))
    assert answer(endpoint, (LIST, {}), (GET, A1)) == [[OPEN], OPEN]
    assert "an earlier result said open" in endpoint.asked[2]["messages"][1]["content"]


def test_an_id_that_was_asked_for_comes_back() -> None:
    endpoint = Replies(result({"order_id": "A9", "status": "open"}), result(OPEN))
    assert answer(endpoint, (GET, A1)) == [OPEN]


def test_an_id_that_a_result_gave_is_not_unknown_later() -> None:
    endpoint = Replies(result([OPEN]), {"error": "order not found"}, result(OPEN))
    assert answer(endpoint, (LIST, {}), (GET, A1)) == [[OPEN], OPEN]


def test_a_tool_may_refuse_what_nobody_told_about() -> None:
    endpoint = Replies({"error": "order not found"})
    assert answer(endpoint, (GET, A1)) == [{"error": "order not found"}]


def test_an_error_is_not_remembered() -> None:
    endpoint = Replies({"error": "busy"}, result(OPEN))
    assert answer(endpoint, (GET, A1), (GET, A1)) == [{"error": "busy"}, OPEN]


@pytest.mark.parametrize(
    ("name", "description", "changes"),
    [
        ("get_order", "", False),
        ("listAllItems", "", False),
        ("orders-search", "", False),
        ("read_flow_runs_filter_post", "", False),
        ("createOrder", "", True),
        ("order_delete", "", True),
        ("weather", "Shows the weather.", False),
        ("order_status", "Get the status of an order.", False),
        ("checkout", "Places the order and sends a receipt.", True),
        ("magic", "", False),
    ],
)
def test_the_verb_tells_reading_from_changing(name: str, description: str, changes: bool) -> None:
    tool = make_tool(name, description, {"type": "object", "properties": {}})
    assert changes_something(tool) is changes


def drawn(kind: Kind, **config: Any) -> Counter[str]:
    faults = (draw_fault(kind, FaultConfig(**config), Random(n)) for n in range(400))
    return Counter(fault.name if fault else "" for fault in faults)


def test_only_retry_dialogues_have_faults_unless_asked_for() -> None:
    assert set(drawn(Kind.SINGLE)) == {""}
    assert set(drawn(Kind.RETRY)) == {"timeout", "too_many_requests", "server_error"}


def test_a_share_of_the_other_dialogues_meets_a_fault() -> None:
    found = drawn(Kind.MULTI_TURN, rate=0.25)
    assert 70 <= 400 - found[""] <= 130


def test_faults_come_by_their_weights() -> None:
    found = drawn(
        Kind.SINGLE, rate=1.0, timeout=0, too_many_requests=0, server_error=1, not_found=3
    )
    assert set(found) == {"server_error", "not_found"}
    assert 2 < found["not_found"] / found["server_error"] < 4.5
    only = {fault.name: 0 for fault in FAULTS} | {"changed_schema": 1}
    assert set(drawn(Kind.SINGLE, rate=1.0, **only)) == {"changed_schema"}


def test_a_retry_dialogue_only_has_faults_that_pass() -> None:
    weights = {"timeout": 0, "too_many_requests": 0, "server_error": 0, "not_found": 5}
    assert "not_found" not in drawn(Kind.RETRY, **weights)


def test_a_fault_meets_the_first_call_only() -> None:
    said = "HTTP 503 service temporarily unavailable, try again"
    only = FaultConfig(timeout=0, too_many_requests=0)
    endpoint = Replies({"error": said}, result(OPEN))
    found = answer(endpoint, (GET, A1), (GET, A1), kind=Kind.RETRY, faults=only)
    assert found == [{"error": said}, OPEN]
    assert "This time the service fails" in endpoint.prompt(0)


def test_other_faults_say_what_a_service_says() -> None:
    only = {fault.name: 0 for fault in FAULTS}
    for name, key in (("not_found", 404), ("too_many_requests", 429), ("server_error", 503)):
        endpoint = Replies(result("no error at all"))
        faults = FaultConfig(rate=1.0, **{**only, name: 1})
        found = answer(endpoint, (GET, A1), faults=faults)[0]
        assert found["status"] == key
        assert str(key) in found["error"]


def test_a_changed_schema_renames_or_drops_a_field() -> None:
    only = {fault.name: 0 for fault in FAULTS} | {"changed_schema": 1}
    faults = FaultConfig(rate=1.0, **only)
    shapes = set()
    for seed in range(12):
        found = answer(Replies(result(OPEN)), (GET, A1), (GET, A1), faults=faults, seed=seed)
        assert found[0] == found[1] != OPEN
        shapes.add(tuple(sorted(found[0])))
    assert len(shapes) >= 4


def test_the_shape_changes_alike_in_all_rows_and_not_where_there_are_none() -> None:
    rows = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    changed = change_shape(rows, Random(1))
    assert len({tuple(row) for row in changed}) == 1
    assert changed != rows
    assert change_shape("text", Random(1)) == "text"
    assert change_shape({"id": 1}, Random(3)) != {}


def recorded(content: str = '{"pieces":1}', number: int = 0, dialogue: str = "d") -> RecordedCall:
    return RecordedCall(
        dialogue=dialogue,
        number=number,
        server="mcp:x",
        tool="get_stock",
        arguments={"item": "ü"},
        content=content,
        failed=False,
    )


def test_a_recording_is_read_back(tmp_path: Path) -> None:
    first = Recording(tmp_path / "deep" / "calls.jsonl")
    for number in range(3):
        first.add(recorded(str(number), number))
    second = Recording(first.path)
    assert len(second) == 3
    found = second.find("d", 1, recorded().question)
    assert found is not None
    assert found.content == "1"
    assert second.find("e", 1, recorded().question) is None
    other = second.find_elsewhere(9, recorded().question)
    assert other is not None
    assert other.content == "2"


def test_a_line_that_a_kill_cut_is_dropped_and_the_file_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    Recording(path).add(recorded())
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    again = Recording(path)
    assert len(again) == 1
    again.add(recorded(number=1))
    assert len(Recording(path)) == 2
    assert len(path.read_bytes().splitlines()) == 2


def test_a_file_that_is_no_recording_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text(recorded().model_dump_json() + '\n{"tool": 3}\n')
    with pytest.raises(ConfigError, match="line 2"):
        Recording(path)


def server_config(tmp_path: Path, calls: str) -> SeedConfig:
    command = (sys.executable, str(Path(__file__).with_name("tool_server.py")))
    source = ToolSource(format="mcp", command=(*command, str(tmp_path / "log.txt")))
    backend = ToolBackendConfig(
        kind="mcp",
        calls=calls,
        recording=str(tmp_path / "calls.jsonl"),  # type: ignore[arg-type]
    )
    return SeedConfig(sources=(source,), tool_backend=backend)


def call_server(config: SeedConfig, tools: Any, *items: str, dialogue: str = "d1") -> list[Any]:
    """The results of `get_stock` for the items, in one dialogue."""

    async def run() -> list[Any]:
        app = create_app(SimulatorConfig())
        async with (
            Teacher(TeacherConfig(), AsgiTransport(app)) as teacher,
            open_servers(config) as servers,
        ):
            scene = make_scene(teacher, tools=tools, servers=servers, nonce=dialogue)
            desk = ToolDesk(scene, Random(0))
            calls = [ToolCall(name="get_stock", arguments={"item": item}) for item in items]
            return [json.loads(await desk.answer(call, ())) for call in calls]

    return asyncio.run(run())


@pytest.fixture
def stock(tmp_path: Path) -> tuple[ToolSpec, ...]:
    pytest.importorskip("mcp")
    config = server_config(tmp_path, "live")
    return tuple(load_mcp_tools(as_mcp_server(config.sources[0]))[0])


def test_calls_of_a_real_tool_are_executed_recorded_and_replayed(
    tmp_path: Path, stock: tuple[ToolSpec, ...]
) -> None:
    record = server_config(tmp_path, "record")
    made = call_server(record, stock, "nail", "nail", "bolt")
    log = tmp_path / "log.txt"
    assert log.read_text().split() == ["nail", "nail", "bolt"]
    assert made[0] != made[1]
    assert call_server(record, stock, "nail", "nail", "bolt") == made
    replay = server_config(tmp_path, "replay")
    assert call_server(replay, stock, "nail", "nail", "bolt") == made
    assert call_server(replay, stock, "bolt", dialogue="d2") == made[2:]
    assert len(log.read_text().split()) == 3


def test_a_call_that_was_not_recorded_cannot_be_replayed(
    tmp_path: Path, stock: tuple[ToolSpec, ...]
) -> None:
    call_server(server_config(tmp_path, "record"), stock, "nail")
    with pytest.raises(CallNotRecorded, match=re.escape('get_stock with {"item":"screw"}')):
        call_server(server_config(tmp_path, "replay"), stock, "screw")


def test_live_calls_leave_no_recording(tmp_path: Path, stock: tuple[ToolSpec, ...]) -> None:
    call_server(server_config(tmp_path, "live"), stock, "nail")
    assert not (tmp_path / "calls.jsonl").exists()


def test_tools_from_elsewhere_are_simulated_beside_real_ones(
    tmp_path: Path, stock: tuple[ToolSpec, ...]
) -> None:
    config = server_config(tmp_path, "live")
    with_others = (*stock, load_catalogue()[0])
    servers = open_servers(config)
    assert [servers.serves(tool) for tool in with_others] == [True, True, False]
    simulated = config.model_copy(update={"tool_backend": ToolBackendConfig()})
    assert not any(map(open_servers(simulated).serves, with_others))


def play(endpoint: Callable[..., Any], tools: Any, seed: int, **fields: Any) -> Any:
    async def run() -> Any:
        async with Teacher(TeacherConfig(), AsgiTransport(endpoint)) as teacher:
            scene = make_scene(teacher, tools=tools, nonce=str(seed), **fields)
            conversation = Conversation(scene, Random(seed), twice=True, max_messages=12)
            await conversation.play()
            return conversation.as_dialogue(Split.TRAIN)

    return asyncio.run(run())


def test_a_dialogue_over_a_real_server_holds_its_results(
    tmp_path: Path, stock: tuple[ToolSpec, ...]
) -> None:
    config = server_config(tmp_path, "record")
    app = create_app(SimulatorConfig())

    async def run() -> Any:
        async with (
            Teacher(TeacherConfig(), AsgiTransport(app)) as teacher,
            open_servers(config) as servers,
        ):
            scene = make_scene(teacher, tools=stock[:1], servers=servers)
            conversation = Conversation(scene, Random(1), twice=True, max_messages=12)
            await conversation.play()
            return conversation.as_dialogue(Split.TRAIN)

    dialogue = asyncio.run(run())
    results = [json.loads(m.content) for m in dialogue.messages if isinstance(m, ToolMessage)]
    assert results == [{"pieces": 1}]
    assert len(Recording(tmp_path / "calls.jsonl")) == 1


def test_the_catalogue_never_needs_a_second_answer() -> None:
    tools = load_catalogue()
    for seed in range(12):
        some = tuple(Random(seed).sample(tools, 4))
        dialogue = play(create_app(SimulatorConfig()), some, seed, kind=Kind.PARALLEL)
        results = [m.content for m in dialogue.messages if isinstance(m, ToolMessage)]
        assert results
        assert not any("error" in json.loads(content) for content in results)
