"""Search: an index of embedded records, and exact nearest neighbours."""

from likewise.search.index import Hit, Index

__all__ = ["Hit", "Index"]
