"""The Keras layer: Keras itself as the oracle, where it is installed, and programs of its users."""

from __future__ import annotations

import os

import numpy as np
import pytest

import medai_engine as me
from medai_engine import keras as ours
from medai_engine.errors import MedaiError, ParameterError, ShapeError

EXECUTED: list[str] = []  # comparisons with Keras
L = ours.layers
pytestmark = [pytest.mark.filterwarnings(f"ignore:{of}") for of in (  # of Keras's own
    "__array__ implementation doesn't accept", "The `torch", "`torch.jit", "Conv")]


@pytest.fixture(scope="module")
def theirs():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    if "CI" in os.environ:
        import keras

        return keras
    pytest.importorskip("torch")
    return pytest.importorskip("keras")


def data(*shape: int, seed: int = 0, whole: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if whole:
        return rng.integers(0, whole, shape)
    return rng.normal(size=shape).astype(np.float32)


IMAGE, SIGNAL, VOLUME, STEPS = (9, 8, 3), (11, 3), (5, 6, 4, 2), (7, 5)
LAYERS = {
    "Dense": (lambda k: k.Dense(4, activation="tanh"), (6,)),
    "Dense of steps": (lambda k: k.Dense(4, use_bias=False), STEPS),
    "Conv1D": (lambda k: k.Conv1D(4, 3, strides=2, padding="same"), SIGNAL),
    "Conv1D causal": (lambda k: k.Conv1D(4, 3, padding="causal", dilation_rate=2), SIGNAL),
    "Conv2D": (lambda k: k.Conv2D(4, (3, 2), strides=(2, 1), activation="relu"), IMAGE),
    "Conv2D same": (lambda k: k.Conv2D(4, 4, strides=2, padding="same"), IMAGE),
    "Conv3D": (lambda k: k.Conv3D(3, 2), VOLUME),
    "DepthwiseConv2D": (lambda k: k.DepthwiseConv2D(3, depth_multiplier=2), IMAGE),
    "SeparableConv2D": (lambda k: k.SeparableConv2D(4, 3, strides=2, activation="relu"), IMAGE),
    "Conv2DTranspose": (lambda k: k.Conv2DTranspose(4, 4, strides=2, padding="same"), IMAGE),
    "Conv2DTranspose valid": (lambda k: k.Conv2DTranspose(4, 3, strides=2), IMAGE),
    "Conv2DTranspose wide": (lambda k: k.Conv2DTranspose(2, 2, strides=3), IMAGE),
    "MaxPooling1D": (lambda k: k.MaxPooling1D(2), SIGNAL),
    "MaxPooling2D": (lambda k: k.MaxPooling2D((2, 3)), IMAGE),
    "MaxPooling2D same": (lambda k: k.MaxPooling2D(2, padding="same"), IMAGE),
    "AveragePooling2D": (lambda k: k.AveragePooling2D(2, strides=1), IMAGE),
    "AveragePooling2D same": (lambda k: k.AveragePooling2D(3, strides=1, padding="same"), IMAGE),
    "MaxPooling3D": (lambda k: k.MaxPooling3D(2), VOLUME),
    "GlobalAveragePooling1D": (lambda k: k.GlobalAveragePooling1D(), SIGNAL),
    "GlobalAveragePooling2D": (lambda k: k.GlobalAveragePooling2D(), IMAGE),
    "GlobalMaxPooling2D": (lambda k: k.GlobalMaxPooling2D(keepdims=True), IMAGE),
    "GlobalMaxPooling3D": (lambda k: k.GlobalMaxPooling3D(), VOLUME),
    "UpSampling1D": (lambda k: k.UpSampling1D(3), SIGNAL),
    "UpSampling2D": (lambda k: k.UpSampling2D((2, 3)), IMAGE),
    "UpSampling2D bilinear": (lambda k: k.UpSampling2D(2, interpolation="bilinear"), IMAGE),
    "ZeroPadding2D": (lambda k: k.ZeroPadding2D(((1, 2), (0, 3))), IMAGE),
    "Cropping2D": (lambda k: k.Cropping2D((1, 2)), IMAGE),
    "BatchNormalization": (lambda k: k.BatchNormalization(), IMAGE),
    "BatchNormalization plain": (lambda k: k.BatchNormalization(scale=False), (6,)),
    "Normalization": (lambda k: k.Normalization(mean=0.5, variance=4.0), IMAGE),
    "LayerNormalization": (lambda k: k.LayerNormalization(), STEPS),
    "SimpleRNN": (lambda k: k.SimpleRNN(4), STEPS),
    "SimpleRNN relu": (lambda k: k.SimpleRNN(4, activation="relu", return_sequences=True), STEPS),
    "LSTM": (lambda k: k.LSTM(4), STEPS),
    "LSTM backwards": (lambda k: k.LSTM(4, return_sequences=True, go_backwards=True), STEPS),
    "LSTM relu": (lambda k: k.LSTM(4, activation="relu", use_bias=False), STEPS),
    "GRU": (lambda k: k.GRU(4, return_sequences=True), STEPS),
    "Bidirectional": (lambda k: k.Bidirectional(k.LSTM(4, return_sequences=True)), STEPS),
    "Bidirectional sum": (lambda k: k.Bidirectional(k.GRU(4), merge_mode="sum"), STEPS),
    "TimeDistributed": (lambda k: k.TimeDistributed(k.Dense(2)), STEPS),
    "Flatten": (lambda k: k.Flatten(), IMAGE),
    "Reshape": (lambda k: k.Reshape((-1, 4)), IMAGE),
    "Permute": (lambda k: k.Permute((3, 1, 2)), IMAGE),
    "RepeatVector": (lambda k: k.RepeatVector(3), (6,)),
    "Activation": (lambda k: k.Activation("swish"), STEPS),
    "Softmax": (lambda k: k.Softmax(), STEPS),
    "ReLU": (lambda k: k.ReLU(max_value=1.0, negative_slope=0.1), STEPS),
    "LeakyReLU": (lambda k: k.LeakyReLU(0.2), STEPS),
    "ELU": (lambda k: k.ELU(0.5), STEPS),
    "Rescaling": (lambda k: k.Rescaling(1 / 255, offset=-1), IMAGE),
    "PReLU": (lambda k: k.PReLU(), STEPS),
    "Dropout": (lambda k: k.Dropout(0.5), STEPS),
    "GaussianNoise": (lambda k: k.GaussianNoise(0.5), STEPS),
    "SpatialDropout2D": (lambda k: k.SpatialDropout2D(0.5), IMAGE),
}
NOT_ALONE = {"Input", "InputLayer", "Layer", "Lambda", "Masking", "Embedding", "Concatenate",
             "Add", "Subtract", "Multiply", "Maximum", "Minimum", "Average", "add", "concatenate",
             "AveragePooling1D", "AveragePooling3D", "Conv1DTranspose",
             "Conv3DTranspose", "GlobalAveragePooling3D", "GlobalMaxPooling1D", "UpSampling3D"}


def test_every_layer_has_a_case():
    assert {name.split()[0] for name in LAYERS} | NOT_ALONE == {
        name for name in L.__all__ if getattr(L, name).__name__ == name}


def filled(weights: list[np.ndarray]) -> list[np.ndarray]:
    """Return weights of the same shapes, none of them 0 or alike; variances positive."""
    return [0.3 * data(*w.shape, seed=i) + (0.5 if w.ndim == 1 else 0) for i, w
            in enumerate(weights)]


@pytest.mark.parametrize("name", LAYERS)
def test_layer_equals_keras(name, theirs):
    make, shape = LAYERS[name]
    one = theirs.Sequential([theirs.Input(shape), make(theirs.layers)])
    two = ours.Sequential([ours.Input(shape), make(L)])
    assert [w.shape for w in two.get_weights()] == [w.shape for w in one.get_weights()]
    weights = filled(one.get_weights())
    if "BatchNormalization" in name:
        weights[-1] = np.abs(weights[-1]) + 0.1
    one.set_weights(weights)
    two.set_weights(weights)
    assert two.count_params() == one.count_params()
    assert two.output_shape == one.output_shape
    x = data(2, *shape)
    np.testing.assert_allclose(two.predict(x), one.predict(x, verbose=0), rtol=2e-4, atol=2e-5)
    for a, b in zip(two.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(a, b)
    EXECUTED.append(name)


def test_the_oracle_was_asked(theirs):
    assert "CI" not in os.environ or len(EXECUTED) == len(LAYERS)


@pytest.mark.parametrize("mask", ["behind", "in front", "holes"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN", "Bidirectional"])
def test_masks(kind, mask, theirs):
    x = data(3, 6, 2)
    hidden = {"behind": [[4, 5], [], [2, 3, 4, 5]], "in front": [[0, 1], [0], [0, 1, 2, 3]],
              "holes": [[1, 3], [0, 5], [2]]}[mask]
    for row, steps in enumerate(hidden):
        x[row, steps] = 0

    def model(k, sequences):
        cell = k.layers.LSTM if kind == "Bidirectional" else getattr(k.layers, kind)
        layer = cell(3, return_sequences=sequences)
        return k.Sequential([k.Input((6, 2)), k.layers.Masking(), k.layers.Bidirectional(layer)
                             if kind == "Bidirectional" else layer])

    for sequences in (False, True):
        one, two = model(theirs, sequences), model(ours, sequences)
        weights = filled(one.get_weights())
        one.set_weights(weights)
        two.set_weights(weights)
        a, b = two.predict(x), one.predict(x, verbose=0)
        if sequences:  # what stands at masked steps is nobody's business
            keep = (x != 0).any(-1)
            a, b = a[keep], b[keep]
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["Concatenate", "Add", "Subtract", "Multiply", "Maximum",
                                  "Minimum", "Average"])
def test_merging(name, theirs):
    def model(k):
        a, b = k.Input((4,)), k.Input((4,))
        return k.Model([a, b], getattr(k.layers, name)()([a, b]))

    x = [data(3, 4, seed=1), data(3, 4, seed=2)]
    np.testing.assert_allclose(model(ours).predict(x), model(theirs).predict(x, verbose=0))


def test_embedding_with_mask(theirs):
    def model(k):
        return k.Sequential([k.Input((5,), dtype="int32"), k.layers.Embedding(9, 4, mask_zero=True),
                             k.layers.LSTM(3)])

    one, two = model(theirs), model(ours)
    weights = filled(one.get_weights())
    one.set_weights(weights)
    two.set_weights(weights)
    x = data(4, 5, whole=9)
    np.testing.assert_allclose(two.predict(x), one.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


LOSSES = ["binary_crossentropy", "categorical_crossentropy", "mean_squared_error",
          "mean_absolute_error", "mean_absolute_percentage_error",
          "mean_squared_logarithmic_error", "hinge", "squared_hinge", "huber", "kl_divergence",
          "poisson", "cosine_similarity", "binary_focal_crossentropy"]


@pytest.mark.parametrize("name", LOSSES)
def test_loss_equals_keras(name, theirs):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), 6).astype(np.float32)
    y = np.eye(4, dtype=np.float32)[rng.integers(0, 4, 6)]
    wanted = np.asarray(theirs.losses.get(name)(y, p).cpu())
    np.testing.assert_allclose(ours.losses.get(name)(y, p).data, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("logits", [False, True])
def test_sparse_loss_and_options(logits, theirs):
    p = data(5, 3) if logits else np.random.default_rng(0).dirichlet(np.ones(3), 5).astype("f4")
    y = np.array([0, 2, 1, 1, 0])
    kind = "SparseCategoricalCrossentropy"
    a = getattr(ours.losses, kind)(from_logits=logits)(y, p)
    b = getattr(theirs.losses, kind)(from_logits=logits)(y, p)
    assert a.item() == pytest.approx(float(b), rel=1e-5)
    hot = np.eye(3, dtype=np.float32)[y]
    a = ours.losses.CategoricalCrossentropy(from_logits=logits, label_smoothing=0.1)(hot, p)
    b = theirs.losses.CategoricalCrossentropy(from_logits=logits, label_smoothing=0.1)(hot, p)
    assert a.item() == pytest.approx(float(b), rel=1e-5)


def cnn(k):
    return k.Sequential([
        k.Input((12, 12, 1)), k.layers.Conv2D(4, 3, activation="relu"),
        k.layers.MaxPooling2D(), k.layers.Flatten(), k.layers.Dense(8, activation="relu"),
        k.layers.Dense(2, activation="softmax")])


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "nadam", "adamax", "adagrad", "adamw",
                                       "rmsprop", "adadelta", "lion"])
def test_training_goes_the_same_way(optimizer, theirs):
    """The losses of a few steps from the same weights."""
    one, two = cnn(theirs), cnn(ours)
    weights = [0.3 * w for w in filled(one.get_weights())]
    one.set_weights(weights)
    two.set_weights(weights)
    x, y = data(16, 12, 12, 1), data(16, whole=2)
    for model in (one, two):
        model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy")
    a = [two.train_on_batch(x, y) for _ in range(5)]
    b = [float(one.train_on_batch(x, y)) for _ in range(5)]
    np.testing.assert_allclose(a, b, rtol=5e-4)


STEPS_OF = {  # with gradients about as large as epsilon, which shows where it stands
    "SGD": lambda k, rate: k.SGD(rate, momentum=0.9),
    "SGD nesterov": lambda k, rate: k.SGD(rate, momentum=0.9, nesterov=True),
    "Adam": lambda k, rate: k.Adam(rate, epsilon=1e-4),
    "Adam amsgrad": lambda k, rate: k.Adam(rate, epsilon=1e-4, amsgrad=True),
    "AdamW": lambda k, rate: k.AdamW(rate, weight_decay=0.1, epsilon=1e-4),
    "Nadam": lambda k, rate: k.Nadam(rate, epsilon=1e-4),
    "RMSprop": lambda k, rate: k.RMSprop(rate, epsilon=1e-7),
    "RMSprop momentum": lambda k, rate: k.RMSprop(rate, momentum=0.9, epsilon=1e-7),
    "RMSprop centered": lambda k, rate: k.RMSprop(rate, centered=True, epsilon=1e-7),
    "Adagrad": lambda k, rate: k.Adagrad(rate, initial_accumulator_value=0.0, epsilon=1e-7),
    "Adadelta": lambda k, rate: k.Adadelta(rate, epsilon=1e-7),
    "Lion": lambda k, rate: k.Lion(rate),
}


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("name", STEPS_OF)
def test_steps_equal_keras(name, scheduled, theirs):
    """Weights after every one of ten steps, with a fixed rate and one that falls."""
    x, y = 1e-2 * data(8, 5), 1e-2 * data(8, 1, seed=1)
    found = []
    for k in (ours, theirs):
        rate = k.optimizers.schedules.ExponentialDecay(0.01, 2, 0.5) if scheduled else 0.01
        model = k.Sequential([k.Input((5,)), k.layers.Dense(1, use_bias=False)])
        model.compile(STEPS_OF[name](k.optimizers, rate), "mse")
        model.set_weights([data(5, 1, seed=2)])
        found.append([model.train_on_batch(x, y) and model.get_weights()[0] for _ in range(10)])
    # each step rounds weights of about 1 and quotients of about the rate a few times
    np.testing.assert_allclose(*found, rtol=0, atol=10 * 8 * np.finfo(np.float32).eps)


def test_regularizers_and_weights_count(theirs):
    def model(k):
        m = k.Sequential([k.Input((4,)), k.layers.Dense(
            3, kernel_regularizer=k.regularizers.L2(0.1), bias_regularizer="l1")])
        m.compile("sgd", "mse")
        m.set_weights(filled(m.get_weights()))
        return m

    x, y, w = data(6, 4), data(6, 3, seed=1), np.arange(6, dtype=np.float32)
    a = model(ours).test_on_batch(x, y, sample_weight=w)
    assert a == pytest.approx(float(model(theirs).test_on_batch(x, y, sample_weight=w)), rel=1e-5)


# ---- without an oracle --------------------------------------------------------------------------


def test_history_network_with_variable_length():
    """System 10: LSTM 64 - dense 32 - dense 2 on (None, 32)."""
    model = ours.Sequential()
    model.add(L.LSTM(64, input_shape=(None, 32)))
    model.add(L.Dense(32, activation="relu"))
    model.add(L.Dense(2, activation="softmax"))
    assert model.output_shape == (None, 2) and model.count_params() == 24832 + 2080 + 66
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    y = ours.utils.to_categorical(data(20, whole=2), 2)
    history = model.fit(data(20, 9, 32), y, epochs=2, batch_size=8, verbose=0,
                        validation_data=(data(6, 4, 32), y[:6]))
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert model.predict(data(3, 5, 32)).shape == (3, 2)


def test_gan_as_keras_users_write_it():
    """The discriminator learns by itself, and is frozen inside the combined model."""
    me.manual_seed(0)
    generator = ours.Sequential([ours.Input((5,)), L.Dense(8), L.LeakyReLU(0.2),
                                 L.BatchNormalization(momentum=0.8), L.Dense(6, activation="tanh")])
    discriminator = ours.Sequential([ours.Input((6,)), L.Dense(8), L.LeakyReLU(0.2),
                                     L.Dense(1, activation="sigmoid")])
    adam = ours.optimizers.Adam(0.0002, 0.5)
    discriminator.compile(loss="binary_crossentropy", optimizer=adam, metrics=["accuracy"])
    z = ours.Input(shape=(5,))
    discriminator.trainable = False
    combined = ours.Model(z, discriminator(generator(z)))
    combined.compile(loss="binary_crossentropy", optimizer=ours.optimizers.Adam(0.0002, 0.5))
    noise, real = data(8, 5), np.tanh(data(8, 6))

    before = discriminator.get_weights(), generator.get_weights()
    combined.train_on_batch(noise, np.ones((8, 1)))
    assert all((a == b).all() for a, b in zip(before[0], discriminator.get_weights(), strict=True))
    assert not (before[1][0] == generator.get_weights()[0]).all()
    loss, accuracy = discriminator.train_on_batch(real, np.ones((8, 1)))
    assert 0 <= accuracy <= 1 and loss > 0
    assert not (before[0][0] == discriminator.get_weights()[0]).all()
    assert len(combined.trainable_weights) == len(generator.trainable_weights) == 6


def test_functional_model_with_two_inputs_and_outputs(tmp_path):
    image, age = ours.Input((6, 6, 1), name="image"), ours.Input((1,), name="age")
    x = L.Flatten()(L.Conv2D(2, 3, activation="relu")(image))
    x = L.concatenate([x, age])
    shared = L.Dense(4, activation="relu")
    risk = L.Dense(1, activation="sigmoid")(shared(x))
    years = L.Dense(1)(L.Dropout(0.1)(shared(x)))
    model = ours.Model([image, age], [risk, years])
    model.compile("adam", ["binary_crossentropy", "mse"])
    x = [data(10, 6, 6, 1), data(10, 1)]
    y = [data(10, 1, whole=2), data(10, 1, seed=3)]
    assert len(model.fit(x, y, epochs=2, verbose=0).history["loss"]) == 2
    a, b = model.predict(x)
    assert a.shape == b.shape == (10, 1)
    model.save(tmp_path / "m.keras")
    again = ours.models.load_model(tmp_path / "m.keras")
    assert again.evaluate(x, y) == model.evaluate(x, y)
    for one, two in zip(model.predict(x), again.predict(x), strict=True):
        np.testing.assert_array_equal(one, two)
    assert [v.name for v in again.layers] == [v.name for v in model.layers]


@pytest.mark.parametrize("name", LAYERS)
def test_layers_come_back_from_a_file(name, tmp_path):
    make, shape = LAYERS[name]
    model = ours.Sequential([ours.Input(shape), make(L)])
    model.set_weights(filled(model.get_weights()))
    model.save(tmp_path / "m.keras")
    again = ours.models.load_model(tmp_path / "m.keras")
    x = data(2, *shape)
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_callbacks(tmp_path):
    me.manual_seed(1)
    model = cnn(ours)
    model.compile(ours.optimizers.Adam(0.02), "sparse_categorical_crossentropy", ["accuracy"])
    seen: list[int] = []
    x, y = data(24, 12, 12, 1), data(24, whole=2)
    k = ours.callbacks
    history = model.fit(x, y, epochs=30, verbose=0, validation_split=0.25, callbacks=[
        k.EarlyStopping(patience=2, restore_best_weights=True),
        k.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True),
        k.CSVLogger(tmp_path / "log.csv"), k.TerminateOnNaN(),
        k.LearningRateScheduler(lambda epoch, lr: lr * 0.9),
        k.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))])
    losses = history.history["val_loss"]
    assert len(losses) < 30 and seen == list(range(len(losses)))
    held = model.evaluate(x[18:], y[18:], return_dict=True)
    assert held["loss"] == pytest.approx(min(losses), rel=1e-5)
    best = ours.models.load_model(tmp_path / "best.keras")
    np.testing.assert_array_equal(best.predict(x), model.predict(x))
    assert (tmp_path / "log.csv").read_text().count("\n") == len(losses) + 1
    assert history.history["learning_rate"][1] == pytest.approx(0.02 * 0.81)


