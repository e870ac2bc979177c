"""Graph to shared library."""
