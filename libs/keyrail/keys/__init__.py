"""Provider keys and virtual keys."""
