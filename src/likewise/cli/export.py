"""Write a run as ONNX, or, where it is linear, as arrays for NumPy alone.

likewise export RUN -o FILE.onnx     preprocessing and encoder, any batch size, checked by ONNX Runtime
likewise export RUN -o FILE.npz      one matrix and one offset; see likewise.export.NumpyModel
"""

from __future__ import annotations

import argparse

__all__ = ["HELP", "add_arguments", "run"]

HELP = "write a run as ONNX, or as NumPy arrays where it is linear"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise export``."""
    parser.add_argument("run_folder", metavar="RUN", help="a saved run")
    parser.add_argument("-o", "--out", metavar="FILE", required=True, help="FILE.onnx or FILE.npz")


def run(request: argparse.Namespace) -> None:
    """Export and say what was checked."""
    from likewise.errors import InputError
    from likewise.model import Model

    if request.out.lower().endswith(".npz"):
        from likewise.export.linear import numpy_model

        made = numpy_model(Model.load(request.run_folder))
        made.save(request.out)
        print(f"saved {request.out}: {made.matrix.shape[0]} x {made.matrix.shape[1]}, {made.distance}")
        return
    if not request.out.lower().endswith(".onnx"):
        raise InputError(f"{request.out}: the file's name must end in .onnx or .npz")
    from likewise.export.onnx import to_onnx

    report = to_onnx(Model.load(request.run_folder), request.out)
    takes = "items" if report.includes_preprocessing else "prepared items"
    print(
        f"saved {request.out}: {report.bytes:,} bytes, takes {takes}; "
        f"ONNX Runtime agrees to {report.largest_difference:.1g}"
    )
