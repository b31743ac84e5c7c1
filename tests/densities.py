#!/usr/bin/env python3
"""Log densities and their first and second derivatives, as compiled, against mpmath.

usage: CNNC=build/release/cnnc python3 tests/densities.py [--only NAME,...] [--points 40] [--bar 16]

Every distribution of language.md, in every parametrisation, is evaluated over its support, tails included, at points drawn
log-uniformly; so are its derivatives by every real argument, and the second ones. The references have 120 digits, 50 after differences. An error is
measured in units of 2^-53 of the greatest term of the formula (or of its derivative) plus what one such unit in each argument changes:
that is what cancellation between terms leaves to anyone who adds them in doubles. `relative` is the worst |error| / |value| where the
value is at least half of the greatest term. Exit status 1 if an error exceeds the bar, or a value is not finite where the reference is.
"""
import argparse, ctypes, os, random, subprocess, sys, tempfile
import mpmath as mp

mp.mp.dps = 120
LOG2PI = mp.log(2 * mp.pi)


def lg(x):
    return mp.loggamma(x)


def xlogy(a, x):
    return a * mp.log(x) if a != 0 else mp.mpf(0)


def log_sigmoid(z):
    return min(z, mp.mpf(0)) - mp.log1p(mp.exp(-abs(z)))


def log_sum_exp(z):
    m = max(range(len(z)), key=lambda k: z[k])
    return z[m] + mp.log1p(sum(mp.exp(z[k] - z[m]) for k in range(len(z)) if k != m))


# ---- the formulas: lists of terms whose sum is the log density
def normal(x, m, s):
    return [-((x - m) / s) ** 2 / 2, -mp.log(s), -LOG2PI / 2]


def log_normal(x, m, s):
    return normal(mp.log(x), m, s) + [-mp.log(x)]


def student_t(x, df, m, s):
    z = (x - m) / s
    return [lg((df + 1) / 2), -lg(df / 2), -mp.log(df * mp.pi) / 2, -mp.log(s), -(df + 1) / 2 * mp.log1p(z * z / df)]


def cauchy(x, m, s):
    return [-mp.log1p(((x - m) / s) ** 2), -mp.log(mp.pi), -mp.log(s)]


def laplace(x, m, s):
    return [-abs(x - m) / s, -mp.log(2 * s)]


def logistic(x, m, s):
    z = (x - m) / s
    return [log_sigmoid(z), log_sigmoid(-z), -mp.log(s)]


def gumbel(x, m, s):
    z = (x - m) / s
    return [-z, -mp.exp(-z), -mp.log(s)]


def gamma(x, a, b):
    return [a * mp.log(b), xlogy(a - 1, x), -b * x, -lg(a)]


def inverse_gamma(x, a, b):
    return [a * mp.log(b), -(a + 1) * mp.log(x), -b / x, -lg(a)]


def weibull(x, k, s):
    return [mp.log(k), -mp.log(s), xlogy(k - 1, x / s), -(x / s) ** k]


def inverse_gaussian(x, m, k):
    return [mp.log(k) / 2, -LOG2PI / 2, -3 * mp.log(x) / 2, -k * ((x - m) / m) ** 2 / (2 * x)]


def beta(x, a, b):
    return [xlogy(a - 1, x), (b - 1) * mp.log1p(-x), -lg(a), -lg(b), lg(a + b)]


def bernoulli(x, p):
    return [mp.log(p) if x else mp.log1p(-p)]


def poisson(x, r):
    return [xlogy(x, r), -r, -lg(x + 1)]


def poisson_log(x, z):
    return [x * z, -mp.exp(z), -lg(x + 1)]


def binomial(x, n, p):
    return [lg(n + 1), -lg(x + 1), -lg(n - x + 1), xlogy(x, p), (n - x) * mp.log1p(-p)]


def binomial_logit(x, n, z):
    return [lg(n + 1), -lg(x + 1), -lg(n - x + 1), x * log_sigmoid(z), (n - x) * log_sigmoid(-z)]


