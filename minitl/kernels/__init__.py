"""The engine: the operations of `minitl.ops`, same names, same signatures, same caches, compiled with Numba.

Each file mirrors one of the book and is held to it by tests. These are the engine's own:

    jit.py             how everything here is compiled, and where the compiled code is kept
    launch.py          how a kernel runs for many tasks; pool.py has the threads that share them
    processor.py       what is known of the processor: vectors, caches, thresholds
    memory.py          arrays whose memory is used again; padding.py makes borders in it
    convolution.py     convolution as products of rows, which begin where places.py says: window_product.py forward,
                       input_gradient.py the way back;
                       winograd/ does the same with fewer multiplications
    matrix_product.py  the product of two matrices; row_sums.py sums them
    elementwise.py     how kernels that go through numbers one by one are cut into tasks
    fused.py           convolution, ReLU and pooling in one go
    updates.py         optimizer steps; warp.py moves images
    simd/              the register tile that does all products, and other vector code; the only place that speaks LLVM

Nothing is compiled before it is first called.
"""
