"""What is measured: one function a group of rows; each says which systems compute the same, checks that they do, and times them."""
import math
import os
import re
import subprocess
import tempfile
import time

import numpy as np

from harness import ROOT, Program, clean, compiler, hyper, interleave, peak, pin

EXAMPLES = os.path.join(ROOT, "examples")


class Row:
    def __init__(self, name):
        self.name, self.seconds, self.peers, self.ratio, self.share, self.top, self.wrong = name, 0.0, {}, 0.0, 0.0, 0.0, []

    def agree(self, who, got, want, tolerance):
        got, want = np.asarray(got, dtype=float), np.asarray(want, dtype=float)
        scale = max(1e-30, float(np.abs(want).max()))
        error = float(np.abs(got - want).max()) / scale if got.shape == want.shape else math.inf
        if not error <= tolerance:
            self.wrong.append("%s: %s differs by %.1e of the maximum" % (self.name, who, error))
        return error <= tolerance

    def time(self, opt, ours, peers, flops=0, real="f32", threads=1):
        if self.wrong:
            return
        pin(threads)
        loop, work = peak(real, threads)
        # the peak right after cnnc: threads of peers may spin for a while after their calls
        best = interleave({"cnnc": ours, "peak": loop, **peers}, opt.rounds)
        self.seconds, self.peers = best["cnnc"], {k: best[k] for k in peers}
        self.ratio = min(self.peers.values()) / self.seconds if peers else 0.0
        self.top = work / best["peak"]
        self.share = flops / self.seconds / self.top if flops else 0.0
        pin(None)


def module(name, notes):
    try:
        return __import__(name)
    except Exception as e:  # a broken install is a missing one
        note = "%s is not measured: %s" % (name, str(e).splitlines()[0] if str(e) else type(e).__name__)
        if note not in notes:
            notes.append(note)
        return None


# ---------------------------------------------------------------------------------------------------- LeNet-5

MASK = ["X...XXX..XXXX.XX", "XX...XXX..XXXX.X", "XXX...XXX..X.XXX", ".XXX..XXXX..X.XX", "..XXX..XXXX.XX.X", "...XXX..XXXX.XXX"]
TABLE = np.array([[c == "X" for c in r] for r in MASK], np.float32).T[:, :, None, None].copy()
SHAPES = [(6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), (120, 16, 5, 5), (120,), (120, 84), (84,), (84, 10), (10,)]
IMAGE = 2 * 235200 + 3 * (300000 + 96000 + 20160 + 1680)  # operations of a training step, Table I's connections only
FORWARD = 235200 + 300000 + 96000 + 20160 + 1680


def lenet_text():
    with open(os.path.join(EXAMPLES, "lenet5.cnn")) as f:
        model = re.split(r"\nestimator ", f.read())[0]
    return model + """
estimator plain[N] {
  data x: [N, 1, 28, 28]
  data y: index(10)[N]
  z = LeNet5(x)
  y ~ Categorical(logit = z)
  using sgd(lr = 0.1, batch = 64, epochs = 1)
}
"""


def tensors(flat, shapes):
    out, at = [], 0
    for s in shapes:
        n = int(np.prod(s))
        out.append(flat[at:at + n].reshape(s).copy())
        at += n
    return out


def lenet_params():
    rng = np.random.default_rng(0)
    return np.concatenate([(rng.standard_normal(s) * (1.0 / math.sqrt(np.prod(s[1:])) if len(s) > 1 else 0.1)).ravel() for s in SHAPES]).astype("f4")


def torch_lenet(torch, p, x):
    F = torch.nn.functional
    h = F.avg_pool2d(torch.sigmoid(F.conv2d(x, p[0], p[1], padding=2)), 2)
    h = F.avg_pool2d(torch.sigmoid(F.conv2d(h, p[2] * torch.from_numpy(TABLE), p[3])), 2)
    h = torch.sigmoid(F.linear(h.flatten(1), p[4].reshape(120, 400), p[5]))
    return torch.sigmoid(h @ p[6] + p[7]) @ p[8] + p[9]


def classes(torch, forward):
    return lambda p, a, b: torch.nn.functional.cross_entropy(forward(p, a), b)


