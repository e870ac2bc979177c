"""The record of one processor and the loader of its TOML file."""

import dataclasses
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from prunus.errors import TargetError, did_you_mean


@dataclass(frozen=True)
class Cache:
    """Bytes of each cache level that one core sees."""

    l1_bytes: int
    l2_bytes: int
    l3_bytes: int = 0


@dataclass(frozen=True)
class Target:
    """One processor, with the facts that kernels and knobs follow from.

    Attributes:
        name: name of the TOML file, "rpi4".
        title: what a person calls it, "Raspberry Pi 4 (Cortex-A72)".
        triple: LLVM target triple.
        cpu: LLVM's name of the core.
        attributes: LLVM feature switches, "+neon".
        features: features that the library checks before it runs; `has` asks for one.
        cores: cores that a thread pool may use.
        clock_mhz: typical clock, for estimates only.
        vector_bits: width of the widest vector registers that kernels use.
        vector_registers: number of those registers.
        fma_per_cycle: float32 fused multiply-adds that one core starts in a cycle.
        load_bits: widest vector load that issues beside arithmetic.
        cache: cache bytes.
        glibc: highest glibc version that a library may ask for.
        link_triple: target triple of the linker, without the glibc version.
        link_cpu: name of the core in the linker's compiler.
        runner: command in front of programs of this target, empty where they run natively.
        float_abi: "hard" for 32-bit ARM, else empty.
    """

    name: str
    title: str
    triple: str
    cpu: str
    attributes: tuple[str, ...]
    features: frozenset[str]
    cores: int
    clock_mhz: int
    vector_bits: int
    vector_registers: int
    fma_per_cycle: int
    load_bits: int
    cache: Cache
    glibc: str
    link_triple: str
    link_cpu: str
    runner: tuple[str, ...]
    float_abi: str = ""

    def has(self, feature: str) -> bool:
        """Tell whether kernels may use `feature`."""
        return feature in self.features

    @property
    def architecture(self) -> str:
        """First part of the triple: "x86_64", "aarch64" or "arm"."""
        return self.link_triple.split("-")[0]

    @property
    def index_dtype(self) -> str:
        """An integer as wide as an address."""
        return "int32" if self.architecture == "arm" else "int64"

    def lanes(self, dtype_bits: int = 32) -> int:
        """Lanes of one vector register for elements of `dtype_bits` bits."""
        return self.vector_bits // dtype_bits


def target_names() -> list[str]:
    """Return the names of all targets: "native" and one for each TOML file."""
    files = resources.files("prunus.targets").iterdir()
    return ["native", *sorted(file.name[:-5] for file in files if file.name.endswith(".toml"))]


def load_target(target: "str | Path | Target") -> Target:
    """Return the record of a target.

    Args:
        target: a name from `target_names`, a path of a TOML file of your own, or a record as it is.

    Raises:
        TargetError: unknown name (near names are suggested) or a bad file.
    """
    if isinstance(target, Target):
        return target
    if isinstance(target, Path) or target.endswith(".toml"):
        return _parse(Path(target).stem, _read(Path(target)))
    if target == "native":
        from prunus.targets.host import native_target

        return native_target()
    if target not in target_names():
        raise TargetError(f"unknown target {target!r}", do=did_you_mean(target, target_names()))
    return _parse(target, (resources.files("prunus.targets") / f"{target}.toml").read_text())


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(
            f"the target file {path} cannot be read: {error}",
            do="check the path, or name a target from `prunus targets`",
        ) from error


def _parse(name: str, text: str) -> Target:
    try:
        table = tomllib.loads(text)
        return Target(
            name=name,
            attributes=tuple(table.pop("attributes")),
            features=frozenset(table.pop("features")),
            cache=Cache(**table.pop("cache")),
            runner=tuple(table.pop("runner")),
            **table,
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        fields = ", ".join(field.name for field in dataclasses.fields(Target))
        raise TargetError(f"target {name!r} has a bad description: {error}", expected=f"the fields {fields}") from error
