"""Answers that may be given again: what two requests have in common, what may be kept, and how it is kept."""
