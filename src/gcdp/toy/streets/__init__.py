"""Street scenes drawn by program."""
