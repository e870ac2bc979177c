"""TIR functions to object files through TVM's LLVM, without TVM's runtime."""

from pathlib import Path
from typing import Any

from prunus.backends.kernels.tir import tvm
from prunus.targets import Target


def llvm_target(target: Target) -> Any:
    """Return TVM's description of a target."""
    description: dict[str, Any] = {
        "kind": "llvm",
        "mtriple": target.triple,
        "mcpu": target.cpu,
        "mattr": list(target.attributes),
        # Emitters unroll what is worth it. Level 3 and loops of few but unknown rounds make a third more code and no
        # speed.
        "opt-level": 2,
        "cl-opt": ["-unroll-max-upperbound:uint=0"],
    }
    if target.float_abi:
        description["mfloat-abi"] = target.float_abi
    return tvm.target.Target(description)


def compile_function(function: Any, symbol: str, target: Target) -> Any:
    """Compile one TIR function of raw pointers to a module with one C symbol.

    TVM's packed interface (`MakePackedAPI`) is left out, so nothing of its runtime is called.
    """
    machine = llvm_target(target)
    t = tvm.tirx.transform
    # No `StmtSimplify`: it writes named values back into every use, which makes chains of `x * sigmoid(x)` grow without
    # bound, and takes floats for real numbers. Emitters write indices of flat buffers, and LLVM folds what is left.
    # TVM's own functions count in 64 bits.
    narrow = [t.NarrowDataType(32)] if target.index_dtype == "int32" else []
    passes = [
        t.BindTarget(tvm.target.Target(machine, host=machine)), *narrow, t.VectorizeLoop(True), t.UnrollLoop(),
        t.LowerIntrin(),
    ]  # fmt: skip
    module = tvm.IRModule({symbol: function.with_attr("global_symbol", symbol)})
    lowered = tvm.ir.transform.Sequential(passes)(module)
    return tvm.get_global_func("target.build.llvm")(lowered, machine)


def write_object(function: Any, symbol: str, target: Target, path: Path) -> None:
    """Compile a TIR function and write its object file."""
    compile_function(function, symbol, target).write_to_file(str(path), "o")


def assembly(function: Any, target: Target) -> str:
    """Return the assembly of a TIR function: read it."""
    return str(compile_function(function, "kernel", target).inspect_source("asm"))
