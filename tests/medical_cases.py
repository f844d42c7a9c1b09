"""Crafted DICOM files that several tests read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")


def slice_file(folder: Path, number: int, **changes) -> Path:
    """Write a 4 x 3 CT slice at 2.5 mm steps along the head, with some attributes changed."""
    pixels = np.arange(12, dtype=np.uint16).reshape(4, 3) + 100 * number
    header = pydicom.Dataset()
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = f"1.2.3.{number + 1}"
    header.SOPClassUID = pydicom.uid.CTImageStorage
    values = {"PatientID": "p1", "Modality": "CT", "SeriesInstanceUID": "1.2.3", "Rows": 4,
              "Columns": 3, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
              "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0,
              "PixelSpacing": [0.5, 0.25], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
              "ImagePositionPatient": [-10, 20, 2.5 * number], "RescaleSlope": 2,
              "RescaleIntercept": -1000, "InstanceNumber": 99 - number,
              "PixelData": pixels.tobytes(), **changes}
    for name, value in values.items():
        if value is not None:
            setattr(header, name, value)
    path = folder / f"{'cabd'[number % 4]}{number}.dcm"  # names in another order than places
    header.save_as(path, enforce_file_format=True)
    return path
