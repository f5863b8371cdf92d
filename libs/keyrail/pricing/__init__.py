"""What a call cost. Pure."""
