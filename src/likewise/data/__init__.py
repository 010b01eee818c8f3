"""Records in: built-in sets, files and arrays; splits by class, samplers and augmentation."""

from likewise.data.augmentation import Augmentation, augmentation_for
from likewise.data.builtin import BUILT_IN, BuiltIn
from likewise.data.load import Record, Source, load, record
from likewise.data.records import Records, check_items, check_labels, check_trainable, records_from_arrays
from likewise.data.samplers import ClassBalancedSampler
from likewise.data.splits import ClassSplit, split_by_class, split_items, take_classes
from likewise.data.turned import turned_classes

__all__ = [
    "BUILT_IN",
    "Augmentation",
    "BuiltIn",
    "ClassBalancedSampler",
    "ClassSplit",
    "Record",
    "Records",
    "Source",
    "augmentation_for",
    "check_items",
    "check_labels",
    "check_trainable",
    "load",
    "record",
    "records_from_arrays",
    "split_by_class",
    "split_items",
    "take_classes",
    "turned_classes",
]
