/* Gradients of bilinear operations are exact: on integers, a difference of step 1 is the
 * derivative, in any order of summation, and the compiled gradient must be equal to the last bit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "codegen/codegen.h"
#include "frontend/frontend.h"
#include "frontend/parse.h"
#include "tests/unit/graph_helper.h"

/* The operation as an expression of x and w, with their shapes and that of the result. */
typedef struct Bilinear {
    const char *name, *x, *w, *out, *op;
} Bilinear;

static const Bilinear cases[] = {
    {"product of matrices", "[5, 7]", "[7, 9]", "[5, 9]", "x @ w"},
    {"transposed product", "[7, 5]", "[9, 7]", "[5, 9]", "x' @ w'"},
    {"matrix and vector", "[6, 17]", "[17]", "[6]", "x @ w"},
    {"outer product", "[19]", "[5]", "[19, 5]", "for i < 19, j < 5 => x[i] * w[j]"},
    {"batched product", "[3, 4, 5]", "[3, 5, 6]", "[3, 4, 6]",
     "for b < 3, i < 4, j < 6 => sum(for k < 5 => x[b, i, k] * w[b, k, j])"},
    {"convolution", "[2, 3, 7, 6]", "[4, 3, 3, 3]", "[2, 4, 5, 4]", "conv2d(x, w)"},
    {"convolution, padding", "[1, 2, 6, 6]", "[3, 2, 5, 5]", "[1, 3, 6, 6]",
     "conv2d(x, w, pad = 2)"},
    {"convolution, stride", "[2, 2, 9, 8]", "[3, 2, 3, 3]", "[2, 3, 4, 3]",
     "conv2d(x, w, stride = 2)"},
    {"convolution, stride 3 and padding", "[1, 2, 8, 11]", "[2, 2, 2, 4]", "[1, 2, 3, 4]",
     "conv2d(x, w, stride = 3, pad = 1)"},
    {"convolution, dilation", "[1, 2, 9, 9]", "[2, 2, 3, 3]", "[1, 2, 7, 7]",
     "conv2d(x, w, dilate = 2, pad = 1)"},
    {"convolution, stride and dilation", "[1, 1, 12, 9]", "[2, 1, 3, 2]", "[1, 2, 4, 4]",
     "conv2d(x, w, stride = 2, dilate = [3, 2], pad = [0, 1, 1, 0])"},
    {"convolution in groups", "[1, 4, 6, 5]", "[6, 2, 3, 3]", "[1, 6, 4, 3]",
     "groupconv2d(x, w, 2)"},
    {"depthwise convolution", "[2, 5, 6, 6]", "[5, 1, 3, 3]", "[2, 5, 3, 3]",
     "groupconv2d(x, w, 5, stride = 2, pad = 1)"},
    {"convolution by hand, reversed", "[23]", "[5]", "[19]",
     "for i < 19 => sum(for k < 5 => x[i + 4 - k] * w[k])"},
    {"upsampling", "[6, 6]", "[2, 2]", "[12, 12]",
     "for i < 12, j < 12 => x[i // 2, j // 2] * w[i % 2, j % 2]"},
    {"sum over a window, weighted", "[8, 8]", "[3, 4]", "[3, 4]",
     "for i < 3, j < 4 => w[i, j] * sum(for a < 3, b < 2 => x[2*i + a, 2*j + b])"},
    {"part of a triangle", "[6, 6]", "[6]", "[6]",
     "for i < 6 => sum(for j < 6 => if j < i then x[i, j] * w[j] else 0)"},
    {"diagonal", "[7, 7]", "[7]", "[7]", "for i < 7 => x[i, i] * w[6 - i]"},
};

enum { VALUE, GRAD_X, GRAD_W, ENTRIES };

static const char *program_of(Ctx *ctx, const Bilinear *b) {
    StrBuf sb = sb_new(&ctx->perm);
    static const char *const names[ENTRIES] = {"value", "grad_x", "grad_w"};
    for (int k = 0; k < ENTRIES; k++)
        sb_printf(
            &sb,
            "def %s(x: %s, w: %s, c: %s) -> %s {\n  y = %s\n  L = sum(c * y)\n  return %s\n}\n",
            names[k], b->x, b->w, b->out,
            k == GRAD_X   ? b->x
            : k == GRAD_W ? b->w
                          : "real",
            b->op,
            k == GRAD_X   ? "grad(L, x)"
            : k == GRAD_W ? "grad(L, w)"
                          : "L");
    return str_of(ctx, sb.text);
}

typedef struct Compiled {
    Ctx *ctx;
    LoopModule *m;
    Jit *jit;
    DType real;
    void *work;
} Compiled;

