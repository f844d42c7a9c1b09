"""System 10: patient state from histories of any length, padded with zeros that are masked."""

import numpy as np
from keras.callbacks import EarlyStopping
from keras.layers import LSTM, Dense, Masking
from keras.models import Sequential
from keras.preprocessing.sequence import pad_sequences
from keras.utils import to_categorical

rng = np.random.default_rng(0)
stays = [rng.normal(size=(n, 32)) for n in rng.integers(3, 12, 20)]
x = pad_sequences(stays, padding="post", dtype="float32", value=0.0)
y = to_categorical(rng.integers(0, 2, 20), num_classes=2)

model = Sequential()
model.add(Masking(mask_value=0.0, input_shape=(None, 32)))
model.add(LSTM(64))
model.add(Dense(32, activation="relu"))
model.add(Dense(2, activation="softmax"))

# %%
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
history = model.fit(x, y, epochs=3, batch_size=8, shuffle=False, validation_split=0.2,
                    callbacks=[EarlyStopping(monitor="val_loss", patience=3)])
losses = history.history["loss"] + history.history["val_loss"]
