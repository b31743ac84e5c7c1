/* The compiler as a library: a text in memory is compiled, called, written, and its mistakes are told. */
#include <cnnc.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define CHECK(what)                                     \
    do {                                                \
        if (!(what)) {                                  \
            fprintf(stderr, "embed: %s\n", #what);      \
            return 1;                                   \
        }                                               \
    } while (0)

typedef int Square(const void *ex, double x, double *out, void *work);

static int compile_and_call(void) {
    static const char text[] = "const k = 1\ndef square(x: real) -> real = k * x^2\n";
    static const char *const options[] = {"-D", "k=3", "-O1"};
    cnnc_job *job = cnnc_new();
    CHECK(job && cnnc_options(job, 3, options) == CNNC_OK);
    CHECK(cnnc_compile(job, "square.cnn", text, strlen(text)) == CNNC_OK);
    void *at = cnnc_function(job, "square");
    Square *square;
    double y = 0;
    CHECK(at && sizeof square == sizeof at);
    memcpy(&square, &at, sizeof square);
    CHECK(square(NULL, 5, &y, NULL) == 0 && fabs(y - 75) < 1e-12);
    size_t n = 0;
    const char *header = cnnc_output(job, "h", &n);
    CHECK(header && strlen(header) == n && strstr(header, "int square("));
    CHECK(cnnc_output(job, "o", &n) && n > 100);
    CHECK(!cnnc_function(job, "cube") && cnnc_status(job) == CNNC_OK);
    CHECK(cnnc_write(job, "square.so") == CNNC_OK && cnnc_write(job, "square.a") == CNNC_OK && cnnc_write(job, "square.h") == CNNC_OK);
    CHECK(cnnc_messages(job, 0)[0] == 0);
    CHECK(cnnc_write(job, "nowhere/square.so") == CNNC_FILE && strstr(cnnc_messages(job, 0), "nowhere/square.so"));
    cnnc_free(job);
    return 0;
}

static int mistakes(void) {
    static const char text[] = "def f[N](x: [N]) -> [N] = sigmod(x)\n";
    cnnc_job *job = cnnc_new();
    CHECK(job && cnnc_write(job, "f.so") == CNNC_USAGE);
    cnnc_free(job);
    job = cnnc_new();
    CHECK(cnnc_compile(job, "f.cnn", text, strlen(text)) == CNNC_PROGRAM);
    CHECK(strstr(cnnc_messages(job, 0), "f.cnn:1:27") && strstr(cnnc_messages(job, 0), "`sigmoid`"));
    CHECK(strncmp(cnnc_messages(job, 1), "{\"severity\":\"error\",\"code\":\"E0406\"", 34) == 0);
    CHECK(cnnc_write(job, "f.so") == CNNC_PROGRAM);
    cnnc_free(job);
    job = cnnc_new();
    CHECK(cnnc_compile_file(job, "there/is/none.cnn") == CNNC_FILE);
    cnnc_free(job);
    job = cnnc_new();
    CHECK(cnnc_options(job, 1, (const char *const[]){"--fast"}) == CNNC_USAGE && strstr(cnnc_messages(job, 0), "--fast"));
    cnnc_free(job);
    cnnc_free(NULL);
    return 0;
}

int main(void) {
    if (compile_and_call() || mistakes())
        return 1;
    printf("libcnnc %s\n", cnnc_version());
    return 0;
}
