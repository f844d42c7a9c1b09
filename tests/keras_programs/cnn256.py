"""System 7: two classes from 256 x 256 x 3, written with the functional API."""

import keras
import numpy as np
from keras import layers

IMG_SIZE = 256

rng = np.random.default_rng(0)
images = rng.integers(0, 256, (8, IMG_SIZE, IMG_SIZE, 3)).astype("uint8")
labels = rng.integers(0, 2, 8)

inputs = keras.Input(shape=(IMG_SIZE, IMG_SIZE, 3))
x = layers.Rescaling(1.0 / 255)(inputs)
x = layers.Conv2D(32, 3, activation="relu")(x)
x = layers.MaxPooling2D()(x)
x = layers.Conv2D(64, 3, activation="relu")(x)
x = layers.MaxPooling2D()(x)
x = layers.Conv2D(64, 3, activation="relu", name="last_conv")(x)
x = layers.MaxPooling2D()(x)
x = layers.Flatten()(x)
x = layers.Dense(64, activation="relu")(x)
outputs = layers.Dense(2, activation="softmax")(x)
model = keras.Model(inputs=inputs, outputs=outputs, name="cnn256")

# %%
model.compile(optimizer=keras.optimizers.SGD(0.02, momentum=0.9),
              loss=keras.losses.SparseCategoricalCrossentropy(),
              metrics=["sparse_categorical_accuracy"])
history = model.fit(images, labels, batch_size=4, epochs=3, shuffle=False, verbose=0)
losses = history.history["loss"] + history.history["sparse_categorical_accuracy"]
features = keras.Model(model.inputs, model.get_layer("last_conv").output)
print(features.predict(images, batch_size=3, verbose=0).shape)
