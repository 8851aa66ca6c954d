"""Faces drawn by program."""
