"""System 12: a label for every step, with dropout before and after the recurrent layer."""

import numpy as np
from keras import layers, models

rng = np.random.default_rng(0)
x = rng.normal(size=(12, 10, 6)).astype("float32")
y = np.eye(5, dtype="float32")[rng.integers(0, 5, (12, 10))]

model = models.Sequential([
    layers.Input((None, 6)),
    layers.Dropout(0.2),
    layers.LSTM(32, return_sequences=True),
    layers.Dropout(0.5),
    layers.TimeDistributed(layers.Dense(5, activation="softmax")),
])

# %%
model.compile("adam", "categorical_crossentropy", metrics=["categorical_accuracy"])
history = model.fit(x, y, batch_size=4, epochs=2, verbose=0, validation_data=(x, y))
assert np.isfinite(history.history["loss"]).all()  # dropout is random: no losses to compare
print(model.predict(x, verbose=0).argmax(axis=-1).shape)
