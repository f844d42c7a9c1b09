"""DCGANs as users of Keras write them: made-up slices of made-up patients.

The small one (system 17) makes 16 x 16 grey images, the large one (system 16) 28 x 28 coloured
ones. The networks name this package in the import lines only: with ``import keras`` they run there.

    python -m medai_engine.examples.dcgan [small|large]
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from medai_engine import keras
from medai_engine.data import datasets
from medai_engine.data.transforms import Resize
from medai_engine.keras import layers

NOISE = {"small": 32, "large": 100}


def small_generator() -> Any:
    """Return noise to a 16 x 16 image in -1 .. 1."""
    return keras.Sequential([
        keras.Input((NOISE["small"],)),
        layers.Dense(256),
        layers.LeakyReLU(0.2),
        layers.Dense(4 * 4 * 8),
        layers.BatchNormalization(momentum=0.8),
        layers.LeakyReLU(0.2),
        layers.Reshape((4, 4, 8)),
        layers.Conv2DTranspose(32, 4, strides=1, padding="same"),
        layers.BatchNormalization(momentum=0.8),
        layers.LeakyReLU(0.2),
        layers.Conv2DTranspose(16, 4, strides=2, padding="same"),
        layers.BatchNormalization(momentum=0.8),
        layers.LeakyReLU(0.2),
        layers.Conv2DTranspose(1, 3, strides=2, padding="same", activation="tanh"),
    ])


def large_generator() -> Any:
    """Return noise to a 28 x 28 image of three colours in -1 .. 1."""
    model = keras.Sequential([keras.Input((NOISE["large"],))])
    for units in (256, 512, 1024):
        model.add(layers.Dense(units))
        model.add(layers.LeakyReLU(0.2))
        model.add(layers.BatchNormalization(momentum=0.8))
    model.add(layers.Dense(7 * 7 * 256))
    model.add(layers.LeakyReLU(0.2))
    model.add(layers.Reshape((7, 7, 256)))
    for filters in (128, 64):
        model.add(layers.UpSampling2D())
        model.add(layers.Conv2DTranspose(filters, 5, padding="same"))
        model.add(layers.LeakyReLU(0.2))
        model.add(layers.BatchNormalization(momentum=0.8))
    model.add(layers.Conv2DTranspose(3, 5, padding="same", activation="tanh"))
    return model


def small_discriminator() -> Any:
    """Return an image to the probability of being real."""
    return keras.Sequential([
        keras.Input((16, 16, 1)),
        layers.Conv2D(16, 3, strides=2, padding="same"),
        layers.LeakyReLU(0.2),
        layers.Conv2D(32, 3, strides=2, padding="same"),
        layers.LeakyReLU(0.2),
        layers.Conv2D(64, 3, strides=2, padding="same"),
        layers.LeakyReLU(0.2),
        layers.Flatten(),
        layers.Dropout(0.3),
        layers.Dense(1, activation="sigmoid"),
    ])


def large_discriminator() -> Any:
    """Return an image of three colours to the probability of being real."""
    return keras.Sequential([
        keras.Input((28, 28, 3)),
        layers.Conv2D(64, 5, strides=2, padding="same"),
        layers.LeakyReLU(0.2),
        layers.Dropout(0.3),
        layers.Conv2D(128, 5, strides=2, padding="same"),
        layers.LeakyReLU(0.2),
        layers.Dropout(0.3),
        layers.Flatten(),
        layers.Dense(1, activation="sigmoid"),
    ])


def slices(n: int, size: str, seed: int) -> np.ndarray:
    """Return made-up slices in -1 .. 1, (n, 16, 16, 1) or (n, 28, 28, 3)."""
    resize = Resize(16 if size == "small" else 28)
    grey = np.stack([resize(image) for image in datasets.slices(n, 32, seed).x])
    return 2 * (grey if size == "small" else grey.repeat(3, axis=-1)) - 1


def main(size: str = "small", n: int = 800, epochs: int = 30, batch_size: int = 32, seed: int = 0
         ) -> float:
    """Train; return how far the mean made slice is from the mean real one, in its own spread."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    real = slices(n, size, seed)
    make_generator, make_discriminator = (
        small_generator, small_discriminator) if size == "small" else (
        large_generator, large_discriminator)

    discriminator = make_discriminator()
    discriminator.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    discriminator.optimizer.learning_rate = 2e-4
    generator = make_generator()
    z = keras.Input(shape=(NOISE[size],))
    discriminator.trainable = False
    combined = keras.Model(z, discriminator(generator(z)))
    combined.compile(keras.optimizers.Adam(2e-4, 0.5), "binary_crossentropy")

    ones, zeros = np.ones((batch_size, 1)), np.zeros((batch_size, 1))
    for epoch in range(epochs):
        for start in range(0, n - batch_size + 1, batch_size):
            noise = rng.normal(size=(batch_size, NOISE[size])).astype(np.float32)
            batch = real[start: start + batch_size]
            told_real = discriminator.train_on_batch(batch, 0.9 * ones)
            told_made = discriminator.train_on_batch(generator.predict(noise, verbose=0), zeros)
            fooled = combined.train_on_batch(noise, ones)
        print(f"epoch {epoch + 1}: discriminator {told_real[0] + told_made[0]:.3f}, "
              f"generator {fooled:.3f}")
    noise = rng.normal(size=(200, NOISE[size])).astype(np.float32)
    made = generator.predict(noise, verbose=0)
    return float(np.abs(made.mean(axis=0) - real.mean(axis=0)).mean() / real.std())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A DCGAN makes slices.")
    parser.add_argument("size", nargs="?", choices=list(NOISE), default="small")
    found = main(parser.parse_args().size)
    print(f"distance of the mean images: {found:.3f} standard deviations")
