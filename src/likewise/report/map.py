"""A map of the embeddings in two dimensions, which a reader can move, enlarge and search by class.

PCA is always there; UMAP (McInnes, Healy, Melville 2018) stands beside it where umap-learn is installed.
A map of two dimensions shows what is near, and little more: distances across it mean nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.report.page import Markup
from likewise.report.subject import Subject

__all__ = ["MAP_SCRIPT", "MAP_STYLE", "embedding_map", "flat_positions"]

_MOST = 1500

MAP_STYLE = """
.map { position: relative; border: 1px solid var(--line); border-radius: .3rem; overflow: hidden;
  background: var(--panel) } .map canvas { display: block; width: 100%; height: min(70vh, 34rem);
  cursor: grab } .map output { position: absolute; left: .5rem; bottom: .4rem; font-size: .85rem;
  background: var(--back); padding: .05rem .4rem; border-radius: .2rem; max-width: 95% }
.map output:empty { display: none }
.tools { display: flex; flex-wrap: wrap; gap: .4rem; margin: .5rem 0 } .tools button, .tools select {
  font: inherit; font-size: .9rem; padding: .25rem .7rem; min-height: 2.2rem; color: var(--ink);
  background: var(--panel); border: 1px solid var(--line); border-radius: .3rem; max-width: 100% }
