"""The networks that the graph has to carry, a twin of any of them in PyTorch that reads the same weights, and generated ones."""

import numpy as np

import minitl
from minitl.layers import (
    Activation,
    Add,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Dot,
    Flatten,
    GlobalAveragePooling2D,
    Input,
    MaxPooling2D,
    ReLU,
    UpSampling2D,
    concatenate,
)
from minitl.models import Model, Sequential


def resnet20(size=16, width=8, blocks=3):
    def block(x, filters, strides):
        y = Conv2D(filters, 3, strides, "same", use_bias=False)(x)
        y = ReLU()(BatchNormalization()(y))
        y = BatchNormalization()(Conv2D(filters, 3, padding="same", use_bias=False)(y))
        if strides > 1 or x.shape[-1] != filters:
            x = BatchNormalization()(Conv2D(filters, 1, strides, use_bias=False)(x))
        return ReLU()(Add()([y, x]))

    inputs = x = Input((size, size, 3))
    x = ReLU()(BatchNormalization()(Conv2D(width, 3, padding="same", use_bias=False)(x)))
    for stage in range(3):
        for number in range(blocks):
            x = block(x, width << stage, 2 if stage and not number else 1)
    return Model(inputs, Dense(10, activation="softmax")(GlobalAveragePooling2D()(x)))


def inception():
    inputs = x = Input((12, 12, 3))
    x = Conv2D(8, 3, padding="same", activation="relu")(x)
    one = Conv2D(4, 1, activation="relu")(x)
    three = Conv2D(6, 3, padding="same", activation="relu")(Conv2D(4, 1, activation="relu")(x))
    five = Conv2D(4, 5, padding="same", activation="relu")(Conv2D(2, 1, activation="relu")(x))
    pool = Conv2D(4, 1, activation="relu")(MaxPooling2D(3, 1, "same")(x))
    x = concatenate([one, three, five, pool])
    return Model(inputs, Dense(5, activation="softmax")(GlobalAveragePooling2D()(x)))


def mobilenet_v2(size=16):
    def bottleneck(x, filters, strides, expand):
        y = ReLU(6.0)(BatchNormalization()(Conv2D(expand * x.shape[-1], 1, use_bias=False)(x)))
        y = ReLU(6.0)(BatchNormalization()(DepthwiseConv2D(3, strides, "same", use_bias=False)(y)))
        y = BatchNormalization()(Conv2D(filters, 1, use_bias=False)(y))
        return Add()([x, y]) if strides == 1 and x.shape[-1] == filters else y

    inputs = x = Input((size, size, 3))
    x = ReLU(6.0)(BatchNormalization()(Conv2D(8, 3, 2, "same", use_bias=False)(x)))
    for filters, strides in ((8, 1), (12, 2), (12, 1), (16, 2), (16, 1)):
        x = bottleneck(x, filters, strides, 3)
    return Model(inputs, Dense(4, activation="softmax")(GlobalAveragePooling2D()(x)))


def unet():
    inputs = Input((16, 16, 2))
    a = Conv2D(6, 3, padding="same", activation="relu")(inputs)
    b = Conv2D(8, 3, padding="same", activation="relu")(MaxPooling2D()(a))
    c = Conv2D(10, 3, padding="same", activation="relu")(MaxPooling2D()(b))
    d = Concatenate()([Conv2DTranspose(8, 2, 2, "same")(c), b])
    d = Conv2D(8, 3, padding="same", activation="relu")(d)
    e = Concatenate()([UpSampling2D()(d), a])
    return Model(inputs, Conv2D(3, 1, activation="softmax")(Conv2D(6, 3, padding="same", activation="relu")(e)))


def siamese():
    tower = Sequential(
        [Input((9, 9, 2)), Conv2D(6, 3, activation="relu"), MaxPooling2D(), Flatten(), Dense(7, activation="tanh")], name="tower"
    )
    left, right = Input((9, 9, 2), name="left"), Input((9, 9, 2), name="right")
    a, b = tower(left), tower(right)
    return Model([left, right], Dense(1, activation="sigmoid")(Concatenate()([Dot(-1)([a, b]), Add()([a, b])])))