def negative_binomial(x, m, a):
    r = 1 / a
    return [lg(x + r), -lg(r), -lg(x + 1), xlogy(x, a * m), -(x + r) * mp.log1p(a * m)]


def ordered(x, eta, *cut):
    above = cut[x] - eta if x < len(cut) else mp.inf
    below = cut[x - 1] - eta if x > 0 else -mp.inf
    up = log_sigmoid(above) if x < len(cut) else mp.mpf(0)
    down = log_sigmoid(-below) if x > 0 else mp.mpf(0)
    between = mp.log1p(-mp.exp(below - above)) if 0 < x < len(cut) else mp.mpf(0)
    return [up, down, between]


# ---- how arguments are drawn
rnd = random.Random(1)


def wide():  # over all magnitudes, both signs
    return rnd.choice((-1, 1)) * 10 ** rnd.uniform(-3, 3)


def positive(lo=-4, hi=4):
    return lambda: 10 ** rnd.uniform(lo, hi)


def unit():
    return rnd.choice((10 ** rnd.uniform(-12, -0.31), 1 - 10 ** rnd.uniform(-12, -0.31), rnd.random()))


def logit():
    return rnd.choice((rnd.uniform(-5, 5), rnd.uniform(-700, 700)))


def count():
    return rnd.choice((0, 1, rnd.randrange(20), rnd.randrange(100000)))


