"""Anything to the one graph."""

from prunus.frontend.importer import import_model

__all__ = ["import_model"]
