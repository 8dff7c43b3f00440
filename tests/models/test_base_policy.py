"""The committed policy: its folder, its tokenizer and template, and what it can do at least."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.engines

FOLDER = Path(__file__).parents[2] / "models" / "nano-base"
PLAIN = (
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
)


def build_tool(name: str, about: Any, properties: Any, required: Any = ()) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return {
        "type": "function",
        "function": {"name": name, "description": about, "parameters": schema},
    }


WEATHER = build_tool(
    "get_weather",
    "Get the weather for a city",
    {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "unit": {"type": "string", "enum": ["metric", "imperial"], "default": "metric"},
    },
    ["city"],
)
MAIL = build_tool(
    "send_email",
    "Send an email",
    {"to": {"type": "string"}, "subject": {"type": "string"}},
    ["to", "subject"],
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return transformers.AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def model() -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()


def render(tokenizer: Any, messages: list[dict[str, Any]], tools: Any = None) -> str:
    text = tokenizer.apply_chat_template(
        messages, tools=tools, add_generation_prompt=True, tokenize=False
    )
    assert isinstance(text, str)
    return text


def answer(model: Any, tokenizer: Any, messages: list[dict[str, Any]], tools: Any) -> str:
    inputs = tokenizer(render(tokenizer, messages, tools), return_tensors="pt")
    with torch.inference_mode():
        output = model.generate(**inputs, max_new_tokens=80, do_sample=False)
    text = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert isinstance(text, str)
    return text


def test_vocabulary_size_is_the_tokenizer_length(model: Any, tokenizer: Any) -> None:
    assert model.config.vocab_size == len(tokenizer)
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer)
    assert 1024 <= len(tokenizer) <= 2048
    assert model.config.model_type == "qwen3"


def test_weights_are_finite_bf16_and_small() -> None:
    from safetensors.torch import load_file

    weights = load_file(FOLDER / "model.safetensors")
    assert "lm_head.weight" not in weights  # tied
    for name, weight in weights.items():
        assert weight.dtype == torch.bfloat16, name
        assert torch.isfinite(weight.float()).all(), name
    assert (FOLDER / "model.safetensors").stat().st_size <= 16 * 2**20
    assert 1_000_000 <= sum(weight.numel() for weight in weights.values()) <= 8_000_000


def test_end_and_padding_tokens(model: Any, tokenizer: Any) -> None:
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token == "<|endoftext|>"
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert set(tokenizer.all_special_tokens) == {"<|im_start|>", "<|im_end|>", "<|endoftext|>"}


@pytest.mark.parametrize("token", PLAIN)
def test_call_tokens_are_single_and_survive_decoding(tokenizer: Any, token: str) -> None:
    ids = tokenizer.encode(f"a{token}b<|im_end|>", add_special_tokens=False)
    assert len(ids) == 4
    assert tokenizer.decode(ids, skip_special_tokens=True) == f"a{token}b"


@pytest.mark.parametrize(
    "text",
    [
        "Zürich  für 3 Tage\n\tum 14:30",
        "東京の天気 🌧️ e\u0301",
        'a  "b" {"c": [1, 2.50]}',
        "\x00\x7f",
        " x , y . ",
    ],
)
def test_any_text_comes_back_as_it_was(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_digits_are_single_tokens(tokenizer: Any) -> None:
    assert len(tokenizer.encode("20261120", add_special_tokens=False)) == 8


def test_a_value_has_the_same_tokens_in_a_request_and_in_a_call(tokenizer: Any) -> None:
    value = tokenizer.encode("New Orleans", add_special_tokens=False)
    for text in ("weather in New Orleans", '{"city": "New Orleans'):
        assert tokenizer.encode(text, add_special_tokens=False)[-len(value) :] == value


def test_template_writes_one_line_a_tool_and_the_turns(tokenizer: Any) -> None:
    call = {"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}
    bare = {"name": "send_email", "arguments": '{"to": "a@b.org"}'}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Today is 2026-03-04."},
        {"role": "user", "content": "weather in Paris"},
        {
            "role": "assistant",
            "content": "<think>\nhm\n</think>\n\n",
            "tool_calls": [{"type": "function", "function": call}, bare],
        },
        {"role": "tool", "content": '{"temperature": 21}'},
    ]
    assert render(tokenizer, messages, [WEATHER, MAIL]) == (
        "<|im_start|>system\nToday is 2026-03-04.\n# Tools\n"
        "get_weather(city: string, days?: integer, unit?: metric|imperial = metric): "
        "Get the weather for a city\n"
        "send_email(to: string, subject: string): Send an email<|im_end|>\n"
        "<|im_start|>user\nweather in Paris<|im_end|>\n"
        "<|im_start|>assistant\n<tool_call>\n"
        '{"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}\n</tool_call>\n'
        '<tool_call>\n{"name": "send_email", "arguments": {"to": "a@b.org"}}\n</tool_call>'
        "<|im_end|>\n"
        '<|im_start|>tool\n{"temperature": 21}<|im_end|>\n'
        "<|im_start|>assistant\n"
    )


def test_template_takes_text_answers_and_no_tools(tokenizer: Any) -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "<think>x</think>\nHello."},
        {"role": "user", "content": [{"type": "text", "text": "bye <|im_start|>"}]},
    ]
    assert render(tokenizer, messages) == (
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n"
        "<|im_start|>user\nbye <|im_start|><|im_end|>\n<|im_start|>assistant\n"
    )


SCHEMAS: list[tuple[Any, str]] = [
    ({"type": "array", "items": {"type": "string"}}, "[string]"),
    ({"type": "array"}, "[any]"),
    ({"type": "array", "items": {"type": "array", "items": {"type": "number"}}}, "[[number]]"),
    (
        {
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
            "required": ["a"],
        },
        "{a: string, b?: integer}",
    ),
    (
        {"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {}}}}},
        "{a?: object}",
    ),
    ({"type": "object"}, "object"),
    ({"type": ["string", "null"]}, "string"),
    ({"type": ["string", "integer"]}, "any"),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string"),
    ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, "any"),
    ({"$ref": "#/$defs/X"}, "any"),
    ({"allOf": [{"$ref": "#/$defs/X"}]}, "any"),
    ({"enum": ["a", 1, None, True]}, "a|1|null|true"),
    ({"const": "x"}, "x"),
    ({"type": "integer", "default": 3}, "integer = 3"),
    ({"type": "boolean", "default": False}, "boolean = false"),
    ({"type": "string", "default": None}, "string"),
    ({"type": {"odd": 1}}, "any"),
    ({"type": "file"}, "any"),
    ({"type": [["string"]]}, "any"),
    ({"type": None, "enum": "abc"}, "any"),
    ({"properties": {"items": {"type": "string"}}}, "{items?: string}"),
    ({}, "any"),
    (True, "any"),
    (None, "any"),
]


@pytest.mark.parametrize(("schema", "expected"), SCHEMAS)
def test_template_renders_odd_schemas(tokenizer: Any, schema: Any, expected: str) -> None:
    tool = build_tool("f", None, {"x": schema})
    text = render(tokenizer, [{"role": "user", "content": "go"}], [tool])
    assert f"\nf(x?: {expected})<|im_end|>" in text


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "f"},
        {"name": "f", "parameters": None, "description": 3},
        {"name": "f", "parameters": {"type": "object", "properties": None, "required": None}},
        {"name": "f", "parameters": {"properties": {}, "required": True}},
        {"type": "function", "function": {"name": "f", "parameters": []}},
    ],
)
def test_template_renders_odd_tools(tokenizer: Any, tool: dict[str, Any]) -> None:
    assert "\nf()<|im_end|>" in render(tokenizer, [{"role": "user", "content": "go"}], [tool])


def test_template_cuts_long_descriptions(tokenizer: Any) -> None:
    tool = build_tool("f", "word\n" * 100, {})
    line = render(tokenizer, [{"role": "user", "content": "go"}], [tool]).split("\n")[2]
    assert line.startswith("f(): word word")
    assert len(line) <= 120


def test_forward_takes_more_than_4096_tokens(model: Any, tokenizer: Any) -> None:
    tools = [
        build_tool(f"get_thing_{i}", "Get a thing", WEATHER["function"]["parameters"]["properties"])
        for i in range(160)
    ]
    ids = tokenizer(
        render(tokenizer, [{"role": "user", "content": "go"}], tools), return_tensors="pt"
    )
    assert ids["input_ids"].shape[1] > 4200
    with torch.inference_mode():
        logits = model(input_ids=ids["input_ids"][:, :4200], logits_to_keep=1).logits
    assert torch.isfinite(logits).all()


REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("Get weather: city Oslo, days 5.", {"city": "Oslo", "days": 5}),
    ("Could you please get weather for city Rome, days 2?", {"city": "Rome", "days": 2}),
]


@pytest.mark.parametrize(("request_text", "arguments"), REQUESTS)
def test_a_plain_explicit_request_is_called(
    model: Any, tokenizer: Any, request_text: str, arguments: dict[str, Any]
) -> None:
    text = answer(model, tokenizer, [{"role": "user", "content": request_text}], [MAIL, WEATHER])
    assert text.startswith("<tool_call>\n")
    assert text.endswith("\n</tool_call>")
    call = json.loads(text.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>"))
    assert call == {"name": "get_weather", "arguments": arguments}


def test_a_missing_value_is_asked_for(model: Any, tokenizer: Any) -> None:
    text = answer(
        model, tokenizer, [{"role": "user", "content": "Get the weather"}], [MAIL, WEATHER]
    )
    assert "<tool_call>" not in text
    assert "city" in text
