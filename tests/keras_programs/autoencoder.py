"""System 14: 784 - 32 - 784, with the encoder and the decoder as models of their own."""

import numpy as np
from keras.layers import Dense, Input
from keras.models import Model

encoding_dim = 32
rng = np.random.default_rng(0)
x_train = rng.random((24, 784)).astype("float32")

input_img = Input(shape=(784,))
encoded = Dense(encoding_dim, activation="relu")(input_img)
decoded = Dense(784, activation="sigmoid")(encoded)
autoencoder = Model(input_img, decoded)

encoder = Model(input_img, encoded)
encoded_input = Input(shape=(encoding_dim,))
decoder_layer = autoencoder.layers[-1]
decoder = Model(encoded_input, decoder_layer(encoded_input))
models = [autoencoder]

# %%
autoencoder.compile(optimizer="adam", loss="binary_crossentropy")
history = autoencoder.fit(x_train, x_train, epochs=3, batch_size=8, shuffle=False, verbose=0,
                          validation_data=(x_train, x_train))
losses = history.history["loss"] + history.history["val_loss"]
codes = encoder.predict(x_train, verbose=0)
again = decoder.predict(codes, verbose=0)
assert np.abs(again - autoencoder.predict(x_train, verbose=0)).max() < 1e-5
