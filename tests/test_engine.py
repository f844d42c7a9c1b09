"""The engine rules 1 to 9 and 13 (state, writes, what is kept): a test per rule that it breaks.

Rule 6 (segments of optimisers) and the identity of parameters in modules have their own files.
"""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import medai_engine as me
from medai_engine.mode import MODE
from medai_engine.op import OPS, Op, apply
from medai_engine.tensor import Leaf, Tensor

RNG = np.random.default_rng(0)


def leaf(*shape, dtype=np.float64):
    return me.tensor(RNG.standard_normal(shape), dtype=dtype, requires_grad=True)


@pytest.fixture
def no_collector():
    """Only reference counts free memory: a cycle would keep it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# ---- 1: tensors are values --------------------------------------------------------------------


@pytest.mark.parametrize("update", [
    lambda t: t.__isub__(1.0), lambda t: t.__iadd__(1.0), lambda t: t.__imul__(2.0),
    lambda t: t.__itruediv__(2.0), lambda t: t.copy_(np.zeros(3)),
    lambda t: t.__setitem__(0, 1.0)])
def test_in_place_on_a_leaf_under_no_grad_only(update):
    t = leaf(3)
    data, before = t.data, t.data.copy()
    result = t * 2
    for wrong in (t, result):
        with pytest.raises(me.GraphError, match=r"no_grad"):
            update(wrong)
    with me.no_grad(), pytest.raises(me.GraphError, match="a result of an op"):
        update(result)
    assert np.array_equal(t.data, before)
    with me.no_grad():
        update(t)
    assert t.data is data and not np.array_equal(data, before)
    assert t.requires_grad


def test_in_place_does_not_make_another_tensor():
    p = leaf(3)
    alias = p
    with me.no_grad():
        p -= 1.0
    assert alias is p


def test_results_are_new():
    x = leaf(3)
    for y in (x + 0.0, x * 1.0, x.copy(), x.astype(np.float64), me.where(True, x, x)):
        assert not np.may_share_memory(x.data, y.data)


def test_array_of_a_differentiated_tensor_is_read_only():
    x = leaf(3)
    with pytest.raises(ValueError, match="read-only"):
        x.numpy()[0] = 1
    x.detach().numpy()[0] = 7.0
    assert x.data[0] == 7.0


# ---- 2: writes are noticed --------------------------------------------------------------------


@me.op(gradient={"x": lambda g: g})
def viewed(x):
    """A user's op that returns its input's memory."""
    return x[:]


@pytest.mark.parametrize("keep", [
    lambda w: w * w, lambda w: viewed(w) * viewed(w), lambda w: w[1:] * w[1:],
    lambda w: w.reshape(3, 1) @ w.reshape(1, 3),
    lambda w: me.permute_dims(w.reshape(1, 3), (1, 0)) * w])
@pytest.mark.parametrize("write", [
    lambda w: w.__imul__(2.0), lambda w: w.detach().__setitem__(0, 5.0),
    lambda w: w.detach()[1:].__imul__(2.0),
    lambda w: w.detach().reshape(3, 1).copy_(np.ones((3, 1)))])
def test_backward_refuses_what_was_written(keep, write):
    w = leaf(3)
    y = keep(w).sum()
    with me.no_grad():
        write(w)
    with pytest.raises(me.GraphError, match="values written since"):
        y.backward()
    assert w.grad is None
    keep(w).sum().backward()  # a new graph sees the new values
    assert w.grad is not None


def test_backward_refuses_after_an_optimiser_step():
    w = me.Parameter(np.ones(3))
    y = (w * w).sum()
    (w * 3.0).sum().backward()
    me.optim.SGD([w], lr=0.1).step()
    with pytest.raises(me.GraphError, match="values written since"):
        y.backward()


def test_writes_elsewhere_do_not_matter():
    w, other = leaf(3), leaf(3)
    y = (w * w).sum()
    z = (w + other).sum()  # keeps neither
    with me.no_grad():
        other += 1.0
    y.backward()
    z.backward()
    assert np.allclose(w.grad.data, 2 * w.data + 1)


def test_memory_of_results_is_not_written():
    """A node keeps the array of its result: a write through another tensor would go unnoticed."""
    x = leaf(3)
    y = me.exp(x)
    with me.no_grad():
        for alias in (y.detach(), y.detach()[1:], y.detach().reshape(3, 1)):
            with pytest.raises(me.GraphError, match="memory of a result"):
                alias *= 2.0
        free = y.detach().copy()
        free *= 2.0
    y.sum().backward()
    assert np.allclose(x.grad.data, np.exp(x.data))


def test_writing_op_declares_it():
    calls = []
    op = Op("test_fill", infer=lambda x: [], outputs=(), writes=lambda count: (0,), doc="x = 1",
            definition=lambda x: calls.append(x.fill(1)))
    w = leaf(3)
    y = (w * w).sum()
    with me.no_grad():
        assert apply(op, w) is None
    assert np.array_equal(w.data, np.ones(3)) and len(calls) == 1
    with pytest.raises(me.GraphError, match="values written since"):
        y.backward()


def test_write_reaches_memory_of_any_layout():
    """A kernel that needs C order gets a copy; the values go back, and count as written."""
    op = Op("test_double", infer=lambda x: [], outputs=(), writes=lambda count: (0,), doc="x = 2 x",
            definition=lambda x: np.multiply(x, 2, out=x.reshape(-1).reshape(x.shape)))
    memory = np.arange(6.0).reshape(2, 3)
    w = Tensor(memory.T).requires_grad_()
    y = (w * w).sum()
    with me.no_grad():
        apply(op, w)
    assert np.array_equal(memory, 2 * np.arange(6.0).reshape(2, 3))
    with pytest.raises(me.GraphError, match="values written since"):
        y.backward()


# ---- 3: what a node keeps ---------------------------------------------------------------------


@pytest.mark.parametrize(("function", "kept"), [
    (lambda h: h + 1.0, 0), (lambda h: -h, 0), (lambda h: h.sum(), 0),
    (lambda h: me.tanh(h), 0), (lambda h: me.exp(h), 0),
    (lambda h: h * 2.0, 0), (lambda h: me.log(h), 1), (lambda h: h * h, 1),
    (lambda h: me.functional.softmax(h), 0)])
def test_only_what_a_rule_names_outlives_the_forward(no_collector, function, kept):
    x = leaf(2, 2)
    h = me.exp(x)
    alive = weakref.ref(h)
    y = function(h)
    del h
    assert (alive() is not None) == bool(kept)
    assert y.requires_grad


@pytest.mark.parametrize("function", [
    lambda x: me.tanh(x * x).sum(), lambda x: me.functional.softmax(x).sum(),
    lambda x: (x[0] @ x[1]).sum(), lambda x: me.sort(x * x).sum(),
    lambda x: me.checkpoint(lambda t: me.exp(t * t))(x).sum(),
    lambda x: me.functional.cross_entropy(x.reshape(2, 4), np.array([0, 3]))])
def test_no_cycles(no_collector, function):
    """A graph dies with its result, without the collector; so do gradients of gradients."""
    x = leaf(2, 2, 2)
    function(x)  # what is imported lazily is imported now
    gc.collect()
    y = function(x)
    (g,) = me.autograd.gradients([y], [x], [None], create_graph=True)
    total = (g * g).sum()
    watched = [weakref.ref(t) for t in (y, g, total)]
    total.backward()
    del y, g, total
    assert [w() for w in watched] == [None] * 3
    assert gc.collect() == 0


def test_backward_frees_what_was_kept():
    x = leaf(3)
    h = me.exp(x)
    alive = weakref.ref(h)
    y = me.log(h).sum()
    del h
    y.backward()
    assert alive() is None  # though y is still there


def test_leaf_does_not_keep_its_tensor(no_collector):
    x = leaf(3)
    assert type(x.node) is Leaf
    y = (x + 1.0).sum()
    alive = weakref.ref(x)
    del x
    assert alive() is None
    y.backward()  # nobody wants the gradient any more


def test_results_of_several_outputs_are_differentiable():
    """Residuals handed to a rule are no constants: second derivatives flow through them."""
    logits = RNG.standard_normal((3, 4))
    labels = np.array([0, 3, 1])
    assert me.testing.gradgradcheck(
        lambda x: me.functional.cross_entropy(x, labels, reduction="none"), [logits])


# ---- 4: the engine's own work is ops ----------------------------------------------------------


def test_engine_uses_registered_ops():
    assert {"add", "sum_to", "broadcast_to", "reshape", "astype", "copy"} <= set(OPS)


def test_engine_work_is_differentiable():
    """Sums over broadcasts, sums of gradients, copies of strided inputs: all twice."""
    a, b = RNG.standard_normal((3, 1)), RNG.standard_normal((2, 1, 4))
    me.testing.gradgradcheck(lambda x, y: me.exp(x * y) * x + x, [a, b])
    me.testing.gradgradcheck(lambda x: x.T @ x, [RNG.standard_normal((3, 2))])
    me.testing.gradgradcheck(lambda x: me.functional.softmax(x.T) * x.T, [a @ a.T])


def test_conversion_returns_the_gradient_converted():
    x = me.tensor([1.0, 2.0], requires_grad=True)
    (x.astype(np.float64) ** 2).sum().backward()
    assert x.grad.dtype == np.float32
    assert np.array_equal(x.grad.data, np.float32([2, 4]))


# ---- 5: the record ----------------------------------------------------------------------------


def test_rule_names_say_what_is_saved():
    assert OPS["tanh"].keeps((True,)) == (False, True)
    assert OPS["log"].keeps((True,)) == (True, False)
    assert OPS["multiply"].keeps((True, False)) == (False, True, False)
    assert OPS["add"].keeps((True, True)) == (False, False, False)


def test_rule_that_asks_for_something_unknown():
    with pytest.raises(TypeError, match="asks for 'z'"):
        Op("test_bad", infer=lambda x: (x.shape, x.dtype), definition=lambda x, y: None, doc="",
           vjp={"x": lambda g, z: g})


def test_name_is_taken_once():
    from medai_engine.op import define

    with pytest.raises(ValueError, match="defined twice"):
        define("add", infer=lambda x: None, definition=lambda x: None, doc="")


# ---- 7: gradients of leaves -------------------------------------------------------------------


def test_grad_is_none_then_stored_then_added():
    x = leaf(3)
    assert x.grad is None
    (x * 2.0).sum().backward()
    first = x.grad
    assert np.array_equal(first.data, [2, 2, 2])
    (x * 3.0).sum().backward()
    assert np.array_equal(x.grad.data, [5, 5, 5])
    assert np.array_equal(first.data, [2, 2, 2])  # who kept the first one keeps its values
    y = x * 1.0
    y.sum().backward()
    assert y.grad is None  # only leaves collect


def test_gradients_share_memory_with_nothing():
    x, y = leaf(3), leaf(3)
    g = np.ones(3)
    (x + y).backward(Tensor(g))
    arrays = [x.data, y.data, g, x.grad.data, y.grad.data]
    assert all(not np.may_share_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])
    gx, gy = me.grad(lambda a, b: (a.reshape(3, 1) + b).sum(), (0, 1))(x, y)
    z = me.broadcast_to(x, (2, 3)).sum()
    z.backward()
    arrays += [gx.data, gy.data, x.grad.data]
    assert all(not np.may_share_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])
    assert all(a.flags.writeable and a.flags.c_contiguous for a in arrays)


def test_rule_that_returns_what_it_kept():
    """A gradient is never the memory of the values, whatever a user's rule returns."""

    @me.op(gradient={"x": lambda g, x: x})
    def half_square(x):
        return np.asarray(0.5 * (x * x).sum())

    x = leaf(3)
    found = me.grad(half_square)(x)
    assert np.array_equal(found.data, x.data) and not np.may_share_memory(found.data, x.data)
    half_square(x).backward()
    assert np.array_equal(x.grad.data, x.data) and not np.may_share_memory(x.grad.data, x.data)