SMALL = positive(-2, 3)
# name, arguments in .cnn, formula, x, parameters; x of a count or bool has no derivative
DISTS = [
    ("Normal", "{0}, {1}", normal, wide, [wide, positive(-3, 3)]),
    ("LogNormal", "{0}, {1}", log_normal, positive(), [wide, positive(-2, 3)]),
    ("StudentT", "{0}, {1}, {2}", student_t, wide, [SMALL, wide, positive(-3, 3)]),
    ("Cauchy", "{0}, {1}", cauchy, wide, [wide, positive(-3, 3)]),
    ("Laplace", "{0}, {1}", laplace, wide, [wide, positive(-3, 3)]),
    ("Logistic", "{0}, {1}", logistic, wide, [wide, positive(-1, 3)]),
    ("Gumbel", "{0}, {1}", gumbel, wide, [lambda: rnd.uniform(-10, 10), positive(1, 3)]),
    ("Uniform", "{0}, {1}", lambda x, a, b: [-mp.log(b - a)], rnd.random, [lambda: -positive(-3, 3)(), lambda: 1 + positive(-3, 3)()]),
    ("Exponential", "{0}", lambda x, r: [mp.log(r), -r * x], positive(), [positive()]),
    ("Gamma", "{0}, {1}", gamma, positive(), [SMALL, positive()]),
    ("InverseGamma", "{0}, {1}", inverse_gamma, positive(), [SMALL, positive()]),
    ("ChiSquared", "{0}", lambda x, k: [xlogy(k / 2 - 1, x), -x / 2, -k / 2 * mp.log(2), -lg(k / 2)], positive(), [SMALL]),
    ("Weibull", "{0}, {1}", weibull, positive(-1, 1), [positive(-1, 1), positive(-1, 1)]),
    ("Pareto", "{0}, {1}", lambda x, m, a: [mp.log(a), a * mp.log(m), -(a + 1) * mp.log(x)], lambda: 10 ** rnd.uniform(2, 5), [positive(-3, 2), positive(-2, 2)]),
    ("HalfNormal", "{0}", lambda x, s: [-(x / s) ** 2 / 2, -mp.log(s), mp.log(2) - LOG2PI / 2], positive(), [positive(-3, 3)]),
    ("HalfCauchy", "{0}", lambda x, s: [-mp.log1p((x / s) ** 2), -mp.log(mp.pi / 2), -mp.log(s)], positive(), [positive(-3, 3)]),
    ("Beta", "{0}, {1}", beta, unit, [SMALL, SMALL]),
    ("InverseGaussian", "{0}, {1}", inverse_gaussian, positive(-2, 2), [positive(-2, 2), positive(-2, 2)]),
    ("Bernoulli", "{0}", bernoulli, "bool", [unit]),
    ("Bernoulli", "logit = {0}", lambda x, z: [log_sigmoid(z if x else -z)], "bool", [logit]),
    ("Binomial", "{0}, {1}", binomial, "trials", ["n", unit]),
    ("Binomial", "{0}, logit = {1}", binomial_logit, "trials", ["n", logit]),
    ("Poisson", "{0}", poisson, "int", [positive(-3, 5)]),
    ("Poisson", "log = {0}", poisson_log, "int", [lambda: rnd.uniform(-20, 12)]),
    ("NegativeBinomial", "{0}, {1}", negative_binomial, "int", [positive(-3, 4), positive(-6, 2)]),
    ("NegativeBinomial", "log = {0}, alpha = {1}", lambda x, z, a: negative_binomial(x, mp.exp(z), a), "int", [lambda: rnd.uniform(-15, 9), positive(-6, 2)]),
    ("Geometric", "{0}", lambda x, p: [mp.log(p), x * mp.log1p(-p)], "int", [unit]),
    ("OrderedLogit", "{0}, CUT({1}, {2})", ordered, "class", [lambda: rnd.uniform(-30, 30), lambda: rnd.uniform(-20, 0), lambda: rnd.uniform(0.01, 20)]),
    ("Categorical", "CLASSES({0}, {1}, {2})", lambda x, *p: [mp.log(p[x])], "class", [unit, unit, unit]),
    ("Categorical", "logit = CLASSES({0}, {1}, {2})", lambda x, *z: [z[x], -log_sum_exp(z)], "class", [logit, logit, logit]),
    ("Dirichlet", "CLASSES({0}, {1}, {2})", lambda x, y, a, b, c: [xlogy(a - 1, x), xlogy(b - 1, y), xlogy(c - 1, 1 - x - y), -lg(a), -lg(b), -lg(c), lg(a + b + c)],
     "simplex", [SMALL, SMALL, SMALL]),
    ("Multinomial", "{0}, CLASSES({1}, {2}, {3})", lambda x, n, *p: [lg(n + 1)] + [-lg(v + 1) for v in x] + [xlogy(v, q) for v, q in zip(x, p)], "counts", ["n", unit, unit, unit]),
    ("Multinomial", "{0}, logit = CLASSES({1}, {2}, {3})",
     lambda x, n, *z: [lg(n + 1)] + [-lg(v + 1) for v in x] + [v * q for v, q in zip(x, z)] + [-n * log_sum_exp(z)], "counts", ["n", logit, logit, logit]),
]


def mvn(x, y, m, n, a, b, c, form):
    """[[a, b], [b, c]] is the covariance (form 0), [[a, 0], [b, c]] its lower factor (1) or that of its inverse (2)."""
    u, v = x - m, y - n
    if form == 0:
        det = a * c - b * b
        return [-(c * u * u - 2 * b * u * v + a * v * v) / (2 * det), -mp.log(det) / 2, -LOG2PI]
    if form == 2:
        z0, z1 = a * u + b * v, c * v
        return [-z0 * z0 / 2, -z1 * z1 / 2, mp.log(a), mp.log(c), -LOG2PI]
    z0 = u / a
    z1 = (v - b * z0) / c
    return [-z0 * z0 / 2, -z1 * z1 / 2, -mp.log(a), -mp.log(c), -LOG2PI]


FACTOR = [lambda: rnd.uniform(-2, 2), lambda: rnd.uniform(-2, 2), positive(-1, 1), lambda: rnd.uniform(-1, 1), positive(-1, 1)]
for _form, _text in enumerate(["COVARIANCE({2}, {3}, {4})", "cholesky = FACTOR({2}, {3}, {4})", "precision_cholesky = FACTOR({2}, {3}, {4})"]):
    DISTS.append(("MultivariateNormal", "PAIR({0}, {1}), " + _text, (lambda f: lambda x, y, *p: mvn(x, y, *p, form=f))(_form), "pair", FACTOR))

