"""System 16: DCGAN, 28 x 28 x 3 images from 100 random numbers."""

import numpy as np
from keras.layers import (
    BatchNormalization,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Flatten,
    LeakyReLU,
    Reshape,
    UpSampling2D,
)
from keras.models import Sequential
from keras.optimizers import Adam

noise_dim = 100
rng = np.random.default_rng(0)
real = rng.uniform(-1, 1, (8, 28, 28, 3)).astype("float32")


def make_generator_model():
    model = Sequential(name="generator")
    for units in (256, 512, 1024):
        model.add(Dense(units) if units > 256 else Dense(units, input_dim=noise_dim))
        model.add(LeakyReLU(negative_slope=0.2))
        model.add(BatchNormalization(momentum=0.8))
    model.add(Dense(7 * 7 * 256))
    model.add(LeakyReLU(negative_slope=0.2))
    model.add(Reshape((7, 7, 256)))
    model.add(UpSampling2D())
    model.add(Conv2DTranspose(128, kernel_size=5, padding="same"))
    model.add(LeakyReLU(negative_slope=0.2))
    model.add(BatchNormalization(momentum=0.8))
    model.add(UpSampling2D())
    model.add(Conv2DTranspose(64, kernel_size=5, padding="same"))
    model.add(LeakyReLU(negative_slope=0.2))
    model.add(BatchNormalization(momentum=0.8))
    model.add(Conv2DTranspose(3, kernel_size=5, padding="same", activation="tanh"))
    return model


def make_discriminator_model():
    model = Sequential(name="discriminator")
    model.add(Conv2D(64, (5, 5), strides=(2, 2), padding="same", input_shape=[28, 28, 3]))
    model.add(LeakyReLU())
    model.add(Dropout(0.3))
    model.add(Conv2D(128, (5, 5), strides=(2, 2), padding="same"))
    model.add(LeakyReLU())
    model.add(Dropout(0.3))
    model.add(Flatten())
    model.add(Dense(1, activation="sigmoid"))
    return model


generator = make_generator_model()
discriminator = make_discriminator_model()
discriminator.compile("adam", "binary_crossentropy")
discriminator.trainable = False
gan = Sequential([generator, discriminator])
gan.compile(Adam(learning_rate=2e-4, beta_1=0.5), "binary_crossentropy")
models = [generator, discriminator]

# %%
noise = rng.normal(size=(8, noise_dim)).astype("float32")
target = np.tanh(real)
generator.compile("sgd", "mse")  # alone, without dropout, so that the losses can be compared
losses = [float(generator.train_on_batch(noise, target)) for _ in range(3)]
fake = generator.predict(noise, verbose=0)
discriminator.trainable = True
d_loss = discriminator.train_on_batch(np.concatenate([real, fake]),
                                      np.concatenate([np.ones((8, 1)), np.zeros((8, 1))]))
discriminator.trainable = False
g_loss = gan.train_on_batch(noise, np.ones((8, 1)))
assert np.isfinite([d_loss, g_loss]).all()
