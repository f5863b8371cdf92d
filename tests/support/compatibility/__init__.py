"""docs/compatibility.md: every client face with every built-in provider, tried feature by feature."""
