/* Arenas: memory with one lifetime, freed as a whole. malloc is called here and nowhere else. */
#ifndef CNNC_BASE_ARENA_H
#define CNNC_BASE_ARENA_H

#include <stddef.h>

typedef struct Ctx Ctx;
typedef struct ArenaBlock ArenaBlock;

typedef struct Arena {
    Ctx *ctx; /* receives the unwinding when out of memory */
    ArenaBlock *top;
    size_t used, size; /* of the top block */
} Arena;

void arena_init(Arena *a, Ctx *ctx);
/* Zeroed memory, 16-byte aligned, never NULL: out of memory unwinds to ctx_protect. */
void *arena_alloc(Arena *a, size_t size);
/* n elements; an overflowing product is out of memory. */
void *arena_array(Arena *a, size_t n, size_t size);
/* A copy of old (n_old elements) with room for n_new; the old block stays until the arena is freed. */
void *arena_grow(Arena *a, const void *old, size_t n_old, size_t n_new, size_t size);
void *arena_dup(Arena *a, const void *p, size_t size);
/* Frees all blocks; the arena may be used again. */
void arena_free(Arena *a);

#define ARENA_NEW(a, T) ((T *)arena_alloc((a), sizeof(T)))
#define ARENA_ARRAY(a, T, n) ((T *)arena_array((a), (size_t)(n), sizeof(T)))

/* A growable array over an arena: `VEC(int) v = {0}; vec_push(a, &v, 3);`, elements v.p[0 .. v.n-1]. */
#define VEC(T)                                                                                     \
    struct {                                                                                       \
        T *p;                                                                                      \
        int n, cap;                                                                                \
    }
#define vec_push(a, v, ...)                                                                        \
    ((v)->n == (v)->cap                                                                            \
         ? (void)((v)->cap = (v)->cap ? 2 * (v)->cap : 8,                                          \
                  (v)->p = arena_grow((a), (v)->p, (size_t)(v)->n, (size_t)(v)->cap,               \
                                      sizeof *(v)->p))                                             \
         : (void)0,                                                                                \
     (v)->p[(v)->n++] = (__VA_ARGS__))

#endif
