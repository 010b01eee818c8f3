"""Word vectors: files of GloVe and word2vec, labels of several words, and skip-gram on made-up texts."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from likewise.data.skip_gram import corpus, skip_gram
from likewise.data.words import WordVectors, read_word_vectors, word_similarity, words_of
from likewise.errors import DataError, InputError


def small() -> WordVectors:
    vectors = np.array([[3, 0, 0], [0, 2, 0], [0, 0, 1], [1, 1, 0]], dtype=np.float32)
    return WordVectors(("red", "car", "dog", "bus"), vectors)


def test_a_text_is_the_mean_of_its_words_unit_vectors() -> None:
    expected = np.array([1, 1, 0]) / np.sqrt(2)
    np.testing.assert_allclose(small().text("a red car!"), expected, atol=1e-6)
    np.testing.assert_allclose(small().text("RED cars"), expected, atol=1e-6)  # "cars" is read as "car"


def test_labels_with_no_vector_are_listed_with_the_rule_that_composes_them() -> None:
    with pytest.raises(DataError, match="2 label names have no word vector: 'zzz', 'qq qq'") as error:
        small().labels(["dog", "zzz", "qq qq"])
    assert "compose={'zzz': 'other words'}" in str(error.value)
    made = small().labels(["dog", "zzz"], compose={"zzz": "red bus"})
    assert made.shape == (2, 3)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("text", ["", "   ", "!?"])
def test_empty_texts(text: str) -> None:
    with pytest.raises(InputError, match="holds no word"):
        small().text(text)


def test_unknown_words() -> None:
    with pytest.raises(InputError, match="none of the words of 'xyzzy' has a vector"):
        small().text("xyzzy")


def test_word2vec_text_comes_back(tmp_path: Path) -> None:
    small().save(tmp_path / "words.txt")
    found = read_word_vectors(tmp_path / "words.txt")
    assert found.words == small().words
    np.testing.assert_allclose(found.vectors, small().vectors)
    assert read_word_vectors(tmp_path / "words.txt", limit=2).words == ("red", "car")


def test_glove_has_no_first_line(tmp_path: Path) -> None:
    (tmp_path / "glove.txt").write_text("red 1 0\ncar 0.5 -2e-1\nred 9 9\n", "utf-8")
    found = read_word_vectors(tmp_path / "glove.txt")
    assert found.words == ("red", "car")
    np.testing.assert_allclose(found.vectors, [[1, 0], [0.5, -0.2]], atol=1e-6)


def test_word2vec_binary(tmp_path: Path) -> None:
    content = b"2 2\n" + b"red " + struct.pack("<2f", 1, 0) + b"\ncar " + struct.pack("<2f", 3, 4) + b"\n"
    (tmp_path / "words.bin").write_bytes(content)
    found = read_word_vectors(tmp_path / "words.bin")
    assert found.words == ("red", "car")
    np.testing.assert_allclose(found.vectors, [[1, 0], [3, 4]])
    (tmp_path / "cut.bin").write_bytes(content[:-6])
    with pytest.raises(DataError, match="damaged, at word 1 of 2"):
        read_word_vectors(tmp_path / "cut.bin")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("red 1 0\ncar 1\n", "line 2 must hold a word and 2 finite numbers; found 1"),
        ("red 1 nan\n", "line 1 must hold"),
        ("red one two\n", "line 1 must be a word and numbers"),
        ("", "holds no word vectors"),
    ],
)
def test_files_that_hold_something_else(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "words.txt").write_text(content, "utf-8")
    with pytest.raises(DataError, match=says):
        read_word_vectors(tmp_path / "words.txt")
    with pytest.raises(DataError, match="can't be read"):
        read_word_vectors(tmp_path / "absent.txt")


def test_words_that_share_their_neighbours_come_together() -> None:
    """Two worlds of words that never meet: every word's nearest three are of its own world."""
    generator = np.random.default_rng(0)
    worlds = (["sun", "sea", "sand", "wave"], ["code", "bug", "file", "loop"])
    texts = [" ".join(generator.choice(worlds[number % 2], 12)) for number in range(600)]
    held = skip_gram(texts, dimension=8, window=3, subsample=1.0, epochs=3, batch_size=512)
    cosines = held.unit @ held.unit.T
    for world in worlds:
        rows = [held.places[word] for word in world]
        others = [place for place in range(8) if place not in rows]
        assert cosines[np.ix_(rows, rows)].min() > cosines[np.ix_(rows, others)].max() + 0.3


def test_skip_gram_is_the_same_for_a_seed_and_orders_by_frequency() -> None:
    texts = ["a b a b a c"] * 10
    first, again = (skip_gram(texts, dimension=4, least=1, subsample=1.0) for _ in range(2))
    np.testing.assert_array_equal(first.vectors, again.vectors)
    assert first.words == ("a", "b", "c")


def test_skip_gram_refuses_texts_of_rare_words() -> None:
    with pytest.raises(DataError, match="two words or more that occur 5 times; found 0"):
        skip_gram(["once only"])
    with pytest.raises(InputError, match="window must be at least 1; found 0"):
        skip_gram(["a b"], window=0)
    with pytest.raises(InputError, match="corpus must be one of brown"):
        list(corpus("wikipedia"))


def test_corpora_and_similarity_sets(shared_data: Path) -> None:
    texts = list(corpus("brown", data=shared_data))
    assert len(texts) == 500
    assert texts[0].startswith("The Fulton County Grand Jury said Friday")
    assert sum(len(words_of(text)) for text in texts) == pytest.approx(1_010_000, rel=0.02)
    with pytest.raises(DataError, match="too few to compare"):
        word_similarity(small(), "RG-65", data=shared_data)
    ratings = [line.split() for line in (shared_data / "wordsim/EN-RG-65.txt").read_text().splitlines()]
    words = sorted({word for first, second, _ in ratings for word in (first, second)})
    vectors = np.eye(len(words), dtype=np.float32)
    for first, second, rating in ratings:  # a table of products that are the ratings themselves
        vectors[words.index(first), words.index(second)] = float(rating) * 1e-3
    found = word_similarity(WordVectors(tuple(words), vectors), "RG-65", data=shared_data)
    assert (found.known, found.pairs) == (65, 65)
    assert found.spearman > 0.9
