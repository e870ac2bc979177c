"""Anything to the one graph."""
