"""Methods against each other: seeds and folds of classes under one protocol, one encoder and one budget."""

from likewise.bench.ledger import Ledger
from likewise.bench.page import picture, write_page
from likewise.bench.protocol import Fold, Protocol, folds_of, methods_from_names
from likewise.bench.run import bench
from likewise.bench.summary import CONTROLS, Row, Summary, summary_of

__all__ = [
    "CONTROLS",
    "Fold",
    "Ledger",
    "Protocol",
    "Row",
    "Summary",
    "bench",
    "folds_of",
    "methods_from_names",
    "picture",
    "summary_of",
    "write_page",
]
