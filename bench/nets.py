"""Training steps of networks as users write them: what PyTorch computes with the same parameters, and how fast."""
import math

import numpy as np

from harness import Program, hyper
from rows import Row, argparse_like, module, torch_step

PERCEPTRON = """
model net[N](x: [N, 784]) -> [N, 10] {
  a = x |> dense(512) |> relu
  b = a |> dense(256) |> relu
  z = b |> dense(10)
  return z
}
estimator e[N] {
  data x: [N, 784]
  data y: index(10)[N]
  z = net(x)
  y ~ Categorical(logit = z)
  using sgd(lr = 0.001, batch = 64, epochs = 1)
}
"""

CONVNET = """
model net[N](x: [N, 3, 32, 32]) -> [N, 10] {
  a = x |> conv(32, 3, pad = 1) |> relu |> maxpool(2)
  b = a |> conv(64, 3, pad = 1) |> relu |> maxpool(2)
  c = b |> flatten |> dense(128) |> relu
  z = c |> dense(10)
  return z
}
estimator e[N] {
  data x: [N, 3, 32, 32]
  data y: index(10)[N]
  z = net(x)
  y ~ Categorical(logit = z)
  using sgd(lr = 0.001, batch = 64, epochs = 1)
}
"""

AUTOENCODER = """
model net[N](x: [N, 784]) -> [N, 784] {
  a = x |> dense(128) |> relu
  b = a |> dense(32) |> relu
  c = b |> dense(128) |> relu
  z = c |> dense(784)
  return z
}
estimator e[N] {
  data x: [N, 784]
  z = net(x)
  minimize mean((sigmoid(z) - x)^2)
  using sgd(lr = 0.001, batch = 128, epochs = 1)
}
"""

TRANSFORMER = """
model attention[N, T, D](x: [N, T, D], heads: int, width: int) -> [N, T, D] {
  q = reshape(dense(x, heads * width), [N, T, heads, width])
  k = reshape(dense(x, heads * width), [N, T, heads, width])
  v = reshape(dense(x, heads * width), [N, T, heads, width])
  s = for n < N, h < heads, i < T, j < T => sum(for d < width => q[n, i, h, d] * k[n, j, h, d]) / sqrt(width)
  a = softmax(s, axis = 3)
  c = for n < N, i < T, h < heads, d < width => sum(for j < T => a[n, h, i, j] * v[n, j, h, d])
  o = reshape(c, [N, T, heads * width]) |> dense(D)
  return o
}
model block[N, T, D](x: [N, T, D], heads: int, hidden: int) -> [N, T, D] {
  n1 = layernorm(x)
  h  = x + attention(n1, heads, D // heads)
  n2 = layernorm(h)
  u  = n2 |> dense(hidden) |> relu
  f  = u |> dense(D)
  return h + f
}
estimator e[N, T] {
  data t: index(1000)[N, T]
  data y: index(4)[N]
  w = embedding(t, 1000, 64)
  a = block(w, 4, 256)
  b = block(a, 4, 256)
  m = mean(b, over = T)
  z = m |> dense(4)
  y ~ Categorical(logit = z)
  using sgd(lr = 0.001, batch = 32, epochs = 1)
}
"""


def perceptron(torch, p, x):
    F = torch.nn.functional
    return F.relu(F.relu(x @ p[0] + p[1]) @ p[2] + p[3]) @ p[4] + p[5]


def convnet(torch, p, x):
    F = torch.nn.functional
    h = F.max_pool2d(F.relu(F.conv2d(x, p[0], p[1], padding=1)), 2)
    h = F.max_pool2d(F.relu(F.conv2d(h, p[2], p[3], padding=1)), 2)
    return F.relu(h.flatten(1) @ p[4] + p[5]) @ p[6] + p[7]


def autoencoder(torch, p, x):
    F = torch.nn.functional
    h = F.relu(F.relu(F.relu(x @ p[0] + p[1]) @ p[2] + p[3]) @ p[4] + p[5])
    return torch.sigmoid(h @ p[6] + p[7])


