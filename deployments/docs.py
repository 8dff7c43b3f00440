"""Generated documentation: `python -m deployments.docs` writes it, `--check` compares."""

import sys
from pathlib import Path

from looptool.schema import render_docs

ROOT = Path(__file__).resolve().parent.parent
PAGES = {ROOT / "docs" / "artifacts.md": render_docs}


def main() -> int:
    """Write the pages, or report the first one that is out of date."""
    check = "--check" in sys.argv[1:]
    for page, render in PAGES.items():
        text = render()
        if check and (not page.is_file() or page.read_text(encoding="utf-8") != text):
            print(f"{page.relative_to(ROOT)} is out of date; run: make docs", file=sys.stderr)
            return 1
        if not check:
            page.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
