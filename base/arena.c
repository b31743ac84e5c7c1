#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "base/ctx.h"

struct ArenaBlock {
    ArenaBlock *next;
    max_align_t data[];
};

enum { FIRST_BLOCK = 1 << 14, MOST_BLOCK = 1 << 22, ALIGN = 16 };

void arena_init(Arena *a, Ctx *ctx) { *a = (Arena){.ctx = ctx}; }

/* Large blocks are in large pages. They hold data, whose rows training reads in any order: with pages of 4 KB each row costs
 * a walk of the page table, more than its copy. Or they hold what the passes make, 60 MB for LeNet-5, and the 17,000 faults of
 * 4 KB pages were a fifth of the time to compile it. */
static void *block_memory(size_t size) {
#ifdef MADV_HUGEPAGE
    enum { HUGE_PAGE = 2 << 20, LARGE = 4 << 20 };
    if (size >= LARGE && size <= SIZE_MAX - HUGE_PAGE) {
        size_t whole = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
        void *p = aligned_alloc(HUGE_PAGE, whole);
        if (p)
            (void)madvise(p, whole, MADV_HUGEPAGE); /* a wish */
        return p;
    }
#endif
    return malloc(size);
}

static void new_block(Arena *a, size_t size) {
    if (++a->ctx->allocs == a->ctx->fail_at || size > SIZE_MAX - sizeof(ArenaBlock))
        ctx_oom(a->ctx);
    ArenaBlock *b = block_memory(sizeof(ArenaBlock) + size);
    if (!b)
        ctx_oom(a->ctx);
    b->next = a->top;
    a->top = b;
    a->used = 0;
    a->size = size;
}

void *arena_alloc(Arena *a, size_t size) {
    if (size > SIZE_MAX - 2 * (size_t)ALIGN)
        ctx_oom(a->ctx);
    size = (size + ALIGN - 1) / ALIGN * ALIGN;
    if (!a->top || a->size - a->used < size) {
        size_t next = a->size ? a->size : FIRST_BLOCK / 2;
        next = next < MOST_BLOCK ? 2 * next : MOST_BLOCK;
        new_block(a, next > size ? next : size);
    }
    char *p = (char *)a->top->data + a->used;
    a->used += size;
    return memset(p, 0, size);
}

void *arena_array(Arena *a, size_t n, size_t size) {
    if (size && n > SIZE_MAX / size)
        ctx_oom(a->ctx);
    return arena_alloc(a, n * size);
}

void *arena_grow(Arena *a, const void *old, size_t n_old, size_t n_new, size_t size) {
    void *p = arena_array(a, n_new, size);
    if (n_old)
        memcpy(p, old, n_old * size);
    return p;
}

void *arena_dup(Arena *a, const void *p, size_t size) {
    void *q = arena_alloc(a, size);
    if (size)
        memcpy(q, p, size);
    return q;
}

void arena_free(Arena *a) {
    for (ArenaBlock *b = a->top, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    *a = (Arena){.ctx = a->ctx};
}
