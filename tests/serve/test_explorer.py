"""The page in a real browser, used as a person uses it: mouse, keyboard, files, two sizes, two themes."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from likewise.data import load
from likewise.distances import Euclidean
from likewise.encoders import MLP, Standardize
from likewise.model import Model
from likewise.search import Index
from likewise.serve.explorer import map_of
from likewise.serve.keys import Keys, new_key

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium here; CI installs it")
    playwright = pytest.importorskip("playwright.sync_api", reason="the dev extra brings playwright")
    with playwright.sync_playwright() as started:
        yield (opened := started.chromium.launch(executable_path=chromium, args=FLAGS))
        opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that fails the test on any script error and on any request beyond the server."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, accept_downloads=True)
    made = context.new_page()
    made.set_default_timeout(15_000)
    wrong: list[str] = []
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on(
        "console", lambda message: wrong.append(message.text) if "Security Policy" in message.text else None
    )
    made.on(
        "request",
        lambda sent: (
            wrong.append(sent.url)
            if not sent.url.startswith(("http://127.0.0.1", "data:", "blob:"))
            else None
        ),
    )
    yield made
    context.close()
    assert wrong == []


def opened(page: Any, address: str) -> Any:
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    return page


def ids(page: Any) -> list[str]:
    return page.eval_on_selector_all(".hit", "hits => hits.map(hit => hit.dataset.id)")


def told(page: Any, text: str) -> None:
    page.wait_for_function("text => document.getElementById('status').textContent.includes(text)", arg=text)


def test_a_picture_is_searched_and_hits_are_walked(page, serving, digits_index, tmp_path: Path) -> None:
    opened(page, serving(data="digits"))
    array = load("digits").X[11]
    Image.fromarray((array * 255).round().astype(np.uint8)).save(tmp_path / "eleven.png")
    page.set_input_files("#query input[type=file]", tmp_path / "eleven.png")
    told(page, "neighbours of eleven.png")
    index = Index.load(digits_index)
    expected = [hit.id for hit in index.search(array, 12)]
    assert ids(page)[0] == "digits:11"
    assert sorted(ids(page)) == sorted(expected)
    assert "alike" in page.inner_text(".hit >> nth=0")
    assert page.eval_on_selector_all(".hit img", "all => all.every(one => one.naturalWidth > 0)")
    second = ids(page)[1]
    page.click(".hit >> nth=1")
    told(page, f"neighbours of {second}")
    assert ids(page)[0] == second
    assert page.inner_text("#trail").split("→")[-1].strip() == second
    page.click("#trail button >> nth=0")
    told(page, "neighbours of eleven.png")
    page.fill("#where", "price < 3 and shop = 'A'")
    page.click("#options button")
    told(page, "12 neighbours")
    rows = [int(name.split(":")[1]) for name in ids(page)]
    assert all(row % 50 < 3 and row % 2 == 0 for row in rows)
    page.fill("#where", "price <")
    page.click("#options button")
    page.wait_for_selector("#error:has-text('at character 8')")


def test_several_pictures_or_records_are_one_query(page, serving, digits_index, tmp_path: Path) -> None:
    opened(page, serving(data="digits"))
    rows, index = [3, 13, 23], Index.load(digits_index)
    for row in rows:
        Image.fromarray((load("digits").X[row] * 255).round().astype(np.uint8)).save(tmp_path / f"{row}.png")
    page.set_input_files("#query input[type=file]", [tmp_path / f"{row}.png" for row in rows])
    told(page, "12 neighbours of 3 pictures")
    assert page.locator("#query .preview img").count() == 3
    expected = [hit.id for hit in index.search(load("digits").X[rows], 12, together=True)]
    assert sorted(ids(page)) == sorted(expected)
    assert sorted(ids(page)) != sorted(hit.id for hit in index.search(load("digits").X[3], 12))
    page.click(".hit >> nth=0")
    told(page, f"neighbours of {expected[0]}")
    page.click("#trail button >> nth=0")  # and back to all three
    told(page, "12 neighbours of 3 pictures")
    assert page.locator("#query .preview img").count() == 3
    page.fill("#query textarea", "digits:3\ndigits:13\n digits:23\n")
    page.click("#options button")
    told(page, "12 neighbours of 3 records")
    assert sorted(ids(page)) == sorted(expected)
    page.fill("#query textarea", "digits:3\nnobody")
    page.click("#options button")
    page.wait_for_selector("#error:has-text('nobody')")


def test_a_picture_is_dropped_and_pasted(page, serving, tmp_path: Path) -> None:
    import base64
    import io

    opened(page, serving(data="digits"))
    stream = io.BytesIO()
    Image.fromarray((load("digits").X[20] * 255).round().astype(np.uint8)).save(stream, "PNG")
    hand_over = """([data, kind, property]) => {
      const bytes = Uint8Array.from(atob(data), sign => sign.charCodeAt(0)), moved = new DataTransfer();
      moved.items.add(new File([bytes], 'twenty.png', { type: 'image/png' }));
      document.querySelector('#query .drop').dispatchEvent(
        new (kind === 'drop' ? DragEvent : ClipboardEvent)(kind,
          { bubbles: true, cancelable: true, [property]: moved }));
    }"""
    data = base64.b64encode(stream.getvalue()).decode()
    for kind, property_ in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        page.evaluate("document.getElementById('hits').replaceChildren()")
        page.evaluate(hand_over, [data, kind, property_])
        page.wait_for_selector(".hit")
        assert ids(page)[0] == "digits:20"


def test_the_map_zooms_to_thumbnails_and_opens_a_record(page, serving) -> None:
    opened(page, serving(data="digits"))
    page.keyboard.press("Tab")  # to the skip link, then the tabs: all by keyboard
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    told(page, "300 records on the map")
    assert page.inner_text("#seen") == "300 in view"
    page.select_option("#colour", "shop")
    page.wait_for_selector("#legend li:has-text('A (150)')")
    page.select_option("#colour", "price")
    page.wait_for_selector("#legend li:has-text('49')")
    page.focus("#canvas")
    for _ in range(4):
        page.keyboard.press("+")
    page.wait_for_selector("#canvas[data-pictures]")
    page.wait_for_selector("#canvas[data-pictures]:not([data-pictures='0'])")
    seen = int(page.inner_text("#seen").split()[0])
    assert 0 < seen < 300
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("0")
    page.wait_for_selector("#seen:text-is('300 in view')")
    page.keyboard.press("Enter")
    told(page, "neighbours of digits:")
    assert page.get_attribute("#tab-search", "aria-selected") == "true"


def test_the_map_is_dragged_and_pointed_at(page, serving, digits_index) -> None:
    opened(page, serving(data="digits"))
    page.click("#tab-map")
    told(page, "300 records")
    box = page.locator("#canvas").bounding_box()
    points = map_of(Index.load(digits_index).embeddings)
    middle, scale = (
        (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2),
        0.47 * min(box["width"], box["height"]),
    )
    gaps = np.linalg.norm(points[:, None] - points[None], axis=-1) + 9 * np.eye(300)
    lone = int(gaps.min(1).argmax())
    place = (middle[0] + points[lone, 0] * scale, middle[1] - points[lone, 1] * scale)
    place = (float(place[0]), float(place[1]))
    page.mouse.move(*place)
    page.wait_for_selector(f"#tip:has-text('digits:{lone}')")
    page.mouse.down()
    page.mouse.move(place[0] - 40, place[1] - 30, steps=3)
    page.mouse.up()
    page.mouse.click(place[0] - 40, place[1] - 30)
    told(page, f"neighbours of digits:{lone}")


def test_what_is_drawn_around_on_the_map_becomes_a_table(page, serving, digits_index) -> None:
    opened(page, serving(data="digits"))
    page.click("#tab-map")
    told(page, "300 records")
    index = Index.load(digits_index)
    box = page.locator("#canvas").bounding_box()
    points, scale = map_of(index.embeddings), 0.47 * min(box["width"], box["height"])
    x = box["x"] + box["width"] / 2 + points[:, 0] * scale
    y = box["y"] + box["height"] / 2 - points[:, 1] * scale
    # A triangle around the upper left, by its three sides.
    corners = np.array(
        [[x.min() - 5, y.min() - 5], [x.mean() + 40, y.min() - 5], [x.min() - 5, y.mean() + 40]]
    )
    share = (x - corners[0, 0]) / np.ptp(corners[:, 0]) + (y - corners[0, 1]) / np.ptp(corners[:, 1])
    surely, maybe = (set(np.flatnonzero(share < bound).tolist()) for bound in (0.99, 1.01))
    page.click("#lasso")
    assert page.get_attribute("#lasso", "aria-pressed") == "true"
    page.mouse.move(*corners[0].tolist())
    page.mouse.down()
    for corner in corners[[1, 2]].tolist():
        page.mouse.move(*corner, steps=5)
    page.mouse.up()
    told(page, "records selected")
    assert page.get_attribute("#lasso", "aria-pressed") == "false"
    with page.expect_download() as download:
        page.click("#selection-table")
    lines = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
    chosen = {int(line["id"].split(":")[1]) for line in lines}
    assert 0 < len(surely) < 300
    assert surely <= chosen <= maybe
    assert page.inner_text("#selected") == f"{len(lines)} selected"
    for line in lines:
        record = index.record(line["id"])
        assert (line["label"], line["price"], line["shop"]) == (
            str(record.label),
            str(record.metadata["price"]),
            record.metadata["shop"],
        )
    name = page.get_attribute("#selection-list .hit >> nth=0", "data-id")
    page.click("#selection-clear")
    assert page.locator("#selection.hidden").count() == 1
    page.focus("#take")  # by keyboard: all that is in view
    page.keyboard.press("Enter")
    told(page, "300 records selected")
    page.wait_for_selector("#selection-list :text('and 240 more')")
    page.click(f"#selection-list .hit[data-id='{index.ids[0]}']")
    told(page, f"neighbours of {index.ids[0]}")
    assert name in index


def test_a_table_of_rows_that_are_not_there_is_refused(serving) -> None:
    import httpx

    address = serving()
    for rows, status in (
        ([0, 300], 422),
        ([], 422),
        ([-1], 422),
        (["0"], 422),
        ([0] * 5001, 422),
        ([299], 200),
    ):
        assert httpx.post(f"{address}/explorer/table", json={"rows": rows}).status_code == status


def test_two_things_are_verified_side_by_side(page, serving, digits_index) -> None:
    opened(page, serving(data="digits"))
    page.click("#tab-verify")
    model = Index.load(digits_index).model
    X = load("digits").X
    for other in (10, 5, 60):
        page.fill("#pair textarea >> nth=0", "digits:0")
        page.fill("#pair textarea >> nth=1", f"digits:{other}")
        page.click("#compare")
        verdict = model.verify(X[0], X[other])
        page.wait_for_function(
            "d => Math.abs(document.querySelector('#verdict-more').innerText.match(/[.\\d]+/) - d) < .001",
            arg=verdict.distance,
        )
        assert page.inner_text("#verdict").startswith("Alike" if verdict.alike else "Not alike")
    assert page.locator("#pair img").count() == 2


def test_suspects_are_judged_and_a_table_is_written(page, serving, tmp_path: Path) -> None:
    opened(page, serving(data="digits", corrections=tmp_path / "corrections.csv"))
    page.click("#tab-suspects")
    page.wait_for_selector("#suspect-list li")
    assert page.locator("#suspect-list img").count() > 0
    first, second = (
        page.locator("#suspect-list li").nth(place).get_attribute("aria-label").split(",")[0]
        for place in (0, 1)
    )
    page.click("#suspect-list li >> nth=0 >> .accept")
    told(page, f"{first}: accepted")
    page.keyboard.press("r")  # the next one has the focus
    told(page, f"{second}: rejected")
    rows = list(csv.DictReader((tmp_path / "corrections.csv").read_text().splitlines()))
    assert [(row["id"], row["decision"]) for row in rows] == [(first, "accept"), (second, "reject")]
    page.click("#corrected summary")
    with page.expect_download() as download:
        page.click("#download")
    downloaded = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
    assert [row["suggested"] for row in downloaded] == [row["suggested"] for row in rows]


def test_names_from_strangers_are_text(page, run_app, digits_index) -> None:
    from likewise.serve.app import create_app
    from likewise.serve.served import Served

    hostile = "<img src=x onerror=\"document.title='owned'\"></script><b>"
    index = Index.load(digits_index)
    index.update(["digits:0"], labels=[hostile], metadata=[{"shop": hostile}])
    index.add((load("digits").X[:1], [hostile]), ids=[hostile])
    with run_app(create_app(Served(index))) as address:
        opened(page, address)
        page.fill("#query textarea", "digits:0")
        page.keyboard.press("Enter")
        page.wait_for_selector(".hit")
        page.click("#tab-map")
        page.wait_for_selector("#legend li")
        assert page.title() == "likewise explorer"
        assert page.locator(".hit b, #legend b, .hit img").count() == 0
        assert hostile in page.inner_text("#legend")


def test_pictures_are_found_by_words_where_the_model_learned_them(page, run_app) -> None:
    """Words' vectors are laid onto the embeddings of two digits: each word must find its own."""
    import httpx
    import torch

    import likewise as lw
    from likewise.distances import Cosine
    from likewise.encoders import WordMapped, encoder_for
    from likewise.serve.app import create_app
    from likewise.serve.explorer import Explorer
    from likewise.serve.served import Served

    digits = load("digits").take(slice(0, 40))
    encoder = WordMapped(encoder_for((8, 8), dimension=6), words=["zero", "red"], dimension=6)
    model = Model(encoder, Cosine(), Standardize((8, 8)))
    encoder.word_vectors.copy_(torch.from_numpy(model.embed(digits.items([4, 7]))))
    index = Index.build(model, digits, ids=[f"digits:{row}" for row in range(40)])
    with run_app(
        create_app(served := Served(index), explorer=Explorer(served, records=load("digits")))
    ) as address:
        opened(page, address)
        for words, row in (("a red one", 7), ("zero", 4)):
            page.fill("#query textarea", words)
            page.keyboard.press("Enter")
            told(page, f"neighbours of {words}")
            assert ids(page)[0] == f"digits:{row}"
        page.fill("#query textarea", "id:digits:7")
        page.keyboard.press("Enter")
        told(page, "neighbours of digits:7")
        page.fill("#query textarea", "xyzzy")
        page.keyboard.press("Enter")
        page.wait_for_selector("#error:has-text('has a vector')")
        with lw.Client(address) as client:
            assert client.search({"text": "a red one"}, k=1)[0].id == "digits:7"
        add = {"items": [{"text": "zero"}], "ids": ["new"]}
        assert httpx.post(f"{address}/v1/records", json=add).status_code == 422


