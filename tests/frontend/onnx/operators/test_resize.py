"""Resizing against ONNX Runtime."""

from typing import Any

import pytest

from prunus.passes.graph import aten, calls
from tests.frontend.onnx.harness import Case, Input, case, check_case, held, noise

_X = noise(2, 3, 5, 7)
_NO_ROI = held([], "float32")


def _scaled(*scales: float, **attributes: Any) -> Case:
    return case("Resize", _X, None, held(scales, "float32"), **attributes)


def _sized(*sizes: int, x: Input = _X, **attributes: Any) -> Case:
    return case("Resize", x, None, None, held(sizes), **attributes)


CASES = [
    case("Upsample", _X, scales=[1.0, 1.0, 2.0, 3.0], mode="nearest", opset=7),
    case("Upsample", _X, held([1, 1, 2, 2], "float32"), mode="linear", opset=9),
    case("Resize", _X, held([1, 1, 2, 2], "float32"), mode="nearest", opset=10),
    case("Resize", _X, _NO_ROI, held([1, 1, 2, 2], "float32"), mode="nearest", opset=11),
    _scaled(1, 1, 2, 2, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    _scaled(1, 1, 2, 2, mode="linear"),
    _scaled(1, 1, 2, 2, mode="linear", coordinate_transformation_mode="align_corners"),
    _scaled(1, 1, 2, 2, mode="linear", coordinate_transformation_mode="asymmetric"),
    _scaled(1, 1, 2, 2, mode="linear", coordinate_transformation_mode="pytorch_half_pixel"),
    _scaled(1, 1, 1.7, 0.6, mode="linear"),
    _scaled(1, 1, 1.7, 0.6, mode="nearest"),
    _scaled(1, 1, 2, 2, mode="cubic"),
    _scaled(1, 1, 2, 3, mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1),
    _sized(2, 3, 10, 7, mode="nearest"),
    _sized(2, 3, 9, 3, mode="linear"),
    _sized(2, 3, 9, 3, mode="linear", coordinate_transformation_mode="align_corners"),
    _sized(2, 3, 9, 13, mode="cubic", coordinate_transformation_mode="align_corners"),
    _sized(2, 3, 9, 13, mode="linear", coordinate_transformation_mode="half_pixel_symmetric", opset=19),
    *(
        _sized(2, 3, 9, 4, mode="nearest", nearest_mode=mode, coordinate_transformation_mode=coordinates)
        for mode in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
        for coordinates in ("half_pixel", "asymmetric", "align_corners")
    ),
    _sized(5, 3, 5, 7, mode="nearest"),
    _sized(9, 4, axes=[2, 3], mode="linear"),
    _sized(10, 10, axes=[2, 3], mode="nearest", keep_aspect_ratio_policy="not_larger"),
    _sized(2, 3, 11, x=noise(2, 3, 5), mode="linear"),
    _sized(1, 2, 6, 5, 9, x=noise(1, 2, 3, 5, 4), mode="linear"),
    _sized(2, 3, 5, 7, mode="linear"),
    *(_sized(2, 3, 3, 4, mode=mode, antialias=1) for mode in ("linear", "cubic")),
    *(_sized(2, 3, 3, 4, mode=mode, antialias=1, exclude_outside=1) for mode in ("linear", "cubic")),
    _sized(2, 3, 9, 4, mode="linear", antialias=1),
]


@pytest.mark.parametrize("one", CASES, ids=str)
def test_equals_onnx_runtime(one: Case) -> None:
    check_case(one)


@pytest.mark.parametrize(
    ("one", "target"),
    [
        (_scaled(1, 1, 2, 2, mode="nearest"), aten.upsample_nearest2d),
        (_sized(2, 3, 9, 3, mode="linear"), aten.upsample_bilinear2d),
        (_scaled(1, 1, 2, 2, mode="linear", coordinate_transformation_mode="align_corners"), aten.upsample_bilinear2d),
        (_scaled(1, 1, 2, 2, mode="cubic"), aten.upsample_bicubic2d),
        (_sized(2, 3, 3, 4, mode="linear", antialias=1, exclude_outside=1), aten._upsample_bilinear2d_aa),
    ],
    ids=str,
)
def test_usual_modes_are_one_operator(one: Case, target: object) -> None:
    assert [node.target.overloadpacket for node in calls(check_case(one))] == [target]  # type: ignore[union-attr]
