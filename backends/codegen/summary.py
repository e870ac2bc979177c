"""What the manifest says about a library that was just built."""

import hashlib
import math
from collections.abc import Mapping

import numpy as np

from prunus.backends.codegen.kernel import CompiledKernel
from prunus.backends.codegen.objects import code_bytes
from prunus.backends.codegen.toolchain import zig_target
from prunus.backends.plan.flow import Flow, trace
from prunus.backends.plan.program import KernelSpec, Program, Step, Storage, Tensor, View
from prunus.manifest import History, Manifest, StepRecord, TensorRecord, library_name, prunus_version


def summarize(
    program: Program,
    kernels: Mapping[KernelSpec, CompiledKernel],
    files: Mapping[str, bytes],
    *,
    constants_bytes: int,
    history: History,
) -> Manifest:
    """Return the manifest of `files`, the finished library among them."""
    target = program.target
    return Manifest(
        prunus_version=prunus_version(),
        name=program.name,
        target=target.name,
        title=target.title,
        triple=target.triple,
        system=zig_target(target),
        features=tuple(sorted(target.features)),
        runner=target.runner,
        inputs=tuple(_tensor(tensor) for tensor in program.inputs),
        outputs=tuple(_tensor(tensor) for tensor in program.outputs),
        max_threads=program.max_threads,
        arena_bytes=program.arena.size_bytes,
        arena_bound_bytes=program.arena.bound_bytes,
        constants_bytes=constants_bytes,
        code_bytes=len(files[library_name(program.name)]) - constants_bytes,
        passes=history.passes,
        compression=history.compression,
        layers=history.layers,
        steps=tuple(
            _step(step, kernels[step.kernel], flow) for step, flow in zip(program.steps, trace(program), strict=True)
        ),
        files={name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    )


def _tensor(tensor: Tensor) -> TensorRecord:
    return TensorRecord(tensor.name, tensor.dtype, tensor.shape)


def _step(step: Step, kernel: CompiledKernel, flow: Flow) -> StepRecord:
    constants = {view.buffer for view in step.arguments if view.buffer.storage == Storage.CONSTANT}
    moved = {view for view in step.arguments if view.buffer.storage != Storage.CONSTANT}
    return StepRecord(
        kernel=kernel.symbol,
        family=step.kernel.family,
        nodes=step.nodes,
        operators=step.operators,
        after=flow.after,
        reads=flow.reads,
        writes=flow.writes,
        units=step.units,
        macs=step.macs,
        code_bytes=code_bytes(kernel.object_path),
        constants_bytes=sum(buffer.size_bytes for buffer in constants),
        moved_bytes=sum(_view_bytes(view) for view in moved),
        cost_cycles=float(step.cost_cycles),
        tuned=step.tuned,
    )


def _view_bytes(view: View) -> int:
    return math.prod(view.shape) * np.dtype(view.buffer.dtype).itemsize