def test_rows_of_numbers_and_keys(page, run_app, tmp_path: Path) -> None:
    from likewise.serve.app import create_app
    from likewise.serve.served import Served

    index = Index.build(Model(MLP(4, dimension=3), Euclidean(), Standardize((4,))), "iris")
    secret = new_key(tmp_path / "keys", "page", scopes=["read", "write"])
    with run_app(create_app(Served(index), keys=Keys.load(tmp_path / "keys"))) as address:
        page.goto(address)
        page.wait_for_selector("#key:not(.hidden)")
        page.fill("#key-value", "wrong")
        page.click("#key button")
        page.wait_for_selector("#error:has-text('give a key')")
        page.fill("#key-value", secret)
        page.click("#key button")
        page.wait_for_selector("body[data-ready]")
        numbers = ", ".join(str(value) for value in load("iris").X[70].tolist())
        page.fill("#query textarea", numbers)
        page.keyboard.press("Enter")
        page.wait_for_selector(".hit")
        assert "iris:70" in ids(page)[:3]
        page.fill("#query textarea", "1, 2, 3")
        page.keyboard.press("Enter")
        page.wait_for_selector("#error:has-text('takes 4 numbers; found 3')")
        page.click("#tab-verify")
        assert "no threshold" in page.inner_text("#verdict-more")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_400_pixels_and_can_be_read_in_both_themes(page, serving, scheme: str) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    page.emulate_media(color_scheme=scheme)
    opened(page, serving(data="digits"))
    page.fill("#query textarea", "digits:7")
    page.keyboard.press("Enter")
    page.wait_for_selector(".hit img")
    for tab in ("search", "map", "verify", "suspects"):
        page.click(f"#tab-{tab}")
        page.wait_for_selector(f"#{tab}:not(.hidden)")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400, tab
    contrast = page.evaluate("""() => {
      const light = colour => { const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
        .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
        return .2126 * parts[0] + .7152 * parts[1] + .0722 * parts[2]; };
      const back = getComputedStyle(document.body).backgroundColor;
      return ['body', '.faint', '#error', '.main'].map(name => {
        const style = getComputedStyle(document.querySelector(name));
        const own = name === '.main' ? style.backgroundColor : back, a = light(style.color), b = light(own);
        return (Math.max(a, b) + .05) / (Math.min(a, b) + .05); }); }""")
    assert min(contrast) >= 4.5  # WCAG 2, AA


