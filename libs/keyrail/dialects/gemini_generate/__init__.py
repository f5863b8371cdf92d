"""Google's generateContent, streamGenerateContent and batchEmbedContents, as a provider speaks them."""
