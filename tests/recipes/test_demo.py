"""The demo: what it writes, that it repeats, and that it is honest about what it measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from likewise.cli import main
from likewise.data import load
from likewise.errors import ArtifactError
from likewise.model import Model
from likewise.recipes.demo import Demo, run_demo
from likewise.search import Index

pytestmark = pytest.mark.usefixtures("small_digits")


TOLD: list[tuple[str, int, int]] = []


@pytest.fixture(scope="module")
def done(small_digits: None, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """One run of the demo on few digits, and what it told on the way."""
    TOLD.clear()
    return run_demo(
        tmp_path_factory.mktemp("demo") / "demo", epochs=1, progress=lambda *step: TOLD.append(step)
    )


def test_the_demo_writes_a_run_a_report_a_picture_and_an_index(done: Demo) -> None:
    folder = done.folder
    model, index = Model.load(folder / "run"), Index.load(folder / "index")
    unseen = load("digits:classes=5-9")
    assert done.items == len(unseen) == len(index)
    assert set(index.labels) == {5, 6, 7, 8, 9}
    assert set(model.classes) == {0, 1, 2, 3, 4}
    assert np.array_equal(index.embeddings, model.embed(unseen.X))
    assert (folder / "distances.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "run" / "report.html").read_text()
    for column in (done.figures, done.figures["controls"]["raw"], done.figures["controls"]["untrained"]):
        for task, name in (("retrieval", "map@r"), ("verification", "eer"), ("few_shot", "accuracy")):
            assert f"<strong>{column[task][name]['value']:.3f}</strong>" in page
    assert json.loads((folder / "demo.json").read_text())["figures"] == done.figures
    # Every stage is told to its end.
    last = {stage: (part, whole) for stage, part, whole in TOLD}
    assert all(part == whole for part, whole in last.values())
    assert len(last) == 4


def test_the_pairs_are_all_pairs_of_unseen_classes(done: Demo) -> None:
    before, after = done.panels
    y = load("digits:classes=5-9").y
    alike = sum(int(y[i] == y[j]) for i in range(len(y)) for j in range(i))
    pairs = len(y) * (len(y) - 1) // 2
    for panel in (before, after):
        assert (len(panel.same), len(panel.different)) == (alike, pairs - alike)


def test_what_was_searched_and_verified_is_what_the_files_say(done: Demo) -> None:
    folder = done.folder
    assert done.query.id not in [hit.id for hit in done.hits]
    found = Index.load(folder / "index").search(done.query.id, k=6)
    assert [hit.id for hit in found if hit.id != done.query.id][:5] == [hit.id for hit in done.hits]
    like, unlike = done.comparisons
    assert like.first.label == like.second.label
    assert unlike.first.label != unlike.second.label
    for pair in (like, unlike):
        assert Model.load(folder / "run").verify(pair.first, pair.second) == pair.verdict


def test_its_own_folder_is_replaced_and_a_foreign_file_in_it_is_not(done: Demo, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(done.folder, folder)
    first = Model.load(folder / "run").fingerprint
    run_demo(folder, epochs=1, seed=2)
    assert Model.load(folder / "run").fingerprint != first
    (folder / "mine.txt").write_text("dear")
    with pytest.raises(ArtifactError, match=r"mine\.txt"):
        run_demo(folder, epochs=1)
    assert (folder / "mine.txt").read_text() == "dear"


def test_the_command_ends_with_where_things_lie_and_what_to_try(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "demo"
    assert main(["demo", "-o", str(folder), "--epochs", "1"]) == 0
    shown = capsys.readouterr().out
    places = shown.partition("Where everything lies\n")[2].partition("\n\n")[0].splitlines()
    assert len(places) == 4
    assert all(Path(line.split()[0]).exists() for line in places)
    for line in shown.partition("Try next\n")[2].splitlines():
        words = line.split()
        assert Path(words[0]).name == "likewise"
        if words[1] in ("search", "verify", "list"):
            assert main(words[1:]) == 0
