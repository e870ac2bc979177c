"""Fixtures that all rooms share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# What Keras computes with, unless the environment says otherwise: it shares no kernel with PyTorch.
os.environ.setdefault("KERAS_BACKEND", "jax")

# Compilation takes seconds; `pytest --hypothesis-profile=deep` looks further than every run can.
_UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
settings.register_profile("ci", parent=_UNHURRIED, max_examples=25, derandomize=True, database=None)
settings.register_profile("deep", parent=_UNHURRIED, max_examples=1000, print_blob=True)
settings.load_profile("ci")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of trained models and data beside the checkout; tests that use it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of trained models beside the checkout is absent")
    return folder