def test_a_filter_is_shown_that_fits_the_index(page, serving) -> None:
    opened(page, serving(data="digits"))
    placeholder = page.get_attribute("#where", "placeholder")
    assert placeholder == "label = 0"
    assert page.inner_text("#columns") == "Columns to filter by: id, label, price, shop."
    page.fill("#query textarea", "digits:5")
    page.fill("#where", placeholder)
    page.keyboard.press("Enter")
    told(page, "12 neighbours of digits:5")
    assert set(page.eval_on_selector_all(".hit .name", "all => all.map(one => one.textContent)")) == {"0"}


def test_cards_stand_in_line_and_are_no_longer_for_long_columns(page, run_app, digits_index) -> None:
    from likewise.serve.app import create_app
    from likewise.serve.explorer import Explorer
    from likewise.serve.served import Served

    index = Index.load(digits_index)
    index.update(["digits:0"], metadata=[{"shop": "word " * 200, "copy": "digits:0"}])
    served = Served(index)
    with run_app(create_app(served, explorer=Explorer(served, records=load("digits")))) as address:
        opened(page, address)
        page.fill("#query textarea", "digits:0")
        page.keyboard.press("Enter")
        page.wait_for_selector(".hit img")
        told(page, "besides itself is digits:")
        boxes = page.eval_on_selector_all(
            ".hit",
            """all => all.map(one => [one, one.querySelector('img')].map(
                 part => part.getBoundingClientRect().top))""",
        )
        row = [picture - card for card, picture in boxes if card == boxes[0][0]]
        assert len(row) > 3
        assert max(row) - min(row) < 1
        assert page.locator(".hit >> nth=0").bounding_box()["height"] < 320
        assert "copy" not in page.inner_text(".hit >> nth=0")


