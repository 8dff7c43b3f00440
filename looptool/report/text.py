"""Text that others wrote, made fit to be looked at: visible, well-formed, of bounded length.

Escaping for HTML is the template's work; this is about what escaping leaves alone. A lone surrogate
cannot be written as UTF-8, a bidirectional control makes a line read otherwise than it is.
"""

import json
import math
import re

LONGEST = 2_000
"""Characters of one text that the page holds."""
LARGEST_INT = 2**53

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Controls (line feed and tab are kept), invisible and bidirectional characters, lone surrogates."""


def clean_text(value: object, limit: int = LONGEST) -> str:
    """The value as text with hidden characters named as `⟨U+202E⟩`, cut after `limit` characters."""
    text = value if isinstance(value, str) else str(value)
    more = len(text) - limit
    shown = _HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text[:limit])
    return f"{shown} … ({more:,} more characters)" if more > 0 else shown


def clean_json(value: object, limit: int = LONGEST, depth: int = 12) -> object:
    """A JSON value with every text and key in it cleaned; deeper than `depth` it becomes text."""
    if isinstance(value, dict | list) and not depth:
        return clean_text(json.dumps(value, ensure_ascii=False, default=str), limit)
    if isinstance(value, dict):
        return {clean_text(k, limit): clean_json(v, limit, depth - 1) for k, v in value.items()}
    if isinstance(value, list):
        return [clean_json(item, limit, depth - 1) for item in value]
    return clean_text(value, limit) if isinstance(value, str) else _plain(value)


def _plain(value: object) -> object:
    """A number as text where JSON has no word for it, or where a browser would round it."""
    odd = isinstance(value, float) and not math.isfinite(value)
    large = isinstance(value, int) and abs(value) >= LARGEST_INT
    return str(value) if odd or large else value


def script_json(value: object) -> str:
    """JSON for a `<script type="application/json">`: no character of it can end the element.

    Raises ValueError on NaN.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return re.sub("[<>&\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", text)
