"""Structured pruning: whole channels, heads and hidden units leave the graph."""