def torch_step(torch, of, params, x, y, lr, compiled, momentum=0.0, decay=0.0):
    """A training step of the loss of(parameters, x, y)."""
    p = [torch.from_numpy(v.copy("K")).requires_grad_() for v in params]
    opt = torch.optim.SGD(p, lr=lr, momentum=momentum, weight_decay=decay)
    loss = lambda a, b: of(p, a, b)
    f = torch.compile(loss, dynamic=False) if compiled else loss

    def step():
        opt.zero_grad(set_to_none=True)
        value = f(x, y)
        value.backward()
        opt.step()
        return float(value.detach())
    return step


def jax_step(jax, params, x, y, lr):
    jnp, lax = jax.numpy, jax.lax

    def net(p, a):
        def layer(a, w, b, pad):
            a = jax.nn.sigmoid(lax.conv_general_dilated(a, w, (1, 1), [(pad, pad)] * 2, dimension_numbers=("NCHW", "OIHW", "NCHW")) + b[None, :, None, None])
            return lax.reduce_window(a, 0.0, lax.add, (1, 1, 2, 2), (1, 1, 2, 2), "VALID") * 0.25
        a = layer(layer(a, p[0], p[1], 2), p[2] * TABLE, p[3], 0)
        a = jax.nn.sigmoid(a.reshape(a.shape[0], -1) @ p[4].reshape(120, 400).T + p[5])
        return jax.nn.sigmoid(a @ p[6] + p[7]) @ p[8] + p[9]

    def update(p, a, b):
        l, g = jax.value_and_grad(lambda q: -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(net(q, a)), b[:, None], 1)))(p)
        return [u - lr * v for u, v in zip(p, g)], l
    state, f, xs, ys = [[jnp.asarray(v) for v in params]], jax.jit(update), jnp.asarray(x), jnp.asarray(y)

    def step():
        state[0], l = f(state[0], xs, ys)
        return float(l)
    return step


def lenet_step(opt, notes):
    m = Program(lenet_text(), "lenet5", {"lenet5_forward": 1, "plain_step": 1})
    for threads in opt.threads:
        for n in (64, 256):
            row, rng = Row("LeNet-5 step, batch %d, %d thread%s" % (n, threads, "s" if threads > 1 else "")), np.random.default_rng(n)
            x, y = rng.standard_normal((n, 1, 28, 28)).astype("f4"), rng.integers(0, 10, n).astype("i4")
            params, loss, state = lenet_params(), np.zeros(1), np.zeros(1 << 20, np.uint8)
            step = m.entry("plain_step", (n,), x, y, params, state, loss, hyper=hyper(n), threads=threads)

            def ours():
                step()
                return float(loss[0])
            peers, start = {}, tensors(lenet_params(), SHAPES)
            torch, jax = module("torch", notes), module("jax", notes) if threads == 1 else None
            if torch:
                torch.set_num_threads(threads)
                xt, yt = torch.from_numpy(x), torch.from_numpy(y.astype("i8"))
                forward = lambda p, a: torch_lenet(torch, p, a)
                for name, compiled in (("PyTorch", False), ("torch.compile", True)):
                    try:
                        peers[name] = torch_step(torch, classes(torch, forward), start, xt, yt, 0.1, compiled)
                        first = [peers[name]() for _ in range(3)]
                    except Exception as e:
                        notes.append("%s is not measured: %s" % (name, str(e).splitlines()[0]))
                        peers.pop(name, None)
                        continue
                    want = first
            if jax:
                peers["JAX"] = jax_step(jax, start, x, y, 0.1)
            losses = {"cnnc": [ours() for _ in range(3)]}
            for k, f in peers.items():
                losses[k] = want if k in ("PyTorch", "torch.compile") else [f() for _ in range(3)]
                row.agree(k, losses[k], losses["cnnc"], 1e-4)
            row.time(opt, ours, peers, IMAGE * n, threads=threads)
            yield row