def test_a_verdict_goes_when_a_thing_changes(page, serving) -> None:
    opened(page, serving(data="digits"))
    page.click("#tab-verify")
    page.fill("#pair textarea >> nth=0", "digits:0")
    page.fill("#pair textarea >> nth=1", "digits:0")
    page.click("#compare")
    page.wait_for_selector("#verdict:has-text('likely to be alike')")
    page.fill("#pair textarea >> nth=1", "digits:1")
    assert page.inner_text("#verdict") == page.inner_text("#verdict-more") == ""


def test_a_suspect_leads_to_its_neighbours_and_tabs_have_home_and_end(page, serving) -> None:
    opened(page, serving(data="digits"))
    page.focus("#tab-search")
    page.keyboard.press("End")
    page.wait_for_selector("#suspect-list li")
    assert page.evaluate("document.activeElement.id") == "tab-suspects"
    name = page.inner_text("#suspect-list .link >> nth=0")
    page.click("#suspect-list .link >> nth=0")
    told(page, f"neighbours of {name}")
    assert ids(page)[0] == name
    page.focus("#tab-suspects")
    page.keyboard.press("Home")
    assert page.evaluate("document.activeElement.id") == "tab-search"


def test_colours_of_the_map_can_be_told_apart_on_both_grounds(page, serving) -> None:
    opened(page, serving(data="digits"))
    colours = np.array(page.evaluate("[...Array(10).keys()].map(rgb)"), dtype=float)
    ramp = np.array(page.evaluate("[0, .25, .5, .75, 1].map(ramp)"), dtype=float)

    def linear(colours: np.ndarray) -> np.ndarray:
        parts = colours / 255
        return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)

    def lab(colours: np.ndarray) -> np.ndarray:
        """CIE 1976 L*a*b*, in which equal distances look about equally large."""
        to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
        x, y, z = np.cbrt(linear(colours) @ to_xyz.T / [0.9505, 1, 1.089]).T
        return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)

    shown = linear(np.concatenate([colours, ramp])) @ [0.2126, 0.7152, 0.0722]
    dark = linear(np.array([0x14, 0x18, 0x1D])) @ [0.2126, 0.7152, 0.0722]
    assert (1.05 / (shown + 0.05)).min() >= 3  # WCAG 2, 1.4.11, on white
    assert ((shown + 0.05) / (dark + 0.05)).min() >= 3
    places = lab(colours)
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)
    assert gaps[np.triu_indices(10, 1)].min() > 25


