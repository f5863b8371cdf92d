"""`keyrail prices`, `reprice` and `whatif` against an API of the test's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.admin import Admin

from keyrail_cli import slices
from keyrail_cli.main import main

NAMES = (
    "input",
    "output",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "audio_input",
    "audio_output",
    "searches",
)


def model(name: str, **changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "provider": "p", "model": name, "attempts": 2, "changed": 1, "newly_known": 1, "newly_unknown": 0,
        "stuck": 0, "old_usd": "0.10", "new_usd": "0.3",
    }  # fmt: skip
    return row | changes


def slice_(*models: dict[str, object], cursor: str | None = None, **more: object) -> dict[str, object]:
    return {
        "since": "2026-11-01T00:00:00Z", "until": "2026-11-02T00:00:00Z", "revision": 7, "catalogue": "0.2",
        "digest": "d1" if models else "", "written": None, "context": None, "models": list(models),
        "cursor": cursor,
    } | more  # fmt: skip


@pytest.fixture
def api(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Answers of `POST /v1/reprice`, in order."""
    answers: list[dict[str, object]] = []
    from_table = admin.answer

    def answer(request: object) -> object:
        admin.on("POST /v1/reprice", answers.pop(0))
        return from_table(request)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(admin, "answer", answer)
    return answers


def test_what_is_shown_is_added_up_and_written_as_it_was_shown(
    admin: Admin, api: list[dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    api += [
        slice_(model("a"), cursor="c1"),
        slice_(model("a", changed=0), model("b", old_usd="5"), cursor="c2", digest="d2"),
        slice_(),
        slice_(written=1),
        slice_(written=1),
    ]
    assert main(["reprice", "--since", "2d", "--yes"]) == 0
    bodies = [body for _, body in admin.asked]
    assert bodies[0] == {"since": "2d"}
    assert bodies[1] == {"since": "2026-11-01T00:00:00Z", "until": "2026-11-02T00:00:00Z", "cursor": "c1"}
    fixed = {"since": "2026-11-01T00:00:00Z", "until": "2026-11-02T00:00:00Z", "write": True}
    assert bodies[3:] == [
        fixed | {"to": "c1", "digest": "d1"},
        fixed | {"cursor": "c1", "to": "c2", "digest": "d2"},
    ]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:4]] == [
        ["p", "b", "2", "1", "5.00", "0.30", "-4.70", "1", "0"],
        ["p", "a", "4", "1", "0.20", "0.60", "+0.40", "2", "0"],
        ["total", "6", "2", "5.20", "0.90", "-4.30", "3", "0"],
    ]
    assert lines[-1] == "2 attempts have their new price"


