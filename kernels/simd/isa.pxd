# Index of the instruction set in use: the first index of every kernel table. Read it once a call.
cdef int level
