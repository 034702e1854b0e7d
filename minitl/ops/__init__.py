"""The book: every operation of the network in plain NumPy, one per file, with its derivation.

Each operation is a pair of pure functions, `y, cache = forward(...)` and `dx, ... = backward(dy, cache)`.
`dy` is the gradient of the loss with respect to `y`, and may be anything. They never write to their arguments.
This folder imports NumPy and nothing else, and is a complete network engine, if a slow one; `minitl.kernels` has the same
operations under the same names, compiled. Caches are the same in both: either backward takes what either forward kept.

Read in this order: dense, relu, sigmoid, tanh, softmax, sparse_categorical_cross_entropy, categorical_cross_entropy,
binary_cross_entropy, mean_squared_error, flatten, dropout, window, conv2d, max_pool2d, average_pool2d, global_average_pool2d,
batch_norm. Then what larger networks need: add, multiply, concatenate, maximum, dot; depthwise_conv2d, conv2d_transpose,
upsample2d, group_norm, embedding; leaky_relu, prelu, elu, gated, hard_sigmoid, softplus, exponential.
"""