# ---- 8: the mode belongs to a context ---------------------------------------------------------


def test_mode_is_local_to_a_thread():
    inside, go_on, found = threading.Event(), threading.Event(), {}

    def loader():
        with me.no_grad(), me.backend("reference"):
            inside.set()
            go_on.wait(10)
            found["thread"] = MODE.get()

    thread = threading.Thread(target=loader)
    thread.start()
    assert inside.wait(10)
    x = leaf(3)
    y = (x * x).sum()  # while the other thread is in no_grad
    assert y.requires_grad and MODE.get().grad
    go_on.set()
    thread.join()
    assert not found["thread"].grad and found["thread"].backend == "reference"
    with me.no_grad():
        thread = threading.Thread(target=lambda: found.update(new=MODE.get().grad))
        thread.start()
        thread.join()
    assert found["new"] is True


def test_modes_nest_and_end_with_an_error():
    x = leaf(3)
    with me.no_grad():
        assert not (x * 2.0).requires_grad
        with me.enable_grad():
            assert (x * 2.0).requires_grad
        assert not (x * 2.0).requires_grad
    with pytest.raises(ZeroDivisionError), me.no_grad():
        raise ZeroDivisionError
    assert (x * 2.0).requires_grad

    @me.no_grad()
    def values(t):
        return t * 2.0

    assert not values(x).requires_grad
    assert not values(x).requires_grad  # a decorator works more than once


