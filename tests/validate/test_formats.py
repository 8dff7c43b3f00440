"""Formats that count, the same on every machine."""

import pytest

from looptool.validate.formats import make_format_checker

CHECKER = make_format_checker()


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date", ["2031-03-05", "2032-02-29"], ["2031-02-29", "5.3.2031", "2031-3-5", "20310305"]),
        ("time", ["15:00", "15:00:30", "15:00:30.5Z", "09:00:00+02:00"], ["25:00", "3 pm", "9:00"]),
        ("date-time", ["2031-03-05T15:00:00Z", "2031-03-05 15:00"], ["2031-03-05", "2031-03-05T"]),
        ("email", ["ana@example.org", "a.b+c@x.co.uk"], ["ana", "ana@", "a b@x.org", "a@x..org"]),
        ("uri", ["https://example.org/a?b", "mailto:a@x.org"], ["example.org", "https://a b"]),
        (
            "uuid",
            ["123e4567-e89b-12d3-a456-426614174000"],
            ["123e4567e89b12d3a456426614174000", "x"],
        ),
        ("ipv4", ["10.0.0.1"], ["10.0.0.256", "::1"]),
        ("ipv6", ["::1"], ["10.0.0.1"]),
    ],
)
def test_a_format_takes_what_it_names_and_nothing_else(
    name: str, good: list[str], bad: list[str]
) -> None:
    assert [text for text in good if not CHECKER.conforms(text, name)] == []
    assert [text for text in bad if CHECKER.conforms(text, name)] == []


def test_other_formats_and_other_types_pass() -> None:
    assert CHECKER.conforms("anything", "hostname")
    assert CHECKER.conforms(3, "date")