def test_everything_that_acts_has_a_name(page, serving) -> None:
    opened(page, serving(data="digits"))
    nameless = page.evaluate("""() =>
      [...document.querySelectorAll('button, input, select, textarea, canvas')]
      .filter(one => !(one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.length))
      .map(one => one.outerHTML.slice(0, 80))""")
    assert nameless == []
    assert page.get_attribute("html", "lang") == "en"
    assert page.locator("[role=tabpanel]").count() == page.locator("[role=tab]").count()


def test_a_hundred_thousand_points_are_one_picture_of_those_in_view(page, run_app) -> None:
    """However many keys come within a frame, it is drawn once, and only what lies in view."""
    from likewise.serve.app import create_app
    from likewise.serve.served import Served

    index = Index(Model(MLP(4, dimension=4, hidden=()), Euclidean(), Standardize((4,))))
    vectors = np.random.default_rng(0).normal(size=(100_000, 4)).astype(np.float32)
    index.add_embeddings(
        vectors, ids=[str(i) for i in range(100_000)], labels=[i % 30 for i in range(100_000)]
    )
    with run_app(create_app(Served(index))) as address:
        opened(page, address)
        page.evaluate("""() => {
          window.calls = {};
          for (const name of ['putImageData', 'drawImage', 'fillRect', 'fill', 'stroke', 'fillText']) {
            const kept = CanvasRenderingContext2D.prototype[name];
            calls[name] = 0;
            CanvasRenderingContext2D.prototype[name] = function (...all) {
              calls[name]++;
              return kept.apply(this, all);
            };
          }
        }""")
        page.click("#tab-map")
        told(page, "100000 records")
        page.wait_for_function("document.querySelector('#canvas').dataset.drawn === '100000'")

        def after(key: str, times: int) -> tuple[int, int, dict[str, int]]:
            """How many frames and points were drawn, and by which calls, after so many presses at once."""
            return tuple(  # type: ignore[return-value]
                page.evaluate(
                    """async ([key, times]) => {
                      const canvas = document.querySelector('#canvas');
                      const frame = () => new Promise(requestAnimationFrame);
                      await frame(); await frame();
                      const before = Number(canvas.dataset.frames), called = { ...calls };
                      for (let i = 0; i < times; i++)
                        canvas.dispatchEvent(new KeyboardEvent('keydown', { key, cancelable: true }));
                      await frame(); await frame();
                      const made = Object.entries(calls).map(([name, count]) => [name, count - called[name]]);
                      return [Number(canvas.dataset.frames) - before, Number(canvas.dataset.drawn),
                              Object.fromEntries(made.filter(([, count]) => count))];
                    }""",
                    [key, times],
                )
            )

        width, height = page.evaluate(
            "(({ width, height }) => [width, height])(document.querySelector('#canvas'))"
        )
        x, y = map_of(index.embeddings).T.astype(np.float64)
        for presses, zoom in ((5, 1.5**5), (7, 1.5**12)):
            frames, drawn, calls = after("+", presses)
            scale = 0.47 * min(width, height) * zoom
            # Points are squares of up to 9 pixels, which must lie in view as a whole.
            inside, surely = (
                int(((np.abs(x) * scale < width / 2 - edge) & (np.abs(y) * scale < height / 2 - edge)).sum())
                for edge in (0, 7)
            )
            assert (frames, calls) == (1, {"putImageData": 1})
            assert surely <= drawn <= inside < 100_000
        assert after("0", 1) == (1, 100_000, {"putImageData": 1})
