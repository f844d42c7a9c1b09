"""The names of dtypes and constants: ``me.float32``, ``me.pi``, ..."""

from numpy import (
    bool,
    e,
    finfo,
    float32,
    float64,
    iinfo,
    inf,
    int8,
    int16,
    int32,
    int64,
    isdtype,
    nan,
    newaxis,
    pi,
    uint8,
    uint16,
    uint32,
    uint64,
)

__all__ = ["bool", "e", "finfo", "float32", "float64", "iinfo", "inf", "int16", "int32", "int64",
           "int8", "isdtype", "nan", "newaxis", "pi", "uint16", "uint32", "uint64", "uint8"]
