/* Tiles that do not fit: kernels whose innermost loops move vectors to and from the stack.
 *
 * A kernel with a tile has LLVM say whether its frame has room for a vector ("warn-stack-size", a
 * comparison of two numbers). Those few are compiled once more, to assembly, where comments say
 * what is a spill and which blocks are innermost loops. */
#include <string.h>

#include "codegen/emit.h"

static int most_carried(const LoopBody *b) {
    int most = 0;
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        int inside = most_carried(&s->body);
        most = s->n_carried > most ? s->n_carried : most;
        most = inside > most ? inside : most;
    }
    return most;
}

static bool is_tile(const LoopModule *m, Str name) {
    for (int k = 0; k < m->tiles.n; k++)
        if (m->tiles.p[k].name == name)
            return true;
    return false;
}

bool spills_watched(const Emit *e, const Kernel *k) {
    if (!e->o->spills || most_carried(&k->s->body) < 2) /* packing has the same name */
        return false;
    for (int j = 0; j < k->loops.n; j++)
        if (is_tile(e->m, k->loops.p[j]->name))
            return true;
    return false;
}

/* Saved registers take up to 48 bytes on x86; vectors of 32 bytes and more are aligned, which makes
 * the least frame with one 56. */
void spills_watch(Emit *e, LLVMValueRef fn) {
    enum { SAVED = 48 };
    int bytes = e->m->target->vector_bytes,
        least = bytes >= 32 && bytes <= SAVED ? SAVED : bytes - 1;
    emit_function_attribute(e, fn, "warn-stack-size", str_fmt(e->ctx, "%d", least));
}

static bool within(const char *line, size_t len, const char *word) {
    size_t n = strlen(word);
    for (size_t at = 0; at + n <= len; at++)
        if (memcmp(line + at, word, n) == 0)
            return true;
    return false;
}

/* Lines with a vector's spill or reload in blocks that are innermost loops. */
static int in_innermost_loops(const char *text) {
    static const char *const sizes[] = {"16-byte ", "32-byte ", "64-byte "};
    bool innermost = false;
    int n = 0;
    for (const char *line = text; *line;) {
        const char *end = strchr(line, '\n');
        size_t len = end ? (size_t)(end - line) : strlen(line);
        bool label = *line == '.' && within(line, len, ":");
        if (label)
            innermost = false;
        if (within(line, len, "Inner Loop Header"))
            innermost = true;
        for (size_t k = 0; innermost && k < sizeof sizes / sizeof *sizes; k++)
            n += within(line, len, sizes[k]) &&
                 (within(line, len, "Spill") || within(line, len, "Reload"));
        line += len + (end != NULL);
    }
    return n;
}

void spills_note(const Emit *e, const char *what) {
    for (int k = 0; k < e->kernels->list.n; k++) {
        const Kernel *x = e->kernels->list.p[k];
        if (!spills_watched(e, x) || !strstr(what, str_fmt(e->ctx, "'%s'", x->symbol)))
            continue;
        const char *text = object_kernel_assembly(e, x);
        if (!text || !in_innermost_loops(text))
            continue;
        int sums = most_carried(&x->s->body);
        for (int j = 0; j < x->loops.n; j++) {
            LoopTile t = {x->loops.p[j]->name, sums};
            vec_push(&e->ctx->perm, &e->o->spills->tiles, t);
        }
    }
}