"""
"""Rules for the map."""

MAP_SCRIPT = """
'use strict';
for (const place of document.querySelectorAll('.map')) {
  const data = JSON.parse(place.querySelector('script').textContent);
  const canvas = place.querySelector('canvas'), said = place.querySelector('output');
  const tools = place.previousElementSibling, pen = canvas.getContext('2d');
  const pick = tools.querySelector('[name=class]'), kind = tools.querySelector('[name=kind]');
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const sprite = data.sprite && Object.assign(new Image(), {src: data.sprite.address});
  const n = data.classes.length;
  let view = {x: 0, y: 0, scale: 1}, shown = data.maps[0], over = -1;
  const hue = c => (c * 137.508) % 360;
  const colour = c => `hsl(${hue(c)} 70% ${dark.matches ? 62 : 38}%)`;
  const size = () => [canvas.clientWidth, canvas.clientHeight];
  const base = () => Math.min(...size()) * 0.45;
  const at = i => { const [w, h] = size(), k = base() * view.scale;
    return [w / 2 + (shown.x[i] - view.x) * k, h / 2 - (shown.y[i] - view.y) * k]; };
  function draw() {
    const [w, h] = size(), ratio = devicePixelRatio || 1;
    if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
      canvas.width = Math.round(w * ratio); canvas.height = Math.round(h * ratio);
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, w, h);
    const chosen = pick.value === '' ? -1 : +pick.value;
    const inside = [];
    for (let i = 0; i < n; i++) {
      const [x, y] = at(i);
      if (x > -40 && x < w + 40 && y > -40 && y < h + 40) inside.push([i, x, y]);
    }
    const ready = sprite && sprite.complete && sprite.naturalWidth;
    const side = ready ? Math.min(56, 7 * Math.sqrt(view.scale) + 1200 / Math.max(inside.length, 20)) : 0;
    for (const last of [false, true]) for (const [i, x, y] of inside) {
      const own = chosen < 0 || data.classes[i] === chosen;
      if (own !== last) continue;
      pen.globalAlpha = own ? 1 : 0.15;
      pen.fillStyle = pen.strokeStyle = colour(data.classes[i]);
      if (side >= 14) {
        const cell = data.sprite.cell, column = i % data.sprite.columns;
        const row = Math.floor(i / data.sprite.columns);
        pen.imageSmoothingEnabled = side < cell;
        pen.drawImage(sprite, column * cell, row * cell, cell, cell, x - side / 2, y - side / 2, side, side);
        pen.lineWidth = i === over ? 4 : 2;
        pen.strokeRect(x - side / 2, y - side / 2, side, side);
      } else {
        pen.beginPath(); pen.arc(x, y, i === over ? 7 : 3.5, 0, 7); pen.fill();
      }
    }
    pen.globalAlpha = 1;
    place.dataset.drawn = inside.length;
  }
  // Once for all that is due, at the next frame; where the browser shows none, a moment later all the same.
  let due = false;
  const now = () => { if (due) { due = false; draw(); } };
  const later = () => { due = true; requestAnimationFrame(now); setTimeout(now, 100); };
  function zoom(factor, x, y) {
    const [w, h] = size(), k = base() * view.scale;
    const px = view.x + (x - w / 2) / k, py = view.y - (y - h / 2) / k;
    view.scale = Math.min(400, Math.max(0.8, view.scale * factor));
    const k2 = base() * view.scale;
    view.x = px - (x - w / 2) / k2; view.y = py + (y - h / 2) / k2;
    later();
  }
  const middle = factor => zoom(factor, size()[0] / 2, size()[1] / 2);
  const whole = () => { view = {x: 0, y: 0, scale: 1}; later(); };
  tools.querySelector('[name=in]').onclick = () => middle(1.6);
  tools.querySelector('[name=out]').onclick = () => middle(1 / 1.6);
  tools.querySelector('[name=whole]').onclick = whole;
  pick.onchange = later;
  if (kind) kind.onchange = () => { shown = data.maps[+kind.value]; whole(); };
  canvas.addEventListener('wheel', event => {
    if (document.activeElement !== canvas && !event.ctrlKey) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 300), event.offsetX, event.offsetY);
  }, {passive: false});
  canvas.addEventListener('keydown', event => {
    const step = 40 / (base() * view.scale);
    const act = {'+': () => middle(1.3), '=': () => middle(1.3), '-': () => middle(1 / 1.3), '0': whole,
      ArrowLeft: () => { view.x -= step; }, ArrowRight: () => { view.x += step; },
      ArrowUp: () => { view.y += step; }, ArrowDown: () => { view.y -= step; }}[event.key];
    if (act) { event.preventDefault(); act(); later(); }
  });
  const held = new Map();
  canvas.addEventListener('pointerdown', event => {
    held.set(event.pointerId, [event.offsetX, event.offsetY]);
    canvas.setPointerCapture(event.pointerId);
  });
  for (const end of ['pointerup', 'pointercancel']) {
    canvas.addEventListener(end, event => held.delete(event.pointerId));
  }
  canvas.addEventListener('pointermove', event => {
    const here = [event.offsetX, event.offsetY], before = held.get(event.pointerId);
    if (before && held.size === 1) {
      const k = base() * view.scale;
      view.x -= (here[0] - before[0]) / k; view.y += (here[1] - before[1]) / k;
    } else if (before) {
      const other = [...held].find(([id]) => id !== event.pointerId)[1];
      const apart = point => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
      zoom(apart(here) / apart(before), (here[0] + other[0]) / 2, (here[1] + other[1]) / 2);
    } else {
      let best = 18; over = -1;
      for (let i = 0; i < n; i++) {
        const [x, y] = at(i), d = Math.hypot(x - here[0], y - here[1]);
        if (d < best) { best = d; over = i; }
      }
      said.textContent = over < 0 ? '' : `${data.names[data.classes[over]]}: ${data.items[over]}`;
    }
    if (before) held.set(event.pointerId, here);
    later();
  });
  dark.addEventListener('change', later);
  addEventListener('resize', later);
  if (sprite) sprite.onload = later;
  draw();
}
"""
"""The program of the map, plain JavaScript on a canvas."""


def flat_positions(embeddings: NDArray[np.float32], *, seed: int = 0) -> dict[str, NDArray[np.float64]]:
    """Positions (n, 2) by each way there is, scaled so that nearly all lie within 1 of the middle.

    >>> sorted(flat_positions(np.eye(5, 3, dtype=np.float32)))[:1]
    ['PCA, 83 % of the variance']
    """
    rows = torch.from_numpy(np.asarray(embeddings, dtype=np.float64))
    centred = rows - rows.mean(0)
    total = float(centred.square().sum())
    _, values, axes = torch.linalg.svd(centred, full_matrices=False)
    kept = min(2, len(values))
    flat = np.zeros((len(rows), 2))
    flat[:, :kept] = (centred @ axes[:kept].T).numpy()
    # The sign of a component is arbitrary: the longer tail goes right and up, on every machine.
    flat *= np.where((flat**3).sum(0) < 0, -1.0, 1.0)
    share = float(values[:kept].square().sum()) / total if total else 0.0
    maps = {"PCA" if total == 0 else f"PCA, {100 * share:.0f} % of the variance": _scaled(flat)}
    try:
        import umap
    except ImportError:
        return maps
    if len(rows) > 15:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # umap tells that a seed costs it its threads
            found = umap.UMAP(random_state=seed).fit_transform(np.asarray(embeddings))
        maps["UMAP"] = _scaled(np.asarray(found, dtype=np.float64))
    return maps


def _scaled(flat: NDArray[np.float64]) -> NDArray[np.float64]:
    middle = np.median(flat, axis=0)
    reach = float(np.quantile(np.abs(flat - middle).max(axis=1), 0.99))
    return (flat - middle) / (reach or 1.0)


def embedding_map(subject: Subject) -> Markup:
    """The map of all items, or of 1,500 drawn evenly from the classes."""
    rows = _chosen(subject.codes, subject.seed)
    maps = flat_positions(subject.embeddings[rows], seed=subject.seed)
    used = np.unique(subject.codes[rows])
    place = {int(code): position for position, code in enumerate(used)}
    sprite = subject.thumbnails.sprite(rows.tolist())
    data = {
        "classes": [place[int(code)] for code in subject.codes[rows]],
        "names": [subject.names[int(code)] for code in used],
        "items": [subject.name(int(row)) for row in rows],
        "maps": [
            {"x": np.round(flat[:, 0], 4).tolist(), "y": np.round(flat[:, 1], 4).tolist()}
            for flat in maps.values()
        ],
        "sprite": None
        if sprite is None
        else {"address": sprite.address, "cell": sprite.cell, "columns": sprite.columns},
    }
    return Markup(
        f'<div class="tools">{_tools(list(maps), data["names"])}</div>'
        '<div class="map"><canvas tabindex="0" role="img" aria-label="Map of the embeddings; '
        'plus and minus enlarge, arrows move"></canvas><output></output>'
        f'<script type="application/json">{_inert_json(data)}</script></div>'
        f'<p class="faint">{len(rows):,} of {len(subject):,} items. Drag to move; the buttons, two fingers, '
        "or the wheel after a click enlarge it, and thumbnails show.</p>"
        "<noscript><p>The map needs scripts; everything else on this page doesn't.</p></noscript>"
    )


def _tools(maps: list[str], names: Any) -> str:
    classes = "".join(f'<option value="{place}">{escape(name)}</option>' for place, name in enumerate(names))
    kinds = "".join(f'<option value="{place}">{escape(name)}</option>' for place, name in enumerate(maps))
    return (
        '<button name="in" type="button" aria-label="enlarge">+</button>'
        '<button name="out" type="button" aria-label="shrink">\u2212</button>'
        '<button name="whole" type="button">whole</button>'
        f'<select name="kind" aria-label="kind of map">{kinds}</select>'
        f'<select name="class" aria-label="class"><option value="">all classes</option>{classes}</select>'
    )


def _inert_json(data: Mapping[str, Any]) -> str:
    """JSON that can't end the element that it stands in."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c").replace("\u2028", "\\u2028")


def _chosen(codes: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """At most 1,500 rows: of each class in turn one, in a random order within it."""
    if len(codes) <= _MOST:
        return np.arange(len(codes))
    order = np.random.default_rng(seed).permutation(len(codes))
    by_class = order[np.argsort(codes[order], kind="stable")]
    sizes = np.bincount(codes)
    turn = np.concatenate([np.arange(size) for size in sizes])
    return np.sort(by_class[np.argsort(turn, kind="stable")[:_MOST]])
