"""Families of kernels: each one way of computing one kind of fusion group, one file each."""

import prunus.backends.kernels.quantized_rules  # noqa: F401  adds to the rules of element-wise operators
from prunus.backends.kernels.channel_norm import ChannelNormalization
from prunus.backends.kernels.convolution import DirectConvolution
from prunus.backends.kernels.depthwise import DepthwiseConvolution
from prunus.backends.kernels.elementwise import ElementwiseChain
from prunus.backends.kernels.family import Family
from prunus.backends.kernels.flip import FlipDimensions
from prunus.backends.kernels.gather import GatherRows
from prunus.backends.kernels.matmul import MatrixProduct
from prunus.backends.kernels.norm import Normalization
from prunus.backends.kernels.pad import PadWithConstant
from prunus.backends.kernels.pool import Pools
from prunus.backends.kernels.quantized_average import IntegerAverage
from prunus.backends.kernels.quantized_convolution import IntegerConvolution
from prunus.backends.kernels.quantized_depthwise import IntegerDepthwise
from prunus.backends.kernels.quantized_depthwise_words import IntegerDepthwiseWords
from prunus.backends.kernels.quantized_lookup import LookupTable
from prunus.backends.kernels.quantized_matmul import IntegerMatrixProduct
from prunus.backends.kernels.recurrent import RecurrentLayer
from prunus.backends.kernels.reduce import Reductions
from prunus.backends.kernels.relax import LongTailOperators
from prunus.backends.kernels.resize import ResizeImage
from prunus.backends.kernels.scan import RunningSums
from prunus.backends.kernels.softmax import SoftmaxRows
from prunus.backends.kernels.sort import SortRows

# In order of preference: the first family that claims an operator and matches its memory computes it.
FAMILIES: tuple[Family, ...] = (
    MatrixProduct(),
    DepthwiseConvolution(),
    DirectConvolution(),
    Pools(),
    IntegerMatrixProduct(),
    IntegerDepthwiseWords(),
    IntegerDepthwise(),
    IntegerConvolution(),
    IntegerAverage(),
    LookupTable(),
    Reductions(),
    SoftmaxRows(),
    ChannelNormalization(),
    Normalization(),
    RecurrentLayer(),
    FlipDimensions(),
    GatherRows(),
    PadWithConstant(),
    ResizeImage(),
    RunningSums(),
    SortRows(),
    ElementwiseChain(),
    LongTailOperators(),
)

_BY_NAME = {family.name: family for family in FAMILIES}


def by_name(name: str) -> Family:
    """Return the family of a kernel's spec."""
    return _BY_NAME[name]
