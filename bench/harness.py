"""Compiled programs as Python callables, the multiply-add peak, and timing in turn."""
import ctypes as C
import os
import shutil
import subprocess
import tempfile
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TMP = tempfile.mkdtemp(prefix="cnnc-bench-")

PEAK = r"""
#if defined __AVX512F__
enum { BYTES = 64, SUMS = 24 };
#elif defined __AVX__
enum { BYTES = 32, SUMS = 12 };
#else
enum { BYTES = 16, SUMS = 12 };
#endif
#define LOOP(name, real)                                                                                   \
    typedef real name##_v __attribute__((vector_size(BYTES)));                                             \
    double name(long n);                                                                                   \
    double name(long n) { /* independent sums in registers; the operations done */                         \
        name##_v a[SUMS], x, y;                                                                            \
        real s = 0;                                                                                        \
        for (int j = 0; j < (int)(BYTES / sizeof(real)); j++) { x[j] = (real)0.999; y[j] = (real)1e-3; }   \
        _Pragma("GCC unroll 24") for (int i = 0; i < SUMS; i++) a[i] = x;                                  \
        for (long k = 0; k < n; k++) {                                                                     \
            _Pragma("GCC unroll 24") for (int i = 0; i < SUMS; i++) a[i] = a[i] * x + y;                   \
            _Pragma("GCC unroll 24") for (int i = 0; i < SUMS; i++) __asm__ volatile("" : "+v"(a[i]));     \
        }                                                                                                  \
        _Pragma("GCC unroll 24") for (int i = 0; i < SUMS; i++) s += a[i][0];                              \
        return s > 0 ? 2.0 * SUMS * (double)(BYTES / sizeof(real)) * (double)n : 0;                        \
    }
LOOP(peak_f32, float)
LOOP(peak_f64, double)
"""

POOL = r"""
/* Threads that look for work for some 0.1 ms and then sleep: the other systems are measured with no thread of ours running. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
typedef struct { int n; atomic_int gen, left, next, asleep; int jobs; void (*job)(void *, int); void *arg; pthread_mutex_t lock; pthread_cond_t wake; } pool;
static void work(pool *p) { int k; while ((k = atomic_fetch_add(&p->next, 1)) < p->jobs) p->job(p->arg, k); }
static void rest(pool *p, int seen) {
    pthread_mutex_lock(&p->lock); atomic_fetch_add(&p->asleep, 1);
    while (atomic_load(&p->gen) == seen) pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->asleep, 1); pthread_mutex_unlock(&p->lock);
}
static void *thread(void *v) {
    pool *p = v;
    for (int seen = 0, idle = 0;;) {
        if (atomic_load(&p->gen) == seen) { if (++idle > 200) sched_yield(); if (idle > 1000) rest(p, seen); continue; }
        idle = 0; seen++; work(p); atomic_fetch_sub(&p->left, 1);
    }
    return NULL;
}
static void run(void *self, int jobs, void (*job)(void *arg, int k), void *arg) {
    pool *p = self; p->job = job; p->arg = arg; p->jobs = jobs;
    atomic_store(&p->next, 0); atomic_store(&p->left, p->n - 1); atomic_fetch_add(&p->gen, 1);
    if (atomic_load(&p->asleep)) { pthread_mutex_lock(&p->lock); pthread_cond_broadcast(&p->wake); pthread_mutex_unlock(&p->lock); }
    work(p); while (atomic_load(&p->left) > 0) sched_yield();
}
const cnnc_exec *bench_exec(int threads);
const cnnc_exec *bench_exec(int threads) {
    pool *p = calloc(1, sizeof *p); cnnc_exec *e = calloc(1, sizeof *e); pthread_t t;
    p->n = threads; pthread_mutex_init(&p->lock, NULL); pthread_cond_init(&p->wake, NULL);
    for (int i = 1; i < threads; i++) pthread_create(&t, NULL, thread, p);
    e->threads = threads; e->self = p; e->run = run; return e;
}
"""


def compiler():
    tries = [os.environ.get("CNNC"), os.path.join(ROOT, "build", "release", "cnnc"), os.path.join(ROOT, "build", "ci", "cnnc")]
    return next((os.path.abspath(t) for t in tries if t and os.path.exists(t)), None)


