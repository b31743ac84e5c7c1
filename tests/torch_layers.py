#!/usr/bin/env python3
"""Layers, activations, losses, optimizers and schedules next to PyTorch: values and gradients by every parameter and by the input, f64 to 1e-12 and
f32 to 1e-5 of the largest element.

    tests/torch_layers.py CNNC [WORD]          77: PyTorch or NumPy is not here
"""
import importlib.util, os, subprocess, sys, tempfile

try:
    import numpy as np, torch
    import torch.nn.functional as F
except ImportError:
    sys.exit(77)

torch.set_num_threads(1)
LIMIT = {"f64": 1e-12, "f32": 1e-5}

# name, shape of x, expression, parameters (name, shape), the same in PyTorch of x and the parameters
X4 = (2, 4, 7, 6)
layers = [
    ("dense", (5, 7), "dense(x, 3)", [("w", (7, 3)), ("b", (3,))], lambda x, w, b: x @ w + b),
    ("conv", X4, "conv(x, 6, 3)", [("w", (6, 4, 3, 3)), ("b", (6,))], lambda x, w, b: F.conv2d(x, w, b)),
    ("conv_stride", X4, "conv(x, 6, [3, 2], stride = 2, pad = 1)", [("w", (6, 4, 3, 2)), ("b", (6,))], lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1)),
    ("conv_dilate", X4, "conv(x, 5, 3, dilate = 2, pad = 2)", [("w", (5, 4, 3, 3)), ("b", (5,))], lambda x, w, b: F.conv2d(x, w, b, dilation=2, padding=2)),
    ("conv_groups", X4, "conv(x, 6, 3, groups = 2, bias = false)", [("w", (6, 2, 3, 3))], lambda x, w: F.conv2d(x, w, groups=2)),
    ("conv_depthwise", X4, "conv(x, 4, 3, groups = 4, pad = 1)", [("w", (4, 1, 3, 3)), ("b", (4,))], lambda x, w, b: F.conv2d(x, w, b, groups=4, padding=1)),
    ("convtranspose", X4, "convtranspose(x, 3, 3, stride = 2, pad = 1)", [("w", (4, 3, 3, 3)), ("b", (3,))], lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1)),
    ("meanpool", X4, "meanpool(x, 2)", [], lambda x: F.avg_pool2d(x, 2)),
    ("meanpool_pad", X4, "meanpool(x, 3, stride = 2, pad = 1)", [], lambda x: F.avg_pool2d(x, 3, stride=2, padding=1)),
    ("maxpool", X4, "maxpool(x, 2)", [], lambda x: F.max_pool2d(x, 2)),
    ("maxpool_pad", X4, "maxpool(x, 3, stride = 2, pad = 1)", [], lambda x: F.max_pool2d(x, 3, stride=2, padding=1)),
    ("groupnorm", X4, "groupnorm(x, 2)", [("gamma", (4,)), ("beta", (4,))], lambda x, g, b: F.group_norm(x, 2, g, b)),
    ("layernorm", (5, 7), "layernorm(x)", [("gamma", (7,)), ("beta", (7,))], lambda x, g, b: F.layer_norm(x, (7,), g, b)),
    ("layernorm_words", (2, 5, 7), "layernorm(x)", [("gamma", (7,)), ("beta", (7,))], lambda x, g, b: F.layer_norm(x, (7,), g, b)),
    ("dense_words", (2, 5, 7), "dense(x, 3)", [("w", (7, 3)), ("b", (3,))], lambda x, w, b: x @ w + b),
    ("relu", (5, 7), "relu(x)", [], F.relu),
    ("sigmoid", (5, 7), "sigmoid(x)", [], torch.sigmoid),
    ("tanh", (5, 7), "tanh(x)", [], torch.tanh),
    ("softplus", (5, 7), "softplus(x)", [], F.softplus),
    ("gelu", (5, 7), "gelu(x)", [], F.gelu),
    ("silu", (5, 7), "silu(x)", [], F.silu),
    ("leakyrelu", (5, 7), "leakyrelu(x)", [], F.leaky_relu),
    ("elu", (5, 7), "elu(x)", [], F.elu),
    ("softsign", (5, 7), "softsign(x)", [], F.softsign),
    ("softmax", (5, 7), "softmax(x, axis = 1)", [], lambda x: F.softmax(x, 1)),
    ("logsumexp", (5, 7), "logsumexp(x, axis = 1)", [], lambda x: torch.logsumexp(x, 1)),
    ("mse", (5, 7), "mse(x, c)", [], lambda x, c: F.mse_loss(x, c)),
    ("mae", (5, 7), "mae(x, c)", [], lambda x, c: F.l1_loss(x, c)),
    ("huber", (5, 7), "huber(x, c)", [], lambda x, c: F.huber_loss(x, c)),
]
losses = {"mse", "mae", "huber"}
optimizers = [
    ("sgd", "sgd(lr = 0.05)", lambda p: torch.optim.SGD(p, 0.05)),
    ("sgd_momentum", "sgd(lr = 0.05, momentum = 0.9, decay = 0.01)", lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.01)),
    ("nesterov", "nesterov(lr = 0.05, momentum = 0.9)", lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True)),
    ("adam", "adam(lr = 0.05)", lambda p: torch.optim.Adam(p, 0.05)),
    ("adamw", "adamw(lr = 0.05, decay = 0.1)", lambda p: torch.optim.AdamW(p, 0.05, weight_decay=0.1)),
    ("rmsprop", "rmsprop(lr = 0.05, rho = 0.9)", lambda p: torch.optim.RMSprop(p, 0.05, alpha=0.9)),
    ("adagrad", "adagrad(lr = 0.05)", lambda p: torch.optim.Adagrad(p, 0.05)),
    ("schedule_step", "sgd(lr = if step < 6 then 0.1 else 0.01)", lambda p: torch.optim.SGD(p, 0.1)),
    ("schedule_cosine", "sgd(lr = 0.05 * (1 + cos(pi * (step - 1) / 20)))", lambda p: torch.optim.SGD(p, 0.1)),
]
schedules = {"schedule_step": lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [5], 0.1),
             "schedule_cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 20)}


