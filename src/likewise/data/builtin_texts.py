"""Built-in sets of texts: 20 newsgroups, the STS benchmark and TREC's questions."""

from __future__ import annotations

import json
import lzma
import zipfile
from types import MappingProxyType

import numpy as np

from likewise.data.items import TextItems
from likewise.data.records import Records
from likewise.data.shared import SharedRequest, SharedSet
from likewise.errors import DataError
from likewise.relations import Scores

__all__ = ["TEXT_SETS"]

_NEWS = "20newsgroups/20_newsgroups.jsonl.xz"
_STS = {split: f"stsbenchmark/sts-{split}.csv" for split in ("train", "dev", "test")}
_QUESTIONS = "nltk/qc.zip"


def _newsgroups(request: SharedRequest) -> Records:
    """Bodies without headers, which name the group; of messages with equal bodies the first stays."""
    texts, groups, subjects, numbers = [], [], [], []
    seen: set[str] = set()
    with lzma.open(request.file(_NEWS), "rt", encoding="utf-8") as stream:
        for line in stream:
            message = json.loads(line)
            header, _, body = message["text"].partition("\n\n")
            body = body.strip()
            # A few carry a second header, which names the group as well.
            while "Newsgroups:" in body.partition("\n\n")[0]:
                body = body.partition("\n\n")[2].strip()
            if not body or body in seen:
                continue
            seen.add(body)
            texts.append(body)
            groups.append(message["group"])
            numbers.append(int(message["id"]))
            subjects.append(_subject(header))
    columns = {
        "subject": np.array(subjects, dtype=object),
        "number": np.array(numbers),
        "topic": np.array([group.split(".")[0] for group in groups]),
    }
    return Records(TextItems(texts), np.array(groups), request.name, columns=columns)


def _subject(header: str) -> str:
    for line in header.splitlines():
        if line.lower().startswith("subject:"):
            return line[len("subject:") :].strip()
    return ""


def _sts(request: SharedRequest) -> Records:
    """Sentences, each once, and pairs of them with a score from 0 to 5; ``split`` is of the pairs."""
    numbers: dict[str, int] = {}
    left: list[int] = []
    right: list[int] = []
    scores = []
    told: dict[str, list[str]] = {"split": [], "genre": [], "file": [], "year": []}
    for split, name in _STS.items():
        place = request.file(name)
        for number, line in enumerate(place.read_text("utf-8").splitlines()):
            fields = line.split("\t")
            if len(fields) < 7:
                raise DataError(f"{place}: line {number + 1} has {len(fields)} fields; expected 7")
            for side, sentence in ((left, fields[5]), (right, fields[6])):
                side.append(numbers.setdefault(sentence.strip(), len(numbers)))
            scores.append(float(fields[4]))
            for key, value in zip(told, (split, *fields[:3]), strict=True):
                told[key].append(value)
    return Records(
        TextItems(list(numbers)),
        None,
        request.name,
        relation=Scores(left, right, scores),
        entries={key: np.array(values) for key, values in told.items()},
    )


def _questions(request: SharedRequest) -> Records:
    """The class is what is asked for, in 50 kinds, such as ``HUM:ind``; ``topic`` is one of 6."""
    texts, labels, splits = [], [], []
    with zipfile.ZipFile(request.file(_QUESTIONS)) as archive:
        for split in ("train", "test"):
            member = next(name for name in archive.namelist() if name.endswith(f"{split}.txt"))
            for line in archive.read(member).decode("latin-1").splitlines():
                label, _, text = line.partition(" ")
                if text:
                    labels.append(label)
                    texts.append(text)
                    splits.append(split)
    columns = {"split": np.array(splits), "topic": np.array([label.split(":")[0] for label in labels])}
    return Records(TextItems(texts), np.array(labels), request.name, columns=columns)


TEXT_SETS = MappingProxyType(
    {
        "20newsgroups": SharedSet(
            "19,310 Usenet messages of 20 groups, no headers; topic=",
            (_NEWS,),
            _newsgroups,
            home="http://qwone.com/~jason/20Newsgroups (20news-19997), packed as one .jsonl.xz: a line a "
            "message, with group, id and text",
        ),
        "stsbenchmark": SharedSet(
            "8,628 pairs of sentences with a score from 0 to 5; split=train,dev,test; genre=",
            tuple(_STS.values()),
            _sts,
            home="http://ixa2.si.ehu.eus/stswiki/index.php/STSbenchmark",
        ),
        "trec": SharedSet(
            "5,952 questions of 50 kinds; split=train,test; topic=",
            (_QUESTIONS,),
            _questions,
            home="https://github.com/nltk/nltk_data (packages/corpora/qc.zip)",
        ),
    }
)
