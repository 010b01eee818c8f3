"""ONNX: preprocessing and encoder in one file, any batch size, checked against the model itself.

What the graph takes are items as the model takes them, where those are numbers; of texts and tables it takes
what preprocessing makes of them. Preprocessing, distance, calibration and fingerprint stand in the file's
metadata under ``likewise``, as JSON.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import likewise
from likewise.artifacts import canonical_json
from likewise.errors import ArtifactError, InputError, MissingExtraError
from likewise.model import Model

__all__ = ["OnnxReport", "read_metadata", "to_onnx"]

_BATCHES = (1, 2, 3, 17)


@dataclass(frozen=True)
class OnnxReport:
    """What was written and how nearly it computes the same.

    Parameters
    ----------
    path : str
    bytes : int
    includes_preprocessing : bool
    largest_difference : float
        Of any number of an embedding, divided by the largest number of all; over batches of 1 to 17.
    """

    path: str
    bytes: int
    includes_preprocessing: bool
    largest_difference: float


class _Whole(nn.Module):
    """Preprocessing and encoder as one module."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.preprocessing, self.encoder = model.preprocessing, model.encoder

    def forward(self, items: Tensor) -> Tensor:
        out: Tensor = self.encoder(self.preprocessing(items))
        return out


def to_onnx(model: Model, path: str | os.PathLike[str], *, tolerance: float = 1e-5) -> OnnxReport:
    """Write a model as ONNX, after ONNX Runtime has computed the same with it.

    Parameters
    ----------
    model : Model
    path : path
        Of the file; replaced whole, or left as it was.
    tolerance : float > 0
        Largest difference that is accepted, relative to the largest number of an embedding.

    Returns
    -------
    OnnxReport

    Raises
    ------
    InputError
        The file's name doesn't end in ``.onnx``, the network can't be exported, or computes something else.
    ArtifactError
        The file can't be written.
    MissingExtraError
        onnx, onnxscript or onnxruntime isn't installed.
    """
    target = Path(path)
    if target.suffix.lower() != ".onnx":
        raise InputError(f"{target}: the file's name must end in .onnx")
    if not os.access(target.parent, os.W_OK | os.X_OK) or target.is_dir():
        raise ArtifactError(f"{target}: can't be written; choose a folder that exists")
    if not tolerance > 0:
        raise InputError(f"tolerance must be above 0; found {tolerance!r}")
    onnx, runtime = _library("onnx"), _library("onnxruntime")
    _library("onnxscript")
    whole = model.preprocessing.kind in ("features", "image")
    examples = _examples(model, 2, whole)
    module: nn.Module = _Whole(model) if whole else model.encoder
    data = _described(onnx, _graph(module, examples), model, whole)
    session = _session(runtime, data)
    largest = _difference(session, module, model, whole)
    if not largest <= tolerance:
        raise InputError(
            f"{target}: ONNX Runtime's embeddings differ by {largest:.2g} of their size, more than "
            f"{tolerance:g}; nothing was written"
        )
    _write(target, data)
    return OnnxReport(str(target), len(data), whole, largest)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(f"likewise export needs {name}: pip install 'likewise[export]'") from error


def _graph(module: nn.Module, examples: Tensor) -> Any:
    training = module.training
    try:
        with warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module.eval(),
                (examples,),
                dynamo=True,
                input_names=["items"],
                output_names=["embeddings"],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                verbose=False,
            )
    except Exception as error:  # the exporter raises many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"the network can't be exported as ONNX ({reason})") from error
    finally:
        module.train(training)
    if program is None:
        raise InputError("the network can't be exported as ONNX")
    return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's progress is not for a terminal."""
    import contextlib
    import logging

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _described(onnx: Any, graph: Any, model: Model, whole: bool) -> bytes:
    told = {
        "library_version": likewise.__version__,
        "fingerprint": model.fingerprint,
        "input": "items" if whole else "prepared items",
        "kind": model.preprocessing.kind,
        "item_shape": list(model.item_shape),
        "preprocessing": {**model.preprocessing.config(), "in_graph": whole, **_statistics(model)},
        "distance": model.distance.config(),
        "calibration": None if model.calibration is None else asdict(model.calibration),
    }
    entry = graph.metadata_props.add()
    entry.key, entry.value = "likewise", canonical_json(told)
    onnx.checker.check_model(graph)
    data: bytes = graph.SerializeToString()
    return data


def _statistics(model: Model) -> dict[str, Any]:
    """Small arrays of preprocessing, such as mean and scale, written out."""
    held = model.preprocessing.state_dict()
    return {name: value.tolist() for name, value in held.items() if value.numel() <= 10_000}


def _session(runtime: Any, data: bytes) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _examples(model: Model, count: int, whole: bool) -> Tensor:
    made = model.preprocessing.examples()
    rows = np.resize(np.arange(len(made)), count)
    items = made[rows]
    if whole:
        generator = np.random.default_rng(count)
        items = generator.uniform(size=(count, *model.item_shape)).astype(np.float32)
        return torch.from_numpy(items)
    with torch.inference_mode():
        prepared: Tensor = model.preprocessing(items)
    return prepared.clone()


def _difference(session: Any, module: nn.Module, model: Model, whole: bool) -> float:
    largest = 0.0
    name = session.get_inputs()[0].name
    for count in _BATCHES:
        items = _examples(model, count, whole)
        with torch.inference_mode():
            expected: NDArray[np.float32] = module(items).numpy()
        found = session.run(None, {name: items.numpy()})[0]
        if found.shape != expected.shape:
            return float("inf")
        scale = float(np.abs(expected).max()) or 1.0
        largest = max(largest, float(np.abs(found - expected).max()) / scale)
    return largest


def _write(target: Path, data: bytes) -> None:
    try:
        descriptor, beside = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(beside, target)
        except BaseException:
            os.unlink(beside)
            raise
    except OSError as error:
        raise ArtifactError(f"{target}: can't be written ({error.strerror or error})") from error


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What :func:`to_onnx` wrote of the model into a file.

    Raises
    ------
    ArtifactError
        It isn't an ONNX file of ours.
    """
    onnx = _library("onnx")
    try:
        graph = onnx.load(os.fspath(path))
        told: dict[str, Any] = json.loads(
            next(entry.value for entry in graph.metadata_props if entry.key == "likewise")
        )
    except Exception as error:  # protobuf raises its own kinds
        raise ArtifactError(
            f"{path}: not an ONNX file that likewise wrote ({type(error).__name__})"
        ) from error
    return told
