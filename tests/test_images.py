"""Folders of images: mixed sizes and modes, damaged files, patients."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from medai_engine.data.images import ImageFolder, read_image
from medai_engine.data.pictures import is_dicom, read_picture
from medai_engine.data.transforms import Window
from medai_engine.errors import DataError, ParameterError

Image = pytest.importorskip("PIL.Image")


def save(path: Path, values: np.ndarray, mode: str | None = None, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


RAMP = (np.arange(48) * 5).astype(np.uint8).reshape(6, 8)


@pytest.mark.parametrize(("make", "wanted"), [
    (lambda p: save(p, RAMP), RAMP[..., None] / 255),
    (lambda p: save(p, np.stack([RAMP, RAMP // 2, RAMP // 3], -1)),
     np.stack([RAMP, RAMP // 2, RAMP // 3], -1) / 255),
    (lambda p: save(p, RAMP.astype(np.uint16) * 257), RAMP[..., None] / 255),
    (lambda p: save(p, RAMP > 100), (RAMP > 100)[..., None]),
    (lambda p: save(p, np.stack([RAMP] * 3 + [np.full_like(RAMP, 0)], -1)), np.zeros((6, 8, 3))),
    (lambda p: save(p, RAMP, "P"), np.stack([RAMP] * 3, -1) / 255),
], ids=["grey", "colour", "16 bits", "black and white", "transparent", "palette"])
def test_modes(make, wanted, tmp_path):
    array = read_image(make(tmp_path / "a.png"))
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, wanted, atol=1e-6)


def test_channels_and_size(tmp_path):
    grey = save(tmp_path / "a.png", RAMP)
    np.testing.assert_array_equal(read_image(grey, channels=3)[..., 2], RAMP / np.float32(255))
    deep = save(tmp_path / "d.png", RAMP.astype(np.uint16) * 257)
    assert read_image(deep, (3, 4), 3).shape == (3, 4, 3)
    # a filter over all source pixels: the mean stays, a checkerboard becomes grey
    board = save(tmp_path / "b.png", (255 * (np.indices((64, 64)).sum(0) % 2)).astype(np.uint8))
    np.testing.assert_allclose(read_image(board, (8, 8)), 0.5, atol=0.02)
    with pytest.raises(ParameterError, match="channels 1, 3 or None, got 2"):
        read_image(grey, channels=2)


def test_a_photograph_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    path = save(tmp_path / "a.png", RAMP, exif=exif)
    np.testing.assert_allclose(read_image(path)[..., 0], np.rot90(RAMP, -1) / 255, atol=1e-6)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, level in (("healthy", 60), ("sick", 180)):
        for i in range(4):
            size = (10 + i, 12 + 2 * i, *([3] if i % 2 else []))
            values = rng.integers(level - 20, level + 20, size).astype(np.uint8)
            save(tmp_path / name / f"{i}.{'png' if i < 3 else 'jpg'}", values)
    (tmp_path / "sick" / "broken.png").write_bytes(b"\x89PNG nothing")
    (tmp_path / "sick" / "cut.png").write_bytes((tmp_path / "sick" / "0.png").read_bytes()[:60])
    (tmp_path / "sick" / "notes.txt").write_text("from 2019")
    return tmp_path


def test_mixed_folder(folder):
    images = ImageFolder(folder, size=8, channels=1)
    assert len(images) == 8 and images.classes == ["healthy", "sick"]
    x, y = images.arrays()
    assert x.shape == (8, 8, 8, 1) and y.tolist() == [0] * 4 + [1] * 4
    assert (x[:4].mean((1, 2, 3)) < 0.4).all() and (x[4:].mean((1, 2, 3)) > 0.5).all()
    assert [(p.name, bool(why)) for p, why in images.skipped] == [
        ("broken.png", True), ("cut.png", True), ("notes.txt", True)]
    report = images.report()
    assert "4 healthy, 4 sick" in report and "broken.png" in report and "no image" in report
    assert ImageFolder(folder, size=(4, 6)).arrays([1])[0].shape[:3] == (1, 4, 6)


def test_transform(folder):
    images = ImageFolder(folder, size=8, transform=lambda image: 1 - image)
    plain = ImageFolder(folder, size=8)
    np.testing.assert_array_equal(images[3][0], 1 - plain[3][0])


def test_patients(folder, tmp_path_factory):
    table = tmp_path_factory.mktemp("table") / "patients.csv"
    rows = [f"{name}/{p.name},p{i // 2}" for name in ("healthy", "sick")
            for i, p in enumerate(sorted((folder / name).glob("[0-9]*")))]
    table.write_text("\n".join(["file,patient", *rows]) + "\n")
    groups = ImageFolder(folder, patients=table).groups
    assert groups.tolist() == ["p0", "p0", "p1", "p1"] * 2
    table.write_text("\n".join(["file,patient", *rows[1:]]) + "\n")
    with pytest.raises(DataError, match=r"a patient for every image, got none for healthy/0.png"):
        ImageFolder(folder, patients=table)


def test_bad_folders(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        ImageFolder(tmp_path / "none")
    with pytest.raises(DataError, match=r"two classes or more, a sub-folder each, got 0 \(none\)"):
        ImageFolder(tmp_path)
    save(tmp_path / "a" / "1.png", RAMP)
    with pytest.raises(DataError, match=r"got 1 \(a\)"):
        ImageFolder(tmp_path)
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match=r"one image or more, got none\. Add images"):
        ImageFolder(tmp_path)
    (tmp_path / "b" / "x.png").write_text("no")
    with pytest.raises(DataError, match="got none that can be read"):
        ImageFolder(tmp_path)
    with pytest.raises(DataError, match="an image, got FileNotFoundError"):
        read_image(tmp_path / "nothing.png")


# ---- DICOM files among them ---------------------------------------------------------------------


def dicom(path: Path, values: np.ndarray, **changes) -> Path:
    """Write measured values as a CT of one frame: stored + 1024, 12 bits."""
    from medical_cases import slice_file

    path.parent.mkdir(parents=True, exist_ok=True)
    stored = (np.asarray(values) + 1024).astype(np.uint16)
    made = slice_file(path.parent, 0, **{
        "Rows": stored.shape[0], "Columns": stored.shape[1], "RescaleSlope": 1,
        "RescaleIntercept": -1024, "PixelData": stored.tobytes(), **changes})
    return made.rename(path)


HU = np.array([[-1000.0, -600.0, 0.0], [40.0, 1000.0, 2000.0]])


def test_a_grey_means_the_same_tissue_in_all_ct_files(tmp_path):
    found = read_picture(dicom(tmp_path / "a.dcm", HU, WindowCenter=40, WindowWidth=400))
    np.testing.assert_allclose(found.array[..., 0],
                               [[0, 0.2, 0.5], [0.52, 1, 1]], atol=1e-6)
    assert found.scale == "-1000 to 1000 HU" and found.patient == "p1"
    soft = read_image(tmp_path / "a.dcm", window=Window.named("soft"))
    np.testing.assert_allclose(soft[..., 0], [[0, 0, 0.4], [0.5, 1, 1]], atol=1e-6)
    with pytest.raises(ParameterError, match="lung, soft, bone, brain, wide"):
        Window.named("liver")


@pytest.mark.parametrize("signed", [0, 1])
def test_others_take_the_window_of_their_file(tmp_path, signed):
    values = HU / 10 + 50
    stored = (values.astype(np.int16) if signed else values.astype(np.uint16)).tobytes()
    plain = {"Modality": "MR", "RescaleSlope": 1, "RescaleIntercept": 0, "PixelData": stored,
             "PixelRepresentation": signed, "BitsStored": 12}
    values = np.frombuffer(stored, np.int16 if signed else np.uint16).reshape(2, 3)
    if not signed:
        values = values & 0xFFF
        plain["PixelData"] = values.tobytes()
    window = {"WindowCenter": [60, 1], "WindowWidth": [80, 2]}
    found = read_picture(dicom(tmp_path / "a.dcm", HU, **plain, **window))
    wanted = np.clip((values - 20.0) / 80, 0, 1)
    np.testing.assert_allclose(found.array[..., 0], wanted, atol=1e-6)
    assert found.scale == "the window in the file"
    turned = read_picture(dicom(tmp_path / "b.dcm", HU, **plain, **window,
                                PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_allclose(turned.array, 1 - found.array, atol=1e-6)
    alone = read_picture(dicom(tmp_path / "c.dcm", HU, **plain))
    assert alone.scale == "least to greatest value of each"
    assert alone.array.min() == 0 and alone.array.max() == 1


@pytest.mark.filterwarnings("ignore")  # of pydicom's decoders
def test_every_file_that_pydicom_brings_is_read_or_refused():
    import pydicom

    root = Path(pydicom.__file__).parent / "data" / "test_files"
    colours = read = 0
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        try:
            found = read_picture(path)
        except DataError:
            continue
        read += 1
        colours += found.scale == "colours"
        assert found.array.min() >= 0 and found.array.max() <= 1, path
        assert found.array.ndim == 3 and found.array.shape[-1] in (1, 3), path
    assert read >= 50 and colours >= 10
    palette = read_picture(root / "examples_palette.dcm").array  # tables of 16 bits
    assert 0.9 < palette.max() <= 1


def test_damage_at_any_place_is_no_crash(tmp_path):
    whole = dicom(tmp_path / "whole.dcm", HU, WindowCenter=40, WindowWidth=400).read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        content = bytearray(whole[:int(rng.integers(132, len(whole) + 1))])
        for place in rng.integers(132, len(content) + 1, 4):
            content[min(place, len(content) - 1)] = rng.integers(256)
        (tmp_path / "bad.dcm").write_bytes(bytes(content))
        try:
            assert read_picture(tmp_path / "bad.dcm").array.max() <= 1
        except DataError:
            refused += 1
    assert refused > 100


def test_what_a_file_says_of_its_patient(tmp_path):
    said = {"PatientSex": "F", "PatientAge": "018M", "InstitutionName": "North"}
    assert read_picture(dicom(tmp_path / "a", HU, **said)).about == {
        "sex": "F", "age": "1.5", "site": "North"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom, while the wrong entry is written
        strange = dicom(tmp_path / "b", HU, PatientAge="45", PatientSex="?" * 20)
    assert read_picture(strange).about == {"sex": "?" * 20}  # and no warning of its own
    assert is_dicom(tmp_path / "a") and not is_dicom(tmp_path / "none")


@pytest.fixture
def scans(tmp_path):
    rng = np.random.default_rng(0)
    for k, name in enumerate(("clear", "dense")):
        for i in range(6):
            values = rng.normal(-700 + 600 * k, 60, (8 + i, 9))
            dicom(tmp_path / name / (f"{i}.dcm" if i % 2 else f"IM{i}"), values,
                  PatientID=f"P{i // 2}", PatientSex="FM"[i // 2 % 2])
        save(tmp_path / name / "film.png", np.full((12, 10, 3), 60 + 100 * k, np.uint8))
    (tmp_path / "clear" / "broken.dcm").write_bytes(b"nothing")
    whole = (tmp_path / "dense" / "1.dcm").read_bytes()
    (tmp_path / "dense" / "cut.dcm").write_bytes(whole[:-60])
    dicom(tmp_path / "dense" / "frames.dcm", HU, Rows=1, NumberOfFrames=2)
    (tmp_path / "dense" / "notes.txt").write_text("from 2019")
    return tmp_path


def test_dicom_and_pictures_in_one_folder(scans):
    images = ImageFolder(scans, size=8)
    assert len(images) == 14 and images.channels == 1
    x, y = images.arrays()
    assert x.shape == (14, 8, 8, 1) and x[y == 0].mean() < 0.3 < x[y == 1].mean()
    assert [p.name for p, _ in images.skipped] == ["broken.dcm", "cut.dcm", "frames.dcm",
                                                   "notes.txt"]
    reasons = dict((p.name, why) for p, why in images.skipped)
    assert "InvalidDicomError" in reasons["broken.dcm"] and "2 frames" in reasons["frames.dcm"]
    assert images.nameless == 2 and sorted(set(images.groups)) == [
        "P0", "P1", "P2", "file clear/film.png", "file dense/film.png"]
    assert images.about["sex"].tolist() == ["F", "M", "F", "F", "M", "F", None] * 2  # 1, 3, 5, IM
    assert "12 DICOM images: -1000 to 1000 HU" in images.report()
    lung = ImageFolder(scans, size=8, window=Window.named("lung")).arrays()[0]
    where = [i for i, f in enumerate(images.files) if f.name == "film.png"]
    np.testing.assert_array_equal(lung[where], x[where])  # a picture has no window
    assert not np.allclose(lung, x)


def test_a_table_overrules_the_files_and_carries_more(scans, tmp_path_factory):
    table = tmp_path_factory.mktemp("table") / "patients.csv"
    names = ImageFolder(scans, size=8).names
    table.write_text("\n".join(["file,patient,ward", *(f"{n},Q{i},{i % 2}"
                                                       for i, n in enumerate(names))]) + "\n")
    images = ImageFolder(scans, size=8, patients=table)
    assert images.groups.tolist() == [f"Q{i}" for i in range(14)]
    assert set(images.about) == {"ward"} and images.about["ward"].tolist() == [0, 1] * 7
