#!/usr/bin/env python3
"""Exact fits next to statsmodels and scipy: estimates, standard errors, intervals, log likelihood, AIC, BIC, R^2.

usage: CNNC=build/release/cnnc python3 tests/statistics.py [--only NAME,...] [--verbose]

Where statsmodels has the model, its result is the reference; else the log density is written down once more in Python, polished by
Newton's method with complex-step derivatives, and its observed information gives the errors. Data are drawn by a seed. A number passes
if estimates agree within 1e-6 standard errors, standard errors and ends of intervals within 1e-5, log likelihoods within 1e-9, R^2 and
s^2 within 1e-9, all relative. Without statsmodels and scipy nothing is compared, and the script says so. Exit status 1 if a number differs.
"""
import argparse, csv, json, math, os, subprocess, sys, tempfile, warnings

try:
    import numpy as np
    import statsmodels.api as sm
    from scipy import special
    from statsmodels.miscmodels.ordinal_model import OrderedModel
    from statsmodels.tools.numdiff import approx_fprime_cs, approx_hess_cs
except ImportError as e:
    print("skipped: %s" % e)
    sys.exit(0)

warnings.simplefilter("ignore")  # of references that are polished afterwards
N = 120
rng = np.random.default_rng(20)
x1, x2 = np.round(rng.normal(size=N), 4), np.round(rng.uniform(-1, 2, size=N), 4)
X = np.column_stack([np.ones(N), x1, x2])
eta = X @ [0.4, 0.7, -0.5]
TABLE = dict(
    x1=x1, x2=x2, u=np.round(rng.uniform(0.2, 3, size=N), 3), e=np.round(rng.uniform(0.5, 30, size=N), 2), g=np.arange(N) % 6,
    y=np.round(eta + 0.6 * rng.normal(size=N), 5), b=(rng.random(N) < 1 / (1 + np.exp(-eta))).astype(int),
    c=rng.poisson(np.exp(eta)), positive=np.round(rng.gamma(2.5, np.exp(eta) / 2.5), 5),
    over=rng.poisson(np.exp(eta) * rng.gamma(1.5, 1 / 1.5, size=N)), part=np.round(rng.beta(3, 4, size=N), 5),
    k=np.digitize(eta + rng.logistic(size=N), [-0.5, 1.0]))
TABLE["c_e"] = rng.poisson(TABLE["e"] * np.exp(eta - 1))
TABLE["walk"] = np.round(np.array([0.0] + list(np.zeros(N - 1))), 5)
for i in range(1, N):
    TABLE["walk"][i] = round(0.3 + 0.6 * TABLE["walk"][i - 1] + rng.normal(), 5)
TABLE["two"] = np.round(np.where(rng.random(N) < 0.4, rng.normal(-2, 0.7, N), rng.normal(1.5, 1, N)), 5)
TABLE["life"] = np.round(rng.weibull(1.5, N) * 3, 4)
TABLE["dead"] = (TABLE["life"] < 4).astype(int)
TABLE["life"] = np.minimum(TABLE["life"], 4)
TABLE["group_y"] = np.round(np.array([1, 0.2, -0.5, 1.4, 0.1, 0.8])[TABLE["g"]] + 0.7 * rng.normal(size=N), 5)
TABLE["limited"] = np.maximum(TABLE["y"], 0)
TABLE["zeros"] = np.where(rng.random(N) < 0.3, 0, TABLE["c"])
TABLE["time"] = np.round(rng.exponential(np.exp(-0.5 * x1 + 0.3 * x2)), 4)
TABLE["event"] = (rng.random(N) < 0.8).astype(int)
T = TABLE
W = ["w[1]", "w[x1]", "w[x2]"]
COLUMNS = {"X": "1,x1,x2"}


class Reference:
    """estimates and errors by name; further numbers by their name in cnnc's JSON."""

    def __init__(self, names, estimate, error, low=None, high=None, **numbers):
        self.rows = {n: (float(a), float(s)) for n, a, s in zip(names, estimate, error)}
        self.ends = {} if low is None else {n: (float(a), float(b)) for n, a, b in zip(names, low, high)}
        self.numbers = numbers


def of(result, names, keep=None, **more):
    """A result of statsmodels."""
    keep = slice(len(names)) if keep is None else keep
    ends = np.asarray(result.conf_int())[keep]
    numbers = dict(loglik=result.llf)
    numbers.update(more)
    return Reference(names, np.asarray(result.params)[keep], np.asarray(result.bse)[keep], ends[:, 0], ends[:, 1], **numbers)


