// The page: drawing, what the layers see, one weight, and transfer. The network is in engine.js.
const $ = (id) => document.getElementById(id);
const base = networkFrom(DATA.layers);
let network = base.copy();
let image = blank();
let shown = 'values';
let last = null;
const LINES = { freeze: '#0072b2', everything: '#d55e00', random: '#009e73' };

function blank(level = 0.08) {
  return { height: 32, width: 32, channels: 3, data: new Float64Array(32 * 32 * 3).fill(level) };
}

// A canvas on which one draws in light ink; `changed` gets the picture of 32x32 pixels.
function pad(canvas, changed) {
  const side = 32, ink = canvas.getContext('2d'), small = document.createElement('canvas');
  small.width = small.height = side;
  const wipe = () => { ink.fillStyle = '#151515'; ink.fillRect(0, 0, canvas.width, canvas.height); };
  const read = () => {
    const shrink = small.getContext('2d', { willReadFrequently: true });
    shrink.imageSmoothingQuality = 'high';
    shrink.drawImage(canvas, 0, 0, side, side);
    const pixels = shrink.getImageData(0, 0, side, side).data, found = blank();
    for (let i = 0; i < side * side; i++) for (let c = 0; c < 3; c++) found.data[3 * i + c] = pixels[4 * i + c] / 255;
    changed(found);
  };
  let down = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
  };
  canvas.addEventListener('pointerdown', (event) => { down = place(event); canvas.setPointerCapture(event.pointerId); stroke(down, down); });
  canvas.addEventListener('pointermove', (event) => { if (down) { const now = place(event); stroke(down, now); down = now; } });
  canvas.addEventListener('pointerup', () => { down = null; read(); });
  const stroke = (from, to) => {
    ink.strokeStyle = '#f0e6d0'; ink.lineWidth = canvas.width / 9; ink.lineCap = 'round'; ink.lineJoin = 'round';
    ink.beginPath(); ink.moveTo(...from); ink.lineTo(to[0] + 0.01, to[1]); ink.stroke();
  };
  const put = (picture) => {
    const pixels = new ImageData(side, side);
    for (let i = 0; i < side * side; i++) {
      for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = Math.round(255 * picture.data[3 * i + c]);
      pixels.data[4 * i + 3] = 255;
    }
    small.getContext('2d').putImageData(pixels, 0, 0);
    ink.drawImage(small, 0, 0, canvas.width, canvas.height);
    changed(picture);
  };
  wipe();
  return { wipe, put, stroke, read };
}

// Part 1: what every layer sees.

const drawing = pad($('draw'), (picture) => { image = picture; look(true); });
$('clear').onclick = () => { drawing.wipe(); image = blank(21 / 255); look(true); };
DATA.classes.forEach((name, k) => { const option = new Option(name, k); $('target').add(option); });
$('target').onchange = () => look(false);
DATA.examples.forEach(({ name, pixels }) => {
  const button = document.createElement('button');
  button.textContent = name;
  button.onclick = () => drawing.put(picture(pixels));
  $('examples').append(button);
});
for (const what of ['values', 'gradients']) {
  $('show-' + what).onclick = () => {
    shown = what;
    for (const other of ['values', 'gradients']) $('show-' + other).setAttribute('aria-pressed', String(other === what));
    look(false);
  };
}

function picture(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), found = blank();
  for (let i = 0; i < found.data.length; i++) found.data[i] = bytes[i] / 255;
  return found;
}

function look(fresh) {
  const values = network.forward(image), scores = values[values.length - 1].data, p = softmax(scores);
  const order = p.map((v, k) => k).sort((a, b) => p[b] - p[a]);
  if (fresh) $('target').value = order[0];
  const label = Number($('target').value), found = lossOf(values, label);
  const back = network.backward(values, found.dscores);
  last = { values, label, ...found, ...back };
  $('loss').textContent = found.loss.toFixed(4);
  $('bars').replaceChildren(...order.slice(0, 5).map((k) => {
    const row = document.createElement('div');
    row.className = 'bar';
    row.innerHTML = `<span>${DATA.classes[k]}</span><i style="width:${Math.max(1, 100 * p[k])}%"></i><span>${(100 * p[k]).toFixed(1)} %</span>`;
    return row;
  }));
  const tensors = shown === 'values' ? values : back.gradients;
  $('layers').replaceChildren(...tensors.map((tensor, k) => panel(tensor, k)));
  weight();
}

