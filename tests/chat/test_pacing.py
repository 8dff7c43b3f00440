"""How an endpoint's pace follows what it answers."""

from looptool.chat.pacing import BURST, REST_CAP_S, REST_S, Pace


def fail_often(pace: Pace, times: int, at: float, sent_at: float | None = None) -> None:
    for _ in range(times):
        pace.fail(at if sent_at is None else sent_at, at)


def test_single_failures_among_answers_change_nothing() -> None:
    pace = Pace(16)
    for number in range(60):
        if number % 6 == 0:
            pace.fail(number, number)
        else:
            pace.answer(number)
    assert pace.limit == 16
    assert pace.free(61) == 16


def test_a_burst_halves_the_limit_once_for_all_that_were_in_flight() -> None:
    pace = Pace(64)
    for number in range(40):  # all sent before the first of them failed
        pace.fail(sent_at=1.0, now=2.0 + number / 100)
        pace.answer(2.0 + number / 100)
    assert pace.limit == 32
    for number in range(40):
        pace.fail(sent_at=3.0, now=4.0 + number / 100)
        pace.answer(4.0 + number / 100)
    assert pace.limit == 16


def test_calm_grows_the_limit_back_by_one_at_a_time() -> None:
    pace = Pace(8)
    pace.limit = 4
    for number in range(4):
        pace.answer(number)
    assert pace.limit == 5
    for number in range(100):
        pace.answer(number)
    assert pace.limit == 8


def test_a_row_of_failures_rests_the_endpoint_and_one_request_goes_ahead() -> None:
    pace = Pace(8)
    fail_often(pace, BURST - 1, at=1.0)
    assert pace.free(1.0) > 0
    fail_often(pace, 1, at=1.0)
    assert pace.free(1.0) == 0
    assert pace.free(1.0 + REST_S) == 1


def test_rests_grow_while_nothing_is_answered_and_are_capped() -> None:
    pace = Pace(8)
    fail_often(pace, BURST, at=1.0)
    rests = []
    for _ in range(12):
        probe = pace.rests_until
        pace.fail(probe, probe)
        rests.append(pace.rests_until - probe)
    assert rests == sorted(rests)
    assert rests[0] > REST_S
    assert rests[-1] == REST_CAP_S


def test_late_failures_of_requests_sent_before_a_rest_do_not_lengthen_it() -> None:
    pace = Pace(64)
    fail_often(pace, BURST, at=1.0)
    until = pace.rests_until
    fail_often(pace, 50, at=1.1, sent_at=0.9)
    assert pace.rests_until == until


def test_an_answer_ends_the_rests_and_the_endpoint_is_trusted_with_half() -> None:
    pace = Pace(8)
    fail_often(pace, BURST, at=1.0)
    limit = pace.limit
    pace.answer(5.0)
    assert pace.free(5.0) == limit // 2
    fail_often(pace, BURST, at=6.0)
    assert pace.rests_until == 6.0 + REST_S


def test_the_time_that_an_endpoint_names_holds_for_all_requests() -> None:
    pace = Pace(8)
    pace.fail(1.0, 1.0, asked_s=20.0)
    assert pace.free(20.9) == 0
    assert pace.free(21.0) == 8
