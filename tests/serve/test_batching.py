"""Requests that wait are answered together, each as if it were alone."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx
import numpy as np

from likewise.data import load
from likewise.errors import InputError
from likewise.search import Index
from likewise.serve.batching import Batcher, Job
from likewise.serve.served import Embedding, Question, Served

X = load("digits").X[:300]


def item(row: int) -> list:
    return X[row].tolist()


def test_requests_that_wait_are_answered_together(serving) -> None:
    url = serving()
    served = serving.app.state.served
    entered, release, sizes = threading.Event(), threading.Event(), []
    true = served._hits

    def slow(index, question, vectors, k):
        sizes.append(len(vectors))
        entered.set()
        release.wait(10)
        return true(index, question, vectors, k)

    served._hits = slow
    answers: dict[int, list] = {}

    def ask(row: int) -> None:
        body = {"ids": [f"digits:{row}"], "k": 1 + row}
        answers[row] = httpx.post(f"{url}/v1/search", json=body).json()["hits"][0]

    threads = [threading.Thread(target=ask, args=(row,)) for row in range(6)]
    threads[0].start()
    entered.wait(10)
    for thread in threads[1:]:
        thread.start()
    queue = serving.app.state.batcher._queue
    while queue.qsize() < 5:
        threading.Event().wait(0.005)
    release.set()
    for thread in threads:
        thread.join(10)
    assert sizes == [1, 5]
    assert all(len(hits) == 1 + row and hits[0]["id"] == f"digits:{row}" for row, hits in answers.items())


def test_one_wrong_question_does_not_spoil_the_batch_of_others(digits_index: Path) -> None:
    served = Served(Index.load(digits_index))
    asked = [["digits:1", "digits:3"], ["nobody"], ["digits:2", "digits:4", "digits:5"]]
    first, wrong, last = served.work(Question(), [Embedding(ids=ids, k=1) for ids in asked])
    assert isinstance(wrong, InputError)
    assert [[hit.id for hit in own] for own in first[0]] == [["digits:1"], ["digits:3"]]
    assert [[hit.id for hit in own] for own in last[0]] == [["digits:2"], ["digits:4"], ["digits:5"]]


def test_items_that_are_embedded_together_are_found_as_alone(digits_index: Path) -> None:
    served = Served(Index.load(digits_index))
    encoded: list[int] = []
    true = served.index.model.encoder.forward

    def counted(batch: object) -> object:
        encoded.append(len(batch))
        return true(batch)

    served.index.model.encoder.forward = counted
    asked = [[item(1), item(3)], [[1.0, 2.0]], [item(2)], [item(4)] * 3]
    answers = served.work(Question(), [Embedding(items=items, k=2) for items in asked])
    assert encoded == [6]
    assert isinstance(answers[1], InputError)
    for items, answer in zip(asked, answers, strict=True):
        if not isinstance(answer, InputError):
            expected = Index.load(digits_index).search(np.array(items, dtype=np.float32), 2)
            assert [[hit.id for hit in own] for own in answer[0]] == [
                [hit.id for hit in own] for own in expected
            ]


def test_who_was_answered_is_waited_for() -> None:
    """Three who ask again one after the other, as soon as they are answered, go together from then on."""
    import asyncio

    sizes: list[int] = []

    def work(_: object, payloads: list) -> list:
        sizes.append(len(payloads))
        threading.Event().wait(0.2)
        return payloads

    async def one(batcher: Batcher, number: int) -> None:
        await asyncio.sleep(0.001 * number)
        for _ in range(6):
            assert await batcher.do(Job("kind", number)) == number
            await asyncio.sleep(0.002 * number)

    async def all_of_them() -> None:
        batcher = Batcher(work, linger=10)
        await asyncio.gather(*(one(batcher, number) for number in range(3)))
        await asyncio.to_thread(batcher.close)

    asyncio.run(all_of_them())
    assert sum(sizes) == 18
    assert sizes.count(3) >= 3
