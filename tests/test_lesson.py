"""The page that one plays with: its engine against minitl's numbers, and the page itself in a browser."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from minitl.applications import load
from minitl.course import lesson
from minitl.datasets import glyphs
from minitl.layers import BatchNormalization, Input
from minitl.models import Sequential
from minitl.optimizers import Adam

NODE, CHROMIUM, DRIVER = shutil.which("node"), shutil.which("chromium"), shutil.which("chromedriver")
COMPARE = """
const engine = require(process.argv[1]), given = JSON.parse(require('fs').readFileSync(0));
const network = engine.networkFrom(given.layers);
const images = given.images.map((data) => ({ height: 32, width: 32, channels: 3, data: Float64Array.from(data) }));
const values = network.forward(images[0]), found = engine.lossOf(values, given.labels[0]);
const { gradients, weights } = network.backward(values, found.dscores);
const result = { scores: Array.from(values[values.length - 1].data), loss: found.loss, dx: Array.from(gradients[0].data),
  weights: weights.map((w) => w && { kernel: Array.from(w.kernel.slice(0, 200)), bias: Array.from(w.bias) }), losses: [] };
const state = {};
for (let step = 0; step < 10; step++) result.losses.push(engine.adamStep(network, images, given.labels, state, 1e-3, 0));
result.after = Array.from(network.layers[0].kernel);
console.log(JSON.stringify(result));
"""


@pytest.fixture(scope="module")
def problem():
    x, y = glyphs.draw("letters", 3, glyphs.TEST_FONTS, np.random.default_rng(3))
    return load("letters").preprocessing(x).astype(np.float64), y[:, 0]


@pytest.mark.skipif(NODE is None, reason="no node")
def test_the_pages_engine_agrees(problem):
    x, y = problem
    model = load("letters").astype(np.float64)
    given = {"layers": lesson.described(model), "images": [image.reshape(-1).tolist() for image in x], "labels": y.tolist()}
    command = [NODE, "-e", COMPARE, str(lesson.PAGE / "engine.js")]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    model.compile("sgd", "sparse_categorical_crossentropy")
    from minitl.objective import forward_loss, trained_layers

    found = forward_loss(model, trained_layers(model), x[:1], y[:1], None, True, True, need_dx=True)
    dx = found.run.backward(found.output_gradients())[0]
    assert abs(theirs["loss"] - found.total) < 1e-4 * max(1, abs(found.total))
    np.testing.assert_allclose(np.array(theirs["dx"]), dx.reshape(-1), atol=1e-4 * np.abs(dx).max())
    ours = [found.run.gradients.get(layer) for layer in model.layers if type(layer).__name__ != "Flatten"]
    for mine, other in zip(ours, theirs["weights"], strict=True):
        if mine:
            size = np.abs(mine["kernel"]).max()
            np.testing.assert_allclose(other["kernel"], mine["kernel"].reshape(-1)[:200], atol=1e-4 * size)
            np.testing.assert_allclose(other["bias"], mine["bias"], atol=1e-4 * np.abs(mine["bias"]).max())
    model.compile(Adam(1e-3), "sparse_categorical_crossentropy")
    losses = [model.train_on_batch(x, y) for _ in range(10)]
    np.testing.assert_allclose(theirs["losses"], losses, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(theirs["after"], model.layers[0].parameters["kernel"].reshape(-1), atol=1e-4)


def test_one_file_without_network(tmp_path):
    lesson.write(tmp_path / "lesson.html")
    text = (tmp_path / "lesson.html").read_text()
    assert len(text) < 2_000_000
    assert "http://" not in text
    assert "https://" not in text
    assert 'src="' not in text
    other = Sequential([Input((3,)), BatchNormalization()])
    with pytest.raises(TypeError, match="dense layers"):
        lesson.described(other)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no Chromium")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
                     "--disable-background-networking", "--disable-component-update", "--window-size=1100,1600",
                     f"--user-data-dir={profile}"):  # fmt: skip
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    page = tmp_path_factory.mktemp("page") / "lesson.html"
    lesson.write(page)
    driver.get(page.as_uri())
    yield driver
    driver.quit()


def test_draw_look_and_come_back(browser):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    assert browser.execute_script("return [...document.querySelectorAll('.layer')].length") > 8
    browser.find_element(By.ID, "clear").click()
    canvas = browser.find_element(By.ID, "draw")
    strokes = ActionChains(browser, duration=20)  # an L
    strokes.move_to_element_with_offset(canvas, -40, -80).click_and_hold().move_to_element_with_offset(canvas, -40, 70)
    strokes.move_to_element_with_offset(canvas, 60, 70).release().perform()
    found = browser.execute_script("return [Array.from(image.data), Array.from(last.values.at(-1).data), last.loss, last.label]")
    image = np.array(found[0]).reshape(1, 32, 32, 3)
    assert image.max() > 0.5
    model = load("letters")
    p = model.predict(image.astype(np.float32), verbose=0)[0]
    theirs = np.exp(np.array(found[1]) - max(found[1]))
    np.testing.assert_allclose(theirs / theirs.sum(), p, atol=1e-4)
    assert p.argmax() == found[3]
    browser.find_element(By.ID, "show-gradients").click()
    assert browser.find_element(By.ID, "show-gradients").get_attribute("aria-pressed") == "true"
    layer = browser.find_elements(By.CSS_SELECTOR, ".layer canvas")[1]
    ActionChains(browser).move_to_element_with_offset(layer, 11, 13).perform()  # not between two maps
    assert "dL/d" in browser.find_element(By.ID, "pointed").text


def test_one_weight_by_both_ways(browser):
    from selenium.webdriver.common.by import By

    numbers = [float(browser.find_element(By.ID, name).text) for name in ("analytic", "numeric")]
    assert abs(numbers[0] - numbers[1]) < 1e-4 * max(1e-2, abs(numbers[0]))
    before = browser.execute_script("return last.loss")
    browser.execute_script("const s = document.getElementById('weight-value'); s.value = 2; s.dispatchEvent(new Event('input'))")
    assert browser.execute_script("return last.loss") != before
    browser.find_element(By.ID, "weight-reset").click()
    assert browser.execute_script("return last.loss") == before


def test_transfer_by_a_click(browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.find_element(By.ID, "fill").click()
    for way in ("freeze", "everything", "random"):
        browser.find_element(By.CSS_SELECTOR, f"[data-way={way}]").click()
        WebDriverWait(browser, 60).until(lambda b, way=way: b.find_elements(By.ID, f"way-{way}"))
    losses = browser.execute_script(
        "return Object.fromEntries(Object.entries(runs).map(([k, r]) => [k, r.points.map((p) => p[1])]))"
    )
    for values in losses.values():
        assert values[-1] < values[0]
    moved = browser.execute_script("return runs.freeze.model.layers[0].kernel.every((w, i) => w === base.layers[0].kernel[i])")
    assert moved
    # The frozen way, in minitl: the same losses.
    images = np.array(browser.execute_script("return drawn.flat().map((one) => Array.from(one.data))")).reshape(6, 32, 32, 3)
    start = browser.execute_script(
        "const s = start('freeze'); return [Array.from(s.layers.at(-1).kernel), s.layers.at(-1).inputs]"
    )
    from minitl.transfer import freeze, replace_head

    model = replace_head(load("letters"), 2, copy=True).astype(np.float64)
    model.layers[-1].parameters["kernel"][...] = np.array(start[0]).reshape(start[1], 2)
    model.layers[-1].parameters["bias"][...] = 0
    freeze(model, "conv*")
    model.compile(Adam(1e-3), "sparse_categorical_crossentropy")
    ours = [model.train_on_batch(images, np.array([0, 0, 0, 1, 1, 1])) for _ in range(10)]
    np.testing.assert_allclose(losses["freeze"][:10], ours, rtol=1e-3, atol=1e-4)


def test_narrow_and_reachable_by_keyboard(browser):
    browser.set_window_size(390, 1600)
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth + 1")
    unnamed = browser.execute_script(
        "return [...document.querySelectorAll('button, select, input, canvas')].filter((e) => !(e.textContent.trim() || "
        "e.getAttribute('aria-label') || e.closest('label'))).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert unnamed == []
    browser.set_window_size(1100, 1600)