def numeric(names, log_density, start, log_likelihood=None, of_free=None):
    """The mode of log_density (analytic in complex arguments), and its observed information."""
    p = np.array(start, float)
    for _ in range(60):
        g, h = approx_fprime_cs(p, log_density), approx_hess_cs(p, log_density)
        w, v = np.linalg.eigh(-h)
        step = v @ ((v.T @ g) / np.maximum(np.abs(w), 1e-8))
        size = 1.0
        while not np.isfinite(log_density(p + size * step)) or log_density(p + size * step) < log_density(p) - 1e-9:
            size /= 2
            if size < 1e-12:
                break
        p = p + size * step
        if np.abs(step).max() < 1e-13 * (1 + np.abs(p).max()):
            break
    cov = np.linalg.inv(-approx_hess_cs(p, log_density))
    value, jacobian = p, np.eye(len(p))
    if of_free:  # elements that are functions of the free ones
        value = of_free(p)
        jacobian = np.array([approx_fprime_cs(p, lambda q, i=i: of_free(q)[i]) for i in range(len(value))])
    return Reference(names, value, np.sqrt(np.diag(jacobian @ cov @ jacobian.T)), loglik=(log_likelihood or log_density)(p))


LINEAR = """
estimator fit[N, D] {
  data  X: [N, D]
  data  y: %s[N]
  param w: [D]
  %s
}
"""


def normal(y, m, s):
    return -((y - m) / s) ** 2 / 2 - np.log(s) - math.log(2 * math.pi) / 2


def ols():
    r = sm.OLS(T["y"], X).fit()
    return of(r, W, aic=r.aic + 2, bic=r.bic + math.log(N), r2=r.rsquared, s2=r.scale, df=r.df_resid)


def wls():
    r = sm.WLS(T["y"], X, weights=T["u"]).fit()
    return of(r, W, r2=r.rsquared, s2=r.scale, df=r.df_resid)


def weighted():
    def f(p):
        return (T["u"] * normal(T["y"], X @ p[:3], p[3])).sum()
    return numeric(W + ["sigma"], f, [0.4, 0.7, -0.5, 0.6])


def logit():
    r = sm.Logit(T["b"], X).fit(disp=0, tol=1e-14)
    return of(r, W, aic=r.aic, bic=r.bic)


def probit():
    r = sm.Probit(T["b"], X).fit(disp=0, tol=1e-14)
    return of(r, W, aic=r.aic, bic=r.bic)


def poisson():
    r = sm.Poisson(T["c_e"], X, exposure=T["e"]).fit(disp=0, tol=1e-14)
    return of(r, W, aic=r.aic, bic=r.bic)


def gamma():
    y = T["positive"]

    def f(p):
        k, mu = p[3], np.exp(X @ p[:3])
        return (k * np.log(k / mu) + (k - 1) * np.log(y) - k * y / mu - special.loggamma(k)).sum()
    start = list(sm.GLM(y, X, family=sm.families.Gamma(sm.families.links.Log())).fit(tol=1e-13).params) + [2.5]
    return numeric(W + ["k"], f, start)


def negative_binomial():
    y = T["over"]

    def f(p):
        mu, r = np.exp(X @ p[:3]), 1 / p[3]
        return (special.loggamma(y + r) - special.loggamma(r) - special.loggamma(y + 1.0) + y * np.log(p[3] * mu) -
                (y + r) * np.log(1 + p[3] * mu)).sum()
    return numeric(W + ["alpha"], f, sm.NegativeBinomial(y, X).fit(disp=0).params)


def multinomial():
    r = sm.MNLogit(T["k"], X).fit(disp=0, tol=1e-14)
    names = ["w[%d,%s]" % (k, c) for k in (0, 1) for c in ("1", "x1", "x2")]
    params, errors = np.asarray(r.params).T.ravel(), np.asarray(r.bse).T.ravel()
    return Reference(names, params, errors, loglik=r.llf, aic=r.aic, bic=r.bic)


