"""https://ai.google.dev/api/generate-content

Asked natively: the OpenAI-compatible layer of this provider leaves thoughts out of its counts. The key
travels in
a header, never in the URL.
"""

from keyrail.providers.base import Provider

PROVIDER = Provider(
    name="gemini",
    base_url="https://generativelanguage.googleapis.com/v1beta",
    dialect="gemini-generate",
    auth="x-goog-api-key",
    env=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    owns=(r"gemini-", r"gemma-", r"learnlm-"),
    cancelled="bills-whole",
)
