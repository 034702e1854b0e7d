"""Files of Keras and of minitl, each read by the other one."""

from minitl.models import load_model


def there_and_back(ours, theirs, folder, same):
    """`same` is called on what is read from each: a model of Keras and one of minitl, saved in the formats of both."""
    import keras

    for ending in (".keras", ".h5"):
        theirs.save(folder / f"theirs{ending}")
        same(load_model(folder / f"theirs{ending}"))
        ours.save(folder / f"ours{ending}")
        same(keras.models.load_model(folder / f"ours{ending}"))
    ours.save(folder / "ours.npz")
    same(load_model(folder / "ours.npz"))
