"""What smart routing is worth, measured offline on recorded answers: `make eval-routing`."""
