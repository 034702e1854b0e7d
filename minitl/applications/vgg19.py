"""VGG19 under the module path that Keras gives it."""

from minitl.applications.vgg import VGG19, decode_predictions, preprocess_input

__all__ = ["VGG19", "decode_predictions", "preprocess_input"]
