"""What is computed again, and which part of a range is read from which sums."""

from __future__ import annotations

import itertools
import random

from keyrail_cost_accounting.costs import pieces
from keyrail_cost_accounting.rollups import DAY, HOUR, MINUTE, RAW_FOR_S, Work, floor, plan, statements

NOW = 1_800_000_000
TODAY = floor(NOW, DAY)


def test_a_recent_minute_dirties_its_hour_and_its_day() -> None:
    hour = floor(NOW, HOUR)

    assert plan([hour, hour + 60], NOW) == Work((hour, hour + 60), (), (hour,), (TODAY,))


def test_an_old_minute_dirties_its_whole_hour() -> None:
    old = TODAY - 30 * DAY + 5 * HOUR

    assert plan([old + 60, old + 120, old + HOUR], NOW) == Work(
        (), (old, old + HOUR), (), (TODAY - 30 * DAY,)
    )


def test_an_hour_is_computed_from_minutes_or_from_rows_never_both() -> None:
    around = list(range(floor(NOW - 7 * DAY, HOUR) - HOUR, NOW - 7 * DAY + HOUR, MINUTE))

    work = plan(around, NOW)

    assert work.hours
    assert work.raw_hours
    assert not set(work.hours) & set(work.raw_hours)
    assert {floor(minute, HOUR) for minute in work.minutes} == set(work.hours)


def test_what_attempts_are_not_kept_for_is_not_computed_again() -> None:
    kept = floor(NOW - RAW_FOR_S, DAY)

    assert plan([kept - MINUTE], NOW) == Work((), (), (), ())
    assert plan([kept], NOW).raw_hours == (kept,)


def test_one_statement_computes_a_bounded_part() -> None:
    minutes = list(range(NOW - NOW % 60 - 200 * MINUTE, NOW, MINUTE))
    old = [TODAY - (20 + day) * DAY + hour * HOUR for day in range(10) for hour in range(24)]

    todo = list(statements(plan(minutes + old, NOW)))

    tables = [statement.sql.split()[2] for statement in todo]
    assert tables == ["costs_minute"] * 2 + ["costs_hour"] * 10 + ["costs_hour", "costs_day"]
    assert all(len(str(statement.parameters["buckets"])) < 8_000 for statement in todo), (
        "they are part of a URL"
    )


def test_every_moment_of_a_range_is_in_exactly_one_piece() -> None:
    chance = random.Random(3)
    for _ in range(300):
        since = NOW * 1000 - chance.randrange(1, chance.choice((90_000, 10**7, 10**9)))
        until = since + chance.randrange(1, chance.choice((90_000, 10**7, 10**9)))
        cut = pieces(since, until)
        edges = [(since, cut.minutes[0] * 1000), (cut.minutes[1] * 1000, until)]
        edges += [(cut.minutes[0] * 1000, cut.hours[0] * 1000), (cut.hours[1] * 1000, cut.minutes[1] * 1000)]
        edges += [(cut.hours[0] * 1000, cut.days[0] * 1000), (cut.days[1] * 1000, cut.hours[1] * 1000)]
        edges.append((cut.days[0] * 1000, cut.days[1] * 1000))
        if cut.minutes[0] == cut.minutes[1]:  # less than a minute, or about one: rows alone
            continue
        parts = sorted((start, end) for start, end in edges if start != end)
        assert all(start < end for start, end in parts)
        assert (parts[0][0], parts[-1][1]) == (since, until)
        assert all(before[1] == after[0] for before, after in itertools.pairwise(parts))
        for (start, end), seconds in ((cut.minutes, MINUTE), (cut.hours, HOUR), (cut.days, DAY)):
            assert start % seconds == 0 or start == end
            assert end % seconds == 0 or start == end


def test_a_range_that_is_grouped_by_hour_is_read_from_no_day() -> None:
    whole = pieces(0, TODAY * 1000)
    by_hour = pieces(0, TODAY * 1000, HOUR)
    by_minute = pieces(0, TODAY * 1000, MINUTE)

    assert whole.days == (0, TODAY)
    assert (by_hour.hours, by_hour.days) == ((0, TODAY), (TODAY, TODAY))
    assert (by_minute.minutes, by_minute.hours) == ((0, TODAY), (TODAY, TODAY))
