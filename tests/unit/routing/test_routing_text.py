import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.routing.text import BUCKETS, MOST_FEATURES, PAGE, Features, features, unpack


@given(st.text(max_size=500))
def test_features_survive_packing(text: str) -> None:
    found = features(text)
    assert unpack(found.pack()) == found


@given(st.lists(st.sampled_from(["sum", "list", "court", "proof", "the"]), min_size=1))
def test_the_order_of_words_leaves_no_trace(words: list[str]) -> None:
    assert features(" ".join(words)) == features(" ".join(sorted(words)))


def test_another_process_finds_the_same_features() -> None:
    text = "Natalia sold 48 clips to her friends; how many did she sell altogether? 数学"
    program = f"from keyrail.routing.text import features; print(features({text!r}).pack())"
    heard = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert heard.stdout.strip() == features(text).pack()


def test_numbers_case_and_the_middle_of_a_long_prompt_do_not_count() -> None:
    assert features("Call 555 1234") == features("call 1 2")
    ends = ("first " * PAGE)[:PAGE], ("last " * PAGE)[-PAGE:]
    assert features(ends[0] + "secret" * PAGE + ends[1]) == features(ends[0] + "\n" + ends[1])


def test_a_prompt_has_a_bounded_number_of_features_and_long_ones_keep_the_same_words() -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [a + b + c for a in letters for b in letters[:8] for c in letters[:4]]
    one, other = features(" ".join(words)), features(" ".join([*words[1:], "unrelated"]))
    assert len(one.buckets) == len(other.buckets) == MOST_FEATURES
    assert len(set(one.buckets) & set(other.buckets)) >= MOST_FEATURES - 2


def test_a_key_changes_what_is_kept_of_the_same_prompt() -> None:
    text = "what is in this list of words and who can tell"
    keyed = features(text, key=b"one installation")
    assert keyed == features(text, key=b"one installation")
    assert len(set(keyed.buckets) & set(features(text).buckets)) <= 1


@pytest.mark.parametrize(
    "packed", ["AAA", "!!!!", "AAAA", Features((2, 1), (1, 1)).pack(), Features((BUCKETS,), (1,)).pack()]
)
def test_what_was_never_packed_is_refused(packed: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpack(packed)
