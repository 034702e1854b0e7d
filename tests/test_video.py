"""Clips from folders of frames, GIF files and films, and what is wrong with them said by name."""

import numpy as np
import pytest
from PIL import Image

from minitl.preprocessing.video import find_clips, load_clip


def frame(value, size=(8, 6)):
    return Image.new("RGB", size, (value, 0, 255 - value))


def folder_of(path, values, size=(8, 6)):
    path.mkdir(parents=True)
    for k, value in enumerate(values):
        frame(value, size).save(path / f"frame{k + 1}.png")
    return path


def test_a_folder_of_frames_in_the_order_of_its_numbers(tmp_path):
    path = folder_of(tmp_path / "clip", range(0, 120, 10))  # frame2 stands before frame10
    clip = load_clip(path, frames=None)
    assert clip.shape == (12, 6, 8, 3) and clip.dtype == np.uint8
    assert clip[:, 0, 0, 0].tolist() == list(range(0, 120, 10))
    assert load_clip(path, frames=4)[:, 0, 0, 0].tolist() == [0, 40, 70, 110]
    assert load_clip(path, frames=1)[:, 0, 0, 0].tolist() == [0]
    assert load_clip(path, frames=24).shape == (24, 6, 8, 3)  # some twice
    assert load_clip(path, frames=2, target_size=(3, 4)).shape == (2, 3, 4, 3)
    assert load_clip(path, frames=2, color_mode="grayscale").shape == (2, 6, 8, 1)


def test_a_gif(tmp_path):
    images = [frame(value) for value in (0, 80, 160, 240)]
    images[0].save(tmp_path / "clip.gif", save_all=True, append_images=images[1:])
    clip = load_clip(tmp_path / "clip.gif", frames=3)
    assert clip.shape == (3, 6, 8, 3)
    assert np.abs(clip[:, 0, 0, 0].astype(int) - [0, 160, 240]).max() <= 4


def test_a_film(tmp_path):
    pytest.importorskip("av")
    imageio = pytest.importorskip("imageio.v3")
    x = np.repeat(np.arange(0, 240, 10, dtype=np.uint8), 64 * 48 * 3).reshape(24, 48, 64, 3)
    imageio.imwrite(tmp_path / "clip.mp4", x, plugin="pyav", codec="mpeg4", fps=12)
    clip = load_clip(tmp_path / "clip.mp4", frames=6, target_size=(24, 32))
    assert clip.shape == (6, 24, 32, 3)
    brightness = clip.mean(axis=(1, 2, 3))
    assert (np.diff(brightness) > 20).all()
    assert brightness[0] < 15 and brightness[-1] > 215
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    with pytest.raises(ValueError, match=r"broken\.mp4: cannot be read as a film"):
        load_clip(tmp_path / "broken.mp4")


def test_films_without_the_extra_name_the_install_line(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "imageio.v3", None)
    (tmp_path / "clip.mp4").write_bytes(b"film")
    with pytest.raises(ImportError, match=r"pip install minitl\[video\]"):
        load_clip(tmp_path / "clip.mp4")


def test_clips_by_class(tmp_path):
    folder_of(tmp_path / "wave" / "a", [1, 2])
    folder_of(tmp_path / "nod" / "clip10", [1])
    folder_of(tmp_path / "nod" / "clip9", [1])
    (tmp_path / "nod" / "notes.txt").write_text("no clip")
    (tmp_path / "wave" / "b.mp4").write_bytes(b"")
    paths, labels, names = find_clips(tmp_path)
    assert names == ["nod", "wave"]
    assert [path.name for path in paths] == ["clip9", "clip10", "a", "b.mp4"]
    assert labels.tolist() == [0, 0, 1, 1]


def test_what_is_no_clip(tmp_path):
    (tmp_path / "empty").mkdir()
    folder_of(tmp_path / "uneven", [1])
    frame(1, (4, 4)).save(tmp_path / "uneven" / "frame2.png")
    (tmp_path / "broken.gif").write_bytes(b"GIF89a")
    for name, message in (
        ("empty", "empty: holds no frames"),
        ("uneven", "different sizes .* give target_size"),
        ("broken.gif", r"broken\.gif: cannot be read as a clip"),
    ):
        with pytest.raises(ValueError, match=message):
            load_clip(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no clip at"):
        load_clip(tmp_path / "none.mp4")
    with pytest.raises(ValueError, match="frames must be at least 1"):
        load_clip(tmp_path / "uneven", frames=0)
    with pytest.raises(ValueError, match="no clips found"):
        find_clips(tmp_path / "empty")
    assert load_clip(tmp_path / "uneven", frames=2, target_size=(4, 4)).shape == (2, 4, 4, 3)
