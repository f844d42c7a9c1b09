"""Augmentation: what each transform does to known images, and where its randomness comes from."""

from __future__ import annotations

import numpy as np
import pytest

from medai_engine.data import transforms as t
from medai_engine.errors import DataError, ParameterError, ShapeError

pytest.importorskip("scipy")

IMAGE = np.random.default_rng(0).uniform(0, 1, (12, 10, 2)).astype(np.float32)
VOLUME = np.random.default_rng(1).uniform(0, 1, (6, 12, 10, 1)).astype(np.float32)

ALL = {
    "Resize": t.Resize(7), "CenterCrop": t.CenterCrop(5), "RandomCrop": t.RandomCrop(6, 2),
    "Normalize": t.Normalize(0.5, 2.0), "Window": t.Window(0.5, 0.4), "Flip": t.Flip(),
    "Affine": t.Affine(20, 0.1, (0.8, 1.2), 10), "Rotate": t.Rotate(45),
    "Elastic": t.Elastic(10, 2), "Intensity": t.Intensity(0.2, 0.3, 0.3), "Noise": t.Noise(0.3),
    "Cutout": t.Cutout(4, p=1.0),
}
WITHOUT_CHANCE = {"Resize", "CenterCrop", "Normalize", "Window"}


def draw(transform, x, epoch=0, sample=0):
    return t.Augment(transform, seed=3)(x, epoch=epoch, sample=sample)


def test_all_are_here():
    assert {*ALL, "Augment", "Compose", "mixup"} == set(t.__all__)


@pytest.mark.parametrize("x", [IMAGE, VOLUME], ids=["image", "volume"])
@pytest.mark.parametrize("name", ALL)
def test_each(name, x):
    before = x.copy()
    y = draw(ALL[name], x)
    assert y.dtype == np.float32 and y.ndim == x.ndim and y.shape[-1] == x.shape[-1]
    assert y.flags.c_contiguous and np.isfinite(y).all()
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(y, draw(ALL[name], x))
    others = [draw(ALL[name], x, epoch, sample) for epoch in (1, 2, 3) for sample in (0, 1, 5)]
    same = [np.array_equal(y, other) for other in others]
    assert all(same) if name in WITHOUT_CHANCE else not all(same)


@pytest.mark.parametrize("name", [n for n in ALL if n not in ("Flip", "Cutout")])
def test_a_wrong_rank_is_refused(name):
    if name in ("Normalize", "Window", "Noise", "Intensity"):
        return  # they work on any shape
    with pytest.raises(ShapeError, match="an image"):
        draw(ALL[name], np.zeros((4, 4), np.float32))


def test_resize_keeps_the_mean_and_shrinks_without_aliasing():
    board = (np.indices((32, 32)).sum(0) % 2)[..., None].astype(np.float32)
    np.testing.assert_allclose(t.Resize(8)(board), 0.5, atol=0.02)
    ramp = np.arange(8, dtype=np.float32)[:, None, None] * np.ones((1, 4, 1), np.float32)
    np.testing.assert_allclose(t.Resize((16, 4))(ramp)[2:-2, 0, 0], np.arange(16)[2:-2] / 2 - 0.25,
                               rtol=1e-6)
    pillow = pytest.importorskip("PIL.Image")
    small = np.asarray(pillow.fromarray(IMAGE[..., 0]).resize((4, 5), pillow.Resampling.BILINEAR))
    np.testing.assert_allclose(t.Resize((5, 4))(IMAGE)[..., 0], small, atol=1e-5)


def test_crops():
    np.testing.assert_array_equal(t.CenterCrop((4, 6))(IMAGE), IMAGE[4:8, 2:8])
    seen = set()
    for sample in range(200):
        crop = draw(t.RandomCrop((11, 9)), IMAGE, sample=sample)
        seen |= {(i, j) for i in range(2) for j in range(2)
                 if np.array_equal(crop, IMAGE[i:i + 11, j:j + 9])}
    assert len(seen) == 4
    with pytest.raises(ShapeError, match=r"at least \(20, 20\), got \(12, 10\)"):
        draw(t.RandomCrop(20), IMAGE)


def test_window_of_hounsfield_units():
    x = np.array([-1000.0, -160.0, 40.0, 240.0, 3000.0], np.float32).reshape(1, 5, 1)
    np.testing.assert_allclose(t.Window(40, 400)(x).ravel(), [0, 0, 0.5, 1, 1], atol=1e-6)


def test_flip_is_left_and_right_half_of_the_time():
    flipped = 0
    for sample in range(200):
        y = draw(t.Flip(), IMAGE, sample=sample)
        turned = np.array_equal(y, IMAGE[:, ::-1])
        assert turned or np.array_equal(y, IMAGE)
        flipped += turned
    assert 70 < flipped < 130
    np.testing.assert_array_equal(draw(t.Flip(axis=0, p=1.0), VOLUME), VOLUME[::-1])


def test_rotation_by_a_quarter_turn():
    class Quarter:
        def uniform(self, low, high, size=None):
            return high if size is None else np.zeros(size)

    square = IMAGE[:10]
    turned = t.Rotate(90)(square, Quarter())
    assert any(np.allclose(turned, np.rot90(square, k), atol=1e-5) for k in (1, 3))


def test_affine_moves_by_what_it_says():
    class Shift:
        def uniform(self, low, high, size=None):
            return (low + high) / 2 if size is None else np.array([0.25, 0.0])

    y = t.Affine(translate=0.25)(IMAGE, Shift())  # a quarter of 12 rows
    np.testing.assert_allclose(y[3:], IMAGE[:-3], atol=1e-6)
    assert (y[:3] == 0).all()


def test_elastic_is_smooth_and_small():
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32)[:, None, None], (40, 40, 1))
    moved = draw(t.Elastic(20, 5), ramp) - ramp
    assert 0.1 < np.abs(moved).max() < 10
    assert np.abs(np.diff(moved[..., 0], axis=1)).max() < 1


def test_cutout_is_a_box():
    y = draw(t.Cutout(3, fill=-1, p=1.0), IMAGE)
    cut = (y == -1).all(-1)
    assert 1 <= cut.sum() <= 9 and np.array_equal(y[~cut], IMAGE[~cut])


def test_mixup_mixes_images_and_labels_alike():
    x = np.eye(4, dtype=np.float32)
    mixed, y = t.mixup(x, x.copy(), np.random.default_rng(0), alpha=1.0)
    np.testing.assert_array_equal(mixed, y)
    np.testing.assert_allclose(y.sum(1), 1)
    with pytest.raises(ShapeError, match="one-hot"):
        t.mixup(x, np.arange(4), np.random.default_rng(0))


@pytest.mark.parametrize(("make", "match"), [
    (lambda: t.Flip(p=2), "p from 0 to 1"), (lambda: t.Affine(scale=(2, 1)), "0 < low <= high"),
    (lambda: t.Normalize(0, 0), "std over 0"), (lambda: t.Window(0, -1), "width over 0"),
    (lambda: t.Affine(degrees=400), "degrees from 0 to 180"),
    (lambda: draw(t.Resize((3, 3, 3)), IMAGE), "2 sizes of 1 or more"),
    (lambda: draw(t.Flip(axis=3), IMAGE), "an axis from -2 to 1"),
])
def test_bad_options(make, match):
    with pytest.raises(ParameterError, match=match):
        make()


def test_gamma_of_negative_values():
    with pytest.raises(DataError, match="Window the image"):
        draw(t.Intensity(gamma=0.5), IMAGE - 1)
