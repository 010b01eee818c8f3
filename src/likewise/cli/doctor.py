"""Say what is installed, what is missing for what, and where data is looked for."""

from __future__ import annotations

import argparse

__all__ = ["HELP", "add_arguments", "run"]

HELP = "say what is installed, what is missing, and where data is"

_NEEDED = (
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "faiss-cpu",
    "safetensors",
    "matplotlib",
    "rich",
    "pillow",
    "pyarrow",
)
# extra -> what it is for, and the packages that it brings
_EXTRAS = {
    "serve": ("the HTTP API and the explorer page", ("fastapi", "uvicorn", "prometheus-client", "httpx")),
    "scale": ("Milvus and PostgreSQL", ("pymilvus", "milvus-lite", "psycopg")),
    "export": ("ONNX", ("onnx", "onnxscript", "onnxruntime")),
    "text": ("pretrained networks for texts", ("transformers", "sentence-transformers")),
    "vision": ("pretrained networks for images", ("timm",)),
    "map": ("maps by UMAP", ("umap-learn",)),
    "tracking": ("TensorBoard", ("tensorboard",)),
    "control": ("environments to act in", ("gymnasium",)),
    "gpu": ("kernels in Triton, with PyTorch on a GPU", ("triton",)),
    "tuning": ("hyper-parameters tried by likewise bench", ("optuna",)),
    "dev": ("tests and checks", ("pytest", "hypothesis", "jaxtyping", "ruff", "mypy")),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise doctor``: none."""


def run(request: argparse.Namespace) -> None:  # noqa: ARG001 - every command takes its request
    """Print the state of this installation."""
    import os
    import platform

    from likewise import __version__
    from likewise.data import BUILT_IN, SHARED, data_places, missing_files

    machine = f"{platform.system()} {platform.machine()}"
    print(f"likewise {__version__}, Python {platform.python_version()}, {machine}")
    print(f"cores: {os.cpu_count()}; accelerator: {_accelerator()}")
    for language, state in _kernels():
        print(f"kernels in {language}: {state}")
    print("\nneeded")
    for name in _NEEDED:
        print(f"  {name:<14} {_version(name) or 'MISSING: pip install likewise'}")
    print("\nextras")
    for extra, (purpose, names) in _EXTRAS.items():
        missing = [name for name in names if _version(name) is None]
        state = f"missing {', '.join(missing)}: pip install 'likewise[{extra}]'" if missing else "complete"
        print(f"  [{extra}] for {purpose}: {state}")
    print("\ndata")
    print(f"  built in, with scikit-learn: {', '.join(sorted(BUILT_IN))}")
    here = [name for name in sorted(SHARED) if not missing_files(name)]
    absent = [name for name in sorted(SHARED) if name not in here]
    print(f"  built in, found: {', '.join(here) or 'none'}")
    if absent:
        print(f"  built in, not found: {', '.join(absent)}; say where they lie with LIKEWISE_DATA")
    print("  looked for in")
    for place in data_places():
        print(f"    {place.path} ({place.told}): {'there' if place.path.is_dir() else 'not there'}")
    print("  files: a folder of class folders, .csv, .tsv, .parquet, .jsonl, or .npz with X and y, by path")


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _kernels() -> list[tuple[str, str]]:
    if _version("torch") is None:
        return [("C", "unknown without torch")]
    from likewise.table import compiled, fused

    return [("C", compiled.state()), ("Triton", fused.state())]


def _accelerator() -> str:
    if _version("torch") is None:
        return "unknown without torch"
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return "none (the CPU does everything)"
