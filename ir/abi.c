#include "ir/abi.h"

#include <ctype.h>

bool abi_is_held(const AbiTensor *t, const int64_t *at) {
    int64_t k = 0;
    for (int d = 0; t->mask && d < t->mask->rank; d++)
        k = k * t->mask->extent[d] + at[t->mask->axis[d]];
    return t->mask && !t->mask->learned[k];
}

const char *abi_arg_ctype(const AbiArg *a) {
    static const char *const pointers[][2] = {
        {"void *", "const void *"},       {"uint8_t *", "const uint8_t *"},
        {"int32_t *", "const int32_t *"}, {"int64_t *", "const int64_t *"},
        {"float *", "const float *"},     {"double *", "const double *"}};
    switch (a->kind) {
    case ARG_EXEC:
        return "const cnnc_exec *";
    case ARG_HYPER:
        return "const void *"; /* the header names the block's struct */
    case ARG_DIM:
        return "int64_t";
    case ARG_SEED:
        return "uint64_t";
    case ARG_SCALAR:
        return dtype_is_real(a->dt) ? "double" : "int64_t";
    case ARG_INFO:
        return "cnnc_fit_info *";
    case ARG_WORK:
        return "void *";
    default:
        break;
    }
    return pointers[a->dt][a->is_const];
}

Str abi_lower(Ctx *ctx, Str name) {
    StrBuf sb = sb_new(&ctx->perm);
    for (const char *s = name; *s; s++)
        sb_putc(&sb, (char)tolower((unsigned char)*s));
    return str_intern(ctx, sb.text, sb.len);
}

Str abi_upper(Ctx *ctx, Str path) {
    StrBuf sb = sb_new(&ctx->perm);
    for (const char *s = path; *s; s++)
        sb_putc(&sb, isalnum((unsigned char)*s) ? (char)toupper((unsigned char)*s) : '_');
    return str_intern(ctx, sb.text, sb.len);
}
