"""Every command in the documentation is run here, or listed with the reason why it is not.

`looptool` commands run in a folder that holds what the pages speak of: a store with the campaign `demo`,
an OpenAPI document, tools, a benchmark index. Of what is not run, that it exists is checked: the target
of make, the module, the file.
"""

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from looptool.artifacts import Store
from looptool.cli import app
from looptool.records import Sample
from tests.report.conftest import Lake

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "models" / "README.md", *sorted((ROOT / "docs").glob("*.md")))
PROGRAMS = (
    *("make", "looptool", "python", "prefect", ".venv/bin/python", ".venv/bin/prefect"),
    *("vllm", "ray", "curl", "export", "docker", "kubectl", "pip", ".venv/bin/pip"),
)
NOT_RUN = {
    # beginning of the command: why this test does not run it
    "make": "minutes to hours, or changes the environment; the target's existence is checked",
    "python -m benchmarks": "a measurement of minutes to hours; the module's existence is checked",
    "python -m models": "hours of training or a measurement; the module's existence is checked",
    "looptool setup": "needs a Prefect server; the same is run in tests/flows/test_setup.py",
    ".venv/bin/prefect deployment run": "needs a Prefect server; run in tests/flows/test_loop.py",
    "prefect": "needs a Prefect server; workers and pools are run in tests/flows",
    "python -m fuzz": "needs atheris and an input that was found; run in tests/fuzz",
    "python - <<": "begins a script of several lines",
    "looptool evaluate": "needs a benchmark in an environment of its own; run in tests/suites",
    "looptool publish": "needs the checkpoint of a training; run in tests/publish",
    "export": "sets variables for other commands",
    "curl": "needs a server that listens",
    "vllm serve": "needs vLLM and, for its models, a GPU; run in tests/engines/test_teacher_on_vllm.py",
    "ray start": "needs Ray on several machines",
    "looptool doctor deployments/one_gpu":
        "its status is 1 where the profile cannot run; tests/frame/test_doctor.py",
    "looptool simulate": "serves until it is stopped; run in tests/simulator",
    "looptool decontaminate index bfcl-eval": "needs bfcl-eval in an environment of its own",
    "looptool import-tools https:": "needs the network; run with files in tests/seed",
    "looptool import-tools mcp+https:": "needs the network; run with a local server in tests/seed",
    "looptool import-tools mcp:": "needs an MCP server; run in tests/seed/test_mcp.py",
}  # fmt: skip


def commands_of(page: Path) -> Iterator[str]:
    """The commands in the indented blocks of a page, comments and continuations resolved."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for line in re.sub(r"\\\n\s+", "", text).splitlines():
        command = line[4:].split("  #")[0].split(" # ")[0].strip().removesuffix(" &")
        bare = re.sub(r"^(nice( -n \d+)? |[A-Z_]+=\S+ )+", "", command)
        bare = bare.removeprefix(".venv-engines/bin/").removeprefix(".venv/bin/looptool")
        if re.match(r" {4}\S", line) and bare.split(" ")[0] in PROGRAMS:
            yield bare


COMMANDS = {
    (page.relative_to(ROOT).as_posix(), command) for page in PAGES for command in commands_of(page)
}


def reason(command: str) -> str:
    """Why a command is not run; empty if it is."""
    quoteless = command.replace("'", "")
    known = [start for start in NOT_RUN if quoteless.startswith(start)]
    return NOT_RUN[max(known, key=len)] if known else ""


RUN = sorted(entry for entry in COMMANDS if not reason(entry[1]))
KEPT = sorted(entry for entry in COMMANDS if reason(entry[1]))


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands of the pages read."""
    folder = tmp_path_factory.mktemp("pages")
    lake = Lake(folder / "lake").finished(rounds=2)
    write_tools(folder)
    for name in ("deployments", "examples"):
        shutil.copytree(ROOT / name, folder / name)
    record = lake.campaign.complete()[0]
    first = lake.store.read(record.dataset, "samples", Sample)[0]
    (folder / "ids").write_text(first.sample_id)
    bench = folder / "path" / "to" / "acebench"
    bench.mkdir(parents=True)
    asked = "please find out who painted the ceiling of the chapel in the old town hall"
    (bench / "data.json").write_text(json.dumps([{"id": "e1", "prompt": asked}]))
    invoke(f"looptool decontaminate index {bench} -o {folder / 'bfcl.index'}")
    return folder


@pytest.fixture
def place(furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, as the current one: commands change what is in it."""
    folder = shutil.copytree(furnished, tmp_path / "pages")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    return folder


def write_tools(folder: Path) -> None:
    """A tool in each of the shapes that the pages name."""
    reply = {"200": {"description": "ok"}}
    get = {"operationId": "find", "summary": "Find", "tags": ["flows"], "responses": reply}
    api = {
        "openapi": "3.1.0",
        "info": {"title": "t", "version": "1"},
        "paths": {"/a": {"get": get}},
    }
    (folder / "openapi.json").write_text(json.dumps(api))
    tool = {
        "name": "find",
        "description": "Find",
        "parameters": {"type": "object", "properties": {}},
    }
    (folder / "tools.json").write_text(json.dumps([{"type": "function", "function": tool}]))
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("")
    (folder / "package" / "module.py").write_text(
        'def function(text: str) -> str:\n    """Say it again."""\n    return text\n'
    )


def invoke(command: str) -> str:
    """What the command prints; fails if it does not end well."""
    words = shlex.split(command)
    assert words[0] == "looptool"
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, f"{command}\n{done.output}"
    return done.output


@pytest.mark.parametrize(("page", "command"), RUN)
def test_a_command_of_the_documentation_runs(page: str, command: str, place: Path) -> None:
    sample = (place / "ids").read_text()
    command = (
        command.replace("s-3f9a", sample)
        .replace(" mine", " demo")
        .replace("s3://bucket/lake", "lake")
    )
    if "--undo" in command:
        invoke(f"looptool retract {sample}")
    assert invoke(command).strip()


@pytest.mark.parametrize(("page", "command"), KEPT)
def test_a_command_that_is_not_run_exists(page: str, command: str) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        targets = [word for word in words[1:] if "=" not in word]
        done = subprocess.run(
            ["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    if words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2]), f"{page}: no module {words[2]}"
    for word in words:
        if word.startswith(("deployments/", "requirements/", "tests/")):
            assert (ROOT / word).exists() or "mine" in word, f"{page}: {word} is not there"


def test_every_reason_has_a_command() -> None:
    used = {reason(command) for _, command in KEPT}
    assert used == set(NOT_RUN.values())


def test_links_between_the_pages_lead_somewhere() -> None:
    lost = []
    for page in (*PAGES, ROOT / "CONTRIBUTING.md", *(ROOT / "docs" / "adr").glob("*.md")):
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
            target, _, anchor = link.partition("#")
            file = page.parent / target if target else page
            if "://" in link or link.startswith("mailto:"):
                continue
            if not file.exists() or (
                anchor and file.suffix == ".md" and anchor not in anchors_of(file)
            ):
                lost.append(f"{page.name}: {link}")
    assert lost == []


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them, and those written by hand."""
    text = page.read_text("utf-8")
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    return made | set(re.findall(r'<a name="([^"]+)">', text))


def test_the_store_of_these_tests_is_the_library_s(place: Path) -> None:
    assert Store("lake").fs.exists(str(place / "lake" / "campaigns" / "demo" / "campaign.json"))
