"""Keras 3 models to the one graph, from any of Keras' backends.

`import_keras` reads a model. A layer that has no rule is opened: its `call` runs on Keras' symbolic tensors, and the
layers and `keras.ops` that it is made of are imported instead. So custom layers and models that are written in
`keras.ops` need nothing. For others, and where the steps of a layer are not what one would compute on a device, a rule
is one small function in a table, and `rule` adds to it:

    import torch
    from prunus.frontend.keras import rule

    @rule("my.layers.ScaledTanh")
    def scaled_tanh(build, call):
        tanh = build.call(torch.ops.aten.tanh.default, call.x)
        return build.call(torch.ops.aten.mul.Tensor, tanh, call.scale)
"""

from prunus.frontend.keras.importer import import_keras
from prunus.frontend.keras.load import SUFFIXES, is_keras_model
from prunus.frontend.keras.table import Call, rule

__all__ = ["SUFFIXES", "Call", "import_keras", "is_keras_model", "rule"]
