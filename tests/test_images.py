"""Folders of images: mixed sizes and modes, damaged files, patients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medai_engine.data.images import ImageFolder, read_image
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
