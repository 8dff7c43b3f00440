"""Small talk and the words between requests: what a speaker adds and a reader may ignore."""

import re

PREAMBLES = (
    "Hey there, hope all is well.",
    "Hi! I just made myself a cup of tea.",
    "Good morning, it's a bit hectic over here.",
    "Hello again, you were so helpful before.",
    "Hey, quick favour before I rush off.",
    "Hi, sorry to bother you.",
    "So, funny story, my neighbour told me about you.",
    "Hello! I'm finally sitting on the sofa.",
    "Hey you, it has been a long morning.",
    "Hi, I'm not great with computers.",
)
REASONS = (
    "My sister is visiting.",
    "We are celebrating with the whole family.",
    "My boss asked me about it this morning.",
    "I promised a friend to take care of this.",
    "Our plans fell through again.",
    "My old phone broke and I lost everything.",
    "The kids keep asking me.",
    "I'm helping my grandmother out.",
    "My colleague is off sick.",
    "We moved last month and everything is upside down.",
)
CLOSINGS = (
    "Thanks a lot!",
    "That would really help me out.",
    "You're a star.",
    "Cheers!",
    "I'd be lost without you.",
    "No rush though.",
)
WISHES = (
    "I'd love it if you could",
    "Could you",
    "It would be great if you could",
    "Any chance you could",
)
CHATTY_LINKS = ("It's with", "That's with", "The details are")
WONDERS = (
    "I was wondering whether you could",
    "I'm not sure, but perhaps you could",
    "It might be good if someone could",
    "I was hoping you could",
)
POLITE = ("Could you please", "Would you please", "Can you please")
ALSO_JOINTS = (", and also ", ". Also, ", ". On top of that, ", ". Then separately, ")
THEN_JOINTS = (", and then ", ". After that, ", ". Once that is done, ")

_PHRASES = sorted(
    (*PREAMBLES, *REASONS, *CLOSINGS, *WISHES, *CHATTY_LINKS, *WONDERS, *POLITE),
    key=len,
    reverse=True,
)
_FILLER = re.compile("|".join(rf"(?<!\w){re.escape(phrase)}(?!\w)" for phrase in _PHRASES), re.I)
_THEN = r"and then|after that,?|afterwards,?|once that is done,?|once you have (?:it|that),?"
_JOINT = re.compile(
    rf"(?:\s*[,.;!?])?\s+(?:(?P<then>{_THEN}|then(?= )(?! separately))"
    r"|and also|also,?|and separately|on top of that,?|then separately,?|in addition,?)\s+",
    re.IGNORECASE,
)


def strip_fillers(text: str) -> str:
    """The text without its small talk."""
    return _FILLER.sub(" ", text).strip()


def split_requests(text: str) -> list[tuple[str, bool]]:
    """The single requests of a message, each with whether it depends on the one before it."""
    parts: list[tuple[str, bool]] = []
    start, dependent = 0, False
    blank = re.sub(r'"(?:[^"\\\n]|\\.)*"', lambda m: '"' + "\x00" * (len(m[0]) - 2) + '"', text)
    for match in _JOINT.finditer(blank):
        if text[start : match.start()].strip():
            parts.append((text[start : match.start()], dependent))
            dependent = match["then"] is not None
        start = match.end()
    if text[start:].strip():
        parts.append((text[start:], dependent))
    return parts


def detect_style(text: str) -> str:
    """The harder style that a message seems to be in; "" when it shows none."""
    if re.search(r", (?:no wait|sorry|I mean|no, make that), ", text):
        return "correction"
    for style, phrases in (("chatty", PREAMBLES), ("story", REASONS), ("indirect", WONDERS)):
        if any(phrase in text for phrase in phrases):
            return style
    if re.match(r"^[^.?!]{2,80} - [a-z]", text):
        return "value_first"
    if re.match(r"^[A-Z][^.:]*\. [A-Z][^.]* [^.]*\.", text):
        return "fragment"
    if re.search(
        r" (?:in|on|at|from|to|called|about|saying|for (?:the next )?\d+) ", text
    ) and not (re.search(r": | with ", text) or text.startswith(POLITE)):
        return "implicit"
    return ""
