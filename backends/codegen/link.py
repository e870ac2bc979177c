"""From a program and its compiled kernels to NAME.h, libNAME.so and the manifest NAME.json."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from prunus.backends.codegen.constants import ConstantBlock, pack_constants
from prunus.backends.codegen.driver import write_driver
from prunus.backends.codegen.files import write_files
from prunus.backends.codegen.kernel import CompiledKernel
from prunus.backends.codegen.runtime import RUNTIME, runtime_objects
from prunus.backends.codegen.summary import summarize
from prunus.backends.codegen.toolchain import C_FLAGS, zig_cc, zig_target
from prunus.backends.plan.program import KernelSpec, Program
from prunus.errors import OutputError
from prunus.manifest import History, library_name, manifest_name


def build_library(
    program: Program,
    kernels: Mapping[KernelSpec, CompiledKernel],
    folder: Path,
    *,
    history: History | None = None,
) -> None:
    """Write `libNAME.so`, `NAME.h` and `NAME.json` into `folder`, made where it is missing.

    Equal programs and kernels give equal bytes. A failure leaves the folder's files as they were.

    Args:
        program: what the library does.
        kernels: the compiled kernel of each spec in `program.steps`.
        folder: where the files go; other files in it stay.
        history: what made the graph, for the manifest.

    Raises:
        BuildError: the compiler or the linker failed, or the name cannot stand in C.
        OutputError: `folder` cannot be written, or the disk is full.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="prunus-") as work:
            files = _build(program, kernels, Path(work), history or History())
    except OSError as error:
        raise OutputError(
            f"cannot write temporary files in {tempfile.gettempdir()}: {error.strerror or error}",
            do="free space there, or set TMPDIR to another folder",
        ) from error
    write_files(folder, files)


def write_sources(program: Program, kernels: Mapping[KernelSpec, CompiledKernel], folder: Path) -> ConstantBlock:
    """Write what a C compiler needs beside the runtime and the kernels.

    The files are NAME.h, driver.c, constants.S, which includes constants.bin, and exports.map for the linker.
    """
    constants = pack_constants(program)
    sources = write_driver(program, kernels, constants)
    (folder / "constants.bin").write_bytes(constants.data)
    (folder / f"{program.name}.h").write_text(sources.header)
    (folder / "driver.c").write_text(sources.driver)
    (folder / "constants.S").write_text(sources.constants)
    (folder / "exports.map").write_text(sources.exports)
    return constants


def _build(
    program: Program,
    kernels: Mapping[KernelSpec, CompiledKernel],
    work: Path,
    history: History,
) -> dict[str, bytes]:
    constants = write_sources(program, kernels, work)
    library = work / library_name(program.name)
    _link(program, kernels, library)
    header = work / f"{program.name}.h"
    files = {library.name: library.read_bytes(), header.name: header.read_bytes()}
    manifest = summarize(program, kernels, files, constants_bytes=len(constants.data), history=history)
    # The manifest comes last: what it vouches for is there.
    return {**files, manifest_name(program.name): manifest.to_json().encode()}


def _link(program: Program, kernels: Mapping[KernelSpec, CompiledKernel], library: Path) -> None:
    work = library.parent
    objects = {kernels[step.kernel].object_path: None for step in program.steps}
    system = zig_target(program.target)
    zig_cc(
        system,
        [
            *C_FLAGS,
            f"-ffile-prefix-map={work}=.",
            f"-I{RUNTIME}",
            f"-I{work}",
            "-shared",
            "-s",
            f"-Wl,--version-script={work / 'exports.map'}",
            f"-Wl,-soname,{library.name}",
            "-Wl,--build-id=none",
            "-Wl,--gc-sections",
            work / "driver.c",
            work / "constants.S",
            *runtime_objects(system),
            *objects,
            "-lm",
            "-lpthread",
            "-o",
            library,
        ],
        private_cache=work / "zig",
    )
