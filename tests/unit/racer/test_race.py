"""Races as a state machine: whatever comes, in whatever order."""

from __future__ import annotations

from decimal import Decimal

import pytest
from support.race_field import FIRST, FREE, HEAD, Field, failure, header, words

from keyrail.contracts.frames import CONTENT, End, Fail, Kind, Passed, Taken
from keyrail.contracts.slips import RACE_HOPS, Facts, Hold, Race, Spent
from keyrail_racer.extra import Bucket
from keyrail_racer.race import MOST_HELD


def test_the_first_content_wins_and_all_others_lose() -> None:
    race = Field(FIRST.replace(most=3)).take(0, 1, 2)
    race.content(1)
    assert race.standings() == {0: "lost", 1: "won", 2: "lost"}
    race.content(0, "no")
    race.content(1, "!")
    race.end(1)
    assert race.answer.startswith(words("hi") + words("!"))
    assert b"no" not in race.answer
    assert race.kinds == [Kind.TAKEN, Kind.HEAD, Kind.DATA, Kind.DATA, Kind.DATA, Kind.END]
    assert header(race.said, "x-keyrail-race") == "mode=first; winner=p/b; started=3"
    assert header(race.said, "x-keyrail-attempts") == "3"
    assert [over.outcome for over in race.over] == ["won"]


