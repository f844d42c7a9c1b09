"""From files and arrays to batches."""

from . import datasets, transforms
from .dicom import read_dicom, read_dicom_series
from .images import ImageFolder, read_image
from .loader import ArrayDataset, DataLoader, pad_collate, pad_sequences
from .pictures import read_picture
from .scan import Scan, Signal
from .split import require_apart, split_by_group, split_stratified
from .standardize import Standardize
from .tables import Columns, Table, read_csv
from .volumes import read_nifti, read_wfdb

__all__ = ["ArrayDataset", "Columns", "DataLoader", "ImageFolder", "Scan", "Signal",
           "Standardize", "Table", "datasets", "pad_collate", "pad_sequences", "read_csv",
           "read_dicom", "read_dicom_series", "read_image", "read_nifti",
           "read_picture", "read_wfdb", "require_apart", "split_by_group", "split_stratified",
           "transforms"]