def two_and_two():
    image, row = Input((8, 8, 3), name="image"), Input((5,), name="row")
    x = Flatten()(MaxPooling2D()(Conv2D(6, 3, activation="relu")(image)))
    x = Dense(8, activation="relu")(Concatenate()([x, Dense(4, activation="tanh")(row)]))
    return Model([image, row], [Dense(3, activation="softmax", name="kind")(x), Dense(2, name="place")(x)])


NETWORKS = {
    "resnet20": resnet20, "inception": inception, "mobilenet_v2": mobilenet_v2, "unet": unet, "siamese": siamese,
    "two_and_two": two_and_two,
}  # fmt: skip


def build(name, dtype=np.float64, **settings):
    """A network with weights that are not what initializers give, so that every parameter matters."""
    minitl.set_random_seed(3)
    model = NETWORKS[name](**settings).astype(dtype)
    generator = np.random.default_rng(5)
    for _, layer in model.named_layers():
        for key, w in {**layer.parameters, **layer.state}.items():
            if key in ("bias", "beta", "moving_mean"):
                w[...] = generator.standard_normal(w.shape) * 0.2
            elif key in ("gamma", "moving_variance"):
                w[...] = generator.uniform(0.5, 1.5, w.shape)
    return model


def data(model, samples=4, seed=0):
    """Inputs of a model, one array each."""
    generator = np.random.default_rng(seed)
    return [generator.standard_normal((samples, *value.shape[1:])) for value in model.inputs]


class TorchGraph:
    """A model's graph in PyTorch: each layer by PyTorch's own function, on the same weights, whose gradients it collects."""

    def __init__(self, model):
        import torch

        self.model, self.torch = model, torch
        self.leaves = {
            f"{path}/{name}": torch.tensor(w, requires_grad=True)
            for path, layer in model.named_layers()
            for name, w in layer.parameters.items()
        }
        self.of_layer = {layer: path for path, layer in model.named_layers()}

    def outputs(self, model, x, training):
        """The outputs before the last activation, and after it, of tensors in NHWC."""
        values = dict(zip(model.graph.inputs, x, strict=True))
        logits = {}
        for node in model.graph.nodes:
            parts = [values[v] for v in node.inputs]
            if node.layer.is_container:
                made, _ = self.outputs(node.layer, parts, training)
            else:
                z, y = self.layer(node.layer, parts, training)
                made = [y]
                logits[node.outputs[0]] = z
            values.update(zip(node.outputs, made, strict=True))
        return [values[v] for v in model.graph.outputs], [logits.get(v) for v in model.graph.outputs]

    def layer(self, layer, parts, training):
        torch, F = self.torch, self.torch.nn.functional
        x, kind = parts[0], type(layer).__name__
        w = {name: self.leaves[f"{self.of_layer[layer]}/{name}"] for name in layer.parameters}
        images = x.permute(0, 3, 1, 2) if x.ndim == 4 else x

        def same(window, value=0.0):
            from minitl.ops.window import slide2d

            rows, columns = slide2d(tuple(x.shape), window, layer.strides, layer.padding)
            return F.pad(images, (columns.before, columns.after, rows.before, rows.after), value=value)

        if kind == "Conv2D":
            z = F.conv2d(same(layer.kernel_size), w["kernel"].permute(3, 2, 0, 1), w.get("bias"), layer.strides).permute(
                0, 2, 3, 1
            )
        elif kind == "DepthwiseConv2D":
            kernel = w["depthwise_kernel"].permute(2, 3, 0, 1)
            z = F.conv2d(same(layer.kernel_size), kernel, w.get("bias"), layer.strides, groups=x.shape[-1]).permute(0, 2, 3, 1)
        elif kind == "Conv2DTranspose":
            z = F.conv_transpose2d(images, w["kernel"].permute(3, 2, 0, 1), w["bias"], layer.strides).permute(0, 2, 3, 1)
        elif kind == "Dense":
            z = x @ w["kernel"] + w["bias"]
        elif kind == "BatchNormalization":
            mean, variance = (torch.tensor(layer.state[n].copy()) for n in ("moving_mean", "moving_variance"))
            if training and layer.trainable:
                axes = tuple(range(x.ndim - 1))
                mean, variance = x.mean(axes), x.var(axes, unbiased=False)
            z = (x - mean) / torch.sqrt(variance + layer.epsilon) * w["gamma"] + w["beta"]
        elif kind == "MaxPooling2D":
            z = F.max_pool2d(same(layer.pool_size, -float("inf")), layer.pool_size, layer.strides).permute(0, 2, 3, 1)
        elif kind == "UpSampling2D":
            z = F.interpolate(images, scale_factor=layer.size).permute(0, 2, 3, 1)
        elif kind == "ReLU":
            z = torch.clamp(x, 0, layer.max_value)
        else:
            z = {
                "GlobalAveragePooling2D": lambda: x.mean((1, 2)), "Flatten": lambda: x.reshape(len(x), -1),
                "Add": lambda: sum(parts), "Concatenate": lambda: torch.cat(parts, layer.axis),
                "Dot": lambda: (parts[0] * parts[1]).sum(-1, keepdim=True), "Activation": lambda: x,
            }[kind]()  # fmt: skip
        activation = getattr(layer, "activation", None)
        named = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "softmax": lambda t: t.softmax(-1)}
        return z, z if kind == "ReLU" or activation in (None, "linear") else named[activation](z)