# vectors and matrices of the parameters, for each point
SHORT = {
    "CLASSES": "for n < N, k < 3 => if k == 0 then {0}[n] else if k == 1 then {1}[n] else {2}[n]",
    "CUT": "for n < N, k < 2 => if k == 0 then {0}[n] else {1}[n]",
    "PAIR": "for n < N, k < 2 => if k == 0 then {0}[n] else {1}[n]",
    "FACTOR": "for n < N, i < 2, k < 2 => if i == 0 then (if k == 0 then {0}[n] else 0) else if k == 0 then {1}[n] else {2}[n]",
    "COVARIANCE": "for n < N, i < 2, k < 2 => if i == k then (if i == 0 then {0}[n] else {2}[n]) else {1}[n]",
}


def scale_of_softmax(dist, x, p, key):
    """The second derivative of log sum exp is p - p^2: one (n for a Multinomial) is what it is rounded against."""
    if "logit" not in dist[1] or dist[0] not in ("Categorical", "Multinomial") or len(key) < 2:
        return 0
    return p[0] if dist[0] == "Multinomial" else 1


def text_of(number, dist):
    """The functions of one parametrisation: value, first and second derivatives by all real arguments."""
    name, args, _, x, params = dist
    reals = [i for i, p in enumerate(params) if p != "n"]
    formals, call, head = [], args, ""
    for i, p in enumerate(params):
        formals.append("p%d: %s[N]" % (i, "int" if p == "n" else ""))
    x_formals, left = {"bool": (["x: bool[N]"], "x"), "int": (["x: int[N]"], "x"), "trials": (["x: int[N]"], "x"), "class": (["x: index(3)[N]"], "x"),
                       "simplex": (["x: [N]", "y: [N]"], "xs"), "counts": (["x: int[N]", "y: int[N]", "z: int[N]"], "xs"),
                       "pair": (["x: [N]", "y: [N]"], "xs")}.get(x, (["x: [N]"], "x"))
    lines = []
    if x == "simplex":
        lines.append("xs = for n < N, k < 3 => if k == 0 then x[n] else if k == 1 then y[n] else 1 - x[n] - y[n]")
    elif x == "pair":
        lines.append("xs = for n < N, k < 2 => if k == 0 then x[n] else y[n]")
    elif x == "counts":
        lines.append("xs = for n < N, k < 3 => if k == 0 then x[n] else if k == 1 then y[n] else z[n]")
    names = ["p%d" % i for i in range(len(params))]
    call = call.format(*names)
    for short, body in SHORT.items():
        while short + "(" in call:
            at = call.index(short + "(")
            end = call.index(")", at)
            value = body.format(*call[at + len(short) + 1:end].split(", "))
            if short.lower() not in [l.split(" ")[0] for l in lines]:
                lines.append("%s = %s" % (short.lower(), value))
            call = call[:at] + short.lower() + call[end + 1:]
    lines.append("d = logpdf(%s(%s), %s)" % (name, call, left))
    wrt = ([f.split(":")[0] for f in x_formals] if x in ("simplex", "pair") or not isinstance(x, str) else []) + ["p%d" % i for i in reals]
    out = []
    body = "\n  ".join(lines)
    sig = "[N](%s) -> [N]" % ", ".join(x_formals + formals)
    out.append("def f%d%s {\n  %s\n  return d\n}" % (number, sig, body))
    for i, a in enumerate(wrt):
        out.append("def f%d_%d%s {\n  %s\n  L = sum(d)\n  return grad(L, %s)\n}" % (number, i, sig, body, a))
        for j, b in enumerate(wrt[:i + 1]):
            out.append("def f%d_%d_%d%s {\n  %s\n  L = sum(d)\n  g = grad(L, %s)\n  S = sum(g)\n  return grad(S, %s)\n}" % (number, i, j, sig, body, a, b))
    return "\n".join(out), x_formals, wrt


