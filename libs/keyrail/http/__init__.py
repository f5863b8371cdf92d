"""The doors to the outside over HTTP: upstream calls, the server runner."""
