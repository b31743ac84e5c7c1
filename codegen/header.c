/* The C header and the manifest of a compiled module: what ir/abi.h says, as C and as JSON. */
#include <string.h>

#include "codegen/codegen.h"

/* ---- dims as C: saturating at SIZE_MAX, so that a size that overflows is never small; operands of a maximum that are
 * negative count as 0 */

static void c_dim(Ctx *ctx, StrBuf *sb, Dim d);

static void c_term(Ctx *ctx, StrBuf *sb, DimTerm t) {
    for (int k = 0; k < t.n_atoms; k++)
        sb_put(sb, "cnnc_mul(");
    sb_printf(sb, "%lld", (long long)(t.coef < 0 ? -t.coef : t.coef));
    for (int k = 0; k < t.n_atoms; k++) {
        sb_put(sb, ", ");
        if (t.atoms[k]->sym) {
            sb_put(sb, abi_ident(ctx, t.atoms[k]->sym->name));
        } else {
            sb_put(sb, t.atoms[k]->kind == DIM_FLOOR ? "cnnc_div(" : "cnnc_max(");
            c_dim(ctx, sb, t.atoms[k]->num);
            sb_put(sb, ", ");
            c_dim(ctx, sb, t.atoms[k]->den);
            sb_put(sb, ")");
        }
        sb_put(sb, ")");
    }
}

/* cnnc_sub(sum of the positive terms, sum of the negative ones) */
static void c_sum(Ctx *ctx, StrBuf *sb, Dim d, bool positive) {
    int n = 0;
    for (int k = 0; k < dim_n_terms(d); k++)
        n += (dim_term(d, k).coef > 0) == positive;
    for (int k = 1; k < n; k++)
        sb_put(sb, "cnnc_add(");
    int seen = 0;
    for (int k = 0; k < dim_n_terms(d); k++) {
        if ((dim_term(d, k).coef > 0) != positive)
            continue;
        sb_put(sb, seen ? ", " : "");
        c_term(ctx, sb, dim_term(d, k));
        sb_put(sb, seen++ ? ")" : "");
    }
    if (!n)
        sb_put(sb, "0");
}

static void c_dim(Ctx *ctx, StrBuf *sb, Dim d) {
    bool negative = false;
    for (int k = 0; k < dim_n_terms(d); k++)
        negative |= dim_term(d, k).coef < 0;
    sb_put(sb, negative ? "cnnc_sub(" : "");
    c_sum(ctx, sb, d, true);
    if (negative) {
        sb_put(sb, ", ");
        c_sum(ctx, sb, d, false);
        sb_put(sb, ")");
    }
}

static void dim_params(Ctx *ctx, StrBuf *sb, const DimSym *dims, int n) {
    for (int k = 0; k < n; k++)
        sb_printf(sb, "%sint64_t %s", k ? ", " : "", abi_ident(ctx, dims[k]->name));
    sb_put(sb, n ? "" : "void");
}

static void unused_dims(Ctx *ctx, StrBuf *sb, Dim d, const DimSym *dims, int n) {
    for (int k = 0; k < n; k++)
        if (!dim_mentions(d, dims[k]))
            sb_printf(sb, "(void)%s; ", abi_ident(ctx, dims[k]->name));
}

static bool tensors_mention(const AbiTensor *t, int n, DimSym s) {
    for (int k = 0; k < n; k++)
        for (int x = 0; x < t[k].type.rank; x++)
            if (dim_mentions(t[k].type.shape[x], s))
                return true;
    return false;
}

/* The dims on which the sizes of a block's params and states depend, in order; out has room for all. */
static int dims_of_sizes(const AbiBlock *b, DimSym *out) {
    int n = 0;
    for (int k = 0; k < b->dims.n; k++) {
        DimSym s = b->dims.p[k];
        if (tensors_mention(b->params.p, b->params.n, s) || tensors_mention(b->states.p, b->states.n, s))
            out[n++] = s;
    }
    return n;
}

static void size_of_block(Ctx *ctx, StrBuf *sb, const AbiBlock *b, const AbiSize *z, const char *comment) {
    int64_t k;
    if (dim_is_const(z->value, &k)) {
        sb_printf(sb, "#define %s %lld%s /* %s */\n", z->name, (long long)k, z->suffix, comment);
        return;
    }
    DimSym *dims = ARENA_ARRAY(&ctx->perm, DimSym, b->dims.n + 1);
    int n = dims_of_sizes(b, dims);
    sb_printf(sb, "static inline int64_t %s(", z->name);
    dim_params(ctx, sb, dims, n);
    sb_put(sb, ") { ");
    unused_dims(ctx, sb, z->value, dims, n);
    sb_put(sb, "return (int64_t)");
    c_dim(ctx, sb, z->value);
    sb_printf(sb, "; } /* %s */\n", comment);
}

