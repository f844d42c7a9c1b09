"""System 13: disease prediction by an LSTM with ReLU inside."""

import keras
import numpy as np
from keras.layers import LSTM, Dense
from keras.metrics import AUC, Precision, Recall
from keras.models import Sequential

rng = np.random.default_rng(0)
X = 0.5 * rng.normal(size=(24, 8, 3)).astype("float32")
y = (X.mean(axis=(1, 2)) > 0).astype("float32")

model = Sequential()
model.add(LSTM(64, activation="relu", input_shape=(X.shape[1], X.shape[2])))
model.add(Dense(1, activation="sigmoid"))

# %%
model.compile(optimizer="adam", loss="binary_crossentropy",
              metrics=["accuracy", AUC(name="auc"), Precision(name="prec"), Recall(name="rec")])
history = model.fit(X, y, epochs=3, batch_size=8, shuffle=False, verbose=0)
losses = history.history["loss"] + history.history["accuracy"]
scores = model.evaluate(X, y, verbose=0, return_dict=True)
losses += [scores["loss"], scores["prec"], scores["rec"]]
print(keras.ops.convert_to_numpy(model(X[:2])).shape)
