"""What is exported computes the same, says what it needs, and comes back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from likewise.cli import main
from likewise.data import load
from likewise.distances import Bilinear, Cosine, Euclidean, Mahalanobis, SquaredEuclidean
from likewise.encoders import MLP, Standardize, encoder_for
from likewise.errors import ArtifactError, InputError, MissingExtraError
from likewise.export import NumpyModel, from_pretrained, numpy_model, save_pretrained, to_onnx
from likewise.export.onnx import read_metadata
from likewise.model import Calibration, Model

IRIS = load("iris").X


def linear(distance: nn.Module | None = None) -> Model:
    encoder = MLP(4, dimension=3, hidden=())
    for parameter in encoder.parameters():
        nn.init.normal_(parameter)
    return Model(encoder, distance or Euclidean(), Standardize.learned_from(IRIS))


def models() -> dict[str, Model]:
    torch.manual_seed(0)
    digits = load("digits").X
    mlp = MLP(4, dimension=5)
    for parameter in mlp.parameters():
        nn.init.normal_(parameter, std=0.3)
    calibration = Calibration(slope=2.0, offset=1.0, threshold=0.5, held_out="classes")
    return {
        "rows": Model(mlp, Cosine(), Standardize.learned_from(IRIS)),
        "images": Model(
            encoder_for((8, 8), dimension=6), Cosine(), Standardize.learned_from(digits), calibration
        ),
    }


@pytest.mark.parametrize("name", ["rows", "images"])
def test_onnx_runtime_computes_the_same_for_any_batch(name: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="the export extra brings onnxruntime")
    model = models()[name]
    report = to_onnx(model, tmp_path / "model.onnx")
    assert report.largest_difference <= 1e-5
    assert report.includes_preprocessing
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(1)
    for count in (1, 5, 40):
        items = generator.uniform(size=(count, *model.item_shape)).astype(np.float32)
        found = session.run(["embeddings"], {"items": items})[0]
        expected = model.embed(items)
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    told = read_metadata(tmp_path / "model.onnx")
    assert told["fingerprint"] == model.fingerprint
    assert told["distance"] == {"name": "Cosine"}
    assert told["preprocessing"]["name"] == "Standardize"
    assert told["preprocessing"]["in_graph"] is True
    mean = np.array(told["preprocessing"]["mean"], dtype=np.float32)
    np.testing.assert_array_equal(mean, model.preprocessing.mean.numpy())
    assert (told["calibration"] or {}).get("threshold") == (0.5 if name == "images" else None)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


def test_what_computes_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="the export extra brings onnxruntime")
    from likewise.export import onnx as module

    true = module._session

    class Off:
        def __init__(self, session: object) -> None:
            self.session = session

        def get_inputs(self) -> object:
            return self.session.get_inputs()

        def run(self, names: object, given: object) -> list:
            return [self.session.run(names, given)[0] * 1.001]

    monkeypatch.setattr(module, "_session", lambda runtime, data: Off(true(runtime, data)))
    (tmp_path / "model.onnx").write_text("old")
    with pytest.raises(InputError, match="differ by"):
        to_onnx(models()["rows"], tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_text() == "old"


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"onnxruntime.*likewise\[export\]"):
        to_onnx(models()["rows"], tmp_path / "model.onnx")


def test_a_wrong_name_and_an_unwritable_place(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the export extra brings onnxruntime")
    with pytest.raises(InputError, match=r"\.onnx"):
        to_onnx(models()["rows"], tmp_path / "model.bin")
    with pytest.raises(ArtifactError, match="can't be written"):
        to_onnx(models()["rows"], tmp_path / "nothing" / "model.onnx")
    (tmp_path / "x.onnx").write_text("no")
    with pytest.raises(ArtifactError, match="not an ONNX file"):
        read_metadata(tmp_path / "x.onnx")


@pytest.mark.parametrize(
    "distance",
    [Euclidean(), SquaredEuclidean(), Cosine(), Mahalanobis(torch.tensor([[1.0, 2, 0], [0, 1, -1]]))],
)
def test_a_linear_model_is_the_same_in_numpy(distance: nn.Module, tmp_path: Path) -> None:
    model = linear(distance)
    made = numpy_model(model)
    made.save(tmp_path / "model.npz")
    back = NumpyModel.load(tmp_path / "model.npz")
    A, B = IRIS[:70], IRIS[75:145]
    np.testing.assert_allclose(back.distances(A, B), model.compare(A, B), rtol=1e-4, atol=1e-5)
    if not isinstance(distance, Mahalanobis):
        np.testing.assert_allclose(back.embed(A), model.embed(A), rtol=1e-4, atol=1e-5)
    assert back.fingerprint == model.fingerprint
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.npz"]


def test_the_numpy_model_imports_no_torch(tmp_path: Path) -> None:
    numpy_model(linear()).save(tmp_path / "model.npz")
    code = (
        "import sys; from likewise.export.plain import NumpyModel\n"
        f"m = NumpyModel.load({str(tmp_path / 'model.npz')!r})\n"
        "print(m.embed([[1, 2, 3, 4]]).shape, 'torch' in sys.modules)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout == "(1, 3) False\n"


def test_what_is_not_linear_is_refused() -> None:
    for model in (models()["rows"], models()["images"], linear(Bilinear(torch.eye(3)))):
        with pytest.raises(InputError, match="must be"):
            numpy_model(model)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: b"nothing",
        lambda data: data[: len(data) // 2],
        lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
    ],
)
def test_a_damaged_npz_is_refused(tmp_path: Path, change) -> None:
    numpy_model(linear()).save(tmp_path / "model.npz")
    data = (tmp_path / "model.npz").read_bytes()
    (tmp_path / "model.npz").write_bytes(change(data))
    with pytest.raises(ArtifactError, match=r"model\.npz"):
        NumpyModel.load(tmp_path / "model.npz")
    with pytest.raises(ArtifactError, match="no such file"):
        NumpyModel.load(tmp_path / "other.npz")


def test_wrong_rows_are_refused() -> None:
    made = numpy_model(linear())
    for wrong, told in ((IRIS[:, :3], "shape"), (IRIS[0], "shape"), (IRIS * np.nan, "finite")):
        with pytest.raises(InputError, match=told):
            made.embed(wrong)


def test_pretrained_by_folder_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = models()["images"]
    save_pretrained(model, tmp_path / "run")
    assert from_pretrained(tmp_path / "run").fingerprint == model.fingerprint

    class Hub:
        @staticmethod
        def snapshot_download(*, repo_id: str, revision: str | None, allow_patterns: list[str]) -> str:
            if repo_id == "me/linked":  # as the hub's cache: every file a link
                (tmp_path / "cache").mkdir()
                for place in (tmp_path / "run").iterdir():
                    (tmp_path / "cache" / place.name).symlink_to(place)
                return str(tmp_path / "cache")
            raise OSError("no network")

    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub())
    assert from_pretrained("me/linked", revision="abc").fingerprint == model.fingerprint
    with pytest.raises(InputError, match="no network"):
        from_pretrained("me/other")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match="huggingface_hub"):
        from_pretrained("me/other")
    for name in ("../run", "/etc/passwd", "a/b/c", "me/..", "x\0y", ""):
        with pytest.raises(InputError):
            from_pretrained(name)


def test_the_command_exports_both_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime", reason="the export extra brings onnxruntime")
    linear().save(tmp_path / "run")
    assert main(["export", str(tmp_path / "run"), "-o", str(tmp_path / "m.onnx")]) == 0
    assert main(["export", str(tmp_path / "run"), "-o", str(tmp_path / "m.npz")]) == 0
    assert "ONNX Runtime agrees" in capsys.readouterr().out
    assert main(["export", str(tmp_path / "run"), "-o", str(tmp_path / "m.pt")]) == 2
    assert json.dumps("m.pt")[1:-1] in capsys.readouterr().err
