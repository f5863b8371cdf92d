import os
import subprocess
import sys

import pytest

from bench import cpu
from bench.cpu import Process, ProcessGoneError, Stat, difference, parse_pss, parse_stat, tree

LINE = (
    "4242 (uv (x) y) S 17 4242 4242 0 -1 4194560 9001 12 0 0 731 269 5 6 20 0 9 0 133700 1 2 3 "
    "184 1 1 0 0 0 0 0 4096 1 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0"
)
ROLLUP = "55d0-7ffc ---p 00000000 00:00 0    [rollup]\nRss:   50000 kB\nPss:   12345 kB\nPss_Dirty:   7 kB\n"


def test_a_stat_line_is_read_past_blanks_and_brackets_in_the_command() -> None:
    assert parse_stat(LINE) == Stat(parent=17, ticks=1_000)


def test_pss_is_read_in_bytes_and_not_mistaken_for_its_parts() -> None:
    assert parse_pss(ROLLUP) == 12_345 * 1024


def test_a_rollup_without_pss_is_an_error_and_not_zero() -> None:
    with pytest.raises(ValueError, match="no Pss"):
        parse_pss("Rss: 1 kB\n")


def test_processes_of_one_service_are_added_up() -> None:
    me = os.getpid()
    once, twice = cpu.pss_bytes([Process("a", me)]), cpu.pss_bytes([Process("a", me), Process("a", me)])
    assert once["a"] > 1_000_000
    assert twice["a"] > 1.8 * once["a"]


def test_cpu_time_grows_by_what_was_used() -> None:
    me = [Process("me", os.getpid())]
    before, began = cpu.cpu_us(me), os.times()
    while (now := os.times()).user + now.system < began.user + began.system + 0.1:
        pass
    assert difference(cpu.cpu_us(me), before)["me"] == pytest.approx(100_000, abs=30_000)


def test_a_tree_has_the_process_and_its_descendants_until_it_is_gone() -> None:
    # The shell starts one more, says its id and waits for it.
    with subprocess.Popen(
        ["sh", "-c", "sleep 30 & echo $!; wait"], stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout is not None
        grandchild = int(shell.stdout.readline())
        assert tree(shell.pid) == [shell.pid, grandchild]
        assert {shell.pid, grandchild} < set(tree(os.getpid()))
        os.kill(grandchild, 15)
    with pytest.raises(ProcessGoneError):
        tree(shell.pid)


def test_reading_a_process_that_ended_is_an_error() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as ended:
        ended.wait()
    with pytest.raises(ProcessGoneError):
        cpu.cpu_us([Process("ended", ended.pid)])


def test_a_difference_over_other_services_is_refused() -> None:
    assert difference({"a": 5}, {"a": 2}) == {"a": 3}
    with pytest.raises(ProcessGoneError, match="services changed"):
        difference({"a": 5}, {"a": 2, "b": 1})
