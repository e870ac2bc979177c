"""Files of Keras, inputs that do not fit, and the backend that nobody has chosen."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import torch

from prunus.errors import DynamicShape, ImportModelError, InputError, MissingInputs, UnsafeModel
from prunus.frontend.importer import import_model
from tests.frontend.keras.harness import model_of, noise, randomize


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((None, 4), name="signal"), keras.layers.Conv1D(3, 2), keras.layers.ReLU()])
    randomize(model)
    return model


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_files(model, suffix: str, tmp_path: Path) -> None:
    model.save(tmp_path / f"model.{suffix}")
    x = noise(1, 7, 4)
    graph = import_model(tmp_path / f"model.{suffix}", input_shapes={"signal": (1, 7, 4)})
    np.testing.assert_allclose(graph(torch.from_numpy(x))[0].detach(), keras.ops.convert_to_numpy(model(x)), atol=1e-5)
    assert graph.meta["input_names"] == ["signal"]


def test_open_dimensions(model) -> None:
    with pytest.raises(DynamicShape, match=r"input 'signal' has open dimensions: \(\?, \?, 4\)"):
        import_model(model)


def test_shapes_that_do_not_fit(model) -> None:
    with pytest.raises(InputError, match=r"shape \(1, 7, 5\) for input 'signal'"):
        import_model(model, input_shapes={"signal": (1, 7, 5)})
    with pytest.raises(InputError, match="'signals', which is no input"):
        import_model(model, input_shapes={"signals": (1, 7, 4)})
    with pytest.raises(InputError, match="example_inputs has names"):
        import_model(model, example_inputs={"signal": torch.zeros(1, 7, 4)})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="2 example inputs for a model with 1"):
        import_model(model, example_inputs=(torch.zeros(1, 7, 4), torch.zeros(1)))


def test_layer_needs_examples() -> None:
    with pytest.raises(MissingInputs, match="declares no inputs"):
        import_model(keras.layers.Dense(3))


def test_code_in_a_file(tmp_path: Path) -> None:
    x = noise(1, 5)
    model_of(keras.layers.Lambda(lambda x: 2 * x), x).save(tmp_path / "code.keras")
    with pytest.raises(UnsafeModel, match="Python code"):
        import_model(tmp_path / "code.keras")


def test_files_that_are_no_models(model, tmp_path: Path) -> None:
    with pytest.raises(ImportModelError, match="is no file"):
        import_model(tmp_path / "absent.keras")
    (tmp_path / "short.keras").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ImportModelError, match="Keras cannot load"):
        import_model(tmp_path / "short.keras")
    model.save_weights(tmp_path / "only.weights.h5")
    with pytest.raises(ImportModelError, match="not only weights"):
        import_model(tmp_path / "only.weights.h5")


def test_text_stays_outside() -> None:
    inputs = keras.Input((1,), dtype="string")
    with pytest.raises(ImportModelError, match="dtype 'string'"):
        import_model(keras.Model(inputs, keras.layers.Identity()(inputs)))


def test_file_is_read_on_pytorch_where_nobody_has_chosen(model, tmp_path: Path) -> None:
    model.save(tmp_path / "model.keras")
    program = (
        "import os, sys\n"
        "os.environ.pop('KERAS_BACKEND', None)\n"
        "from prunus.frontend.importer import import_model\n"
        "assert 'keras' not in sys.modules\n"
        "import_model(sys.argv[1], input_shapes={'signal': (1, 7, 4)})\n"
        "import keras\n"
        "assert keras.backend.backend() == 'torch', keras.backend.backend()\n"
        "assert 'KERAS_BACKEND' not in os.environ\n"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "model.keras"], check=True)
