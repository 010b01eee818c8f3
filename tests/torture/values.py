"""Numbers that are none: NaN, infinity and what overflows, at training, adding, searching and by the API."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from likewise.api import train
from likewise.errors import InputError
from likewise.search import Index
from likewise.serve.served import Embedding, Question, Served
from torture.kills import small_model
from torture.trial import Result, Trial, outcomes

_VALUES = (float("nan"), float("inf"), float("-inf"), 1e300, -1e300)
_D = 4


def trials(*, short: bool) -> list[Trial]:
    """Each such number in a random place of otherwise good rows, wherever rows are taken."""
    places = _places()
    # Training checks its data before it begins, but costs more to ask.
    count = {name: (5 if name == "training" else 20) * (1 if short else 25) for name in places}
    return [
        Trial(f"NaN, infinity and 1e300 at {name}", lambda name=name: _tried(places[name], count[name]))  # type: ignore[misc]
        for name in places
    ]


def _places() -> dict[str, Callable[[Any], object]]:
    index = Index(small_model())
    index.add_embeddings(np.ones((6, _D)), ids=list("abcdef"), labels=[0, 1] * 3)
    served = Served(index, writable=True)
    labels = [0, 0, 0, 1, 1, 1]

    def requested(rows: Any) -> object:
        answers = served.work(Question(), [Embedding(rows.tolist())])
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers

    def given(rows: Any) -> object:
        answers = served.work(Question(), [Embedding(None, rows.tolist(), model=index.model.fingerprint)])
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers

    return {
        "training": lambda rows: train((rows, labels), epochs=1),
        "embedding": index.model.embed,
        "adding items": lambda rows: index.add((rows, labels), ids=list("ghijkl")),
        "adding embeddings": lambda rows: index.add_embeddings(rows, ids=list("ghijkl")),
        "searching": index.search,
        "searching by embeddings": index.search_embeddings,
        "a served search": requested,
        "a served search by embeddings": given,
    }


def _tried(take: Callable[[Any], object], count: int) -> Result:
    generator, found = random.Random(0), Counter[str]()
    for number in range(count):
        rows = np.random.default_rng(number).normal(size=(6, _D))
        value = generator.choice(_VALUES)
        rows[generator.randrange(6), generator.randrange(_D)] = value
        try:
            take(rows)
        except InputError:
            found["refused"] += 1
        except Exception as error:
            found[f"other error: {type(error).__name__}"] += 1
        else:
            found[f"taken: {value}"] += 1
    return Result(count, outcomes(found), count - found["refused"])
