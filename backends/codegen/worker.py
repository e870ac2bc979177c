"""A process that compiles kernels: reads tasks from its standard input, answers on its standard output."""

import os
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any, BinaryIO

from prunus.backends.codegen.lower import write_object
from prunus.backends.kernels import by_name
from prunus.backends.kernels.tir import tvm


def main() -> None:
    """Answer None once TVM is loaded, then None for each kernel that was written, else the reason as text."""
    # Whatever libraries print goes to the error stream: the answers have the output for themselves.
    answers: BinaryIO = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _ = tvm.IRModule
    answer = None
    while True:
        pickle.dump(answer, answers)
        answers.flush()
        try:
            task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer = _compile(*task)


def _compile(spec: Any, symbol: str, path: str, target: Any) -> str | None:
    try:
        function = by_name(spec.family).emit(spec.problem, spec.knob, target)
        final = Path(path)
        final.parent.mkdir(parents=True, exist_ok=True)
        # Two builds may compile the same kernel at once: each writes its own file, the rename is atomic.
        partial = final.with_name(f"{final.stem}.{os.getpid()}.o")
        write_object(function, symbol, target, partial)
        partial.replace(final)
    except Exception:
        return traceback.format_exc()
    return None


if __name__ == "__main__":
    main()
