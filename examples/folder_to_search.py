"""From a folder of class folders to a trained, evaluated and searchable model.

Run: python examples/folder_to_search.py PHOTOS QUERY [OUT]
"""

import sys

import likewise as lw
from likewise.data import load, split_by_class


def main(photos: str, query: str, out: str = "run") -> None:
    records = load(photos)
    parts = split_by_class(records, unseen_fraction=0.3, seed=0)  # whole classes are held back
    model = lw.train(parts.seen, out=out)
    print(lw.evaluate(model, parts.unseen))  # beside raw pixels and an untrained network
    index = lw.Index.build(model, records)
    index.save(f"{out}-index")
    for hit in index.search(query, k=4):
        print(f"{hit.id}  {hit.label}  {hit.distance:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
