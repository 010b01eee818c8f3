"""The report of a run: what stands in it is what was measured, it opens, and nothing hostile runs."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from likewise.audit import audit
from likewise.data import Records, records_from_arrays
from likewise.distances import Euclidean
from likewise.encoders import Standardize, encoder_for
from likewise.errors import DataError
from likewise.evaluation import DataRead, retrieval
from likewise.model import Model
from likewise.model.calibration import Calibration
from likewise.report import audit_page, run_report
from likewise.report.galleries import hardest_pairs, query_gallery
from likewise.report.map import embedding_map, flat_positions
from likewise.report.subject import Subject
from likewise.report.thumbnails import Thumbnails

HOSTILE = "</script><script>document.title='owned'</script>"


def pictures(names: list[str], per_class: int = 8, seed: int = 0) -> Records:
    """Grey images of 6 x 6: a class is a bright patch at a place of its own."""
    generator = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(names)), per_class)
    X = generator.uniform(0, 0.4, size=(len(y), 6, 6)).astype(np.float32)
    for row, code in enumerate(y):
        X[row, code % 6, code // 6 * 2 : code // 6 * 2 + 3] += 1
    return records_from_arrays(
        X, np.array(names)[y], name="patches:" + "of-a-name-that-no-narrow-line-holds" * 2
    )


def model_for(records: Records, **changes: object) -> Model:
    preprocessing = Standardize.learned_from(records.X)
    arguments: dict = {
        "calibration": Calibration(slope=1.0, offset=4.0, threshold=4.0, held_out="classes"),
        "classes": ("b", "z"),
        "training": {"method": HOSTILE},
    }
    encoder = encoder_for(records.item_shape, dimension=5, seed=0)
    return Model(encoder, Euclidean(), preprocessing, **{**arguments, **changes})


def subject_of(embeddings: np.ndarray, labels: list[str]) -> Subject:
    records = records_from_arrays(np.asarray(embeddings, dtype=np.float32), labels)
    names = tuple(map(str, records.classes.tolist()))
    return Subject(records.X, records.codes, names, Euclidean(), Thumbnails.of(records))


@pytest.fixture(scope="module")
def records() -> Records:
    return pictures(["a", "b", "c", HOSTILE])


@pytest.fixture(scope="module")
def page(records: Records) -> str:
    look = DataRead("2026-01-01 00:00:00", "patches", records.fingerprint, "evaluate")
    return run_report(model_for(records), records, reads=[look, look, look])


def browser() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium here; CI installs it")
    return found


def dumped(folder: Path, address: Path) -> str:
    """The document after its scripts have run."""
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
    options += " --disable-background-networking --disable-component-update --virtual-time-budget=10000"
    words = [
        browser(),
        *options.split(),
        f"--user-data-dir={folder / 'profile'}",
        "--dump-dom",
        address.as_uri(),
    ]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=True).stdout


def test_every_part_is_there(page: str) -> None:
    heads = re.findall(r"<h2>(.*?)</h2>", page)
    assert heads == [
        "Before you read", "Figures", "Neighbours", "Distances of pairs", "Errors at every threshold",
        "Reliability", "Map", "Confusion between classes", "Hardest errors", "Embedding health", "Data card",
        "How it was made",
    ]  # fmt: skip
    for control in ("raw features", "PCA-whitened features", "untrained weights"):
        assert page.count(f'<th scope="col">{control}</th>') >= 1


def test_its_figures_are_the_evaluation_s(page: str, records: Records) -> None:
    model = model_for(records)
    figure = retrieval(model.embed(records.X), records.y)["map@r"]
    assert f"<strong>{figure.value:.3f}</strong><small>{figure.low:.3f} to {figure.high:.3f}</small>" in page


def test_the_reader_is_cautioned(page: str) -> None:
    assert "has looked at this data 3 times" in page
    assert "1 of the 4 classes bear names that training saw (b)" in page


def test_a_control_that_is_better_is_named(page: str) -> None:
    """Class by place and noise: raw pixels part the patches perfectly, random weights don't."""
    assert re.search(r"By MAP@R, [^<]*raw features[^<]* do better than the model", page)


