"""Search: an index of embedded records behind one of several engines, and exact nearest neighbours."""

from likewise.search.engine import EngineReport
from likewise.search.engines import ENGINES
from likewise.search.index import Hit, Index, StoredRecord
from likewise.search.reranking import KReciprocal, QueryExpansion

__all__ = ["ENGINES", "EngineReport", "Hit", "Index", "KReciprocal", "QueryExpansion", "StoredRecord"]
