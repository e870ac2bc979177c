"""Operators of the `prunus` namespace: their reference implementations are what kernels must compute."""
