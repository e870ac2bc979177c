"""What each processor is: one TOML file a target, and the loader.

Code asks `target.has("dotprod")` or reads a number; it never compares names.
"""

from prunus.targets.target import Cache, Target, load_target, target_names

__all__ = ["Cache", "Target", "load_target", "target_names"]
