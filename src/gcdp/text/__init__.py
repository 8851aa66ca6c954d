"""Frozen text encoders and their cached token states."""
