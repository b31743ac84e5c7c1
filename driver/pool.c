/* Persistent workers: they spin for a while after a run, because the next one comes soon, then sleep. */
#include "driver/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

enum { SPINS = 20000, MOST_THREADS = 256 };

struct Pool {
    Exec exec;
    int n_workers;
    pthread_t *workers;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_uint generation; /* of the run; workers start one when it changes */
    atomic_int next, busy;
    atomic_bool quit;
    int jobs;
    void (*job)(void *arg, int k);
    void *arg;
};

static void work(Pool *p) {
    for (int k; (k = atomic_fetch_add(&p->next, 1)) < p->jobs;)
        p->job(p->arg, k);
}

static void *worker(void *self) {
    Pool *p = self;
    for (unsigned seen = 0;;) {
        for (int k = 0; k < SPINS && atomic_load(&p->generation) == seen; k++)
            if (k % 64 == 63)
                sched_yield();
        pthread_mutex_lock(&p->lock);
        while (atomic_load(&p->generation) == seen && !atomic_load(&p->quit))
            pthread_cond_wait(&p->wake, &p->lock);
        pthread_mutex_unlock(&p->lock);
        if (atomic_load(&p->quit))
            return NULL;
        seen++;
        work(p);
        atomic_fetch_sub(&p->busy, 1);
    }
}

static void run(void *self, int jobs, void (*job)(void *arg, int k), void *arg) {
    Pool *p = self;
    p->jobs = jobs;
    p->job = job;
    p->arg = arg;
    atomic_store(&p->next, 0);
    atomic_store(&p->busy, p->n_workers);
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->generation, 1);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    work(p);
    while (atomic_load(&p->busy) > 0)
        sched_yield();
}

Pool *pool_new(int threads, const volatile int *stop) {
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    Pool *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    threads = threads > 0 ? threads : cpus > 0 ? (int)cpus : 1;
    threads = threads < MOST_THREADS ? threads : MOST_THREADS;
    p->exec = (Exec){.threads = threads, .self = p, .stop = stop, .run = threads > 1 ? run : NULL};
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    p->workers = calloc((size_t)threads, sizeof *p->workers);
    for (int k = 0; p->workers && k < threads - 1; k++)
        if (pthread_create(&p->workers[p->n_workers], NULL, worker, p) == 0)
            p->n_workers++;
    return p;
}

const Exec *pool_exec(const Pool *p) { return p ? &p->exec : NULL; }

void pool_free(Pool *p) {
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->quit, true);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int k = 0; k < p->n_workers; k++)
        pthread_join(p->workers[k], NULL);
    free(p->workers);
    free(p);
}
