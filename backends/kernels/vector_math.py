"""Operations on vectors of lanes as TIR expressions: one table for every kernel.

The transcendental functions are polynomials of our own: TVM turns `exp` of a vector into one libm call a lane. Errors
are relative to float64, over the range where the result is a normal number. They are for float32; float64 calls libm
once a lane. `max` and `min` of a NaN and a number are one of the two, as the processor has it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from prunus.backends.kernels.tir import T, tvm

Vector = Any


def lane_dtype(dtype: str, lanes: int) -> str:
    """Return TVM's name of a vector type; `bool` is one bit in registers."""
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def splat(constant: float | int | bool, dtype: str, lanes: int) -> Vector:
    """Return a constant in every lane."""
    scalar = tvm.tirx.const(constant, dtype)
    return scalar if lanes == 1 else T.broadcast(scalar, lanes)


class Math:
    """Vector operations for one dtype and number of lanes."""

    def __init__(self, dtype: str, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes

    def __call__(self, constant: float) -> Vector:
        return splat(constant, self.dtype, self.lanes)

    def llvm(self, intrinsic: str, *arguments: Vector) -> Vector:
        """Call an intrinsic; one that is not marked pure keeps TVM from writing its value back into every use."""
        return T.call_llvm_intrin(lane_dtype(self.dtype, self.lanes), intrinsic, *arguments)

    def fma(self, a: Vector, b: Vector, c: Vector) -> Vector:
        """a * b + c, fused where the processor can."""
        return self.llvm("llvm.fmuladd", a, b, c)

    def polynomial(self, x: Vector, coefficients: Sequence[float]) -> Vector:
        """Horner's scheme, highest power first."""
        result = self(coefficients[0])
        for coefficient in coefficients[1:]:
            result = T.bind(self.fma(result, x, self(coefficient)))
        return result

    def to_int(self, x: Vector) -> Vector:
        return T.cast(x, lane_dtype("int32", self.lanes))

    def power_of_two(self, n: Vector) -> Vector:
        """2**n for int32 n in -126..127, put together from bits."""
        bits = T.shift_left(n + splat(127, "int32", self.lanes), splat(23, "int32", self.lanes))
        return T.reinterpret(lane_dtype("float32", self.lanes), bits)


def exp(x: Vector, m: Math) -> Vector:
    """exp with a relative error below 2e-7: range reduction by log 2 and the polynomial of Cephes' expf.

    Results below 1.2e-38 are 0, those above 3.4e38 infinity.
    """
    # In this order NaN passes the clamp.
    clamped = T.bind(T.min(m(88.7228317), T.max(m(-87.336544), x)))
    n = T.bind(m.llvm("llvm.floor", m.fma(clamped, m(1.44269504088896341), m(0.5))))
    r = T.bind(m.fma(n, m(-0.693359375), clamped))
    r = T.bind(m.fma(n, m(2.12194440e-4), r))
    tail = m.polynomial(r, [1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5])
    value = T.bind(m.fma(tail, T.bind(r * r), r + m(1)))
    # 2**128 is no float32: the last doubling is a multiplication.
    exponent = T.bind(T.min(n, m(127)))
    result = T.bind(value * m.power_of_two(m.to_int(exponent)) * T.Select(n > m(127), m(2), m(1)))
    return T.bind(T.Select(x > m(88.7228317), m(math.inf), T.Select(x < m(-87.336544), m(0), result)))


def nearest_int(x: Vector, m: Math) -> Vector:
    """rint(x) as int32 for abs(x) < 2**22: added to 1.5 * 2**23, a float32 keeps nothing but the integer."""
    bits = T.reinterpret(lane_dtype("int32", m.lanes), x + m(1.5 * 2**23))
    return T.bind(bits - splat(0x4B400000, "int32", m.lanes))


def sigmoid(x: Vector, m: Math) -> Vector:
    """1 / (1 + exp(-x))."""
    return T.bind(m(1) / (m(1) + OPERATIONS["exp"](m(0) - x, m)))


def tanh(x: Vector, m: Math) -> Vector:
    """tanh with an absolute error below 3e-7: the rational form of degree 13/6 that Eigen uses."""
    c = T.bind(T.min(m(7.90531110763549805), T.max(m(-7.90531110763549805), x)))
    square = T.bind(c * c)
    numerator = m.polynomial(
        square,
        [-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
         1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03],
    )  # fmt: skip
    denominator = m.polynomial(
        square, [1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03]
    )
    return T.bind(c * numerator / denominator)


def erf(x: Vector, m: Math) -> Vector:
    """erf with an absolute error below 3e-7: Abramowitz and Stegun 7.1.26, which is 1.5e-7 in exact arithmetic.

    Near zero, where the formula cancels, the Taylor series of degree 9 takes over.
    """
    magnitude = T.bind(m.llvm("llvm.fabs", x))
    t = T.bind(m(1) / m.fma(magnitude, m(0.3275911), m(1)))
    series = m.polynomial(t, [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592])
    decay = exp(m(0) - magnitude * magnitude, m)
    far = T.bind(m(1) - series * t * decay)
    signed = T.Select(x < m(0), m(0) - far, far)
    square = T.bind(x * x)
    near = x * m.polynomial(
        square,
        [2 / math.sqrt(math.pi) / 216, -2 / math.sqrt(math.pi) / 42, 2 / math.sqrt(math.pi) / 10,
         -2 / math.sqrt(math.pi) / 3, 2 / math.sqrt(math.pi)],
    )  # fmt: skip
    return T.bind(T.Select(magnitude < m(0.4), near, signed))


def log(x: Vector, m: Math) -> Vector:
    """Natural logarithm with a relative error below 3e-7 (Cephes' logf); -inf at 0, NaN below."""
    bits = T.bind(T.reinterpret(lane_dtype("int32", m.lanes), T.max(x, m(1.17549435e-38))))

    def integer(constant: int) -> Vector:
        return splat(constant, "int32", m.lanes)

    exponent = T.cast(T.shift_right(bits, integer(23)) - integer(126), lane_dtype("float32", m.lanes))
    mantissa = T.bind(T.reinterpret(lane_dtype("float32", m.lanes), (bits & integer(0x007FFFFF)) | integer(0x3F000000)))
    low = mantissa < m(0.707106781186547524)
    exponent = T.bind(T.Select(low, exponent - m(1), exponent))
    f = T.bind(T.Select(low, mantissa + mantissa, mantissa) - m(1))
    square = T.bind(f * f)
    series = m.polynomial(
        f,
        [7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
         -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1],
    )  # fmt: skip
    tail = T.bind(series * f * square + exponent * m(-2.12194440e-4) - square * m(0.5))
    value = f + tail + exponent * m(0.693359375)
    value = T.Select(x > m(0), value, T.Select(x == m(0), m(-math.inf), m(math.nan)))
    return T.bind(T.Select(x == m(math.inf), m(math.inf), value))


def log1p(x: Vector, m: Math) -> Vector:
    """log(1 + x): near zero 2 artanh(x / (2 + x)) as a series, which keeps the digits of small x.

    Kahan's correction by (1 + x) - 1 is no way here: TVM simplifies that difference to x.
    """
    s = T.bind(x / (x + m(2)))
    series = m.polynomial(T.bind(s * s), [2 / 11, 2 / 9, 2 / 7, 2 / 5, 2 / 3, 2])
    return T.bind(T.Select(m.llvm("llvm.fabs", x) < m(0.4), s * series, log(x + m(1), m)))


def expm1(x: Vector, m: Math) -> Vector:
    """exp(x) - 1: near zero, where the difference would cancel, the Taylor series of degree 6."""
    near = x * m.polynomial(x, [1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1])
    return T.bind(T.Select(m.llvm("llvm.fabs", x) < m(0.1), near, exp(x, m) - m(1)))


def power(x: Vector, y: Vector, m: Math) -> Vector:
    """x ** y = exp(y log |x|), with the sign of odd integer powers; NaN for a negative base and a fractional power."""
    magnitude = T.bind(exp(y * log(m.llvm("llvm.fabs", x), m), m))
    whole = m.llvm("llvm.floor", y) == y
    half = y * m(0.5)
    odd = m.llvm("llvm.floor", half) != half
    negative = T.Select(whole, T.Select(odd, m(0) - magnitude, magnitude), m(math.nan))
    result = T.Select(x < m(0), negative, magnitude)
    return T.bind(T.Select(y == m(0), m(1), result))


def _libm(name: str) -> Callable[..., Vector]:
    """One libm call a lane, for functions too rare for a polynomial."""

    def call(*arguments: Vector) -> Vector:
        *vectors, m = arguments
        function = f"{name}f" if m.dtype == "float32" else name
        if m.lanes == 1:
            return T.call_pure_extern(m.dtype, function, *vectors)
        calls = [
            T.call_pure_extern(m.dtype, function, *(lane(vector, index) for vector in vectors))
            for index in range(m.lanes)
        ]
        return tvm.tirx.Shuffle(calls, list(range(m.lanes)))

    return call


def _fast(function: Callable[..., Vector], name: str) -> Callable[..., Vector]:
    """A function of this module for float32, libm's of the same meaning for float64."""
    exact = _libm(name)
    return lambda *arguments: (function if arguments[-1].dtype == "float32" else exact)(*arguments)


def lane(vector: Vector, index: int) -> Vector:
    """Return one lane of a vector."""
    return tvm.tirx.Shuffle([vector], [index])


def part(vector: Vector, start: int, lanes: int) -> Vector:
    """Return neighbouring lanes of a vector."""
    return T.bind(tvm.tirx.Shuffle([vector], list(range(start, start + lanes))))


def join(vectors: Sequence[Vector], lanes: int) -> Vector:
    """Return vectors side by side in one."""
    return vectors[0] if len(vectors) == 1 else T.bind(tvm.tirx.Shuffle(list(vectors), list(range(lanes))))


def _rounding(intrinsic: str) -> Callable[[Vector, Math], Vector]:
    """Rounding of floats; integers are whole already."""
    return lambda x, m: m.llvm(intrinsic, x) if m.dtype.startswith("float") else x


def absolute(x: Vector, m: Math) -> Vector:
    """abs(x)."""
    return m.llvm("llvm.fabs", x) if m.dtype.startswith("float") else T.Select(x < m(0), m(0) - x, x)


def fmod(a: Vector, b: Vector, m: Math) -> Vector:
    """a - b * trunc(a / b), exactly."""
    return _libm("fmod")(a, b, m) if m.dtype.startswith("float") else T.truncmod(a, b)


# op -> function(arguments..., Math of the dtype in which it computes, and lanes)
OPERATIONS: dict[str, Callable[..., Vector]] = {
    "add": lambda a, b, m: a + b,
    "sub": lambda a, b, m: a - b,
    "mul": lambda a, b, m: a * b,
    "div": lambda a, b, m: a / b,
    "max": lambda a, b, m: T.max(a, b),
    "min": lambda a, b, m: T.min(a, b),
    "and": lambda a, b, m: a & b,
    "or": lambda a, b, m: a | b,
    "xor": lambda a, b, m: a ^ b,
    "lt": lambda a, b, m: a < b,
    "le": lambda a, b, m: a <= b,
    "gt": lambda a, b, m: a > b,
    "ge": lambda a, b, m: a >= b,
    "eq": lambda a, b, m: a == b,
    "ne": lambda a, b, m: a != b,
    "not": lambda a, m: a == m(0),
    "select": lambda c, a, b, m: T.Select(c, a, b),
    "neg": lambda a, m: m(0) - a,
    "abs": absolute,
    "floor": _rounding("llvm.floor"),
    "ceil": _rounding("llvm.ceil"),
    "trunc": _rounding("llvm.trunc"),
    "round": _rounding("llvm.rint"),
    "sqrt": lambda a, m: m.llvm("llvm.sqrt", a),
    "nearest_int": lambda a, m: nearest_int(a, Math("float32", m.lanes)),
    # A product that must be rounded before something is added: LLVM may fuse any other.
    "rounded": lambda a, m: m.llvm("llvm.arithmetic.fence", a),
    "floordiv": lambda a, b, m: T.floordiv(a, b),
    "truncdiv": lambda a, b, m: T.truncdiv(a, b),
    "floormod": lambda a, b, m: T.floormod(a, b),
    "fmod": fmod,
    "sigmoid": sigmoid,
    "exp": _fast(exp, "exp"),
    "expm1": _fast(expm1, "expm1"),
    "tanh": _fast(tanh, "tanh"),
    "erf": _fast(erf, "erf"),
    "log": _fast(log, "log"),
    "log1p": _fast(log1p, "log1p"),
    "pow": _fast(power, "pow"),
    **{name: _libm(name) for name in ("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh")},
}

# Their result is a truth value whatever they read.
TESTS = frozenset({"lt", "le", "gt", "ge", "eq", "ne", "not"})

# Dtypes that are computed in a wider one: TVM's simplifier ends the process on comparisons of unsigned numbers, and
# LLVM has no arithmetic of truth values.
WIDER = {"bool": "int32", "uint8": "int32"}