def random_graph(seed):
    """A generated network: branches, merges, frozen parts, layers that are used twice, nested models."""
    generator = np.random.default_rng(seed)

    def pick(*options):
        return options[generator.integers(len(options))]

    def step(x):
        kind = pick("conv", "conv", "norm", "norm relu", "relu", "pool", "depthwise", "conv norm relu pool", "nested")
        channels = int(pick(3, 5, 16))
        if kind == "norm relu":
            return ReLU()(BatchNormalization(momentum=0.8)(x))
        if kind == "conv norm relu pool":
            x = ReLU()(BatchNormalization(momentum=0.8)(Conv2D(channels, 3, padding="same", use_bias=bool(pick(0, 1)))(x)))
            return MaxPooling2D()(x) if min(x.shape[1:3]) >= 2 else x
        if kind == "nested":
            inner = Sequential([Conv2D(channels, 1, activation="relu"), BatchNormalization(momentum=0.8)])
            return inner(x)
        return {
            "conv": lambda: Conv2D(channels, pick(1, 3), padding="same", activation=pick("relu", "relu", None, "tanh"))(x),
            "norm": lambda: BatchNormalization(momentum=0.8)(x), "relu": lambda: Activation("relu")(x),
            "pool": lambda: MaxPooling2D()(x) if min(x.shape[1:3]) >= 4 else x,
            "depthwise": lambda: DepthwiseConv2D(3, padding="same", activation=pick(None, "relu"))(x),
        }[kind]()  # fmt: skip

    size = int(pick(7, 8, 10))
    inputs = [Input((size, size, 3)) for _ in range(pick(1, 1, 2))]
    values = list(inputs)
    shared = Conv2D(4, 3, padding="same", activation="relu")
    for _ in range(int(generator.integers(3, 8))):
        x = values[generator.integers(len(values))]
        choice = pick("step", "step", "step", "merge", "shared")
        if choice == "merge":
            alike = [v for v in values if v.shape == x.shape]
            x = pick(Add(), Concatenate())([x, alike[generator.integers(len(alike))]])
        elif choice == "shared" and x.shape[-1] == 3:
            x = shared(x)
        else:
            x = step(x)
        values.append(x)
    tops = [GlobalAveragePooling2D()(v) for v in (*inputs, values[-1], values[generator.integers(len(values))])]
    head = Dense(3, activation="softmax")(Concatenate()(tops))
    outputs = [head, Dense(2)(GlobalAveragePooling2D()(values[-1]))][: pick(1, 2)]
    model = Model(inputs, outputs if len(outputs) > 1 else outputs[0])
    for _, layer in model.named_layers():
        if generator.random() < 0.2 and layer is not model.layers[-1]:
            layer.trainable = False
    return model
