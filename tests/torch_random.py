#!/usr/bin/env python3
"""Random programs next to PyTorch: values, and gradients by every parameter, in f64 and f32.

    tests/torch_random.py CNNC [--count=40] [--seed=0] [--keep=DIR]          77: PyTorch or NumPy is not here

A program is an estimator: leaves (data and parameters, many of whole numbers so that there are ties), then bindings of random operations,
then a weighted sum of some of them to minimise. Half are trained (`using`: the slices of `batch`), half are exact. A program that differs is printed.
"""
import argparse, importlib.util, os, random, subprocess, sys, tempfile

try:
    import numpy as np, torch
except ImportError:
    sys.exit(77)

torch.set_num_threads(1)
LIMIT = {"f64": 1e-10, "f32": 2e-4}
PER_FILE = 5


class Value:
    """A binding: its name in the program, the texts of its axes (equal texts are equal dims), what it is in PyTorch."""

    def __init__(self, name, dims, value, leaf=False):
        self.name, self.dims, self.value, self.leaf = name, tuple(dims), value, leaf


def first_max(v, axis):
    """Greatest along an axis, the first one on a tie, in value and in derivative (torch.amax shares it out)."""
    at = torch.tensor(np.argmax(v.detach().numpy(), axis), dtype=torch.long).unsqueeze(axis)
    return torch.gather(v, axis, at).squeeze(axis)


UNARY = [
    ("tanh({})", torch.tanh), ("sigmoid({})", torch.sigmoid), ("relu({})", torch.relu), ("abs({})", torch.abs), ("softplus({})", torch.nn.functional.softplus),
    ("sin({})", torch.sin), ("cos({})", torch.cos), ("exp(-abs({}))", lambda v: torch.exp(-torch.abs(v))), ("log({}^2 + 1)", lambda v: torch.log(v * v + 1)),
    ("sqrt({}^2 + 0.5)", lambda v: torch.sqrt(v * v + 0.5)), ("gelu({})", torch.nn.functional.gelu), ("erf({})", torch.erf), ("atan({})", torch.atan),
    ("({} * 0.5 + 1)^2", lambda v: (v * 0.5 + 1) ** 2), ("{}^3 / 10", lambda v: v ** 3 / 10), ("log1p(abs({}))", lambda v: torch.log1p(torch.abs(v))),
    ("clamp({}, -1, 1)", lambda v: torch.where(-1 >= torch.where(v <= 1, v, 1 + 0 * v), -1 + 0 * v, torch.where(v <= 1, v, 1 + 0 * v))),
    ("lgamma({}^2 + 1)", lambda v: torch.lgamma(v * v + 1)), ("expm1({} / 4)", lambda v: torch.expm1(v / 4)), ("asinh({})", torch.asinh), ("-{}", lambda v: -v),
    ("1 / ({}^2 + 1)", lambda v: 1 / (v * v + 1)), ("leakyrelu({})", torch.nn.functional.leaky_relu), ("stop({})", lambda v: v.detach()),
]
BINARY = [
    ("{} + {}", lambda a, b: a + b), ("{} - {}", lambda a, b: a - b), ("{} * {}", lambda a, b: a * b), ("{} / ({}^2 + 1)", lambda a, b: a / (b * b + 1)),
    ("max({}, {})", lambda a, b: torch.where(b <= a, a, b)), ("min({}, {})", lambda a, b: torch.where(a <= b, a, b)),
    ("(if {0} > {1} then {0} * {1} else {1})", lambda a, b: torch.where(a > b, a * b, b)),
    ("(if {0} == {1} then 2 * {0} else {1})", lambda a, b: torch.where(a == b, 2 * a, b)),
]


