"""Train what compression has damaged: without labels, from the original model."""

from prunus.passes.recovery.batches import Batches
from prunus.passes.recovery.batchnorm import recalibrate_batchnorm
from prunus.passes.recovery.distill import Distill, distill

__all__ = ["Batches", "Distill", "distill", "recalibrate_batchnorm"]