static Compiled compile(Ctx *ctx, const Bilinear *b, DType real) {
    const char *text = program_of(ctx, b);
    uint32_t file = ctx_add_file(ctx, "bilinear.cnn", text, strlen(text));
    LowerOptions o = {.real = real};
    AstFile *ast = parse_file(ctx, file);
    Module *m = diag_any_error(ctx) ? NULL : frontend_lower(ctx, &ctx->perm, ast, &o);
    if (!m)
        fail_msg("%s\n%s", text, graph_messages(ctx));
    Unit u = graph_unit(ctx, m);
    u.target = codegen_host(ctx);
    StrBuf dumps = sb_new(&ctx->perm);
    PassOptions po = {.dumps = &dumps};
    const char *why = NULL;
    if (!pass_run(&u, &po, &why))
        fail_msg("%s", why ? why : "the pipeline");
    Compiled c = {.ctx = ctx, .m = u.loops, .real = real};
    CodegenOptions co = {.level = 2};
    c.jit = jit_open(ctx, u.loops, &co);
    assert_non_null(c.jit);
    size_t most = 0;
    for (int k = 0; k < u.loops->funcs.n; k++) {
        size_t bytes = codegen_work_bytes(u.loops->funcs.p[k]->entry, NULL, 0);
        most = bytes > most ? bytes : most;
    }
    c.work = arena_alloc(&ctx->perm, most + 64);
    return c;
}

static int64_t count_of(const LoopFunc *f, Str name) {
    for (int k = 0; k < f->entry->args.n; k++) {
        const AbiArg *a = &f->entry->args.p[k];
        int64_t bytes;
        if (a->kind == ARG_INPUT && strcmp(a->name, name) == 0) {
            assert_true(dim_is_const(a->bytes, &bytes));
            return bytes / (int64_t)dtype_size(a->dt);
        }
    }
    fail_msg("no input %s", name);
    return 0;
}

/* The result of an entry, as doubles. */
static double *run(const Compiled *c, const char *entry, const double *const *in, int64_t n_out,
                   const int64_t *n_in) {
    const LoopFunc *f = NULL;
    for (int k = 0; k < c->m->funcs.n; k++)
        if (strcmp(c->m->funcs.p[k]->entry->decl, entry) == 0)
            f = c->m->funcs.p[k];
    assert_non_null(f);
    double *out = ARENA_ARRAY(&c->ctx->perm, double, n_out + 1);
    float *narrow[4];
    CnncArg a[8];
    int input = 0;
    for (int k = 0; k < f->entry->args.n; k++) {
        a[k] = (CnncArg){0};
        bool is_out = f->entry->args.p[k].kind == ARG_OUT;
        if (f->entry->args.p[k].kind == ARG_WORK)
            a[k].p = c->work;
        if (f->entry->args.p[k].kind != ARG_INPUT && !is_out)
            continue;
        int slot = is_out ? 3 : input++;
        int64_t n = is_out ? n_out : n_in[slot];
        a[k].p = is_out ? out : (void *)(uintptr_t)in[slot];
        if (c->real == DT_F64)
            continue;
        a[k].p = narrow[slot] = ARENA_ARRAY(&c->ctx->perm, float, n + 1);
        for (int64_t j = 0; j < n && !is_out; j++)
            narrow[slot][j] = (float)in[slot][j];
    }
    assert_int_equal(jit_call(c->jit, f->entry->cname, a), 0);
    for (int64_t j = 0; j < n_out && c->real == DT_F32; j++)
        out[j] = (double)narrow[3][j];
    return out;
}

static void check_with(const Bilinear *b, DType real) {
    Ctx *ctx = ctx_new(0);
    Compiled c = compile(ctx, b, real);
    static const char *const names[3] = {"x", "w", "c"};
    double *in[3];
    int64_t n[3];
    for (int k = 0; k < 3; k++) {
        n[k] = count_of(c.m->funcs.p[0], str_of(ctx, names[k]));
        in[k] = ARENA_ARRAY(&ctx->perm, double, n[k]);
        for (int64_t j = 0; j < n[k]; j++)
            in[k][j] = (double)((j * 29 + k * 7) % 13 - 6);
    }
    const double *const args[3] = {in[0], in[1], in[2]};
    double before = run(&c, "value", args, 1, n)[0];
    for (int k = 0; k < 2; k++) {
        const double *grad = run(&c, k == 0 ? "grad_x" : "grad_w", args, n[k], n);
        for (int64_t j = 0; j < n[k]; j++) {
            in[k][j] += 1;
            double difference = run(&c, "value", args, 1, n)[0] - before;
            in[k][j] -= 1;
            if (grad[j] != difference)
                fail_msg("%s: d L / d %s[%lld] is %.17g, a step of 1 gives %.17g", b->name,
                         names[k], (long long)j, grad[j], difference);
        }
    }
    jit_close(c.jit);
    ctx_free(ctx);
}

static void test_case(void **state) {
    check_with(*state, DT_F64);
    check_with(*state, DT_F32);
}

int main(void) {
    enum { N = sizeof cases / sizeof *cases };
    struct CMUnitTest tests[N];
    for (int k = 0; k < N; k++)
        tests[k] = (struct CMUnitTest){.name = cases[k].name,
                                       .test_func = test_case,
                                       .initial_state = (void *)(uintptr_t)&cases[k]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
