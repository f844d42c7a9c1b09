"""The promised names: each exists, and takes the arguments that it was promised with.

A row is a place and what is found there; ``name(a, b)`` also names parameters of the signature.
"""

from __future__ import annotations

import inspect
import re
from functools import reduce

import numpy as np
import pytest

import medai_engine as me

PROMISED = {
    "": """
        Tensor tensor(data,dtype,requires_grad) asarray zeros ones full arange linspace eye
        zeros_like ones_like full_like Parameter Buffer manual_seed load
        float32 float64 int64 int32 int8 uint8 bool pi inf nan newaxis
        exp log log1p expm1 sqrt square abs sign sin cos tan tanh asin acos atan sinh cosh
        floor ceil round maximum minimum pow where clip
        sum(axis,keepdims) mean(axis,keepdims) prod(axis,keepdims) max(axis,keepdims)
        min(axis,keepdims) var(axis,keepdims) std(axis,keepdims) argmax(axis,keepdims)
        argmin(axis,keepdims) logsumexp(axis,keepdims) any(axis,keepdims) all(axis,keepdims)
        cumulative_sum(axis) cumulative_prod(axis) sort(axis) argsort(axis) topk
        reshape(shape) permute_dims(axes) matrix_transpose expand_dims(axis) squeeze(axis)
        concat(axis) stack(axis) unstack(axis) split(axis) flip(axis) roll(axis) tile
        repeat(axis) broadcast_to(shape) pad take(axis) take_along_axis(axis)
        put_along_axis(axis) one_hot astype copy
        matmul tensordot(axes) vecdot(axis) einsum outer
        equal not_equal less less_equal greater greater_equal
        logical_and logical_or logical_xor logical_not
        add subtract multiply divide negative reciprocal power
        floor_divide remainder atan2 hypot log2 log10 logaddexp erf isnan isinf isfinite
        tril triu diagonal meshgrid searchsorted unique nonzero
        grad(fn,argnums) value_and_grad(fn,argnums) vjp jvp hvp jacobian hessian checkpoint(fn)
        jit(fn)
        no_grad enable_grad backend set_num_threads get_num_threads op(gradient) kernel profile
        debug_nans
        """,
    "linalg": "norm solve cholesky inv",
    "random": """Generator(seed) manual_seed normal(rng) uniform(rng) integers(rng)
        permutation(rng)""",
    "kernels": "report",
    "inspect": """doctor graph(loss,model,depth) op ops plan(step,repeats) profile
        step(loss,gradient,model) summary tape""",
    "testing": "gradcheck(fn,inputs) gradgradcheck(fn,inputs)",
    "Tensor": """
        shape dtype ndim size T mT grad requires_grad is_leaf node
        numpy item detach backward(gradient,retain_graph,create_graph) astype(dtype)
        copy clone copy_ requires_grad_ tolist
        sum mean prod max min var std argmax argmin any all cumsum cumprod clip round
        reshape transpose squeeze repeat take sort argsort nonzero searchsorted diagonal
        flatten ravel swapaxes dot
        __array__ __array_ufunc__ __array_function__ __array_namespace__ __dlpack__
        __dlpack_device__ __getitem__ __setitem__ __len__ __iter__ __bool__ __float__ __int__
        __add__ __radd__ __iadd__ __sub__ __rsub__ __isub__ __mul__ __rmul__ __imul__
        __truediv__ __rtruediv__ __itruediv__ __floordiv__ __mod__ __pow__ __rpow__ __matmul__
        __rmatmul__ __neg__ __pos__ __abs__ __eq__ __ne__ __lt__ __le__ __gt__ __ge__
        __and__ __or__ __xor__ __invert__
        """,
    "functional": """
        linear(x,weight,bias) embedding dropout(x,p,training,rng)
        conv1d(x,weight,bias,stride,padding,dilation,groups,activation,pool)
        conv2d(x,weight,bias,stride,padding,dilation,groups,activation,pool)
        conv3d(x,weight,bias,stride,padding,dilation,groups,activation,pool)
        relu relu6 leaky_relu prelu elu selu celu gelu silu mish softplus softsign hardtanh
        hardsigmoid hardswish sigmoid log_sigmoid tanh softmax(axis) log_softmax(axis)
        cross_entropy(logits,labels,weight,ignore_index,label_smoothing,reduction)
        nll_loss(weight,ignore_index,reduction) binary_cross_entropy(reduction)
        binary_cross_entropy_with_logits(pos_weight,reduction) mse_loss(reduction)
        l1_loss(reduction) smooth_l1_loss(reduction) huber_loss(reduction) kl_div(reduction)
        hinge_loss(reduction) triplet_margin_loss(reduction) cosine_similarity(axis)
        focal_loss(reduction) dice_loss(reduction) tversky_loss(reduction)
        scaled_dot_product_attention(attn_mask,dropout_p,is_causal,scale)
        """,
    "nn": """
        Module Parameter Buffer Sequential ModuleList ModuleDict ParameterList Residual Identity
        Conv1d(in_channels,out_channels,kernel_size,activation,pool)
        Conv2d(in_channels,out_channels,kernel_size,activation,pool)
        Conv3d(in_channels,out_channels,kernel_size,activation,pool)
        Linear(in_features,out_features,bias) Embedding Dropout Flatten Reshape init
        ReLU ReLU6 LeakyReLU PReLU ELU SELU CELU GELU SiLU Mish Softplus Softsign Hardtanh
        Hardsigmoid Hardswish Sigmoid LogSigmoid Tanh Softmax LogSoftmax
        CrossEntropyLoss(weight,ignore_index,label_smoothing,reduction)
        NLLLoss(weight,ignore_index,reduction) BCELoss BCEWithLogitsLoss(pos_weight) MSELoss
        L1Loss SmoothL1Loss HuberLoss KLDivLoss HingeLoss TripletMarginLoss CosineSimilarity
        FocalLoss DiceLoss TverskyLoss MultiheadAttention(embed_dim,num_heads,dropout,bias)
        TransformerEncoderLayer(d_model,nhead,dim_feedforward,dropout,activation,norm_first)
        """,
    "nn.init": """uniform_ normal_ trunc_normal_ constant_ zeros_ ones_ eye_ xavier_uniform_
        xavier_normal_ kaiming_uniform_ kaiming_normal_ orthogonal_ calculate_gain""",
    "nn.Module": """
        parameters named_parameters modules children state_dict load_state_dict(strict) zero_grad
        train eval apply(fn) astype(dtype) requires_grad_ register_buffer summary(input_shape)
        compile(optimizer,loss,metrics)
        fit(x,y,epochs,batch_size,validation_data,validation_split,callbacks,class_weight,sample_weight,groups)
        evaluate(x,y) predict(x) save(path)
        """,
    "optim": """
        Optimizer SGD(lr,momentum,nesterov,weight_decay) Adam(lr,betas,eps,weight_decay)
        AdamW(lr,betas,eps,weight_decay) NAdam RAdam RMSprop Adagrad Adadelta Adamax Lion LBFGS
        clip_grad_norm_(parameters,max_norm) clip_grad_value_(parameters,clip_value) EMA schedules
        """,
    "optim.Optimizer": "step zero_grad add_param_group state_dict load_state_dict lr",
    "optim.schedules": """StepLR MultiStepLR ExponentialLR CosineAnnealingLR
        CosineAnnealingWarmRestarts OneCycleLR LinearWarmup ReduceLROnPlateau""",
    "training": """Callback EarlyStopping Checkpoint ReduceOnPlateau CSVLog StopOnNaN Schedule
        History Progress metrics""",
    "training.metrics": """accuracy sensitivity specificity precision recall f1 roc_auc roc_curve
        confusion_matrix log_loss brier mean_squared_error mean_absolute_error r2""",
    "data": """DataLoader(dataset,batch_size,shuffle,seed,collate) ArrayDataset read_csv
        split_by_group datasets""",
    "data.datasets": "breast_cancer",
    "estimators": """
        LogisticRegression(penalty,C,l1_ratio,tol,fit_intercept,class_weight,solver,max_iter,warm_start)
        LinearRegression(fit_intercept) Ridge(alpha,fit_intercept)
        LinearSVC(loss,dual,tol,C,fit_intercept,class_weight,random_state,max_iter)
        LinearSVR(epsilon,tol,C,loss,fit_intercept,dual,max_iter)
        SVC(C,kernel,degree,gamma,coef0,shrinking,probability,tol,class_weight,decision_function_shape)
        SVR(kernel,degree,gamma,coef0,tol,C,epsilon,shrinking)
        NetClassifier(module,optimizer,lr,epochs,batch_size) NetRegressor(module,optimizer,lr)
        StandardScaler SimpleImputer(strategy) OneHotEncoder(handle_unknown)
        DecisionTreeClassifier(criterion,max_depth,max_features,class_weight,ccp_alpha,max_bins)
        DecisionTreeRegressor(criterion,max_depth,min_samples_leaf,max_leaf_nodes,random_state)
        RandomForestClassifier(n_estimators,bootstrap,oob_score,max_samples,class_weight)
        RandomForestRegressor(n_estimators,max_features,min_impurity_decrease)
        permutation_importance(estimator,X,y,scoring,n_repeats,random_state)
        """,
    "errors": """MedaiError ShapeError DTypeError ParameterError GraphError DataError
        MissingExtraError NotFittedError NonFiniteError""",
}
ROWS = [(place, name, arguments) for place, names in PROMISED.items()
        for name, arguments in re.findall(r"(\w+)(?:\(([\w,]*)\))?", names)]


