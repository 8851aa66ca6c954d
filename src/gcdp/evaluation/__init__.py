"""Measures of generated pairs; each module says which referee it needs."""
