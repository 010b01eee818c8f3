"""A .npz that claims more than it holds is refused before anything of that size is allocated."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from likewise.data import load, record
from likewise.errors import DataError


def test_a_shape_beyond_the_file_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    claim = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 8)}
    np.lib.format.write_array_header_1_0(header, claim)
    labels = io.BytesIO()
    np.save(labels, np.zeros(3, dtype=np.int64))
    with zipfile.ZipFile(tmp_path / "claims.npz", "w") as archive:
        archive.writestr("X.npy", header.getvalue())
        archive.writestr("y.npy", labels.getvalue())
    for read, source in [(load, "claims.npz"), (record, "claims.npz:0")]:
        with pytest.raises(DataError, match=r"claims the shape \(1000000000000, 8\)"):
            read(f"{tmp_path}/{source}")