def find(place: str) -> object:
    return reduce(getattr, filter(None, place.split(".")), me)


@pytest.mark.parametrize(("place", "name", "arguments"), ROWS,
                         ids=[f"{place}.{name}".strip(".") for place, name, _ in ROWS])
def test_promised(place, name, arguments):
    owner = find(place)
    slots = getattr(owner, "__slots__", ())
    assert hasattr(owner, name) or name in slots, f"medai_engine.{place} has no {name}"
    if arguments:
        parameters = inspect.signature(getattr(owner, name)).parameters
        missing = set(arguments.split(",")) - set(parameters)
        assert not missing, f"{place}.{name}{tuple(parameters)} lacks {sorted(missing)}"


def test_every_optimizer_has_the_state_of_one():
    for name, kind in vars(me.optim).items():
        if inspect.isclass(kind) and issubclass(kind, me.optim.Optimizer) and (
                kind is not me.optim.Optimizer):
            optimizer = kind([me.tensor([1.0], requires_grad=True)])
            assert "params" in optimizer.param_groups[0], name
            assert optimizer.lr == optimizer.param_groups[0]["lr"] > 0, name


def test_every_schedule_has_a_state():
    for name in me.optim.schedules.__all__:
        kind = getattr(me.optim.schedules, name)
        assert {"step", "state_dict", "load_state_dict"} <= set(dir(kind)), name


