"""Similarity regression: what each loss reads, Spearman behind its scores, a quick run above words."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from likewise.data import load
from likewise.errors import InputError
from likewise.recipes.experiment import experiment
from likewise.recipes.registry import load_recipe
from likewise.recipes.similarity_regression import Config, objective
from likewise.relations import Scores


def some() -> tuple[torch.Tensor, Scores, list[tuple[int, int, float]]]:
    embeddings = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    pairs = [(0, 1, 4.5), (2, 3, 0.5), (4, 5, 3.0), (6, 7, 5.0), (0, 2, 1.0)]
    left, right, score = zip(*pairs, strict=True)
    return embeddings, Scores(list(left), list(right), list(score)), pairs


def cosine(embeddings: torch.Tensor, i: int, j: int) -> float:
    return float(torch.nn.functional.cosine_similarity(embeddings[i], embeddings[j], dim=0))


def test_cosent_by_loops() -> None:
    embeddings, relation, pairs = some()
    total = 1.0
    for i, j, more in pairs:
        for k, m, less in pairs:
            if more > less:
                total += math.exp((cosine(embeddings, k, m) - cosine(embeddings, i, j)) / 0.2)
    found = objective(Config(), "CoSENT")(embeddings, relation)
    assert found.item() == pytest.approx(math.log(total), rel=1e-5)


def test_cosine_regression_by_loops() -> None:
    embeddings, relation, pairs = some()
    expected = np.mean([(cosine(embeddings, i, j) - score / 5) ** 2 for i, j, score in pairs])
    found = objective(Config(), "cosine regression")(embeddings, relation)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_contrastive_leaves_out_what_is_neither() -> None:
    embeddings, relation, _ = some()
    loss = objective(Config(), "contrastive")
    whole = loss(embeddings, relation)
    moved = embeddings.clone()
    moved[4:6] = torch.randn(2, 5, generator=torch.Generator().manual_seed(9))  # scored 3: neither
    torch.testing.assert_close(loss(moved, relation), whole)
    moved[0] = -moved[1]  # scored 4.5: alike
    assert loss(moved, relation) > whole


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="methods must be of CoSENT"):
        experiment(load_recipe("similarity-regression"), Config(methods="regression"), seeds=1)
    with pytest.raises(InputError, match="margin must be above 0"):
        Config(margin=-1.0)


def tiny_network(folder: Path, texts: list[str]) -> None:
    """A transformer of one layer and 16 numbers, of random weights, with a vocabulary of the texts' words."""
    transformers = pytest.importorskip("transformers", reason="the extra text isn't installed")
    words = sorted({word for text in texts for word in text.lower().split()})[:2000]
    vocabulary = folder / "vocab.txt"
    folder.mkdir()
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]), "utf-8")
    transformers.BertTokenizerFast(str(vocabulary)).save_pretrained(folder)
    described = transformers.BertConfig(
        vocab_size=len(words) + 5,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    transformers.BertModel(described).save_pretrained(folder)


@pytest.mark.filterwarnings("ignore")
def test_a_pretrained_network_is_judged_as_given_and_tuned(shared_data: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra text isn't installed")
    records = load("stsbenchmark", data=str(shared_data))
    test = records.take_entries(np.flatnonzero(records.entries["split"] == "test"))
    assert isinstance(test.relation, Scores)
    texts, relation = test.items().tolist(), test.relation
    tiny_network(tmp_path / "tiny", texts)
    config = Config(
        methods="CoSENT", steps=1, buckets=64, width=4, directions=2, ablate=False,
        pretrained=str(tmp_path / "tiny"), pretrained_steps=3,
    )  # fmt: skip
    found = experiment(load_recipe("similarity-regression"), config, seeds=1, data=shared_data).outcomes[0]
    given, tuned = (
        found.cells["STS benchmark, test", row, "Spearman"]
        for row in ("pretrained, as given", "pretrained, CoSENT")
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "tiny")
    network = transformers.AutoModel.from_pretrained(tmp_path / "tiny").eval()
    with torch.inference_mode():  # one text at a time, without padding
        vectors = torch.stack(
            [network(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0) for text in texts]
        )
    cosines = torch.nn.functional.cosine_similarity(vectors[relation.left], vectors[relation.right])
    assert given == pytest.approx(spearmanr(cosines, relation.score).statistic, abs=1e-3)
    assert 0 < abs(tuned - given) < 0.2


def test_a_quick_run_orders_better_than_words(shared_data: Path) -> None:
    recipe = load_recipe("similarity-regression")
    result = experiment(recipe, quick=True, seeds=1, data=shared_data)
    control = [found for found in result.findings() if found.claim.control]
    assert control
    assert all(found.difference.low > 0 for found in control), control
    helps = next(found for found in result.findings() if found.claim.says == "Training helps the encoder")
    assert helps.difference.low > 0, helps
    cell = result.cell("STS benchmark, test", "words, cosine", "Spearman")
    assert cell is not None
    # the mean of the products of standardised ranks is Spearman's correlation
    scores = result.outcomes[0].scores["STS benchmark, test", "words, cosine", "Spearman"]
    assert scores.values.mean() == pytest.approx(
        result.outcomes[0].cells["STS benchmark, test", "words, cosine", "Spearman"], abs=1e-9
    )
