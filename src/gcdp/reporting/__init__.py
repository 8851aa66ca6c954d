"""Figures, tables and the summary, made from records."""
