/* libcnnc: the compiler as a library.
 *
 *     cnnc_job *job = cnnc_new();
 *     if (cnnc_options(job, 1, (const char *const[]){"--real=f64"}) || cnnc_compile(job, "line.cnn", text, strlen(text)) ||
 *         cnnc_write(job, "line.so"))
 *         fputs(cnnc_messages(job, 0), stderr);
 *     cnnc_free(job);
 *
 * A job compiles one text. Jobs share nothing: each may have a thread of its own, one thread at a time. Nothing here prints,
 * ends the process or changes its signals. */
#ifndef CNNC_H
#define CNNC_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a call answers: the exit statuses of the program cnnc. After one that is not CNNC_OK the job can only tell its
 * messages and be freed. */
enum {
    CNNC_OK = 0,
    CNNC_PROGRAM = 1, /* errors in the text */
    CNNC_USAGE = 2,   /* an unknown option, a kind of output that there is not, calls in another order */
    CNNC_FILE = 3,    /* a file cannot be read or written; no memory */
    CNNC_BUG = 70     /* a mistake in the compiler; the message says where */
};

typedef struct cnnc_job cnnc_job;

cnnc_job *cnnc_new(void); /* NULL: no memory */
void cnnc_free(cnnc_job *job);

/* Options as on the command line ("-O3", "-D", "K=5", "--target=x86-64-v3"), before the text is compiled. */
int cnnc_options(cnnc_job *job, int n, const char *const *options);

/* Compiles a text; `name` stands in its messages, gives the library its name, and is where its imports are looked for. */
int cnnc_compile(cnnc_job *job, const char *name, const char *text, size_t length);
int cnnc_compile_file(cnnc_job *job, const char *path);

/* Writes what the suffix says: .so .o .a .s .ll .bc .h .py. Whole, or not at all. */
int cnnc_write(cnnc_job *job, const char *path);
/* The same in memory: "h", "manifest", "py", "o", "s", "ll" or "bc". NULL after an error. It lives as long as the job. */
const char *cnnc_output(cnnc_job *job, const char *kind, size_t *length);
/* The function of this C name, compiled into this process; its type is the header's. It lives as long as the job.
 * NULL: there is none, or an error, which the status then tells. */
void *cnnc_function(cnnc_job *job, const char *name);

int cnnc_status(const cnnc_job *job);
/* All messages so far, as text or as lines of JSON; "" where there are none. It lives until the next call. */
const char *cnnc_messages(cnnc_job *job, int json);
const char *cnnc_version(void);

#ifdef __cplusplus
}
#endif
#endif
