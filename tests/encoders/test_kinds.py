"""Encoders and preprocessing of every kind: what they compute, from JSON and back, and what they refuse."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from likewise.data import Records, TableItems, TextItems, load
from likewise.encoders import (
    ENCODERS,
    HEADS,
    MLP,
    BinaryHead,
    Encoder,
    HashedNgrams,
    Headed,
    NgramMLP,
    Preprocessing,
    Standardize,
    TableColumn,
    TableFeatures,
    TableMLP,
    TextTransformer,
    VisionTransformer,
    Words,
    config_of,
    encoder_for,
    encoder_from_config,
    fresh_copy,
    preprocessing_for,
    preprocessing_from_config,
)
from likewise.errors import InputError

TEXTS = ["A cat sat on the mat", "the cat, the dog", "one dog", "nothing like the others !", "a cat sat"]
ROWS = np.array(
    [(1.0, "x", 5.0), (np.nan, "y", 5.0), (3.0, "", 5.0), (8.0, "x", np.nan)],
    dtype=[("size", "f4"), ("kind", "U2"), ("level", "f4")],
)


def texts() -> np.ndarray:
    return TextItems(TEXTS).texts


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


CASES: dict[str, tuple[Preprocessing, Any, dict[str, Any]]] = {
    "vit": (Standardize((16, 12)), noise(5, 16, 12), {"name": "vit"}),
    "colour vit": (
        Standardize((3, 17, 20)),
        noise(5, 3, 17, 20),
        {"name": "vit", "patch": 4, "width": 12, "depth": 1},
    ),
    "table": (TableFeatures.learned_from(ROWS), ROWS, {}),
    "linear table": (TableFeatures.learned_from(ROWS), ROWS, {"name": "linear"}),
    "ngrams": (HashedNgrams.learned_from(texts(), buckets=128, letters=(2, 3)), texts(), {"width": 16}),
    "words": (Words.learned_from(texts(), longest=6, others=4), texts(), {"width": 16, "heads": 2}),
    "features": (Standardize((4,)), noise(5, 4), {"name": "linear"}),
    "normalized": (Standardize((4,)), noise(5, 4), {"head": "normalized"}),
    "binary": (Standardize((4,)), noise(5, 4), {"head": "binary"}),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Preprocessing, Any, Encoder]:
    preparation, items, options = CASES[request.param]
    return preparation, items, encoder_for(preparation, dimension=6, seed=1, **options).eval()


def test_each_item_is_embedded_on_its_own(case) -> None:
    preparation, items, encoder = case
    whole = encoder(preparation(items))
    assert whole.shape == (len(items), 6) == (len(items), encoder.dimension)
    alone = torch.cat([encoder(preparation(items[i : i + 1])) for i in range(len(items))])
    torch.testing.assert_close(whole, alone, rtol=1e-4, atol=1e-5)
    assert len(torch.unique(whole.detach(), dim=0)) > 1


def test_json_builds_both_again(case) -> None:
    preparation, items, encoder = case
    again = preprocessing_from_config(json.loads(json.dumps(preparation.config())))
    again.load_state_dict(preparation.state_dict())
    assert torch.equal(again(items), preparation(items))
    assert again.config() == preparation.config()
    rebuilt = encoder_from_config(json.loads(json.dumps(config_of(encoder))))
    assert rebuilt.config() == encoder.config()
    rebuilt.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(rebuilt.eval()(again(items)), encoder(preparation(items)), rtol=0, atol=0)


def test_every_parameter_learns(case) -> None:
    preparation, items, encoder = case
    encoder.train()
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    moved: set[str] = set()
    for _ in range(3):  # a last layer that begins at zero lets nothing through the first time
        encoder.zero_grad()
        (encoder(preparation(items)) * torch.rand(len(items), 6)).sum().backward()
        moved |= {n for n, p in encoder.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
        optimizer.step()
    assert {name for name, _ in encoder.named_parameters()} == moved


def test_seeds_and_fresh_copies_decide_the_weights(case) -> None:
    preparation, items, encoder = case
    fresh = fresh_copy(encoder, seed=5).eval()
    assert torch.equal(fresh(preparation(items)), fresh_copy(encoder, seed=5).eval()(preparation(items)))
    assert not torch.equal(fresh(preparation(items)), encoder(preparation(items)))


def test_examples_and_vectors_are_what_they_say(case) -> None:
    preparation, items, encoder = case
    assert encoder(preparation(preparation.examples())).shape == (2, 6)
    vectors = preparation.vectors(items)
    assert vectors.ndim == 2 and len(vectors) == len(items) and torch.isfinite(vectors).all()


def test_a_row_of_a_table_is_numbers_marks_and_categories() -> None:
    """size: mean 4, deviation sqrt((9 + 1 + 16) / 3); level: constant."""
    made = TableFeatures.learned_from(ROWS)
    deviation = math.sqrt(26 / 3)
    expected = [
        [-3 / deviation, 0, 0, 0, 1],
        [0, 0, 1, 0, 2],
        [-1 / deviation, 0, 0, 0, 0],
        [4 / deviation, 0, 0, 1, 1],
    ]
    np.testing.assert_allclose(made(ROWS), expected, atol=1e-6)
    assert made.sizes == [3]
    other = np.array([("z", 9.0, 2.0)], dtype=[("kind", "U9"), ("size", "f8"), ("level", "i4")])
    assert made(other)[0, -1] == 0  # never seen is as good as missing, and columns are found by name
    vectors = made.vectors(ROWS)
    assert vectors[:, 4:].tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (ROWS[["size", "kind"]], "'level' isn't there"),
        (
            np.array([(1, 2.0, 3.0)], dtype=[("size", "f4"), ("kind", "f4"), ("level", "f4")]),
            "'kind' must hold words",
        ),
        (
            np.array([("a", "b", 3.0)], dtype=[("size", "U1"), ("kind", "U1"), ("level", "f4")]),
            "must hold numbers",
        ),
        (ROWS[:0], "at least one row"),
        ([[1.0, 2.0, 3.0]], "rows of a table"),
    ],
)
def test_rows_of_another_table_are_refused(rows: Any, found: str) -> None:
    with pytest.raises(InputError, match=found):
        TableFeatures.learned_from(ROWS)(rows)


def test_a_table_of_numbers_takes_arrays_with_missing_values() -> None:
    made = TableFeatures([TableColumn("a"), TableColumn("b")])
    assert made([[1.0, np.nan]]).tolist() == [[1, 0, 0, 1]]
    for bad, found in [([[1.0]], r"\(n, 2\)"), ([[1.0, np.inf]], "finite")]:
        with pytest.raises(InputError, match=found):
            made(bad)


def test_a_category_is_a_learned_vector() -> None:
    net = TableMLP(0, [3], dimension=2, hidden=())
    items = torch.tensor([[0.0], [1.0], [2.0], [1.0]])
    expected = net.mlp(torch.stack([net.embeddings[0].weight[int(code)] for code in items[:, 0]]))
    torch.testing.assert_close(net(items), expected)


def test_words_are_their_places_in_the_vocabulary() -> None:
    made = Words.learned_from(texts(), others=3)
    tokens = Counter(w for text in TEXTS for w in re.findall(r"\w+|[^\w\s]", text.lower()))
    frequent = [word for word, count in tokens.items() if count > 1]
    assert made.vocabulary == tuple(sorted(frequent, key=lambda word: (-tokens[word], word)))
    found = made(TextItems(["The DOG", "the unheard word, the cat"]).texts)
    place = {word: number + 1 for number, word in enumerate(made.vocabulary)}
    assert found[0].tolist() == [place["the"], place["dog"], 0, 0, 0, 0]
    assert found[1, [0, 4, 5]].tolist() == [place["the"], place["the"], place["cat"]]
    assert ((found[1, 1:4] > len(made.vocabulary)) & (found[1, 1:4] < made.size)).all()
    assert Words(["a"], longest=2)(TextItems(["a a a"]).texts).shape == (1, 2)


def test_padding_changes_no_embedding() -> None:
    encoder = TextTransformer(9, dimension=3, width=8, heads=2).eval()
    short = encoder(torch.tensor([[3, 5]]))
    long = encoder(torch.tensor([[3, 5, 0, 0, 0], [1, 2, 3, 4, 5]]))[:1]
    torch.testing.assert_close(short, long, rtol=1e-4, atol=1e-6)
    assert torch.isfinite(encoder(torch.zeros(1, 3, dtype=torch.int64))).all()


def test_ngrams_are_counted_weighed_and_of_unit_norm() -> None:
    """Without collisions: words and pairs of words, sublinear counts times rarity."""
    made = HashedNgrams.learned_from(texts(), buckets=2**20)
    (prepared,) = made(TextItems(["the cat the cat"]).texts)
    present = prepared[prepared[:, 0] > 0]
    held = [set(words) | set(map(" ".join, pairwise(words))) for words in
            (re.findall(r"\w+", text.lower()) for text in TEXTS)]  # fmt: skip
    weights = []
    for gram, count in {"the": 2, "cat": 2, "the cat": 2, "cat the": 1}.items():
        rarity = math.log((1 + 5) / (1 + sum(gram in grams for grams in held))) + 1e-3
        weights.append((1 + math.log(count)) * rarity)
    expected = np.array(weights) / np.linalg.norm(weights)
    np.testing.assert_allclose(np.sort(present[:, 1]), np.sort(expected), rtol=1e-5)
    assert torch.equal(made(texts()), made(texts()))
    longest = HashedNgrams.learned_from(texts(), longest=2)(texts())
    assert longest.shape == (5, 2, 2)
    torch.testing.assert_close(longest[..., 1].norm(dim=1), torch.ones(5))


def test_an_ngram_encoder_is_the_weighted_sum_of_vectors() -> None:
    net = NgramMLP(8, dimension=3, width=4, hidden=()).eval()
    items = torch.tensor([[[2.0, 0.5], [7.0, 0.25], [0.0, 0.0]]])
    table = net.vectors.weight
    torch.testing.assert_close(net(items), net.mlp((0.5 * table[2] + 0.25 * table[7])[None]))
    assert net(torch.zeros(1, 2, 2)).abs().max() < 1  # a text of no words
    learned = NgramMLP(8, dimension=3, width=4, hidden=(), gains=True).eval()
    learned.load_state_dict({**net.state_dict(), "gains.weight": torch.zeros(9, 1)})
    torch.testing.assert_close(learned(items), net(items))  # gains begin at 1
    assert learned.gains is not None
    with torch.no_grad():
        learned.gains.weight[7] = math.log(3.0)
    torch.testing.assert_close(learned(items), net.mlp((0.5 * table[2] + 0.75 * table[7])[None]))


def test_an_ngram_encoder_as_wide_as_an_embedding_maps_nothing() -> None:
    net = NgramMLP(8, dimension=4, width=4)
    items = torch.tensor([[[2.0, 0.5], [7.0, 0.25], [0.0, 0.0]]])
    table = net.vectors.weight
    torch.testing.assert_close(net(items), (0.5 * table[2] + 0.25 * table[7])[None])
    assert net.mlp is None and encoder_from_config(net.config()).config() == net.config()
    assert NgramMLP(8, dimension=4, width=4, hidden=(3,)).mlp is not None


def test_the_untrained_default_for_texts_compares_them_about_as_their_ngrams_do() -> None:
    records = Records(TextItems(TEXTS), None, "texts")
    made = preprocessing_for(records)
    assert made.config()["letters"] == [3, 4]
    prepared = made(records.items())
    rows = torch.zeros(len(prepared), made.config()["buckets"] + 1)
    rows.scatter_add_(1, prepared[..., 0].long(), prepared[..., 1])
    net = encoder_for(made, dimension=None)
    assert net.dimension == 256
    cosines = torch.corrcoef(torch.stack([(rows @ rows.T).flatten(), _cosines(net(prepared)).flatten()]))
    assert cosines[0, 1] > 0.95


def _cosines(vectors: torch.Tensor) -> torch.Tensor:
    unit = torch.nn.functional.normalize(vectors, dim=1)
    return unit @ unit.T


def test_a_vit_sees_where_its_patches_are() -> None:
    net = VisionTransformer((8, 8), dimension=4, patch=4, width=12, depth=1)
    image = torch.zeros(1, 8, 8)
    image[0, :4, :4] = 1
    moved = image.roll(4, dims=2)
    assert not torch.allclose(net(image), net(moved), atol=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_heads_are_their_formulas(head: str) -> None:
    body = MLP(4, dimension=5)
    made = Headed(body, head=head, dimension=1 if head == "score" else 3)
    items = torch.randn(6, 4)
    line = body(items) @ made.head.map.weight.T + made.head.map.bias
    expected = {
        "linear": line,
        "score": line,
        "normalized": line / line.norm(dim=1, keepdim=True),
        "binary": torch.where(line >= 0, 1.0, -1.0),
    }[head]
    torch.testing.assert_close(made(items), expected)


def test_the_slope_of_a_binary_code_is_that_of_tanh() -> None:
    head = BinaryHead(3, 2)
    features = torch.randn(5, 3, requires_grad=True)
    code = head(features)
    assert set(code.detach().unique().tolist()) <= {-1.0, 1.0}
    pull = torch.randn(5, 2)
    (code * pull).sum().backward()
    line = features.detach() @ head.map.weight.detach().T + head.map.bias.detach()
    expected = (pull * (1 - torch.tanh(line) ** 2)) @ head.map.weight.detach()
    torch.testing.assert_close(features.grad, expected)


@pytest.mark.parametrize(
    ("records", "preparation", "encoder"),
    [
        (lambda: load("digits"), "Standardize", "ConvNet"),
        (lambda: load("iris"), "Standardize", "MLP"),
        (lambda: Records(TableItems(ROWS), None, "rows"), "TableFeatures", "TableMLP"),
        (lambda: Records(TextItems(TEXTS), None, "texts"), "HashedNgrams", "NgramMLP"),
    ],
)
def test_defaults_follow_the_kind_of_the_items(records: Any, preparation: str, encoder: str) -> None:
    made = preprocessing_for(records())
    assert made.config()["name"] == preparation
    assert encoder_for(made, dimension=4).config()["name"] == encoder
    assert preprocessing_for(records(), like=made).config() == made.config()


def test_a_part_keeps_the_categories_of_the_whole_and_learns_its_own_scale() -> None:
    whole = preprocessing_for(Records(TableItems(ROWS), None, "rows"))
    part = preprocessing_for(Records(TableItems(ROWS[2:]), None, "rows"), like=whole)
    assert part.config() == whole.config() and not torch.equal(part.mean, whole.mean)
    with pytest.raises(InputError, match="kind features; found table"):
        preprocessing_for(load("iris"), like=whole)
    words = preprocessing_for(Records(TextItems(TEXTS), None, "texts"), encoder="transformer")
    assert encoder_for(words, dimension=4).config()["name"] == "TextTransformer"


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: encoder_for((8, 8), dimension=4, name="convent"), "did you mean convnet"),
        (lambda: encoder_for((8,), dimension=4, name="vit"), "isn't for items of kind features"),
        (lambda: encoder_for(Words(["a"]), dimension=4, name="ngrams"), "text prepared by Words"),
        (lambda: encoder_for((8, 8), dimension=4, depht=3), "don't fit"),
        (lambda: encoder_for((8,), dimension=4, head="sharp"), "head must be one of"),
        (lambda: encoder_for((8,), dimension=4, head="score"), "dimension must be 1"),
        (lambda: VisionTransformer((8, 8), dimension=2, width=10, heads=3), "multiple of heads"),
        (lambda: preprocessing_from_config({"name": "Words", "size": 3}), "don't fit"),
        (lambda: HashedNgrams(buckets=0), "at least 1"),
        (lambda: Words.learned_from(texts())(["fine", 3]), "found int in row 1"),
        (lambda: Words.learned_from(texts())(np.eye(3)), "list of texts"),
        (lambda: Standardize((2,), names=["a"]), "names must be 2"),
    ],
)
def test_what_does_not_fit_is_refused(make: Any, found: str) -> None:
    with pytest.raises(InputError, match=found):
        make()


def test_every_encoder_is_named_and_said() -> None:
    assert all(told and name == name.lower() for name, told in ENCODERS.items())
