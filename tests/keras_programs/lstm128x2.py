"""System 11: the phase of a procedure from a sequence of 100 steps."""

import numpy as np
from keras import Input, Model
from keras.layers import LSTM, Dense
from keras.optimizers import Adam

PHASES = 7

rng = np.random.default_rng(0)
x = rng.normal(size=(8, 100, 64)).astype("float32")
y = rng.integers(0, PHASES, 8)

inp = Input(shape=(100, 64))
h = LSTM(128, return_sequences=True)(inp)
h = LSTM(128)(h)
out = Dense(PHASES, activation="softmax")(h)
model = Model(inp, out)

# %%
model.compile(Adam(learning_rate=1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
losses = [model.train_on_batch(x, y)[0] for _ in range(3)]