def onnx_model(n, params):
    from onnx import TensorProto as T, helper as h, numpy_helper as nh
    w = [p.copy() for p in tensors(params, SHAPES)]
    w[2], w[4] = w[2] * TABLE, np.ascontiguousarray(w[4].reshape(120, 400).T)
    pool = dict(kernel_shape=[2, 2], strides=[2, 2])
    nodes = [h.make_node("Conv", ["x", "w0", "w1"], ["a"], pads=[2] * 4), h.make_node("Sigmoid", ["a"], ["b"]), h.make_node("AveragePool", ["b"], ["c"], **pool),
             h.make_node("Conv", ["c", "w2", "w3"], ["d"]), h.make_node("Sigmoid", ["d"], ["e"]), h.make_node("AveragePool", ["e"], ["f"], **pool), h.make_node("Flatten", ["f"], ["g"]),
             h.make_node("Gemm", ["g", "w4", "w5"], ["h"]), h.make_node("Sigmoid", ["h"], ["i"]), h.make_node("Gemm", ["i", "w6", "w7"], ["j"]), h.make_node("Sigmoid", ["j"], ["k"]),
             h.make_node("Gemm", ["k", "w8", "w9"], ["y"])]
    io = [h.make_tensor_value_info(k, T.FLOAT, s) for k, s in (("x", [n, 1, 28, 28]), ("y", [n, 10]))]
    graph = h.make_graph(nodes, "lenet5", io[:1], io[1:], [nh.from_array(v, "w%d" % k) for k, v in enumerate(w)])
    made = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)])
    made.ir_version = 8
    return made.SerializeToString()


