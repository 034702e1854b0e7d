"""Layers: objects that own parameters and call operations. One file for each kind:

base  core  activations  arithmetic  linear  conv  depthwise  conv_transpose  pooling  normalization  regularization
merging  reshaping  sequences  embedding  attention  einsum_dense  rms_normalization  function  array_function  recorded
preprocessing  random_images
categories  lookup  text  vocabulary
"""

import importlib
from typing import Any

from minitl.layers.activations import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from minitl.layers.arithmetic import ConstantOperation
from minitl.layers.array_function import ArrayFunction
from minitl.layers.attention import AdditiveAttention, Attention, MultiHeadAttention
from minitl.layers.base import Layer
from minitl.layers.categories import CategoryEncoding, Discretization
from minitl.layers.cells import RNN, GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells
from minitl.layers.chain import Transitions
from minitl.layers.conv import Conv2D
from minitl.layers.conv_transpose import Conv2DTranspose
from minitl.layers.core import Dense, Dropout, Flatten, Identity, Input, InputLayer
from minitl.layers.depthwise import DepthwiseConv2D, SeparableConv2D
from minitl.layers.einsum_dense import EinsumDense
from minitl.layers.embedding import Embedding
from minitl.layers.function import Lambda
from minitl.layers.layer_scale import LayerScale
from minitl.layers.lookup import IntegerLookup, StringLookup
from minitl.layers.masking import Masking
from minitl.layers.merging import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
    add,
    average,
    concatenate,
    dot,
    maximum,
    minimum,
    multiply,
    subtract,
)
from minitl.layers.normalization import BatchNormalization, GroupNormalization, LayerNormalization, UnitNormalization
from minitl.layers.pooling import (
    AveragePooling2D,
    AvgPool2D,
    GlobalAveragePooling2D,
    GlobalAvgPool2D,
    GlobalMaxPool2D,
    GlobalMaxPooling2D,
    MaxPool2D,
    MaxPooling2D,
)
from minitl.layers.preprocessing import CenterCrop, Resizing
from minitl.layers.random_images import (
    RandomBrightness,
    RandomContrast,
    RandomCrop,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
)
from minitl.layers.recurrent import GRU, LSTM, SimpleRNN
from minitl.layers.regularization import (
    ActivityRegularization,
    AlphaDropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
    SpatialDropout2D,
)
from minitl.layers.reshaping import (
    ChannelPadding,
    Cropping1D,
    Cropping2D,
    Permute,
    RepeatVector,
    Reshape,
    UpSampling2D,
    ValuePadding2D,
    ZeroPadding1D,
    ZeroPadding2D,
)
from minitl.layers.rms_normalization import RMSNormalization
from minitl.layers.scaling import Normalization, Rescaling
from minitl.layers.sequence_convolutions import Conv1DTranspose, DepthwiseConv1D, SeparableConv1D
from minitl.layers.sequences import (
    AveragePooling1D,
    AvgPool1D,
    Conv1D,
    GlobalAveragePooling1D,
    GlobalAvgPool1D,
    GlobalMaxPool1D,
    GlobalMaxPooling1D,
    MaxPool1D,
    MaxPooling1D,
    UpSampling1D,
)
from minitl.layers.text import TextVectorization
from minitl.layers.wrappers import Bidirectional, TimeDistributed
from minitl.legacy.arguments import accept

Convolution2DTranspose = Conv2DTranspose

# Arguments have had other names: `minitl.legacy` knows them.
accept([cls for cls in list(globals().values()) if isinstance(cls, type) and issubclass(cls, Layer)])


def __getattr__(name: str) -> Any:
    # Layers that are called otherwise today.
    if name in (
        "AtrousConvolution2D",
        "Convolution1D",
        "Convolution2D",
        "CuDNNGRU",
        "CuDNNLSTM",
        "Deconvolution2D",
        "InputSpec",
        "Merge",
        "SeparableConvolution2D",
        "ThresholdedReLU",
        "merge",
    ):
        return getattr(importlib.import_module("minitl.legacy.layers"), name)
    if name == "experimental":
        return importlib.import_module("minitl.layers.experimental")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "ELU",
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "ActivityRegularization",
    "Add",
    "AdditiveAttention",
    "AlphaDropout",
    "ArrayFunction",
    "Attention",
    "Average",
    "AveragePooling1D",
    "AveragePooling2D",
    "AvgPool1D",
    "AvgPool2D",
    "BatchNormalization",
    "Bidirectional",
    "CategoryEncoding",
    "CenterCrop",
    "ChannelPadding",
    "Concatenate",
    "ConstantOperation",
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Convolution2DTranspose",
    "Cropping1D",
    "Cropping2D",
    "Dense",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "Discretization",
    "Dot",
    "Dropout",
    "EinsumDense",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GroupNormalization",
    "Identity",
    "Input",
    "InputLayer",
    "IntegerLookup",
    "LSTMCell",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LayerScale",
    "LeakyReLU",
    "Masking",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPooling1D",
    "MaxPooling2D",
    "Maximum",
    "Minimum",
    "MultiHeadAttention",
    "Multiply",
    "Normalization",
    "PReLU",
    "Permute",
    "RMSNormalization",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "ReLU",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "Resizing",
    "SeparableConv1D",
    "SeparableConv2D",
    "SimpleRNN",
    "SimpleRNNCell",
    "Softmax",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "StackedRNNCells",
    "StringLookup",
    "Subtract",
    "TextVectorization",
    "TimeDistributed",
    "Transitions",
    "UnitNormalization",
    "UpSampling1D",
    "UpSampling2D",
    "ValuePadding2D",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "add",
    "average",
    "concatenate",
    "dot",
    "maximum",
    "minimum",
    "multiply",
    "subtract",
]  # fmt: skip
