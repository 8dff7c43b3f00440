"""What is in the wheel, and what importing it costs."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "transformers", "ray", "vllm", "prefect", "trl")


def imported_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return {name.split(".")[0] for name in done.stdout.split()}


def test_importing_looptool_loads_nothing_heavy() -> None:
    assert not imported_after("import looptool") & set(HEAVY)


def test_no_room_but_the_engines_loads_anything_heavy_when_imported() -> None:
    rooms = (
        "artifacts calls campaign chat cli config engines errors evaluate expand fingerprint judge "
        "merge probe prompts records schema seed simulator suites train validate"
    ).split()
    statement = "; ".join(f"import looptool.{room}" for room in rooms)
    assert not imported_after(statement) & set(HEAVY)


def test_the_wheel_holds_only_looptool(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w",
         str(tmp_path), str(ROOT)],
        check=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("looptool-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"looptool"}
    assert "looptool/_prompts/judge_compare.j2" in names
