"""What is installed here, which profiles can run on it, and what each of the others misses.

Nothing heavy is imported and nothing is started: packages are asked for their versions, another
environment's by its own interpreter. Only the teacher's endpoint is asked, whether it is there.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import yaml

import looptool
from looptool.config import LoopConfig, load_profile
from looptool.engines import check_model_folder
from looptool.engines.interpreter import engines_pythons
from looptool.errors import ConfigError, LoopToolError, shorten

PACKAGES = {
    "core": ("looptool", "pydantic", "pyarrow", "polars", "openai"),
    "orchestration": ("prefect", "fastapi"),
    "train": ("torch", "transformers", "trl"),
    "s3": ("s3fs",),
    "mcp": ("mcp",),
    "report": ("vl-convert-python",),
}
"""Groups of this environment, by the name of their extra, and what shows that they are there."""
ENGINES = ("vllm", "verl", "ray", "torch", "transformers", "looptool")
INSTALL = "make install"
INSTALL_ENGINES = "make engines"
ENDPOINT_TIMEOUT_S = 3.0
SUBPROCESS_TIMEOUT_S = 60.0

Versions = dict[str, str | None]
"""Package -> version, None if it is missing."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the hardware offers."""

    cores: int
    memory_gib: float
    gpus: tuple[str, ...]
    """Name and memory of each; empty without a GPU."""


@dataclass(frozen=True, slots=True)
class Group:
    """One set of packages that belong together."""

    name: str
    python: str
    """Interpreter that has them, or would."""
    versions: Versions
    install: str
    """The command that installs what is missing."""

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return all(self.versions.values())


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why a profile cannot run here."""

    what: str
    fix: str
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class ProfileCheck:
    """One profile; without problems it can run."""

    name: str
    path: str
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that `looptool doctor` found."""

    machine: Machine
    groups: tuple[Group, ...]
    profiles: tuple[ProfileCheck, ...]


def diagnose(profiles: Iterable[Path] | None = None) -> Diagnosis:
    """Look at this machine; by default all profiles of the checkout are judged."""
    machine = look_at_machine()
    groups = tuple(_groups())
    found = _profiles_of_checkout() if profiles is None else profiles
    checks = tuple(_check_profile(path, machine, groups) for path in found)
    return Diagnosis(machine, groups, checks)