def ordered():
    r = OrderedModel(T["k"], X[:, 1:], distr="logit").fit(method="bfgs", disp=0, gtol=1e-10)

    def f(p):
        e, y = X[:, 1:] @ p[:2], T["k"]
        low, high = 1 / (1 + np.exp(e - p[2])), 1 / (1 + np.exp(e - p[3]))
        return np.log(np.where(y == 0, low, np.where(y == 1, high - low, 1 - high))).sum()
    cut = r.params[2], r.params[2] + math.exp(r.params[3])
    return numeric(["w[x1]", "w[x2]", "cut[0]", "cut[1]"], f, list(r.params[:2]) + list(cut))


def autoregression():
    y = T["walk"]
    r = sm.OLS(y[1:], np.column_stack([np.ones(N - 1), y[:-1]])).fit()
    return of(r, ["c", "phi"], r2=r.rsquared, s2=r.scale, df=r.df_resid)


def hierarchical():
    y, g = T["group_y"], T["g"]
    names = ["mu", "tau", "sigma"] + ["theta[%d]" % j for j in range(6)]

    def likelihood(p):
        return normal(y, p[3:][g], p[2]).sum()

    def density(p):
        return likelihood(p) + normal(p[3:], p[0], p[1]).sum() - 3 * np.log(p[1]) - 1 / p[1]
    return numeric(names, density, [0.5, 0.6, 0.7, 1, 0.2, -0.5, 1.4, 0.1, 0.8], likelihood)


def mixture():
    x = T["two"]
    names = ["mix[0]", "mix[1]", "mu[0]", "mu[1]", "s[0]", "s[1]"]

    def f(p):
        return np.log(p[0] * np.exp(normal(x, p[1], p[3])) + (1 - p[0]) * np.exp(normal(x, p[2], p[4]))).sum()
    return numeric(names, f, [0.4, -2, 1.5, 0.7, 1], of_free=lambda p: np.array([p[0], 1 - p[0], p[1], p[2], p[3], p[4]]))


def censored():
    t, d = T["life"], T["dead"]

    def f(p):
        k, s = p
        return (d * (np.log(k / s) + (k - 1) * np.log(t / s)) - (t / s) ** k).sum()
    return numeric(["k", "s"], f, [1.5, 3])


def student():
    def f(p):
        z = (T["y"] - X @ p[:3]) / p[3]
        return (special.gammaln(2.5) - special.gammaln(2) - 0.5 * math.log(4 * math.pi) - np.log(p[3]) - 2.5 * np.log(1 + z * z / 4)).sum()
    return numeric(W + ["s"], f, [0.4, 0.7, -0.5, 0.5])


def beta():
    y = T["part"]

    def f(p):
        m = 1 / (1 + np.exp(-(X @ p[:3])))
        a, b = m * p[3], (1 - m) * p[3]
        return (special.loggamma(a + b) - special.loggamma(a) - special.loggamma(b) + (a - 1) * np.log(y) + (b - 1) * np.log(1 - y)).sum()
    return numeric(W + ["phi"], f, [0, 0, 0, 5])


def tobit():
    y = T["limited"]

    def f(p):
        m = X @ p[:3]
        return np.where(y > 0, normal(y, m, p[3]), np.log(special.erfc(m / (p[3] * math.sqrt(2))) / 2)).sum()
    return numeric(W + ["s"], f, [0.4, 0.7, -0.5, 0.6])


def zero_inflated():
    y = T["zeros"]

    def f(p):
        m = np.exp(X @ p[:3])
        return np.where(y == 0, np.log(p[3] + (1 - p[3]) * np.exp(-m)), np.log(1 - p[3]) + y * np.log(m) - m - special.gammaln(y + 1)).sum()
    return numeric(W + ["p"], f, [0.4, 0.7, -0.5, 0.3])


def cox():
    r = sm.PHReg(T["time"], X[:, 1:], status=T["event"], ties="breslow").fit(disp=0)
    e = np.argsort(T["time"])

    def f(p):
        z = X[e, 1:] @ p
        return (T["event"][e] * (z - np.log(np.cumsum(np.exp(z)[::-1])[::-1]))).sum()
    return numeric(W[1:], f, r.params)


def held():
    """A coefficient that `when` holds at 0.5."""
    r = sm.OLS(T["y"] - 0.5 * x2, X[:, :2]).fit()
    return of(r, ["w[0]", "w[1]"], s2=r.scale, df=r.df_resid, aic=r.aic + 2, bic=r.bic + math.log(N))


