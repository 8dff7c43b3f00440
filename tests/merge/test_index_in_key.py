"""A benchmark index counts by what it holds, wherever it lies."""

import shutil
from pathlib import Path

from looptool.campaign import computed_settings
from looptool.config import parse_config
from looptool.decontaminate import build_index, save_index
from looptool.decontaminate.entries import Entry
from tasks.scope import stage_settings


def settings(*indexes: Path) -> dict[str, object]:
    config = parse_config({"merge": {"decontaminate": [str(path) for path in indexes]}})
    assert "merge.decontaminate" not in computed_settings(config)
    return stage_settings("merge", config)


def test_the_key_holds_the_content_of_an_index_and_not_its_path(tmp_path: Path) -> None:
    one, other, copy = (tmp_path / name for name in ("one.index", "other.index", "copy.index"))
    save_index(build_index([Entry("e-1", "what is the area of this field")]), "b", one)
    save_index(build_index([Entry("e-1", "what is the area of that field")]), "b", other)
    shutil.copy(one, copy)
    assert settings(one) == settings(copy) != settings(other)
    assert settings(one, other) == settings(other, copy)
    assert settings(one) != settings()
