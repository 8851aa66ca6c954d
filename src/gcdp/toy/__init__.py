"""Worlds drawn by program, in the file formats of the real datasets."""
