"""Who is called, where, with which key: one small file for each provider."""