/* ---- comments */

static void doc_comment(StrBuf *sb, Str doc) {
    if (!doc || !*doc)
        return;
    sb_put(sb, "/* ");
    for (const char *s = doc; *s; s++) {
        if (s[0] == '*' && s[1] == '/')
            sb_put(sb, "* "); /* a comment cannot end here */
        else
            sb_putc(sb, *s);
    }
    sb_put(sb, " */\n");
}

static const char *tensor_comment(Ctx *ctx, const LoopModule *m, const AbiTensor *t) {
    StrBuf sb = sb_new(&ctx->perm);
    type_print(&sb, t->type);
    return str_fmt(ctx, "%s  %s:%u", sb.text, m->source, t->span.line);
}

/* ---- blocks */

static void hyper_struct(Ctx *ctx, StrBuf *sb, const AbiBlock *b) {
    sb_printf(sb, "typedef struct %s_hyper { size_t size; double prior; /* 1 MAP, 0 MLE */ int64_t n_total, epoch; uint64_t seed;", b->cname);
    for (int k = 0; k < b->formals.n; k++)
        sb_printf(sb, " %s %s;", b->formals.p[k].is_int ? "int64_t" : "double", abi_field(ctx, b->formals.p[k].name));
    sb_printf(sb, " } %s_hyper;\n#define %s_HYPER_INIT { sizeof(%s_hyper), 1.0, 0, 0, 0", b->cname, abi_upper(ctx, b->cname), b->cname);
    for (int k = 0; k < b->formals.n; k++) {
        sb_put(sb, ", ");
        if (b->formals.p[k].is_int)
            sb_printf(sb, "%lld", (long long)b->formals.p[k].value);
        else
            sb_real(sb, b->formals.p[k].value);
    }
    sb_put(sb, " }\n");
}

static void block(Ctx *ctx, StrBuf *sb, const LoopModule *m, const AbiBlock *b) {
    sb_printf(sb, "\n/* ---- %s, %s:%u */\n", b->name, m->source, b->span.line);
    doc_comment(sb, b->doc);
    if (b->is_estimator)
        hyper_struct(ctx, sb, b);
    AbiSizes sizes = abi_sizes(ctx, sb->arena, b);
    for (int k = 0; k < sizes.n; k++)
        size_of_block(ctx, sb, b, &sizes.p[k], sizes.p[k].tensor ? tensor_comment(ctx, m, sizes.p[k].tensor) : sizes.p[k].comment);
}

/* ---- entries */

static const AbiBlock *block_of(const LoopModule *m, const AbiEntry *e) {
    for (int k = 0; k < m->blocks.n; k++)
        if (m->blocks.p[k]->name == e->decl)
            return m->blocks.p[k];
    return NULL;
}

static bool has_arg(const AbiEntry *e, AbiArgKind kind) {
    for (int k = 0; k < e->args.n; k++)
        if (e->args.p[k].kind == kind)
            return true;
    return false;
}

static bool is_macro(Ctx *ctx, const LoopModule *m, const char *name) {
    if (!strchr(name, '_') || strcmp(abi_upper(ctx, str_of(ctx, name)), name) != 0)
        return false;
    for (int k = 0; k < m->blocks.n; k++) {
        AbiSizes sizes = abi_sizes(ctx, &ctx->perm, m->blocks.p[k]);
        for (int j = 0; j < sizes.n; j++)
            if (sizes.p[j].is_macro && strcmp(sizes.p[j].name, name) == 0)
                return true;
    }
    return false;
}

/* C names of arguments. Inputs and dims that C or another argument calls so get a `_`, as do those that a macro would replace. */
static const char *arg_name(Ctx *ctx, const LoopModule *m, const AbiEntry *e, const AbiArg *a) {
    bool given = a->kind == ARG_INPUT || a->kind == ARG_SCALAR;
    const char *name = a->kind == ARG_DIM ? a->dim->name : strchr(a->name, '.') ? abi_lower(ctx, abi_upper(ctx, a->name)) : a->name;
    if (a->kind == ARG_DIM || given)
        name = abi_ident(ctx, name);
    for (int k = 0; given && k < e->args.n; k++) {
        const AbiArg *other = &e->args.p[k];
        const char *taken = other->kind == ARG_DIM ? abi_ident(ctx, other->name) : other->name;
        if (other == a || (strcmp(name, taken) != 0 && !is_macro(ctx, m, name)))
            continue;
        name = str_fmt(ctx, "%s_", name);
        k = -1;
    }
    return name;
}

