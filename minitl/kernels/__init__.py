"""The engine: the operations of `minitl.ops`, same names, same signatures, same caches, compiled with Numba.

Each file mirrors one of the book and is held to it by tests. These are the engine's own:

    jit.py      how everything here is compiled, and where the compiled code is kept
    launch.py   how the body of a kernel runs on all threads
    simd/       the register tile that does all products, and other vector code; the only place that speaks LLVM
    winograd/   convolution with fewer multiplications
    fused.py    convolution, ReLU and pooling in one go

Nothing is compiled before it is first called.
"""