def shape_text(s):
    return "[" + ", ".join(map(str, s)) + "]" if s else "real"


def forward(name, make, x, params, c):
    return make(x, c) if name in losses else make(x, *params)


def source(real):
    """An estimator for each layer: dx is a parameter, so that the gradient by x is one too."""
    text = ""
    for name, shape, e, params, make in layers:
        out = tuple(forward(name, make, torch.zeros(shape), [torch.zeros(s) for _, s in params], torch.zeros(shape)).shape)
        c = shape if name in losses else out
        z = e.replace("(x", "(x + dx", 1)
        text += f"estimator e_{name} {{\n  data x: {shape_text(shape)}\n  data c: {shape_text(c)}\n  param dx: {shape_text(shape)} = 0\n  z = {z}\n"
        text += "  minimize z\n" if name in losses else "  minimize sum(z * c)\n"
        text += "  report z = z\n}\n"
    for name, e, _ in optimizers:
        text += f"estimator o_{name}[N] {{\n  data x: [N, 4]\n  data y: [N]\n  param w: [4] = 0.5\n  minimize mean((tanh(x @ w) - y)^2)\n  using {e[:-1]}, batch = 8, epochs = 1)\n}}\n"
    return text


def differs(a, b):
    a, b = np.asarray(a, "f8"), b.detach().numpy().astype("f8")
    if a.size != b.size:
        return np.inf
    return float(np.max(np.abs(a.ravel() - b.ravel())) / max(1.0, float(np.max(np.abs(b))))) if a.size else 0.0


def check_layer(m, real, layer):
    name, shape, _, params, make = layer
    rng = np.random.default_rng(1)
    dt = "f8" if real == "f64" else "f4"
    x = torch.tensor(rng.normal(size=shape).astype(dt), requires_grad=True)
    ps = [torch.tensor(rng.normal(size=s).astype(dt), requires_grad=True) for _, s in params]
    probe = forward(name, make, x, ps, x.detach() * 0)
    c = torch.tensor(rng.normal(size=shape if name in losses else tuple(probe.shape)).astype(dt))
    z = forward(name, make, x, ps, c)
    (z if name in losses else (z * c).sum()).backward()
    flat = np.concatenate([np.zeros(x.numel(), dt)] + [p.detach().numpy().ravel() for p in ps])
    value = getattr(m, f"e_{name}_report")(x.detach().numpy(), c.numpy(), params=flat)
    _, grad = getattr(m, f"e_{name}_grad")(x.detach().numpy(), c.numpy(), params=flat)
    views = m.tensors(f"e_{name}", np.asarray(grad))
    worst = [("value", differs(value, z)), ("by x", differs(-views["dx"], x.grad))]
    for (p, _), t in zip(params, ps):
        worst.append((f"by {p}", differs(-views[f"z.{p}"], t.grad)))
    return worst


def check_optimizer(m, real, row):
    name, _, make = row
    rng = np.random.default_rng(2)
    dt = "f8" if real == "f64" else "f4"
    w = torch.full((4,), 0.5, dtype=torch.float64 if real == "f64" else torch.float32, requires_grad=True)
    o = make([w])
    s = schedules[name](o) if name in schedules else None
    p, opt = getattr(m, f"o_{name}_init")(), np.zeros(m.opt_bytes(f"o_{name}"), np.uint8)
    for _ in range(12):
        x, y = rng.normal(size=(8, 4)).astype(dt), rng.normal(size=8).astype(dt)
        o.zero_grad()
        ((torch.tanh(torch.tensor(x) @ w) - torch.tensor(y)) ** 2).mean().backward()
        o.step()
        if s:
            s.step()
        getattr(m, f"o_{name}_step")(x, y, params=p, opt=opt)
    return [("12 steps", differs(p, w))]


def main(cnnc, word):
    failed = passed = 0
    for real, limit in LIMIT.items():
        with tempfile.TemporaryDirectory() as d:
            open(os.path.join(d, "l.cnn"), "w").write(source(real))
            subprocess.run([cnnc, "l.cnn", "-o", "l.so", "--emit=py", f"--real={real}", "-w"], cwd=d, check=True)
            spec = importlib.util.spec_from_file_location("l_py", os.path.join(d, "l_py.py"))
            m = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(m)
            for rows, check in ((layers, check_layer), (optimizers, check_optimizer)):
                for row in rows:
                    if word not in row[0]:
                        continue
                    for what, error in check(m, real, row):
                        ok = error <= limit
                        passed += ok
                        failed += not ok
                        if not ok:
                            print(f"FAIL {real} {row[0]} {what}: {error:.2e} > {limit:.0e}")
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(os.path.abspath(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""))
