"""System 15: a dense GAN, 100 - 1024 - 784 against 784 - 1024 - 1."""

import numpy as np
from keras.layers import Dense, Input, LeakyReLU
from keras.models import Model, Sequential
from keras.optimizers import Adam

latent_dim = 100
rng = np.random.default_rng(0)
real_images = rng.uniform(-1, 1, (48, 784)).astype("float32")


def build_generator():
    model = Sequential()
    model.add(Dense(1024, input_dim=latent_dim))
    model.add(LeakyReLU(negative_slope=0.2))
    model.add(Dense(784, activation="tanh"))
    return model


def build_discriminator():
    model = Sequential()
    model.add(Dense(1024, input_dim=784))
    model.add(LeakyReLU(negative_slope=0.2))
    model.add(Dense(1, activation="sigmoid"))
    return model


discriminator = build_discriminator()
discriminator.compile(loss="binary_crossentropy", optimizer=Adam(2e-4, 0.5), metrics=["accuracy"])
generator = build_generator()
z = Input(shape=(latent_dim,))
discriminator.trainable = False
gan = Model(z, discriminator(generator(z)))
gan.compile(loss="binary_crossentropy", optimizer=Adam(2e-4, 0.5))
models = [generator, discriminator]

# %%
losses = []
batch_size = 16
for epoch in range(3):
    noise = rng.normal(0, 1, (batch_size, latent_dim))
    fake_images = generator.predict(noise, verbose=0)
    batch = real_images[epoch * batch_size: (epoch + 1) * batch_size]
    discriminator.trainable = True
    d_loss_real = discriminator.train_on_batch(batch, np.ones((batch_size, 1)))
    d_loss_fake = discriminator.train_on_batch(fake_images, np.zeros((batch_size, 1)))
    d_loss = 0.5 * np.add(d_loss_real, d_loss_fake)
    discriminator.trainable = False
    g_loss = gan.train_on_batch(noise, np.ones((batch_size, 1)))
    print(f"{epoch} [D loss: {d_loss[0]:.4f}, acc.: {100 * d_loss[1]:.2f}] [G loss: {g_loss:.4f}]")
    losses += [float(d_loss[0]), float(g_loss)]