// One layer as maps, at most 16 of them; blue is below zero, orange above.
function panel(tensor, k) {
  const box = document.createElement('div'), title = document.createElement('b'), canvas = document.createElement('canvas');
  const flat = tensor.height === 1, count = Math.min(flat ? 1 : 16, tensor.channels), per = flat ? tensor.channels : tensor.width;
  const rows = flat ? 1 : tensor.height, gap = 1, columns = flat ? 1 : Math.min(8, count);
  box.className = 'layer';
  title.textContent = `${k === 0 ? 'input' : DATA.layers[k - 1].name}: ${flat ? tensor.channels : `${tensor.height} x ${tensor.width} x ${tensor.channels}`}`;
  canvas.width = columns * (per + gap); canvas.height = Math.ceil(count / columns) * (rows + gap);
  const zoom = Math.max(1, Math.floor(Math.min(900, innerWidth - 40) / canvas.width));
  canvas.style.width = Math.min(6, zoom) * canvas.width + 'px';
  if (flat) canvas.style.height = '18px';
  const paint = canvas.getContext('2d'), size = tensor.data.reduce((a, v) => Math.max(a, Math.abs(v)), 1e-12);
  const at = (x, y) => {
    if (flat) return x < tensor.channels && y === 0 ? x : -1;
    const map = Math.floor(y / (rows + gap)) * columns + Math.floor(x / (per + gap)), i = y % (rows + gap), j = x % (per + gap);
    return map < count && i < rows && j < per ? (i * tensor.width + j) * tensor.channels + map : -1;
  };
  for (let y = 0; y < canvas.height; y++) for (let x = 0; x < canvas.width; x++) {
    const place = at(x, y);
    if (place < 0) continue;
    const v = tensor.data[place] / size, light = Math.round(255 * (1 - Math.abs(v)));
    paint.fillStyle = v >= 0 ? `rgb(255,${Math.round(160 + 95 * light / 255)},${light})` : `rgb(${light},${Math.round(140 + 115 * light / 255)},255)`;
    paint.fillRect(x, y, 1, 1);
  }
  canvas.addEventListener('pointermove', (event) => {
    const rect = canvas.getBoundingClientRect();
    const place = at(Math.floor((event.clientX - rect.left) * canvas.width / rect.width), Math.floor((event.clientY - rect.top) * canvas.height / rect.height));
    if (place >= 0) {
      const gradient = last.gradients[k] ? last.gradients[k].data[place] : NaN;
      $('pointed').textContent = `${title.textContent}, number ${place}: value ${last.values[k].data[place].toPrecision(5)}, dL/d(it) ${gradient.toPrecision(5)}`;
    }
  });
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', `${title.textContent}, ${shown}`);
  box.append(title, canvas);
  return box;
}

// Part 2: one weight.

DATA.layers.forEach((layer, k) => { if (layer.kernel) $('weight-layer').add(new Option(layer.name, k)); });
const chosen = () => {
  const layer = Number($('weight-layer').value), index = Math.min(Number($('weight-index').value) || 0, network.layers[layer].kernel.length - 1);
  return { layer, index };
};
const lossAt = (layer, index, value) => {
  const kernel = network.layers[layer].kernel, before = kernel[index];
  kernel[index] = value;
  const found = lossOf(network.forward(image), Number($('target').value)).loss;
  kernel[index] = before;
  return found;
};

function weight() {
  if (!last) return;
  const { layer, index } = chosen(), w = network.layers[layer].kernel[index], h = 1e-5;
  $('weight-value').value = w;
  $('weight-shown').textContent = w.toFixed(4);
  $('analytic').textContent = last.weights[layer].kernel[index].toPrecision(6);
  $('numeric').textContent = ((lossAt(layer, index, w + h) - lossAt(layer, index, w - h)) / (2 * h)).toPrecision(6);
  const points = [];
  for (let k = -8; k <= 8; k++) points.push([w + k / 8, lossAt(layer, index, w + k / 8)]);
  plot($('curve'), [{ color: '#0072b2', points }], { mark: [w, last.loss] });
}
$('weight-layer').onchange = $('weight-index').onchange = weight;
$('weight-value').oninput = () => {
  const { layer, index } = chosen();
  network.layers[layer].kernel[index] = Number($('weight-value').value);
  look(false);
};
$('weight-reset').onclick = () => { network = base.copy(); look(false); };

function plot(canvas, lines, { mark = null } = {}) {
  const paint = canvas.getContext('2d'), all = lines.flatMap((line) => line.points);
  paint.clearRect(0, 0, canvas.width, canvas.height);
  if (!all.length) return;
  const xs = all.map((p) => p[0]), ys = all.map((p) => p[1]), x0 = Math.min(...xs), x1 = Math.max(...xs), y1 = Math.max(...ys), y0 = Math.min(0, ...ys);
  const to = ([x, y]) => [36 + (canvas.width - 130) * (x - x0) / (x1 - x0 || 1), canvas.height - 18 - (canvas.height - 30) * (y - y0) / (y1 - y0 || 1)];
  const ink = getComputedStyle(document.body).color;
  paint.fillStyle = ink; paint.font = '12px system-ui';
  paint.fillText(y1.toPrecision(3), 2, 14); paint.fillText(y0.toPrecision(2), 2, canvas.height - 18);
  paint.fillText(x0.toPrecision(3), 36, canvas.height - 3); paint.fillText(x1.toPrecision(3), canvas.width - 110, canvas.height - 3);
  for (const { points, color, name } of lines) {
    paint.strokeStyle = paint.fillStyle = color; paint.lineWidth = 2;
    paint.beginPath();
    points.forEach((p, k) => (k ? paint.lineTo(...to(p)) : paint.moveTo(...to(p))));
    paint.stroke();
    if (name && points.length) { const end = to(points[points.length - 1]); paint.fillText(name, end[0] + 5, end[1] + 4); }
  }
  if (mark) { paint.fillStyle = '#d55e00'; const [x, y] = to(mark); paint.beginPath(); paint.arc(x, y, 4, 0, 7); paint.fill(); }
}

