"""A small DCGAN as users of Keras write it (system 17): made-up slices of made-up patients.

The import line is the only one that names this package; with ``import keras`` it runs there.

    python -m medai_engine.examples.dcgan
"""

from __future__ import annotations

from typing import Any

import numpy as np

from medai_engine import keras
from medai_engine.data import datasets
from medai_engine.data.transforms import Resize
from medai_engine.keras import layers

NOISE = 32


def make_generator() -> Any:
    """Return noise to a 16 x 16 image in -1 .. 1."""
    return keras.Sequential([
        keras.Input((NOISE,)),
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


def make_discriminator() -> Any:
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


def main(n: int = 800, epochs: int = 30, batch_size: int = 32, seed: int = 0) -> float:
    """Train; return how far the mean made slice is from the mean real one, in its own spread."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    small = Resize(16)
    real = 2 * np.stack([small(image) for image in datasets.slices(n, 32, seed).x]) - 1

    discriminator = make_discriminator()
    discriminator.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    discriminator.optimizer.learning_rate = 2e-4
    generator = make_generator()
    z = keras.Input(shape=(NOISE,))
    discriminator.trainable = False
    combined = keras.Model(z, discriminator(generator(z)))
    combined.compile(keras.optimizers.Adam(2e-4, 0.5), "binary_crossentropy")

    ones, zeros = np.ones((batch_size, 1)), np.zeros((batch_size, 1))
    for epoch in range(epochs):
        for start in range(0, n - batch_size + 1, batch_size):
            noise = rng.normal(size=(batch_size, NOISE)).astype(np.float32)
            batch = real[start: start + batch_size]
            told_real = discriminator.train_on_batch(batch, 0.9 * ones)
            told_made = discriminator.train_on_batch(generator.predict(noise, verbose=0), zeros)
            fooled = combined.train_on_batch(noise, ones)
        print(f"epoch {epoch + 1}: discriminator {told_real[0] + told_made[0]:.3f}, "
              f"generator {fooled:.3f}")
    made = generator.predict(rng.normal(size=(200, NOISE)).astype(np.float32), verbose=0)
    return float(np.abs(made.mean(axis=0) - real.mean(axis=0)).mean() / real.std())


if __name__ == "__main__":
    print(f"distance of the mean images: {main():.3f} standard deviations")
