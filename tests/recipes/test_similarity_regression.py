"""Similarity regression: what each loss reads, Spearman behind its scores, a quick run above words."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

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
