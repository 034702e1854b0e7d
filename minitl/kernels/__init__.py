"""The engine: the operations of `minitl.ops`, same names, same signatures, same caches, compiled with Numba.

Each file mirrors one of the book and is held to it by tests. Two files are the engine's own:

    jit.py      how everything here is compiled, and where the compiled code is kept
    simd.py     the register tile that does all products; the only file that speaks LLVM

Nothing is compiled before it is first called.
"""
