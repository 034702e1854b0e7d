"""ResNet50 under the module path that Keras gives it."""

from minitl.applications.resnet import ResNet50, decode_predictions, preprocess_input

__all__ = ["ResNet50", "decode_predictions", "preprocess_input"]
