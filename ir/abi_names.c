/* Names on the C side: those that C has already, and those that a block gives its header. */
#include <string.h>

#include "ir/abi.h"
#include "ir/c_names.def"

static bool has_word(const char *words, const char *name) {
    size_t n = strlen(name);
    for (const char *at = words; n && (at = strstr(at, name)) != NULL; at++)
        if (at[-1] == ' ' && at[n] == ' ')
            return true;
    return false;
}

const char *abi_taken(Ctx *ctx, const char *name) {
    if (has_word(C_KEYWORDS, name))
        return "a keyword of C";
    if (has_word(CPP_KEYWORDS, name))
        return "a keyword of C++";
    if (has_word(C_TYPES, name))
        return "a type or macro of C";
    if (has_word(C_FUNCTIONS, name))
        return "a name of C's library";
    if (strncmp(name, "__", 2) == 0)
        return "a name that C keeps for its compilers: it begins with `__`";
    for (const char *const *own = (const char *const[]){"cnnc_", "rt_", NULL}; *own; own++)
        if (strncmp(name, *own, strlen(*own)) == 0)
            return str_fmt(ctx, "a name that cnnc keeps for itself: it begins with `%s`", *own);
    return NULL;
}

const char *abi_ident(Ctx *ctx, const char *name) {
    bool taken = has_word(C_KEYWORDS, name) || has_word(CPP_KEYWORDS, name) ||
                 has_word(C_TYPES, name) || has_word(OWN_ARGUMENTS, name);
    return taken ? str_fmt(ctx, "%s_", name) : name;
}

const char *abi_field(Ctx *ctx, const char *name) {
    static const char FIELDS[] = " size prior n_total epoch seed ";
    bool taken = has_word(C_KEYWORDS, name) || has_word(CPP_KEYWORDS, name) ||
                 has_word(C_TYPES, name) || has_word(FIELDS, name);
    return taken ? str_fmt(ctx, "%s_", name) : name;
}

/* ---- sizes and offsets of a block */

typedef struct Sizes {
    Ctx *ctx;
    Arena *arena;
    const AbiBlock *block;
    AbiSizes all;
} Sizes;

/* A constant is a macro, a formula a function of the dims; `formula` is the latter's name. */
static AbiSize *add(Sizes *s, const char *name, const char *formula, Dim value) {
    AbiSize row = {
        .value = value, .suffix = "", .comment = "", .is_macro = dim_is_const(value, NULL)};
    Str upper =
        abi_upper(s->ctx, str_fmt(s->ctx, "%s_%s", s->block->cname, row.is_macro ? name : formula));
    row.name = row.is_macro ? upper : abi_lower(s->ctx, upper);
    vec_push(s->arena, &s->all, row);
    return &s->all.p[s->all.n - 1];
}

static Dim count_of(Ctx *ctx, const AbiTensor *t, int n, bool learned) {
    Dim sum = dim_const(ctx, 0);
    for (int k = 0; k < n; k++)
        sum =
            dim_add(ctx, sum, learned && t[k].learned ? t[k].learned : type_count(ctx, t[k].type));
    return sum;
}

static Dim opt_bytes(Ctx *ctx, const AbiBlock *b) {
    bool header = b->opts.n && b->opts.p[0].type.dt == DT_I64;
    Dim sum = dim_const(ctx, header ? 0 : 16);
    for (int k = 0; k < b->opts.n; k++)
        sum = dim_add(ctx, sum,
                      dim_scale(ctx, type_count(ctx, b->opts.p[k].type),
                                (int64_t)dtype_size(b->opts.p[k].type.dt)));
    return sum;
}

/* Parameters of a called model stand under its own names, after the offset of its block. */
static bool in_sub(const AbiBlock *b, const AbiTensor *t) {
    for (int k = 0; k < b->subs.n; k++) {
        size_t n = strlen(b->subs.p[k].path);
        if (strncmp(t->path, b->subs.p[k].path, n) == 0 && t->path[n] == '.')
            return true;
    }
    return false;
}

static void add_tensors(Sizes *s, const AbiTensor *t, int n, const char *kind) {
    Dim at = dim_const(s->ctx, 0);
    for (int k = 0; k < n; k++) {
        Dim here = t[k].offset ? t[k].offset : at;
        Str name = str_fmt(s->ctx, "%s%s", kind, t[k].path);
        if (!s->block->is_estimator || !in_sub(s->block, &t[k]))
            add(s, name, str_fmt(s->ctx, "%s_offset", name), here)->tensor = &t[k];
        at = dim_add(s->ctx, at, type_count(s->ctx, t[k].type));
    }
}

AbiSizes abi_sizes(Ctx *ctx, Arena *arena, const AbiBlock *b) {
    Sizes s = {ctx, arena, b, {0}};
    add(&s, "params", "params", count_of(ctx, b->params.p, b->params.n, false))->comment =
        "reals stored";
    add(&s, "learned", "learned", count_of(ctx, b->params.p, b->params.n, true))->comment =
        "of them learned";
    if (b->states.n)
        add(&s, "state", "state", count_of(ctx, b->states.p, b->states.n, false))->comment =
            "reals of state";
    if (b->using_.present) {
        AbiSize *row = add(&s, "opt_bytes", "opt_bytes", opt_bytes(ctx, b));
        row->suffix = "u";
        row->comment = "all zero: fresh";
    }
    for (int k = 0; k < b->subs.n; k++)
        if (b->is_estimator && b->subs.p[k].offset)
            add(&s, b->subs.p[k].path, b->subs.p[k].path, b->subs.p[k].offset)->comment =
                str_fmt(ctx, "the parameters of %s from here", b->subs.p[k].model);
    add_tensors(&s, b->params.p, b->params.n, "");
    add_tensors(&s, b->states.p, b->states.n, "state_");
    return s.all;
}
