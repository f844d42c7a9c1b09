"""System 6: one probability from large colour images."""

import numpy as np
from keras import layers, models, optimizers

IMG_SIZE = 224

rng = np.random.default_rng(0)
x_train = rng.random((8, IMG_SIZE, IMG_SIZE, 3)).astype("float32")
y_train = rng.integers(0, 2, 8)

model = models.Sequential([
    layers.Input(shape=(IMG_SIZE, IMG_SIZE, 3)),
    layers.Conv2D(32, (3, 3), activation="relu"),
    layers.MaxPooling2D(2, 2),
    layers.Conv2D(64, (3, 3), activation="relu"),
    layers.MaxPooling2D(2, 2),
    layers.Conv2D(128, (3, 3), activation="relu"),
    layers.MaxPooling2D(2, 2),
    layers.Flatten(),
    layers.Dense(512, activation="relu"),
    layers.Dense(1, activation="sigmoid"),
])

# %%
model.compile(loss="binary_crossentropy", optimizer=optimizers.SGD(learning_rate=0.01),
              metrics=["accuracy"])
history = model.fit(x_train, y_train, batch_size=4, epochs=3, shuffle=False, verbose=2,
                    class_weight={0: 1.0, 1: 2.0})
losses = history.history["loss"]
risk = model.predict(x_train).flatten()
print((risk > 0.5).astype("int32"))
