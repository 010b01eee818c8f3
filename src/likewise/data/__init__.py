"""Records in: built-in sets, files and arrays; splits by class, samplers and augmentation."""

from likewise.data.augmentation import Augmentation, augmentation_for
from likewise.data.builtin import BUILT_IN, SHARED, BuiltIn, missing_files
from likewise.data.images import read_image
from likewise.data.items import ArrayItems, ItemKind, Items, PackedImages, TableItems, TextItems
from likewise.data.load import Record, Source, load, record
from likewise.data.loader import Loader
from likewise.data.parts import take_where
from likewise.data.places import Place, data_folder, data_places
from likewise.data.records import Records, check_items, check_labels, check_trainable, records_from_arrays
from likewise.data.samplers import (
    BalancedSampler,
    BatchSampler,
    ClassBalancedSampler,
    HierarchicalSampler,
    ShuffledSampler,
)
from likewise.data.splits import (
    ClassSplit,
    Split,
    check_disjoint,
    split_by_class,
    split_by_group,
    split_by_row,
    split_items,
    take_classes,
)
from likewise.data.turned import turned_classes

__all__ = [
    "BUILT_IN",
    "SHARED",
    "ArrayItems",
    "Augmentation",
    "BalancedSampler",
    "BatchSampler",
    "BuiltIn",
    "ClassBalancedSampler",
    "ClassSplit",
    "HierarchicalSampler",
    "ItemKind",
    "Items",
    "Loader",
    "PackedImages",
    "Place",
    "Record",
    "Records",
    "ShuffledSampler",
    "Source",
    "Split",
    "TableItems",
    "TextItems",
    "augmentation_for",
    "check_disjoint",
    "check_items",
    "check_labels",
    "check_trainable",
    "data_folder",
    "data_places",
    "load",
    "missing_files",
    "read_image",
    "record",
    "records_from_arrays",
    "split_by_class",
    "split_by_group",
    "split_by_row",
    "split_items",
    "take_classes",
    "take_where",
    "turned_classes",
]
