from keyrail.dialects.openai_responses import face, wire
from keyrail.dialects.protocols import Face, Wire

FACE: Face = face
WIRE: Wire = wire


def test_both_halves_have_all_that_their_protocols_name() -> None:
    for module, protocol in ((FACE, Face), (WIRE, Wire)):
        names = [name for name in dir(protocol) if not name.startswith("_")]
        assert names
        assert all(callable(getattr(module, name)) for name in names)
