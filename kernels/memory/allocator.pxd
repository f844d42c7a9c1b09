cimport numpy as cnp

# A new, uninitialised, 64-byte aligned array of NumPy type number `typenum` (NPY_FLOAT, ...).
cdef object empty_array(int ndim, const cnp.npy_intp *shape, int typenum)