def shared(source, name, flags=()):
    path = os.path.join(TMP, name)
    with open(path + ".c", "w") as f:
        f.write(source)
    subprocess.run(["cc", "-O3", "-march=native", "-D_GNU_SOURCE", "-shared", "-fPIC", path + ".c", "-o", path + ".so", *flags, "-lpthread"], check=True, cwd=TMP)
    return C.CDLL(path + ".so")


class Program:
    """A compiled .cnn text; entry(name, dims, arguments in the header's order) makes a callable without arguments."""

    def __init__(self, text, name, entries, flags=()):
        path = os.path.join(TMP, name + ".cnn")
        with open(path, "w") as f:
            f.write(text)
        start = time.perf_counter()
        p = subprocess.run([compiler(), path, "-o", name + ".so", *flags], cwd=TMP, capture_output=True, text=True)
        if p.returncode:
            raise RuntimeError(p.stderr)
        self.seconds = time.perf_counter() - start
        shim = '#include "%s.h"\n%s' % (name, POOL)
        for e, dims in entries.items():
            formals = ", ".join("int64_t d%d" % k for k in range(dims)) or "void"
            actuals = ", ".join("d%d" % k for k in range(dims))
            shim += "size_t bytes_%s(%s);\nsize_t bytes_%s(%s) { return %s_work_bytes(%s); }\n" % (e, formals, e, formals, e, actuals)
        self.so = C.CDLL(os.path.join(TMP, name + ".so"))
        self.shim = shared(shim, name + "_shim", ["-I" + TMP])
        self.shim.bench_exec.restype = C.c_void_p
        self.execs = {1: None}

    def entry(self, name, dims, *args, hyper=None, threads=1):
        size = getattr(self.shim, "bytes_" + name)
        size.restype = C.c_size_t
        work = np.zeros(size(*[C.c_int64(d) for d in dims]) + 64, np.uint8)
        if threads not in self.execs:
            self.execs[threads] = C.c_void_p(self.shim.bench_exec(threads))
        f = getattr(self.so, name)
        f.restype = C.c_int
        given = [self.execs[threads]] + ([hyper.ctypes.data_as(C.c_void_p)] if hyper is not None else []) + [C.c_int64(d) for d in dims]
        given += [a.ctypes.data_as(C.c_void_p) if isinstance(a, np.ndarray) else a for a in args] + [work.ctypes.data_as(C.c_void_p)]

        def call(keep=(args, hyper, work)):
            status = f(*given)
            if status:
                raise RuntimeError("%s returned %d" % (name, status))
        return call


def hyper(n_total=0, seed=0, formals=0):
    """The hyper struct of an estimator: size, prior, n_total, epoch, seed, formals of 8 bytes at their defaults elsewhere."""
    h = np.zeros(5 + formals, np.int64)
    h[0] = h.nbytes
    h[1:2].view(np.float64)[0] = 1.0
    h[2], h[4] = n_total, seed
    return h


_peak = []


def peak(real, threads=1):
    """A callable of the peak loop on one core, and its operations."""
    if not _peak:
        _peak.append(shared(PEAK, "peak"))
    f = getattr(_peak[0], "peak_" + real)
    f.restype, n = C.c_double, 30000
    return (lambda: f(C.c_long(n))), f(C.c_long(n)) * threads


def interleave(calls, rounds):
    """Best seconds a call of every system, measured in turn: other work on the machine meets all of them."""
    count, best = {}, {}
    for k, f in calls.items():
        f()
        start = time.perf_counter()
        f()
        count[k] = max(1, int(0.005 / max(time.perf_counter() - start, 1e-9)))
        best[k] = float("inf")
    for _ in range(rounds):
        for k, f in calls.items():
            time.sleep(0.01)  # threads of the one before may spin for a while after their calls
            start = time.perf_counter()
            for _ in range(count[k]):
                f()
            best[k] = min(best[k], (time.perf_counter() - start) / count[k])
    return best


_cores = sorted(os.sched_getaffinity(0))


def pin(threads):
    """This process, and the libraries' threads with it, keep to so many cores; no number: all of them again."""
    os.sched_setaffinity(0, set(_cores[:threads] if threads else _cores))


def clean():
    shutil.rmtree(TMP, ignore_errors=True)