def held_map():
    """The same with a prior, which says nothing of what is held."""
    b = T["b"]

    def likelihood(p):
        z = p[0] * X[:, 0] + p[1] * X[:, 1] + 0.5 * X[:, 2]
        return (b * z - np.log(1 + np.exp(z))).sum()
    return numeric(["w[0]", "w[1]"], lambda p: likelihood(p) + normal(p, 0, 2).sum(), [0.4, 0.7], likelihood)


def ridge():
    """MAP with Normal priors: the posterior mode of a linear model with known noise."""
    a = X.T @ X / 0.36 + np.diag([1 / 4] * 3)
    m = np.linalg.solve(a, X.T @ T["y"] / 0.36)
    return Reference(W, m, np.sqrt(np.diag(np.linalg.inv(a))), loglik=normal(T["y"], X @ m, 0.6).sum(), logprior=normal(m, 0, 2).sum())


# name: (program, data, reference)
CASES = {
    "ols": (LINEAR % ("", "param sigma: positive\n  y ~ Normal(X @ w, sigma)"), dict(COLUMNS, y="y"), ols),
    "wls": (LINEAR % ("", "data u: [N]\n  param sigma: positive\n  y ~ Normal(X @ w, sigma / sqrt(u))"), dict(COLUMNS, y="y", u="u"), wls),
    "weighted": (LINEAR % ("", "data u: [N]\n  param sigma: positive\n  y ~ Weighted(u, Normal(X @ w, sigma))"), dict(COLUMNS, y="y", u="u"), weighted),
    "logit": (LINEAR % ("bool", "y ~ Bernoulli(logit = X @ w)"), dict(COLUMNS, y="b"), logit),
    "probit": (LINEAR % ("bool", "y ~ Bernoulli(erfc(-(X @ w) / sqrt(2)) / 2)"), dict(COLUMNS, y="b"), probit),
    "poisson": (LINEAR % ("int", "data e: [N]\n  y ~ Poisson(log = X @ w + log(e))"), dict(COLUMNS, y="c_e", e="e"), poisson),
    "gamma": (LINEAR % ("", "param k: positive = 1\n  y ~ Gamma(k, k / exp(X @ w))"), dict(COLUMNS, y="positive"), gamma),
    "negative_binomial": (LINEAR % ("int", "param alpha: positive = 1\n  y ~ NegativeBinomial(log = X @ w, alpha = alpha)"), dict(COLUMNS, y="over"), negative_binomial),
    "multinomial": ("""
estimator fit[N, D] {
  data  X: [N, D]
  data  y: index(3)[N]
  param w: [2, D]
  z = for n < N, k < 3 => if k == 0 then 0 else sum(for d < D => X[n, d] * w[k - 1, d])
  y ~ Categorical(logit = z)
}
""", dict(COLUMNS, y="k"), multinomial),
    "ordered": ("""
estimator fit[N, D] {
  data  X: [N, D]
  data  y: index(3)[N]
  param w: [D]
  param cut: ordered[2]
  y ~ OrderedLogit(X @ w, cut)
}
""", dict(X="x1,x2", y="k"), ordered),
    "autoregression": ("""
estimator fit[N] {
  data  y: [N]
  param c: real
  param phi: real
  param s: positive
  y[1:] ~ Normal(c + phi * y[:N - 1], s)
}
""", dict(y="walk"), autoregression),
    "hierarchical": ("""
estimator fit[N, J] {
  data  g: index(J)[N]
  data  y: [N]
  param mu: real
  param tau: positive
  param sigma: positive
  param theta: [J]
  tau   ~ InverseGamma(2, 1)
  theta ~ Normal(mu, tau)
  y     ~ Normal(theta[g], sigma)
}
""", dict(g="g", y="group_y"), hierarchical),
    "mixture": ("""
estimator fit[N, K = 2] {
  data  x: [N]
  param mix: simplex[K]
  param mu: [K] = for k < K => 4 * k - 2
  param s: positive[K] = 1
  x ~ Mixture(mix, Normal(mu, s))
}
""", dict(x="two"), mixture),
    "censored": ("""
estimator fit[N] {
  data  t: [N]
  data  dead: bool[N]
  param k: positive = 1
  param s: positive = 1
  t ~ LogDensity(if dead then logpdf(Weibull(k, s), t) else -(t / s)^k)
}
""", dict(t="life", dead="dead"), censored),
    "student": (LINEAR % ("", "param s: positive\n  y ~ StudentT(4, X @ w, s)"), dict(COLUMNS, y="y"), student),
    "beta": (LINEAR % ("", "param phi: positive = 1\n  m = sigmoid(X @ w)\n  y ~ Beta(m * phi, (1 - m) * phi)"), dict(COLUMNS, y="part"), beta),
    "tobit": (LINEAR % ("", "param s: positive\n  m = X @ w\n  y ~ LogDensity(if y > 0 then logpdf(Normal(m, s), y) else log(erfc(m / (s * sqrt(2))) / 2))"),
              dict(COLUMNS, y="limited"), tobit),
    "zero_inflated": (LINEAR % ("int", "param p: prob\n  m = exp(X @ w)\n  y ~ LogDensity(if y == 0 then log(p + (1 - p) * exp(-m)) else log(1 - p) + logpdf(Poisson(m), y))"),
                      dict(COLUMNS, y="zeros"), zero_inflated),
    "cox": ("""
estimator fit[N, D] {
  data  X: [N, D]
  data  t: [N]
  data  event: bool[N]
  param w: [D]
  z = X @ w
  risk = for i < N => sum(for j < N => if t[j] >= t[i] then exp(z[j]) else 0)
  t ~ LogDensity(if event then z - log(risk) else 0)
}
""", dict(X="x1,x2", t="time", event="event"), cox),
    "held": ("""
estimator fit[N] {
  data  X: [N, 3]
  data  y: [N]
  param w: [3] = 0.5 when [true, true, false]
  param s: positive
  y ~ Normal(X @ w, s)
}
""", dict(COLUMNS, y="y"), held),
    "held_map": ("""
estimator fit[N] {
  data  X: [N, 3]
  data  y: bool[N]
  param w: [3] = 0.5 when [true, true, false]
  w ~ Normal(0, 2)
  y ~ Bernoulli(logit = X @ w)
}
""", dict(COLUMNS, y="b"), held_map),
    "ridge": (LINEAR % ("", "w ~ Normal(0, 2)\n  y ~ Normal(X @ w, 0.6)"), dict(COLUMNS, y="y"), ridge),
}