class Program:
    def __init__(self, number, seed, real):
        self.r, self.g, self.real = random.Random(seed), np.random.default_rng(seed), real
        self.name, self.trained = f"e{number}", self.r.random() < 0.5
        self.size = {d: self.r.randint(1, 6) for d in ("D", "K")}
        self.size["N"] = self.r.choice([1, 2, 3, 5, 16, 17, 35])
        self.const = [d for d in ("D", "K") if self.r.random() < 0.5]
        self.lines, self.values, self.params, self.data, self.ints = [], [], [], [], []
        self.count = 0
        self.leaves()
        for _ in range(self.r.randint(3, 12)):
            self.step()
        self.finish()

    # ---- leaves
    def extent(self, dim):
        return self.size[dim] if dim in self.size else int(eval(dim, {}, dict(self.size)))

    def draw(self, dims):
        shape = [self.extent(d) for d in dims]
        v = self.g.integers(-2, 3, shape) if self.r.random() < 0.4 else self.g.normal(size=shape)
        return np.asarray(v, "f8" if self.real == "f64" else "f4")

    def leaves(self):
        for i, dims in enumerate([("N", "D"), ("N",), ("K", "D")][: self.r.randint(1, 3)] + [("N", "K")]):
            v = self.draw(dims)
            self.data.append((f"x{i}", dims, v))
            self.values.append(Value(f"x{i}", dims, torch.tensor(v), True))
        for i, (dims, kind) in enumerate([(("N",), "D"), (("K",), "D"), (("N",), "K")]):
            v = self.g.integers(0, self.size[kind], [self.extent(d) for d in dims]).astype("i4")
            self.ints.append((f"g{i}", dims, kind, v))
        choices = [("D",), ("K",), ("D", "K"), ("D", "D"), ("K", "3"), ("2", "D", "K"), ()] + ([] if self.trained else [("N",), ("N", "K")])
        for i in range(self.r.randint(2, 4)):
            dims = self.r.choice(choices)
            t = torch.tensor(self.draw(dims), requires_grad=True)
            self.params.append((f"w{i}", dims, t))
            self.values.append(Value(f"w{i}", dims, t, True))

    # ---- bindings
    def bind(self, text, dims, value):
        if value.numel() > 20000 or value.numel() == 0:
            return
        if not torch.isfinite(value).all():
            return
        if value.abs().max() > 20:
            text, value = f"tanh(({text}) / 10)", torch.tanh(value / 10)
        name = f"v{self.count}"
        self.count += 1
        self.lines.append(f"  {name} = {text}")
        self.values.append(Value(name, dims, value))

    def pick(self, *ranks):
        fit = [v for v in self.values if len(v.dims) in ranks] if ranks else self.values
        recent = fit[-4:] if self.r.random() < 0.6 else fit
        return self.r.choice(recent) if recent else None

    def step(self):
        self.r.choice([self.unary, self.unary, self.binary, self.binary, self.broadcast, self.reduce, self.reduce, self.matmul, self.window, self.shift,
                       self.part, self.join, self.shape, self.gather, self.softmax, self.pad, self.scan, self.outer, self.linalg, self.strided])()

    def unary(self):
        v = self.pick()
        text, f = self.r.choice(UNARY)
        self.bind(text.format(v.name), v.dims, f(v.value))

    def compare_ok(self, text, *vs):
        """A comparison of values that rounding could turn: only of leaves, and of whole numbers or reals as they are."""
        return not any(w in text for w in ("max", "min", ">", "==")) or all(v.leaf for v in vs)

    def binary(self):
        a = self.pick()
        b = self.r.choice([v for v in self.values if v.dims == a.dims])
        text, f = self.r.choice(BINARY)
        if self.compare_ok(text, a, b):
            self.bind(text.format(a.name, b.name), a.dims, f(a.value, b.value))

    def broadcast(self):
        """Different ranks: axes match by name."""
        a = self.pick(1, 2, 3)
        fits = lambda v: len(v.dims) < len(a.dims) and len(set(v.dims)) == len(v.dims) and all(not d.isdigit() and a.dims.count(d) == 1 for d in v.dims)
        b = [v for v in self.values if fits(v)]
        if not b:
            return
        b = self.r.choice(b)
        order = [d for d in a.dims if d in b.dims]
        w = b.value.permute([b.dims.index(d) for d in order]) if b.dims else b.value
        w = w.reshape([self.extent(d) if d in b.dims else 1 for d in a.dims])
        w = w.expand(a.value.shape)
        text, f = self.r.choice(BINARY)
        if not self.compare_ok(text, a, b):
            return
        if self.r.random() < 0.5:
            self.bind(text.format(a.name, b.name), a.dims, f(a.value, w))
        else:
            self.bind(text.format(b.name, a.name), a.dims, f(w, a.value))

    def reduce(self):
        a = self.pick(1, 2, 3)
        axis = self.r.randrange(len(a.dims))
        rest = a.dims[:axis] + a.dims[axis + 1:]
        kind = self.r.choice(["sum", "mean", "var", "max", "min", "logsumexp", "sd", "prod"])
        if kind in ("max", "min") and not a.leaf:
            kind = "sum"
        if kind == "prod" and not (a.dims[axis].isdigit() or a.dims[axis] in self.const):
            kind = "mean"
        if kind == "sd" and a.value.shape[axis] < 2:
            kind = "var"
        f = {"sum": lambda v: v.sum(axis), "mean": lambda v: v.mean(axis), "var": lambda v: v.var(axis, unbiased=False),
             "sd": lambda v: torch.sqrt(v.var(axis, unbiased=False) + 1e-2), "max": lambda v: first_max(v, axis), "min": lambda v: -first_max(-v, axis),
             "logsumexp": lambda v: torch.logsumexp(v, axis), "prod": lambda v: v.prod(axis)}[kind]
        text = f"{kind}({a.name}, axis = {axis})" if kind != "sd" else f"sqrt(var({a.name}, axis = {axis}) + 0.01)"
        if kind != "sd" and a.dims.count(a.dims[axis]) == 1 and not a.dims[axis].isdigit() and self.r.random() < 0.5:
            text = f"{kind}({a.name}, over = {a.dims[axis]})"
        self.bind(text, rest, f(a.value))

    def matmul(self):
        a = self.pick(1, 2)
        turned = len(a.dims) == 2 and self.r.random() < 0.4
        left, dims = (a.value.T, a.dims[::-1]) if turned else (a.value, a.dims)
        b = [v for v in self.values if len(v.dims) in (1, 2) and v.dims[0] == dims[-1]]
        if not b:
            return
        b = self.r.choice(b)
        self.bind(f"{a.name}{chr(39) if turned else ''} @ {b.name}", dims[:-1] + b.dims[1:], left @ b.value)

    def window(self):
        a = self.pick(1, 2)
        d = a.dims[-1]
        k = self.r.choice([2, 3])
        if not (d in self.size or d.isdigit()) or self.extent(d) < k:
            return
        u = a.value.unfold(-1, k, 1)
        new = f"{d} - {k - 1}" if not d.isdigit() else str(int(d) - k + 1)
        kind = self.r.choice(["sum", "mean"])
        index = "m, " if len(a.dims) == 2 else ""
        loops = (f"m < {a.dims[0]}, " if index else "") + f"i < {new}"
        self.bind(f"for {loops} => {kind}(for c < {k} => {a.name}[{index}i + c] * (c + 1))", a.dims[:-1] + (new,),
                  getattr(u * torch.arange(1, k + 1, dtype=u.dtype), kind)(-1))

    def strided(self):
        a = self.pick(1, 2)
        d = a.dims[0]
        if not (d in self.size or d.isdigit()) or self.extent(d) < 2:
            return
        new = f"{d} // 2" if not d.isdigit() else str(int(d) // 2)
        n = self.extent(d) // 2
        self.bind(f"for i < {new} => {a.name}[2*i + 1] - {a.name}[{d} - 1 - i]", (new,) + a.dims[1:], a.value[1:2 * n:2] - a.value.flip(0)[:n])

    def shift(self):
        a = self.pick(1, 2)
        d = a.dims[0]
        by = self.r.choice([1, 2])
        rest = "".join(f", j < {e}" for e in a.dims[1:])
        sub = ", j" if rest else ""
        w = torch.zeros_like(a.value)
        if self.extent(d) > by:
            w = torch.cat([w[:by], a.value[:-by]])
        self.bind(f"for i < {d}{rest} => if i >= {by} then {a.name}[i - {by}{sub}] else 0", a.dims, w)

    def part(self):
        a = self.pick(1, 2, 3)
        d = a.dims[0]
        if not (d in self.size or d.isdigit()) or self.extent(d) < 2 or self.r.random() < 0.4:
            self.bind(f"{a.name}[0]", a.dims[1:], a.value[0])
        else:
            self.bind(f"{a.name}[1:]", ((f"{d} - 1" if not d.isdigit() else str(int(d) - 1)),) + a.dims[1:], a.value[1:])

    def join(self):
        a = self.pick(1, 2)
        b = self.r.choice([v for v in self.values if v.dims == a.dims])
        d = a.dims[-1]
        if not (d in self.size or d.isdigit()):
            return
        new = f"2*{d}" if not d.isdigit() else str(2 * int(d))
        self.bind(f"concat({a.name}, {b.name}, axis = {len(a.dims) - 1})", a.dims[:-1] + (new,), torch.cat([a.value, b.value], -1))

    def shape(self):
        a = self.pick(2, 3)
        if a is None:
            return
        if not all(d in self.size or d.isdigit() for d in a.dims):
            return
        if self.r.random() < 0.5:
            new = a.dims[:-2] + (f"{a.dims[-2]}*{a.dims[-1]}",)
            if all(d.isdigit() for d in a.dims[-2:]):
                new = a.dims[:-2] + (str(int(a.dims[-2]) * int(a.dims[-1])),)
            self.bind(f"reshape({a.name}, [{', '.join(new)}])", new, a.value.reshape([self.extent(d) for d in new]))
        else:
            new = a.dims[:-2] + (a.dims[-1], a.dims[-2])
            self.bind(f"reshape({a.name}, [{', '.join(new)}])", new, a.value.reshape([self.extent(d) for d in new]))

    def gather(self):
        name, dims, kind, at = self.r.choice(self.ints)
        a = [v for v in self.values if v.dims and v.dims[0] == kind]
        if not a:
            return
        a = self.r.choice(a)
        self.bind(f"{a.name}[{name}]", dims + a.dims[1:], a.value[torch.tensor(at, dtype=torch.long)])

    def softmax(self):
        a = self.pick(1, 2, 3)
        axis = self.r.randrange(len(a.dims))
        self.bind(f"softmax({a.name}, axis = {axis})", a.dims, torch.softmax(a.value, axis))

    def pad(self):
        a = self.pick(1, 2)
        d = a.dims[-1]
        if not (d in self.size or d.isdigit()):
            return
        zero = "0, " if len(a.dims) == 2 else ""
        new = f"{d} + 3" if not d.isdigit() else str(int(d) + 3)
        self.bind(f"pad({a.name}, [{zero}1], [{zero}2], fill = 0.5)", a.dims[:-1] + (new,), torch.nn.functional.pad(a.value, (1, 2), value=0.5))

    def scan(self):
        a = self.pick(1, 2)
        if len(a.dims) == 1:
            self.bind(f"for i < {a.dims[0]} => sum(for j < {a.dims[0]} => if j <= i then {a.name}[j] else 0)", a.dims, a.value.cumsum(0))
        else:
            self.bind(f"for m < {a.dims[0]}, i < {a.dims[1]} => mean(for j < {a.dims[1]} => if j <= i then {a.name}[m, j] else 0)", a.dims,
                      a.value.cumsum(1) / a.value.shape[1])

    def outer(self):
        a, b = self.pick(1), self.pick(1)
        if a and b:
            self.bind(f"for i < {a.dims[0]}, j < {b.dims[0]} => {a.name}[i] * {b.name}[j] + i - j", a.dims + b.dims,
                      a.value[:, None] * b.value[None] + torch.arange(len(a.value))[:, None] - torch.arange(len(b.value))[None])

    def linalg(self):
        a = [v for v in self.values if len(v.dims) == 2 and v.dims[1] in ("D", "K")]
        if not a or self.real == "f32":
            return
        a = self.r.choice(a)
        d = a.dims[1]
        s = a.value.T @ a.value + torch.eye(self.extent(d), dtype=a.value.dtype)
        b = [v for v in self.values if v.dims and v.dims[0] == d and len(v.dims) <= 2]
        text = f"{a.name}' @ {a.name} + eye({d})"
        if self.r.random() < 0.5 or not b:
            self.bind(f"cholesky({text})", (d, d), torch.linalg.cholesky(s))
        else:
            b = self.r.choice(b)
            self.bind(f"solve({text}, {b.name})", b.dims, torch.linalg.solve(s, b.value))

    # ---- the whole
    def finish(self):
        last = [v for v in self.values if not v.leaf][-3:] + [v for v in self.values if v.name.startswith("w")][:1]
        terms, total = [], 0
        for v in last:
            a, b = self.r.choice([1, 0.5, -2]), self.r.choice([0, 1])
            if b:
                terms.append(f"{a} * sum({v.name}^2)")
                total = total + a * (v.value ** 2).sum()
            else:
                terms.append(f"{a} * sum({v.name})")
                total = total + a * v.value.sum()
        self.total, self.last, self.objective = total, last[0], " + ".join(terms)
        if total.requires_grad:
            total.backward()

    def text(self):
        dims = ", ".join(f"{d} = {self.size[d]}" if d in self.const else d for d in ("N", "D", "K"))
        out = [f"estimator {self.name}[{dims}] {{"]
        for name, shape, _ in self.data:
            out.append(f"  data {name}: [{', '.join(shape)}]")
        for name, shape, kind, _ in self.ints:
            out.append(f"  data {name}: index({kind})[{', '.join(shape)}]")
        for name, shape, _ in self.params:
            out.append(f"  param {name}: " + (f"[{', '.join(shape)}]" if shape else "real"))
        out += self.lines
        out.append(f"  minimize {self.objective}")
        out.append(f"  report z = {self.last.name}")
        if self.trained:
            out.append("  using sgd(lr = 0.1, batch = 4, epochs = 1)")
        return "\n".join(out + ["}", ""])

    def differences(self, m):
        """What differs from PyTorch: (what, largest difference over the largest element)."""
        inputs = [v for _, _, v in self.data] + [v for _, _, _, v in self.ints]
        flat = np.concatenate([t.detach().numpy().ravel() for _, _, t in self.params])
        dims = {d: self.size[d] for d in ("D", "K") if d not in self.const}
        z = getattr(m, f"{self.name}_report")(*inputs, params=flat)
        loss, grad = getattr(m, f"{self.name}_{'loss_grad' if self.trained else 'grad'}")(*inputs, params=flat)
        if not self.trained:
            loss, grad = -loss, -grad
        out = [("z", differs(z, self.last.value)), ("value", differs(loss, self.total))]
        at = 0
        for name, _, t in self.params:
            want = t.grad if t.grad is not None else torch.zeros_like(t)
            out.append((f"gradient by {name}", differs(grad[at:at + t.numel()], want)))
            at += t.numel()
        return out


def differs(a, b):
    a, b = np.asarray(a, "f8").ravel(), b.detach().numpy().astype("f8").ravel()
    if a.size != b.size:
        return np.inf
    d = np.abs(a - b)
    return float(np.max(np.where(np.isnan(d), np.inf, d)) / max(1.0, float(np.max(np.abs(b))))) if a.size else 0.0


def load(folder, cnnc, programs, real, number):
    with open(os.path.join(folder, f"r{number}.cnn"), "w") as f:
        f.write("\n".join(p.text() for p in programs))
    r = subprocess.run([cnnc, f"r{number}.cnn", "-o", f"r{number}.so", "--emit=py", f"--real={real}", "-w"], cwd=folder, capture_output=True, text=True)
    if r.returncode:
        return None, r.stderr
    spec = importlib.util.spec_from_file_location(f"r{number}_py", os.path.join(folder, f"r{number}_py.py"))
    m = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(m)
    return m, ""


def check(folder, cnnc, programs, real, number):
    """Programs that passed, failed."""
    m, said = load(folder, cnnc, programs, real, number)
    if m is None and len(programs) > 1:
        both = [check(folder, cnnc, [p], real, f"{number}_{i}") for i, p in enumerate(programs)]
        return sum(b[0] for b in both), sum(b[1] for b in both)
    if m is None:
        print(f"FAIL {real}: does not compile\n{programs[0].text()}{said}", flush=True)
        return 0, 1
    passed = failed = 0
    for p in programs:
        try:
            wrong = [(what, d) for what, d in p.differences(m) if not d <= LIMIT[real]]
        except RuntimeError as e:
            wrong = [(f"{e}", np.inf)]
        passed, failed = passed + (not wrong), failed + bool(wrong)
        if wrong:
            print(f"FAIL {real} {p.size}: " + ", ".join(f"{what} {d:.1e}" for what, d in wrong) + "\n" + p.text(), flush=True)
    return passed, failed


def main():
    a = argparse.ArgumentParser()
    a.add_argument("cnnc")
    a.add_argument("--count", type=int, default=40)
    a.add_argument("--seed", type=int, default=0)
    a.add_argument("--keep")
    a = a.parse_args()
    passed = failed = 0
    with tempfile.TemporaryDirectory() as d:
        folder = a.keep or d
        for first in range(0, a.count, PER_FILE):
            for real in LIMIT:
                programs = [Program(i, a.seed + i, real) for i in range(first, min(first + PER_FILE, a.count))]
                p, f = check(folder, os.path.abspath(a.cnnc), programs, real, f"{real}_{first}")
                passed, failed = passed + p, failed + f
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
