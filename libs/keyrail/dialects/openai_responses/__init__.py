"""OpenAI's /v1/responses, without a memory: request, answer, stream and errors."""