static void prototype(Ctx *ctx, StrBuf *sb, const LoopModule *m, const AbiEntry *e) {
    const AbiBlock *b = block_of(m, e);
    sb_printf(sb, "int %s(", e->cname);
    for (int k = 0; k < e->args.n; k++) {
        const AbiArg *a = &e->args.p[k];
        sb_put(sb, k ? ", " : "");
        if (a->kind == ARG_HYPER)
            sb_printf(sb, "const %s_hyper *h", b->cname);
        else if (a->kind == ARG_OPT)
            sb_put(sb, "void *opt");
        else {
            const char *type = abi_arg_ctype(a);
            sb_printf(sb, "%s%s%s", type, type[strlen(type) - 1] == '*' ? "" : " ", arg_name(ctx, m, e, a));
        }
    }
    sb_put(sb, ");\n");
}

static void work_bytes(Ctx *ctx, StrBuf *sb, const LoopFunc *f) {
    const AbiEntry *e = f->entry;
    if (!has_arg(e, ARG_WORK))
        return;
    sb_printf(sb, "static inline size_t %s_work_bytes(", e->cname);
    dim_params(ctx, sb, f->dims.p, f->dims.n);
    sb_put(sb, ") { ");
    unused_dims(ctx, sb, e->work_bytes, f->dims.p, f->dims.n);
    sb_put(sb, "return ");
    c_dim(ctx, sb, e->work_bytes);
    sb_put(sb, "; }\n");
}

/* ---- the header */

static const char SHARED[] =
    "#ifndef CNNC_EXEC                                       /* shared by all such headers */\n"
    "#define CNNC_EXEC 1\n"
    "typedef struct cnnc_exec { int threads; void *self; const volatile int *stop;        /* NULL: the calling thread */\n"
    "    void (*run)(void *self, int jobs, void (*job)(void *arg, int k), void *arg); } cnnc_exec;\n"
    "typedef struct cnnc_fit_info { size_t size; int method, iterations; int64_t observations, where;\n"
    "    double loglik, logprior, grad_norm, s2, df, r2; } cnnc_fit_info;      /* where: the parameter at fault, else -1 */\n"
    "/* Sizes: they saturate at SIZE_MAX instead of wrapping around. */\n"
    "static inline size_t cnnc_add(size_t a, size_t b) { return a > SIZE_MAX - b ? SIZE_MAX : a + b; }\n"
    "static inline size_t cnnc_sub(size_t a, size_t b) { return a == SIZE_MAX ? SIZE_MAX : a < b ? 0 : a - b; }\n"
    "static inline size_t cnnc_mul(size_t a, int64_t b) {\n"
    "    return b <= 0 ? 0 : a > SIZE_MAX / (size_t)b ? SIZE_MAX : a * (size_t)b;\n"
    "}\n"
    "static inline int64_t cnnc_div(size_t a, size_t b) { return b == 0 || a > INT64_MAX ? INT64_MAX : (int64_t)(a / b); }\n"
    "#endif\n"
    "#ifndef CNNC_MAX\n"
    "#define CNNC_MAX 1\n"
    "static inline int64_t cnnc_max(size_t a, size_t b) { return a < b ? cnnc_div(b, 1) : cnnc_div(a, 1); }\n"
    "#endif\n";