def test_what_is_no_content_wins_nothing() -> None:
    race = Field(FIRST).take(0, 1)
    race.hear(0, Kind.HEAD, HEAD)
    race.hear(0, Kind.DATA, b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n')
    assert race.told == []
    race.content(1)
    assert race.standings() == {0: "lost", 1: "won"}


def test_comments_of_the_first_that_runs_reach_the_client_before_there_is_a_winner() -> None:
    race = Field(FIRST).take(0, 1)
    for number in (1, 0, 1):
        race.hear(number, Kind.HEAD, HEAD)
        race.hear(number, Kind.DATA, b": keep-alive\n\n")
    assert race.answer == b": keep-alive\n\n"
    assert header(race.said, "x-keyrail-race") == "mode=first"
    race.hear(1, Kind.DATA, words("hi"), CONTENT)
    assert race.kinds.count(Kind.HEAD) == 1


def test_nobody_switches_after_the_first_content() -> None:
    race = Field(FIRST).take(0, 1)
    race.content(0)
    race.fail(0, cost="0.5")
    assert race.kinds[-1] == Kind.FAIL
    assert [over.outcome for over in race.over] == ["broken"]
    race.content(1)
    assert race.kinds[-1] == Kind.FAIL


def test_whoever_fails_is_replaced_by_the_next_target() -> None:
    race = Field(FIRST).take(0, 1)
    assert race.models == ["a", "b"]
    race.fail(0)
    assert race.models == ["a", "b", "c"]
    assert [start.slip.before for start in race.started] == [0, 1, 2]
    assert [start.slip.hop for start in race.started] == [0, RACE_HOPS, 2 * RACE_HOPS]


def test_what_the_caller_did_wrong_starts_nobody_and_is_what_the_client_hears() -> None:
    race = Field(FIRST).take(0, 1)
    race.fail(0, failure("bad_request"))
    race.fail(1, failure("rate", retry_after_s=1))
    assert race.models == ["a", "b"]
    told = race.said[-1].payload
    assert isinstance(told, Fail)
    assert told.failure.kind == "bad_request"
    assert [spent.attempt_id for spent in told.spent] == ["a0", "a1"]


def test_after_a_prompt_that_does_not_fit_only_larger_windows_are_tried() -> None:
    race = Field(FIRST.replace(most=1), windows=(8, 4, 16)).take(0)
    race.fail(0, failure("context"))
    assert race.models == ["a", "c"]


def test_of_equal_failures_the_one_that_passes_soonest_is_told() -> None:
    race = Field(FIRST, targets=2).take(0, 1)
    race.fail(0, failure("rate", retry_after_s=9))
    race.fail(1, failure("rate", retry_after_s=2))
    told = race.said[-1].payload
    assert isinstance(told, Fail)
    assert told.failure.retry_after_s == 2


def test_a_hedge_starts_after_its_delay_or_at_once_when_one_fails() -> None:
    rule = Race(mode="hedge", delays_s=(0.5, 0.2), most_usd=FREE)
    race = Field(rule).take(0)
    assert race.racing.next_at() == 100.5
    race.wait(0.4)
    assert race.models == ["a"]
    race.wait(0.1)
    assert race.models == ["a", "b"]
    assert [start.slip.role for start in race.started] == ["race", "hedge"]
    race.wait(1)
    assert race.models == ["a", "b"], "two run at most"
    race.take(1).fail(0)
    assert race.models == ["a", "b", "c"]


def test_a_whole_answer_that_holds_wins_over_one_that_was_there_before_it() -> None:
    facts = Facts(model="r", stream=True, json_schema=True)
    race = Field(Race(mode="first_complete", most_usd=FREE), targets=2, facts=facts).take(0, 1)
    race.content(0, "words")
    race.end(0)
    assert race.told == []
    race.content(1, "[]")
    race.end(1)
    assert race.standings() == {0: "lost", 1: "won"}


def test_where_no_answer_holds_the_least_bad_is_given() -> None:
    race = Field(Race(mode="first_complete", most_usd=FREE), targets=3).take(0, 1)
    race.content(0)
    race.end(0, finish="content_filter")
    race.content(1)
    race.end(1, finish="length")
    assert race.standings() == {0: "lost", 1: "won"}


def test_a_failure_wins_nothing_while_an_answer_may_come() -> None:
    race = Field(Race(mode="first_complete", most_usd=FREE), targets=2).take(0, 1)
    race.fail(0)
    race.content(1)
    race.end(1)
    assert race.kinds[-1] == Kind.END


@pytest.mark.parametrize(
    ("texts", "winner"),
    [(("Yes.", "no", " yes "), 0), (("no", "yes", "Yes!"), 1), (("x", "y", "z"), 0)],
)
def test_the_best_is_what_most_say_and_else_what_the_plan_prefers(
    texts: tuple[str, ...], winner: int
) -> None:
    race = Field(Race(mode="best", most=3, most_usd=FREE)).take(0, 1, 2)
    for number in (2, 1, 0):
        race.content(number, texts[number])
        race.end(number)
    assert [number for number, standing in race.standings().items() if standing == "won"] == [winner]


def test_the_best_of_what_is_there_when_time_is_over() -> None:
    race = Field(Race(mode="best", most=2, within_s=5, most_usd=FREE)).take(0, 1)
    race.wait(5)
    assert race.told == [], "nobody has answered"
    race.content(1)
    race.end(1)
    assert race.standings() == {0: "lost", 1: "won"}


def test_an_answer_too_large_to_be_held_is_out_unless_it_is_the_last() -> None:
    race = Field(Race(mode="first_complete", most_usd=FREE), targets=2).take(0, 1)
    race.content(0, "x" * MOST_HELD)
    assert race.standings() == {0: "lost"}
    race.content(1, "y" * MOST_HELD)
    assert race.standings() == {0: "lost", 1: "won"}
    assert race.room.used == 0


def test_a_contender_whose_worker_is_gone_may_start_once_more() -> None:
    race = Field(FIRST, targets=2).take(0, 1)
    for _ in range(2):
        race.racing.lose(len(race.started) - 2, failure("unavailable"), race.now, 0)
        race.racing.lose(len(race.started) - 1, failure("unavailable"), race.now, 0)
        race._look()  # pyright: ignore[reportPrivateUsage]
    assert sorted(race.models) == ["a", "a", "b", "b"]
    assert race.kinds[-1] == Kind.FAIL


def test_a_refused_key_is_tried_again_within_the_same_contender() -> None:
    hold = Hold(router="r", usd=Decimal(9), most=(Decimal(1),) * 3)
    race = Field(FIRST, hold=hold).take(0, 1)
    spent = Spent(attempt_id="a", provider="p", model="a", failure=failure("rate"), cost_usd=Decimal(0))
    race.hear(0, Kind.PASSED, Passed(spent=spent, take_by_ms=5))
    race.hear(0, Kind.TAKEN, Taken(worker="w", attempt_id="b", provider="p", model="a"), retry=1)
    race.hear(0, Kind.HEAD, HEAD, retry=1)
    race.hear(0, Kind.DATA, words("hi"), CONTENT, retry=1)
    race.hear(0, Kind.END, End(cost_usd=Decimal(1)), retry=1)
    race.fail(1, failure("cancelled"), cost="0")
    assert header(race.said, "x-keyrail-attempts") == "3"
    assert [tell.told.attempts for tell in race.routers] == [4], "three attempts and this word"


def test_a_loser_that_is_taken_only_after_the_race_is_stopped_then() -> None:
    race = Field(FIRST).take(0)
    race.content(0)
    race.take(1)
    assert race.standings() == {0: "won", 1: "lost"}


def test_nothing_starts_that_the_hold_does_not_pay_for() -> None:
    hold = Hold(router="r", usd=Decimal(3), most=(Decimal(2), Decimal(2), Decimal(1)))
    race = Field(Race(mode="first", most=3, most_usd=FREE), hold=hold)
    assert race.models == ["a"]
    race.take(0).fail(0, cost="0")
    assert race.models == ["a", "b", "c"], "two and one of three"
    assert race.started[1].slip.hold == hold.replace(usd=Decimal(2), most=(Decimal(2),))


def test_losers_are_paid_by_a_share_of_what_was_served() -> None:
    bucket = Bucket()
    rule = Race(mode="first", most_usd=(Decimal(3), Decimal(2), Decimal(2)))
    assert Field(rule, bucket=bucket).models == ["a"]
    bucket.earn(Decimal(3), 100.0)
    race = Field(rule, bucket=bucket).take(0, 1)
    assert race.models == ["a", "b"]
    assert bucket.balance == 0, "the dearer one may lose"
    assert Field(rule, bucket=bucket).models == ["a"]
    race.content(0)
    assert bucket.balance == 1, "the cheaper one has lost"
    race.fail(1, failure("cancelled"), cost="0.5")
    assert bucket.balance == Decimal("2.5")


@pytest.mark.parametrize("most", [(), (Decimal(0), None)])
def test_of_unknown_cost_nobody_races(most: tuple[Decimal | None, ...]) -> None:
    assert Field(Race(mode="first", most_usd=most), targets=2).models == ["a"]


def test_when_the_client_leaves_all_are_stopped_and_the_router_hears_the_number() -> None:
    hold = Hold(router="r", usd=Decimal(0), most=FREE[:3])
    race = Field(FIRST, hold=hold).take(0)
    race.racing.stop("client gone")
    race._look()  # pyright: ignore[reportPrivateUsage]
    race.take(1)
    assert [(tell.worker, tell.cancel.standing) for tell in race.told] == [("w0", None), ("w1", None)]
    race.fail(0, failure("cancelled"))
    assert race.routers == []
    race.fail(1, failure("cancelled"))
    assert race.racing.done
    assert [tell.told.attempts for tell in race.routers] == [3]
    assert race.kinds == [Kind.TAKEN], "nobody is told anything"