def draw(dist):
    """One point: x (a list), parameters, as they are passed."""
    x, params = dist[3], dist[4]
    p = [None if q == "n" else float(q()) for q in params]
    if dist[0] == "Categorical" and "logit" not in dist[1] or dist[0] == "Multinomial" and "logit" not in dist[1]:
        p = [v if v is None else max(v, 1e-300) for v in p]
    if dist[0] == "OrderedLogit":
        p[2] = p[1] + p[2]
    if x == "bool":
        return [rnd.randrange(2)], p
    if x == "int":
        return [count()], p
    if x == "class":
        return [rnd.randrange(3)], p
    if x == "trials":
        n = count()
        p[0] = n
        return [rnd.randrange(n + 1)], p
    if x == "counts":
        v = [count() for _ in range(3)]
        p[0] = sum(v)
        return v, p
    if x == "simplex":
        a = rnd.uniform(0.01, 0.98)
        return [a, rnd.uniform(0.005, 0.995) * (1 - a)], p
    if x == "pair":
        if "COVARIANCE" in dist[1]:
            a, b, c = p[2:]
            p[2:] = [a * a, a * b, b * b + c * c]
        return [rnd.uniform(-5, 5), rnd.uniform(-5, 5)], p
    v = float(x())
    if dist[0] == "Gumbel":
        v = p[0] + p[1] * rnd.uniform(-5, 40)
    return [v], p


# ---- references
def terms_at(dist, x, p):
    f = dist[2]
    return [mp.mpf(t) for t in (f(x, *p) if dist[3] == "counts" else f(*x, *p))]


def combine(parts):  # sum_k weight_k * terms_k
    n = len(parts[0][1])
    return [sum(w * t[k] for w, t in parts) for k in range(n)]


def reference(dist, x, p, wrt):
    """Terms of the value, of first and second derivatives by the arguments number wrt (x first)."""
    args = [mp.mpf(v) if isinstance(v, float) else v for v in x + p]

    def at(moved):
        v = list(args)
        for i, d in moved:
            v[i] += d
        return terms_at(dist, v[:len(x)], v[len(x):])
    h = {i: (abs(args[i]) if args[i] != 0 else mp.mpf(1)) * mp.mpf(10) ** -35 for i in wrt}
    for i in wrt:  # stay inside of the unit interval
        if isinstance(args[i], mp.mpf) and 0 < args[i] < 1:
            h[i] = min(args[i], 1 - args[i]) * mp.mpf(10) ** -35
    out = {(): at([])}
    for a, i in enumerate(wrt):
        up, down = at([(i, h[i])]), at([(i, -h[i])])
        out[(a,)] = combine([(1 / (2 * h[i]), up), (-1 / (2 * h[i]), down)])
        out[(a, a)] = combine([(1 / h[i] ** 2, up), (-2 / h[i] ** 2, out[()]), (1 / h[i] ** 2, down)])
        for b, j in enumerate(wrt[:a]):
            w = 1 / (4 * h[i] * h[j])
            out[(a, b)] = combine([(w, at([(i, h[i]), (j, h[j])])), (-w, at([(i, h[i]), (j, -h[j])])), (-w, at([(i, -h[i]), (j, h[j])])), (w, at([(i, -h[i]), (j, -h[j])]))])
    return out


def units_of(dist, x, p, wrt):
    """By derivative: the exact value, and what an error is measured by."""
    r = reference(dist, x, p, wrt)
    exact = {k: sum(v) for k, v in r.items()}
    terms = {k: max(abs(t) for t in v) for k, v in r.items()}
    lead = {k: v + scale_of_softmax(dist, x, p, k) for k, v in terms.items()}
    args = x + p
    scale = max(abs(t) for t in r[()])
    noise = {k: scale * mp.mpf(10) ** -40 / mp.fprod(abs(args[wrt[i]]) or 1 for i in k) for k in r}
    for i in wrt:
        moved = list(map(lambda v: mp.mpf(v) if isinstance(v, float) else v, args))
        moved[i] *= 1 + mp.mpf(2) ** -53
        for k, v in reference(dist, moved[:len(x)], moved[len(x):], wrt).items():
            lead[k] += abs(sum(v) - exact[k]) * mp.mpf(2) ** 53
    return exact, lead, noise, terms