def test_functions_that_numpy_has_as_methods_are_methods():
    numpys = {name for name in dir(np.ndarray) if not name.startswith("_")}
    ours = {name for name in PROMISED[""].replace("(", " ").split() if callable(
        getattr(me, name, None))}
    absent = {name for name in numpys & ours if not hasattr(me.Tensor, name)}
    assert not absent


def test_errors_are_the_built_in_ones_too():
    for kind, builtin in ((me.ShapeError, ValueError), (me.DTypeError, TypeError),
                          (me.ParameterError, ValueError), (me.ParameterError, TypeError),
                          (me.GraphError, RuntimeError), (me.MissingExtraError, ImportError)):
        assert issubclass(kind, me.MedaiError)
        assert issubclass(kind, builtin)
    assert issubclass(me.DataError, me.MedaiError)


@pytest.mark.parametrize("place", ["", "functional", "nn", "optim", "data", "training"])
def test_a_star_import_gives_no_module_of_another_package(place):
    """What a user completes with the tab key is the package's own."""
    owner = find(place)
    names = [n for n in getattr(owner, "__all__", dir(owner)) if not n.startswith("_")]
    strangers = [n for n in names if inspect.ismodule(getattr(owner, n))
                 and not getattr(owner, n).__name__.startswith("medai_engine")]
    assert not strangers


def test_elementwise_functions_of_the_package_are_those_of_numpys_protocol():
    for name, function in me.ops.methods.ELEMENTWISE.items():
        assert getattr(me, name) is function, name