def test_without_a_terminal_nothing_is_written_unasked(
    admin: Admin,
    api: list[dict[str, object]],
    piped: Callable[[bytes], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    piped(b"y\n")
    api += [slice_(model("a"), cursor="c1"), slice_()]
    assert main(["reprice", "--since", "2d"]) == 1
    assert "say --yes" in capsys.readouterr().err
    api += [slice_(model("a"), cursor="c1"), slice_()]
    assert main(["reprice", "--since", "2d", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == 0
    assert not any(body.get("write") for _, body in admin.asked)


@pytest.mark.parametrize(("said", "writes"), [("y", True), ("", False), ("no", False)])
def test_it_is_written_when_a_person_says_yes(
    api: list[dict[str, object]],
    typed: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    writes: bool,
) -> None:
    typed()
    prompts: list[str] = []

    def answer(prompt: str) -> str:
        prompts.append(prompt)
        return said

    monkeypatch.setattr("builtins.input", answer)
    api += [slice_(model("a"), cursor="c1"), slice_(), slice_(written=1)]
    assert main(["reprice", "--since", "2d"]) == (0 if writes else 1)
    assert prompts == ["write new prices of 1 attempts (+0.20 USD)? [y/N] "]
    assert len(api) == (0 if writes else 1)


def test_nothing_to_do_is_said(api: list[dict[str, object]], capsys: pytest.CaptureFixture[str]) -> None:
    api += [slice_()]
    assert main(["reprice", "--since", "2d", "--yes"]) == 0
    assert capsys.readouterr().out == "there are no attempts to price again\n"


@pytest.mark.parametrize(
    ("amount", "text"), [("0", "0.00"), ("1.5", "1.50"), ("0.000120000", "0.00012"), ("-3", "-3.00")]
)
def test_amounts_lose_no_digit_that_counts(amount: str, text: str) -> None:
    assert slices.short(amount) == text


def test_what_if_tells_its_limits(admin: Admin, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sums: dict[str, object] = {
        "provider": "p", "model": "m", "attempts": 3, "compared": 2, "unknown_actual": 1,
        "unknown_what_if": 0, "estimated": 1, "input_tokens": 10, "output_tokens": 5,
        "actual_usd": "1", "what_if_usd": "0.5",
        "no_cache_usd": "0.75", "searches": 2, "too_long": 1,
    }  # fmt: skip
    pages = [slice_(sums, cursor="c", context=1000), slice_()]
    table = admin.answer
    admin.answer = lambda request: (admin.on("POST /v1/whatif", pages.pop(0)), table(request))[1]
    assert main(["whatif", "--model", "groq/x/y", "--since", "7d"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[1].split() == [
        "p",
        "m",
        "3",
        "10",
        "5",
        "2",
        "1.00",
        "0.50",
        "-0.50",
        "0.75",
        "1",
        "0",
    ]
    for part in (
        "1 attempts have estimated",
        "other tokens",
        "(2 attempts)",
        "1 attempts are longer than the 1000",
    ):
        assert part in said
    assert main(["whatif", "--since", "7d"]) == 1
    assert "say --model, --contract" in capsys.readouterr().err
    assert main(["whatif", "--contract", str(tmp_path / "none.yaml"), "--since", "7d"]) == 1


def test_prices_are_listed_by_the_size_of_the_prompt(
    admin: Admin, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = dict.fromkeys(NAMES) | {"input": "2.5", "output": "15"}
    row = {"provider": "openai", "model": "gpt", "source": "catalogue", "version": "0.2", **rates}
    row["tiers"] = [{"above_tokens": 272000, **rates, "input": "5"}]
    admin.rows("/v1/prices?provider=openai", row)
    assert main(["prices", "list", "openai"]) == 0
    first, second = (line.split() for line in capsys.readouterr().out.splitlines()[1:])
    assert first == ["openai", "gpt", "2.5", "15", "catalogue", "0.2"]
    assert second == ["openai", "gpt", "5", "15", "above", "272000", "catalogue", "0.2"]


def test_a_price_is_sent_as_it_was_written(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    admin.on("POST /v1/prices", {"revision": 8, "changed": True, "diff": "+m"})
    text = "prices set p/x/y:free --input 0.10 --output 1e1 --cache-read 0 --from 2026-12-01"
    assert main(text.split()) == 0
    assert admin.asked[0][1] == {
        "provider": "p", "model": "x/y:free", "input": "0.10", "output": "10", "cache_read": "0",
        "from": "2026-12-01", "dry_run": False,
    }  # fmt: skip
    assert "config show > keyrail.yaml" in capsys.readouterr().out
    admin.refuse("POST /v1/prices", "bad", 400, problems=[{"line": 3, "message": "no"}])
    assert main(text.split()) == 1
    assert capsys.readouterr().err == "keyrail: the text would not be right:\nline 3: no\n"


@pytest.mark.parametrize(
    "text", ["prices set p/m --input -1 --output 1", "prices set p --input 1 --output 1", "prices list p/",
             "prices set p/m --input 1", "prices set p/m --input NaN --output 1", "reprice",
             "prices history p"],
)  # fmt: skip
def test_what_makes_no_sense_is_not_sent(text: str, admin: Admin) -> None:
    with pytest.raises(SystemExit) as left:
        main(text.split())
    assert left.value.code == 2
    assert admin.asked == []
