"""System 5: nodule or not, from 64 x 64 slices."""

import numpy as np
from keras.layers import Conv2D, Dense, Flatten, MaxPooling2D
from keras.models import Sequential
from keras.utils import to_categorical

rng = np.random.default_rng(0)
X_train, X_test = (rng.random((n, 64, 64, 1)).astype("float32") for n in (24, 8))
y_train, y_test = (to_categorical(rng.integers(0, 2, n), 2) for n in (24, 8))

model = Sequential()
model.add(Conv2D(32, (3, 3), activation="relu", input_shape=(64, 64, 1)))
model.add(MaxPooling2D((2, 2)))
model.add(Conv2D(64, (3, 3), activation="relu"))
model.add(MaxPooling2D((2, 2)))
model.add(Conv2D(128, (3, 3), activation="relu"))
model.add(MaxPooling2D((2, 2)))
model.add(Flatten())
model.add(Dense(128, activation="relu"))
model.add(Dense(2, activation="softmax"))
model.summary()

# %%
model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
history = model.fit(X_train, y_train, epochs=2, batch_size=8, shuffle=False,
                    validation_data=(X_test, y_test))
losses = history.history["loss"] + history.history["val_loss"]
loss, acc = model.evaluate(X_test, y_test)
print(f"Test accuracy: {acc:.2f}")
y_pred = np.argmax(model.predict(X_test), axis=1)
