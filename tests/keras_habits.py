"""What Keras users type, line by line: each leaves ``found``, which Keras gives as well.

Before each stand ``PREAMBLE`` and a model, ``small()``, whose weights are the same everywhere.
"""

PREAMBLE = """
import io
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x = rng.normal(size=(12, 6)).astype("float32")
y = rng.integers(0, 3, 12)
hot = keras.utils.to_categorical(y, 3)
risk = (x[:, :1] > 0).astype("float32")
keras.utils.clear_session()

def numbered(model, scale=0.3):
    model.set_weights([scale * np.random.default_rng(i).normal(size=w.shape) for i, w
                       in enumerate(model.get_weights())])
    return model

def small(classes=3, activation="softmax"):
    return numbered(keras.Sequential([
        keras.Input(shape=(6,)), layers.Dense(5, activation="relu", name="hidden"),
        layers.Dense(classes, activation=activation)]))

def number(v):
    return float(keras.ops.convert_to_numpy(v))
"""

HABITS = {
    "names of layers": """
model = keras.Sequential([
    keras.Input((12, 12, 1)), layers.Conv2D(2, 3), layers.LeakyReLU(), layers.BatchNormalization(),
    layers.MaxPooling2D(), layers.UpSampling2D(), layers.Conv2DTranspose(2, 3),
    layers.Conv2D(2, 3), layers.Flatten(), layers.RepeatVector(3), layers.LSTM(2,
    return_sequences=True), layers.Bidirectional(layers.GRU(2, return_sequences=True)),
    layers.TimeDistributed(layers.Dense(2)), layers.SimpleRNN(2), layers.Dense(2)])
found = [layer.name for layer in model.layers] + [model.name]
""",
    "names of inputs": """
a, b = keras.Input((2,)), keras.Input((2,), name="age")
model = keras.Model([a, b], layers.concatenate([a, b]))
found = [v.name for v in model.layers]
""",
    "shapes": """
model = small()
found = [model.input_shape, model.output_shape, model.layers[0].output.shape,
         model.inputs[0].shape, model.outputs[0].shape,
         layers.Conv2D(4, 3, padding="same").compute_output_shape((None, 8, 8, 3))]
""",
    "weights by layer": """
model = small()
kernel, bias = model.get_layer("hidden").get_weights()
model.layers[1].set_weights([np.ones((5, 3)), np.zeros(3)])
found = [kernel, bias, model.predict(x, verbose=0), kernel.shape, len(model.weights),
         len(model.trainable_variables), [w.shape for w in model.weights],
         model.weights[0].numpy(), model.weights[1].name]
""",
    "names of weights": """
model = keras.Sequential([keras.Input((4, 2)), layers.LSTM(2), layers.BatchNormalization()])
found = [w.name for layer in model.layers for w in layer.weights]
""",
    "history keys": """
model = small()
model.compile("sgd", "categorical_crossentropy", metrics=["accuracy", "mse"])
history = model.fit(x, hot, epochs=2, verbose=0, validation_split=0.25, shuffle=False)
found = [list(history.history), history.epoch, history.history["val_loss"],
         history.params["epochs"]]
""",
    "names of metrics": """
model = small(1, "sigmoid")
model.compile("sgd", "mse", metrics=["acc", "mae", "mean_squared_error", "AUC", "Precision",
    keras.metrics.Recall(), keras.metrics.BinaryAccuracy(threshold=0.4), keras.metrics.AUC()])
found = sorted(model.evaluate(x, risk, verbose=0, return_dict=True))
""",
    "metrics": """
model = small(1, "sigmoid")
model.compile("sgd", "binary_crossentropy", metrics=["accuracy", keras.metrics.Recall(name="r"),
    keras.metrics.Precision(name="p", thresholds=0.3), keras.metrics.BinaryAccuracy(threshold=0.4),
    keras.metrics.TruePositives(name="tp"), keras.metrics.FalseNegatives(name="fn"),
    keras.metrics.TrueNegatives(name="tn"), keras.metrics.FalsePositives(name="fp"),
    keras.metrics.MeanAbsoluteError(), keras.metrics.RootMeanSquaredError(),
    keras.metrics.BinaryCrossentropy(name="bce"), "mse"])
found = model.evaluate(x, risk, verbose=0, return_dict=True)
""",
    "metrics of classes": """
model = small()
model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy",
    keras.metrics.SparseCategoricalAccuracy(name="same"),
    keras.metrics.SparseTopKCategoricalAccuracy(k=2, name="two")])
found = model.evaluate(x, y, verbose=0, return_dict=True)
""",
    "top k and F1": """
model = small()
model.compile("sgd", "categorical_crossentropy", metrics=[
    keras.metrics.TopKCategoricalAccuracy(k=2, name="two"), "categorical_accuracy",
    keras.metrics.CategoricalCrossentropy(name="cce")])
found = model.evaluate(x, hot, verbose=0, return_dict=True)
""",
    "a metric alone": """
found = []
for m in (keras.metrics.Mean(), keras.metrics.Accuracy(), keras.metrics.BinaryAccuracy(),
          keras.metrics.Precision(), keras.metrics.Recall(), keras.metrics.MeanSquaredError()):
    if m.name == "mean":
        m.update_state([1.0, 2.0])
        m.update_state([6.0])
    else:
        m.update_state([0.0, 1.0, 1.0], [0.0, 1.0, 0.0])
        m.update_state([1.0, 0.0, 1.0], [1.0, 1.0, 0.0])
    found.append(number(m.result()))
    m.reset_state()
    found.append(m.name)
""",
    "a function as metric and loss": """
def dice(y_true, y_pred):
    overlap = keras.ops.sum(y_true * y_pred)
    return (2 * overlap + 1) / (keras.ops.sum(y_true) + keras.ops.sum(y_pred) + 1)

def dice_loss(y_true, y_pred):
    return 1 - dice(y_true, y_pred)

model = small(1, "sigmoid")
model.compile("adam", loss=dice_loss, metrics=[dice])
history = model.fit(x, risk, epochs=3, batch_size=12, verbose=0, shuffle=False)
found = [history.history["loss"], history.history["dice"]]
""",
    "a loss as object of one's own": """
class Weighted(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred) * (1 + y_true), axis=-1)

model = small(1, "sigmoid")
model.compile(keras.optimizers.SGD(0.1), loss=Weighted())
found = model.fit(x, risk, epochs=3, batch_size=6, verbose=0, shuffle=False).history["loss"]
""",
    "logits": """
model = small(3, None)
model.compile(keras.optimizers.Adam(), keras.losses.SparseCategoricalCrossentropy(from_logits=True),
              metrics=["accuracy"])
found = model.fit(x, y, epochs=2, verbose=0, batch_size=4, shuffle=False).history
""",
    "class weights": """
model = small()
model.compile("sgd", "sparse_categorical_crossentropy")
found = model.fit(x, y, epochs=2, verbose=0, shuffle=False, batch_size=5,
                  class_weight={0: 1.0, 1: 2.0, 2: 0.5}).history["loss"]
""",
    "sample weights": """
model = small()
model.compile("sgd", "categorical_crossentropy", weighted_metrics=["accuracy"])
w = np.linspace(0, 2, 12)
history = model.fit(x, hot, epochs=2, verbose=0, shuffle=False, batch_size=5, sample_weight=w,
                    validation_data=(x, hot, w))
found = [history.history["loss"], history.history["val_loss"], history.history["accuracy"]]
""",
    "steps": """
def batches():
    while True:
        for i in range(3):
            yield x[4 * i: 4 * i + 4], hot[4 * i: 4 * i + 4]

model = small()
model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
history = model.fit(batches(), steps_per_epoch=3, epochs=2, verbose=0,
                    validation_data=batches(), validation_steps=3)
found = [history.history["loss"], history.history["val_loss"][0],  # then Keras skips a batch
         model.evaluate(batches(), steps=3, verbose=0)[0]]
""",
    "a Sequence of batches": """
class Batches(keras.utils.Sequence):
    def __init__(self, x, y, size, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y, self.size = x, y, size

    def __len__(self):
        return len(self.x) // self.size

    def __getitem__(self, i):
        rows = slice(i * self.size, (i + 1) * self.size)
        return self.x[rows], self.y[rows]

model = small()
model.compile("sgd", "categorical_crossentropy")
history = model.fit(Batches(x, hot, 4), epochs=2, verbose=0, shuffle=False,
                    validation_data=Batches(x, hot, 6))
found = [history.history["loss"], history.history["val_loss"],
         model.predict(Batches(x, hot, 4), verbose=0)]
""",
    "predict": """
model = small()
found = [model.predict(x, batch_size=5, verbose=0), model.predict(x[:1], verbose=0),
         model.predict_on_batch(x[:3]), keras.ops.convert_to_numpy(model(x)),
         keras.ops.convert_to_numpy(model(x, training=False)),
         type(model.predict(x, verbose=0)).__name__]
""",
    "evaluate": """
model = small()
model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
loss, accuracy = model.evaluate(x, hot, verbose=0, batch_size=5)
found = [loss, accuracy, model.test_on_batch(x, hot), model.test_on_batch(x, hot, return_dict=True),
         model.evaluate(x, hot, verbose=0, return_dict=True)]
""",
    "train_on_batch": """
model = small()
model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
found = [model.train_on_batch(x, hot), model.train_on_batch(x, hot, return_dict=True)]
model = small()
model.compile("sgd", "categorical_crossentropy")
found.append(number(model.train_on_batch(x, hot)))
""",
    "early stopping": """
model = small()
model.compile(keras.optimizers.SGD(3.0), "categorical_crossentropy", metrics=["accuracy"])
stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=2, restore_best_weights=True,
                                     min_delta=0.001, mode="min", verbose=1)
history = model.fit(x, hot, epochs=40, verbose=0, validation_data=(x[:5], hot[:5]),
                    shuffle=False, batch_size=12, callbacks=[stop])
found = [history.epoch, history.history["val_loss"], stop.stopped_epoch, stop.best,
         stop.best_epoch, model.evaluate(x[:5], hot[:5], verbose=0)[0]]
""",
    "checkpoints": """
import os
model = small()
model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
model.fit(x, hot, epochs=2, verbose=0, validation_data=(x, hot), shuffle=False, callbacks=[
    keras.callbacks.ModelCheckpoint("m-{epoch:02d}-{val_loss:.2f}.keras"),
    keras.callbacks.ModelCheckpoint("best.weights.h5", save_weights_only=True,
                                    save_best_only=True, monitor="val_accuracy", mode="max"),
    keras.callbacks.CSVLogger("log.csv")])
again = keras.models.load_model("m-02-%.2f.keras" % model.evaluate(x, hot, verbose=0)[0])
other = small()
other.load_weights("best.weights.h5")
with open("log.csv") as file:
    csv = file.read().split()
found = [sorted(f for f in os.listdir() if f.startswith(("m-", "best", "log"))),
         again.predict(x, verbose=0), again.evaluate(x, hot, verbose=0), again.name,
         csv[0], other.predict(x, verbose=0).shape]
""",
    "training goes on after loading": """
model = small()
model.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy", metrics=["accuracy"])
model.fit(x, hot, epochs=3, verbose=0, shuffle=False)
model.save("m.keras")
again = keras.saving.load_model("m.keras")
found = [again.fit(x, hot, epochs=2, verbose=0, shuffle=False).history["loss"],
         number(again.optimizer.learning_rate), int(number(again.optimizer.iterations))]
""",
    "plateau": """
model = small()
model.compile(keras.optimizers.SGD(1.0), "categorical_crossentropy")
history = model.fit(x, hot, epochs=8, verbose=0, shuffle=False, validation_data=(x[:4], hot[:4]),
    callbacks=[keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=1, min_delta=0.2, min_lr=0.1,
                                                 cooldown=1)])
found = [history.history["learning_rate"], history.history["loss"]]
""",
    "scheduler": """
def schedule(epoch, lr):
    return lr if epoch < 2 else lr * 0.5

model = small()
model.compile(keras.optimizers.SGD(0.5, momentum=0.9), "categorical_crossentropy")
history = model.fit(x, hot, epochs=5, verbose=0, shuffle=False,
                    callbacks=[keras.callbacks.LearningRateScheduler(schedule)])
found = [history.history["learning_rate"], history.history["loss"]]
""",
    "schedules": """
k = keras.optimizers.schedules
found = [[number(s(i)) for i in (0, 3, 7, 20)] for s in (
    k.ExponentialDecay(0.1, 5, 0.5), k.ExponentialDecay(0.1, 5, 0.5, staircase=True),
    k.CosineDecay(0.1, 10, alpha=0.1), k.CosineDecay(0.0, 10, warmup_target=0.1, warmup_steps=5),
    k.PiecewiseConstantDecay([3, 10], [0.3, 0.2, 0.1]), k.PolynomialDecay(0.1, 10, 0.01, power=2.0),
    k.InverseTimeDecay(0.1, 5, 0.5), k.CosineDecayRestarts(0.1, 5))]
""",
    "momentum under a schedule": """
model = small()
rate = keras.optimizers.schedules.ExponentialDecay(0.5, decay_steps=2, decay_rate=0.5)
model.compile(keras.optimizers.SGD(rate, momentum=0.9, nesterov=True), "categorical_crossentropy")
found = model.fit(x, hot, epochs=5, batch_size=4, verbose=0, shuffle=False).history["loss"]
""",
    "the learning rate by hand": """
model = small()
model.compile(keras.optimizers.SGD(learning_rate=0.1), "categorical_crossentropy")
found = [float(model.optimizer.learning_rate)]
model.optimizer.learning_rate = 0.01
found += [float(model.optimizer.learning_rate), number(model.train_on_batch(x, hot))]
model.optimizer.learning_rate.assign(0.5)
found += [float(model.optimizer.learning_rate), number(model.train_on_batch(x, hot)),
          number(model.train_on_batch(x, hot))]
""",
    "summary": """
model = small()
lines = []
model.summary(print_fn=lambda line, **_: lines.append(line))
text = "\\n".join(lines)
import re
found = re.findall(r"[\\w-]+ params: [\\d,]+ \\([\\d.]+ \\w+\\)", text) + [
    re.search(r'Model: ".*?"', text).group(), model.count_params(), "hidden (Dense)" in text,
    "(None, 5)" in text, "Output Shape" in text, "Param #" in text]
""",
    "verbose 2": """
import contextlib, re
model = small()
model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
out = io.StringIO()
with contextlib.redirect_stdout(out):
    model.fit(x, hot, epochs=2, batch_size=5, verbose=2, shuffle=False, validation_data=(x, hot))
found = re.sub(r"\\d+m?s", "TIME", out.getvalue()).split("\\n")
""",
    "verbose 1": """
import contextlib, re
model = small()
model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
out = io.StringIO()
with contextlib.redirect_stdout(out):
    model.fit(x, hot, epochs=2, verbose=1, shuffle=False)
    model.evaluate(x, hot)
found = [word in out.getvalue() for word in ("Epoch 1/2", "Epoch 2/2", "accuracy: ", "loss: ")]
""",
    "callbacks of one's own": """
seen = []
class Watch(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        seen.append("begin")
    def on_epoch_begin(self, epoch, logs=None):
        seen.append(epoch)
    def on_batch_end(self, batch, logs=None):
        seen.append((batch, sorted(logs)))
    def on_test_begin(self, logs=None):
        seen.append("test")
    def on_epoch_end(self, epoch, logs=None):
        seen.append((sorted(logs), round(float(self.model.optimizer.learning_rate), 5)))
        if epoch == 1:
            self.model.stop_training = True
    def on_predict_end(self, logs=None):
        seen.append("predicted")
model = small()
model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
model.fit(x, hot, epochs=5, batch_size=6, verbose=0, validation_split=0.5, callbacks=[Watch()])
model.predict(x, verbose=0, callbacks=[Watch()])
found = seen
""",
    "features of a layer": """
model = small()
features = keras.Model(inputs=model.inputs, outputs=model.get_layer("hidden").output)
both = keras.Model(model.inputs, [layer.output for layer in model.layers])
found = [features.predict(x, verbose=0), *both.predict(x, verbose=0), model.layers[0].input.shape]
""",
    "transfer": """
base = small()
base.trainable = False
inputs = keras.Input((6,))
model = keras.Model(inputs, numbered(keras.Sequential([keras.Input((3,)), layers.Dense(1)]))(
    base(inputs, training=False)))
model.compile(keras.optimizers.SGD(0.1), "mse")
before = base.get_weights()[0]
history = model.fit(x, risk, epochs=2, verbose=0, shuffle=False)
found = [history.history["loss"], len(model.trainable_weights), len(model.non_trainable_weights),
         bool((base.get_weights()[0] == before).all())]
base.trainable = True
for layer in base.layers[:1]:
    layer.trainable = False
model.compile(keras.optimizers.SGD(0.1), "mse")
found += [len(model.trainable_weights),
          model.fit(x, risk, epochs=2, verbose=0, shuffle=False).history["loss"]]
""",
    "inputs and outputs by name": """
image = keras.Input((6,), name="image")
age = keras.Input((1,), name="age")
h = layers.Concatenate()([image, age])
model = numbered(keras.Model({"image": image, "age": age}, {
    "risk": layers.Dense(1, activation="sigmoid", name="risk")(h),
    "years": layers.Dense(1, name="years")(h)}))
model.compile("sgd", loss={"risk": "binary_crossentropy", "years": "mse"},
              loss_weights={"risk": 1.0, "years": 0.2}, metrics={"risk": ["accuracy"]})
data, target = {"image": x, "age": x[:, :1]}, {"risk": risk, "years": x[:, 1:2]}
history = model.fit(data, target, epochs=2, verbose=0, shuffle=False)
out = model.predict(data, verbose=0)
found = [sorted(history.history), history.history["loss"], sorted(out), out["risk"],
         out["years"]]
""",
    "several outputs in a list": """
inputs = keras.Input((6,))
h = layers.Dense(4, activation="tanh")(inputs)
model = numbered(keras.Model(inputs, [layers.Dense(1, name="a")(h), layers.Dense(2, name="b")(h)]))
model.compile("sgd", ["mse", "mae"], loss_weights=[1.0, 0.5], metrics=[["mae"], ["mse"]])
history = model.fit(x, [risk, x[:, :2]], epochs=2, verbose=0, shuffle=False)
found = [sorted(history.history), history.history["loss"], history.history["a_loss"],
         history.history["b_mse"], [p.shape for p in model.predict(x, verbose=0)]]
""",
    "arithmetic of symbols": """
a = keras.Input((3,))
h = layers.Dense(3, kernel_initializer="ones")(a)
out = (1 - h) * 2.0 + a / 4 - h * a
model = keras.Model(a, [out, -h, h[:, :2], keras.ops.mean(h, axis=-1, keepdims=True), h ** 2])
found = [p for p in model.predict(x[:, :3], verbose=0)]
""",
    "lambda": """
a = keras.Input((6,))
model = keras.Model(a, layers.Lambda(lambda v: v * 2 + 1)(a))
found = model.predict(x, verbose=0)
""",
    "a layer of one's own": """
class Linear(layers.Layer):
    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="ones",
                                 trainable=True, name="w", constraint="non_neg",
                                 regularizer=keras.regularizers.L2(0.01))
        self.b = self.add_weight(shape=(self.units,), initializer="zeros", trainable=True)

    def call(self, inputs):
        return keras.ops.matmul(inputs, self.w) + self.b

    def get_config(self):
        return {**super().get_config(), "units": self.units}

model = keras.Sequential([keras.Input((6,)), Linear(2), layers.Activation("tanh")])
model.compile("sgd", "mse")
found = [model.fit(x, x[:, :2], epochs=2, verbose=0, shuffle=False).history["loss"],
         model.layers[0].get_config()["units"], model.layers[0].name, model.count_params()]
""",
    "a model of one's own": """
class Net(keras.Model):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.hidden = layers.Dense(units, activation="relu", kernel_initializer="ones")
        self.drop = layers.Dropout(0.5)
        self.heads = [layers.Dense(2, kernel_initializer="ones"), layers.Activation("softmax")]

    def call(self, inputs, training=None):
        h = self.hidden(inputs)
        h = self.drop(h, training=False)
        for layer in self.heads:
            h = layer(h)
        return h

model = Net(4)
model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x, y % 2, epochs=2, verbose=0, shuffle=False)
model.save_weights("net.weights.h5")
other = Net(4)
other(x[:1])
other.load_weights("net.weights.h5")
found = [history.history["loss"], model.predict(x, verbose=0), other.predict(x, verbose=0),
         len(model.layers), model.built]
""",
    "training flag in a call": """
class Twice(layers.Layer):
    def call(self, inputs, training=None):
        return 2 * inputs if training else inputs

model = keras.Sequential([keras.Input((6,)), Twice(), layers.Dense(1, kernel_initializer="ones")])
model.compile("sgd", "mse")
found = [number(model.train_on_batch(x, risk)), model.predict(x, verbose=0),
         keras.ops.convert_to_numpy(Twice()(x, training=True))]
""",
    "clone and config": """
model = small()
clone = keras.models.clone_model(model)
again = keras.Sequential.from_config(model.get_config())
dense = layers.Dense.from_config(model.layers[0].get_config())
json = keras.models.model_from_json(model.to_json())
found = [clone.count_params(), again.output_shape, dense.units, json.output_shape,
         [v.name for v in again.layers], dense.get_config()["activation"]]
""",
    "backend and config": """
from keras import backend as K
K.clear_session()
found = [K.epsilon(), K.floatx(), K.image_data_format()]
""",
    "utilities": """
u = keras.utils
s = keras.preprocessing.sequence
found = [u.to_categorical([0, 2, 1]), u.to_categorical(np.array([[1], [0]]), num_classes=3),
         u.normalize(x, axis=1), s.pad_sequences([[1, 2], [3]], maxlen=3),
         u.pad_sequences([[1.5, 2], [3]], padding="post", dtype="float32", value=-1.0)]
""",
    "initializers": """
k = keras.initializers
found = [number(keras.ops.std(keras.ops.convert_to_tensor(v((400, 300))))) > 0 for v in (
    k.RandomNormal(stddev=0.02), k.HeNormal(), k.GlorotUniform(seed=1), k.RandomUniform(-1, 1),
    k.TruncatedNormal(), k.Orthogonal(), k.LecunNormal())] + [
    k.get("he_normal").__class__.__name__, k.Constant(0.5)((2, 2))]
found[-1] = keras.ops.convert_to_numpy(found[-1])
""",
    "constraints": """
model = keras.Sequential([keras.Input((6,)), layers.Dense(3, kernel_initializer="ones",
    kernel_constraint=keras.constraints.MaxNorm(1.0))])
model.compile("sgd", "mse")
model.fit(x, x[:, :3], epochs=1, verbose=0, shuffle=False)
found = model.get_weights()
""",
    "add_loss": """
class Sparse(layers.Layer):
    def call(self, inputs):
        self.add_loss(0.1 * keras.ops.sum(keras.ops.abs(inputs)))
        return inputs

model = keras.Sequential([keras.Input((6,)), Sparse(), layers.Dense(1, kernel_initializer="ones")])
model.compile("sgd", "mse")
found = [number(model.train_on_batch(x, risk)), number(model.train_on_batch(x, risk))]
""",
    "activity regularizer": """
model = keras.Sequential([keras.Input((6,)), layers.Dense(3, kernel_initializer="ones",
    activity_regularizer=keras.regularizers.L1(0.01))])
model.compile("sgd", "mse")
found = [number(model.train_on_batch(x, x[:, :3])) for _ in range(2)]
""",
    "gradients are clipped": """
model = small()
model.compile(keras.optimizers.SGD(1.0, clipnorm=0.1), "categorical_crossentropy")
a = model.fit(x, hot, epochs=3, verbose=0, shuffle=False).history["loss"]
model = small()
model.compile(keras.optimizers.Adam(0.1, clipvalue=0.01), "categorical_crossentropy")
b = model.fit(x, hot, epochs=3, verbose=0, shuffle=False).history["loss"]
model = small()
model.compile(keras.optimizers.SGD(1.0, global_clipnorm=0.1), "categorical_crossentropy")
found = a + b + model.fit(x, hot, epochs=3, verbose=0, shuffle=False).history["loss"]
""",
    "states of a recurrent layer": """
inputs = keras.Input((5, 2))
out, h, c = layers.LSTM(3, return_sequences=True, return_state=True)(inputs)
decoded = layers.LSTM(3)(out, initial_state=[h, c])
model = numbered(keras.Model(inputs, [decoded, h, c]))
found = model.predict(rng.normal(size=(4, 5, 2)), verbose=0)
""",
    "ops": """
ops = keras.ops
t = ops.convert_to_tensor(x)
found = [ops.convert_to_numpy(v) for v in (
    ops.mean(t, axis=0), ops.sum(t), ops.max(t, axis=1), ops.exp(t), ops.log(ops.abs(t) + 1),
    ops.sqrt(ops.square(t)), ops.concatenate([t, t], axis=1), ops.stack([t, t]),
    ops.reshape(t, (6, 12)), ops.transpose(t), ops.matmul(t, ops.transpose(t)),
    ops.where(t > 0, t, 0.0), ops.clip(t, -1, 1), ops.cast(t > 0, "float32"),
    ops.softmax(t), ops.relu(t), ops.sigmoid(t), ops.maximum(t, 0.0), ops.expand_dims(t, 0),
    ops.ones((2, 3)), ops.zeros_like(t), ops.argmax(t, axis=-1), ops.one_hot(y, 3),
    ops.power(t, 2), ops.minimum(t, 0.5), ops.tile(t, (2, 1)), ops.squeeze(t[:, :1], axis=1),
    ops.shape(t)[0] * ops.ones((1,)), ops.arange(4), ops.equal(t, t), ops.tanh(t), ops.std(t),
    ops.var(t, axis=0), ops.cumsum(t, axis=0), ops.norm(t), ops.dot(t, ops.transpose(t)))]
""",
    "activations as functions": """
from keras.activations import relu, softmax
model = numbered(keras.Sequential([keras.Input((6,)), layers.Dense(4, activation=relu),
    layers.Dense(3, activation=keras.activations.softmax)]))
found = [model.predict(x, verbose=0), keras.ops.convert_to_numpy(keras.activations.tanh(
    keras.ops.convert_to_tensor(x))), keras.ops.convert_to_numpy(keras.activations.get("elu")(
    keras.ops.convert_to_tensor(x)))]
""",
    "short names of layers": """
found = [getattr(layers, name).__name__ for name in ("MaxPool1D", "MaxPool2D", "MaxPool3D",
    "AvgPool1D", "AvgPool2D", "AvgPool3D", "GlobalMaxPool1D", "GlobalMaxPool2D",
    "GlobalAvgPool1D", "GlobalAvgPool2D", "Convolution1D", "Convolution2D", "Convolution3D",
    "Convolution2DTranspose")]
""",
    "a saved model with a layer and a loss of one's own": """
@keras.saving.register_keras_serializable(package="mine")
class Scale(layers.Layer):
    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}

def loss(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)

model = numbered(keras.Sequential([keras.Input((6,)), Scale(3.0), layers.Dense(2)]))
model.compile(keras.optimizers.RMSprop(keras.optimizers.schedules.ExponentialDecay(0.01, 2, 0.5)),
              loss, metrics=[keras.metrics.MeanAbsoluteError(name="m")])
model.fit(x, x[:, :2], epochs=2, verbose=0, shuffle=False)
model.save("own.keras")
again = keras.models.load_model("own.keras", custom_objects={"loss": loss})
found = [again.predict(x, verbose=0), again.layers[0].factor,
         again.fit(x, x[:, :2], epochs=2, verbose=0, shuffle=False).history]
""",
    "misspelt arguments": """
model = small()
model.compile("sgd", "categorical_crossentropy")
found = []
for call in (lambda: model.fit(x, hot, epoch=3), lambda: model.compile(optimiser="sgd"),
             lambda: model.evaluate(x, hot, verbos=0), lambda: model.predict(x, batchsize=3)):
    try:
        call()
        found.append("taken")
    except Exception as error:
        found.append("refused")
""",
    "numpy on tensors": """
out = model = small()
y0 = model(x)
found = [np.argmax(keras.ops.convert_to_numpy(y0), axis=1), y0.shape[0], len(y0),
         float(keras.ops.max(y0)), keras.ops.convert_to_numpy(y0[0])]
""",
    "separable and depthwise": """
model = numbered(keras.Sequential([keras.Input((8, 8, 3)),
    layers.SeparableConv2D(4, 3, padding="same", activation="relu"),
    layers.SpatialDropout2D(0.2), layers.GlobalAvgPool2D(), layers.Dense(2)]))
found = [model.predict(rng.normal(size=(2, 8, 8, 3)), verbose=0), model.count_params()]
""",
    "normalisation from the data": """
norm = layers.Normalization(axis=-1)
norm.adapt(x)
model = keras.Sequential([keras.Input((6,)), norm])
found = [model.predict(x, verbose=0), layers.Normalization(mean=1.0, variance=4.0)(x).shape]
""",
}