def look_at_machine() -> Machine:
    """Cores, memory and GPUs."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Machine(len(os.sched_getaffinity(0)), round(pages * size / (1 << 30), 1), _gpus())


def _gpus() -> tuple[str, ...]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        found = subprocess.run(  # noqa: S603 - a fixed command
            query, capture_output=True, text=True, timeout=SUBPROCESS_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ()  # a driver that does not answer is as good as no GPU
    return tuple(line.strip() for line in found.stdout.splitlines() if line.strip())


def _groups() -> Iterator[Group]:
    for name, packages in PACKAGES.items():
        extra = "" if name == "core" else f" (or pip install 'looptool[{name}]')"
        versions = {package: _version(package) for package in packages}
        yield Group(name, sys.executable, versions, INSTALL + extra)
    for python in engines_pythons():
        if python.is_file():
            yield Group("engines", str(python), _versions_of(python, ENGINES), INSTALL_ENGINES)
            return
    here: Versions = {package: _version(package) for package in ENGINES}
    yield Group("engines", sys.executable, here, INSTALL_ENGINES)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _versions_of(python: Path, packages: Iterable[str]) -> Versions:
    """Versions in another environment; all missing when its interpreter does not run."""
    names = list(packages)
    script = (
        "import importlib.metadata as m, json, sys\n"
        "have = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
        "print(json.dumps({n: have.get(n) for n in sys.argv[1:]}))"
    )
    try:
        found = subprocess.run(  # noqa: S603 - our own environment's interpreter
            [str(python), "-I", "-c", script, *names],
            capture_output=True,
            text=True,
            timeout=SUBPROCESS_TIMEOUT_S,
            check=True,
        )
        versions: Versions = json.loads(found.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return dict.fromkeys(names)
    return versions


def _profiles_of_checkout() -> list[Path]:
    for root in (Path.cwd(), Path(looptool.__file__).resolve().parent.parent):
        if found := sorted((root / "deployments").glob("*.toml")):
            return found
    return []


def _check_profile(path: Path, machine: Machine, groups: tuple[Group, ...]) -> ProfileCheck:
    try:
        config = load_profile(path)
        problems = tuple(_problems(config, machine, {g.name: g for g in groups}))
    except ConfigError as exc:
        problems = (Problem(shorten(exc, 300), f"correct {path}"),)
    return ProfileCheck(path.stem, str(path), problems)


def _problems(config: LoopConfig, machine: Machine, groups: dict[str, Group]) -> Iterator[Problem]:
    yield from _missing(groups["core"], PACKAGES["core"])
    yield from _missing(groups["orchestration"], PACKAGES["orchestration"])
    if "://" in config.store.root and not config.store.root.startswith("file:"):
        yield from _missing(groups["s3"], PACKAGES["s3"])
    yield from _policy_problems(config, machine, groups)
    yield from _trainer_problems(config, machine, groups)
    yield from _teacher_problems(config)


def _missing(group: Group, packages: Iterable[str]) -> Iterator[Problem]:
    lacking = [package for package in packages if not group.versions.get(package)]
    if lacking:
        yield Problem(f"{', '.join(lacking)} not in {group.python}", group.install)


def _policy_problems(
    config: LoopConfig, machine: Machine, groups: dict[str, Group]
) -> Iterator[Problem]:
    policy, probe = config.policy, config.probe
    try:
        check_model_folder(policy.base)
    except LoopToolError as exc:
        yield Problem(shorten(exc, 300), "download the base checkpoint into that folder")
    if policy.engine != "vllm":
        yield from _missing(groups["train"], ("torch", "transformers"))
        return
    wanted = ("vllm", "ray") if probe.replicas > 1 or policy.ray_address else ("vllm",)
    yield from _missing(_environment(groups["engines"], policy.python), wanted)
    wanted_gpus = probe.replicas * probe.tensor_parallel
    # On a machine without a GPU, a replica of its own runs on a core.
    held = len(machine.gpus) or (machine.cores if probe.tensor_parallel == 1 else 0)
    if not policy.ray_address and wanted_gpus > held:
        yield Problem(
            f"the probe wants {wanted_gpus} GPUs, here are {len(machine.gpus)}",
            "set policy.ray_address to a cluster that has them, or lower probe.replicas "
            "and probe.tensor_parallel",
        )


def _environment(group: Group, python: str) -> Group:
    """The engines' group as another interpreter has it, when the profile names one."""
    if not python:
        return group
    path = Path(python).expanduser().absolute()
    return Group(group.name, str(path), _versions_of(path, ENGINES), group.install)


def _trainer_problems(
    config: LoopConfig, machine: Machine, groups: dict[str, Group]
) -> Iterator[Problem]:
    train = config.train
    if train.trainer == "trl":
        yield from _missing(groups["train"], PACKAGES["train"])
        return
    yield from _missing(_environment(groups["engines"], train.python), ("verl", "ray"))
    needed = _gpus_of_overlay(train.verl_config)
    if not train.ray_address and needed > len(machine.gpus):
        yield Problem(
            f"veRL overlay {train.verl_config} wants {needed} GPUs, here are {len(machine.gpus)}",
            "set train.ray_address to a cluster that has them, or choose another overlay",
        )


def _gpus_of_overlay(name: str) -> int:
    """GPUs that an overlay of veRL's configuration asks for; 0 when it runs on the CPU."""
    file = Path(name)
    if file.suffix not in (".yaml", ".yml"):
        file = Path(looptool.__file__).resolve().parent.parent / "verl_configs" / f"{name}.yaml"
    try:
        overlay: Any = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as exc:
        raise ConfigError(f"veRL overlay {file} cannot be read: {shorten(exc)}") from exc
    trainer = overlay.get("trainer", {})
    if trainer.get("device") == "cpu":
        return 0
    return int(trainer.get("n_gpus_per_node", 1)) * int(trainer.get("nnodes", 1))


def _teacher_problems(config: LoopConfig) -> Iterator[Problem]:
    teacher = config.teacher
    urls = (teacher.base_url,) if isinstance(teacher.base_url, str) else teacher.base_url
    key = os.environ.get(teacher.api_key_env)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    for url in urls:
        if url == "simulator":
            continue
        try:
            answer = httpx2.get(
                f"{url.rstrip('/')}/models", headers=headers, timeout=ENDPOINT_TIMEOUT_S
            )
        except httpx2.HTTPError as exc:
            yield Problem(
                f"the teacher's endpoint {url} does not answer ({type(exc).__name__})",
                "start it, or set teacher.base_url",
            )
            continue
        if answer.status_code in (401, 403):
            yield Problem(
                f"the teacher's endpoint {url} wants a key ({answer.status_code})",
                f"export {teacher.api_key_env}",
            )
