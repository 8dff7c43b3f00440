"""Imported tools on disk: Parquet of the `tools` kind, complete, or JSON in the OpenAI shape."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from looptool.errors import ConfigError, DataError, shorten
from looptool.records import Rejection, ToolSpec, canonical_json, make_tool
from looptool.schema import from_table, records_of, to_table
from looptool.seed.json_file import reject
from looptool.seed.normalise import check_parameters, make_names_unique


def load_parquet_tools(path: str) -> tuple[list[ToolSpec], list[Rejection]]:
    """The tools of a file that `looptool import-tools -o tools.parquet` wrote.

    Raises ConfigError when it cannot be read, and DataError when it is of another kind.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as exc:
        raise ConfigError(f"tool source {path} cannot be read as Parquet: {shorten(exc)}") from exc
    tools: list[ToolSpec] = []
    rejections: list[Rejection] = []
    for tool in records_of(list(from_table("tools", table, path)), ToolSpec):
        fields = tool.model_dump(exclude={"tool_id", "parameters"})
        try:
            checked = check_parameters(tool.parameters, tool.name)
        except DataError as exc:
            rejections.append(reject(tool.name, "bad_tool", str(exc), tool.model_dump()))
            continue
        tools.append(make_tool(parameters=checked, **fields))
    return list(make_names_unique(tools)), rejections


def check_output(path: str | Path) -> None:
    """Raise ConfigError when tools cannot be saved under this name."""
    if Path(path).suffix not in (".parquet", ".json"):
        raise ConfigError(f"tools are saved as .parquet or .json, not as {shorten(path)}")


def save_tools(tools: Sequence[ToolSpec], path: str | Path) -> None:
    """Write the tools, by the ending of the name; both can be a source again.

    Raises ConfigError when they cannot be written.
    """
    check_output(path)
    try:
        if Path(path).suffix == ".parquet":
            pq.write_table(to_table("tools", tools), path)
        else:
            text = canonical_json([tool.as_openai() for tool in tools])
            Path(path).write_text(f"{text}\n", encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"{path} cannot be written ({exc.strerror or shorten(exc)})") from exc