def lenet_inference(opt, notes):
    m, params = Program(lenet_text(), "lenet5", {"lenet5_forward": 1, "plain_step": 1}), lenet_params()
    for n in (1, 64):
        row, x, out = Row("LeNet-5 inference, batch %d, 1 thread" % n), np.random.default_rng(n).standard_normal((n, 1, 28, 28)).astype("f4"), np.zeros((n, 10), "f4")
        ours, peers = m.entry("lenet5_forward", (n,), x, params, out), {}
        ort, onnx, torch, vino = (module(k, notes) for k in ("onnxruntime", "onnx", "torch", "openvino"))
        if ort and onnx:
            o = ort.SessionOptions()
            o.intra_op_num_threads = o.inter_op_num_threads = 1
            session = ort.InferenceSession(onnx_model(n, params), o, providers=["CPUExecutionProvider"])
            peers["onnxruntime"] = lambda s=session, x=x: s.run(None, {"x": x})[0]
        if vino and onnx:
            request = vino.Core().compile_model(vino.Core().read_model(onnx_model(n, params)), "CPU", {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
            peers["OpenVINO"] = lambda r=request, x=x: r.infer([x])[0]
        if torch:
            torch.set_num_threads(1)
            xt, pt = torch.from_numpy(x), [torch.from_numpy(v) for v in tensors(params, SHAPES)]

            def eager(xt=xt, pt=pt):
                with torch.inference_mode():
                    return torch_lenet(torch, pt, xt).numpy()
            peers["PyTorch"] = eager
        ours()
        for k, f in peers.items():
            row.agree(k, f(), out, 1e-4)
        row.time(opt, ours, peers, FORWARD * n)
        yield row


# ---------------------------------------------------------------------------------------------------- products and layers

def products(opt, notes):
    torch = module("torch", notes)
    n = 1024
    text = "def library(a: [%d, %d], b: [%d, %d]) -> [%d, %d] = a @ b\n" % ((n,) * 6) + \
        "def loops(a: [%d, %d], b: [%d, %d]) -> [%d, %d] = for i < %d, j < %d => sum(for k < %d => a[i, k] * b[k, j])\n" % ((n,) * 9)
    for real, dtype in (("f32", "f4"), ("f64", "f8")):
        rng = np.random.default_rng(1)
        a, b = rng.standard_normal((n, n)).astype(dtype), rng.standard_normal((n, n)).astype(dtype)
        out = np.zeros((n, n), dtype)
        m = Program(text, "product_" + real, {"library": 0, "loops": 0}, ["--real=" + real])
        peers = {"NumPy": lambda: a @ b}
        if torch:
            torch.set_num_threads(1)
            ta, tb = torch.from_numpy(a), torch.from_numpy(b)
            peers = {"PyTorch": lambda: (ta @ tb).numpy()}
        for entry, how in (("library", "with @"), ("loops", "with for")):
            row = Row("1024 x 1024 product, %s, %s" % (real, how))
            ours = m.entry(entry, (), a, b, out)
            ours()
            for k, f in peers.items():
                row.agree(k, f(), out, 1e-3 if real == "f32" else 1e-11)
            row.time(opt, ours, peers, 2.0 * n ** 3, real)
            yield row


LAYERS = [  # ResNet-50: channels, size, channels out, kernel, stride
    (3, 224, 64, 7, 2), (64, 56, 64, 1, 1), (64, 56, 64, 3, 1), (64, 56, 256, 1, 1), (256, 56, 64, 1, 1), (256, 56, 128, 1, 1), (128, 56, 128, 3, 2), (128, 28, 512, 1, 1),
    (256, 56, 512, 1, 2), (512, 28, 128, 1, 1), (128, 28, 128, 3, 1), (512, 28, 256, 1, 1), (256, 28, 256, 3, 2), (256, 14, 1024, 1, 1), (512, 28, 1024, 1, 2), (1024, 14, 256, 1, 1),
    (256, 14, 256, 3, 1), (1024, 14, 512, 1, 1), (512, 14, 512, 3, 2), (512, 7, 2048, 1, 1), (1024, 14, 2048, 1, 2), (2048, 7, 512, 1, 1), (512, 7, 512, 3, 1)]


def layer_text(k, c, h, o, r, s):
    p, e = r // 2, (h + 2 * (r // 2) - r) // s + 1
    x, w, y = "[N, %d, %d, %d]" % (c, h, h), "[%d, %d, %d, %d]" % (o, c, r, r), "[N, %d, %d, %d]" % (o, e, e)
    call = "conv2d(x, w, [%d, %d], [%d, %d, %d, %d])" % (s, s, p, p, p, p)
    return ("def forward%d[N](x: %s, w: %s) -> %s = %s\n" % (k, x, w, y, call)
            + "def data%d[N](x: %s, w: %s, g: %s) -> %s = vjp(%s, x, g)\n" % (k, x, w, y, x, call)
            + "def weights%d[N](x: %s, w: %s, g: %s) -> %s = vjp(%s, w, g)\n" % (k, x, w, y, w, call)), e


def layers(opt, notes):
    """The geometric means of all layers, by direction and batch."""
    torch = module("torch", notes)
    if not torch:
        return
    torch.set_num_threads(1)
    found = {}
    for k, (c, h, o, r, s) in enumerate(LAYERS):
        text, e = layer_text(k, c, h, o, r, s)
        m = Program(text, "layer%d" % k, {d + str(k): 1 for d in ("forward", "data", "weights")}, ["--real=f32"])
        for n in (1, 16):
            rng = np.random.default_rng(k)
            x, w, g = (rng.standard_normal(q, dtype=np.float32) for q in ((n, c, h, h), (o, c, r, r), (n, o, e, e)))
            tx, tw, tg = (torch.from_numpy(v) for v in (x, w, g))
            last = [t.contiguous(memory_format=torch.channels_last) for t in (tg, tx, tw)]

            def layout(tg, tx, tw, s=s, r=r):
                back = lambda mask: torch.ops.aten.convolution_backward(tg, tx, tw, None, [s, s], [r // 2] * 2, [1, 1], False, [0, 0], 1, mask)
                return {"forward": lambda: torch.nn.functional.conv2d(tx, tw, None, s, r // 2), "data": lambda: back([True, False, False])[0],
                        "weights": lambda: back([False, True, False])[1]}
            theirs, other = layout(tg, tx, tw), layout(*last)
            for d, args, like in (("forward", (x, w), g), ("data", (x, w, g), x), ("weights", (x, w, g), w)):
                row, out = Row("ResNet-50 layer %d, %s, batch %d" % (k, d, n)), np.zeros_like(like)
                ours = m.entry(d + str(k), (n,), *args, out)
                ours()
                row.agree("PyTorch", theirs[d]().numpy(), out, 1e-3)
                row.time(argparse_like(opt), ours, {"PyTorch": theirs[d], "channels last": other[d]}, 2.0 * n * o * e * e * c * r * r)
                found.setdefault((d, n), []).append(row)
    mean = lambda v: math.exp(sum(map(math.log, v)) / len(v))
    for (d, n), all_rows in found.items():
        row = Row("ResNet-50 layers, %s, batch %d (geometric mean of %d)" % (d, n, len(all_rows)))
        row.wrong = [w for q in all_rows for w in q.wrong]
        good = [q for q in all_rows if q.ratio]
        if good:
            row.seconds, row.peers = mean([q.seconds for q in good]), {"PyTorch (oneDNN), the better layout": mean([min(q.peers.values()) for q in good])}
            row.ratio, row.share, row.top = mean([q.ratio for q in good]), mean([q.share for q in good]), max(q.top for q in good)
        yield row


class argparse_like:
    """Fewer rounds, for rows that are many."""

    def __init__(self, opt):
        self.rounds = max(3, opt.rounds // 6)


# ---------------------------------------------------------------------------------------------------- ResNet-20

def resnet20(opt, notes):
    torch = module("torch", notes)
    with open(os.path.join(EXAMPLES, "resnet20.cnn")) as f:
        text = f.read()
    m = Program(text, "resnet20", {"cifar_loss_grad": 1, "cifar_step": 1})
    n, rng, row = 64, np.random.default_rng(3), Row("ResNet-20 step, batch 64, 1 thread")
    x, y = rng.standard_normal((n, 3, 32, 32)).astype("f4"), rng.integers(0, 10, n).astype("i4")
    shapes = resnet_shapes()
    params = np.concatenate([(np.ones(s) if kind == "gamma" else np.zeros(s) if kind == "b" else rng.standard_normal(s) * math.sqrt(2.0 / np.prod(s[1:] if len(s) > 2 else s[:1]))).ravel()
                             for kind, s in shapes]).astype("f4")
    state = np.concatenate([np.concatenate([np.zeros(s), np.ones(s)]) for kind, s in shapes if kind == "gamma"]).astype("f4").ravel()
    loss, grad, optimizer = np.zeros(1), np.zeros_like(params), np.zeros(params.nbytes * 2 + 4096, np.uint8)
    m.entry("cifar_loss_grad", (n,), x, y, params, state, loss, grad, hyper=hyper(n))()
    peers = {}
    if torch:
        torch.set_num_threads(1)
        xt, yt = torch.from_numpy(x).contiguous(memory_format=torch.channels_last), torch.from_numpy(y.astype("i8"))
        start = tensors(params, [s for _, s in shapes])
        leaves = [torch.from_numpy(v.copy()).requires_grad_() for v in start]
        value = torch.nn.functional.cross_entropy(torch_resnet(torch, leaves, xt), yt)
        value.backward()
        row.agree("PyTorch's loss", [float(value.detach())], loss, 1e-4)
        row.agree("PyTorch's gradient", np.concatenate([v.grad.numpy().ravel() for v in leaves]), grad, 1e-2)
        exact_gradient(torch, row, text, shapes, params, state)
        last = [torch.from_numpy(v).contiguous(memory_format=torch.channels_last).numpy() if v.ndim == 4 else v for v in start]
        plain = torch.from_numpy(x)
        for name, compiled, values, a in (("PyTorch", False, start, plain), ("PyTorch, channels last", False, last, xt), ("torch.compile", True, last, xt)):
            try:
                step = torch_step(torch, classes(torch, lambda p, q: torch_resnet(torch, p, q)), values, a, yt, 0.1, compiled, 0.9, 1e-4)
                step()
                peers[name] = step
            except Exception as e:
                notes.append("%s is not measured on ResNet-20: %s" % (name, str(e).splitlines()[0]))
    jax = module("jax", notes)
    if jax:
        peers["JAX"] = jax_resnet_step(jax, tensors(params, [s for _, s in shapes]), x, y, 0.1, 0.9, 1e-4)
        row.agree("JAX's loss", [peers["JAX"]()], loss, 1e-4)
    ours = m.entry("cifar_step", (n,), x, y, params, state, optimizer, loss, hyper=hyper(n))
    losses = []
    for _ in range(30):
        ours()
        losses.append(float(loss[0]))
    if not losses[-1] < 0.7 * losses[0]:
        row.wrong.append("ResNet-20 does not learn a fixed batch: loss %.3f, after 30 steps %.3f" % (losses[0], losses[-1]))
    row.time(argparse_like(opt), ours, peers, 3 * 2.0 * n * 40.55e6)
    yield row


def jax_resnet_step(jax, params, x, y, lr, momentum, decay):
    jnp, lax = jax.numpy, jax.lax

    def net(p, a):
        it = iter(p)

        def conv(a, k, stride=1):
            w, gamma, beta = next(it), next(it), next(it)
            a = lax.conv_general_dilated(a, w, (stride, stride), [(k // 2, k // 2)] * 2, dimension_numbers=("NCHW", "OIHW", "NCHW"))
            m, v = a.mean((0, 2, 3), keepdims=True), a.var((0, 2, 3), keepdims=True)
            return (a - m) * lax.rsqrt(v + 1e-5) * gamma[None, :, None, None] + beta[None, :, None, None]
        a, c = jax.nn.relu(conv(a, 3)), 16
        for o in (16, 32, 64):
            for block in range(3):
                stride = 2 if o != 16 and block == 0 else 1
                h = conv(jax.nn.relu(conv(a, 3, stride)), 3)
                s = conv(a, 1, stride) if c != o else a
                a, c = jax.nn.relu(h + s), o
        w, b = next(it), next(it)
        return a.mean((2, 3)) @ w + b

    def update(p, v, a, b):
        l, g = jax.value_and_grad(lambda q: -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(net(q, a)), b[:, None], 1)))(p)
        v = [momentum * k + d + decay * q for k, d, q in zip(v, g, p)]
        return [q - lr * k for q, k in zip(p, v)], v, l
    state = [[jnp.asarray(v) for v in params], [jnp.zeros_like(v) for v in params]]
    f, xs, ys = jax.jit(update), jnp.asarray(x), jnp.asarray(y)

    def step():
        state[0], state[1], l = f(state[0], state[1], xs, ys)
        return float(l)
    return step


def exact_gradient(torch, row, text, shapes, params, state):
    """In f64, where rounding hides nothing."""
    m, n, rng = Program(text, "resnet20_f64", {"cifar_loss_grad": 1}, ["--real=f64"]), 4, np.random.default_rng(4)
    x, y, p, s = rng.standard_normal((n, 3, 32, 32)), rng.integers(0, 10, n).astype("i4"), params.astype("f8"), state.astype("f8")
    loss, grad = np.zeros(1), np.zeros_like(p)
    m.entry("cifar_loss_grad", (n,), x, y, p, s, loss, grad, hyper=hyper(n))()
    leaves = [torch.from_numpy(v).requires_grad_() for v in tensors(p, [q for _, q in shapes])]
    torch.nn.functional.cross_entropy(torch_resnet(torch, leaves, torch.from_numpy(x)), torch.from_numpy(y.astype("i8"))).backward()
    row.agree("PyTorch's gradient in f64", np.concatenate([v.grad.numpy().ravel() for v in leaves]), grad, 1e-10)


def resnet_shapes():
    """Kind and shape of the parameters in the order of the source: every convolution with its normalisation."""
    def conv(o, c, k):
        return [("w", (o, c, k, k)), ("gamma", (o,)), ("b", (o,))]
    out, c = conv(16, 3, 3), 16
    for o in (16, 32, 64):
        for _ in range(3):
            out += conv(o, c, 3) + conv(o, o, 3) + (conv(o, c, 1) if c != o else [])
            c = o
    return out + [("v", (64, 10)), ("b", (10,))]


def torch_resnet(torch, p, x):
    F, it = torch.nn.functional, iter(p)

    def conv(a, k, stride=1):
        w, gamma, beta = next(it), next(it), next(it)
        return F.batch_norm(F.conv2d(a, w, None, stride, k // 2), None, None, gamma, beta, True, 0.1, 1e-5)
    a, c = F.relu(conv(x, 3)), 16
    for o in (16, 32, 64):
        for block in range(3):
            stride = 2 if o != 16 and block == 0 else 1
            h = F.relu(conv(a, 3, stride))
            r = conv(h, 3)
            s = conv(a, 1, stride) if c != o else a
            a, c = F.relu(r + s), o
    w, b = next(it), next(it)
    return a.mean((2, 3)) @ w + b


# ---------------------------------------------------------------------------------------------------- fits

def glm(opt, notes):
    n, d, rng = 200000, 16, np.random.default_rng(5)
    X = np.ascontiguousarray(rng.standard_normal((n, d)))
    X[:, 0] = 1
    w = 0.3 * rng.standard_normal(d)
    y = (rng.random(n) < 1 / (1 + np.exp(-X @ w))).astype("u1")
    text = "estimator logistic[N, D] {\n  data X: [N, D]\n  data y: bool[N]\n  param w: [D]\n  y ~ Bernoulli(logit = X @ w)\n}\n"
    try:
        m = Program(text, "logistic", {"logistic_fit": 2}, ["--real=f64"])
    except Exception as e:
        notes.append("logistic regression is not measured: %s" % str(e).splitlines()[0])
        return
    row, est, cov, info = Row("logistic fit, 200k x 16, f64, 1 thread"), np.zeros(d), np.zeros((d, d)), np.zeros(16, np.int64)
    info[0] = info.nbytes
    fit = m.entry("logistic_fit", (n, d), X, y, est, cov, info, hyper=hyper(n))

    def ours():
        est[:] = 0
        fit()
    ours()
    peers, lm, sm = {}, None, module("statsmodels", notes)
    if module("sklearn", notes):
        from sklearn.linear_model import LogisticRegression
        for solver in ("newton-cholesky", "lbfgs"):
            lm = lambda solver=solver: LogisticRegression(C=np.inf, solver=solver, fit_intercept=False, tol=1e-6, max_iter=200).fit(X, y)
            row.agree("scikit-learn " + solver, lm().coef_[0], est, 1e-3)
            peers["scikit-learn " + solver] = lm
    if sm:
        import statsmodels.api as api
        peers["statsmodels"] = lambda: api.Logit(y.astype("f8"), X).fit(disp=0)
        row.agree("statsmodels", peers["statsmodels"]().params, est, 1e-5)
    row.time(argparse_like(opt), ours, peers, real="f64")
    yield row


def linear(opt, notes):
    n, d, rng = 200000, 32, np.random.default_rng(6)
    X = np.ascontiguousarray(rng.standard_normal((n, d)))
    y = X @ rng.standard_normal(d) + rng.standard_normal(n)
    text = "estimator ols[N, D] {\n  data X: [N, D]\n  data y: [N]\n  param w: [D]\n  param s: positive\n  y ~ Normal(X @ w, s)\n}\n"
    try:
        m = Program(text, "ols", {"ols_fit": 2}, ["--real=f64"])
    except Exception as e:
        notes.append("linear regression is not measured: %s" % str(e).splitlines()[0])
        return
    row, est, cov, info = Row("linear fit, 200k x 32, f64, 1 thread"), np.zeros(d + 1), np.zeros((d + 1, d + 1)), np.zeros(16, np.int64)
    info[0] = info.nbytes
    ours = m.entry("ols_fit", (n, d), X, y, est, cov, info, hyper=hyper(n))
    ours()
    peers, sm = {"numpy lstsq": lambda: np.linalg.lstsq(X, y, rcond=None)[0]}, module("statsmodels", notes)
    if module("sklearn", notes):
        from sklearn.linear_model import LinearRegression
        peers["scikit-learn"] = lambda: LinearRegression(fit_intercept=False).fit(X, y).coef_
    if sm:
        import statsmodels.api as api
        peers["statsmodels"] = lambda: api.OLS(y, X).fit().params
    for who, fit in peers.items():
        row.agree(who, fit(), est[:d], 1e-9)
    row.time(argparse_like(opt), ours, peers, flops=2 * n * d * d, real="f64")
    yield row


# ---------------------------------------------------------------------------------------------------- mixtures

def mixture(opt, notes):
    n, d, k, rng = 2000, 64, 50, np.random.default_rng(7)
    logit, mean, x = rng.standard_normal(k), rng.random((k, d)), rng.standard_normal((n, d))
    factor, got = np.ascontiguousarray(0.3 * rng.standard_normal((k, d, d))), np.zeros((k, d, d))
    with open(os.path.join(ROOT, "tests", "programs", "mixture_forms.cnn")) as f:
        m = Program(f.read(), "mixture", {"gradient": 3}, ["--real=f64"])
    row = Row("Gaussian mixture, gradient, 2000 x 64, 50 components, f64, 1 thread")
    ours, peers, jax = m.entry("gradient", (n, d, k), logit, mean, factor, x, got), {}, module("jax", notes)
    ours()
    if jax:
        jax.config.update("jax_enable_x64", True)
        jnp, lse = jax.numpy, jax.scipy.special.logsumexp

        def objective(factor, logit, mean, x):
            diagonal = jnp.diagonal(factor, axis1=1, axis2=2)
            q = jnp.tril(factor, -1) + jax.vmap(jnp.diag)(jnp.exp(diagonal))
            z = jnp.einsum("kij,nj->nki", q, x) - jnp.einsum("kij,kj->ki", q, mean)[None]
            return jnp.sum(lse(logit + diagonal.sum(1) - 0.5 * (z * z).sum(2), axis=1)) - n * lse(logit)
        slope, args = jax.jit(jax.grad(objective)), [jax.numpy.asarray(v) for v in (factor, logit, mean, x)]
        peers["JAX"] = lambda: jax.block_until_ready(slope(*args))
        row.agree("JAX", peers["JAX"](), got, 1e-9)
    row.time(argparse_like(opt), ours, peers, flops=6 * n * k * d * d, real="f64")
    yield row


# ----------------------------------------------------------------------------------------------------

def epoch(opt, notes):
    """`cnnc fit` on 60,000 images of bytes (noise: no file is needed) against the step of the same program in a loop over one batch. What one more epoch
    takes is the difference of two runs of the process, so opening the files and compiling are left out; shuffling, gathering the rows and converting the
    bytes are in. The report over all data after each epoch is no part of either."""
    n, batch, more, rng = 60000, 64, 4, np.random.default_rng(8)
    with open(os.path.join(EXAMPLES, "lenet5.cnn")) as f:
        text = re.sub(r"\n  report .*", "", f.read())
    m = Program(text, "lenet5_epoch", {"mnist_step": 1})
    x, y, params = rng.integers(0, 256, (n, 1, 28, 28), np.uint8), rng.integers(0, 10, n).astype("u1"), lenet_params()
    for threads in opt.threads:
        row, loss, state = Row("LeNet-5 epoch of `cnnc fit`, 60,000 images, %d thread%s, against its step" % (threads, "s" if threads > 1 else "")), np.zeros(1), np.zeros(1 << 20, np.uint8)
        step = m.entry("mnist_step", (batch,), x[:batch].astype("f4"), y[:batch].astype("i4"), params.copy(), state, loss, hyper=hyper(n), threads=threads)
        steps = -(-n // batch)
        with tempfile.TemporaryDirectory() as t:
            for name, a in (("x", x), ("y", y)):
                np.save(os.path.join(t, name + ".npy"), a)

            with open(os.path.join(t, "lenet5.cnn"), "w") as f:
                f.write(text)

            def fit(epochs):
                start = time.perf_counter()
                subprocess.run([compiler(), "fit", "lenet5.cnn", "mnist", "--data=x=x.npy", "--data=y=y.npy", "-q", "--threads=%d" % threads, "--epochs=%d" % epochs],
                               check=True, capture_output=True, cwd=t)
                return time.perf_counter() - start

            def loop():
                start = time.perf_counter()
                for _ in range(steps):
                    step()
                return time.perf_counter() - start
            pin(threads)
            short, long, own = (min(v) for v in zip(*[(fit(1), fit(1 + more), loop()) for _ in range(argparse_like(opt).rounds)]))
            pin(None)
        row.seconds, row.peers = (long - short) / more, {"%d steps" % steps: own}
        row.ratio = own / row.seconds
        yield row


def compile_time(opt, notes):
    """Whole process, on all processors; the peers' first call stands for theirs."""
    row, path = Row("compile LeNet-5 with its training"), os.path.join(EXAMPLES, "lenet5.cnn")
    with tempfile.TemporaryDirectory() as t:
        ours = lambda: subprocess.run([compiler(), path, "-o", os.path.join(t, "a.so")], check=True)
        row.time(argparse_like(opt), ours, {}, threads=os.cpu_count())
    yield row


GROUPS = {"lenet step": lenet_step, "lenet inference": lenet_inference, "product": products, "resnet20": resnet20, "resnet50 layers": layers, "glm fit": glm, "linear fit": linear, "mixture": mixture, "epoch": epoch, "compile": compile_time}


def run(opt):
    from nets import nets
    GROUPS["nets"] = nets
    results, notes = [], []
    if not compiler():
        raise SystemExit("no cnnc: set CNNC, or build it (cmake --preset release && cmake --build --preset release)")
    for name, group in GROUPS.items():
        if opt.rows and not any(w in name for w in opt.rows):
            continue
        try:
            for row in group(opt, notes):
                results.append(row)
                print("# %s: %s" % (row.name, "wrong" if row.wrong else "%.2fx" % row.ratio), flush=True)
        except Exception as e:
            notes.append("%s is not measured: %s" % (name, str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__))
    clean()
    return results, notes
