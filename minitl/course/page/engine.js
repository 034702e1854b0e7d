// A convolutional network in plain JavaScript: forward, backward and Adam, number for number as in minitl (tests compare the two).
// Images are {height, width, channels, data}; data runs over rows, columns, channels.

class Network {
  constructor(layers) { this.layers = layers; }

  // All activations of one image, the input first; the last are scores (logits).
  forward(image) {
    const values = [image];
    for (const layer of this.layers) values.push(FORWARD[layer.kind](layer, values[values.length - 1]));
    return values;
  }

  // Gradients of all activations and of all weights, from that of the scores. `lowest`: the first layer that learns.
  backward(values, dscores, lowest = 0) {
    const gradients = new Array(values.length).fill(null);
    const weights = new Array(this.layers.length).fill(null);
    gradients[values.length - 1] = { ...values[values.length - 1], data: dscores };
    for (let k = this.layers.length - 1; k >= lowest; k--) {
      const found = BACKWARD[this.layers[k].kind](this.layers[k], values[k], values[k + 1], gradients[k + 1], k > lowest || lowest === 0);
      gradients[k] = found.dx;
      weights[k] = found.weights || null;
    }
    return { gradients, weights };
  }

  copy() {
    return new Network(this.layers.map((layer) => {
      const same = { ...layer };
      for (const name of ['kernel', 'bias']) if (layer[name]) same[name] = layer[name].slice();
      return same;
    }));
  }
}

const zeros = (like) => ({ ...like, data: new Float64Array(like.data.length) });

const FORWARD = {
  // y[i, j, f] = max(0, bias[f] + sum_{a, b, c} x[i + a, j + b, c] kernel[a, b, c, f])
  conv(layer, x) {
    const { size, inputs: C, outputs: F, kernel, bias } = layer;
    const height = x.height - size + 1, width = x.width - size + 1;
    const y = new Float64Array(height * width * F);
    for (let i = 0; i < height; i++) for (let j = 0; j < width; j++) {
      const to = (i * width + j) * F;
      for (let f = 0; f < F; f++) y[to + f] = bias[f];
      for (let a = 0; a < size; a++) for (let b = 0; b < size; b++) for (let c = 0; c < C; c++) {
        const v = x.data[((i + a) * x.width + j + b) * C + c];
        if (v === 0) continue;
        const at = ((a * size + b) * C + c) * F;
        for (let f = 0; f < F; f++) y[to + f] += v * kernel[at + f];
      }
      for (let f = 0; f < F; f++) if (y[to + f] < 0) y[to + f] = 0;
    }
    return { height, width, channels: F, data: y };
  },
  // The largest of each 2x2 window; the first of equal ones.
  pool(layer, x) {
    const height = x.height >> 1, width = x.width >> 1, C = x.channels;
    const y = new Float64Array(height * width * C);
    for (let i = 0; i < height; i++) for (let j = 0; j < width; j++) for (let c = 0; c < C; c++) {
      y[(i * width + j) * C + c] = x.data[winner(x, i, j, c)];
    }
    return { height, width, channels: C, data: y };
  },
  // y[o] = bias[o] + sum_i x[i] kernel[i, o], and of that what is above zero if the layer has a ReLU
  dense(layer, x) {
    const { outputs: F, kernel, bias, relu } = layer;
    const y = Float64Array.from(bias);
    for (let i = 0; i < x.data.length; i++) {
      const v = x.data[i];
      if (v !== 0) for (let o = 0; o < F; o++) y[o] += v * kernel[i * F + o];
    }
    if (relu) for (let o = 0; o < F; o++) if (y[o] < 0) y[o] = 0;
    return { height: 1, width: 1, channels: F, data: y };
  },
};

