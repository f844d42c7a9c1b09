"""From files and arrays to batches."""

from . import datasets
from .loader import ArrayDataset, DataLoader
from .split import split_by_group, split_stratified
from .standardize import Standardize
from .tables import Columns, Table, read_csv

__all__ = ["ArrayDataset", "Columns", "DataLoader", "Standardize", "Table", "datasets",
           "read_csv", "split_by_group", "split_stratified"]
