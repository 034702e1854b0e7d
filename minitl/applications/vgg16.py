"""VGG16 under the module path that Keras gives it."""

from minitl.applications.vgg import VGG16, decode_predictions, preprocess_input

__all__ = ["VGG16", "decode_predictions", "preprocess_input"]
