/* Line entries of the .cnn source: DWARF 4, because gdb shows no lines of JIT objects with DWARF 5. Paths are base names in
 * the directory ".", so that bytes do not depend on where something is built. */
#include <string.h>

#include "codegen/emit.h"

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void module_flag(Emit *e, const char *key, unsigned value) {
    LLVMMetadataRef v = LLVMValueAsMetadata(LLVMConstInt(e->i32, value, 0));
    LLVMAddModuleFlag(e->mod, LLVMModuleFlagBehaviorWarning, key, strlen(key), v);
}

static LLVMMetadataRef file_of(Emit *e, Span span) {
    uint32_t n = span.file <= e->ctx->n_files ? span.file : 0;
    if (!e->di_files[n]) {
        const char *name = n ? base_name(e->ctx->files[n].name) : e->m->source;
        e->di_files[n] = LLVMDIBuilderCreateFile(e->di, name, strlen(name), ".", 1);
    }
    return e->di_files[n];
}

void debug_begin(Emit *e) {
    static const char producer[] = "cnnc " CNNC_VERSION;
    if (!e->o->debug_lines)
        return;
    e->di = LLVMCreateDIBuilder(e->mod);
    e->di_files = ARENA_ARRAY(&e->ctx->perm, LLVMMetadataRef, e->ctx->n_files + 1);
    module_flag(e, "Dwarf Version", 4);
    module_flag(e, "Debug Info Version", 3);
    e->di_unit = LLVMDIBuilderCreateCompileUnit(e->di, LLVMDWARFSourceLanguageC99, file_of(e, (Span){0}), producer, sizeof producer - 1, 1, "", 0, 0, "", 0,
                                                LLVMDWARFEmissionLineTablesOnly, 0, 0, 0, "", 0, "", 0);
    e->di_type = LLVMDIBuilderCreateSubroutineType(e->di, file_of(e, (Span){0}), NULL, 0, LLVMDIFlagZero);
}

void debug_function(FnEmit *f, Str name, Span span) {
    Emit *e = f->e;
    if (!e->di)
        return;
    const char *link = LLVMGetValueName(f->fn);
    LLVMMetadataRef file = file_of(e, span);
    f->scope = LLVMDIBuilderCreateFunction(e->di, file, name, strlen(name), link, strlen(link), file, span.line, e->di_type, 1, 1, span.line, LLVMDIFlagZero, 1);
    LLVMSetSubprogram(f->fn, f->scope);
    f->span = span;
    debug_location(f, span);
}

void debug_location(FnEmit *f, Span span) {
    Emit *e = f->e;
    if (!e->di || !f->scope)
        return;
    if (!span.line || span.file != f->span.file) /* the library's text: the line of the function */
        span = f->span;
    LLVMSetCurrentDebugLocation2(f->b, LLVMDIBuilderCreateDebugLocation(e->c, span.line, span.col, f->scope, NULL));
}

void debug_end(Emit *e) {
    if (!e->di)
        return;
    LLVMDIBuilderFinalize(e->di);
    LLVMDisposeDIBuilder(e->di);
    e->di = NULL;
}