def test_threads_differentiate_at_the_same_time():
    x = me.tensor(RNG.standard_normal((64, 64)))
    expected = me.grad(lambda t: me.tanh(t @ t).sum())(x).data.tobytes()
    found = []
    threads = [threading.Thread(target=lambda: found.extend(
        me.grad(lambda t: me.tanh(t @ t).sum())(x).data.tobytes() for _ in range(5)))
        for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 20


# ---- 9: dtypes --------------------------------------------------------------------------------


def test_dtypes():
    f32, f64 = me.tensor([1.0, 2.0]), me.tensor([1.0, 2.0], dtype=me.float64)
    integers = me.asarray(np.array([1, 2]))
    assert f32.dtype == np.float32 and me.tensor(3).dtype == np.float32
    assert me.asarray(np.zeros(2)).dtype == np.float64 and integers.dtype == np.int64
    for op in (lambda a, b: a + b, lambda a, b: a @ b, me.maximum, lambda a, b: me.concat([a, b])):
        with pytest.raises(me.DTypeError, match=r"float32.*float64|float64.*float32") as error:
            op(f32, f64)
        assert "astype" in str(error.value)
    for scalar in (2, 2.0, np.float64(2), np.float32(2), np.int64(2), True):
        assert (f32 * scalar).dtype == np.float32 and (scalar * f64).dtype == np.float64
    assert (f64 * integers).dtype == np.float64 and (integers * f32).dtype == np.float32
    assert (integers * 2).dtype == np.int64 and (integers * 2.5).dtype == np.float32
    assert (integers / 2).dtype == np.float32 and me.exp(integers).dtype == np.float32
    assert (f32 > 1.0).dtype == np.bool_ and not (f32 > 1.0).requires_grad


def test_gradients_have_the_dtype_of_their_input():
    x = me.tensor([1.0, 2.0], requires_grad=True)
    (x * np.float64(3.0) / 7).sum().backward()
    assert x.grad.dtype == np.float32
    with pytest.raises(me.DTypeError, match="floating"):
        me.asarray(np.array([1, 2])).requires_grad_()


# ---- 13: checks come before the kernel --------------------------------------------------------


def test_values_are_checked_before_anything_is_written():
    def check(x):
        if x[0] < 0:
            raise me.DataError("negative")

    op = Op("test_checked", infer=lambda x: [], outputs=(), writes=lambda count: (0,), doc="",
            definition=lambda x: x.fill(1), check=check)
    x = Tensor(np.array([-1.0, 2.0]))
    with pytest.raises(me.DataError):
        apply(op, x)
    assert np.array_equal(x.data, [-1, 2]) and x.written == 0


@pytest.mark.parametrize("call", [
    lambda: me.functional.cross_entropy(me.zeros((2, 3)), np.array([0, 3])),
    lambda: me.functional.cross_entropy(me.zeros((2, 3)), np.array([-1, 0])),
    lambda: me.functional.embedding(np.array([0, 5]), me.zeros((5, 2))),
    lambda: me.take(me.zeros((5, 2)), np.array([5]), axis=0)])
def test_indices_out_of_range_are_named(call):
    with pytest.raises((me.DataError, me.ShapeError), match=r"expected .*, got .*-?\d"):
        call()
