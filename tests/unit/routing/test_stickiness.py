from keyrail.routing.stickiness import Stickiness


def test_a_conversation_is_known_until_it_was_silent_for_too_long() -> None:
    known = Stickiness()
    known.note("acme", "chat", "c1", "a/m", 1_000)
    assert known.find("acme", "chat", "c1", 999) == "a/m"
    assert known.find("acme", "chat", "c1", 1_000) is None
    known.note("acme", "chat", "c1", "b/m", 3_000)
    assert known.find("acme", "chat", "c1", 2_000) == "b/m"


def test_tenants_and_routes_are_apart() -> None:
    known = Stickiness()
    known.note("acme", "chat", "c1", "a/m", 1_000)
    assert known.find("other", "chat", "c1", 0) is None
    assert known.find("acme", "code", "c1", 0) is None


def test_the_one_that_was_silent_longest_is_forgotten_first() -> None:
    known = Stickiness(most=2)
    for name in ("c1", "c2", "c1", "c3"):
        known.note("acme", "chat", name, "a/m", 1_000)
    assert [known.find("acme", "chat", name, 0) for name in ("c1", "c2", "c3")] == ["a/m", None, "a/m"]
    assert len(known) == 2