def test_nothing_is_loaded_and_only_the_page_s_own_script_may_run(page: str) -> None:
    addresses = re.findall(r'(?:src|href|srcset)="([^"]*)"', page)
    assert all(address.startswith(("data:", "#")) for address in addresses)
    programs = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert len(programs) == 1
    digest = base64.b64encode(hashlib.sha256(programs[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page and "default-src 'none'" in page
    assert HOSTILE not in page and html.escape(HOSTILE) in page


@pytest.mark.parametrize("width", [400, 1200])
def test_it_opens_in_a_browser_draws_its_map_and_fits(page: str, tmp_path: Path, width: int) -> None:
    probe = """addEventListener('load', () => setTimeout(() => {
      const shown = [...document.images].every(image => image.complete && image.naturalWidth > 0);
      const all = [...document.querySelectorAll('body *')].filter(e => !e.closest('.wide, select'));
      const fits = Math.max(...all.map(e => e.getBoundingClientRect().right)) <= innerWidth + 1;
      const tools = document.querySelector('.tools'), map = document.querySelector('.map');
      const before = map.dataset.drawn;
      for (let i = 0; i < 12; i++) tools.querySelector('[name=in]').click();
      let turns = 0;
      const wait = setInterval(() => {
        if (+map.dataset.drawn >= 32 && ++turns < 60) return;  // drawn anew when the browser comes to it
        clearInterval(wait);
        map.querySelector('canvas').getContext('2d').getImageData(0, 0, 300, 300);
        parent.postMessage([document.images.length > 40, shown, fits, before, +map.dataset.drawn < 32,
          document.title === 'owned'].join(' '), '*');
      }, 100);
    }, 300))"""
    digest = base64.b64encode(hashlib.sha256(probe.encode()).digest()).decode()
    whole = page.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    whole = whole.replace("</body>", f"<script>{probe}</script></body>")
    frame = f"""<body><script>onmessage = event => document.body.dataset.seen = event.data</script>
      <iframe src="report.html" width="{width}" height="900"></iframe></body>"""
    (tmp_path / "report.html").write_text(whole, encoding="utf-8")
    (tmp_path / "frame.html").write_text(frame, encoding="utf-8")
    assert 'data-seen="true true true 32 true false"' in dumped(tmp_path, tmp_path / "frame.html")


def test_a_foreign_script_is_stopped_by_the_page_s_policy(page: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(
        page.replace("</body>", "<script>document.body.id = 'owned'</script></body>"), encoding="utf-8"
    )
    assert 'id="owned"' not in dumped(tmp_path, tmp_path / "report.html")


def test_a_query_is_shown_with_hits_errors_and_what_it_missed() -> None:
    """On a line: 0 asks; 8 nearest are 7 of b and one of a, and the other a lies at place 9."""
    embeddings = np.array([[0.0], [0.5], *[[1 + i / 10] for i in range(7)], [50.0]])
    subject = subject_of(embeddings, ["a", "a", *"bbbbbbb", "a"])
    shown = query_gallery(subject, [0]).html
    assert shown.count('class="tile good"') == 1 and shown.count('class="tile wrong"') == 7
    assert shown.count('class="tile missed"') == 1 and "place 9" in shown


def test_the_hardest_pairs_are_the_extreme_ones() -> None:
    subject = subject_of(np.array([[0.0], [9.0], [10.0], [10.1], [30.0]]), ["a", "a", "a", "b", "b"])
    near, far = (piece.html for piece in hardest_pairs(subject, most=1))
    assert "row 2" in near and "row 3" in near and "distance 0.1" in near
    assert "row 3" in far and "row 4" in far and "distance 19.9" in far


def test_the_map_keeps_distances_that_a_plane_can_hold() -> None:
    generator = np.random.default_rng(0)
    plane = generator.normal(size=(30, 2))
    turned = plane @ np.linalg.qr(generator.normal(size=(5, 2)))[0].T + 3
    (name, flat), *_ = flat_positions(turned.astype(np.float32)).items()
    assert name == "PCA, 100 % of the variance"
    apart = np.linalg.norm(plane[:, None] - plane[None], axis=2)[np.triu_indices(30, 1)]
    shown = np.linalg.norm(flat[:, None] - flat[None], axis=2)[np.triu_indices(30, 1)]
    np.testing.assert_allclose(shown / apart, (shown / apart)[0], rtol=1e-4)


def test_the_map_takes_from_every_class_and_its_data_can_be_read() -> None:
    labels = ["rare"] * 3 + ["often"] * 2000
    shown = embedding_map(subject_of(np.random.default_rng(0).normal(size=(2003, 3)), labels)).html
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', shown).group(1))
    assert len(data["classes"]) == 1500 and data["names"] == ["often", "rare"]
    assert data["classes"].count(1) == 3


def test_thumbnails_share_one_scale_and_the_sprite_holds_them_in_order() -> None:
    X = np.stack([np.full((4, 4), value) for value in (0.0, 5.0, 10.0)]).astype(np.float32)
    thumbnails = Thumbnails.of(records_from_arrays(X, [0, 0, 1]))
    assert [int(np.asarray(thumbnails.image(row))[0, 0]) for row in range(3)] == [0, 128, 255]
    sprite = thumbnails.sprite([2, 0, 1], cell=8)
    assert sprite is not None
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(sprite.address.partition(",")[2]))))
    assert (sprite.columns, picture.shape) == (2, (16, 16))
    assert [int(picture[4, 4]), int(picture[4, 12]), int(picture[12, 4])] == [255, 0, 128]


def test_colour_images_and_rows_of_numbers_are_drawn() -> None:
    colours = np.random.default_rng(0).uniform(size=(4, 3, 200, 100)).astype(np.float32)
    drawn = Thumbnails.of(records_from_arrays(colours, [0, 0, 1, 1]))
    assert drawn.image(0).mode == "RGB" and drawn.image(0).size == (48, 96)
    rows = Thumbnails.of(records_from_arrays(np.array([[0.0, 10.0], [1.0, 20.0]]), [0, 1]))
    bars = np.asarray(rows.image(0))
    assert bars.shape == (48, 48) and (bars[:40] == 235).all()  # the least of each feature: nearly no bar


def test_rows_of_numbers_and_a_model_without_calibration_give_a_page_too() -> None:
    generator = np.random.default_rng(0)
    y = np.repeat(np.arange(25), 3)
    records = records_from_arrays(generator.normal(size=(75, 4)) + y[:, None], y)
    page = run_report(model_for(records, calibration=None, classes=()), records)
    assert "<h2>Reliability</h2>" not in page and "<h2>Map</h2>" in page
    assert "recorded" in page


def test_too_little_data_is_refused() -> None:
    one = records_from_arrays(np.eye(3), [1, 1, 1])
    with pytest.raises(DataError, match="three items and two classes; found 3 and 1"):
        run_report(model_for(one), one)


def test_the_audit_s_page_shows_every_kind(records: Records) -> None:
    y = records.y.copy()
    y[0] = "c"
    X = records.X.copy()
    X[9] = X[8]
    found = audit(X.reshape(len(X), -1), y, against=X[[20, 21]].reshape(2, -1))
    data, other = records_from_arrays(X, y, name=HOSTILE), records_from_arrays(X[[20, 21]], y[[20, 21]])
    page = audit_page(found, data, against=other)
    for title in ("Likely wrong labels", "Near duplicates", "Leaks", "Outliers"):
        assert f"<h2>{title}</h2>" in page
    assert page.count("<figure") == sum(1 + (each.other_row >= 0) for each in found.findings)
    assert "<script" not in page and "script-src 'none'" in page


def test_an_audit_that_doubts_most_labels_says_what_that_means(records: Records) -> None:
    noise = np.random.default_rng(0).normal(size=(32, 3))
    assert "parts these classes badly" in audit_page(audit(noise, records.y), records)
    X = records.X.reshape(32, -1)
    assert "parts these classes badly" not in audit_page(audit(X, records.y), records)
