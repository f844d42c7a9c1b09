"""System 17: a small DCGAN, 16 x 16 slices from 32 random numbers."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
real = rng.uniform(-1, 1, (8, 16, 16, 1)).astype("float32")

generator = keras.Sequential([
    keras.Input((32,)),
    layers.Dense(256),
    layers.LeakyReLU(0.2),
    layers.Dense(4 * 4 * 8),
    layers.BatchNormalization(momentum=0.8),
    layers.LeakyReLU(0.2),
    layers.Reshape((4, 4, 8)),
    layers.Conv2DTranspose(32, (4, 4), strides=(1, 1), padding="same"),
    layers.LeakyReLU(0.2),
    layers.Conv2DTranspose(16, (4, 4), strides=(2, 2), padding="same"),
    layers.LeakyReLU(0.2),
    layers.Conv2DTranspose(1, (3, 3), strides=(2, 2), padding="same", activation="tanh"),
], name="generator")
discriminator = keras.Sequential([
    keras.Input((16, 16, 1)),
    layers.Conv2D(16, 3, strides=2, padding="same"),
    layers.LeakyReLU(0.2),
    layers.Conv2D(32, 3, strides=2, padding="same"),
    layers.LeakyReLU(0.2),
    layers.Conv2D(64, 3, strides=2, padding="same"),
    layers.LeakyReLU(0.2),
    layers.Flatten(),
    layers.Dense(1, activation="sigmoid"),
], name="discriminator")


class GAN(keras.Model):
    """Both players in one model, for prediction."""

    def __init__(self, generator, discriminator):
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator

    def call(self, inputs, training=False):
        return self.discriminator(self.generator(inputs, training=training), training=training)


discriminator.compile(keras.optimizers.SGD(0.01), keras.losses.BinaryCrossentropy())
discriminator.trainable = False
gan = GAN(generator, discriminator)
gan.compile(keras.optimizers.SGD(0.01), keras.losses.BinaryCrossentropy())
models = [generator, discriminator]

# %%
losses = []
for _ in range(3):
    noise = rng.normal(size=(8, 32)).astype("float32")
    discriminator.trainable = True
    losses.append(float(discriminator.train_on_batch(real, np.ones((8, 1)))))
    losses.append(float(discriminator.train_on_batch(generator.predict(noise, verbose=0),
                                                     np.zeros((8, 1)))))
    discriminator.trainable = False
    losses.append(float(gan.train_on_batch(noise, np.ones((8, 1)))))
