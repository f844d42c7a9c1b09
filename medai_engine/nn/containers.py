"""Modules that hold modules. Their attributes are the members, by number or by name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import ParameterError, ShapeError, say
from ..tensor import Parameter, Tensor
from .conv import Conv2d
from .module import Module, as_input

__all__ = ["Identity", "ModuleDict", "ModuleList", "ParameterList", "Residual", "Sequential"]

class Container(Module):
    """What the containers share: the members are the attributes of one kind, in order."""

    kind: type = Module

    def put(self, name: str, value: Any) -> None:
        """Make a value a member, or raise."""
        where = type(self).__name__
        if not isinstance(value, self.kind):
            if isinstance(value, type):
                got, fix = f"the class {value.__name__}", f"Write {value.__name__}()"
            else:
                got, fix = type(value).__name__, f"Wrap it as an nn.{self.kind.__name__}"
                if callable(value):
                    fix = "Use the module of that name, such as nn.ReLU() for F.relu"
            raise ParameterError(say(where, f"a {self.kind.__name__} as member {name}", got, fix))
        if not isinstance(name, str) or not name or "." in name or hasattr(type(self), name):
            raise ParameterError(say(where, "names without a dot that no method has", repr(name),
                                     "Choose another name"))
        setattr(self, name, value)

    def names(self) -> list[str]:
        """Return the names of the members in order."""
        return [name for name, value in vars(self).items() if isinstance(value, self.kind)]

    def members(self) -> list[Any]:
        """Return the members in order."""
        return [value for value in vars(self).values() if isinstance(value, self.kind)]

    def __len__(self) -> int:
        return len(self.names())

    def __iter__(self) -> Iterator[Any]:
        return iter(self.members())


class Numbered(Container):
    """A list of members, named 0, 1, 2, ..."""

    def __init__(self, members: Iterable[Any] = ()):
        self.extend(members)

    def append(self, member: Any) -> Any:
        """Add a member at the end; returns the container."""
        self.put(str(len(self)), member)
        return self

    def extend(self, members: Iterable[Any]) -> Any:
        """Add members at the end; returns the container."""
        for member in members:
            self.append(member)
        return self

    def insert(self, index: int, member: Any) -> None:
        """Add a member before another one."""
        order = self.members()
        order.insert(index, member)
        self.append(member)
        for name, value in zip(self.names(), order, strict=True):
            setattr(self, name, value)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(self.members()[index])
        return self.members()[index]

    def __setitem__(self, index: int, member: Any) -> None:
        self.put(self.names()[index], member)

    def __delitem__(self, index: Any) -> None:
        gone = self.names()[index]
        for name in [gone] if isinstance(gone, str) else gone:
            delattr(self, name)
        rest = {n: v for n, v in vars(self).items() if n.isdecimal()}
        for name in rest:
            delattr(self, name)
        self.extend(rest.values())


class ModuleList(Numbered):
    """A list of modules whose parameters are found; it has no forward of its own.

    Examples
    --------
    >>> from medai_engine import nn
    >>> layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 2)])
    >>> [name for name, _ in layers.named_parameters()]
    ['0.weight', '0.bias', '1.weight', '1.bias']
    """


class ParameterList(Numbered):
    """A list of parameters; other tensors and arrays become parameters."""

    kind = Parameter

    def put(self, name: str, value: Any) -> None:
        """Make a value a parameter and a member."""
        super().put(name, value if isinstance(value, Parameter) else Parameter(value))

    def extra_repr(self) -> str:
        """Return the shapes."""
        return ", ".join(str(parameter.shape) for parameter in self)


class Sequential(Numbered):
    """Modules one behind the other: each gets what the one before returned.

    A convolution, the activation behind it and max pooling are computed in one go where that
    changes no bit (see ``functional.conv2d``).

    Parameters
    ----------
    *modules : Module
        The layers; or one dict of named layers.

    Examples
    --------
    >>> from medai_engine import nn
    >>> model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 2))
    >>> model[0]
    Linear(in_features=30, out_features=16, bias=True)
    """

    def __init__(self, *modules: Any):
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.put(name, module)
        elif len(modules) == 1 and isinstance(modules[0], (list, tuple)):
            self.extend(modules[0])
        else:
            self.extend(modules)

    def forward(self, x: Any) -> Any:
        """Send x through all members."""
        layers = [v for v in self.__dict__.values() if isinstance(v, Module)]
        done = 0
        try:
            for i, layer in enumerate(layers):
                if done:  # together with one before
                    done -= 1
                    continue
                if isinstance(layer, Conv2d):  # of any number of axes
                    y, done = layer.with_next(x, layers[i + 1:])
                    if done:
                        x = y
                        continue
                x = layer(x)
        except ShapeError as error:
            if len(error.trail) == 1 and isinstance(x, Tensor) and x.base is not None:
                self.explain(error, x.shape[-1], x.base.shape[1:])
            raise
        return x

    def explain(self, error: ShapeError, width: int, sizes: tuple[int, ...]) -> None:
        """Tell an error about a flattened input which layer made its width from which sizes."""
        names, members = self.names(), self.members()
        place = members.index(error.trail[0]) - 1
        if place >= 0 and len(sizes) > 1 and math.prod(sizes) == width:
            error.origin = (str(width), " x ".join(map(str, sizes)),
                            f"{names[place]} {type(members[place]).__name__}")


class ModuleDict(Container):
    """Modules by name, with the methods of a dict; it has no forward of its own."""

    def __init__(self, modules: Mapping[str, Module] | None = None):
        self.update(modules or {})

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add modules, or replace those of the same names."""
        for name, module in modules.items():
            self.put(name, module)

    def keys(self) -> list[str]:
        """Return the names."""
        return self.names()

    def values(self) -> list[Module]:
        """Return the modules."""
        return self.members()

    def items(self) -> list[tuple[str, Module]]:
        """Return the pairs of name and module."""
        return list(self.named_children())

    def pop(self, name: str) -> Module:
        """Take a module out and return it."""
        module = self[name]
        delattr(self, name)
        return module

    def __getitem__(self, name: str) -> Module:
        if name not in self:
            raise KeyError(name)
        return getattr(self, name)

    def __setitem__(self, name: str, module: Module) -> None:
        self.put(name, module)

    def __delitem__(self, name: str) -> None:
        self.pop(name)

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())


class Identity(Module):
    """Returns its input."""

    def forward(self, x: Any) -> Any:
        """Return x."""
        return x


class Residual(Module):
    """``y = body(x) + shortcut(x)``.

    Parameters
    ----------
    *body : Module
        One or several layers whose output has the shape of the shortcut's.
    shortcut : Module, optional
        x itself by default.

    Raises
    ------
    ShapeError
        When body and shortcut return different shapes.

    References
    ----------
    He et al. 2016, Deep residual learning for image recognition.
    """

    def __init__(self, *body: Module, shortcut: Module | None = None):
        self.body = body[0] if len(body) == 1 else Sequential(*body)
        self.shortcut = shortcut if shortcut is not None else Identity()

    def forward(self, x: Any) -> Tensor:
        """Add both ways."""
        y, straight = self.body(x), self.shortcut(x)
        if y.shape != straight.shape:
            raise ShapeError(say("Residual", f"a body that returns {straight.shape}",
                                 str(y.shape), "Keep the shape, or pass shortcut= with a layer "
                                 "that changes it likewise"))
        return y + as_input(straight, y)