def fitted(folder, program, data):
    path, table = os.path.join(folder, "fit.cnn"), os.path.join(folder, "d.csv")
    with open(path, "w") as f:
        f.write(program)
    command = [os.environ.get("CNNC", "build/release/cnnc"), "fit", path, "--json"]
    for name, columns in data.items():
        command += ["--data", "%s=%s:%s" % (name, table, columns)]
    p = subprocess.run(command, capture_output=True, text=True)
    if p.returncode:
        raise RuntimeError("exit %d: %s" % (p.returncode, p.stderr.strip()))
    return json.loads(p.stdout)


def differences(got, want):
    rows = {e["name"]: e for e in got["estimates"]}
    for name, (estimate, error) in want.rows.items():
        e = rows[name]
        yield name, e["estimate"], estimate, 1e-6 * error
        yield name + " std.err.", e["std_error"], error, 1e-5 * error
        if name in want.ends:
            yield name + " low", e["low"], want.ends[name][0], 1e-5 * error
            yield name + " high", e["high"], want.ends[name][1], 1e-5 * error
    for name, value in want.numbers.items():
        yield name, got[name], value, 1e-9 * max(1, abs(value))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--only", default=",".join(CASES))
    arguments.add_argument("--verbose", action="store_true")
    a = arguments.parse_args()
    compared = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "d.csv"), "w", newline="") as f:
            out = csv.writer(f)
            out.writerow(TABLE)
            out.writerows(zip(*[[repr(float(v)) if c.dtype.kind == "f" else int(v) for v in c] for c in TABLE.values()]))
        for name in a.only.split(","):
            program, data, reference = CASES[name]
            try:
                got = fitted(folder, program, data)
            except RuntimeError as e:
                print("%s: %s" % (name, e))
                failed += 1
                continue
            bad = 0
            for what, x, y, room in differences(got, reference()):
                compared += 1
                off = x is None or not abs(x - y) <= room
                bad += off
                if off or a.verbose:
                    print("%s: %s is %r, expected %.15g" % (name, what, x, y))
            failed += bad
            print("%-18s %-14s %s" % (name, got["method"], "differs" if bad else "agrees"))
    print("%d numbers compared, %d differ" % (compared, failed))
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
