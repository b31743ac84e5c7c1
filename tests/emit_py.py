#!/usr/bin/env python3
"""What `cnnc --emit=py` writes, used: values, gradients, a fit, training, and each wrong call. emit_py.py CNNC; 77: NumPy is not here."""
import importlib.util, os, re, shutil, subprocess, sys, tempfile

try:
    import numpy as np
except ImportError:
    sys.exit(77)

SOURCE = """
def blur[H, W](img: [H, W], s: real) -> [H - 2, W - 2] = for i < H - 2, j < W - 2 => s * mean(for a < 3, b < 3 => img[i + a, j + b])
model m[N](x: [N, 4]) -> [N, 3] { return x |> dense(3) }
estimator classes[N] {
  data x: [N, 4]
  data y: index(3)[N]
  z = m(x)
  y ~ Categorical(logit = z)
  report error = mean(argmax(z, axis = 1) != y)
  using sgd(lr = 0.1, batch = 8, epochs = 2)
}
estimator ridge[N, D](lambda: positive = 1) {
  data X: [N, D]
  data y: [N]
  param w: [D]
  w ~ Normal(0, 1 / sqrt(lambda))
  y ~ Normal(X @ w, 1)
}
"""


def refuses(kind, says, call):
    try:
        call()
    except kind as e:
        assert says in str(e), str(e)
    else:
        raise AssertionError(f"nothing refuses: {says}")


def same_sizes_in_c(d, t):
    """The work memory of the exact fit, whose buffers take turns (a maximum in the formula), by the header and by the module."""
    formula = re.search(r"'ridge_fit', 'kind': '\w+', 'work': '([^']*)'", open(os.path.join(d, "t_py.py")).read())[1]
    assert "max(" in formula, formula
    points = [(n, k) for n in (1, 7, 1000) for k in (1, 2, 7, 8, 24, 100)]
    calls = "".join("printf(\"%%zu\\n\", ridge_fit_work_bytes(%d, %d));" % p for p in points)
    with open(os.path.join(d, "sizes.c"), "w") as f:
        f.write("#include <stdio.h>\n#include \"t.h\"\nint main(void) { %s return 0; }\n" % calls)
    subprocess.run(["cc", "sizes.c", "-o", "sizes"], cwd=d, check=True)
    said = subprocess.run([os.path.join(d, "sizes")], check=True, capture_output=True, text=True).stdout.split()
    assert [int(s) for s in said] == [t._value(formula, {"N": n, "D": k}) for n, k in points]


def main(cnnc):
    with tempfile.TemporaryDirectory() as d:
        source = os.path.join(d, "t.cnn")
        open(source, "w").write(SOURCE)
        subprocess.run([cnnc, "t.cnn", "-o", "t.so", "--emit=py"], cwd=d, check=True)
        spec = importlib.util.spec_from_file_location("t_py", os.path.join(d, "t_py.py"))
        t = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(t)
        rng = np.random.default_rng(0)
        img = rng.normal(size=(5, 6))
        want = sum(img[a:a + 3, b:b + 4] for a in range(3) for b in range(3)) / 9 * 2
        assert np.allclose(t.blur(img, 2), want, rtol=1e-14)
        assert np.allclose(t.blur(s=2.0, img=img), want, rtol=1e-14)
        x, y = rng.normal(size=(20, 4)).astype("f4"), rng.integers(0, 3, 20)
        p = t.m_init(seed=3)
        views = t.tensors("m", p)
        assert views["w"].shape == (4, 3) and np.allclose(t.m_forward(x, params=p), x @ views["w"] + views["b"], atol=1e-6)
        loss, grad = t.classes_loss_grad(x, y, params=p)
        q, opt = p.copy(), np.zeros(t.opt_bytes("classes"), np.uint8)
        before = t.classes_step(x, y, params=q, opt=opt)
        assert np.isclose(before, loss) and t.classes_loss_grad(x, y, params=q)[0] < loss and np.allclose(q, p - 0.1 * grad, atol=1e-6)
        big = rng.normal(size=(50, 3))
        obs = big @ [1, 2, 3] + rng.normal(size=50)
        fit = t.ridge_fit(big, obs, params=t.ridge_init(D=3), **{"lambda": 4.0})
        assert fit["code"] == 0 and np.allclose(fit["params"], np.linalg.solve(big.T @ big + 4 * np.eye(3), big.T @ obs), rtol=1e-12)
        assert np.allclose(fit["cov"], np.linalg.inv(big.T @ big + 4 * np.eye(3)), rtol=1e-10)
        if shutil.which("cc"):
            same_sizes_in_c(d, t)
        h = 1e-2
        r = p.copy()
        r[2] += h
        s = p.copy()
        s[2] -= h
        slope = (t.classes_loss_grad(x, y, params=r)[0] - t.classes_loss_grad(x, y, params=s)[0]) / (float(r[2]) - float(s[2]))
        assert abs(slope - grad[2]) < 1e-3
        refuses(ValueError, "not [H, W]", lambda: t.blur(img[0], 1))
        refuses(TypeError, "params= is missing", lambda: t.m_forward(x))
        refuses(TypeError, "pass D=", lambda: t.ridge_init())
        refuses(RuntimeError, "t.cnn:6", lambda: t.classes_loss_grad(x, y + 9, params=p))
        for lost in (y + 0.5, y + (1 << 32), np.full(20, np.nan)):
            refuses(ValueError, "y holds a value that is no int32", lambda: t.classes_loss_grad(x, lost, params=p))
        refuses(TypeError, "elements of complex128", lambda: t.blur(img + 1j, 1))
        assert t.classes_loss_grad(x[::-1].tolist(), y[::-1].astype("f8"), params=p)[0] == t.classes_loss_grad(x[::-1], y[::-1], params=p)[0]
        refuses(TypeError, "knows no q", lambda: t.blur(img, 1, q=2))
        refuses(TypeError, "in place", lambda: t.m_forward(x, params=p.astype("f8")))
    print("ok")


main(os.path.abspath(sys.argv[1]))
