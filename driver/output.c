#include "driver/output.h"

#include <string.h>

#include "driver/cache.h"
#include "driver/sha256.h"

bool output_known(const char *kind) {
    static const char *const kinds[] = {"so", "o", "a",  "s",   "ll",
                                        "bc", "h", "py", "dot", "manifest"};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (strcmp(kinds[k], kind) == 0)
            return true;
    return false;
}

static Compiled described(Session *s, LoopModule *m, const char *base, const char *library) {
    char sha[65];
    const SourceFile *source = &s->ctx->files[1];
    sha256_hex(source->text, source->len, sha);
    loop_assign_offsets(m);
    Compiled c = {.m = m, .o = session_codegen(s), .base = base};
    c.header = codegen_header(s->ctx, s->arena, m, base, sha);
    c.manifest = codegen_manifest(s->ctx, s->arena, m, base, sha);
    c.python = codegen_python(s->ctx, m, base, sha, library);
    c.o.base = base;
    c.o.manifest = c.manifest;
    return c;
}

/* Memory, and so the header, depend on the tiles: they are settled here. */
Compiled compiled_of(Session *s, LoopModule *m, const char *base, const char *library) {
    for (;;) {
        CodeSpills spills = {0};
        Compiled c = described(s, m, base, library);
        if (!session_sees_spills(m, &c.o))
            return c;
        c.o.spills = &spills;
        c.objects = cache_objects(s, m, &c.o, &c.n_objects);
        c.o.spills = NULL;
        m = c.objects ? session_next_tiles(s, &spills) : NULL;
        if (!m)
            return c;
    }
}

LoopModule *output_settled(Session *s, LoopModule *m) {
    compiled_of(s, m, "m", "m.so");
    return s->unit.loops;
}

static const char *text_of(const Compiled *c, const char *kind) {
    return strcmp(kind, "h") == 0          ? c->header
           : strcmp(kind, "manifest") == 0 ? c->manifest
           : strcmp(kind, "py") == 0       ? c->python
           : strcmp(kind, "dot") == 0      ? c->dot
                                           : NULL;
}

const char *output_bytes(Session *s, const Compiled *c, const char *kind, size_t *len) {
    static const struct {
        const char *kind;
        EmitKind emit;
    } emitted[] = {{"o", EMIT_OBJECT}, {"s", EMIT_ASM}, {"ll", EMIT_LLVM}, {"bc", EMIT_BITCODE}};
    const char *text = text_of(c, kind);
    *len = text ? strlen(text) : 0;
    for (size_t k = 0; k < sizeof emitted / sizeof *emitted; k++)
        if (strcmp(emitted[k].kind, kind) == 0)
            return codegen_emit(s->ctx, s->arena, c->m, &c->o, emitted[k].emit, len);
    return text;
}

static bool write_so(Session *s, const Compiled *c, const char *path) {
    int n = c->n_objects;
    session_say(s, "linking %s", path);
    const CodeObject *objects = c->objects ? c->objects : cache_objects(s, c->m, &c->o, &n);
    return objects && codegen_link_so(s->ctx, c->m, c->base, objects, n, path);
}

bool output_write(Session *s, const Compiled *c, const char *kind, const char *path) {
    if (strcmp(kind, "so") == 0)
        return write_so(s, c, path);
    size_t len;
    bool archive = strcmp(kind, "a") == 0;
    const char *bytes = output_bytes(s, c, archive ? "o" : kind, &len);
    return bytes && (archive ? codegen_archive(s->ctx, c->base, bytes, len, path)
                             : session_write(s, path, bytes, len));
}
