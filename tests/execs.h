/* Who runs the jobs of a call, in whatever order: `run` of an Exec (driver/pool.h). */
#ifndef CNNC_TESTS_EXECS_H
#define CNNC_TESTS_EXECS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

typedef void Job(void *arg, int k);

static inline void jobs_backwards(void *self, int jobs, Job *job, void *arg) {
    (void)self;
    while (jobs-- > 0)
        job(arg, jobs);
}

static inline void jobs_odd_first(void *self, int jobs, Job *job, void *arg) {
    (void)self;
    for (int odd = 1; odd >= 0; odd--)
        for (int k = odd; k < jobs; k += 2)
            job(arg, k);
}

typedef struct Crew {
    atomic_int next;
    int jobs;
    bool last_first;
    Job *job;
    void *arg;
} Crew;

static inline void *crew_member(void *p) {
    Crew *c = p;
    for (int k; (k = atomic_fetch_add(&c->next, 1)) < c->jobs;)
        c->job(c->arg, c->last_first ? c->jobs - 1 - k : k);
    return NULL;
}

/* As many threads as can be had, n at most, the caller among them. */
static inline void crew_run(Crew *c, int n) {
    enum { MOST_THREADS = 8 };
    pthread_t t[MOST_THREADS];
    int made = 1;
    while (made < n && made < MOST_THREADS && pthread_create(&t[made], NULL, crew_member, c) == 0)
        made++;
    crew_member(c);
    while (made-- > 1)
        pthread_join(t[made], NULL);
}

/* self: an int, how many threads. */
static inline void jobs_at_once(void *self, int jobs, Job *job, void *arg) {
    Crew c = {.jobs = jobs, .job = job, .arg = arg};
    crew_run(&c, *(const int *)self);
}

static inline void jobs_at_once_backwards(void *self, int jobs, Job *job, void *arg) {
    Crew c = {.jobs = jobs, .job = job, .arg = arg, .last_first = true};
    crew_run(&c, *(const int *)self);
}

#endif
