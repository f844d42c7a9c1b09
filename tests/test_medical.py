"""Readers of DICOM, NIfTI and WFDB: bundled real files, and crafted ones that must be refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from medical_cases import slice_file

from medai_engine import data
from medai_engine.errors import DataError, ParameterError

pydicom = pytest.importorskip("pydicom")
nib = pytest.importorskip("nibabel")
wfdb = pytest.importorskip("wfdb")


def bundled(name: str) -> str:
    return pydicom.data.get_testdata_file(name, download=False)


# ---- real files ---------------------------------------------------------------------------------


def test_ct_in_hounsfield_units():
    scan = data.read_dicom(bundled("CT_small.dcm"))
    header = pydicom.dcmread(bundled("CT_small.dcm"))
    assert scan.shape == (128, 128) and scan.array.dtype == np.float32
    np.testing.assert_array_equal(scan.array, header.pixel_array.astype(np.float32) - 1024)
    assert scan.units == "HU" and scan.modality == "CT" and scan.patient == "1CT1"
    assert scan.spacing == (0.661468, 0.661468)
    # the place of the first pixel is the image's position, left and back turned to right and front
    x, y, z = (float(v) for v in header.ImagePositionPatient)
    np.testing.assert_allclose(scan.affine @ [0, 0, 0, 1], [-x, -y, z, 1])
    np.testing.assert_allclose(scan.affine @ [0, 0, 1, 1], [-x - 0.661468, -y, z, 1])
    np.testing.assert_allclose(scan.affine @ [0, 1, 0, 1], [-x, -y - 0.661468, z, 1])


@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm"])
def test_encodings_give_the_same_image(name):
    np.testing.assert_array_equal(data.read_dicom(bundled(name)).array,
                                  data.read_dicom(bundled("MR_small_implicit.dcm")).array)


def test_colour_and_frames():
    assert data.read_dicom(bundled("SC_rgb_small_odd.dcm")).shape == (3, 3, 3)
    with pytest.raises(DataError, match="SpacingBetweenSlices"):
        data.read_dicom(bundled("SC_rgb_rle_2frame.dcm"))
    scan = data.read_dicom(bundled("SC_rgb_rle_2frame.dcm"), geometry=False)
    assert scan.shape == (2, 100, 100, 3) and scan.spacing is None


def test_nifti_in_one_orientation():
    path = Path(nib.__path__[0]) / "tests/data/anatomical.nii"  # stored from right to left
    scan = data.read_nifti(path)
    raw = nib.load(path)
    assert scan.shape == raw.shape[::-1] and scan.spacing == (2.0, 2.0, 2.0)
    values = np.asarray(raw.dataobj)
    for place in ((0, 0, 0), (3, 5, 7), (24, 40, 32)):
        there = scan.affine @ [*place, 1]
        x, y, z = np.rint(np.linalg.inv(raw.affine) @ there)[:3].astype(int)
        assert scan.array[place] == np.float32(values[x, y, z])
    assert (np.diag(scan.affine[:3, 2::-1]) > 0).all()  # towards the right, the front, the head
    assert data.read_nifti(path.with_name("functional.nii")).shape == (3, 21, 17, 20)


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # of pandas, in wfdb's writer
def test_wfdb_round_trip(tmp_path):
    t = np.arange(500) / 250
    signal = np.stack([np.sin(2 * np.pi * t), 0.5 * np.cos(2 * np.pi * t)], axis=1)
    wfdb.wrsamp("rec1", fs=250, units=["mV", "mV"], sig_name=["I", "II"], p_signal=signal,
                fmt=["16", "16"], write_dir=str(tmp_path))
    for name in ("rec1", "rec1.hea"):
        found = data.read_wfdb(tmp_path / name)
        assert found.rate == 250 and found.names == ("I", "II") and found.units == ("mV", "mV")
        np.testing.assert_allclose(found.array, signal, atol=1e-4)
    assert found.channel("II").shape == (500,) and found.patient == "rec1"
    with pytest.raises(ParameterError, match="a channel of I, II"):
        found.channel("V5")


# ---- crafted files ------------------------------------------------------------------------------


def series(folder: Path, **changes) -> Path:
    for i in range(4):
        slice_file(folder, i, **changes)
    return folder


def test_series_is_sorted_by_place(tmp_path):
    (series(tmp_path) / "notes.txt").write_text("not an image")
    scan = data.read_dicom_series(tmp_path)
    assert scan.shape == (4, 4, 3) and scan.spacing == (2.5, 0.5, 0.25) and scan.units == "HU"
    np.testing.assert_array_equal(scan.array[:, 0, 0], -1000 + 200 * np.arange(4))
    np.testing.assert_allclose(scan.affine @ [2, 1, 3, 1], [10 - 0.75, -20 - 0.5, 5, 1])
    assert scan.notes == ("1 files that are no DICOM images were left out",)
    again = data.read_dicom_series(sorted(tmp_path.glob("*.dcm"), reverse=True))
    np.testing.assert_array_equal(again.array, scan.array)


def test_affine_of_a_sagittal_series(tmp_path):
    """Rows run down the body: the normal and its sign come from the cosines."""
    for i in range(3):
        slice_file(tmp_path, i, ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
                   ImagePositionPatient=[3.0 * i, 0, 0])
    scan = data.read_dicom_series(tmp_path)
    # the normal (0,1,0) x (0,0,-1) = (-1,0,0): the first slice is the leftmost
    np.testing.assert_array_equal(scan.array[:, 0, 0], [-600, -800, -1000])
    np.testing.assert_allclose(scan.affine @ [0, 0, 0, 1], [-6, 0, 0, 1])
    np.testing.assert_allclose(scan.affine @ [1, 2, 2, 1], [-3, -0.5, -1, 1])


def test_monochrome1_is_turned_over(tmp_path):
    path = slice_file(tmp_path, 0, PhotometricInterpretation="MONOCHROME1")
    scan = data.read_dicom(path)
    np.testing.assert_array_equal(scan.array.ravel(), 2 * (4095 - np.arange(12)) - 1000)
    assert "MONOCHROME1" in scan.notes[0]


def test_spacing_may_be_unknown_only_by_asking(tmp_path):
    path = slice_file(tmp_path, 0, PixelSpacing=None, ImagerPixelSpacing=[0.1, 0.1])
    with pytest.raises(DataError, match=r"PixelSpacing, got none\. ImagerPixelSpacing is at the"):
        data.read_dicom(path)
    assert data.read_dicom(path, geometry=False).spacing is None


BAD_SERIES = {
    "a missing slice": ({2: None}, "slices 2.5 mm apart, got 5 mm between"),
    "a doubled slice": ({2: {"ImagePositionPatient": [-10, 20, 2.5]}}, "one slice at each place"),
    "two patients": ({1: {"PatientID": "p2"}}, "one PatientID in a series, got p[12] in"),
    "two series": ({1: {"SeriesInstanceUID": "9.9"}}, "one series, got 2: "),
    "mixed orientations": ({1: {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}},
                           "one orientation in a series, got another in"),
    "mixed spacings": ({1: {"PixelSpacing": [0.6, 0.25]}}, "one PixelSpacing"),
    "mixed sizes": ({3: {"Rows": 3, "Columns": 4}}, "one Rows in a series"),
    "missing spacing": ({0: {"PixelSpacing": None}}, "PixelSpacing, got none"),
    "spacing of zero": ({0: {"PixelSpacing": [0, 0]}}, "PixelSpacing over 0"),
    "missing position": ({1: {"ImagePositionPatient": None}}, "ImagePositionPatient of 3 numbers"),
    "crooked cosines": ({i: {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]} for i in range(4)},
                        "unit vectors at right angles"),
    "tilted gantry": ({i: {"ImagePositionPatient": [-10, 20 + i, 2.5 * i]} for i in range(4)},
                      "stacked along their normal"),
}


@pytest.mark.parametrize("name", BAD_SERIES)
def test_bad_series_is_refused(name, tmp_path):
    changes, message = BAD_SERIES[name]
    for i in range(4):
        if changes.get(i, {}) is not None:
            slice_file(tmp_path, i, **changes.get(i, {}))
    with pytest.raises(DataError, match=message):
        data.read_dicom_series(tmp_path)


def truncated(folder: Path) -> Path:
    path = folder / "cut.dcm"
    path.write_bytes(slice_file(folder, 0).read_bytes()[:-10])
    return path


def text(folder: Path) -> Path:
    path = folder / "text.dcm"
    path.write_text("this is no image")
    return path


BAD_FILES = {
    "truncated": (truncated, "an image that can be decoded"),
    "no DICOM": (text, "a DICOM file, got InvalidDicomError"),
    "no image": (lambda folder: bundled("rtplan.dcm"), r"without one \(RTPLAN\)"),
    "truncated scan": (lambda folder: bundled("MR_truncated.dcm"), "an image that can be decoded"),
    "missing": (lambda folder: folder / "nothing.dcm", "no such file"),
    "a folder": (lambda folder: folder, "read_dicom_series for a folder"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_refused(name, tmp_path):
    make, message = BAD_FILES[name]
    with pytest.raises(DataError, match=message):
        data.read_dicom(make(tmp_path))


def test_series_of_nothing(tmp_path):
    with pytest.raises(DataError, match="DICOM images, got none among 1 files"):
        text(tmp_path)
        data.read_dicom_series(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        data.read_dicom_series(tmp_path / "nowhere")
    slice_file(tmp_path, 0)
    with pytest.raises(DataError, match="two slices or more"):
        data.read_dicom_series(tmp_path)


def nifti(folder: Path, values: np.ndarray, units: str = "mm", code: int = 1) -> Path:
    image = nib.Nifti1Image(values, np.diag([-1.0, 2.0, 3.0, 1.0]))
    image.header.set_xyzt_units(units)
    image.set_sform(image.affine, code)
    image.set_qform(image.affine, code)
    path = folder / "volume.nii.gz"
    nib.save(image, path)
    return path


def test_nifti_units(tmp_path):
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    path = nifti(tmp_path, values, "unknown")
    with pytest.raises(DataError, match='Say it: units="mm"'):
        data.read_nifti(path)
    assert data.read_nifti(path, units="mm").spacing == (3.0, 2.0, 1.0)
    assert data.read_nifti(nifti(tmp_path, values, "meter")).spacing == (3000.0, 2000.0, 1000.0)
    with pytest.raises(ParameterError, match="units of mm, meter, micron"):
        data.read_nifti(path, units="inch")


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:60])
    return path


BAD_NIFTI = {
    "no geometry": (lambda f: nifti(f, np.zeros((2, 2, 2), np.float32), code=0), "sform or qform"),
    "two axes": (lambda f: nifti(f, np.zeros((2, 2), np.float32)), "3 axes"),
    "complex": (lambda f: nifti(f, np.zeros((2, 2, 2), np.complex64)), "real numbers"),
    "not a number": (lambda f: nifti(f, np.full((2, 2, 2), np.nan, np.float32)), "finite values"),
    "truncated": (lambda f: cut(nifti(f, np.zeros((9, 9, 9), np.float32))), "a NIfTI volume"),
    "missing": (lambda f: f / "none.nii", "no such file"),
}


@pytest.mark.parametrize("name", BAD_NIFTI)
def test_bad_nifti_is_refused(name, tmp_path):
    make, message = BAD_NIFTI[name]
    with pytest.raises(DataError, match=message):
        data.read_nifti(make(tmp_path))


def test_bad_wfdb_is_refused(tmp_path):
    with pytest.raises(DataError, match="WFDB header, got no such file"):
        data.read_wfdb(tmp_path / "rec")
    (tmp_path / "rec.hea").write_text("rec 1 250 100\nrec.dat 16 200 12 0 0 0 0 I\n")
    with pytest.raises(DataError, match="a WFDB record"):
        data.read_wfdb(tmp_path / "rec")