def transformer(torch, p, t):
    F, it = torch.nn.functional, iter(p)
    heads = lambda a: a.unflatten(2, (4, 16)).transpose(1, 2)
    dense = lambda a: a @ next(it) + next(it)
    norm = lambda a: F.layer_norm(a, (64,), next(it), next(it), 1e-5)
    x = F.embedding(t, next(it))
    for _ in range(2):
        n = norm(x)
        q, k, v = heads(dense(n)), heads(dense(n)), heads(dense(n))
        a = F.scaled_dot_product_attention(q, k, v)
        x = x + dense(a.transpose(1, 2).flatten(2))
        x = x + dense(F.relu(dense(norm(x))))
    return dense(x.mean(1))


BLOCK = [(64,), (64,)] + 4 * [(64, 64), (64,)] + [(64,), (64,), (64, 256), (256,), (256, 64), (64,)]
# name, text, forward, shapes of the parameters, rows, shape of a row, classes (0: the target is the input, drawn in 0..1), operations a row
NETS = [
    ("perceptron 784-512-256-10", PERCEPTRON, perceptron, [(784, 512), (512,), (512, 256), (256,), (256, 10), (10,)], 64, (784,), 10,
     2 * (2 * 784 * 512 + 3 * (512 * 256 + 256 * 10))),
    ("convolutions 32, 64 on 32 x 32", CONVNET, convnet, [(32, 3, 3, 3), (32,), (64, 32, 3, 3), (64,), (4096, 128), (128,), (128, 10), (10,)], 64, (3, 32, 32), 10,
     2 * (2 * 1024 * 32 * 27 + 3 * (256 * 64 * 288 + 4096 * 128 + 1280))),
    ("autoencoder 784-128-32", AUTOENCODER, autoencoder, [(784, 128), (128,), (128, 32), (32,), (32, 128), (128,), (128, 784), (784,)], 128, (784,), 0,
     2 * (2 * 784 * 128 + 3 * (2 * 128 * 32 + 128 * 784))),
    ("transformer, 2 blocks of 64, 4 heads, 64 words", TRANSFORMER, transformer, [(1000, 64)] + 2 * BLOCK + [(64, 4), (4,)], 32, (64,), 4,
     2 * 3 * 2 * 64 * (4 * 64 * 64 + 2 * 64 * 256 + 2 * 64 * 64)),
]


def draw(rng, shape, words):
    return rng.integers(0, words, shape).astype("i4") if words else rng.random(shape).astype("f4")


def peer_loss(torch, forward):
    """Cross entropy of classes; without classes the squared distance from the input."""
    F = torch.nn.functional
    return lambda p, a, b: F.mse_loss(forward(torch, p, a), a) if b is None else F.cross_entropy(forward(torch, p, a), b)


def nets(opt, notes):
    torch = module("torch", notes)
    for k, (name, text, forward, shapes, n, shape, classes, operations) in enumerate(NETS):
        words = 1000 if "embedding" in text else 0
        dims = (n,) + (shape if words else ())
        m = Program(text, "net%d" % k, {"e_step": len(dims)})
        rng = np.random.default_rng(k)
        x, y = draw(rng, (n,) + shape, words), rng.integers(0, classes, n).astype("i4") if classes else None
        start = [(rng.standard_normal(s) * math.sqrt(2.0 / (np.prod(s[1:]) if len(s) == 4 else s[0])) if len(s) > 1 else np.ones(s)).astype("f4") for s in shapes]
        for threads in opt.threads:
            row = Row("%s, step, batch %d, %d thread%s" % (name, n, threads, "s" if threads > 1 else ""))
            params, loss, state = np.concatenate([v.ravel() for v in start]), np.zeros(1), np.zeros(1 << 23, np.uint8)
            step = m.entry("e_step", dims, x, *([y] if classes else []), params, state, loss, hyper=hyper(n), threads=threads)

            def ours():
                step()
                return float(loss[0])
            losses, peers = [ours() for _ in range(3)], {}
            if torch:
                torch.set_num_threads(threads)
                xt, yt = torch.from_numpy(x.astype("i8") if words else x), torch.from_numpy(y.astype("i8")) if classes else None
                for peer, compiled in (("PyTorch", False), ("torch.compile", True)):
                    try:
                        call = torch_step(torch, peer_loss(torch, forward), start, xt, yt, 0.001, compiled)
                        row.agree(peer, [call() for _ in range(3)], losses, 1e-4)
                        peers[peer] = call
                    except Exception as e:
                        notes.append("%s is not measured on %s: %s" % (peer, name, str(e).splitlines()[0]))
            row.time(argparse_like(opt), ours, peers, operations * n, threads=threads)
            yield row