// Part 3: transfer.

const drawn = [[null, null, null], [null, null, null]], pads = [];
['first', 'second'].forEach((name, k) => {
  const box = document.createElement('div');
  box.className = 'pad';
  box.innerHTML = `<div>${name} symbol</div>`;
  for (let n = 0; n < 3; n++) {
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = 128;
    canvas.setAttribute('aria-label', `${name} symbol, example ${n + 1}`);
    box.append(canvas);
    pads.push(pad(canvas, (found) => { drawn[k][n] = found; }));
  }
  $('pads').append(box);
});
// A cross and a ring, each with a little disorder.
$('fill').onclick = () => {
  pads.forEach((one, k) => {
    one.wipe();
    const s = 6 * (k % 3), points = k < 3 ? [[[30 + s, 30], [98, 98 - s]], [[98, 30 + s], [30, 98]]]
      : Array.from({ length: 24 }, (_, i) => [0, 1].map((d) => [64 + (30 + s / 2) * Math.cos((i + d) * Math.PI / 12), 64 + (36 - s / 2) * Math.sin((i + d) * Math.PI / 12)]));
    points.forEach(([from, to]) => one.stroke(from, to));
    one.read();
  });
};

function random(seed) { // Mulberry32
  return () => { seed = (seed + 0x6D2B79F5) | 0; let t = Math.imul(seed ^ (seed >>> 15), 1 | seed); t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t; return ((t ^ (t >>> 14)) >>> 0) / 4294967296; };
}

function start(way) {
  const made = base.copy(), head = made.layers[made.layers.length - 1], draw = random(7);
  const fresh = (layer, inputs) => { const limit = Math.sqrt(6 / inputs); layer.kernel = layer.kernel.map(() => (2 * draw() - 1) * limit); layer.bias.fill(0); };
  head.outputs = 2; head.kernel = new Float64Array(head.inputs * 2); head.bias = new Float64Array(2);
  fresh(head, head.inputs);
  if (way === 'random') made.layers.forEach((layer) => { if (layer.kernel && layer !== head) fresh(layer, layer.inputs * (layer.size || 1) ** 2); });
  return made;
}

function shifted(picture, dy, dx) {
  const out = blank(21 / 255);
  for (let i = 0; i < 32; i++) for (let j = 0; j < 32; j++) {
    const a = i - dy, b = j - dx;
    if (a >= 0 && a < 32 && b >= 0 && b < 32) for (let c = 0; c < 3; c++) out.data[(i * 32 + j) * 3 + c] = picture.data[(a * 32 + b) * 3 + c];
  }
  return out;
}

const runs = {};
async function train(way) {
  const images = drawn.flat(), labels = [0, 0, 0, 1, 1, 1];
  if (images.some((one) => !one)) { $('ways').innerHTML = '<tr><td colspan="4">Draw all six first, or press "Draw six for me".</td></tr>'; return; }
  const model = start(way), before = model.copy(), state = {}, points = [];
  const lowest = way === 'freeze' ? model.layers.findIndex((layer) => layer.kind === 'dense') : 0;
  for (let step = 0; step < 20; step++) {
    points.push([step, adamStep(model, images, labels, state, 1e-3, lowest)]);
    runs[way] = { points, model };
    plot($('losses'), Object.entries(runs).map(([name, run]) => ({ name, color: LINES[name], points: run.points })));
    await new Promise((done) => setTimeout(done));
  }
  let right = 0, count = 0;
  images.forEach((one, n) => { for (const [dy, dx] of [[2, 0], [-2, 0], [0, 2], [0, -2], [3, 3]]) {
    const p = model.forward(shifted(one, dy, dx)).pop().data;
    right += (p[0] >= p[1] ? 0 : 1) === labels[n]; count++;
  } });
  const moved = model.layers.map((layer, k) => {
    if (!layer.kernel || k === model.layers.length - 1) return null;
    let a = 0, b = 0;
    layer.kernel.forEach((w, i) => { a += (w - before.layers[k].kernel[i]) ** 2; b += before.layers[k].kernel[i] ** 2; });
    return `${layer.name} ${(100 * Math.sqrt(a / b)).toFixed(1)} %`;
  }).filter(Boolean);
  runs[way].row = `<tr id="way-${way}"><td>${way}</td><td>${points[points.length - 1][1].toFixed(4)}</td><td>${right} of ${count}</td><td>${moved.join(', ')}</td></tr>`;
  $('ways').innerHTML = Object.values(runs).map((run) => run.row || '').join('');
}
document.querySelectorAll('[data-way]').forEach((button) => { button.onclick = () => train(button.dataset.way); });

drawing.put(picture(DATA.examples[0].pixels));