const BACKWARD = {
  conv(layer, x, y, dy, needDx) {
    const { size, inputs: C, outputs: F, kernel } = layer;
    const dx = needDx ? zeros(x) : null, dkernel = new Float64Array(kernel.length), dbias = new Float64Array(F);
    const gated = new Float64Array(F);
    for (let i = 0; i < y.height; i++) for (let j = 0; j < y.width; j++) {
      const from = (i * y.width + j) * F;
      let any = false;
      for (let f = 0; f < F; f++) {
        gated[f] = y.data[from + f] > 0 ? dy.data[from + f] : 0;
        if (gated[f] !== 0) { any = true; dbias[f] += gated[f]; }
      }
      if (!any) continue;
      for (let a = 0; a < size; a++) for (let b = 0; b < size; b++) for (let c = 0; c < C; c++) {
        const place = ((i + a) * x.width + j + b) * C + c, at = ((a * size + b) * C + c) * F, v = x.data[place];
        let sum = 0;
        for (let f = 0; f < F; f++) { dkernel[at + f] += v * gated[f]; sum += kernel[at + f] * gated[f]; }
        if (dx) dx.data[place] += sum;
      }
    }
    return { dx, weights: { kernel: dkernel, bias: dbias } };
  },
  pool(layer, x, y, dy) {
    const dx = zeros(x), C = x.channels;
    for (let i = 0; i < y.height; i++) for (let j = 0; j < y.width; j++) for (let c = 0; c < C; c++) {
      dx.data[winner(x, i, j, c)] += dy.data[(i * y.width + j) * C + c];
    }
    return { dx };
  },
  dense(layer, x, y, dy, needDx) {
    const { outputs: F, kernel, relu } = layer;
    const g = Float64Array.from(dy.data, (v, o) => (relu && y.data[o] <= 0 ? 0 : v));
    const dx = needDx ? zeros(x) : null, dkernel = new Float64Array(kernel.length);
    for (let i = 0; i < x.data.length; i++) {
      let sum = 0;
      for (let o = 0; o < F; o++) { dkernel[i * F + o] = x.data[i] * g[o]; sum += kernel[i * F + o] * g[o]; }
      if (dx) dx.data[i] = sum;
    }
    return { dx, weights: { kernel: dkernel, bias: g } };
  },
};

function winner(x, i, j, c) {
  let best = ((2 * i) * x.width + 2 * j) * x.channels + c;
  for (const [a, b] of [[0, 1], [1, 0], [1, 1]]) {
    const at = ((2 * i + a) * x.width + 2 * j + b) * x.channels + c;
    if (x.data[at] > x.data[best]) best = at;
  }
  return best;
}

function softmax(scores) {
  const top = Math.max(...scores), e = Array.from(scores, (s) => Math.exp(s - top)), sum = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / sum);
}

// The loss of one image and its gradient: p - onehot.
function lossOf(values, label) {
  const p = softmax(values[values.length - 1].data);
  return { loss: -Math.log(Math.max(p[label], 1e-300)), dscores: Float64Array.from(p, (v, k) => v - (k === label ? 1 : 0)), p };
}

// One step of Adam on the mean loss of some images; layers below `lowest` stay as they are. Returns the loss before it.
function adamStep(network, images, labels, state, rate = 1e-3, lowest = 0) {
  const totals = network.layers.map((layer) => (layer.kernel ? { kernel: new Float64Array(layer.kernel.length), bias: new Float64Array(layer.bias.length) } : null));
  let loss = 0;
  images.forEach((image, n) => {
    const values = network.forward(image), found = lossOf(values, labels[n]);
    loss += found.loss / images.length;
    const { weights } = network.backward(values, found.dscores, lowest);
    weights.forEach((w, k) => {
      if (w && k >= lowest) for (const name of ['kernel', 'bias']) for (let i = 0; i < w[name].length; i++) totals[k][name][i] += w[name][i] / images.length;
    });
  });
  state.t = (state.t || 0) + 1;
  state.m = state.m || {}, state.v = state.v || {};
  const scale = rate * Math.sqrt(1 - 0.999 ** state.t) / (1 - 0.9 ** state.t);
  network.layers.forEach((layer, k) => {
    if (!layer.kernel || k < lowest) return;
    for (const name of ['kernel', 'bias']) {
      const key = k + name, g = totals[k][name];
      const m = state.m[key] = state.m[key] || new Float64Array(g.length), v = state.v[key] = state.v[key] || new Float64Array(g.length);
      for (let i = 0; i < g.length; i++) {
        m[i] += 0.1 * (g[i] - m[i]);
        v[i] += 0.001 * (g[i] * g[i] - v[i]);
        layer[name][i] -= scale * m[i] / (Math.sqrt(v[i]) + 1e-7);
      }
    }
  });
  return loss;
}

// Half-precision numbers from base64.
function halves(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), view = new DataView(bytes.buffer);
  const out = new Float64Array(bytes.length / 2);
  for (let i = 0; i < out.length; i++) {
    const h = view.getUint16(2 * i, true), sign = h >> 15 ? -1 : 1, exponent = (h >> 10) & 31, fraction = h & 1023;
    out[i] = sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
  }
  return out;
}

function networkFrom(description) {
  return new Network(description.map((layer) => {
    const made = { ...layer };
    for (const name of ['kernel', 'bias']) if (layer[name]) made[name] = halves(layer[name]);
    return made;
  }));
}

if (typeof module !== 'undefined') module.exports = { Network, softmax, lossOf, adamStep, halves, networkFrom };
