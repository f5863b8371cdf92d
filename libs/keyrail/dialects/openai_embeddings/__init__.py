"""OpenAI's /v1/embeddings: request and answer. Errors are those of its chat completions."""