const char *codegen_header(Ctx *ctx, Arena *arena, const LoopModule *m, const char *base, const char *sha256) {
    StrBuf sb = sb_new(arena);
    Str guard = abi_upper(ctx, str_fmt(ctx, "%s_h", base));
    sb_printf(&sb, "/* %s.h - generated by cnnc " CNNC_VERSION " from %s (sha256 %s); do not edit */\n", base, m->source, sha256);
    sb_printf(&sb, "#ifndef CNNC_GENERATED_%s\n#define CNNC_GENERATED_%s\n\n#include <stddef.h>\n#include <stdint.h>\n\n", guard, guard);
    sb_put(&sb, "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
    sb_put(&sb, SHARED);
    for (int k = 0; k < m->blocks.n; k++)
        block(ctx, &sb, m, m->blocks.p[k]);
    for (int k = 0; k < m->funcs.n; k++) {
        const LoopFunc *f = m->funcs.p[k];
        sb_put(&sb, "\n");
        doc_comment(&sb, f->entry->doc);
        work_bytes(ctx, &sb, f);
        prototype(ctx, &sb, m, f->entry);
    }
    sb_printf(&sb, "\nconst char *%s_strerror(int code);                 /* static string, has file:line */\n", base);
    sb_printf(&sb, "extern const char %s_manifest[];                   /* JSON */\n", base);
    sb_put(&sb, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
    return sb.text;
}

/* ---- the manifest */

static void json_text(StrBuf *sb, const char *s) {
    sb_putc(sb, '"');
    for (; s && *s; s++) {
        if (*s == '"' || *s == '\\')
            sb_printf(sb, "\\%c", *s);
        else if ((unsigned char)*s < 32)
            sb_printf(sb, "\\u%04x", (unsigned)*s);
        else
            sb_putc(sb, *s);
    }
    sb_putc(sb, '"');
}

static void json_type(StrBuf *sb, Type t) {
    sb_printf(sb, "\"dtype\":\"%s\",\"shape\":[", dtype_name(t.dt));
    for (int k = 0; k < t.rank; k++) {
        StrBuf d = sb_new(sb->arena);
        dim_print(&d, t.shape[k]);
        sb_put(sb, k ? "," : "");
        if (dim_is_const(t.shape[k], NULL))
            sb_put(sb, d.text);
        else
            json_text(sb, d.text);
    }
    sb_put(sb, "]");
}

static void json_tensors(StrBuf *sb, const char *key, const AbiTensor *t, int n) {
    sb_printf(sb, ",\"%s\":[", key);
    for (int k = 0; k < n; k++) {
        sb_put(sb, k ? ",{\"name\":" : "{\"name\":");
        json_text(sb, t[k].path);
        sb_put(sb, ",");
        json_type(sb, t[k].type);
        sb_put(sb, "}");
    }
    sb_put(sb, "]");
}

static void json_block(StrBuf *sb, const AbiBlock *b) {
    sb_put(sb, "{\"name\":");
    json_text(sb, b->name);
    sb_printf(sb, ",\"kind\":\"%s\",\"real\":\"%s\"", b->is_estimator ? "estimator" : "model", dtype_name(b->real));
    json_tensors(sb, "params", b->params.p, b->params.n);
    json_tensors(sb, "state", b->states.p, b->states.n);
    sb_put(sb, ",\"formals\":[");
    for (int k = 0; k < b->formals.n; k++) {
        sb_put(sb, k ? ",{\"name\":" : "{\"name\":");
        json_text(sb, b->formals.p[k].name);
        sb_put(sb, ",\"value\":");
        sb_real(sb, b->formals.p[k].value);
        sb_put(sb, "}");
    }
    sb_put(sb, "],\"data\":[");
    for (int k = 0; k < b->data.n; k++) {
        sb_put(sb, k ? ",{\"name\":" : "{\"name\":");
        json_text(sb, b->data.p[k].name);
        sb_put(sb, ",");
        json_type(sb, b->data.p[k].type);
        sb_put(sb, "}");
    }
    sb_put(sb, "]}");
}

const char *codegen_manifest(Ctx *ctx, Arena *arena, const LoopModule *m, const char *base, const char *sha256) {
    StrBuf sb = sb_new(arena);
    (void)ctx;
    sb_put(&sb, "{\"name\":");
    json_text(&sb, base);
    sb_put(&sb, ",\"source\":");
    json_text(&sb, m->source);
    sb_printf(&sb, ",\"sha256\":\"%s\",\"cnnc\":\"" CNNC_VERSION "\",\"target\":\"%s\",\"blocks\":[", sha256, m->target->name);
    for (int k = 0; k < m->blocks.n; k++) {
        sb_put(&sb, k ? "," : "");
        json_block(&sb, m->blocks.p[k]);
    }
    sb_put(&sb, "],\"entries\":[");
    for (int k = 0; k < m->funcs.n; k++) {
        const AbiEntry *e = m->funcs.p[k]->entry;
        sb_put(&sb, k ? ",{\"name\":" : "{\"name\":");
        json_text(&sb, e->cname);
        sb_put(&sb, ",\"declaration\":");
        json_text(&sb, e->decl);
        sb_put(&sb, ",\"arguments\":[");
        for (int j = 0; j < e->args.n; j++) {
            sb_put(&sb, j ? "," : "");
            json_text(&sb, e->args.p[j].name);
        }
        sb_put(&sb, "]}");
    }
    sb_put(&sb, "]}");
    return sb.text;
}
