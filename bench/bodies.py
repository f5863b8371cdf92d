"""What is asked: a chat request of about one kilobyte."""

from __future__ import annotations

import json

_PROMPT = "Tell me how a message finds its way through a railway junction, and who pays for the track. " * 8


def chat_body(model: str, *, stream: bool = False, paced: bool = False) -> str:
    """The request's JSON. `paced` puts the word into the prompt that slows the mock's stream down."""
    prompt = _PROMPT + ("Answer paced." if paced else "Answer.")
    messages = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": prompt}]
    body: dict[str, object] = {"model": model, "messages": messages, "temperature": 0.2}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(body, separators=(",", ":"))
