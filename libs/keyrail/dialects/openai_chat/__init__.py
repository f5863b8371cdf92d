"""OpenAI's /v1/chat/completions: request, answer, stream and errors."""