def test_a_model_and_a_layer_of_ones_own():
    class Scale(L.Layer):
        def build(self, input_shape):
            self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")

        def call(self, inputs):
            return inputs * self.factor

    class Net(ours.Model):
        def __init__(self):
            super().__init__()
            self.scale, self.head = Scale(), L.Dense(2)

        def call(self, inputs):
            return self.head(self.scale(inputs))

    net = Net()
    net.compile("sgd", "mse")
    net.fit(data(8, 3), data(8, 2), epochs=1, verbose=0)
    assert net.count_params() == 3 + 8 and not (net.scale.get_weights()[0] == 1).all()


def test_a_layer_that_looks_at_values_trains_eagerly(capsys):
    class Odd(L.Layer):
        def call(self, inputs):
            return inputs * (2.0 if inputs.sum().item() > 0 else 1.0)

    model = ours.Sequential([ours.Input((3,)), Odd(), L.Dense(1)])
    model.compile("sgd", "mse")
    before = model.get_weights()[0]
    model.train_on_batch(data(4, 3), data(4, 1))
    assert "not as a plan" in capsys.readouterr().err
    assert not (model.get_weights()[0] == before).all()


def test_a_plan_gives_the_bits_of_single_steps():
    found = []
    for eagerly in (False, True):
        me.manual_seed(4)
        model = cnn(ours)
        model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=eagerly)
        model.fit(data(20, 12, 12, 1), data(20, whole=2), batch_size=8, epochs=2, verbose=0)
        found.append(model.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_batches_from_a_generator_and_schedules():
    model = ours.Sequential([ours.Input((3,)), L.Dense(1)])
    schedule = ours.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    model.compile(ours.optimizers.SGD(schedule), "mse")
    model.fit(((data(4, 3), data(4, 1)) for _ in range(5)), epochs=1, verbose=0)
    assert model.optimizer.learning_rate == pytest.approx(0.1 * 0.5**4)


def test_pad_sequences_and_to_categorical():
    u = ours.utils
    assert u.pad_sequences([[1, 2], [3]]).tolist() == [[1, 2], [0, 3]]
    assert u.pad_sequences([[1, 2, 3], [4]], maxlen=2).tolist() == [[2, 3], [0, 4]]
    assert u.pad_sequences([[1, 2, 3], [4]], 4, padding="post").tolist() == [
        [1, 2, 3, 0], [4, 0, 0, 0]]
    assert u.to_categorical([0, 2]).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_summary_and_names(capsys):
    model = cnn(ours)
    model.summary()
    text = capsys.readouterr().out
    assert "(None, 10, 10, 4)" in text and "Total params: 866" in text
    assert model.get_layer(index=0).name.startswith("conv2d")
    with pytest.raises(ParameterError, match="a layer of"):
        model.get_layer("nothing")


@pytest.mark.parametrize(("call", "error", "match"), [
    (lambda: L.Dense(0), ParameterError, "units of 1 or more"),
    (lambda: L.Conv2D(4, 3, padding="full"), ParameterError, 'padding "valid" or "same"'),
    (lambda: L.Conv2D(4, 3, data_format="channels_first"), ParameterError, "channels_last"),
    (lambda: L.LSTM(4, stateful=True), ParameterError, "stateful"),
    (lambda: L.LSTM(4, activation="gelu"), ParameterError, "activation"),
    (lambda: L.Dense(4, activation="rely"), ParameterError, "one of linear, relu"),
    (lambda: L.Dense(4, wrong=1), ParameterError, "wrong"),
    (lambda: ours.Input(), ParameterError, "the shape of a sample"),
    (lambda: ours.Sequential([3]), ParameterError, "a layer"),
    (lambda: ours.Model(ours.Input((3,)), L.Dense(2)(ours.Input((3,)))), ParameterError,
     "another input"),
    (lambda: cnn(ours).compile("adams"), ParameterError, "an optimizer of"),
    (lambda: cnn(ours).compile("adam", "crossentropy"), ParameterError, "a loss of"),
    (lambda: cnn(ours).fit(data(2, 12, 12, 1), [0, 1]), ParameterError, "compile"),
    (lambda: L.Conv2D(4, 3)(ours.Input((12, 12))), MedaiError, "channels"),
    (lambda: cnn(ours).set_weights([]), ParameterError, "6 arrays"),
    (lambda: ours.losses.get("mse")(data(3, 2), data(3, 4)), ShapeError, "to_categorical"),
])
def test_mistakes(call, error, match):
    with pytest.raises(error, match=match):
        call()