# ---- compiled code
def compiled(text, folder):
    path = os.path.join(folder, "densities.cnn")
    with open(path, "w") as f:
        f.write(text)
    so = os.path.join(folder, "densities.so")
    r = subprocess.run([os.environ.get("CNNC", "cnnc"), path, "-o", so, "-w"], capture_output=True, text=True)
    if r.returncode:
        sys.exit(r.stderr)
    return ctypes.CDLL(so)


def evaluate(lib, name, columns, n):
    out = (ctypes.c_double * n)()
    work = ctypes.create_string_buffer(1 << 24)
    status = getattr(lib, name)(None, ctypes.c_int64(n), *columns, out, work)
    if status:
        sys.exit("%s: status %d" % (name, status))
    return list(out)


def column(kind, values):
    t = ctypes.c_uint8 if "bool" in kind else ctypes.c_int32 if "int" in kind or "index" in kind else ctypes.c_double
    return (t * len(values))(*values)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--only", default="")
    ap.add_argument("--points", type=int, default=40)
    ap.add_argument("--bar", type=float, default=16)
    ap.add_argument("--verbose", action="store_true")
    o = ap.parse_args()
    only = [s for s in o.only.split(",") if s]
    chosen = [d for d in DISTS if not only or d[0] in only]
    made = [text_of(k, d) for k, d in enumerate(chosen)]
    bad = 0
    print("%-42s %28s   %s" % ("units of 2^-53 of the greatest term", "value    first   second", "relative: value first second"))
    with tempfile.TemporaryDirectory() as folder:
        lib = compiled("\n".join(m[0] for m in made), folder)
        for number, (d, (_, x_formals, wrt)) in enumerate(zip(chosen, made)):
            points = [draw(d) for _ in range(o.points)]
            n_x = len(points[0][0])
            columns = [column(f, [p[0][k] for p in points]) for k, f in enumerate(x_formals)]
            columns += [column("int" if q == "n" else "real", [p[1][k] for p in points]) for k, q in enumerate(d[4])]
            where = [n_x + int(w[1:]) if w[0] == "p" else "xyz".index(w) for w in wrt]
            refs = [units_of(d, x, p, where) for x, p in points]
            worst, relative, at = [0.0] * 3, [0.0] * 3, [None] * 3
            for key in refs[0][0]:
                got = evaluate(lib, "f%d%s" % (number, "".join("_%d" % k for k in key)), columns, o.points)
                for v, (exacts, leads, noises, terms), point in zip(got, refs, points):
                    exact, lead = exacts[key], leads[key]
                    if abs(exact) > mp.mpf("1e300") or mp.mpf("1e-290") > lead > noises[key]:
                        continue
                    error = abs(mp.mpf(v) - exact) if v == v and abs(v) != float("inf") else mp.inf
                    units = float(error / (lead * mp.mpf(2) ** -53)) if error > noises[key] else 0.0
                    if units > worst[len(key)]:
                        worst[len(key)], at[len(key)] = units, (key, point, v, float(exact))
                    if error > noises[key] and 2 * abs(exact) >= terms[key]:
                        relative[len(key)] = max(relative[len(key)], float(error / abs(exact)))
            over = max(worst) > o.bar
            bad += over
            print("%-42s %8.2f %8.2f %8.2f%s  %.1e %.1e %.1e" % ("%s(%s)" % (d[0], d[1]), *worst, " *" if over else "  ", *relative), flush=True)
            for a in at if over or o.verbose else []:
                if a:
                    print("    by %s at x = %s, parameters %s: %r, reference %r" % ("".join(wrt[k] + " " for k in a[0]) or "nothing", a[1][0], a[1][1], a[2], a[3]))
    print("%d of %d over %g units" % (bad, len(chosen), o.bar))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
